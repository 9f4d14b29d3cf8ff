# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Numbers that a run is asked for: what each is, in ``quantities``."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from msolve.config.quantities import Direction, Point, PositiveLength
from msolve.config.sections import Section


class Asked(Section):
    """What all of them have."""

    name: str | None = Field(
        default=None, min_length=1, description="What to call it; by default, what it is."
    )


class EnergyAsked(Asked):
    """The energy of the full atomistic model, relative to the perfect crystal."""

    kind: Literal["energy"] = Field(description="Energy [eV per period].")


class DisplacementAsked(Asked):
    """The displacement of an atom along a direction."""

    kind: Literal["displacement"] = Field(description="Displacement of an atom [Å].")
    at: Point = Field(description="Place in the perfect crystal; the nearest atom is meant.")
    direction: Direction = Field(description="Direction, of any length.")


class OpeningAsked(Asked):
    """The opening of a crack."""

    kind: Literal["opening"] = Field(description="Opening of a crack [Å].")
    behind: PositiveLength = Field(description="Distance behind the end of the cut.")


class RingAsked(Asked):
    """What is taken from a ring of atoms around the end of the cut."""

    inner: PositiveLength = Field(description="Inner radius of the ring.")
    outer: PositiveLength = Field(description="Outer radius of the ring.")


class EnergyReleaseAsked(RingAsked):
    """The energy that a crack releases."""

    kind: Literal["energy_release"] = Field(description="J-integral [J/m²].")


class StressIntensityAsked(RingAsked):
    """The stress intensity that a crack tip feels."""

    kind: Literal["stress_intensity"] = Field(description="Stress intensity [MPa√m].")
    mode: Literal["equivalent", "I", "II", "III"] = Field(
        default="equivalent",
        description="`equivalent`: the K_I that releases as much energy as the J-integral. `I`, `II`, `III`: each by "
        "itself, by an interaction integral in linear elasticity.",
    )


AnyAsked: TypeAlias = Annotated[
    EnergyAsked | DisplacementAsked | OpeningAsked | EnergyReleaseAsked | StressIntensityAsked,
    Field(discriminator="kind"),
]


def names_of(asked: tuple[AnyAsked, ...]) -> list[str]:
    """What each is called; two may turn out the same."""
    names = []
    for one in asked:
        default: str = one.kind
        if isinstance(one, StressIntensityAsked):
            default = "K" if one.mode == "equivalent" else f"K_{one.mode}"
        elif isinstance(one, EnergyReleaseAsked):
            default = "J"
        names.append(one.name or default)
    return names
