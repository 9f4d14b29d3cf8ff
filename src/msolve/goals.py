# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The numbers that a case asks for: in its coupled solution, and what the full atomistic model would give."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.against import FullModel
from msolve.assemble import Assembly
from msolve.build import Setup
from msolve.compare import Norms, lift_to, unknowns_of
from msolve.config import (
    AnyAsked,
    DisplacementAsked,
    EnergyAsked,
    EnergyReleaseAsked,
    OpeningAsked,
    RingAsked,
    StressIntensityAsked,
    names_of,
)
from msolve.errors import CaseError
from msolve.estimate import Places
from msolve.loads import KField
from msolve.placement import turned
from msolve.quantities.contour import EnergyRelease, Equivalent, check_ring, stress_intensity
from msolve.quantities.corrected import Corrected, Number, energy_number, number
from msolve.quantities.enclosed import Ball, approach, enclose, enclose_energy
from msolve.quantities.functionals import Functional, check_place, displacement, opening
from msolve.units import J_PER_M2, MPA_SQRT_M

Array = npt.NDArray[np.float64]

MODES = {"I": 0, "II": 1, "III": 2}


@dataclasses.dataclass(frozen=True)
class Goal:
    """One of the numbers.

    Attributes:
        kind: Its kind in the input.
        unit: Its unit.
        number: What is known of it, in that unit.
        meant: ``"certified, level A"`` or ``B``: the interval follows from a certificate, of that level;
            ``"estimated"``: it rests on estimates; ``"computed"``: the state is one of the full model, there is
            nothing to estimate; ``None`` where nothing is said of the full model.
    """

    kind: str
    unit: str
    number: Number
    meant: str | None

    @property
    def off(self) -> float | None:
        """How far the value may be from the full model's, by the far end of the interval; ``None`` where unknown."""
        found = self.number
        if self.meant == "computed":
            return 0.0
        if found.interval is not None:
            return max(abs(found.value - end) for end in found.interval)
        return None if found.expected is None else abs(found.value - found.expected)

    def told(self) -> dict[str, Any]:
        """For ``result.json``."""
        found = self.number
        return {
            "kind": self.kind,
            "unit": self.unit,
            "value": found.value,
            "expected": found.expected,
            "interval": found.interval,
            "adjoint": found.adjoint,
            "meant": self.meant,
        }


def check_quantities(setup: Setup) -> None:
    """Refuse numbers that are asked for where the body is not; raises ``CaseError`` with a line for each."""
    problems = []
    for k, one in enumerate(setup.case.quantities):
        try:
            if isinstance(one, RingAsked):
                check_ring(setup.body, one.inner, one.outer)
            elif isinstance(one, DisplacementAsked):
                check_place(setup.body, "at", one.at)
            elif isinstance(one, OpeningAsked):
                check_place(setup.body, "behind", (-one.behind, 0.0, 0.0))
        except CaseError as error:
            problems += [f"quantities.{k}.{line}" for line in error.problems]
    if problems:
        raise CaseError(problems)


class Goals:
    """The numbers of one coupled problem's states.

    Args:
        setup: What the case means.
        assembly: Its problem.
        full: The full atomistic model of the same body.
    """

    def __init__(self, setup: Setup, assembly: Assembly, full: FullModel) -> None:
        self._setup, self._assembly, self._full = setup, assembly, full
        self._asked = dict(zip(names_of(setup.case.quantities), setup.case.quantities, strict=True))

    @property
    def why_not(self) -> str | None:
        """Why nothing is told though it was asked for, or ``None``."""
        if not self._asked or not self._setup.case.coupled:
            return None
        return self._full.why_not

    def __call__(self, z: PETSc.Vec, t: float, ball: Ball | None = None) -> dict[str, Goal] | None:
        """The numbers in a coupled solution, by name; ``None`` where none are asked for or told. Collective.

        Args:
            z: The coupled solution.
            t: Load parameter.
            ball: What a certificate says of the full model's solution, if there is one.
        """
        if not self._asked or self.why_not is not None:
            return None
        if not self._setup.case.coupled:
            return self.of_full(self._assembly, z, t, "computed")
        whole = self._full.assembly
        steps = self.steps(z, t) if self._full.kind == "hessian" else None
        if steps is None:
            found = self.of_full(whole, self._lifted(z, t), t)
        else:
            found = {name: self.estimated(name, steps) for name in self._asked}
        return found if ball is None else self._certified(whole, t, ball, found)

    def _lifted(self, z: PETSc.Vec, t: float) -> PETSc.Vec:
        whole = self._full.assembly
        return unknowns_of(whole, lift_to(self._assembly, z, t, whole), t)

    def steps(self, z: PETSc.Vec, t: float) -> Corrected | None:
        """Newton's steps from a coupled solution; ``None`` where the Hessian has a negative direction. Collective."""
        return Corrected.of(self._full.assembly, self._lifted(z, t), t)

    def estimated(self, name: str, steps: Corrected) -> Goal:
        """One of the numbers, by its name. Collective."""
        one, whole = self._asked[name], steps.full
        if isinstance(one, EnergyAsked):
            what = energy_number(steps, perfect_energy(whole))
        else:
            bonds = Norms.of(whole, rim=0.0, tip_radius=0.0).inside
            what = number(self._functional(whole, one, steps.t), steps, bonds)
        return _goal(one, what, "estimated" if what.interval is not None else None)

    def _certified(
        self, whole: Assembly, t: float, ball: Ball, found: dict[str, Goal]
    ) -> dict[str, Goal]:
        """The same numbers with intervals that follow from a certificate."""
        out, rest = {}, approach(whole, t, ball)
        for name, one in self._asked.items():
            level, size = ball.level, unit_of(one)[1]
            if isinstance(one, EnergyAsked):
                none = perfect_energy(whole)
                low, high = (bound - none for bound in enclose_energy(whole, ball, rest))
            else:
                functional = self._functional(whole, one, t)
                low, high = enclose(functional, whole, t, ball, rest)
                level = level if functional.linear else "B"
            interval = (low / size, high / size)
            number = dataclasses.replace(
                found[name].number, interval=interval, expected=sum(interval) / 2
            )
            out[name] = dataclasses.replace(
                found[name], number=number, meant=f"certified, level {level}"
            )
        return out

    def of_full(
        self, whole: Assembly, x: PETSc.Vec, t: float, meant: str | None = None
    ) -> dict[str, Goal]:
        """The numbers of a state ``x`` of the full atomistic model, without any estimate. Collective."""
        y, found = whole.problem.gather(x, t), {}
        for name, one in self._asked.items():
            if isinstance(one, EnergyAsked):
                value = whole.problem.evaluate(x, t, x.duplicate()) - perfect_energy(whole)
            else:
                value = self._functional(whole, one, t).value(y)
            found[name] = _goal(one, Number(value), meant)
        return found

    def functionals(self, whole: Assembly, t: float) -> dict[str, tuple[Functional, str, float]]:
        """The numbers other than energies, by name, each with its unit and the size of that. Collective."""
        return {
            name: (self._functional(whole, one, t), *unit_of(one))
            for name, one in self._asked.items()
            if not isinstance(one, EnergyAsked)
        }

    def _functional(self, whole: Assembly, one: AnyAsked, t: float) -> Functional:
        body, X = whole.body, whole.X
        if isinstance(one, DisplacementAsked):
            return displacement(body, X, one.at, one.direction)
        if isinstance(one, OpeningAsked):
            return opening(body, X, one.behind)
        assert isinstance(one, EnergyReleaseAsked | StressIntensityAsked)
        # Flanks relax whether or not the coupling knows of it.
        relaxed = dataclasses.replace(body, slab=self._setup.slab)
        rest = X + turned(relaxed.relaxation(X), body.predictor, X, t)
        if isinstance(one, StressIntensityAsked) and one.mode != "equivalent":
            return stress_intensity(whole, rest, MODES[one.mode], one.inner, one.outer)
        release = EnergyRelease.of(whole, rest, one.inner, one.outer)
        if isinstance(one, EnergyReleaseAsked):
            return release
        return Equivalent(release, float(KField(body.C).compliance()[1, 1]))


def goal_places(
    setup: Setup, assembly: Assembly, full: FullModel, name: str, z: PETSc.Vec, t: float
) -> tuple[Goal, Places] | None:
    """One of the numbers, and where its error comes from: what refinement for it goes by. Collective.

    The source of an atom is the force that the full model leaves on it times how much the adjoint z varies around it.
    For an energy, whose adjoint is the error itself, it is half of what the energy norm has there: the square of the
    force over the stiffness that holds the atom.

    Args:
        setup: What the case means; it asks for the number.
        assembly: The coupled problem.
        full: The full atomistic model of the same body.
        name: The number's name.
        z: The coupled solution.
        t: Load parameter.

    Returns:
        The number, with ``Goal.off`` for a tolerance; the expected error of each atom [Å] and its source, in the
        number's unit. ``None`` where the Hessian of the full model has a negative direction.
    """
    goals = Goals(setup, assembly, full)
    steps = goals.steps(z, t)
    if steps is None:
        return None
    goal = goals.estimated(name, steps)
    if goal.number.source is None:
        return None
    error = steps.positions(steps.start.x) - steps.positions(steps.final())
    return goal, Places(error, goal.number.source)


def perfect_energy(whole: Assembly) -> float:
    """Energy of the evaluated atoms of a full atomistic model in the perfect crystal [eV]."""
    body = whole.body
    W = float(body.material.energy_density(np.eye(3)[None])[0][0])
    return W * body.crystal.crystal.atomic_volume * float(whole.evaluated.sum())


def told(found: Mapping[str, Goal]) -> str:
    """The numbers in one line."""
    return "; ".join(_told(name, one) for name, one in found.items())


def _told(name: str, goal: Goal) -> str:
    found = goal.number
    line = f"{name} = {found.value:.6g} {goal.unit}"
    if found.expected is None:
        return line if goal.meant == "computed" else f"{line} (no estimate)"
    if found.interval is None:
        return f"{line}, full model about {found.expected:.6g}, uncertain"
    half = (found.interval[1] - found.interval[0]) / 2
    decimals = min(12, max(0, -math.floor(math.log10(max(half, 1e-300)))))
    sure = f" ({goal.meant})" if goal.meant != "estimated" else ""
    return f"{line}, full model {found.expected:.{decimals}f} ± {half:.1g}{sure}"


def unit_of(one: AnyAsked) -> tuple[str, float]:
    """Unit in which a number is told, and its size."""
    if isinstance(one, EnergyAsked):
        return "eV", 1.0
    if isinstance(one, EnergyReleaseAsked):
        return "J/m^2", J_PER_M2
    if isinstance(one, StressIntensityAsked):
        return "MPa*m^0.5", MPA_SQRT_M
    return "angstrom", 1.0


def _goal(one: AnyAsked, what: Number, meant: str | None) -> Goal:
    unit, size = unit_of(one)
    return Goal(one.kind, unit, what.over(size), meant)
