# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Triangulation of the atoms themselves: the part of a mesh whose nodes are lattice points only.

Near the rim of the given atoms a Delaunay triangulation does not know of the atoms beyond and makes
slivers. Triangles are therefore kept only as far as a zone needs them, and only if neither their
edges nor their circumscribed circles are larger than those inside the zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, cKDTree

from msolve.io.meshes.data import boundary_facets, positively_oriented, signed_volumes
from msolve.regions import Shape

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# Two coordinates closer than this are the same place [Å].
SAME_PLACE = 1e-6
# Triangles whose circumscribed circle is this much larger than their longest edge are flat.
FLAT = 1e4
# Square lattices have no unique Delaunay triangulation. Deforming them by this much (shear,
# stretch), mirrored at the crack plane, makes all their diagonals run alike; far above round-off,
# far below what changes any other choice.
TIE_BREAK = (1e-6, 0.6e-6)


@dataclass(frozen=True)
class Slit:
    """A crack: the strip between two atomic layers, open towards -x1, that holds no mesh.

    Attributes:
        x_tip: Where the strip ends [Å]; on a matching mesh at the first surface atoms from there.
        half_gap: Distance of either surface layer from the crack plane [Å].
        x_plane: x2 of the crack plane [Å].
    """

    x_tip: float
    half_gap: float
    x_plane: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a strip of no width."""
        if self.half_gap <= 0:
            raise ValueError(
                f"half_gap is half the width of the strip, positive; got {self.half_gap}"
            )

    def side(self, points: Array) -> IntArray:
        """1 on or above the upper surface layer, -1 on or below the lower one, 0 between."""
        height = points[:, 1] - self.x_plane
        up, down = height > self.half_gap - SAME_PLACE, height < -self.half_gap + SAME_PLACE
        return up.astype(np.int64) - down

    def on_surface(self, points: Array) -> BoolArray:
        """Whether points lie on one of the two surface layers, behind the tip or ahead of it."""
        return np.abs(np.abs(points[:, 1] - self.x_plane) - self.half_gap) < SAME_PLACE

    def put_on_surface(self, points: Array) -> Array:
        """A copy in which points on the surface layers lie there exactly."""
        moved, near = points.copy(), self.on_surface(points)
        moved[near, 1] = self.x_plane + np.sign(moved[near, 1] - self.x_plane) * self.half_gap
        return moved


def triangulate_lattice(
    points: Array, zones: Sequence[Shape], slit: Slit | None
) -> tuple[IntArray, IntArray]:
    """Triangles of atoms that cover the given zones.

    Args:
        points: Distinct atomic columns, reaching a few spacings beyond the zones, shape ``(n, 2)``
            [Å].
        zones: What is to be covered.
        slit: Crack; its strip stays empty.

    Returns:
        ``(triangles, outline)``: corners as indices into ``points``, shape ``(m, 3)``; and the
            directed edges with
        one triangle only, that on their left, shape ``(e, 2)``.

    Raises:
        ValueError: The points do not reach far enough beyond the zones, or lie in the strip.
    """
    pieces = [np.arange(len(points))] if slit is None else _pieces(points, slit)
    triangles = np.concatenate([_delaunay(points, piece, slit) for piece in pieces])
    radius = _circumradii(points, triangles)
    edge = np.linalg.norm(points[triangles] - points[np.roll(triangles, 1, axis=1)], axis=2)
    middle = points[triangles].mean(axis=1)
    sound = radius < FLAT * edge.max(axis=1)
    within = sound & (distances(middle, zones).min(axis=1) < 0)
    if not np.any(within):
        raise ValueError("the matching zone holds no triangle of atoms; give it a larger radius")
    largest, longest = 1.001 * float(radius[within].max()), 1.001 * float(edge[within].max())
    near = (distances(points, zones) < longest)[triangles].all(axis=1).any(axis=1)
    of_crystal = sound & (radius < largest) & (edge.max(axis=1) < longest)
    triangles = _without_pinches(triangles[near & of_crystal])
    outline = boundary_facets(triangles)
    _check_cover(points, triangles, outline, zones, slit, longest)
    return triangles, outline


def crack_end(points: Array, slit: Slit) -> tuple[int, int]:
    """The first atoms at or ahead of ``x_tip`` in the upper and the lower surface layer."""
    ends = []
    for side in (1, -1):
        layer = np.flatnonzero(
            slit.on_surface(points)
            & (slit.side(points) == side)
            & (points[:, 0] > slit.x_tip - SAME_PLACE)
        )
        if not len(layer):
            raise ValueError(
                "no surface atoms ahead of the crack tip: half_gap is not that of the atoms"
            )
        ends.append(int(layer[np.argmin(points[layer, 0])]))
    return ends[0], ends[1]


def on_flank(points: Array, edges: IntArray, slit: Slit, ends: tuple[int, int]) -> IntArray:
    """1 for edges on the upper flank, -1 on the lower, 2 for that closing the strip, else 0."""
    side, surface = slit.side(points), slit.on_surface(points)
    result = np.zeros(len(edges), dtype=np.int64)
    for sign, end in ((1, ends[0]), (-1, ends[1])):
        flank = surface & (side == sign) & (points[:, 0] < points[end, 0] + SAME_PLACE)
        result[flank[edges].all(axis=1)] = sign
    result[np.isin(edges, ends).all(axis=1)] = 2
    return result


def _pieces(points: Array, slit: Slit) -> list[IntArray]:
    """Upper half, lower half, strip ahead: triangulated apart, they keep the flanks straight."""
    side = slit.side(points)
    if np.any(side == 0):
        raise ValueError(
            f"{np.count_nonzero(side == 0)} atoms lie in the strip of the crack, less than "
            f"half_gap = {slit.half_gap:g} from its plane"
        )
    ahead = slit.on_surface(points) & (points[:, 0] > slit.x_tip - SAME_PLACE)
    crack_end(points, slit)
    return [np.flatnonzero(side > 0), np.flatnonzero(side < 0), np.flatnonzero(ahead)]


def _delaunay(points: Array, piece: IntArray, slit: Slit | None) -> IntArray:
    plane = 0.0 if slit is None else slit.x_plane
    x1, x2 = points[piece, 0], points[piece, 1] - plane
    shear = TIE_BREAK[0] * (x2 if slit is None else np.abs(x2))
    deformed = np.column_stack([x1 * (1 + TIE_BREAK[1]) + shear, x2])
    triangles = piece[Delaunay(deformed).simplices.astype(np.int64)]
    return positively_oriented(points, triangles)


def _circumradii(points: Array, triangles: IntArray) -> Array:
    a, b, c = np.moveaxis(points[triangles], 1, 0)
    sides = [np.linalg.norm(p - q, axis=1) for p, q in ((a, b), (b, c), (c, a))]
    area = np.abs(signed_volumes(points, triangles))
    # Flat triangles on the convex hull get the huge circle that they have.
    return sides[0] * sides[1] * sides[2] / np.maximum(4 * area, 1e-12)


def distances(points: Array, zones: Sequence[Shape]) -> Array:
    """Signed distance of points ``(n, 2)`` to each zone, shape ``(n, n_zones)`` [Å]."""
    placed = np.column_stack([points, np.zeros(len(points))])
    return np.column_stack([zone.distance(placed) for zone in zones])


def _without_pinches(triangles: IntArray) -> IntArray:
    """Drop triangles where the outline touches itself, until it is made of simple loops."""
    while True:
        starts = boundary_facets(triangles)[:, 0]
        nodes, count = np.unique(starts, return_counts=True)
        pinched = nodes[count > 1]
        if not len(pinched):
            return triangles
        on_outline = np.isin(triangles, starts).sum(axis=1)
        at_pinch = np.isin(triangles, pinched).any(axis=1)
        loose = at_pinch & (on_outline >= 2)
        triangles = triangles[~(loose if loose.any() else at_pinch)]


def _check_cover(
    points: Array,
    triangles: IntArray,
    outline: IntArray,
    zones: Sequence[Shape],
    slit: Slit | None,
    margin: float,
) -> None:
    """The zones, less the strip, must lie inside the outline."""
    rim = outline
    if slit is not None:
        rim = outline[on_flank(points, outline, slit, crack_end(points, slit)) == 0]
    share = np.linspace(0, 1, 9)[:, None, None]
    sampled = ((1 - share) * points[rim[:, 0]] + share * points[rim[:, 1]]).reshape(-1, 2)
    nodes = cKDTree(points[np.unique(triangles)])
    for k, zone in enumerate(zones):
        inside = points[distances(points, (zone,))[:, 0] <= 0]
        missing = nodes.query(inside)[0] > SAME_PLACE if len(inside) else np.zeros(0)
        if distances(sampled, (zone,)).min(initial=np.inf) < 0 or np.any(missing):
            raise ValueError(
                f"the atoms given for matching zone {k} must reach at least {margin:.2f} beyond it"
            )
