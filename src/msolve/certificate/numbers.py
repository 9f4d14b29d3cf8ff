# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a certificate says, in numbers and in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["A", "B", "C"]


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
        residual: Dual norm η of the forces in the corrected state [√eV].
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
        stability: τ with H ≥ τ D, D the sum of squares over bonds, shown by inertia [eV/Å²].
        eigenvalues: Lowest eigenvalues of H against D, Ritz values: near, and no bounds [eV/Å²].
        soft_share: Shares of the last correction's square in these modes.
        atoms: Free atoms of the lattice that it speaks of.
        radius_of_zone: Where only atoms around the defect are free in it, the others held in the coupled state: the
            radius of that zone [Å]; ``None`` if it is the whole body.
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
    stability: float | None = None
    eigenvalues: tuple[float, ...] = ()
    soft_share: tuple[float, ...] = ()
    atoms: int = 0
    radius_of_zone: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """All numbers, and the statement, JSON-able."""
        return {**asdict(self), "statement": self.statement()}

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

    def statement(self) -> str:
        """What is guaranteed, in words."""
        body = f"the potential as implemented on a body of {self.atoms} free atoms"
        if self.radius_of_zone is not None:
            body += (
                f" within {self.radius_of_zone:.4g} Å of the defect, all others held where the coupled solution has "
                "them (of these nothing is certified)"
            )
        beside = (
            "Not covered: the potential's own error, other states outside the ball, and whether this is the branch "
            "that was wanted."
        )
        if self.level == "C" or self.radius is None or self.number is None:
            return f"Nothing is certified of {body}: {self.obstacle}. {beside}"
        sure = "bounded analytically" if self.level == "A" else "sampled, with a factor of safety"
        return (
            f"Of {body}: η = {self.residual:.3g} √eV, stability {self.stability or 0.0:.3g} eV/Å² shown by inertia, "
            f"Lipschitz constant {self.lipschitz:.3g} /√eV {sure} ({self.lipschitz_how}). If these are valid bounds, "
            f"there is exactly one equilibrium within {self.radius:.3g} √eV of the corrected state, a minimum, and it "
            f"is within {self.bound:.3g} √eV ({self.bound_h1 or 0.0:.3g} Å in the H1 norm over bonds) of the coupled "
            f"solution. Level {self.level}. {beside}"
        )
