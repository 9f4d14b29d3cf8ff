# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A coupled problem as PETSc sees it: callbacks, shell matrices and shell preconditioners."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from petsc4py import PETSc

from msolve.errors import ConvergenceError, MsolveError
from msolve.problem import CoupledProblem
from msolve.solvers.preconditioner import Preconditioner


@contextmanager
def own_errors() -> Iterator[None]:
    """Let an error of msolve, or a lack of memory, that was raised inside a PETSc callback come out as itself."""
    try:
        yield
    except PETSc.Error as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, (MsolveError, MemoryError)):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise cause from None


class Counted:
    """The problem at one load as PETSc wants it, counting evaluations."""

    def __init__(self, problem: CoupledProblem, t: float):
        self.problem, self.t = problem, t
        self.evaluations = self.products = 0
        self.refused = False  # whether a trial step led to a state without energy

    def objective_gradient(self, tao: PETSc.TAO, z: PETSc.Vec, g: PETSc.Vec) -> float:
        """Energy and gradient for TAO; infinite where a trial step leads to a state without energy."""
        self.evaluations += 1
        try:
            return self.problem.evaluate(z, self.t, g)
        except ConvergenceError:
            if self.evaluations == 1:
                raise
            self.refused = True
            g.set(float("inf"))
            return float("inf")

    def function(self, snes: PETSc.SNES, z: PETSc.Vec, g: PETSc.Vec) -> None:
        """Residual for SNES; infinite where a trial step leads to a state without residual."""
        self.evaluations += 1
        try:
            self.problem.evaluate(z, self.t, g)
        except ConvergenceError:
            if self.evaluations == 1:
                raise
            g.set(float("inf"))

    def linearised(self, z: PETSc.Vec) -> Product:
        """Jacobian products at ``z``."""
        product = Product(self)
        product.move(z)
        return product


class Product:
    """Context of a PETSc shell matrix: products with the Jacobian at the place that it was last moved to."""

    def __init__(self, owner: Counted):
        self.owner = owner
        self._product: Callable[[PETSc.Vec, PETSc.Vec], None] | None = None

    def move(self, z: PETSc.Vec) -> None:
        """Linearise at ``z``. Collective."""
        self._product = None  # the tangents of all cells are large: never two of them at once
        self._product = self.owner.problem.linearise(z, self.owner.t)

    def mult(self, mat: PETSc.Mat, v: PETSc.Vec, out: PETSc.Vec) -> None:
        """Product for PETSc."""
        assert self._product is not None
        self.owner.products += 1
        self._product(v, out)


class Apply:
    """Context of a PETSc shell preconditioner."""

    def __init__(self, preconditioner: Preconditioner):
        self.preconditioner = preconditioner

    def apply(self, pc: PETSc.PC, r: PETSc.Vec, out: PETSc.Vec) -> None:
        """Preconditioner for PETSc."""
        self.preconditioner.apply(r, out)


class Solve:
    """Context of a PETSc shell preconditioner that solves exactly: where it is a metric, not a help."""

    def __init__(self, preconditioner: Preconditioner):
        self.preconditioner = preconditioner

    def apply(self, pc: PETSc.PC, r: PETSc.Vec, out: PETSc.Vec) -> None:
        """Solution for PETSc."""
        self.preconditioner.solve(r, out)
