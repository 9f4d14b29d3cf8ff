# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The atomistic zones of an input: cores of several shapes, and the width of the blend."""

from __future__ import annotations

from pydantic import Field

from msolve.config.quantities import Point, PositiveLength, Width
from msolve.config.sections import Section


class Core(Section):
    """One fully atomistic zone."""

    centre: Point = Field(default=(0.0, 0.0, 0.0), description="Its centre.")
    radius: PositiveLength = Field(description="Its radius.")


class RegionsInput(Section):
    """Where the model is atomistic and how wide it blends into the continuum.

    Needed by all methods but `atomistic`.
    """

    core_radius: PositiveLength | None = Field(
        default=None, description="Radius of a single core around the origin; instead of `cores`."
    )
    cores: tuple[Core, ...] = Field(
        default=(), description="Several cores, or one that lies elsewhere."
    )
    blend: Width = Field(default=8.0, description="Width of the blending zone around the cores.")

    @property
    def all_cores(self) -> tuple[Core, ...]:
        """The cores, whichever way they were given."""
        if self.core_radius is None:
            return self.cores
        return (Core.model_construct(centre=(0.0, 0.0, 0.0), radius=self.core_radius),)
