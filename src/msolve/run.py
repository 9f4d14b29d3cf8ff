# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Runs a case from its start or from a checkpoint: load steps, comparison with the full atomistic model, output."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np

from msolve.adapt import Adapted, adapt
from msolve.against import FullModel
from msolve.answers import Answers
from msolve.assemble import Assembly
from msolve.build import Setup, build, build_mesh, set_up
from msolve.checkpoint import Keeper, Stop, interrupted_before
from msolve.config import Case
from msolve.goals import check_quantities
from msolve.guarded import Rejected, beforehand, judge, without
from msolve.io.checkpoints import Checkpoint
from msolve.io.log import RunLog
from msolve.io.meshes import MeshData
from msolve.io.result import (
    RESULT,
    ComparisonResult,
    Result,
    Step,
    versions,
    write_result,
)
from msolve.methods import Solved, solve, stabilise
from msolve.output import (
    Recorder,
    StepFields,
    collect,
    prepare,
    tip_position,
)
from msolve.parallel import all_or_none
from msolve.potentials import keep_freed_memory
from msolve.restart import fingerprints
from msolve.solvers import Options, Settings, follow_boundary


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
        setup, mesh, assembly, adapted = _prepared(case, comm, state, log)
        finished = () if state is None else state.steps
        verdict = finished[-1].handshake if finished else None
        if verdict is None and adapted is not None:
            verdict = adapted.handshake
        setup, assembly, verdict = _with_handshake(setup, assembly, verdict, log)
        keeper = Keeper(setup, assembly, mesh, fingerprints(setup.case, comm), stop)
        if state is not None:
            z = keeper.restore(state)
        elif adapted is not None and len(setup.loads) == 1:
            z = adapted.last.z  # more loads lead to the last one on whatever branch they find
        else:
            z = assembly.problem.kinematics.unknowns.vector()
        interrupted_before(comm, stop)
        recorder = Recorder(
            setup, assembly, mesh, directory, None if state is None else len(finished)
        )
        if state is not None and state.iterations == 0:
            keeper.between_steps(finished, z)
        start = Start(z, finished, state is not None and state.iterations > 0, verdict)
        if adapted is not None:
            start = dataclasses.replace(start, whole=adapted.last.full.whole)
            recorder.rounds(adapted.views, adapted.label)
        history = None if adapted is None else adapted.history
        try:
            return _solve_and_record(setup, assembly, start, recorder, keeper, log, history)
        except Rejected as rejected:
            log.say(str(rejected))
            setup, assembly = without(setup, assembly)
            begun = tuple(rejected.finished)
            start = Start(z, begun, True, rejected.verdict.told())
            keeper = Keeper(setup, assembly, mesh, fingerprints(setup.case, comm), stop)
            recorder = Recorder(setup, assembly, mesh, directory, len(begun))
            return _solve_and_record(setup, assembly, start, recorder, keeper, log, history)


def _prepared(
    case: Case, comm: MPI.Comm, state: Checkpoint | None, log: RunLog
) -> tuple[Setup, MeshData | None, Assembly, Adapted | None]:
    """What a case means, its mesh and problem: refined first, where it asks for that."""
    with log.phase("crystal and potential"):
        setup = set_up(case, comm)
        check_quantities(setup)
    adapted = None
    if case.adaptivity is not None and state is None:
        with log.phase("refinement"):
            adapted = adapt(setup, comm, _settings(case), log)
        setup = adapted.setup
    with log.phase("mesh"):
        mesh = None
        if adapted is not None:
            mesh = adapted.last.mesh
        elif case.coupled:
            mesh = build_mesh(setup, comm) if state is None else state.mesh
    with log.phase("assembly"):
        assembly = build(setup, mesh, comm) if adapted is None else adapted.last.assembly
    return setup, mesh, assembly, adapted


def _with_handshake(
    setup: Setup, assembly: Assembly, verdict: Mapping[str, Any] | None, log: RunLog
) -> tuple[Setup, Assembly, Mapping[str, Any] | None]:
    """The same without a learned handshake, if the guard rejects it now or has done so before; and what it said."""
    if assembly.body.learned is None:
        return setup, assembly, verdict
    early = beforehand(FullModel(setup, assembly))
    if early is not None and (verdict is None or verdict["kept"]):
        log.say(early.line())
        verdict = early.told()
    if verdict is not None and not verdict["kept"]:
        setup, assembly = without(setup, assembly)
    return setup, assembly, verdict


def _settings(case: Case) -> Settings:
    return Settings(
        tolerance=case.solver.gradient_tolerance, max_iterations=case.solver.max_iterations
    )


@dataclass(frozen=True)
class Start:
    """Where the load steps begin.

    Attributes:
        z: Unknowns.
        finished: Load steps that are done.
        inside: Whether ``z`` is an iterate of the next load step.
        verdict: What the guard last said of the learned handshake.
        whole: The full atomistic model, if it has been made before.
    """

    z: PETSc.Vec
    finished: tuple[Step, ...]
    inside: bool
    verdict: Mapping[str, Any] | None = None
    whole: Assembly | None = None


def _solve_and_record(
    setup: Setup,
    assembly: Assembly,
    start: Start,
    recorder: Recorder,
    keeper: Keeper,
    log: RunLog,
    history: dict[str, Any] | None = None,
) -> Result:
    case, comm = setup.case, assembly.problem.kinematics.unknowns.comm
    settings = dataclasses.replace(_settings(case), progress=log.progress, watch=keeper.watch)
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
            adaptivity=history,
            seconds={**seconds, **log.seconds},
            files=recorder.files,
        )
        with all_or_none(comm, f"writing {RESULT}"):
            log.check()
            if comm.rank == 0:
                write_result(case.output_directory / RESULT, result)
        return result

    answers = Answers(setup, assembly, start.whole, log)
    steps, fields = _load_steps(
        setup, assembly, answers, start, settings, recorder, keeper, log, publish
    )
    full = answers.full
    log.seconds.clear()
    comparison, reference = None, None
    apart: dict[str, tuple[float, ...]] = {}
    if case.compare.atomistic and case.coupled:
        settings = dataclasses.replace(settings, watch=keeper.watch_for_signals)
        with log.phase("full atomistic model"):
            found = full.compare(start.z, setup.loads[-1], settings)
            recorder.comparison(full.assembly, found.error, found.numbers)
            comparison, reference = found.result, found.patch
            apart = {"full atomistic model, from the coupled solution": found.report.history}
    with log.phase("pictures"):
        recorder.pictures(fields, steps[-1].histories, reference, apart)
        recorder.budget(steps, (history or {}).get("rounds", ()))
    if comparison is not None:
        log.say(
            f"error against the full atomistic model: {comparison.total_h1:.3g} Å in all, "
            f"{comparison.tip_h1:.2g} Å near the defect (H1 norm)"
        )
    return publish(steps, comparison, True)


def _load_steps(
    setup: Setup,
    assembly: Assembly,
    answers: Answers,
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
    verdict = start.verdict
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
        estimated = answers.estimate(z, t, solved)
        if assembly.body.learned is not None:
            keeper.hold(z)
            numbers_of = None if estimated is None else estimated[0]
            with log.phase("guard"):
                found = judge(setup, assembly, answers.full, z, t, numbers_of, settings)
            if not found.kept:
                raise Rejected(found, steps)
            verdict = found.told()
            log.say(found.line())
        answer = answers(z, t, estimated)
        with log.phase("output"):
            fields = collect(assembly, z, t)
            local = None if estimated is None else answers.full.indicators(estimated[1])
            recorder.write(index, fields, local)
            if estimated is not None and index == len(loads) - 1:
                recorder.estimate(answers.full.X, estimated[1].error, estimated[0])
        potential = {k: v - spent[k] for k, v in assembly.potential_seconds().items()}
        step = _step(setup, assembly, index, t, solved, eigenvalue, fields, dict(log.seconds))
        step = dataclasses.replace(step, potential_seconds=potential, handshake=verdict)
        steps.append(answer.beside(step))
        log.step(steps[-1])
        answer.say(log)
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
