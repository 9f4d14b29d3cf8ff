# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Certifying a solution: the section ``certificate``."""

from __future__ import annotations

from pydantic import Field

from msolve.config.quantities import Point, PositiveLength
from msolve.config.sections import Count, Flag, PositiveCount, Section


class CertificateAsked(Section):
    """Certifying that the full atomistic model has one solution nearby, after each load step. `{}` does."""

    corrections: Count = Field(
        default=3, description="Newton corrections on the full lattice at most, before the test."
    )
    factor: float = Field(
        default=6.0,
        ge=1,
        description="Factor of safety on a sampled Lipschitz constant; where a bound is known it is not used.",
    )
    zone_radius: PositiveLength | None = Field(
        default=None,
        description="Certify only the atoms within this distance of the defect, the others held where the coupled "
        "solution has them. Default: all atoms of the body.",
    )
    zone_centre: Point = Field(default=(0.0, 0.0, 0.0), description="Middle of that zone.")
    largest: PositiveCount = Field(
        default=30_000,
        description="Free atoms above which nothing is certified: matrices are factorised.",
    )
    fold: Flag = Field(
        default=True,
        description="Whether to take the load as one more unknown where nothing can be certified at the load that was "
        "asked for, as near a fold, and to seek the load at which the branch ends. Whole bodies only.",
    )
    look_around: Flag = Field(
        default=True,
        description="Whether to look along the softest modes for states of lower energy.",
    )
