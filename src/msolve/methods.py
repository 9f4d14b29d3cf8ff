# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""One load step: which solver a coupling method uses, and stepping off saddles. Decided here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, replace

from petsc4py import PETSc

from msolve.assemble import Assembly
from msolve.config import Case
from msolve.coupling import symmetric_parts
from msolve.problem import CoupledProblem
from msolve.solvers import (
    Preconditioner,
    Report,
    Settings,
    correct,
    descend,
    find_root,
    lowest_mode,
    minimise,
    with_ghost_force_correction,
    work_between,
)

SADDLE_STEP = 0.1
"""Largest displacement of an atom in the step off a saddle [Å]."""

MAX_SADDLES = 3


@dataclass(frozen=True)
class Solved:
    """Outcome of one load step.

    Attributes:
        energy_problem: Problem whose Hessian decides on stability: the energy, or the symmetric part of the
            forces' Jacobian where there is none.
        residual_problem: Problem whose residual the method makes small.
        reports: What each solver did, in order.
        residual: Largest component of the residual that the method solves [eV/Å].
        energy: Energy of ``energy_problem`` [eV]; nan where there is none.
        converged: Whether the method's own tolerance was met.
    """

    energy_problem: CoupledProblem
    residual_problem: CoupledProblem
    reports: tuple[Report, ...]
    residual: float
    energy: float
    converged: bool


def solve(assembly: Assembly, case: Case, z: PETSc.Vec, t: float, settings: Settings) -> Solved:
    """Solve one load step by the case's method, from ``z``, in place. Collective."""
    problem, M = assembly.problem, assembly.preconditioner
    method = case.coupling.method
    if not problem.conservative:
        return _solve_by_forces(problem, z, t, M, settings)
    if method in ("atomistic", "bqce"):
        report = minimise(problem, z, t, M, settings)
        return Solved(problem, problem, (report,), report.residual, report.energy, report.converged)
    if method == "bgfc_deferred":
        corrected, reports, residuals = correct(
            problem,
            assembly.force_terms,
            z,
            t,
            M,
            settings,
            corrections=case.coupling.max_corrections,
            tolerance=case.coupling.correction_tolerance,
        )
        done = residuals[-1] <= case.coupling.correction_tolerance and reports[-1].converged
        energy = corrected.evaluate(z, t, z.duplicate())
        forces = problem.with_terms(assembly.force_terms)
        return Solved(corrected, forces, tuple(reports), residuals[-1], energy, done)
    # Loads on tags have no predictor but the elastic state that the step starts from.
    predictor = z.copy()
    if assembly.body.loads is None:
        predictor.set(0.0)
    corrected = with_ghost_force_correction(problem, assembly.force_terms, predictor, t)
    report = minimise(corrected, z, t, M, settings)
    if method == "bgfc":
        return Solved(
            corrected, corrected, (report,), report.residual, report.energy, report.converged
        )
    # The energy has found the branch; the blended forces have the last word.
    forces = problem.with_terms(assembly.force_terms)
    root = find_root(forces, z, t, M, settings)
    return Solved(corrected, forces, (report, root), root.residual, report.energy, root.converged)


def _solve_by_forces(
    problem: CoupledProblem, z: PETSc.Vec, t: float, M: Preconditioner, settings: Settings
) -> Solved:
    """Solve a problem without energy: the work of the forces finds the branch, Newton finishes. Collective."""
    reports = [descend(problem, z, t, M, settings)]
    if not reports[-1].converged:
        reports.append(find_root(problem, z, t, M, settings))
    judge = problem.with_terms(symmetric_parts(problem.terms))
    last = reports[-1]
    return Solved(judge, problem, tuple(reports), last.residual, float("nan"), last.converged)


def stabilise(
    assembly: Assembly, case: Case, z: PETSc.Vec, t: float, settings: Settings, solved: Solved
) -> tuple[Solved, float]:
    """Lowest eigenvalue; where it is negative, step off the saddle to both sides and keep the lower state."""
    M = assembly.preconditioner
    reports = solved.reports
    for _ in range(MAX_SADDLES):
        eigenvalue, mode = lowest_mode(solved.energy_problem, z, t, M)
        if eigenvalue >= 0:
            break
        mode.scale(SADDLE_STEP / mode.norm(PETSc.NormType.NORM_INFINITY))
        tries = []
        for sign in (1.0, -1.0):
            moved = z.copy()
            moved.axpy(sign, mode)
            tries.append((solve(assembly, case, moved, t, settings), moved))
        # Both energies are of the last dead load each found; for the full model they are the energy itself.
        if assembly.problem.conservative:
            solved, best = min(tries, key=lambda found: found[0].energy)
        else:
            (_, one), (_, other) = tries
            work = work_between(assembly.problem, one, other, t)
            solved, best = tries[1] if work < 0 else tries[0]
        best.copy(z)
        reports = (*reports, *solved.reports)
    else:
        eigenvalue, _ = lowest_mode(solved.energy_problem, z, t, M)
    found = replace(solved, reports=reports)
    return found, eigenvalue
