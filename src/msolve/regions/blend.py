# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The blending function of a union of shapes: one function beta of reference positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msolve.regions.outline import Outline
from msolve.regions.shapes import Shape, Union

Array = NDArray[np.float64]

# Blending values this close to 0 or 1 are put exactly there, so that no atom is computed for a
# weight of 1e-3.
SNAP = 1e-3


@dataclass(frozen=True)
class Regions:
    """Atomistic cores and the width over which they blend into the continuum.

    Attributes:
        cores: Shapes that are fully atomistic.
        blend: Width of the blending zone around them [Å]; 0 is a sharp interface.
    """

    cores: tuple[Shape, ...]
    blend: float

    def __post_init__(self) -> None:
        """Refuse what blends nothing."""
        if not self.cores:
            raise ValueError("regions need at least one core")
        if self.blend < 0:
            raise ValueError(f"blend is a width, not negative; got {self.blend}")

    def distance(self, X: Array) -> Array:
        """Signed distance to the nearest core, negative inside, shape ``(n,)`` [Å]."""
        return Union(self.cores).distance(X)

    def beta(self, X: Array) -> Array:
        """Weight of the continuum: 0 in the cores, 1 beyond the blend, a smoothstep between.

        With s = distance / blend:  beta = s³ (10 − 15 s + 6 s²), which has two continuous
        derivatives.

        Args:
            X: Reference positions, shape ``(n, 3)`` [Å].

        Returns:
            Shape ``(n,)`` [-]; values within 1e-3 of 0 or 1 are exactly 0 or 1.
        """
        distance = self.distance(X)
        if self.blend == 0:
            return np.where(distance > 0, 1.0, 0.0)
        s = np.clip(distance / self.blend, 0, 1)
        beta = s**3 * (10 - 15 * s + 6 * s**2)
        return np.where(beta < SNAP, 0.0, np.where(beta > 1 - SNAP, 1.0, beta))

    def check_fits(self, body: Shape, reach_needed: float) -> list[str]:
        """What is wrong with these regions in a ball around the origin, or in the outline of a mesh.

        Args:
            body: What is solved.
            reach_needed: Distance that must be left beyond the blend: pad of atoms and force range
                [Å].

        Returns:
            One sentence per core that does not fit, naming what would do; empty if all do.
        """
        if isinstance(body, Outline):
            return self._check_outline(body, reach_needed)
        problems = []
        for index, core in enumerate(self.cores):
            needed = core.extent() + self.blend + reach_needed
            if needed > body.extent():
                problems.append(
                    f"domain.radius = {body.extent():g} angstrom: core {index} reaches to "
                    f"{core.extent():g}; with the blend ({self.blend:g}) and the range of the "
                    f"potential ({reach_needed:g}) at least {needed:.1f} angstrom are needed"
                )
        return problems

    def _check_outline(self, body: Outline, reach_needed: float) -> list[str]:
        needed = self.blend + reach_needed
        border = body.surface(0.05 * needed)
        problems = []
        for index, core in enumerate(self.cores):
            away = core.distance(border)
            nearest = border[np.argmin(away)]
            if away.min() < needed:
                problems.append(
                    f"regions: core {index} comes within {max(away.min(), 0):.1f} angstrom of the "
                    f"outline of the mesh, at {nearest[: body.gdim].round(1).tolist()}; the blend "
                    f"({self.blend:g}) and the range of the potential ({reach_needed:g}) need "
                    f"{needed:.1f} angstrom of mesh between them"
                )
        return problems
