# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The crystal at rest: the lattice free of stress, its basis free of force, its elastic constants."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from msolve.crystal import Crystal, OrientedCrystal
from msolve.errors import ConvergenceError
from msolve.potentials.bulk import BulkCell, cauchy_born
from msolve.potentials.bulk_forces import ForceBulkCell
from msolve.potentials.protocol import ForceModel, Potential

Array = NDArray[np.float64]

SINGLE = 2e-5
"""What counts as no stress where a network computes in single precision [eV/Å³]: 3 MPa."""


def relaxed_lattice(model: Potential, crystal: Crystal) -> Crystal:
    """The crystal stretched until it is free of stress, its basis where no atom feels a force.

    Args:
        model: The potential.
        crystal: Starting point, lattice constants within 15 %.

    Returns:
        The crystal at the nearest minimum of the energy under a symmetric stretch (a change of
        scale for cubic crystals), with a stress below 1e-12 eV/Å³, or what a black box allows.

    Raises:
        ConvergenceError: No such minimum is found.
    """
    here = _scaled_to_minimum(model, crystal)
    small = _smallest_stress(model, crystal)
    for _ in range(30):
        bulk = cauchy_born(model, _in_own_frame(here))
        stress = bulk.energy_density(np.eye(3)[None])[1][0]
        stress = 0.5 * (stress + stress.T)
        if np.abs(stress).max() < small:
            return _with_basis_at_rest(bulk, here)
        stiffness = elastic_constants(bulk).reshape(9, 9)
        # Least squares of least norm: layers that do not know of each other have no stiffness
        # across, and rotations have none at all.
        strain = np.linalg.lstsq(stiffness, -stress.reshape(9), rcond=1e-8)[0].reshape(3, 3)
        strain *= min(1.0, 0.02 / max(np.abs(strain).max(), 1e-300))
        mean = np.trace(strain) / 3
        # A cubic crystal stays so where the stress that says otherwise counts as none.
        unsure = 1e-13 + 3 * small / np.abs(stiffness).max()
        if np.abs(strain - mean * np.eye(3)).max() < 1e-3 * abs(mean) + unsure:
            here = here.scaled(1 + mean)
        else:
            here = here.stretched(np.eye(3) + 0.5 * (strain + strain.T))
    raise ConvergenceError(
        f"no stress-free lattice found with {model.name}; check structure and lattice constant"
    )


def _with_basis_at_rest(bulk: BulkCell | ForceBulkCell, crystal: Crystal) -> Crystal:
    if crystal.n_basis == 1:
        return crystal
    shifts = bulk.shifts(np.eye(3)[None])[0]
    return replace(crystal, basis=crystal.basis + shifts @ np.linalg.inv(crystal.cell))


def elastic_constants(bulk: BulkCell | ForceBulkCell) -> Array:
    """Elastic constants of the lattice at rest, in the axes of ``bulk``.

    Returns:
        C, shape ``(3, 3, 3, 3)`` [eV/Å³], with all symmetries of an elasticity tensor.
    """
    if isinstance(bulk, ForceBulkCell):
        C = bulk.stiffness()
    else:
        C = bulk.tangent(np.eye(3)[None])[0]
    C = 0.5 * (C + C.transpose(1, 0, 2, 3))
    C = 0.5 * (C + C.transpose(0, 1, 3, 2))
    return 0.5 * (C + C.transpose(2, 3, 0, 1))


def softest_strain(C: Array, components: int = 3) -> tuple[float, Array]:
    """The strain that an elastic crystal resists least.

    Args:
        C: Elastic constants, shape ``(3, 3, 3, 3)`` [eV/Å³].
        components: 2 for flat crystals, which only feel strains in their plane.

    Returns:
        ``(modulus, strain)``: the lowest eigenvalue of C [eV/Å³], not positive in a crystal that does not hold, and
        the symmetric strain of length 1 that belongs to it, shape ``(components, components)`` [-]; of several the
        one nearest to a stretch or shear along the axes, so that rounding does not decide.
    """
    d = components
    pairs = [(i, j) for i in range(d) for j in range(i, d)]
    basis = np.zeros((len(pairs), d, d))
    for k, (i, j) in enumerate(pairs):
        basis[k, i, j] = basis[k, j, i] = 1.0 if i == j else 0.5**0.5
    values, vectors = np.linalg.eigh(np.einsum("aij,ijkl,bkl->ab", basis, C[:d, :d, :d, :d], basis))
    least = vectors[:, values < values[0] + 1e-6 * np.abs(values).max()]
    share = least @ least.T
    first = int(np.flatnonzero(np.diag(share) > np.diag(share).max() - 1e-6)[0])
    strain = np.einsum("a,aij->ij", share[first] / np.sqrt(share[first, first]), basis)
    return float(values[0]), strain


def _energies(bulk: BulkCell | ForceBulkCell, F: Array) -> Array:
    """Energy densities; infinite where a black box has none, such as beyond the end of its tables."""
    if isinstance(bulk, BulkCell):
        return bulk.energy_density(F)[0]
    energy = np.full(len(F), np.inf)
    for k in range(len(F)):
        with suppress(ConvergenceError):
            energy[k] = bulk.energy_density(F[k : k + 1])[0][0]
    return energy


def _smallest_stress(model: Potential, crystal: Crystal) -> float:
    """What counts as no stress [eV/Å³]: round-off, which a black box may have more of."""
    if not isinstance(model, ForceModel):
        return SINGLE if str(getattr(model, "dtype", "")) == "torch.float32" else 1e-12
    if "virial" not in model.gives:
        return 1e-8  # differences of energies
    return max(1e-12, 30 * model.noise / crystal.atomic_volume ** (2 / 3))


def _scaled_to_minimum(model: Potential, crystal: Crystal) -> Crystal:
    scales = np.linspace(0.85, 1.15, 61)
    bulk = cauchy_born(model, _in_own_frame(crystal))
    energy = _energies(bulk, scales[:, None, None] * np.eye(3))
    inner = np.flatnonzero((energy[1:-1] < energy[:-2]) & (energy[1:-1] <= energy[2:])) + 1
    if len(inner) == 0:
        raise ConvergenceError(
            f"the energy of the crystal with {model.name} has no minimum within 15 % of the given "
            "lattice constant; check structure, element, lattice constant and units (eV and angstrom)"
        )
    return crystal.scaled(float(scales[inner[np.argmin(np.abs(scales[inner] - 1))]]))


def _in_own_frame(crystal: Crystal) -> OrientedCrystal:
    steps = np.eye(3, dtype=np.int64)
    return OrientedCrystal(crystal, np.eye(3), steps[0], None, steps[2])
