# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Refining core and mesh by the estimated error: the section ``adaptivity``."""

from __future__ import annotations

from pydantic import Field

from msolve.config.quantities import Gradient, PositiveLength
from msolve.config.sections import Flag, PositiveCount, Section


class QuantityGoal(Section):
    """A number of `quantities` that is to be right."""

    name: str = Field(description="Its name: `name` in `quantities`, by default its `kind`.")
    tolerance: float = Field(
        gt=0, description="Estimated error at which to stop, in the unit in which it is told."
    )


class Adaptivity(Section):
    """Refining core and mesh by the estimated error, until it is small enough or too dear. Discs only.

    It needs a tolerance (`total_h1`, `energy_norm` or `quantity`) or a budget (`atoms`, `unknowns` or `seconds`).
    """

    total_h1: PositiveLength | None = Field(
        default=None,
        description="Estimated error at which to stop: the H1 norm over all bonds inside the rim.",
    )
    energy_norm: float | None = Field(
        default=None,
        gt=0,
        description="The same in the energy norm, √eV for one period along the front: half its square is the energy "
        "that the error holds. In the place of `total_h1`, not beside it.",
    )
    quantity: QuantityGoal | None = Field(
        default=None,
        description="Number to be refined for; what is marked is then what that number depends on.",
    )
    rounds: PositiveCount = Field(default=10, description="Problems that are solved at most.")
    atoms: PositiveCount | None = Field(
        default=None, description="Evaluated atoms above which to stop."
    )
    unknowns: PositiveCount | None = Field(
        default=None, description="Unknowns above which to stop."
    )
    seconds: float | None = Field(
        default=None, gt=0, description="Seconds of all rounds together after which to stop."
    )
    bulk: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="Share of the sources of the error that are marked in each round.",
    )
    atom_cost: float = Field(
        default=10.0,
        gt=0,
        description="Unknowns that an evaluated atom is worth, when cores and mesh compete: about 5 for embedded "
        "atoms, 50 and more for networks beside a learned law.",
    )
    quadratic: Flag = Field(
        default=True,
        description="Whether quadratic elements are tried, once the mesh has the larger share in the error; they are "
        "kept where they pay more than other refinement.",
    )
    shrink: Flag = Field(
        default=True,
        description="Whether cores shrink where the first estimate is far below the tolerance.",
    )
    largest_radius: PositiveLength | None = Field(
        default=None,
        description="Radius up to which a disc may grow while what lies beyond it matters more than a half of the "
        "rest; by default the body is what it is.",
    )
    stability: float = Field(
        default=0.3,
        ge=0,
        lt=1,
        description="Where the law of the mesh is less stable than this share of that at rest (lowest eigenvalue of "
        "the acoustic tensor), a core opens. 0 never looks.",
    )
    doubt: Gradient | None = Field(
        default=None,
        description="Disagreement of a committee's members on the force on an atom (`force_spread`) above which a core "
        "grows to where that atom of its blending zone is; by default it does not matter. Needs `potential.committee`.",
    )
