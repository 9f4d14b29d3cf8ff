# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Where the problem is atomistic, where it is a continuum, and how one blends into the other.

Regions are shapes and one blending function beta of reference positions. They hold no atoms, no
mesh and no state, so the same object serves the atoms, the quadrature points and the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Blending values this close to 0 or 1 are put exactly there, so that no atom is computed for a
# weight of 1e-3.
SNAP = 1e-3


class Shape(Protocol):
    """A closed set of reference positions."""

    def distance(self, X: Array) -> Array:
        """Signed distance of ``X`` ``(n, 3)`` to the boundary, negative inside, ``(n,)`` [Å]."""
        ...

    def extent(self) -> float:
        """Largest distance of a point of the shape from the origin, unbounded axes left out [Å]."""
        ...


@dataclass(frozen=True)
class Ball:
    """A ball, or with ``dimension`` 2 a cylinder along the front x3.

    Attributes:
        centre: Its centre, three coordinates [Å]; the third does not matter for a cylinder.
        radius: Its radius [Å].
        dimension: How many coordinates count: 2 in quasi-two-dimensional problems, 3 in space.
    """

    centre: tuple[float, float, float]
    radius: float
    dimension: int = 2

    def distance(self, X: Array) -> Array:
        """Signed distance to the surface, negative inside, shape ``(n,)`` [Å]."""
        apart = X[:, : self.dimension] - np.asarray(self.centre)[: self.dimension]
        return np.linalg.norm(apart, axis=1) - self.radius

    def extent(self) -> float:
        """Distance of the furthest point from the origin [Å]."""
        return float(np.linalg.norm(np.asarray(self.centre)[: self.dimension])) + self.radius


@dataclass(frozen=True)
class Box:
    """A box with faces normal to the axes; infinite bounds leave an axis free (x3 in quasi-2-D).

    Attributes:
        low: Lowest coordinates [Å], ``-inf`` allowed.
        high: Highest coordinates [Å], ``inf`` allowed.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def distance(self, X: Array) -> Array:
        """Signed distance to the surface, negative inside, shape ``(n,)`` [Å]."""
        beyond = np.maximum(np.asarray(self.low) - X, X - np.asarray(self.high))
        return np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(axis=1), 0)

    def extent(self) -> float:
        """Distance of the furthest corner from the origin, infinite axes left out [Å]."""
        furthest = np.maximum(np.abs(self.low), np.abs(self.high))
        return float(np.linalg.norm(furthest[np.isfinite(furthest)]))


@dataclass(frozen=True)
class Union:
    """Everything that lies in at least one of the shapes.

    ``distance`` is exact outside; inside overlapping shapes it is a lower bound of the depth, which
    blending never uses.
    """

    shapes: tuple[Shape, ...]

    def distance(self, X: Array) -> Array:
        """Signed distance to the nearest shape, negative inside, shape ``(n,)`` [Å]."""
        return np.min([shape.distance(X) for shape in self.shapes], axis=0)

    def extent(self) -> float:
        """Distance of the furthest point from the origin [Å]."""
        return max(shape.extent() for shape in self.shapes)


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

    def check_fits(self, domain_radius: float, reach_needed: float) -> list[str]:
        """What is wrong with these regions in a disc of ``domain_radius`` around the origin.

        Args:
            domain_radius: [Å].
            reach_needed: Distance that must be left beyond the blend: pad of atoms and force range
                [Å].

        Returns:
            One sentence per core that does not fit, naming the smallest radius that would do; empty
            if all do.
        """
        problems = []
        for index, core in enumerate(self.cores):
            needed = core.extent() + self.blend + reach_needed
            if needed > domain_radius:
                problems.append(
                    f"domain.radius = {domain_radius:g} angstrom: core {index} reaches to "
                    f"{core.extent():g}; with the blend ({self.blend:g}) and the range of the "
                    f"potential ({reach_needed:g}) at least {needed:.1f} angstrom are needed"
                )
        return problems
