# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a potential says of a cubic crystal: lattice, elastic constants, surfaces, a vacancy, phonons, K_G.

The figures by which a potential is known, computed with the same parts that a coupled run uses, so that they
can be held against published ones before anything else is believed. All rank-local.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import atomic_masses
from numpy.typing import ArrayLike, NDArray

from msolve.atomistic.relaxation import energy_of, relax_atoms
from msolve.crystal import Crystal, OrientedCrystal
from msolve.handshake.slab import relax_slab
from msolve.loads import KField
from msolve.potentials import Potential
from msolve.potentials.bulk import cauchy_born
from msolve.potentials.rest import elastic_constants, relaxed_lattice
from msolve.units import JOULE_PER_EV

Array = NDArray[np.float64]
Miller = tuple[int, int, int]

THZ = 1e-12 / (2 * np.pi) * np.sqrt(JOULE_PER_EV * 1e20 / 1.66053906660e-27)
"""Frequency of a unit mass on a unit spring, √(eV/Å²/u), 15.633 THz."""


@dataclass(frozen=True)
class BulkProperties:
    """A cubic crystal at rest.

    Attributes:
        crystal: The crystal.
        lattice_constant: Edge of the cube [Å].
        energy: Energy of an atom [eV].
        C11: Elastic constant [eV/Å³].
        C12: Elastic constant [eV/Å³].
        C44: Elastic constant, inner shifts relaxed [eV/Å³].
    """

    crystal: Crystal
    lattice_constant: float
    energy: float
    C11: float
    C12: float
    C44: float


def bulk_properties(model: Potential, crystal: Crystal) -> BulkProperties:
    """Lattice at rest and its elastic constants.

    Args:
        model: Potential.
        crystal: Cubic crystal with the lattice constant within 15 %.

    Raises:
        ConvergenceError: There is no stress-free lattice near.
    """
    at_rest = relaxed_lattice(model, crystal)
    law = cauchy_born(model, at_rest.oriented((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    C = elastic_constants(law)
    return BulkProperties(
        crystal=at_rest,
        lattice_constant=float(np.linalg.norm(at_rest.axes[0])),
        energy=float(law.energy_density(np.eye(3)[None])[0][0]) * law.volume,
        C11=float(C[0, 0, 0, 0]),
        C12=float(C[0, 0, 1, 1]),
        C44=float(C[1, 2, 1, 2]),
    )


def on_plane(crystal: Crystal, plane: Miller, front: Miller | None = None) -> OrientedCrystal:
    """A cubic crystal with x2 normal to a plane.

    Args:
        crystal: The crystal.
        plane: Miller indices.
        front: Direction of x3, in the plane; by default a short one.
    """
    normal = np.array(plane)
    if front is None:
        in_plane = (np.cross(normal, axis) for axis in np.eye(3, dtype=int))
        x3 = min((v for v in in_plane if v.any()), key=lambda v: int(np.abs(v).sum()))
    else:
        x3 = np.array(front)
    x1 = np.cross(normal, x3)
    return crystal.oriented(*([int(i) for i in axis] for axis in (x1, normal, x3)))


def griffith_K(
    model: Potential, crystal: Crystal, plane: Miller, front: Miller, energy: float
) -> float:
    """Mode-I stress intensity at which a crack in a cubic crystal pays for its surfaces [eV/Å^2.5].

    Args:
        model: Potential.
        crystal: Cubic crystal at rest.
        plane: Crack plane.
        front: Direction of the front, in the plane.
        energy: Surface energy of the plane [eV/Å²].
    """
    C = elastic_constants(cauchy_born(model, on_plane(crystal, plane, front)))
    return KField(C).griffith_K(energy)


def phonon_frequencies(
    model: Potential, crystal: Crystal, waves: ArrayLike, cubes: int, step: float = 1e-3
) -> Array:
    """Frequencies of the lattice vibrations of a cubic crystal, by central differences of forces.

    Exact, up to the differences, for waves that the cell of ``cubes`` cubes holds: coordinates that are
    multiples of 1 / cubes.

    Args:
        model: Potential.
        crystal: Cubic crystal at rest.
        waves: Wave vectors in units of 2π/a, shape ``(q, 3)``.
        cubes: Edge of the cell in which atoms are displaced.
        step: Displacement [Å].

    Returns:
        Shape ``(q, 3 n_basis)``, ascending [THz]; negative where the crystal is unstable.

    Raises:
        ValueError: A wave does not fit into the cell.
    """
    q = np.asarray(waves, dtype=np.float64).reshape(-1, 3)
    if np.abs(q * cubes - np.rint(q * cubes)).max() > 1e-9:
        raise ValueError(f"waves must be multiples of 1/{cubes}")
    x, numbers, basis = block(crystal, cubes)
    cell, periodic = cubes * crystal.axes, np.ones(3, dtype=bool)
    energy_at = energy_of(model, x, numbers, cell, periodic)
    first = [int(np.flatnonzero(basis == b)[0]) for b in range(crystal.n_basis)]
    phase = np.exp(2j * np.pi * (q @ np.linalg.inv(crystal.axes).T) @ x.T)
    D = np.zeros((len(q), crystal.n_basis, 3, crystal.n_basis, 3), dtype=complex)
    for b, atom in enumerate(first):
        for i in range(3):
            change = np.zeros_like(x)
            change[atom, i] = step
            row = (energy_at(x + change)[1] - energy_at(x - change)[1]) / (2 * step)
            for c in range(crystal.n_basis):
                waves_of = phase[:, basis == c] * phase[:, [atom]].conj()
                mass = np.sqrt(atomic_masses[numbers[atom]] * atomic_masses[numbers[first[c]]])
                D[:, b, i, c] = waves_of @ row[basis == c] / mass
    size = 3 * crystal.n_basis
    matrix = D.reshape(len(q), size, size)
    squares = np.linalg.eigvalsh(0.5 * (matrix + matrix.conj().swapaxes(1, 2)))
    return np.asarray(THZ * np.sign(squares) * np.sqrt(np.abs(squares)))


def block(crystal: Crystal, cubes: int) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """Atoms of a block of a cubic crystal.

    Args:
        crystal: The crystal.
        cubes: Edge of the block, counted in cubes; its cell is ``cubes * crystal.axes``.

    Returns:
        Positions ``(n, 3)`` [Å], atomic numbers ``(n,)`` and basis atoms ``(n,)``.
    """
    steps = np.indices((6 * cubes,) * 3).reshape(3, -1).T - 3 * cubes
    every = (steps[:, None] + crystal.basis).reshape(-1, 3) @ crystal.cell
    place = every @ np.linalg.inv(cubes * crystal.axes)
    inside = ((place > -1e-9) & (place < 1 - 1e-9)).all(axis=1)
    basis = np.tile(np.arange(crystal.n_basis), len(steps))[inside]
    return every[inside], crystal.numbers[basis], basis


def surface_energy(model: Potential, crystal: Crystal, plane: Miller) -> float:
    """Energy of a relaxed free surface of a cubic crystal, cut in the widest gap between layers [eV/Å²].

    Args:
        model: Potential.
        crystal: Cubic crystal at rest.
        plane: Miller indices.

    Raises:
        ConvergenceError: The slab does not come to rest.
    """
    oriented = on_plane(crystal, plane)
    # Each half four cutoffs deep: the two surfaces do not know of each other.
    return relax_slab(model, oriented, oriented.cleavage().origin, 4 * model.cutoff).surface_energy


def vacancy_energy(model: Potential, crystal: Crystal, cubes: int) -> float:
    """Formation energy of a relaxed vacancy at constant volume [eV].

    The vacancy is one of a periodic row of them, ``cubes`` cubes apart; it keeps the symmetry of the
    perfect crystal where that is a minimum or a saddle.

    Args:
        model: Potential.
        crystal: Cubic crystal at rest.
        cubes: Edge of the periodic cell, counted in cubes.

    Raises:
        ConvergenceError: The atoms do not come to rest.
    """
    cell = cubes * crystal.axes
    x, z, _ = block(crystal, cubes)
    periodic = np.ones(3, dtype=bool)
    law = cauchy_born(model, crystal.oriented((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    perfect = float(law.energy_density(np.eye(3)[None])[0][0]) * law.volume
    rest = relax_atoms(model, x[1:], z[1:], cell, periodic, "the atoms around the vacancy")
    return rest.energy - (len(x) - 1) * perfect
