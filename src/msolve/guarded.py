# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Whether a run keeps its learned handshake: only within what it was trained for, and where the estimate prefers it.

Asked at every load step. Rejected means weights zero: the same unknowns with the slab handshake alone, solved again
from where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.against import FullModel
from msolve.assemble import Assembly
from msolve.build import Setup
from msolve.coupling import ClosureTerm, TensionTerm, Term
from msolve.errors import ConvergenceError
from msolve.estimate import Estimate
from msolve.handshake.closure import COUNTS, NAMES
from msolve.handshake.operator import INVARIANTS
from msolve.methods import solve
from msolve.solvers import Settings

Array = npt.NDArray[np.float64]

UNSEEN = 1e-4
"""Size of an invariant that training never met, below which it counts as rounding."""

WORSE = 1.01
"""Estimated error over that of the slab handshake, in all or near the defect, above which the learned is rejected."""


@dataclass(frozen=True)
class Verdict:
    """What the guard found at a load step.

    Attributes:
        kept: Whether the learned handshake stays.
        reach: Largest invariant beyond the core over the largest in training; nan where nothing was solved yet.
        invariant: Which that is, and where.
        learned: Estimated error with it, H1 norm [Å]; ``None`` where it was not asked for.
        slab: The same with the slab handshake; ``None`` also where that has no solution.
        learned_tip: Part of ``learned`` near the defect [Å].
        slab_tip: Part of ``slab`` near the defect [Å].
        obstacle: Why the two cannot be compared, if so.
    """

    kept: bool
    reach: float
    invariant: str
    learned: float | None = None
    slab: float | None = None
    learned_tip: float | None = None
    slab_tip: float | None = None
    obstacle: str | None = None

    def told(self) -> dict[str, Any]:
        """For ``result.json``; an invariant that training never met is told as ``null``."""
        return {**asdict(self), "reach": self.reach if np.isfinite(self.reach) else None}

    def line(self) -> str:
        """One line for the log."""
        errors = ""
        if self.slab is not None:
            errors = (
                f"; estimated error {self.learned:.3g} Å with it, {self.slab:.3g} Å with the slab, "
                f"near the defect {self.learned_tip:.2g} and {self.slab_tip:.2g} Å"
            )
        elif self.obstacle is not None and self.kept:
            errors = f"; not compared: {self.obstacle}"
        if self.kept:
            return f"learned handshake kept: at {self.reach:.2g} of its range ({self.invariant}){errors}"
        return f"learned handshake rejected, {self._why()}{errors}; the slab handshake takes over"

    def _why(self) -> str:
        if self.obstacle is not None:
            return (
                f"it cannot be compared with the slab ({self.obstacle}; guard: range does without)"
            )
        if self.reach > 1:
            times = (
                f"{self.reach:.2g} times the largest" if np.isfinite(self.reach) else "never met"
            )
            return f"{self.invariant} is {times} in its training"
        return "the estimate does not prefer it"


class Rejected(Exception):
    """The guard has rejected the learned handshake of a run; on every rank."""

    def __init__(self, verdict: Verdict, finished: Sequence[Any]) -> None:
        super().__init__(verdict.line())
        self.verdict, self.finished = verdict, finished


def beforehand(full: FullModel) -> Verdict | None:
    """A rejection before anything is solved, where ``guard: estimate`` will have no estimate; else ``None``.

    Args:
        full: Beside a problem with a learned handshake.
    """
    why = full.unestimated
    if why is None or full.case.coupling.handshake.guard == "range":
        return None
    return Verdict(False, float("nan"), "", obstacle=why)


def judge(
    setup: Setup,
    assembly: Assembly,
    full: FullModel,
    z: PETSc.Vec,
    t: float,
    estimated: Estimate | None,
    settings: Settings,
) -> Verdict:
    """Decide on a solved load step. Collective.

    Where the flanks are within the range of training and ``guard`` says so, the slab handshake is solved as well, from
    the same state, and its estimate compared: of the whole error, and of that near the defect.

    Args:
        setup: What the case means.
        assembly: The problem with the learned handshake.
        full: The full model beside it.
        z: Solution; not changed.
        t: Load.
        estimated: Its estimate; may be missing where ``guard`` does without.
        settings: Of the solver.
    """
    reach, invariant = range_of(assembly, z, t)
    if reach > 1 or setup.case.coupling.handshake.guard == "range":
        return Verdict(reach <= 1, reach, invariant)
    assert estimated is not None
    found = Verdict(
        True, reach, invariant, learned=estimated.total_h1, learned_tip=estimated.tip_h1
    )
    plain_setup, plain = without(setup, assembly)
    other = z.copy()
    try:
        again = solve(plain, setup.case, other, t, settings)
    except ConvergenceError:
        again = None
    if again is None or not again.converged:
        return replace(found, obstacle="the slab handshake has no solution near it")
    beside = FullModel(plain_setup, plain, full.whole).estimate(other, t, again)
    assert beside is not None
    slab = beside[0]
    kept = estimated.total_h1 <= WORSE * slab.total_h1 and estimated.tip_h1 <= WORSE * slab.tip_h1
    return replace(found, kept=kept, slab=slab.total_h1, slab_tip=slab.tip_h1)


def range_of(assembly: Assembly, z: PETSc.Vec, t: float) -> tuple[float, str]:
    """Largest invariant over its limit in training, and its name. Collective.

    Looked at are the flanks beyond core and taper, and the sites of the strain-gradient energy.
    """
    flanks = assembly.problem.placement.flanks
    assert flanks is not None
    # Nearer to the tip the relaxation fades, and with it what the operator says.
    outside = (assembly.beta > 0) & (assembly.X[:, 0] < -flanks.taper)
    lift = flanks.lift(assembly.X[outside])
    found = np.abs(lift.invariants(assembly.problem.flank_line(z, t))).max(axis=0, initial=0.0)
    reach, name = _furthest(found, flanks.model.limit(flanks.degree), INVARIANTS)
    where = "the flanks'"
    for term in assembly.problem.terms:
        if isinstance(term, ClosureTerm):
            sites = term.sites
            counted = sites.invariants(assembly.problem.gather(z, t))[sites.factor > COUNTS]
            largest = np.abs(counted).max(axis=0, initial=0.0)
            other, which = _furthest(largest, sites.model.limit, NAMES)
            if other > reach:
                reach, name, where = other, which, "around the core,"
    return reach, f"{where} {name}"


def _furthest(found: Array, limit: Array, names: Sequence[str]) -> tuple[float, str]:
    unseen = np.where(found > UNSEEN, np.inf, 0.0)
    share = np.where(limit > 0, found / np.where(limit > 0, limit, 1.0), unseen)
    worst = int(share.argmax())
    return float(share[worst]), names[worst]


def without(setup: Setup, assembly: Assembly) -> tuple[Setup, Assembly]:
    """The same case and problem with the slab handshake alone; nothing is built anew."""
    placement = replace(assembly.problem.placement, flanks=None)
    problem = replace(
        assembly.problem,
        placement=placement,
        terms=classical(assembly.problem.terms),
        _cache={},
    )
    body = replace(assembly.body, learned=None)
    return (
        replace(setup, body=replace(setup.body, learned=None)),
        replace(assembly, body=body, problem=problem, force_terms=classical(assembly.force_terms)),
    )


def classical(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """The terms less those that are learned."""
    return tuple(term for term in terms if not isinstance(term, ClosureTerm | TensionTerm))
