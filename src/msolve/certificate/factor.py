# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Factorisations LDLᵀ of symmetric matrices, whose pivots tell how many eigenvalues are negative.

By Sylvester's law of inertia H and D have as many negative eigenvalues. H - τK without one proves H ≥ τK, up to the
rounding of the factorisation; a Ritz value proves nothing of the kind, as it lies above the lowest eigenvalue.

References:
    B. N. Parlett, The Symmetric Eigenvalue Problem (SIAM, 1998), sections 1.6 and 3.3.
"""

from __future__ import annotations

from petsc4py import PETSc

from msolve.errors import ConvergenceError
from msolve.solvers import own_errors

_IN_ONE_PIECE = 13
"""MUMPS: the last front is not given away to ScaLAPACK, which would not tell its inertia."""

_NULL_PIVOTS = 24
"""MUMPS: pivots that are zero are counted as such."""


class Factor:
    """LDLᵀ of a symmetric matrix; construction and calls are collective.

    Args:
        matrix: Symmetric, assembled.

    Attributes:
        negative: Number of its negative eigenvalues.
        zero: Number of pivots that were taken for zero.
    """

    def __init__(self, matrix: PETSc.Mat) -> None:
        self.matrix = matrix
        matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)
        self.ksp = PETSc.KSP().create(matrix.comm)
        self.ksp.setOperators(matrix)
        self.ksp.setType("preonly")
        pc = self.ksp.getPC()
        pc.setType("cholesky")
        pc.setFactorSolverType("mumps")
        pc.setFactorSetUpSolverType()
        factor = pc.getFactorMatrix()
        factor.setMumpsIcntl(_IN_ONE_PIECE, 1)
        factor.setMumpsIcntl(_NULL_PIVOTS, 1)
        self.ksp.setUp()
        self.negative, self.zero, _ = (int(n) for n in factor.getInertia())

    @property
    def positive(self) -> bool:
        """Whether all eigenvalues are positive."""
        return self.negative == 0 and self.zero == 0

    def apply(self, pc: PETSc.PC, right: PETSc.Vec, out: PETSc.Vec) -> None:
        """As a preconditioner of PETSc's."""
        self.ksp.solve(right, out)

    def solve(self, right: PETSc.Vec) -> PETSc.Vec:
        """The solution of the linear system, to round-off."""
        out = right.duplicate()
        self.ksp.solve(right, out)
        return out

    def solve_near(
        self, matrix: PETSc.Mat, right: PETSc.Vec, forcing: float, otherwise: str
    ) -> PETSc.Vec:
        """The solution for another matrix close to this one, by conjugate gradients with these factors.

        Args:
            matrix: That matrix; products are enough.
            right: Right-hand side.
            forcing: Relative residual at which to stop.
            otherwise: What to say where they do not converge.

        Raises:
            ConvergenceError: They did not.
        """
        out = right.duplicate()
        ksp = PETSc.KSP().create(matrix.comm)
        ksp.setOperators(matrix)
        ksp.setType("cg")
        ksp.getPC().setType("python")
        ksp.getPC().setPythonContext(self)
        ksp.setTolerances(rtol=forcing, atol=1e-14, max_it=100)
        with own_errors():
            ksp.solve(right, out)
        reason = ksp.getConvergedReason()
        ksp.destroy()
        if reason <= 0:
            raise ConvergenceError(otherwise)
        return out


def dominates(H: PETSc.Mat, K: PETSc.Mat, tau: float) -> bool:
    """Whether H - τK has positive eigenvalues only: H ≥ τK. Collective."""
    shifted = H.copy()
    shifted.axpy(-tau, K, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
    found = Factor(shifted).positive
    shifted.destroy()
    return found
