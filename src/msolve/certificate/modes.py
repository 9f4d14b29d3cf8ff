# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The softest modes of a Hessian against the sum of squares over bonds, and a proof of how stiff the softest is."""

from __future__ import annotations

import math
from typing import NamedTuple

from petsc4py import PETSc
from slepc4py import SLEPc

import numpy as np
import numpy.typing as npt
from scipy import sparse

from msolve.assemble import Assembly
from msolve.certificate.factor import Factor, dominates
from msolve.compare import bonds
from msolve.kinematics import petsc_matrix

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TOLERANCE = 1e-8

GIVEN_AWAY = 0.05
"""Share of the lowest Ritz value by which the bound that is to be proved stays below it."""

TRIES = 6

SHIFTS = (0.0, 0.05, 0.2, 0.8, 3.2, 12.8)
"""Multiples of the sum of squares over bonds that make a Hessian definite so that modes can be found [eV/Å²]."""


class Mode(NamedTuple):
    """An eigenvector of H v = λ D v, and λ [eV/Å²]."""

    value: float
    vector: PETSc.Vec


def loose_bonds(full: Assembly) -> tuple[IntArray, IntArray]:
    """Bonds between nearest neighbours with a free end, those that a cut parts left out: both ends, ``(n,)``."""
    i, j = bonds(full)
    kept = full.free[i] | full.free[j]
    return i[kept], j[kept]


def bond_laplacian(full: Assembly) -> PETSc.Mat:
    """D of ⟨v, D v⟩ = Σ |v_i - v_j|² over the bonds of ``loose_bonds``. Collective."""
    i, j = loose_bonds(full)
    return springs_matrix(full, i, j, np.tile(np.eye(3), (len(i), 1, 1)))


def springs_matrix(full: Assembly, i: IntArray, j: IntArray, blocks: Array) -> PETSc.Mat:
    """Σ (v_i - v_j)ᵀ B (v_i - v_j) as a matrix on the unknowns; atom ``n`` and held ones do not move. Collective."""
    unknowns = full.problem.kinematics.unknowns
    c, first = unknowns.components, int(unknowns.comm.exscan(unknowns.n_owned) or 0)
    place = np.append(np.where(full.free, unknowns.atom, -1), -1)
    a, b = place[i], place[j]
    blocks = blocks[:, :c, :c]
    rows = np.concatenate([a, b, a, b])
    columns = np.concatenate([a, b, b, a])
    values = np.concatenate([blocks, blocks, -blocks, -blocks])
    mine = (rows >= first) & (rows < first + unknowns.n_owned) & (columns >= 0)
    rows, columns, values = rows[mine] - first, columns[mine], values[mine]
    r = np.broadcast_to((c * rows[:, None] + np.arange(c))[:, :, None], values.shape)
    s = np.broadcast_to((c * columns[:, None] + np.arange(c))[:, None, :], values.shape)
    size = unknowns.n_owned * c
    csr = sparse.coo_matrix(
        (values.ravel(), (r.ravel(), s.ravel())), shape=(size, unknowns.n_global)
    ).tocsr()
    matrix = petsc_matrix(unknowns.comm, csr, size, (c, c))
    matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)
    return matrix


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
    return [Mode(1 / mu, v) for mu, v in _largest(D, H, count, start)]


def modes_of(H: PETSc.Mat, D: PETSc.Mat, count: int) -> list[Mode]:
    """Lowest eigenpairs of H v = λ D v, λ of any sign; ⟨v, D v⟩ = 1. Empty where H is far from definite. Collective."""
    for shift in SHIFTS:
        shifted = H.copy()
        shifted.axpy(shift, D, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        if Factor(shifted).positive:
            found = softest_modes(shifted, D, count)
            return [Mode(value - shift, v * math.sqrt(value)) for value, v in found]
    return []


def largest_ratio(Q: PETSc.Mat, H: PETSc.Mat) -> float:
    """The largest ⟨v, Q v⟩ / ⟨v, H v⟩ that iterations find, a lower bound; 0 if none. Collective."""
    found = _largest(Q, H, 1, None)
    return found[0][0] if found else 0.0


def _largest(
    A: PETSc.Mat, H: PETSc.Mat, count: int, start: PETSc.Vec | None
) -> list[tuple[float, PETSc.Vec]]:
    """Largest eigenpairs of A v = μ H v: so only H need be definite."""
    solver = SLEPc.EPS().create(H.comm)
    solver.setOperators(A, H)
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
        found.append((float(solver.getEigenpair(k, v).real), v))
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
