# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a run says of a load step beside its solution: estimate, certificate, quantities, the potential's own error."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from petsc4py import PETSc

from msolve.against import FullModel
from msolve.assemble import Assembly
from msolve.build import Setup
from msolve.certified import Certified, Certifier
from msolve.estimate import Estimate, Places
from msolve.goals import Goal, Goals, told
from msolve.io.log import RunLog
from msolve.io.result import Step, model_error_told
from msolve.methods import Solved
from msolve.model_error import ModelError
from msolve.output import COLUMNS, budget, headline

Found = TypeVar("Found")


@dataclass(frozen=True)
class Answer:
    """Of one load step; ``None`` for what was not asked for or cannot be told.

    Attributes:
        estimated: Estimated error, and that of each place.
        certified: Certificate and branch.
        numbers: Quantities by name.
        doubt: The potential's own error.
    """

    estimated: tuple[Estimate, Places] | None
    certified: Certified | None
    numbers: dict[str, Goal] | None
    doubt: dict[str, Any] | None

    def beside(self, step: Step) -> Step:
        """The step with them."""
        numbers = self.numbers
        return dataclasses.replace(
            step,
            estimate=None if self.estimated is None else dataclasses.asdict(self.estimated[0]),
            certificate=None if self.certified is None else self.certified.told(),
            quantities=None if numbers is None else {n: goal.told() for n, goal in numbers.items()},
            model_error=self.doubt,
        )

    def say(self, log: RunLog) -> None:
        """Log them."""
        if self.estimated is not None:
            log.say(headline(self.estimated[0]))
            log.table(COLUMNS, budget(self.estimated[0]))
        for line in () if self.certified is None else self.certified.lines():
            log.say(line)
        if self.numbers is not None:
            log.say(told(self.numbers))
        if self.doubt is not None:
            log.say(model_error_told(self.doubt))


class Answers:
    """What a case asks for, made ready once; says what cannot be told, and why.

    Args:
        setup: What the case means.
        assembly: Its problem.
        whole: The full atomistic model, if it has been made before.
        log: Told.

    Attributes:
        full: The full model beside the run.

    Note:
        Everything is collective.
    """

    def __init__(
        self, setup: Setup, assembly: Assembly, whole: Assembly | None, log: RunLog
    ) -> None:
        self._case, self._log = setup.case, log
        self.full = full = FullModel(setup, assembly, whole)
        if self._case.coupled and full.kind != "none" and full.no_estimate is not None:
            log.say(f"errors are not estimated: {full.no_estimate}")
        self._goals = Goals(setup, assembly, full)
        if self._goals.why_not is not None:
            log.say(f"quantities are not told: {self._goals.why_not}")
        self._certifier = Certifier(setup, assembly, full)
        if self._certifier.why_not is not None:
            log.say(f"nothing is certified: {self._certifier.why_not}")
        with log.phase("model error"):
            self._doubts = ModelError(setup, assembly, full, self._goals)
        if self._doubts.why_not is not None:
            log.say(f"the potential's own error is not told: {self._doubts.why_not}")

    def estimate(self, z: PETSc.Vec, t: float, solved: Solved) -> tuple[Estimate, Places] | None:
        """Estimated error of a solution."""
        with self._log.phase("estimate"):
            return self.full.estimate(z, t, solved)

    def __call__(self, z: PETSc.Vec, t: float, estimated: tuple[Estimate, Places] | None) -> Answer:
        """All of it, beside an estimate."""
        case, counted = self._case, partial(self._log.counted, "columns of a Hessian")
        certified = self._asked(
            "certificate", case.certificate, lambda: self._certifier(z, t, counted)
        )
        ball = None if certified is None else certified.ball
        numbers = self._asked("quantities", case.quantities, lambda: self._goals(z, t, ball))
        doubt = self._asked("model error", case.model_error, lambda: self._doubts(z, t))
        return Answer(estimated, certified, numbers, doubt)

    def _asked(self, phase: str, given: object, find: Callable[[], Found | None]) -> Found | None:
        if not given:
            return None
        with self._log.phase(phase):
            return find()
