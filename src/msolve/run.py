# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Runs a case from its start or from a checkpoint: load steps, comparison with the full atomistic model, output."""

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
from msolve.checkpoint import Keeper, Stop, interrupted_before
from msolve.compare import Comparison, compare, lift_to, unknowns_of
from msolve.config import Case
from msolve.errors import ConvergenceError
from msolve.io.checkpoints import Checkpoint
from msolve.io.log import RunLog
from msolve.io.result import RESULT, ComparisonResult, Result, Step, versions, write_result
from msolve.methods import Solved, solve, stabilise
from msolve.output import Recorder, StepFields, collect, prepare, tip_position
from msolve.parallel import all_or_none
from msolve.potentials import keep_freed_memory
from msolve.restart import fingerprints
from msolve.solvers import Options, Report, Settings, descend, follow_boundary, minimise


def never() -> int:
    """No signal asks to stop."""
    return 0


def run_case(
    case: Case, comm: MPI.Comm, *, state: Checkpoint | None = None, stop: Stop = never
) -> Result:
    """Run a case, from its start or from a checkpoint, and write its output. Collective.

    Args:
        case: The input.
        comm: Ranks that share the work.
        state: Where to go on from, see ``restart.read_state``; its arrays count on rank 0 only.
        stop: Number of a signal that asks to stop, or 0; asked in each iteration.

    Raises:
        CaseError: The case does not fit its potential, its mesh or the checkpoint.
        UnsupportedError: Its parts do not fit together.
        ConvergenceError: A solver broke down.
        OutputError: Output cannot be written.
        Interrupted: A signal asked to stop.
    """
    keep_freed_memory()
    directory = case.output_directory
    prepare(directory, comm)
    ranks = f"{comm.size} rank{'s' if comm.size > 1 else ''}"
    title = f"msolve: {case.name} on {ranks}, output in {directory}"
    if state is not None:
        title += f", from its checkpoint after {len(state.steps)} load steps"
    with (
        Options("msolve_", dict(case.solver.petsc)),
        RunLog(comm.rank, directory, title, comm.size, append=state is not None) as log,
    ):
        with log.phase("crystal and potential"):
            setup = set_up(case, comm)
        with log.phase("mesh"):
            mesh = None
            if case.coupled:
                mesh = build_mesh(setup, comm) if state is None else state.mesh
        with log.phase("assembly"):
            assembly = build(setup, mesh, comm)
        keeper = Keeper(setup, assembly, mesh, fingerprints(case, comm), stop)
        z = (
            assembly.problem.kinematics.unknowns.vector()
            if state is None
            else keeper.restore(state)
        )
        interrupted_before(comm, stop)
        finished = () if state is None else state.steps
        recorder = Recorder(
            setup, assembly, mesh, directory, None if state is None else len(finished)
        )
        if state is not None and state.iterations == 0:
            keeper.between_steps(finished, z)
        start = Start(z, finished, state is not None and state.iterations > 0)
        return _solve_and_record(setup, assembly, start, recorder, keeper, log)


@dataclass(frozen=True)
class Start:
    """Where the load steps begin.

    Attributes:
        z: Unknowns.
        finished: Load steps that are done.
        inside: Whether ``z`` is an iterate of the next load step.
    """

    z: PETSc.Vec
    finished: tuple[Step, ...]
    inside: bool


def _solve_and_record(
    setup: Setup,
    assembly: Assembly,
    start: Start,
    recorder: Recorder,
    keeper: Keeper,
    log: RunLog,
) -> Result:
    case, comm = setup.case, assembly.problem.kinematics.unknowns.comm
    settings = Settings(
        tolerance=case.solver.gradient_tolerance,
        max_iterations=case.solver.max_iterations,
        progress=log.progress,
        watch=keeper.watch,
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

    steps, fields = _load_steps(setup, assembly, start, settings, recorder, keeper, log, publish)
    log.seconds.clear()
    comparison, reference = None, None
    apart: dict[str, tuple[float, ...]] = {}
    if case.compare.atomistic and case.coupled:
        settings = dataclasses.replace(settings, watch=keeper.watch_for_signals)
        with log.phase("full atomistic model"):
            comparison, reference, apart = _against_atomistic(
                setup, assembly, start.z, setup.loads[-1], settings, recorder
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
    memory = _memory(
        comm.size, atoms * neighbours, setup.body.model.layers, kinematics.unknowns.n_global
    )
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


def _memory(ranks: int, edges: int, layers: int, unknowns: int) -> float:
    """Rough peak memory [GB]: programs, evaluated atoms' edges, unknowns (docs/benchmarks.md)."""
    per_edge = 400.0 if layers == 1 else 20_000.0
    return 0.6 * ranks + 1e-9 * (edges * per_edge + unknowns * 3_400.0)


def _load_steps(
    setup: Setup,
    assembly: Assembly,
    start: Start,
    settings: Settings,
    recorder: Recorder,
    keeper: Keeper,
    log: RunLog,
    publish: Callable[[list[Step], None, bool], Result],
) -> tuple[list[Step], StepFields]:
    case, z = setup.case, start.z
    steps, loads = list(start.finished), setup.loads
    fields: StepFields | None = None
    for step in steps:
        log.step(step)
    if steps:
        publish(steps, None, False)
    recorder.remove_unlisted()
    for index in range(len(steps), len(loads)):
        t = loads[index]
        inside = start.inside and index == len(start.finished)
        before = t if inside else loads[index - 1] if index else 0.0
        log.seconds.clear()
        keeper.begin_step(steps)
        spent = assembly.potential_seconds()
        with log.phase("solve"):
            follow_boundary(assembly.problem, z, before, t, setup.body.C, assembly.preconditioner)
            solved = solve(assembly, case, z, t, settings)
        eigenvalue = None
        if case.solver.stability:
            keeper.hold(z)
            with log.phase("stability"):
                solved, eigenvalue = stabilise(assembly, case, z, t, settings, solved)
        with log.phase("output"):
            fields = collect(assembly, z, t)
            recorder.write(index, fields)
        potential = {k: v - spent[k] for k, v in assembly.potential_seconds().items()}
        step = _step(setup, assembly, index, t, solved, eigenvalue, fields, dict(log.seconds))
        steps.append(dataclasses.replace(step, potential_seconds=potential))
        log.step(steps[-1])
        keeper.between_steps(steps, z)
        publish(steps, None, False)
        keeper.watch_for_signals()
    return steps, fields or collect(assembly, z, loads[-1])


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
        largest_force_spread=None
        if fields.force_spread is None
        else float(np.nanmax(fields.force_spread, initial=0.0)),
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
