# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The atomistic zones of an input: cores of several shapes, and the width of the blend."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from msolve.config.quantities import Point, PositiveLength, Width
from msolve.config.sections import Section
from msolve.errors import CaseError
from msolve.regions import Ball, Box, Capsule, Polygon, Shape


class BallCore(Section):
    """A ball; in quasi-two-dimensional problems a disc."""

    shape: Literal["ball"] = Field(default="ball", description="A ball.")
    centre: Point = Field(default=(0.0, 0.0, 0.0), description="Its centre.")
    radius: PositiveLength = Field(description="Its radius.")

    def region(self, dimension: int = 2) -> Shape:
        """The shape, in the plane or in space."""
        return Ball(self.centre, self.radius, dimension)


class BoxCore(Section):
    """A box with faces normal to the axes; x3 does not matter in quasi-two-dimensional problems."""

    shape: Literal["box"] = Field(description="A box.")
    low: Point = Field(description="Its corner with the lowest coordinates.")
    high: Point = Field(description="Its corner with the highest coordinates.")

    @model_validator(mode="after")
    def _has_an_inside(self) -> BoxCore:
        if any(a >= b for a, b in zip(self.low[:2], self.high[:2], strict=True)):
            raise ValueError("high must lie beyond low in x1 and x2")
        return self

    def region(self, dimension: int = 2) -> Shape:
        """The shape, in the plane or in space."""
        if dimension == 3:
            return Box(self.low, self.high)
        return Box((*self.low[:2], -math.inf), (*self.high[:2], math.inf))


class CapsuleCore(Section):
    """Everything within a radius of a segment, such as a short crack and what is around it."""

    shape: Literal["capsule"] = Field(description="A segment and what is around it.")
    start: Point = Field(description="One end of the segment.")
    end: Point = Field(description="The other end.")
    radius: PositiveLength = Field(description="How far the core reaches around the segment.")

    def region(self, dimension: int = 2) -> Shape:
        """The shape, in the plane or in space."""
        return Capsule(self.start, self.end, self.radius, dimension)


class PolygonCore(Section):
    """A polygon in the plane (x1, x2); only in quasi-two-dimensional problems."""

    shape: Literal["polygon"] = Field(description="A polygon.")
    corners: tuple[Point, ...] = Field(description="Its corners in order, three or more.")

    @model_validator(mode="after")
    def _has_an_inside(self) -> PolygonCore:
        self.region()
        return self

    def region(self, dimension: int = 2) -> Shape:
        """The shape.

        Raises:
            CaseError: The problem is one in space.
        """
        if dimension == 3:
            raise CaseError(
                ["regions.cores: a polygon has no extent along x3; ball, box or capsule would do"]
            )
        return Polygon(tuple((x1, x2) for x1, x2, _ in self.corners))


def _shape_of(core: object) -> str:
    shape = core.get("shape", "ball") if isinstance(core, dict) else getattr(core, "shape", "ball")
    return str(shape)


Core = Annotated[
    Annotated[BallCore, Tag("ball")]
    | Annotated[BoxCore, Tag("box")]
    | Annotated[CapsuleCore, Tag("capsule")]
    | Annotated[PolygonCore, Tag("polygon")],
    Discriminator(_shape_of),
]


class RegionsInput(Section):
    """Where the model is atomistic and how wide it blends into the continuum.

    Needed by all methods but `atomistic`.
    """

    core_radius: PositiveLength | None = Field(
        default=None, description="Radius of a single core around the origin; instead of `cores`."
    )
    cores: tuple[Core, ...] = Field(
        default=(), description="Several cores, or one that lies elsewhere or is no ball."
    )
    blend: Width = Field(default=8.0, description="Width of the blending zone around the cores.")

    @property
    def all_cores(self) -> tuple[Core, ...]:
        """The cores, whichever way they were given."""
        if self.core_radius is None:
            return self.cores
        return (BallCore(radius=f"{self.core_radius!r} angstrom"),)  # type: ignore[arg-type]
