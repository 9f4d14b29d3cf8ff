# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""One load step as arrays: evaluates what is written and drawn of it."""

from __future__ import annotations

from dataclasses import dataclass

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.assemble import Assembly
from msolve.io.trajectories import local_deformation

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StepFields:
    """One load step as arrays.

    Attributes:
        load: Amplitude.
        positions: All atoms of the patch, the same on every rank, ``(n, 3)`` [Å].
        site_energy: Of each atom, nan where it is not evaluated, ``(n,)`` [eV].
        force_spread: How far the members of a committee are apart in the force on each atom, nan where that is not
            known, ``(n,)`` [eV/Å]; ``None`` without a committee.
        nodes: Total displacement at the local mesh nodes, ``(n_local_nodes, 3)`` [Å]; empty without a mesh.
        stress: Cauchy stress of each owned cell, ``(n_cells, 3, 3)`` [eV/Å³].
    """

    load: float
    positions: Array
    site_energy: Array
    force_spread: Array | None
    nodes: Array
    stress: Array


def collect(assembly: Assembly, z: PETSc.Vec, t: float) -> StepFields:
    """Evaluate what is written of a load step. Collective."""
    problem = assembly.problem
    at = problem.snapshot(z, t)
    kinematics = problem.kinematics
    site_energy = _of_all(assembly, problem.patch.site_energies(at.positions))
    spread = problem.patch.force_spread(at.positions)
    force_spread = None if spread is None else _of_all(assembly, spread)
    nodes: Array = np.zeros((0, 3))
    stress: Array = np.zeros((0, 3, 3))
    if kinematics.space is not None and problem.stored is not None:
        nodes = at.nodes + assembly.body.predictor.displacement(kinematics.space.nodes(), t)
        F, P = problem.stored.stress(at.nodes, at.background)
        stress = np.einsum("nij,nkj->nik", P, F) / np.linalg.det(F)[:, None, None]
    return StepFields(t, problem.gather(z, t), site_energy, force_spread, nodes, stress)


def _of_all(assembly: Assembly, own: Array) -> Array:
    """Values of the owned atoms of every rank, ``(n,)``. Collective."""
    kinematics = assembly.problem.kinematics
    whole = np.full(len(assembly.X), np.nan)
    for atoms, values in kinematics.unknowns.comm.allgather((kinematics.owned_atoms, own)):
        whole[atoms] = values
    return whole


def deformation(assembly: Assembly, positions: Array) -> tuple[Array, Array]:
    """Stress of linear elasticity at each atom's local strain [eV/Å³], and von Mises strain.

    Args:
        assembly: What is solved.
        positions: Deformed atoms, shape ``(n, 3)`` [Å].

    Returns:
        Shapes ``(n, 3, 3)`` and ``(n,)``.
    """
    body = assembly.body
    cutoff = 1.25 * body.crystal.nearest_neighbour_distance
    local = local_deformation(assembly.X, positions, body.period, cutoff)
    E = 0.5 * (np.swapaxes(local.F, 1, 2) @ local.F - np.eye(3))
    return np.einsum("ijkl,nkl->nij", body.C, E), local.von_mises()
