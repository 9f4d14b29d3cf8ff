# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Stability of a solution: the lowest eigenvalue of its Hessian."""

from __future__ import annotations

from petsc4py import PETSc
from slepc4py import SLEPc

import numpy as np

from msolve.errors import ConvergenceError
from msolve.problem import CoupledProblem
from msolve.solvers.context import Counted, Solve, own_errors
from msolve.solvers.preconditioner import Preconditioner

RESTARTS = 30
"""Cycles of Lanczos at most; a vacancy in silicon takes eleven, others at most three."""


def lowest_mode(
    problem: CoupledProblem,
    z: PETSc.Vec,
    t: float,
    preconditioner: Preconditioner,
    *,
    prefix: str = "msolve_",
    tolerance: float = 0.05,
    max_products: int = 40,
) -> tuple[float, PETSc.Vec]:
    """Lowest eigenvalue of the Hessian relative to linear elasticity, and its mode. Collective.

    Args:
        problem: Conservative problem.
        z: State.
        t: Load parameter.
        preconditioner: The metric M: H v = λ M v.
        prefix: PETSc options prefix.
        tolerance: Relative residual of the eigenpair; the eigenvalue's error is of its square.
        max_products: Hessian products between restarts.

    Returns:
        ``(value, mode)``: the eigenvalue [-] (a Ritz value: an upper bound of the lowest one) and the mode.

    Raises:
        ConvergenceError: Nothing converged.
    """
    work = Counted(problem, t)
    size = (z.getLocalSize(), None)
    H = PETSc.Mat().createPython((size, size), work.linearised(z), comm=z.comm)
    H.setUp()
    H.setOption(PETSc.Mat.Option.SYMMETRIC, True)
    solver = SLEPc.EPS().create(z.comm)
    solver.setOptionsPrefix(prefix + "mode_")
    solver.setOperators(H, preconditioner.matrix)
    solver.setProblemType(SLEPc.EPS.ProblemType.GHEP)
    # Lanczos costs one product an iteration; LOBPCG needed as many iterations and four products in each.
    solver.setType("krylovschur")
    solver.setWhichEigenpairs(SLEPc.EPS.Which.SMALLEST_REAL)
    solver.setDimensions(nev=1, ncv=max_products)
    solver.setTolerances(tol=tolerance, max_it=RESTARTS)
    ksp = solver.getST().getKSP()
    ksp.setType("preonly")
    ksp.getPC().setType("python")
    ksp.getPC().setPythonContext(Solve(preconditioner))
    solver.setInitialSpace([any_direction(problem, preconditioner)])
    solver.setFromOptions()
    with own_errors():
        solver.solve()
    if solver.getConverged() < 1:
        raise ConvergenceError(
            f"the lowest eigenvalue did not converge in {work.products} products"
        )
    mode = z.duplicate()
    value = float(solver.getEigenpair(0, mode).real)
    solver.destroy()
    return value, mode


def any_direction(problem: CoupledProblem, preconditioner: Preconditioner) -> PETSc.Vec:
    """A smoothed random direction that does not depend on the number of ranks. Collective."""
    kinematics = problem.kinematics
    force = kinematics.atoms.createVecLeft()
    everywhere = np.random.default_rng(7).normal(size=problem.placement.X.shape)
    force.array[:] = everywhere[kinematics.owned_atoms].ravel()
    pull, direction = kinematics.atoms.createVecRight(), kinematics.atoms.createVecRight()
    kinematics.atoms.multTranspose(force, pull)
    preconditioner.solve(pull, direction)
    return direction
