# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The polygons around what is left to the mesh generator: all of a disc but the lattice zones.

Edges are directed, with the part to be filled on their left. Their lengths follow the grading, and
those shared with a lattice zone or lying on a crack flank are final: the generator adds no node to
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from msolve.io.meshes.lattice import Slit, crack_end

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Size = Callable[[Array], Array]


def outline_of_ring(
    radius: float, points: Array, shared: IntArray, slit: Slit | None, size: Size, turn: float
) -> tuple[Array, IntArray]:
    """All edges around what is left to fill.

    Args:
        radius: Of the disc [Å].
        points: Nodes of the lattice zones, shape ``(n, 2)`` [Å].
        shared: Their directed edges that the ring meets, shape ``(e, 2)``.
        slit: Crack.
        size: Edge length at points [Å].
        turn: Angle of the first node on the circle, where no crack decides it [rad].

    Returns:
        ``(points, edges)``: ``points`` with the new corners appended, and directed edges, shape
            ``(k, 2)``.
    """
    path = _Path(points, shared, size)

    def circle(angle: Array) -> Array:
        return radius * np.column_stack([np.cos(angle), np.sin(angle)])

    if slit is None:
        start = path.corner(circle(np.array([turn]))[0])
        path.along(circle, turn, turn + 2 * np.pi, start, start)
        return path.result()
    up, down = slit.x_plane + slit.half_gap, slit.x_plane - slit.half_gap
    upper = path.corner(np.array([-np.sqrt(radius**2 - up**2), up]))
    lower = path.corner(np.array([-np.sqrt(radius**2 - down**2), down]))
    first, last = (float(np.arctan2(path.x2(i), path.x1(i))) for i in (lower, upper))
    path.along(circle, first, last, lower, upper)
    # Stretches of flank outside the zones, by their left and right ends.
    left, right = {1: [upper], -1: [lower]}, _right_ends(path, slit)
    if len(shared):
        for side, leaves, node in _zone_ends(points, shared, slit):
            (right if leaves == (side > 0) else left)[side].append(node)
    for side in (1, -1):
        ends = zip(sorted(left[side], key=path.x1), sorted(right[side], key=path.x1), strict=True)
        for a, b in ends:
            path.straight(*((a, b) if side > 0 else (b, a)))
    return path.result()


def closed_loops(points: Array, edges: IntArray) -> list[IntArray]:
    """Corners of the closed polygons that directed edges make, the one with the largest area first.

    Raises:
        ValueError: The polygons touch or cross each other.
    """
    follower = {int(a): int(b) for a, b in edges}
    if len(follower) != len(edges):
        raise ValueError("zones of the mesh touch in a point: move or enlarge one of them")
    loops = []
    while follower:
        loop = [next(iter(follower))]
        while (node := follower.pop(loop[-1])) != loop[0]:
            loop.append(node)
        loops.append(np.array(loop, dtype=np.int64))
    if _crossing(points[edges[:, 0]], points[edges[:, 1]]):
        raise ValueError(
            "a zone of the mesh reaches the boundary of the disc: make the disc larger or the "
            "zone smaller"
        )
    area = [abs(_area(points[loop])) for loop in loops]
    return [loops[i] for i in np.argsort(area)[::-1]]


def _crossing(start: Array, end: Array) -> bool:
    """Whether any two segments cross inside both: the generator would not end on them."""

    def side(a: Array, b: Array, c: Array) -> Array:
        ab, ac = b - a, c - a
        return np.asarray(np.sign(ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]))

    return any(
        bool(
            np.any(
                (side(a, b, start) * side(a, b, end) < 0)
                & (side(start, end, a) * side(start, end, b) < 0)
            )
        )
        for a, b in zip(start, end, strict=True)
    )


def areas(points: Array, loops: Sequence[IntArray]) -> list[list[IntArray]]:
    """What is to be filled: the disc around its zones, and pockets that zones enclose between them.

    Args:
        points: Corners, shape ``(n, 2)`` [Å].
        loops: Closed polygons, counterclockwise around an area, clockwise around a hole in one.

    Returns:
        A list an area: the polygon around it, then those around its holes.
    """
    size = [_area(points[loop]) for loop in loops]
    around = [k for k, a in enumerate(size) if a > 0]
    found = {k: [loops[k]] for k in around}
    for loop, own in zip(loops, size, strict=True):
        if own < 0:
            holding = [k for k in around if size[k] > -own and _inside(points, loop, loops[k])]
            found[min(holding, key=lambda k: size[k])].append(loop)
    return list(found.values())


def _inside(points: Array, loop: IntArray, of: IntArray) -> bool:
    """Whether a polygon that does not cross another lies in it: a ray to the right leaves the other an odd time."""
    x, y = points[loop[:2]].mean(axis=0)
    start, end = points[of], points[np.roll(of, -1)]
    rise = end[:, 1] - start[:, 1]
    crosses = (start[:, 1] > y) != (end[:, 1] > y)
    share = (y - start[crosses, 1]) / rise[crosses]
    at = start[crosses, 0] + share * (end[crosses, 0] - start[crosses, 0])
    return bool(np.count_nonzero(at > x) % 2)


def _area(corners: Array) -> float:
    """Area inside a polygon, negative for one that runs clockwise."""
    x, y = corners.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _right_ends(path: _Path, slit: Slit) -> dict[int, list[int]]:
    """Where the flanks end at the tip, and the edge across, unless a lattice zone holds them."""
    if path.has_zones:
        return {1: [], -1: []}
    up = path.corner(np.array([slit.x_tip, slit.x_plane + slit.half_gap]))
    down = path.corner(np.array([slit.x_tip, slit.x_plane - slit.half_gap]))
    path.straight(up, down)
    return {1: [up], -1: [down]}


def _zone_ends(points: Array, shared: IntArray, slit: Slit) -> list[tuple[int, bool, int]]:
    """Where the outline of a zone meets a flank: side, does it leave the flank there, node."""
    ends = crack_end(points, slit)
    side, surface = slit.side(points), slit.on_surface(points)
    limit = np.where(side > 0, points[ends[0], 0], points[ends[1], 0])
    flank = surface & (points[:, 0] < limit)
    leaving = shared[flank[shared[:, 0]] & ~np.isin(shared[:, 0], shared[:, 1]), 0]
    arriving = shared[flank[shared[:, 1]] & ~np.isin(shared[:, 1], shared[:, 0]), 1]
    return [(int(side[i]), True, int(i)) for i in leaving] + [
        (int(side[i]), False, int(i)) for i in arriving
    ]


class _Path:
    """Points and directed edges while an outline is put together."""

    def __init__(self, points: Array, edges: IntArray, size: Size) -> None:
        self._points = list(points)
        self._edges = [(int(a), int(b)) for a, b in edges]
        self._size = size
        self.has_zones = len(edges) > 0

    def x1(self, node: int) -> float:
        return float(self._points[node][0])

    def x2(self, node: int) -> float:
        return float(self._points[node][1])

    def corner(self, point: Array) -> int:
        self._points.append(np.asarray(point, dtype=float))
        return len(self._points) - 1

    def straight(self, a: int, b: int) -> None:
        start, end = self._points[a], self._points[b]
        self.along(lambda s: start + s[:, None] * (end - start), 0.0, 1.0, a, b)

    def along(
        self, place: Callable[[Array], Array], first: float, last: float, a: int, b: int
    ) -> None:
        """Edges from node ``a`` to node ``b`` on the curve ``place``, sized by the grading."""
        parameter: Array = np.linspace(first, last, 4001, dtype=np.float64)
        sample = place(parameter)
        step = np.linalg.norm(np.diff(sample, axis=0), axis=1)
        middle = self._size(0.5 * sample[1:] + 0.5 * sample[:-1])
        count = np.concatenate([[0.0], np.cumsum(step / middle)])
        n_edges = max(3 if a == b else 1, round(float(count[-1])))
        inner = np.interp(np.arange(1, n_edges) * count[-1] / n_edges, count, parameter)
        new = [self.corner(point) for point in place(inner)]
        chain = [a, *new, b]
        self._edges += list(pairwise(chain))

    def result(self) -> tuple[Array, IntArray]:
        return np.array(self._points), np.array(self._edges, dtype=np.int64)
