# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Minimisation, root finding, and the deferred ghost-force correction that joins them."""

from __future__ import annotations

import dataclasses
import time

from petsc4py import PETSc

from msolve.coupling import Term, expanded
from msolve.errors import ConvergenceError
from msolve.problem import CoupledProblem
from msolve.solvers.context import Apply, Counted, Product, own_errors
from msolve.solvers.preconditioner import Preconditioner
from msolve.solvers.settings import Options, Report, Settings

SLOW = 0.5
"""Ratio of residuals above which a further correction is not worth its minimisation."""

INNER = 0.1
"""Tolerance of a minimisation that another will follow, over the residual of the blended force before it."""

GAIN = 0.2
"""What a correction leaves of that residual, about: one that is to reach the tolerance is minimised to the end."""

ROUNDED = 1e-6
"""Residual [eV/Å] from which on a minimisation that begins anew may see nothing but the rounding of the energy."""


def minimise(
    problem: CoupledProblem,
    z: PETSc.Vec,
    t: float,
    preconditioner: Preconditioner,
    settings: Settings,
) -> Report:
    """Minimise the energy from ``z``, in place: preconditioned L-BFGS with a line search. Collective.

    An early end (line search, iteration limit) is told by ``Report.converged``.

    Raises:
        ConvergenceError: The start has no energy: it is not finite, or an element is inside out.
    """
    begin = time.perf_counter()
    work = Counted(problem, t)
    history: list[float] = []
    backing_off = False
    tao = PETSc.TAO().create(z.comm)
    tao.setOptionsPrefix(settings.prefix + "min_")
    tao.setType("lmvm")
    tao.setObjectiveGradient(work.objective_gradient, None)
    tao.setMaximumIterations(settings.max_iterations)
    tao.setMaximumFunctionEvaluations(20 * settings.max_iterations)

    def test(tao: PETSc.TAO) -> int:
        gradient = tao.getGradient()[0]
        size = gradient.norm(PETSc.NormType.NORM_INFINITY)
        history.append(size)
        if settings.progress:
            settings.progress("minimise", len(history) - 1, float(tao.getObjectiveValue()), size)
        if size <= settings.tolerance:
            return int(PETSc.TAO.ConvergedReason.CONVERGED_USER)
        if settings.watch:
            settings.watch(tao.getSolution())
        if work.refused and not backing_off:
            return int(PETSc.TAO.ConvergedReason.DIVERGED_LS_FAILURE)
        # A test of one's own replaces PETSc's, and with it the limit that PETSc would keep.
        spent = len(history) > settings.max_iterations
        return int(PETSc.TAO.ConvergedReason.DIVERGED_MAXITS) if spent else 0

    tao.setConvergenceTest(test)
    tao.setLMVMH0(preconditioner.matrix)
    tao.setFromOptions()
    tao.setSolution(z)
    inner = tao.getLMVMH0KSP()
    inner.setType("preonly")
    inner.getPC().setType("python")
    inner.getPC().setPythonContext(Apply(preconditioner))
    with own_errors():
        tao.solve()
        if work.refused and history[-1] > settings.tolerance:
            # More and Thuente's search goes to the rounding of the energy, but gives up at states without
            # one. Backtracking goes on from there.
            backing_off = True
            tao.getLineSearch().setType("armijo")
            tao.solve()
    gradient = z.duplicate()
    energy = problem.evaluate(z, t, gradient)
    residual = gradient.norm(PETSc.NormType.NORM_INFINITY)
    tao.destroy()
    return Report(
        "minimise",
        len(history) - 1,
        work.evaluations,
        0,
        residual,
        energy,
        residual <= settings.tolerance,
        tuple(history),
        time.perf_counter() - begin,
    )


def find_root(
    problem: CoupledProblem,
    z: PETSc.Vec,
    t: float,
    preconditioner: Preconditioner,
    settings: Settings,
) -> Report:
    """Solve gradient = 0 from ``z``, in place: inexact Newton with exact Jacobian products. Collective."""
    begin = time.perf_counter()
    work = Counted(problem, t)
    history: list[float] = []
    snes = PETSc.SNES().create(z.comm)
    snes.setOptionsPrefix(settings.prefix + "root_")
    gradient = z.duplicate()
    size = (z.getLocalSize(), None)
    tangent = Product(work)
    shell = PETSc.Mat().createPython((size, size), tangent, comm=z.comm)

    def jacobian(snes: PETSc.SNES, z: PETSc.Vec, J: PETSc.Mat, P: PETSc.Mat) -> None:
        tangent.move(z)
        J.assemble()

    def test(snes: PETSc.SNES, it: int, norms: tuple[float, float, float]) -> int:
        worst = snes.getFunction()[0].norm(PETSc.NormType.NORM_INFINITY)
        history.append(worst)
        if settings.progress:
            settings.progress("root", it, float("nan"), worst)
        if worst <= settings.tolerance:
            return int(PETSc.SNES.ConvergedReason.CONVERGED_FNORM_ABS)
        if settings.watch:
            settings.watch(snes.getSolution())
        return 0

    shell.setUp()
    snes.setFunction(work.function, gradient)
    snes.setJacobian(jacobian, shell, preconditioner.matrix)
    snes.setConvergenceTest(test)
    snes.setTolerances(max_it=settings.max_iterations)
    ksp = snes.getKSP()
    ksp.setType("gmres")
    ksp.setTolerances(rtol=1e-3, max_it=200)
    ksp.setGMRESRestart(100)
    ksp.getPC().setType("python")
    ksp.getPC().setPythonContext(Apply(preconditioner))
    with Options(settings.prefix + "root_", {"snes_linesearch_type": "l2"}):
        snes.setFromOptions()
    with own_errors():
        snes.solve(None, z)
    problem.evaluate(z, t, gradient)
    residual = gradient.norm(PETSc.NormType.NORM_INFINITY)
    iterations = snes.getIterationNumber()
    snes.destroy()
    return Report(
        "root",
        iterations,
        work.evaluations,
        work.products,
        residual,
        float("nan"),
        residual <= settings.tolerance,
        tuple(history),
        time.perf_counter() - begin,
    )


def correct(
    energy_problem: CoupledProblem,
    force_terms: tuple[Term, ...],
    z: PETSc.Vec,
    t: float,
    preconditioner: Preconditioner,
    settings: Settings,
    *,
    corrections: int,
    tolerance: float | None = None,
) -> tuple[CoupledProblem, list[Report], list[float]]:
    """Deferred ghost-force correction, in place. Collective.

    Minimise the blended energy with a dead load, renew the dead load at the solution, and again, each time about as
    well as the dead load is known; a fixed point solves the blended-force equations. The fixed point knows nothing of
    the energy that leads to it: its elements follow an expansion about the last dead load's state, so that the law is
    asked once a correction. Where one leaves more than half of the residual, elements follow the law itself; where
    that does too, as narrow blends on meshes that ignore the lattice do, or so little that the energy is
    too coarse for the rest, Newton's method finishes from there.

    Args:
        energy_problem: Blended energy, with or without a dead load.
        force_terms: Terms of the blended-force residual on the same lifts.
        z: Start, overwritten with the solution.
        t: Load parameter.
        preconditioner: Elasticity.
        settings: Tolerance of each minimisation.
        corrections: How many times the dead load may be renewed.
        tolerance: Largest component of the blended force at the end [eV/Å]; by default that of ``settings``.

    Returns:
        ``(problem, reports, residuals)``: the energy problem with its last dead load, one report per
        minimisation, and the blended-force residual after each dead load [eV/Å].
    """
    wanted = settings.tolerance if tolerance is None else tolerance
    reports: list[Report] = []
    residuals: list[float] = []
    force, expand = z.duplicate(), True
    blended_force = energy_problem.with_terms(force_terms)
    blended_force.evaluate(z, t, force)
    before = force.norm(PETSc.NormType.NORM_INFINITY)
    for k in range(corrections + 1):
        problem = with_ghost_force_correction(energy_problem, force_terms, z, t)
        minimised, start = problem, z.copy()
        if expand:
            terms = expanded(problem.terms, problem.snapshot(z, t), preconditioner.C)
            minimised = problem.with_terms(terms, problem.dead_load)
        inner = settings
        if GAIN * before > wanted and k < corrections:
            # Another dead load comes after this one: what that changes need not be smaller than what it is wrong by.
            inner = dataclasses.replace(settings, tolerance=max(settings.tolerance, INNER * before))
        reports.append(minimise(minimised, z, t, preconditioner, inner))
        try:
            blended_force.evaluate(z, t, force)
        except ConvergenceError:
            if not expand:
                raise
            start.copy(z)
            expand = False
            continue
        last, before = before, force.norm(PETSc.NormType.NORM_INFINITY)
        residuals.append(before)
        done = before <= wanted and reports[-1].residual <= settings.tolerance
        if done or k == corrections:
            break
        fine = before <= ROUNDED
        slow = before > SLOW * last
        if fine or (slow and not expand):
            enough = min(wanted, settings.tolerance) if fine else wanted
            polish = dataclasses.replace(settings, tolerance=enough)
            reports.append(find_root(blended_force, z, t, preconditioner, polish))
            residuals.append(reports[-1].residual)
            problem = with_ghost_force_correction(energy_problem, force_terms, z, t)
            break
        expand = expand and not slow
    return problem, reports, residuals


def with_ghost_force_correction(
    energy_problem: CoupledProblem, force_terms: tuple[Term, ...], z: PETSc.Vec, t: float
) -> CoupledProblem:
    """The blended energy with the dead load that makes its gradient the blended force at ``z``. Collective.

    References:
        Ortner, Zhang, "Atomistic/continuum blending with ghost force correction", SIAM J. Sci. Comput. 38,
        A346 (2016).
    """
    dead_load, force = z.duplicate(), z.duplicate()
    energy_problem.with_terms(energy_problem.terms).evaluate(z, t, dead_load)
    energy_problem.with_terms(force_terms).evaluate(z, t, force)
    dead_load.axpy(-1.0, force)
    return energy_problem.with_terms(energy_problem.terms, dead_load)
