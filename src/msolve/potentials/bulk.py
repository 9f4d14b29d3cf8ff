# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The Cauchy-Born law of a potential: energy density, stress and tangent of a deformed crystal.

Edge vectors are F R over a fixed shell of lattice vectors R; each point is one atom that is its own
neighbour through all images, so message-passing models are exact too. Also the lattice at rest
and its elastic constants. Crystals of several atoms per cell need inner shifts and are refused.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from msolve.crystal import Crystal, OrientedCrystal
from msolve.errors import ConvergenceError, UnsupportedError
from msolve.potentials.bulk_forces import ForceBulkCell
from msolve.potentials.clock import Clock
from msolve.potentials.edges import CHUNK
from msolve.potentials.engine import edge_products, edge_slopes
from msolve.potentials.protocol import ForceModel, Potential, SiteModel

Array = NDArray[np.float64]

SHELL_FACTORS = (1.15, 1.4, 2.0)
"""Radii of the reference shell over the cutoff; the smallest that the compression allows."""


class BulkCell:
    """Cauchy-Born energy density of a potential in an oriented crystal.

    Args:
        model: The potential.
        oriented: The crystal at rest, in the axes that F refers to.

    Attributes:
        clock: Time that the potential took.

    Raises:
        UnsupportedError: The crystal has more than one atom per primitive cell, or an element that
            the potential does not know.

    Note:
        Rank-local: makes no MPI call, also for potentials with feature exchange.
    """

    def __init__(self, model: SiteModel, oriented: OrientedCrystal) -> None:
        crystal = oriented.crystal
        if crystal.n_basis > 1:
            raise UnsupportedError(
                f"the Cauchy-Born law of a crystal with {crystal.n_basis} atoms per primitive cell "
                "needs relaxed inner shifts, which are not available yet; crystals with one atom work"
            )
        strange = {int(z) for z in crystal.numbers} - model.numbers
        if strange:
            raise UnsupportedError(
                f"the potential {model.name} knows the atomic numbers {sorted(model.numbers)}, "
                f"but the crystal holds {sorted(strange)}"
            )
        self.model = model
        self.clock = Clock()
        self.oriented = oriented
        self.volume = crystal.atomic_volume
        self._number = int(crystal.numbers[0])
        self._shell = lru_cache(maxsize=None)(self._build_shell)

    def energy_density(self, F: ArrayLike) -> tuple[Array, Array]:
        """Energy per reference volume and first Piola-Kirchhoff stress.

        Args:
            F: Deformation gradients, shape ``(q, 3, 3)`` [-].

        Returns:
            ``(W, P)``: W, shape ``(q,)`` [eV/Å³], and P = ∂W/∂F, shape ``(q, 3, 3)`` [eV/Å³].

        Raises:
            ConvergenceError: A point is inverted or compressed to less than half its length.
        """
        points = np.asarray(F, dtype=np.float64)
        W, P = np.empty(len(points)), np.empty((len(points), 3, 3))
        for part, shell in self._chunks(points):
            at = self._edges(points[part], shell)
            with self.clock:
                energy, slopes = edge_slopes(self.model, *at.sites())
            W[part] = energy.cpu().numpy() / self.volume
            P[part] = self._contract(slopes, at)
        return W, P

    def tangent(self, F: ArrayLike) -> Array:
        """Second derivative of W.

        Args:
            F: Deformation gradients, shape ``(q, 3, 3)`` [-].

        Returns:
            A = ∂P/∂F with ``A[q, i, j, k, l] = ∂P[q, i, j] / ∂F[q, k, l]``, shape
            ``(q, 3, 3, 3, 3)`` [eV/Å³].

        Raises:
            ConvergenceError: As for :meth:`energy_density`.
        """
        points = np.asarray(F, dtype=np.float64)
        A = np.empty((len(points), 3, 3, 3, 3))
        for part, shell in self._chunks(points):
            at = self._edges(points[part], shell)
            with self.clock:
                product = edge_products(self.model, *at.sites())
            reference = shell.T[:, at.kept % len(shell)]
            for k in range(3):
                for m in range(3):
                    change = torch.zeros_like(reference)
                    change[k] = reference[m]
                    with self.clock:
                        by_edge = product(change.T)
                    A[part, :, :, k, m] = self._contract(by_edge, at)
        return A

    def _edges(self, F: Array, shell: torch.Tensor) -> _Points:
        n, k = len(F), len(shell)
        device = self.model.device
        # Axis first, so that what a model does to all edges at once runs over contiguous memory.
        stretched = torch.as_tensor(F, device=device).reshape(-1, 3) @ shell.T
        vec = stretched.reshape(n, 3, k).transpose(0, 1).reshape(3, n * k)
        kept = (vec.square().sum(0) < self.model.cutoff**2).nonzero()[:, 0]
        numbers = torch.full((n,), self._number, device=device)
        return _Points(torch.gather(vec, 1, kept.expand(3, -1)).T, kept, shell, numbers)

    def _contract(self, by_edge: torch.Tensor, at: _Points) -> Array:
        n, k = len(at.numbers), len(at.shell)
        every = by_edge.new_zeros(3, n * k).index_copy_(1, at.kept, by_edge.T)
        sums = every.reshape(3 * n, k) @ at.shell
        return sums.reshape(3, n, 3).transpose(0, 1).cpu().numpy() / self.volume

    def _chunks(self, F: Array) -> list[tuple[slice, torch.Tensor]]:
        if len(F) == 0:
            return []
        shell = self._shell(_shell_factor(F))
        step = max(1, CHUNK[torch.device(self.model.device).type] // len(shell))
        return [(slice(a, min(a + step, len(F))), shell) for a in range(0, len(F), step)]

    def _build_shell(self, factor: float) -> torch.Tensor:
        vectors = self.oriented.shell(factor * self.model.cutoff).vectors
        return torch.as_tensor(np.ascontiguousarray(vectors), device=self.model.device)


class _Points(NamedTuple):
    """Edges of a batch of points: present vectors, which of all (point, shell vector) they are, the shell, numbers."""

    vec: torch.Tensor
    kept: torch.Tensor
    shell: torch.Tensor
    numbers: torch.Tensor

    def sites(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
        """As sites that see nothing but their own images."""
        point = self.kept // len(self.shell)
        return self.vec, point.expand(2, -1), self.numbers, len(self.numbers)


def _shell_factor(F: Array) -> float:
    if not np.isfinite(F).all():
        raise ConvergenceError("a deformation gradient is not finite; try smaller load steps")
    upright = bool((np.linalg.det(F) > 0).all())
    stretch = np.swapaxes(F, 1, 2) @ F - np.eye(3)
    largest = float(np.einsum("nij,nij->n", stretch, stretch).max()) ** 0.5
    # No eigenvalue of FᵀF is below 1 - |FᵀF - I|: mostly that will do, at a tenth of the cost.
    if upright and (1 - largest) * SHELL_FACTORS[0] ** 2 >= 1.0:
        return SHELL_FACTORS[0]
    shortest = float(np.linalg.svd(F, compute_uv=False)[:, -1].min())
    for factor in SHELL_FACTORS:
        if upright and shortest * factor >= 1.0:
            return factor
    raise ConvergenceError(
        "the crystal is turned inside out or compressed to less than half its length somewhere in "
        "the continuum; try smaller load steps or a larger core"
    )


def cauchy_born(model: Potential, oriented: OrientedCrystal) -> BulkCell | ForceBulkCell:
    """The Cauchy-Born law of a potential of either sort in an oriented crystal."""
    if isinstance(model, ForceModel):
        return ForceBulkCell(model, oriented)
    return BulkCell(model, oriented)


def relaxed_lattice(model: Potential, crystal: Crystal) -> Crystal:
    """The crystal stretched until it is free of stress.

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
            return here
        stiffness = elastic_constants(bulk).reshape(9, 9)
        # Least squares of least norm: layers that do not know of each other have no stiffness
        # across, and rotations have none at all.
        strain = np.linalg.lstsq(stiffness, -stress.reshape(9), rcond=1e-8)[0].reshape(3, 3)
        strain *= min(1.0, 0.02 / max(np.abs(strain).max(), 1e-300))
        mean = np.trace(strain) / 3
        if np.abs(strain - mean * np.eye(3)).max() < 1e-3 * abs(mean) + 1e-13:
            here = here.scaled(1 + mean)
        else:
            here = here.stretched(np.eye(3) + 0.5 * (strain + strain.T))
    raise ConvergenceError(
        f"no stress-free lattice found with {model.name}; check structure and lattice constant"
    )


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
        return 1e-12
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
            "lattice constant; check structure, element and lattice constant"
        )
    return crystal.scaled(float(scales[inner[np.argmin(np.abs(scales[inner] - 1))]]))


def _in_own_frame(crystal: Crystal) -> OrientedCrystal:
    steps = np.eye(3, dtype=np.int64)
    return OrientedCrystal(crystal, np.eye(3), steps[0], None, steps[2])
