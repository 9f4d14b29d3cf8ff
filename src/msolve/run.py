# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Runs a case: load steps, stability, comparison with the full atomistic model, output.

Which solver a coupling method uses is decided here and nowhere else.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
from scipy import spatial

from msolve.assemble import Assembly, full_atomistic
from msolve.build import Setup, build, build_mesh, set_up
from msolve.compare import Comparison, compare, lift_to, unknowns_of
from msolve.config import Case
from msolve.coupling import symmetric_parts
from msolve.errors import ConvergenceError
from msolve.io.log import RunLog
from msolve.io.result import RESULT, ComparisonResult, Result, Step, versions, write_result
from msolve.output import Recorder, StepFields, collect, prepare, tip_position
from msolve.parallel import all_or_none
from msolve.potentials import keep_freed_memory
from msolve.problem import CoupledProblem
from msolve.solvers import (
    Options,
    Preconditioner,
    Report,
    Settings,
    correct,
    descend,
    find_root,
    follow_boundary,
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
        reports: What each solver did, in order.
        residual: Largest component of the residual that the method solves [eV/Å].
        energy: Energy of ``energy_problem`` [eV]; nan where there is none.
        converged: Whether the method's own tolerance was met.
    """

    energy_problem: CoupledProblem
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
        return Solved(problem, (report,), report.residual, report.energy, report.converged)
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
        return Solved(corrected, tuple(reports), residuals[-1], energy, done)
    # Loads on tags have no predictor but the elastic state that the step starts from.
    predictor = z.copy()
    if assembly.body.loads is None:
        predictor.set(0.0)
    corrected = with_ghost_force_correction(problem, assembly.force_terms, predictor, t)
    report = minimise(corrected, z, t, M, settings)
    if method == "bgfc":
        return Solved(corrected, (report,), report.residual, report.energy, report.converged)
    # The energy has found the branch; the blended forces have the last word.
    root = find_root(problem.with_terms(assembly.force_terms), z, t, M, settings)
    return Solved(corrected, (report, root), root.residual, report.energy, root.converged)


def _solve_by_forces(
    problem: CoupledProblem, z: PETSc.Vec, t: float, M: Preconditioner, settings: Settings
) -> Solved:
    """Solve a problem without energy: the work of the forces finds the branch, Newton finishes. Collective."""
    reports = [descend(problem, z, t, M, settings)]
    if not reports[-1].converged:
        reports.append(find_root(problem, z, t, M, settings))
    judge = problem.with_terms(symmetric_parts(problem.terms))
    last = reports[-1]
    return Solved(judge, tuple(reports), last.residual, float("nan"), last.converged)


def run_case(case: Case, comm: MPI.Comm) -> Result:
    """Run a case and write its output. Collective.

    Raises:
        CaseError: The case does not fit its potential or its mesh.
        UnsupportedError: Its parts do not fit together.
        ConvergenceError: A solver broke down.
        OutputError: Output cannot be written.
    """
    keep_freed_memory()
    directory = case.output_directory
    prepare(directory, comm)
    title = f"msolve: {case.name} on {comm.size} rank{'s' if comm.size > 1 else ''}, output in {directory}"
    with (
        Options("msolve_", dict(case.solver.petsc)),
        RunLog(comm.rank, directory, title, comm.size) as log,
    ):
        with log.phase("crystal and potential"):
            setup = set_up(case, comm)
        with log.phase("mesh"):
            mesh = build_mesh(setup, comm) if case.coupled else None
        with log.phase("assembly"):
            assembly = build(setup, mesh, comm)
        recorder = Recorder(setup, assembly, mesh, directory)
        return _solve_and_record(setup, assembly, recorder, log, comm)


def _solve_and_record(
    setup: Setup, assembly: Assembly, recorder: Recorder, log: RunLog, comm: MPI.Comm
) -> Result:
    case = setup.case
    settings = Settings(
        tolerance=case.solver.gradient_tolerance,
        max_iterations=case.solver.max_iterations,
        progress=log.progress,
    )
    seconds = dict(log.seconds)

    def publish(steps: list[Step], comparison: ComparisonResult | None, done: bool) -> Result:
        converged = "converged" if all(s.converged for s in steps) else "not converged"
        result = Result(
            status=converged if done else "running",
            case=case.to_dict(),
            versions=versions(),
            ranks=comm.size,
            material=setup.material(),
            steps=tuple(steps),
            comparison=comparison,
            seconds={**seconds, **log.seconds},
            files=recorder.files,
        )
        with all_or_none(comm, f"writing {RESULT}"):
            log.check()
            if comm.rank == 0:
                write_result(case.output_directory / RESULT, result)
        return result

    steps, fields, z = _load_steps(setup, assembly, settings, recorder, log, publish)
    log.seconds.clear()
    comparison, reference = None, None
    apart: dict[str, tuple[float, ...]] = {}
    if case.compare.atomistic and case.coupled:
        with log.phase("full atomistic model"):
            comparison, reference, apart = _against_atomistic(
                setup, assembly, z, setup.loads[-1], settings, recorder
            )
    with log.phase("pictures"):
        recorder.pictures(fields, steps[-1].histories, reference, apart)
    if comparison is not None:
        log.say(
            f"error against the full atomistic model: {comparison.total_h1:.3g} Å in all, "
            f"{comparison.tip_h1:.2g} Å near the defect (H1 norm)"
        )
    return publish(steps, comparison, True)


def check_case(case: Case, comm: MPI.Comm) -> str:
    """Validate a case against its potential and mesh and tell how large it is; solves nothing. Collective."""
    setup = set_up(case, comm)
    mesh = build_mesh(setup, comm) if case.coupled else None
    assembly = build(setup, mesh, comm)
    kinematics = assembly.problem.kinematics
    atoms = int(assembly.evaluated.sum())
    neighbours = len(setup.body.crystal.shell(setup.body.model.cutoff).vectors)
    memory = _memory(comm.size, atoms, neighbours, setup.body.model.layers)
    lines = [
        f"{case.name}: valid",
        f"  atoms     {int(assembly.free.sum())} free, {atoms} evaluated, {len(assembly.X)} in all",
        f"  mesh      {kinematics.space.n_global_nodes if kinematics.space else 0} nodes",
        f"  unknowns  {kinematics.unknowns.n_global}",
        f"  memory    about {memory:.1f} GB on all ranks together",
    ]
    if setup.K_G is not None:
        material = setup.material()
        lines.append(
            f"  K_G       {material['K_G']:.4f} MPa√m, surface energy {material['surface_energy']:.4f} J/m²"
        )
    return "\n".join(lines)


def _memory(ranks: int, atoms: int, neighbours: int, layers: int) -> float:
    """Rough peak memory [GB]: what the programs take, and what one atom's edges take (measured, docs/limits.md)."""
    per_edge = 400.0 if layers == 1 else 20_000.0
    return 0.6 * ranks + 1e-9 * atoms * neighbours * per_edge


def _load_steps(
    setup: Setup,
    assembly: Assembly,
    settings: Settings,
    recorder: Recorder,
    log: RunLog,
    publish: Callable[[list[Step], None, bool], Result],
) -> tuple[list[Step], StepFields, PETSc.Vec]:
    case = setup.case
    z = assembly.problem.kinematics.unknowns.vector()
    steps: list[Step] = []
    before = 0.0
    for index, t in enumerate(setup.loads):
        log.seconds.clear()
        spent = assembly.potential_seconds()
        with log.phase("solve"):
            follow_boundary(assembly.problem, z, before, t, setup.body.C, assembly.preconditioner)
            before = t
            solved = solve(assembly, case, z, t, settings)
        eigenvalue = None
        if case.solver.stability:
            with log.phase("stability"):
                solved, eigenvalue = _stabilise(assembly, case, z, t, settings, solved)
        with log.phase("output"):
            fields = collect(assembly, z, t)
            recorder.write(index, fields)
        potential = {k: v - spent[k] for k, v in assembly.potential_seconds().items()}
        step = _step(setup, assembly, index, t, solved, eigenvalue, fields, dict(log.seconds))
        steps.append(dataclasses.replace(step, potential_seconds=potential))
        publish(steps, None, False)
        log.step(steps[-1])
    return steps, fields, z


def _stabilise(
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
    found = Solved(solved.energy_problem, reports, solved.residual, solved.energy, solved.converged)
    return found, eigenvalue


def _step(
    setup: Setup,
    assembly: Assembly,
    index: int,
    t: float,
    solved: Solved,
    eigenvalue: float | None,
    fields: StepFields,
    seconds: dict[str, float],
) -> Step:
    kinematics = assembly.problem.kinematics
    corrected = setup.case.coupling.method == "bgfc_deferred"
    histories = {
        f"{k + 1} {'correct' if corrected and k and r.label == 'minimise' else r.label}": r.history
        for k, r in enumerate(solved.reports)
    }
    return Step(
        index=index,
        load=t * setup.load_scale,
        load_unit=setup.load_unit,
        energy=solved.energy - _perfect_energy(assembly),
        residual_norm=solved.residual,
        iterations=sum(r.iterations for r in solved.reports),
        converged=solved.converged,
        free_atoms=int(assembly.free.sum()),
        evaluated_atoms=int(assembly.evaluated.sum()),
        mesh_nodes=kinematics.space.n_global_nodes if kinematics.space else 0,
        unknowns=kinematics.unknowns.n_global,
        lowest_eigenvalue=eigenvalue,
        tip_position=tip_position(assembly.body, assembly.X, assembly.free, fields.positions),
        seconds=seconds,
        histories=histories,
    )


def _perfect_energy(assembly: Assembly) -> float:
    """Energy of the same sites and cells in the perfect crystal [eV]. Collective."""
    problem, body = assembly.problem, assembly.body
    W = float(body.material.energy_density(np.eye(3)[None])[0][0])
    volume = body.crystal.crystal.atomic_volume
    sites = 1 - assembly.beta if problem.stored is not None else assembly.evaluated.astype(float)
    energy = W * volume * float(sites.sum())
    if problem.stored is not None:
        beta = assembly.blend_points
        part = float(np.sum(problem.stored.volume * beta))
        energy += W * float(problem.kinematics.unknowns.comm.allreduce(part))
    return energy


def _against_atomistic(
    setup: Setup, assembly: Assembly, z: PETSc.Vec, t: float, settings: Settings, recorder: Recorder
) -> tuple[ComparisonResult, np.ndarray, dict[str, tuple[float, ...]]]:
    """Solve the full atomistic model from the lifted coupled state, and measure the difference."""
    case = setup.case
    comm = assembly.problem.kinematics.unknowns.comm
    begin = time.perf_counter()
    full = full_atomistic(comm, setup.body, prefix="msolve_full_")
    lifted = lift_to(assembly, z, t, full)
    solution = unknowns_of(full, lifted, t)
    seek = minimise if full.problem.conservative else descend
    report = seek(full.problem, solution, t, full.preconditioner, settings)
    if not report.converged:
        raise ConvergenceError(
            f"the full atomistic model did not converge: residual {report.residual:.2g} eV/angstrom "
            f"after {report.iterations} iterations; the coupled solution is in the output folder"
        )
    seconds = time.perf_counter() - begin
    numbers, error = compare(
        full, lifted, solution, t, rim=case.compare.rim, tip_radius=case.compare.tip_radius
    )
    recorder.comparison(full, error, numbers)
    reference = lifted - error
    return (
        _comparison_result(numbers, full, report, seconds),
        _atoms_of(assembly, full, reference),
        {"full atomistic model, from the coupled solution": report.history},
    )


def _comparison_result(
    numbers: Comparison, full: Assembly, report: Report, seconds: float
) -> ComparisonResult:
    return ComparisonResult(
        total_h1=numbers.total_h1,
        tip_h1=numbers.tip_h1,
        relative_h1=numbers.relative_h1,
        max_displacement_error=numbers.largest,
        energy_error=numbers.energy,
        atomistic_atoms=int(full.free.sum()),
        atomistic_iterations=report.iterations,
        atomistic_seconds=seconds,
    )


def _atoms_of(assembly: Assembly, full: Assembly, positions: np.ndarray) -> np.ndarray:
    """Rows of the full model for the patch's atoms."""
    distance, match = spatial.cKDTree(full.X).query(assembly.X)
    inside = distance < 1e-6
    out = np.full_like(assembly.X, np.nan)
    out[inside] = positions[match[inside]]
    return out
