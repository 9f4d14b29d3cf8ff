# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Cores and mesh refined by the estimated error, until it is small enough or too dear: solve, estimate, mark, refine.

Marked are the fewest atoms that hold a given share of the sources of the error; what is done about them is decided in
``refinement``. Each round starts from the solution before it. Once the mesh has the larger share of the error,
quadratic elements are tried beside the usual next round, and what lowers the error most for its unknowns is kept.

References:
    W. Dörfler, SIAM J. Numer. Anal. 33, 1106 (1996): marking by a share of the error.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.against import FullModel
from msolve.assemble import Assembly
from msolve.balance import GROWTHS
from msolve.build import Setup, build, build_mesh, set_up
from msolve.compare import carried_over
from msolve.config import Adaptivity, Case
from msolve.errors import CaseError, ConvergenceError
from msolve.estimate import Estimate, Places
from msolve.goals import goal_places
from msolve.guarded import judge
from msolve.io.log import RunLog
from msolve.io.rounds import RoundView
from msolve.methods import Solved, solve
from msolve.output import COLUMNS, budget
from msolve.refinement import Error, fits, marked, pushed, quadratic, refined, shrunk
from msolve.rounds import Round, rate_of, row_of, told_of, view_of
from msolve.solvers import Settings
from msolve.stability import doubtful_atoms, unstable_cells

Array = npt.NDArray[np.float64]

AMPLE = 4.0
"""An error so much below its tolerance lets cores shrink."""

AIM = 0.8
"""The next round aims a little below the tolerance, because rates are not known exactly."""

FURTHEST = 0.25
"""It never aims at less than this share of the error: parts of a large error say little about a small one."""

HALF = 0.5
"""What it aims at where there is no tolerance; and what one round is sure to gain."""

STALLED = 0.8
"""A round that leaves more than this share of the error gains little."""

LOOSE = 0.1
"""Error of the algebra over the one expected, in a round that only shows what to refine."""

CLOSE = 1.1
"""An error so little above its tolerance, found in such a round, has to be found out better."""

FAR = 0.25
"""Square of what lies beyond the outer boundary over that of the rest from which on a body grows."""


@dataclasses.dataclass(frozen=True)
class Adapted:
    """Where refinement ended.

    Attributes:
        setup: The last problem.
        last: It, as it was solved.
        history: For ``result.json``: why it stopped, and a row a round.
        views: What pictures of the rounds need.
        label: What their error is.
        handshake: What the guard said of a learned handshake that it has rejected, see ``msolve.guarded.Verdict``.
    """

    setup: Setup
    last: Round
    history: dict[str, Any]
    views: tuple[RoundView, ...]
    label: str
    handshake: dict[str, Any] | None = None


class Refinement:
    """Solves one problem after the other.

    Args:
        comm: Communicator.
        wanted: When to stop.
        settings: Of the solver.
        log: Told each round.
        watch: Shown each round, if given.

    Note:
        Everything is collective.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        wanted: Adaptivity,
        settings: Settings,
        log: RunLog,
        watch: Callable[[Round], None] | None = None,
    ) -> None:
        self._comm, self._wanted, self._settings, self._log = comm, wanted, settings, log
        self._watch = watch
        self.rows: list[dict[str, Any]] = []
        self.rejected: dict[str, Any] | None = None
        self._begin = time.perf_counter()

    def solve(self, setup: Setup, before: Round | None, told: str) -> Round:
        """Solve and estimate a problem, from the solution before it.

        Raises:
            CaseError: No error can be estimated for this body.
            ConvergenceError: It could not be solved.
        """
        begin = time.perf_counter()
        mesh = build_mesh(setup, self._comm)
        assembly = build(setup, mesh, self._comm)
        same = before is not None and before.setup.body.radius == setup.body.radius
        known = before.full.whole if before is not None and same else None
        full = FullModel(setup, assembly, known)
        why_not = full.no_estimate if self._wanted.quantity is None else full.why_not
        if why_not is not None:
            raise CaseError([f"adaptivity: no error can be estimated: {why_not}"])
        z, t = assembly.problem.kinematics.unknowns.vector(), setup.loads[-1]
        if before is not None:
            z = carried_over(before.assembly, before.z, t, assembly)
        case, settings = self._good_enough(setup, before)
        rough = settings is not self._settings
        solved = self._solved(assembly, case, z, t, settings)
        numbers, places, off = self._estimated(setup, assembly, full, z, solved, rough)
        if rough and numbers.total_h1 <= CLOSE * self._tolerance:
            rough = False
            solved = self._solved(assembly, setup.case, z, t, self._settings)
            numbers, places, off = self._estimated(setup, assembly, full, z, solved)
        unstable = np.concatenate(
            [
                unstable_cells(assembly, z, t, self._wanted.stability),
                doubtful_atoms(assembly, z, t, self._wanted.doubt),
            ]
        )
        rate = rate_of(setup, places, before)
        seconds = time.perf_counter() - begin
        found = Round(
            setup, mesh, assembly, z, solved, numbers, places, off, full, unstable, rate, seconds
        )
        self.rows.append(row_of(found, told, sum(r.iterations for r in solved.reports)))
        self.rows[-1]["rough"] = rough
        self._log.say(told_of(len(self.rows) - 1, self.rows[-1]))
        self._log.table(COLUMNS, budget(numbers))
        if self._watch is not None:
            self._watch(found)
        return found

    def _good_enough(self, setup: Setup, before: Round | None) -> tuple[Case, Settings]:
        """How well to solve: as the input says where this may be the last round, else as its error deserves.

        Forces are taken for errors by the stiffness of a bond. All rounds for the sake of a number are solved well.
        """
        case, settings, wanted = setup.case, self._settings, self._wanted.total_h1
        expected = math.inf
        if before is not None:
            expected = before.error * max(FURTHEST, float(GROWTHS[-1]) ** -before.rate)
        if wanted is None or self._wanted.quantity is not None or expected <= wanted:
            return case, settings
        bond = float(setup.body.C[0, 0, 0, 0]) * setup.body.crystal.nearest_neighbour_distance
        force = LOOSE * bond * (wanted if before is None else expected)
        coupling, last = case.coupling, case.coupling.correction_tolerance
        coupling = coupling.model_copy(update={"correction_tolerance": max(last, force)})
        # What is corrected later is minimised a little better than that.
        settings = dataclasses.replace(settings, tolerance=max(settings.tolerance, LOOSE * force))
        return case.model_copy(update={"coupling": coupling}), settings

    def _solved(
        self, assembly: Assembly, case: Case, z: PETSc.Vec, t: float, settings: Settings
    ) -> Solved:
        solved = solve(assembly, case, z, t, settings)
        if not solved.converged:
            raise ConvergenceError(
                f"round {len(self.rows)} of the refinement stopped at a residual of {solved.residual:.2g} eV/angstrom"
            )
        return solved

    def _estimated(
        self,
        setup: Setup,
        assembly: Assembly,
        full: FullModel,
        z: PETSc.Vec,
        solved: Solved,
        rough: bool = False,
    ) -> tuple[Estimate, Places, float | None]:
        t = setup.loads[-1]
        found = full.estimate(z, t, solved, rough=rough)
        if found is None:
            raise CaseError(["adaptivity: needs estimates; estimate.kind = hessian would do"])
        numbers, places = found
        goal = self._wanted.quantity
        if goal is None:
            return numbers, places, None
        of_goal = goal_places(setup, assembly, full, goal.name, z, t)
        if of_goal is None:
            return numbers, places, math.inf
        off = of_goal[0].off
        return numbers, of_goal[1], math.inf if off is None else off

    def enough(self, last: Round) -> str | None:
        """Why to stop, or ``None``."""
        wanted, row = self._wanted, self.rows[-1]
        if last.is_fine(wanted):
            return "the estimated error is small enough"
        if len(self.rows) >= wanted.rounds:
            return "adaptivity.rounds problems are solved"
        if wanted.atoms is not None and row["evaluated_atoms"] > wanted.atoms:
            return "more than adaptivity.atoms are evaluated"
        if wanted.unknowns is not None and row["unknowns"] > wanted.unknowns:
            return "more than adaptivity.unknowns are solved for"
        spent = self._comm.bcast(time.perf_counter() - self._begin)
        if wanted.seconds is not None and spent > wanted.seconds:
            return "adaptivity.seconds have passed"
        return None

    def following(self, last: Round) -> Setup | str:
        """The next problem, or why there is none."""
        wanted, setup = self._wanted, last.setup
        case, beyond = setup.case, last.numbers.truncation
        assert case.domain is not None
        largest = wanted.largest_radius
        if (
            largest is not None
            and case.domain.radius < largest
            and beyond**2 > FAR * last.numbers.elasticity_norm**2
        ):
            return set_up(pushed(case, largest), self._comm)
        where = last.full.X
        inside = setup.body.shape.distance(where) < -case.compare.rim
        places = marked(where[inside, :2], last.places.source[inside], wanted.bulk)
        error = self._wanted_of(last, where[:, :2], inside)
        next_case: Case = self._comm.bcast(
            refined(setup, places, last.mesh, last.unstable, error)
            if self._comm.rank == 0
            else None
        )
        if next_case == case:
            return (
                "what is left lies at the outer boundary, where no core fits and the mesh is fine"
            )
        following = dataclasses.replace(setup, case=next_case)
        return following if fits(following) else "the body is too small for a larger core"

    def _wanted_of(self, last: Round, where: Array, inside: npt.NDArray[np.bool_]) -> Error:
        """What the next round is to gain: all of it, or a good part of it where that is much."""
        goal, parts = self._wanted.quantity, last.places.parts
        if parts is None or goal is not None:
            # By the sources alone: the mesh has what lies where it is coarse.
            source = np.where(inside, np.abs(last.places.source), 0.0)
            parts = np.column_stack([0.0 * source, source])
        share = max(AIM * self._tolerance / last.error, FURTHEST) if self._tolerance else HALF
        evaluated = last.assembly.X[last.assembly.evaluated, :2]
        # A number's error is a square already: forces times an adjoint that is no better known than the state.
        return Error(
            where,
            parts,
            share if goal is not None else share**2,
            evaluated,
            self._wanted.atom_cost,
            last.rate,
        )

    def smaller(self, last: Round) -> Round:
        """The same with smaller cores, while the error stays below its tolerance."""
        wanted = self._wanted
        while wanted.shrink and last.error * AMPLE < self._tolerance and not self._out_of_rounds:
            case = shrunk(last.setup)
            if case == last.setup.case:
                break
            found = self.solve(dataclasses.replace(last.setup, case=case), last, "shrunk")
            if found.error > self._tolerance:
                break
            last = found
        return last

    def judged(self, last: Round) -> Round | None:
        """The same problem with the slab handshake where the guard rejects a learned one, else ``None``."""
        if last.setup.body.learned is None:
            return None
        t = last.setup.loads[-1]
        args = (last.setup, last.assembly, last.full, last.z, t, last.numbers, self._settings)
        verdict = judge(*args)
        self._log.say(verdict.line())
        self.rejected = None if verdict.kept else verdict.told()
        if verdict.kept:
            return None
        body = dataclasses.replace(last.setup.body, learned=None)
        return self.solve(dataclasses.replace(last.setup, body=body), last, "slab handshake")

    @property
    def _tolerance(self) -> float:
        goal = self._wanted.quantity
        norm = self._wanted.total_h1 or self._wanted.energy_norm or 0.0
        return norm if goal is None else goal.tolerance

    @property
    def _out_of_rounds(self) -> bool:
        return len(self.rows) >= self._wanted.rounds

    def is_far(self, before: Round, usual: Round) -> bool:
        """Whether one usual round more will not do, or rounds gain little."""
        far = usual.error > min(self._tolerance / HALF, STALLED * before.error)
        return far and self.enough(usual) is None

    def mesh_is_dear(self, last: Round) -> bool:
        """Whether the mesh has the larger share in the error, and in the cost."""
        atoms = int(last.assembly.evaluated.sum())
        return last.by_mesh and last.unknowns >= self._wanted.atom_cost * atoms

    def better(self, before: Round, usual: Round) -> Round:
        """The usual next round, or quadratic elements in its place: what gains more for its unknowns."""
        linear = not self._wanted.quadratic or before.full.too_large is not None  # as samples want
        if linear or before.setup.case.mesh.degree == 2:
            return usual
        # On the mesh before: what has just been made finer is made finer for linear elements.
        case = usual.setup.case.model_copy(update={"mesh": before.setup.case.mesh})
        setup = dataclasses.replace(usual.setup, case=quadratic(case))
        tried = self.solve(setup, usual, "quadratic elements tried")
        gains = [
            math.log(before.error / one.error) / math.log(max(one.unknowns / before.unknowns, 1.01))
            for one in (usual, tried)
        ]
        kept = gains[1] > gains[0]
        self._log.say(f"quadratic elements are {'kept' if kept else 'not worth their unknowns'}")
        self.rows[-1]["kept"] = kept
        return tried if kept else usual


def adapt(
    setup: Setup,
    comm: MPI.Comm,
    settings: Settings,
    log: RunLog,
    watch: Callable[[Round], None] | None = None,
) -> Adapted:
    """Refine until the estimated error at the last load is small enough, or something else says stop. Collective.

    Args:
        setup: The first problem; its case says what is wanted.
        comm: Communicator.
        settings: Of the solver.
        log: Told each round.
        watch: Shown each round, if given.

    Raises:
        CaseError: No error can be estimated for this body.
        ConvergenceError: A problem could not be solved.
    """
    wanted = setup.case.adaptivity
    assert wanted is not None
    work = Refinement(comm, wanted, settings, log, watch)
    last = work.smaller(work.solve(setup, None, "start"))
    shown, tried = [view_of(last)], False
    while True:
        stop = work.enough(last)
        following = None if stop is not None else work.following(last)
        if stop is not None or not isinstance(following, Setup):
            stop = stop or str(following)
            # Where refinement would end is soon enough: estimates of rounds hold whatever the handshake.
            plain = work.judged(last)
            if plain is None:
                break
            last = plain
            shown.append(view_of(last))
            continue
        usual = work.solve(following, last, "refined")
        if not tried and work.mesh_is_dear(last) and work.is_far(last, usual):
            tried = True
            usual = work.better(last, usual)
        last = usual
        shown.append(view_of(last))
    log.say(f"refinement: {stop}")
    done = last.setup.case.model_copy(update={"adaptivity": None})
    history = {"stopped": stop, "rounds": work.rows}
    goal = wanted.quantity
    norm = "H1 error [Å]" if wanted.energy_norm is None else "energy norm of the error [√eV]"
    label = f"estimated {norm}" if goal is None else f"estimated error of {goal.name}"
    setup = dataclasses.replace(last.setup, case=done)
    return Adapted(setup, last, history, tuple(shown), label, work.rejected)
