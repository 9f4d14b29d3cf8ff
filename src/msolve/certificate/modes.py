# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The softest modes of a Hessian against the sum of squares over bonds, and a proof of how stiff the softest is."""

from __future__ import annotations

from typing import NamedTuple

from petsc4py import PETSc
from slepc4py import SLEPc

import numpy as np

from msolve.assemble import Assembly
from msolve.certificate.factor import dominates
from msolve.compare import Norms
from msolve.kinematics import block_matrix

TOLERANCE = 1e-8

GIVEN_AWAY = 0.05
"""Share of the lowest Ritz value by which the bound that is to be proved stays below it."""

TRIES = 6


class Mode(NamedTuple):
    """An eigenvector of H v = λ D v, and λ [eV/Å²]."""

    value: float
    vector: PETSc.Vec


def bond_laplacian(full: Assembly) -> PETSc.Mat:
    """D of ⟨v, D v⟩ = Σ |v_i - v_j|² over bonds between nearest neighbours, both free. Collective."""
    kinematics = full.problem.kinematics
    unknowns = kinematics.unknowns
    first, second = Norms.of(full, rim=0.0, tip_radius=0.0).inside
    here = kinematics.owned_atoms[full.free[kinematics.owned_atoms]]
    begin = int(unknowns.comm.exscan(unknowns.n_owned) or 0)
    mine = np.zeros(len(full.X), dtype=bool)
    mine[here] = True
    one = np.concatenate([first, second])
    other = np.concatenate([second, first])
    kept = mine[one]
    rows, columns = unknowns.atom[one[kept]] - begin, unknowns.atom[other[kept]]
    ones = np.ones(len(rows))
    return block_matrix(
        unknowns.comm,
        np.concatenate([rows, rows]),
        np.concatenate([rows + begin, columns]),
        np.concatenate([ones, -ones]),
        unknowns.n_owned,
        unknowns.n_owned,
        unknowns.components,
        unknowns.components,
    )


def softest_modes(
    H: PETSc.Mat, D: PETSc.Mat, count: int, start: PETSc.Vec | None = None
) -> list[Mode]:
    """Lowest eigenpairs of H v = λ D v, from the lowest up; ⟨v, H v⟩ = 1. Collective.

    Args:
        H: Positive definite.
        D: Positive semidefinite.
        count: How many are wanted.
        start: A direction with a part along each of them; a random one by default.
    """
    solver = SLEPc.EPS().create(H.comm)
    # D v = μ H v, μ = 1/λ: so D need not be definite.
    solver.setOperators(D, H)
    solver.setProblemType(SLEPc.EPS.ProblemType.GHEP)
    solver.setWhichEigenpairs(SLEPc.EPS.Which.LARGEST_REAL)
    solver.setDimensions(nev=count)
    solver.setTolerances(tol=TOLERANCE, max_it=200)
    ksp = solver.getST().getKSP()
    ksp.setType("preonly")
    ksp.getPC().setType("cholesky")
    ksp.getPC().setFactorSolverType("mumps")
    if start is not None:
        solver.setInitialSpace([start])
    solver.solve()
    found = []
    for k in range(min(count, solver.getConverged())):
        v = H.createVecRight()
        found.append(Mode(1.0 / float(solver.getEigenpair(k, v).real), v))
    solver.destroy()
    return found


def proven_stability(H: PETSc.Mat, D: PETSc.Mat, lowest: float) -> float | None:
    """A number τ with H ≥ τ D, shown by the inertia of H - τ D; ``None`` if none was found. Collective.

    Args:
        H: Hessian.
        D: Positive semidefinite.
        lowest: About the largest such number, a Ritz value for instance.
    """
    tau = (1 - GIVEN_AWAY) * lowest
    for _ in range(TRIES):
        if dominates(H, D, tau):
            return tau
        tau *= 0.7
    return None
