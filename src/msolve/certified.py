# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The certificate that a case asks for, and which branch of solutions it speaks of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.against import FullModel
from msolve.assemble import Assembly
from msolve.build import Setup
from msolve.certificate.algorithm import Centre, Effort, certify
from msolve.certificate.fold import certify_fold
from msolve.certificate.numbers import Certificate
from msolve.certificate.valleys import lower_valley
from msolve.certificate.zone import zone_model
from msolve.compare import SAME, Norms, bonds, lift_to, unknowns_of
from msolve.crystal import nearest_neighbour_bonds
from msolve.errors import ConvergenceError
from msolve.output import flank_opening, tip_position
from msolve.quantities.enclosed import Ball

Array = npt.NDArray[np.float64]

OTHER = 0.15
"""Change of a bond's length over that at rest from which on it counts as another bond."""

PROFILE = 12
"""Places behind the tip at which the opening is told."""

SHOWN = 3
"""Of them in the log."""

CLOSED, OPEN = 0.12, 0.18
"""Two atoms of opposite flanks have closed below the one, and come open above the other: opening over the distance of
their layers. In between a bond is stretched, as that in front of a tip may be."""

BESIDE = 1.5
"""Distance from a missing site over that of neighbours, up to which atoms are the hole's surface."""

APART = 1.3
"""Atoms of the crystal at rest further apart than this, over the distance of neighbours, are no neighbours."""

NEIGHBOURS, PARTED = 1.2, 1.4
"""Two atoms across a hole have closed below the one, two neighbours have come open above the other, over that distance.
Around open holes no pair comes below 1.6, and no bond above 1.2."""


@dataclass(frozen=True)
class Branch:
    """Which solution it is, among several of one load.

    Attributes:
        tip: Tip of the crack in the coupled state, (x1, x2) [Å]; ``None`` without one.
        tip_corrected: The same in the corrected state; ``None`` also where nothing is certified.
        changed_bonds: Bonds between nearest neighbours that the correction makes longer or shorter by ``OTHER``. Above
            zero the certified solution is on another branch than the coupled one. ``None`` where nothing is certified.
        opening: Opening [Å] at some x1 [Å] behind the tip, as pairs: of the corrected state, of the coupled one where
            nothing is certified.
        healed: Pairs of atoms across the cut, or without one across missing sites, that have closed in that state.
        advanced: Pairs across its plane beyond its end, or without one bonds of a crystal with missing sites, that have
            come open.
        lower: Energy of the lowest state that was found around the corrected one, less its own [eV]; ``None`` if none
            is lower or nothing was looked at.
        lower_moved: How far atoms move to it at most [Å].
        lower_tip: Tip of the crack there.
    """

    tip: tuple[float, float] | None
    tip_corrected: tuple[float, float] | None
    changed_bonds: int | None
    opening: tuple[tuple[float, float], ...]
    healed: int = 0
    advanced: int = 0
    lower: float | None = None
    lower_moved: float | None = None
    lower_tip: tuple[float, float] | None = None

    def crack(self) -> str | None:
        """Where the crack ends and how far it is open there; ``None`` without one."""
        tip = self.tip_corrected or self.tip
        behind = [one for one in self.opening if tip is not None and one[0] < tip[0]][-SHOWN:]
        if tip is None:
            return None
        told = ", ".join(f"{opening:.3g} Å at {x1:.3g} Å" for x1, opening in behind)
        return f"tip at x1 = {tip[0]:.3g} Å, open {told}"

    def warnings(self) -> list[str]:
        """What speaks against its being the branch that was wanted."""
        out = []
        if self.changed_bonds:
            out.append(
                "warning: the certified solution is on another branch than the coupled one; "
                f"{self.changed_bonds} bonds differ"
            )
        if self.healed or self.advanced:
            found, healed, advanced = (
                (
                    "crack does not end where the cut does",
                    "of atoms across the cut closed, as if healed",
                    "of atoms beyond its end open: it has advanced",
                )
                if self.tip is not None
                else (
                    "hole is not the one that was made",
                    "of atoms across it closed, as if healed",
                    "of neighbours came apart",
                )
            )
            which = [
                f"{n} pair{'s' if n > 1 else ''} {what}"
                for n, what in ((self.healed, healed), (self.advanced, advanced))
                if n
            ]
            out.append(f"warning: the {found}, {', '.join(which)}")
        if self.lower is not None:
            to = "" if self.lower_tip is None else f", tip at x1 = {self.lower_tip[0]:.3g} Å"
            out.append(
                f"warning: another minimum lies {-self.lower:.3g} eV lower, up to {self.lower_moved:.2g} Å away{to}"
            )
        return out


@dataclass(frozen=True)
class Certified:
    """A certificate with its branch.

    Attributes:
        certificate: The numbers.
        branch: Which solution it speaks of; where it speaks of none, what the coupled state is. ``None`` without
            energy.
        ball: For enclosures of quantities; ``None`` if nothing is certified, or only a zone.
        centre: The corrected state, unknowns of the model that is certified; ``None`` if nothing is.
    """

    certificate: Certificate
    branch: Branch | None = None
    ball: Ball | None = None
    centre: PETSc.Vec | None = None

    def told(self) -> dict[str, Any]:
        """For ``result.json``."""
        return {
            **self.certificate.to_dict(),
            "branch": None if self.branch is None else asdict(self.branch),
        }

    def lines(self) -> list[str]:
        """What the log says."""
        told, branch = self.certificate, self.branch
        out = [told.headline()]
        if told.level != "C":
            out.append(told.statement())
        if told.fold is not None:
            out += told.fold.lines()
            if told.fold.level != "C":
                out.append(told.fold.statement())
        stands = [told.stands(), None if branch is None else branch.crack()]
        if any(stands):
            out.append("; ".join(one for one in stands if one))
        return out if branch is None else out + branch.warnings()


class Certifier:
    """Certificates of one case's states.

    Args:
        setup: What the case means.
        assembly: Its problem.
        full: The full atomistic model of the same body.
    """

    def __init__(self, setup: Setup, assembly: Assembly, full: FullModel) -> None:
        self._setup, self._assembly, self._full = setup, assembly, full
        self._asked = setup.case.certificate

    @property
    def why_not(self) -> str | None:
        """Why nothing is certified though it was asked for, or ``None``."""
        asked, case = self._asked, self._setup.case
        if asked is None:
            return None
        if not case.coupled:
            return None
        if asked.zone_radius is None:
            if self._full.why_not is not None:
                return self._full.why_not
            body = self._setup.body
            atoms = body.volume / body.crystal.crystal.atomic_volume
            if atoms > asked.largest:
                return (
                    f"the body has about {atoms:.2g} atoms, certificate.largest is {asked.largest}; "
                    "certificate.zone_radius certifies a zone around the defect"
                )
        return None

    def __call__(
        self, z: PETSc.Vec, t: float, progress: Callable[[int, int], None] | None = None
    ) -> Certified | None:
        """Certify a state; ``None`` where it was not asked for or cannot be. Collective.

        Args:
            z: Unknowns of the case's problem.
            t: Load parameter.
            progress: Told the number of Hessian products that are done for a matrix, and of all.
        """
        asked = self._asked
        if asked is None or self.why_not is not None:
            return None
        whole, x0 = self._model(z, t)
        effort = Effort(asked.corrections, asked.factor, progress)
        try:
            found, centre = certify(whole, x0, t, effort)
        except ConvergenceError as error:
            nothing = Certificate(
                "C", f"the lifted state has no energy ({error})", 0, 0, float("inf")
            )
            return Certified(nothing)
        found = replace(found, radius_of_zone=asked.zone_radius)
        if centre is None and asked.fold and asked.zone_radius is None and found.negative <= 1:
            # Near a fold of the full model no equilibrium need exist at this load, or none that a ball can hold.
            fold, _ = certify_fold(whole, x0, t, effort)
            told = fold.in_units(self._setup.load_scale, self._setup.load_unit)
            found = replace(found, fold=told)
        if centre is None:
            return Certified(found, self._state(whole, x0, t))
        ball = None
        if asked.zone_radius is None and found.level != "C":
            assert found.radius is not None and found.lipschitz is not None
            ball = Ball(centre.x, found.radius, found.lipschitz, centre.solve, found.level)
        return Certified(found, self._branch(whole, x0, centre, t), ball, centre.x)

    def _model(self, z: PETSc.Vec, t: float) -> tuple[Assembly, PETSc.Vec]:
        """The model that is certified, and its state."""
        asked, coupled = self._asked, self._assembly
        assert asked is not None
        if not self._setup.case.coupled:
            return coupled, z
        if asked.zone_radius is None:
            whole = self._full.assembly
            return whole, unknowns_of(whole, lift_to(coupled, z, t, whole), t)
        zone = zone_model(coupled, z, t, asked.zone_centre, asked.zone_radius)
        start = zone.problem.kinematics.unknowns.vector()
        start.set(0.0)
        return zone, start

    def _state(self, whole: Assembly, x: PETSc.Vec, t: float) -> Branch:
        """What a state is of which nothing is certified."""
        y, body = whole.problem.gather(x, t), whole.body
        tip = tip_position(body, whole.X, whole.free, y)
        if not body.crack:
            return Branch(tip, None, None, (), *around_holes(whole, y))
        return Branch(tip, None, None, _profile(whole, y), *beside_the_cut(whole, y))

    def _branch(self, whole: Assembly, x0: PETSc.Vec, centre: Centre, t: float) -> Branch:
        before, after = (whole.problem.gather(x, t) for x in (x0, centre.x))
        body, X, free = whole.body, whole.X, whole.free
        branch = replace(
            self._state(whole, centre.x, t),
            tip=tip_position(body, X, free, before),
            tip_corrected=tip_position(body, X, free, after),
            changed_bonds=changed_bonds(whole, before, after),
        )
        asked = self._asked
        assert asked is not None
        lower = None
        if asked.look_around:
            spacing = _spacing(whole) if body.crack else None
            lower = lower_valley(whole, centre.x, t, centre.modes, spacing)
        if lower is None:
            return branch
        there = whole.problem.gather(lower.state, t)
        return replace(
            branch,
            lower=lower.energy,
            lower_moved=lower.moved,
            lower_tip=tip_position(body, X, free, there),
        )


def changed_bonds(whole: Assembly, before: Array, after: Array) -> int:
    """Bonds between nearest neighbours whose length differs by more than ``OTHER`` of that at rest."""
    one, other = Norms.of(whole, rim=0.0, tip_radius=0.0).inside
    period = np.array([0.0, 0.0, whole.body.period or 0.0])
    step = whole.X[one] - whole.X[other]
    # The image that is a neighbour in the perfect crystal.
    image = np.zeros_like(step)
    if whole.body.period is not None:
        image[:, 2] = -np.rint(step[:, 2] / period[2]) * period[2]
    lengths = [np.linalg.norm(y[one] - y[other] + image, axis=1) for y in (before, after)]
    rest = np.linalg.norm(step + image, axis=1)
    return int((np.abs(lengths[1] - lengths[0]) > OTHER * rest).sum())


def beside_the_cut(whole: Assembly, y: Array) -> tuple[int, int]:
    """How many pairs of free atoms across the plane of a cut have closed on it, and come open beyond its end.

    Args:
        whole: The full model of a cracked body.
        y: Its atoms, shape ``(n, 3)`` [Å].
    """
    body = whole.body
    x1, opening, (upper, lower) = flank_opening(body, whole.X, y)
    free, share = whole.free[upper] & whole.free[lower], opening / (2 * body.half_gap)
    end = body.slits[0][0]
    healed, advanced = (x1 < end) & (share < CLOSED), (x1 > end) & (share > OPEN)
    return int((healed & free).sum()), int((advanced & free).sum())


def around_holes(whole: Assembly, y: Array) -> tuple[int, int]:
    """How many pairs of atoms have closed across missing sites, and bonds of the crystal around them come open.

    Args:
        whole: The full model of a body without a cut.
        y: Its atoms, shape ``(n, 3)`` [Å].
    """
    body, near = whole.body, whole.body.crystal.nearest_neighbour_distance
    surface = np.flatnonzero(body.beside_missing(whole.X, BESIDE * near))
    if not len(surface):
        return 0, 0
    X, at = whole.X[surface], y[surface]
    i, j, image = nearest_neighbour_bonds(at, body.period, NEIGHBOURS * near)
    closed = np.linalg.norm(X[j] - X[i] + image, axis=1) > APART * near
    i, j = bonds(whole)
    step = y[j] - y[i]
    if body.period is not None:
        # The nearest image; where a dislocation has moved one end by whole periods, too.
        step[:, 2] -= body.period * np.rint(step[:, 2] / body.period)
    parted = np.linalg.norm(step, axis=1) > PARTED * near
    return int(closed.sum()), int(parted.sum())


def _spacing(whole: Assembly) -> float:
    """Distance of neighbouring atoms of a flank along x1 [Å]."""
    x1 = flank_opening(whole.body, whole.X, whole.X)[0]
    steps = np.diff(x1)
    return float(steps[steps > SAME].min())


def _profile(whole: Assembly, y: Array) -> tuple[tuple[float, float], ...]:
    """Opening at the places nearest to the tip, from ahead of it backwards."""
    x1, opening, (upper, lower) = flank_opening(whole.body, whole.X, y)
    kept = whole.free[upper] & whole.free[lower]
    x1, opening = x1[kept], opening[kept]
    tip = tip_position(whole.body, whole.X, whole.free, y)
    last = np.searchsorted(x1, (tip or (0.0, 0.0))[0]) + 2
    chosen = slice(max(0, int(last) - PROFILE), int(last))
    return tuple((float(a), float(b)) for a, b in zip(x1[chosen], opening[chosen], strict=True))
