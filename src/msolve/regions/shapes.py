# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Shapes by their signed distance: balls, boxes, polygons, capsules, and what is made of them.

A shape is a closed set of reference positions. In quasi-two-dimensional problems it is a prism
along the front, and x3 does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
class Disc:
    """A flat cylinder, such as a penny; with ``dimension`` 2 a slot along the front x3.

    Attributes:
        centre: Its centre [Å].
        radius: Its radius [Å].
        thickness: Its extent along the normal [Å].
        normal: Direction of its axis; in the plane, its first two components.
        dimension: How many coordinates count, 2 or 3.
    """

    centre: tuple[float, float, float]
    radius: float
    thickness: float
    normal: tuple[float, float, float] = (0.0, 1.0, 0.0)
    dimension: int = 3

    def distance(self, X: Array) -> Array:
        """Signed distance to the surface, negative inside, shape ``(n,)`` [Å]."""
        apart = X[:, : self.dimension] - np.asarray(self.centre)[: self.dimension]
        axis = np.asarray(self.normal)[: self.dimension]
        along = apart @ (axis / np.linalg.norm(axis))
        across = np.sqrt(np.maximum(np.einsum("ni,ni->n", apart, apart) - along**2, 0))
        beyond = np.column_stack([across - self.radius, np.abs(along) - self.thickness / 2])
        return np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(axis=1), 0)

    def extent(self) -> float:
        """Distance of the furthest point from the origin, at most [Å]."""
        own = float(np.hypot(self.radius, self.thickness / 2))
        return float(np.linalg.norm(np.asarray(self.centre)[: self.dimension])) + own


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
class Capsule:
    """All points within a radius of a segment, or with ``dimension`` 2 their prism along x3.

    Attributes:
        start: One end of the segment [Å].
        end: The other [Å].
        radius: [Å].
        dimension: How many coordinates count, 2 or 3.
    """

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius: float
    dimension: int = 2

    def distance(self, X: Array) -> Array:
        """Signed distance to the surface, negative inside, shape ``(n,)`` [Å]."""
        start, end = (np.asarray(p)[: self.dimension] for p in (self.start, self.end))
        apart, along = X[:, : self.dimension] - start, end - start
        length = float(along @ along)
        share = np.clip(apart @ along / length, 0, 1) if length > 0 else np.zeros(len(X))
        return np.linalg.norm(apart - share[:, None] * along, axis=1) - self.radius

    def extent(self) -> float:
        """Distance of the furthest point from the origin [Å]."""
        ends = np.array([self.start, self.end])[:, : self.dimension]
        return float(np.linalg.norm(ends, axis=1).max()) + self.radius


@dataclass(frozen=True)
class Polygon:
    """A prism along x3 over a simple polygon.

    Attributes:
        corners: Its corners in order, either way round, shape ``(n, 2)`` [Å].
    """

    corners: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        """Refuse what encloses nothing, or crosses itself."""
        points = np.asarray(self.corners)
        if len(points) < 3 or abs(_area(points)) < 1e-9:
            raise ValueError("a polygon needs at least three corners that do not lie in a line")
        if _crosses_itself(points):
            raise ValueError("the sides of a polygon must not cross or touch each other")

    def distance(self, X: Array) -> Array:
        """Signed distance to the surface, negative inside, shape ``(n,)`` [Å]."""
        points = np.asarray(self.corners)
        nearest = np.full(len(X), np.inf)
        inside = np.zeros(len(X), dtype=bool)
        for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
            apart, along = X[:, :2] - a, b - a
            share = np.clip(apart @ along / (along @ along), 0, 1)
            nearest = np.minimum(nearest, np.linalg.norm(apart - share[:, None] * along, axis=1))
            # A ray towards +x1 leaves the polygon as often as it enters.
            between = (a[1] > X[:, 1]) != (b[1] > X[:, 1])
            turn = along[0] * apart[:, 1] - along[1] * apart[:, 0]
            inside ^= between & ((turn > 0) == (along[1] > 0))
        return np.where(inside, -nearest, nearest)

    def extent(self) -> float:
        """Distance of the furthest corner from the origin [Å]."""
        return float(np.linalg.norm(self.corners, axis=1).max())


@dataclass(frozen=True)
class Grown:
    """Everything within a distance of a shape.

    Attributes:
        shape: What grows.
        by: How far [Å].
    """

    shape: Shape
    by: float

    def distance(self, X: Array) -> Array:
        """Signed distance to the surface, exact outside, shape ``(n,)`` [Å]."""
        return self.shape.distance(X) - self.by

    def extent(self) -> float:
        """A bound of the distance of the furthest point from the origin [Å]."""
        return self.shape.extent() + self.by


def _area(points: Array) -> float:
    x, y = points.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _crosses_itself(points: Array) -> bool:
    """Whether two sides that are no neighbours meet, or two neighbours fold onto each other."""
    n = len(points)
    start, end = points, np.roll(points, -1, axis=0)
    i, j = np.triu_indices(n, 1)
    apart = (j - i > 1) & ~((i == 0) & (j == n - 1))

    def side(a: Array, b: Array, c: Array) -> Array:
        ab, ac = b - a, c - a
        return np.asarray(np.sign(ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]))

    i, j = i[apart], j[apart]
    across = (side(start[i], end[i], start[j]) * side(start[i], end[i], end[j]) <= 0) & (
        side(start[j], end[j], start[i]) * side(start[j], end[j], end[i]) <= 0
    )
    # Sides in one line touch only where their spans along it overlap.
    low = np.minimum(start, end), np.maximum(start, end)
    overlap = ((low[0][i] <= low[1][j]) & (low[0][j] <= low[1][i])).all(axis=1)
    here, there = start - np.roll(start, 1, axis=0), end - start
    turn = here[:, 0] * there[:, 1] - here[:, 1] * there[:, 0]
    folds = (np.abs(turn) < 1e-12) & ((here * there).sum(axis=1) < 0)
    return bool(np.any(across & overlap) or np.any(folds))
