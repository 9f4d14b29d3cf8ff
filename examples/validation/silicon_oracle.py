# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The best state of a coupled crack's unknowns, inner shifts included, and what the linearised problem answers."""

from __future__ import annotations

from petsc4py import PETSc

import numpy as np
from common import Coupled, Reference, scalar_lift, sparse_of
from scipy import sparse
from scipy.sparse.linalg import splu

from msolve.compare import Lifting, bonds, lift_to
from msolve.handshake.shifts import CarriedShifts


def oracle(coupled: Coupled, reference: Reference, rim: float, steps: int = 3) -> PETSc.Vec:
    """Unknowns of the lift nearest to the solution in the H1 norm, by Gauss-Newton from the coupled one."""
    full, t, assembly = reference.full, reference.t, coupled.assembly
    solution = full.problem.gather(reference.z, t)
    i, j = bonds(full)
    inside = coupled.setup.body.shape.distance(full.X) < -rim
    kept = np.flatnonzero(inside[i] & inside[j])
    rows, ones = np.arange(len(kept)), np.ones(len(kept))
    shape = (len(kept), len(full.X))
    D = sparse.csr_matrix((ones, (rows, i[kept])), shape) - sparse.csr_matrix(
        (ones, (rows, j[kept])), shape
    )
    D = sparse.kron(D, sparse.identity(3)).tocsr()
    z = coupled.z.copy()
    for _ in range(steps):
        A = D @ derivative(coupled, reference, z)
        right = D @ (solution - lift_to(assembly, z, t, full)).ravel()
        normal = (A.T @ A).tocsc()
        # Nodes in the rim move no bond that counts, and where nodes are as many as atoms some motions hardly move one:
        # the shift keeps each step from running along them, and several steps make up for it.
        normal = normal + 1e-3 * normal.diagonal().max() * sparse.identity(normal.shape[0])
        z.array = z.array_r + splu(normal.tocsc()).solve(A.T @ right)
    return z


def derivative(coupled: Coupled, reference: Reference, z: PETSc.Vec) -> sparse.csr_matrix:
    """Of the places of all atoms by the unknowns, inner shifts included."""
    assembly, full = coupled.assembly, reference.full
    inner = full.problem.placement.inner
    assert inner is not None
    kinematics, everything = assembly.problem.kinematics, np.arange(len(full.X))
    lifting = Lifting(assembly, full.X, full.free, inner)
    carried = CarriedShifts(inner, kinematics, full.X, lifting.held, everything)
    rows = carried.rows(everything, everything)
    state = assembly.problem.carried_shifts(z, coupled.t, rows, full.X[rows.atoms])
    k = len(rows.atoms)
    columns = []
    for d in range(rows.gdim):
        for c in range(3):
            change = np.zeros((k, 3, 3))
            change[:, c, d] = 1.0
            columns.append(state.along(change))
    blocks = np.stack(columns, axis=2)
    size = blocks.shape[2]
    where = 3 * rows.atoms[:, None, None] + np.arange(3)[:, None] + np.zeros((1, 1, size), int)
    of = size * np.arange(k)[:, None, None] + np.arange(size) + np.zeros((1, 3, 1), int)
    B = sparse.csr_matrix(
        (blocks.ravel(), (where.ravel(), of.ravel())), (3 * len(full.X), size * k)
    )
    lift = sparse.kron(scalar_lift(assembly, full), sparse.identity(3))
    return (lift + B @ sparse_of(rows.of_unknowns)).tocsr()
