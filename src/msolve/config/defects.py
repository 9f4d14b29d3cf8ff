# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What is not perfect about the crystal of an input: missing atoms, holes, a crack, dislocations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from msolve.config.quantities import Accepts, Point, PositiveLength
from msolve.config.sections import Section
from msolve.regions import Ball, Disc, Shape

Direction = Annotated[tuple[float, float, float], Accepts("three numbers, not all zero")]


class Void(Section):
    """A hole: a ball, or a flat disc such as a penny-shaped crack; round in the plane."""

    centre: Point = Field(default=(0.0, 0.0, 0.0), description="Its centre.")
    radius: PositiveLength = Field(description="Its radius.")
    thickness: PositiveLength | None = Field(
        default=None,
        description="Thickness of a flat hole: atoms within half of it from its plane are missing. "
        "Default: a ball.",
    )
    normal: Direction = Field(
        default=(0.0, 1.0, 0.0), description="Normal of a flat hole, in laboratory axes."
    )

    @model_validator(mode="after")
    def _stands_somewhere(self) -> Void:
        if not any(self.normal):
            raise ValueError("normal: must not be zero")
        return self

    def region(self, dimension: int) -> Shape:
        """The shape, in the plane or in space."""
        if self.thickness is None:
            return Ball(self.centre, self.radius, dimension)
        return Disc(self.centre, self.radius, self.thickness, self.normal, dimension)


class Dislocation(Section):
    """A straight screw dislocation along the front."""

    at: Point = Field(description="Where its line crosses the plane; between the rows of atoms.")
    periods: int = Field(
        default=1,
        strict=True,
        ge=-4,
        le=4,
        description="Burgers vector along x3, in periods of the crystal; positive: right-handed.",
    )

    @field_validator("periods")
    @classmethod
    def _some(cls, periods: int) -> int:
        if periods == 0:
            raise ValueError("0 is no dislocation; leave it out")
        return periods


class Defect(Section):
    """What is not perfect about the crystal."""

    kind: Literal["none", "vacancy", "void", "crack", "dislocation"] = Field(
        default="none",
        description="`vacancy`: single atoms are missing. `void`: all atoms in some holes are. `crack`: cut along "
        "x2 = 0 for x1 < 0, between two atomic layers; the tip is the origin. `dislocation`: straight screw "
        "dislocations along x3; their field is added to that of the load.",
    )
    positions: tuple[Point, ...] = Field(
        default=(),
        description="Vacancies: the atom nearest to each point is left out. Default: the origin.",
    )
    voids: tuple[Void, ...] = Field(default=(), description="The holes, with kind `void`.")

    dislocations: tuple[Dislocation, ...] = Field(
        default=(), description="The dislocations, with kind `dislocation`."
    )

    @model_validator(mode="after")
    def _complete(self) -> Defect:
        if (self.kind == "void") != bool(self.voids):
            raise ValueError("kind void needs voids, and voids need kind void")
        if (self.kind == "dislocation") != bool(self.dislocations):
            raise ValueError(
                "kind dislocation needs dislocations, and dislocations need kind dislocation"
            )
        return self
