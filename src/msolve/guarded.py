# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Whether a run keeps its learned handshake: only within what it was trained for, and where the estimate prefers it.

Rejected means weights zero: the same unknowns with the slab handshake alone, solved again from where they are.
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
from msolve.coupling import ClosureTerm, Term
from msolve.handshake.closure import COUNTS, NAMES
from msolve.handshake.operator import INVARIANTS
from msolve.methods import Solved, solve
from msolve.solvers import Settings

Array = npt.NDArray[np.float64]

UNSEEN = 1e-4
"""Size of an invariant that training never met, below which it counts as rounding."""

WORSE = 1.01
"""Estimated error over that of the slab handshake, above which the learned one is rejected."""


@dataclass(frozen=True)
class Verdict:
    """What the guard found at a load step.

    Attributes:
        kept: Whether the learned handshake stays.
        reach: Largest invariant beyond the core over the largest in training.
        invariant: Which that is, and where.
        learned: Estimated error with it, H1 norm [Å]; ``None`` where it was not asked for.
        slab: The same with the slab handshake.
    """

    kept: bool
    reach: float
    invariant: str
    learned: float | None = None
    slab: float | None = None

    def told(self) -> dict[str, Any]:
        """For ``result.json``; an invariant that training never met is told as ``null``."""
        return {**asdict(self), "reach": self.reach if np.isfinite(self.reach) else None}

    def line(self) -> str:
        """One line for the log."""
        errors = ""
        if self.learned is not None and self.slab is not None:
            errors = (
                f"; estimated error {self.learned:.3g} Å with it, {self.slab:.3g} Å with the slab"
            )
        if self.kept:
            return f"learned handshake kept: at {self.reach:.2g} of its range ({self.invariant}){errors}"
        return f"learned handshake rejected, {self._why()}{errors}; solved again with the slab handshake"

    def _why(self) -> str:
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


def judge(
    setup: Setup,
    assembly: Assembly,
    full: FullModel,
    z: PETSc.Vec,
    t: float,
    solved: Solved,
    settings: Settings,
    *,
    first: bool,
) -> Verdict:
    """Decide on a solved load step. Collective.

    The estimate is asked at the first one only, where the flanks are within the range of training and ``guard`` says
    so; the slab handshake is then solved as well, from the same state.
    """
    reach, invariant = range_of(assembly, z, t)
    if reach > 1 or not first or setup.case.coupling.handshake.guard == "range":
        return Verdict(reach <= 1, reach, invariant)
    estimated = full.estimate(z, t, solved)
    if estimated is None:
        return Verdict(True, reach, invariant)
    plain_setup, plain = without(setup, assembly)
    other = z.copy()
    again = solve(plain, setup.case, other, t, settings)
    beside = FullModel(plain_setup, plain, full.whole).estimate(other, t, again)
    assert beside is not None
    learned, slab = estimated[0].total_h1, beside[0].total_h1
    return Verdict(learned <= WORSE * slab, reach, invariant, learned, slab)


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
    return tuple(term for term in terms if not isinstance(term, ClosureTerm))
