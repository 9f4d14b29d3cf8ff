# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Where the law of the mesh is about to lose its stability: by the acoustic tensor of each cell.

A homogeneous strain of the crystal is stable against long waves as long as Q(n)_ik = ∂P_iJ/∂F_kL n_J n_L has positive
eigenvalues for all directions n. Where the lowest falls below a share of that at rest a slip or a crack may start, and
atoms are needed, however small the estimated error is.

References:
    R. Hill, J. Mech. Phys. Solids 10, 1 (1962); M. Born, K. Huang, Dynamical Theory of Crystal Lattices (1954).
"""

from __future__ import annotations

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.assemble import Assembly

Array = npt.NDArray[np.float64]

DIRECTIONS = 24
"""Directions in the plane, over half a turn."""

STRAINED = 0.02
"""Strains below this are not looked at: no crystal is near its limit there."""


def unstable_cells(assembly: Assembly, z: PETSc.Vec, t: float, share: float) -> Array:
    """Midpoints of the cells outside the cores that are less stable than a share of the crystal at rest. Collective.

    Args:
        assembly: A coupled problem in the plane.
        z: Its unknowns.
        t: Load parameter.
        share: Of the lowest eigenvalue at rest; 0 looks at nothing.

    Returns:
        The same on every rank, shape ``(n, 2)`` [Å].
    """
    problem = assembly.problem
    stored, space = problem.stored, problem.kinematics.space
    comm = problem.kinematics.unknowns.comm
    if share == 0 or stored is None or space is None:
        return np.zeros((0, 2))
    at = problem.snapshot(z, t)
    active = assembly.blend_points.min(axis=1) > 0
    active[space.n_cells :] = False
    F = stored.deformation(at.nodes, at.background, active)[:, 0]
    E = 0.5 * (np.swapaxes(F, 1, 2) @ F - np.eye(3))
    chosen = np.abs(E).max(axis=(1, 2)) > STRAINED
    law = assembly.body.material
    middles = space.cell_vertices()[active[: space.n_cells]].mean(axis=1)[:, :2]
    lowest = acoustic_minimum(law.tangent(F[chosen]))
    rest = acoustic_minimum(law.tangent(np.eye(3)[None]))[0]
    weak = middles[chosen][lowest < share * rest]
    return np.concatenate(comm.allgather(weak))


def doubtful_atoms(assembly: Assembly, z: PETSc.Vec, t: float, gate: float | None) -> Array:
    """Atoms of the blending zone on whose forces the members of a committee disagree by more than a gate. Collective.

    Args:
        assembly: A coupled problem in the plane.
        z: Its unknowns.
        t: Load parameter.
        gate: Largest root of the mean square distance from the mean force [eV/Å]; ``None`` looks at nothing.

    Returns:
        The same on every rank, shape ``(n, 2)`` [Å]; none where the potential is no committee.
    """
    problem = assembly.problem
    if gate is None:
        return np.zeros((0, 2))
    spread = problem.patch.force_spread(problem.snapshot(z, t).positions)
    if spread is None:
        return np.zeros((0, 2))
    mine = problem.kinematics.owned_atoms
    chosen = mine[(spread > gate) & assembly.free[mine] & (assembly.beta[mine] > 0)]
    every = np.concatenate(problem.kinematics.unknowns.comm.allgather(chosen))
    return np.asarray(assembly.X[np.sort(every)][:, :2])


def acoustic_minimum(tangent: Array) -> Array:
    """Lowest eigenvalue of the acoustic tensor over directions in the plane, shape ``(n,)`` [eV/Å³].

    Args:
        tangent: ∂P/∂F, shape ``(n, 3, 3, 3, 3)``.
    """
    angle = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    n = np.column_stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)])
    Q = np.einsum("ciJkL,dJ,dL->cdik", tangent, n, n, optimize=True)
    Q = 0.5 * (Q + np.swapaxes(Q, 2, 3))
    return np.asarray(np.linalg.eigvalsh(Q)[..., 0].min(axis=1, initial=np.inf))
