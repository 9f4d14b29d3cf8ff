# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a certificate says, in numbers and in words."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Level = Literal["A", "B", "C"]


@dataclass(frozen=True)
class BranchEnd:
    """Where a branch of equilibria turns back in the load: the limit of lattice trapping, if it is a crack's.

    Attributes:
        level: ``"A"``: proved; ``"B"``: with a sampled constant; ``"C"``: only computed, nothing is certified.
        obstacle: What stands in the way of a certificate.
        low: The load there is at least that,
        high: and at most that; both the computed one at level C.
        highest: Whether it is the highest load of the branch nearby; else the lowest.
        amplitude: Of the softest mode there, less that of the coupled state [Å].
        stretch: Amplitudes to each side over which the branch is certified [Å].
    """

    level: Level
    obstacle: str | None
    low: float
    high: float
    highest: bool
    amplitude: float
    stretch: float = 0.0


@dataclass(frozen=True)
class FoldCertificate:
    """One equilibrium of given amplitude, whose load is part of the answer.

    Norms are those of the bordered system: √(⟨v, H v⟩ + ω² μ²) for changes v of the atoms and μ of the load.

    Attributes:
        level: As in :class:`Certificate`.
        obstacle: What stands in the way at level C.
        asked: Load that was asked for.
        load: Load of the centre.
        half_width: The equilibrium's load is within that of ``load``.
        unit: Of all loads.
        corrections: Newton corrections of the bordered system.
        residual: Norm η of the next one [√eV].
        residuals: The same before each.
        lipschitz: L that was used [1/√eV].
        lipschitz_how: How it is known.
        number: h = 2 L η, certified if at most 1.
        radius: The equilibrium is that near, and no other one of its amplitude is [√eV].
        radius_h1: Its positions in the H1 norm over all bonds [Å].
        moved_h1: How far the corrections led from the coupled state in that norm [Å].
        stiffness: k, what holds the amplitude at a fixed load in the centre; zero at a fold [eV/Å²].
        negative: Negative eigenvalues of the equilibrium's Hessian, by inertia: 0 for a minimum, 1 for a saddle;
            ``None`` where the radius leaves it open.
        eigenvalues: Lowest Ritz values of H against D [eV/Å²].
        end: Where the branch turns; ``None`` if it was not sought.
    """

    level: Level
    obstacle: str | None
    asked: float
    load: float
    half_width: float | None = None
    unit: str = ""
    corrections: int = 0
    residual: float = math.inf
    residuals: tuple[float, ...] = ()
    lipschitz: float | None = None
    lipschitz_how: str = ""
    number: float | None = None
    radius: float | None = None
    radius_h1: float | None = None
    moved_h1: float = 0.0
    stiffness: float | None = None
    negative: int | None = None
    eigenvalues: tuple[float, ...] = ()
    end: BranchEnd | None = None

    def in_units(self, scale: float, unit: str) -> FoldCertificate:
        """Loads multiplied, in a unit."""
        width = None if self.half_width is None else self.half_width * scale
        end = self.end
        if end is not None:
            end = replace(end, low=end.low * scale, high=end.high * scale)
        return replace(
            self,
            asked=self.asked * scale,
            load=self.load * scale,
            half_width=width,
            unit=unit,
            end=end,
        )

    def lines(self) -> list[str]:
        """What the log says."""
        if self.level == "C" or self.half_width is None:
            return [f"not certified with the load as an unknown either: {self.obstacle}"]
        kind = {0: "a minimum", 1: "a saddle", None: "minimum or saddle"}[self.negative]
        out = [
            f"certified (fold), level {self.level}: one equilibrium of this amplitude, {kind}, at a load of "
            f"{self.load:.10g} ± {self.half_width:.1g} {self.unit}, {self.load - self.asked:+.2g} from that asked for; "
            f"h = {self.number:.2g} after {self.corrections} corrections"
        ]
        end = self.end
        if end is None:
            return out
        which = "highest" if end.highest else "lowest"
        if end.level == "C":
            told = f"{end.low:.8g} {self.unit}, computed and not certified ({end.obstacle})"
        else:
            told = f"between {end.low:.10g} and {end.high:.10g} {self.unit}, certified, level {end.level}"
        return [*out, f"the branch turns back: its {which} load nearby is {told}"]

    def statement(self) -> str:
        """What is guaranteed, in words."""
        if self.level == "C" or self.half_width is None or self.radius is None:
            return f"Nothing is certified with the load as an unknown: {self.obstacle}."
        sure = "bounded analytically" if self.level == "A" else "sampled, with a factor of safety"
        return (
            f"There is exactly one equilibrium with the coupled state's amplitude of the softest mode within "
            f"{self.radius:.3g} √eV of the centre, at a load within {self.half_width:.3g} {self.unit} of "
            f"{self.load:.10g} {self.unit}, if η = {self.residual:.3g} √eV and the Lipschitz constant "
            f"{self.lipschitz:.3g} /√eV, {sure}, are valid bounds. {self.asked:.10g} {self.unit} was asked for: the "
            "load is part of the answer, and nothing is said of that one. Held atoms move on straight lines with the "
            f"load. Level {self.level}."
        )


@dataclass(frozen=True)
class Certificate:
    """Whether the full atomistic model has a solution near a state, how near, and how that is known.

    Norms are those of H, the Hessian in the corrected state: √⟨v, H v⟩ [√eV].

    Attributes:
        level: ``"A"``: everything proved, up to the rounding of floating-point numbers; ``"B"``: the Lipschitz constant
            is sampled; ``"C"``: nothing is certified.
        obstacle: What stands in the way at level C; else ``None``.
        corrections: Newton corrections on the full lattice before the test closed, k.
        negative: Negative eigenvalues of H by the inertia of its factorisation: the Morse index.
        residual: Dual norm η of the forces in the corrected state [√eV]; inf where H is not positive in any.
        residuals: The same in each state, the coupled one first; the earlier ones in the first Hessian's norm.
        lipschitz: L that was used [1/√eV]; ``None`` where none was needed.
        lipschitz_how: How L is known.
        sampled: The largest sampled value of L [1/√eV].
        number: h = 2 L η, certified if at most 1.
        radius: The solution is that near the corrected state, and is the only one there [√eV].
        moved: Distance of the coupled state from the corrected one [√eV].
        bound: ``moved + radius``, which bounds the error of the coupled state [√eV].
        moved_h1: Distance of the two in the H1 norm over all bonds [Å].
        radius_h1: ``radius`` in that norm, by ``stability`` [Å].
        bound_h1: Bound of the coupled state's error in that norm [Å].
        moved_rms: Distance of the two, root mean square over the free atoms [Å].
        radius_rms: ``radius`` in that measure, by ``radius_h1`` and ``least`` [Å].
        bound_rms: Bound of the coupled state's error in it [Å].
        moved_strain: Largest difference of the two over a bond, over the distance of neighbours [-].
        radius_strain: At most that by ``radius_h1`` [-].
        bound_strain: Bound of the coupled state's error in it [-].
        least: Lower bound of the eigenvalues of D, by a positive vector [-].
        stability: τ with H ≥ τ D, D the sum of squares over bonds, shown by inertia [eV/Å²].
        eigenvalues: Lowest eigenvalues of H against D, Ritz values: near, and no bounds [eV/Å²]. Where nothing is
            certified those of the last Hessian that was assembled.
        softest_at: Place of the atom that the first of these modes strains most, (x1, x2, x3) [Å].
        soft_share: Shares of the last correction's square in these modes.
        products: Hessian products of the corrections.
        columns: Hessian products from which Hessians were assembled.
        atoms: Free atoms of the lattice that it speaks of.
        radius_of_zone: Where only atoms around the defect are free in it, the others held in the coupled state: the
            radius of that zone [Å]; ``None`` if it is the whole body.
        fold: What can be certified with the load as an unknown, where nothing is at the load that was asked for.
    """

    level: Level
    obstacle: str | None
    corrections: int
    negative: int
    residual: float
    residuals: tuple[float, ...] = ()
    lipschitz: float | None = None
    lipschitz_how: str = ""
    sampled: float | None = None
    number: float | None = None
    radius: float | None = None
    moved: float = 0.0
    bound: float | None = None
    moved_h1: float = 0.0
    radius_h1: float | None = None
    bound_h1: float | None = None
    moved_rms: float = 0.0
    radius_rms: float | None = None
    bound_rms: float | None = None
    moved_strain: float = 0.0
    radius_strain: float | None = None
    bound_strain: float | None = None
    least: float | None = None
    stability: float | None = None
    eigenvalues: tuple[float, ...] = ()
    softest_at: tuple[float, float, float] | None = None
    soft_share: tuple[float, ...] = ()
    products: int = 0
    columns: int = 0
    atoms: int = 0
    radius_of_zone: float | None = None
    fold: FoldCertificate | None = None

    def to_dict(self) -> dict[str, Any]:
        """All numbers, and the statement, JSON-able."""
        told = {**asdict(self), "statement": self.statement()}
        if self.fold is not None:
            told["fold"]["statement"] = self.fold.statement()
        return told

    def headline(self) -> str:
        """The same in one line."""
        where = (
            ""
            if self.radius_of_zone is None
            else f" of {self.radius_of_zone:.4g} Å around the defect"
        )
        if self.level == "C" or self.radius is None:
            return f"not certified{where}: {self.obstacle}"
        near = f"{self.bound:.3g} √eV"
        if self.bound_h1 is not None:
            near = f"{self.bound_h1:.3g} Å (H1 norm over all bonds)"
        return (
            f"certified{where}, level {self.level}: the full atomistic model has one solution within {near}, a "
            f"minimum; h = {self.number:.2g} after {self.corrections} corrections"
        )

    def stands(self) -> str | None:
        """Lowest eigenvalues and Morse index in one line; ``None`` where they are not known."""
        if not self.eigenvalues:
            return None
        values = ", ".join(f"{value:.3g}" for value in self.eigenvalues)
        where = ""
        if self.softest_at is not None:
            where = (
                f", the first strains most at ({', '.join(f'{x:.3g}' for x in self.softest_at)}) Å"
            )
        return (
            f"lowest eigenvalues {values} eV/Å² against the sum of squares over bonds (Ritz values){where}; "
            f"{self.negative} negative by inertia"
        )

    def statement(self) -> str:
        """What is guaranteed, in words."""
        body = f"the potential as implemented on a body of {self.atoms} free atoms"
        if self.radius_of_zone is not None:
            body += (
                f" within {self.radius_of_zone:.4g} Å of the defect, all others held where the coupled solution has "
                "them (of these nothing is certified)"
            )
        beside = (
            "Not covered: the potential's own error, which a section model_error tells beside this, other states "
            "outside the ball, and whether this is the branch that was wanted."
        )
        if self.level == "C" or self.radius is None or self.number is None:
            return f"Nothing is certified of {body}: {self.obstacle}. {beside}"
        sure = "bounded analytically" if self.level == "A" else "sampled, with a factor of safety"
        return (
            f"Of {body}: η = {self.residual:.3g} √eV from the forces on every one of them, none sampled, stability "
            f"{self.stability or 0.0:.3g} eV/Å² shown by inertia, Lipschitz constant {self.lipschitz:.3g} /√eV {sure} "
            f"({self.lipschitz_how}). If these are valid bounds, there is exactly one equilibrium within "
            f"{self.radius:.3g} √eV of the corrected state, a minimum, and it is within {self.bound:.3g} √eV of the "
            f"coupled solution{self._in_lengths()}. Level {self.level}. {beside}"
        )

    def _in_lengths(self) -> str:
        """The bound of the coupled state's error in other measures."""
        told = []
        if self.bound_h1 is not None:
            told.append(f"{self.bound_h1:.3g} Å in the H1 norm over bonds")
        if self.bound_rms is not None:
            told.append(f"{self.bound_rms:.2g} Å root mean square over atoms")
        if self.bound_strain is not None:
            told.append(f"no bond off by more than {100 * self.bound_strain:.2g} % of its length")
        return f" ({', '.join(told)})" if told else ""


def closed(
    known: Certificate, L: float, how: str, level: Level, neighbours: float
) -> Certificate | None:
    """The certificate that a Lipschitz constant gives; ``None`` if the test does not close.

    Args:
        known: What is known without it.
        L: It [1/√eV].
        how: How it is known.
        level: Of the certificate, if there is one.
        neighbours: Distance of neighbours in the crystal [Å].
    """
    h = 2 * L * known.residual
    if not h <= 1:
        return None
    # (1 - √(1 - h)) / L without cancellation
    radius = 2 * known.residual / (1 + math.sqrt(1 - h))
    found = replace(
        known,
        level=level,
        lipschitz=L,
        lipschitz_how=how,
        number=h,
        radius=radius,
        bound=known.moved + radius,
    )
    if known.stability is None:
        return found
    in_h1 = radius / math.sqrt(known.stability)
    # One bond's change is at most the root of the sum of squares over all.
    strain = in_h1 / neighbours
    found = replace(
        found,
        radius_h1=in_h1,
        bound_h1=known.moved_h1 + in_h1,
        radius_strain=strain,
        bound_strain=known.moved_strain + strain,
    )
    if known.least is None:
        return found
    rms = in_h1 / math.sqrt(known.least * max(known.atoms, 1))
    return replace(found, radius_rms=rms, bound_rms=known.moved_rms + rms)
