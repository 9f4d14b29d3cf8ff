# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a potential says of a cubic crystal: lattice, elastic constants, surfaces, a vacancy.

The figures by which a potential is known, computed with the same parts that a coupled run uses, so that they
can be held against published ones before anything else is believed. All rank-local.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msolve.atomistic.relaxation import relax_atoms
from msolve.crystal import Crystal
from msolve.handshake.slab import relax_slab
from msolve.potentials import Potential
from msolve.potentials.bulk import cauchy_born
from msolve.potentials.rest import elastic_constants, relaxed_lattice

Array = NDArray[np.float64]
Miller = tuple[int, int, int]


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


def surface_energy(model: Potential, crystal: Crystal, plane: Miller) -> float:
    """Energy of a relaxed free surface of a cubic crystal, cut in the widest gap between layers [eV/Å²].

    Args:
        model: Potential.
        crystal: Cubic crystal at rest.
        plane: Miller indices.

    Raises:
        ConvergenceError: The slab does not come to rest.
    """
    normal = np.array(plane)
    in_plane = (np.cross(normal, axis) for axis in np.eye(3, dtype=int))
    x3 = min((v for v in in_plane if v.any()), key=lambda v: int(np.abs(v).sum()))
    x1 = np.cross(normal, x3)
    oriented = crystal.oriented(*([int(i) for i in axis] for axis in (x1, normal, x3)))
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
    steps = np.indices((6 * cubes,) * 3).reshape(3, -1).T - 3 * cubes
    every = (steps[:, None] + crystal.basis).reshape(-1, 3) @ crystal.cell
    numbers = np.tile(crystal.numbers, len(steps))
    place = every @ np.linalg.inv(cell)
    inside = ((place > -1e-9) & (place < 1 - 1e-9)).all(axis=1)
    x, z, periodic = every[inside], numbers[inside], np.ones(3, dtype=bool)
    law = cauchy_born(model, crystal.oriented((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    perfect = float(law.energy_density(np.eye(3)[None])[0][0]) * law.volume
    rest = relax_atoms(model, x[1:], z[1:], cell, periodic, "the atoms around the vacancy")
    return rest.energy - (len(x) - 1) * perfect
