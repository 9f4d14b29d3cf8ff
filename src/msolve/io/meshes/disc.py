# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Graded meshes of a disc with fine zones, with or without a crack, on the atoms or not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from msolve.io.meshes.data import MeshData, boundary_facets, positively_oriented
from msolve.io.meshes.lattice import (
    SAME_PLACE,
    Slit,
    crack_end,
    distances,
    on_flank,
    triangulate_lattice,
)
from msolve.io.meshes.outline import areas, closed_loops, outline_of_ring
from msolve.io.meshes.session import fill
from msolve.regions import Ball, Shape

__all__ = ["Slit", "disc_mesh"]

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


STEEPEST = 0.7
"""Growth of edges per distance from a zone where the mesh gets coarse at once."""


@dataclass(frozen=True, eq=False)
class Grading:
    """Edge length by place: ``spacing`` in the zones, growing as a power of 1 + distance / zone radius.

    Around a disc that is the power of r / radius. Other zones count as the disc of equal area.

    Attributes:
        zones: Fine zones.
        radii: Radius of each zone, shape ``(k,)`` [Å].
        spacing: Edge length in the zones [Å].
        growth: Exponent.
        h_max: Upper bound [Å].
        coarseness: Factor on all of that beyond the zones, approached at ``STEEPEST``.
        finer: Further discs: centre, radius and edge length in each, left at ``STEEPEST``, shape ``(m, 4)`` [Å].
    """

    zones: tuple[Shape, ...]
    radii: Array
    spacing: float
    growth: float
    h_max: float
    coarseness: float = 1.0
    finer: Array = field(default_factory=lambda: np.zeros((0, 4)))

    def __call__(self, points: Array) -> Array:
        """Wanted edge length at ``points`` ``(n, 2)``, shape ``(n,)`` [Å]."""
        beyond = np.maximum(distances(points, self.zones), 0.0)
        ratio = 1.0 + (beyond / self.radii).min(axis=1)
        wanted = self.coarseness * self.spacing * ratio**self.growth
        if self.coarseness > 1:
            wanted = np.minimum(wanted, self.spacing + STEEPEST * beyond.min(axis=1))
        if len(self.finer):
            away = np.linalg.norm(points[:, None] - self.finer[:, :2], axis=2) - self.finer[:, 2]
            finer = self.finer[:, 3] + STEEPEST * np.maximum(away, 0.0)
            wanted = np.minimum(wanted, np.maximum(finer.min(axis=1), self.spacing))
        return np.minimum(wanted, self.h_max)

    def scalar(self) -> Callable[[float, float], float]:
        """The same for one point, without arrays for discs: a mesh generator asks for it a million times."""
        if (
            self.coarseness > 1
            or len(self.finer)
            or not all(isinstance(zone, Ball) for zone in self.zones)
        ):
            return lambda x1, x2: float(self(np.array([[x1, x2]]))[0])
        discs = [
            (float(zone.centre[0]), float(zone.centre[1]), float(zone.radius))
            for zone in self.zones
            if isinstance(zone, Ball)
        ]
        spacing, growth, h_max = self.spacing, self.growth, self.h_max

        def at(x1: float, x2: float) -> float:
            ratio = min(math.hypot(x1 - c1, x2 - c2) / radius for c1, c2, radius in discs)
            return min(spacing * max(ratio, 1.0) ** growth, h_max)

        return at


def _radius(zone: Shape) -> float:
    """Radius of the disc with a zone's area [Å]."""
    if isinstance(zone, Ball):
        return zone.radius
    line = zone.extent() * np.linspace(-1, 1, 401)
    x1, x2 = (x.ravel() for x in np.meshgrid(line, line))
    share = np.mean(distances(np.column_stack([x1, x2]), (zone,)) < 0)
    return float(np.sqrt(share / np.pi)) * 2 * zone.extent()


def disc_mesh(
    radius: float,
    *,
    spacing: float,
    zones: Sequence[Shape],
    matching_points: Array | None = None,
    growth: float = 1.5,
    h_max: float = np.inf,
    coarseness: float = 1.0,
    finer: Array | None = None,
    slit: Slit | None = None,
    seed: int = 0,
) -> MeshData:
    """A graded mesh of a disc around the origin. Rank-local; deterministic.

    Args:
        radius: Of the disc; the nodes tagged ``outer`` lie on it [Å].
        spacing: Edge length in the fine zones [Å].
        zones: Where the mesh is fine.
        matching_points: Atoms in the plane, shape ``(n, 2)`` [Å]; repetitions do not matter. Those
            in the zones become nodes, and no other node lies in the zones; atoms must be given to a
            few spacings beyond. ``None``: a mesh that ignores the atoms.
        growth: Exponent by which edges grow with the distance from the nearest zone.
        h_max: Longest wanted edge [Å].
        coarseness: Factor on edges beyond the zones, at least 1; quadratic elements want 2 or 3.
        finer: Discs with a given edge length: centre, radius, length, shape ``(m, 4)`` [Å].
        slit: A crack along -x1 from ``slit.x_tip``; on a matching mesh its tip lies in a zone.
        seed: Turns a mesh without crack that ignores the atoms, so that several can be compared.

    Raises:
        ValueError: The zones, the crack and the atoms do not fit together or into the disc.
        UnsupportedError: gmsh is missing.
    """
    zones = tuple(zones)
    points: Array
    triangles: IntArray
    shared: IntArray
    radii = np.array([_radius(zone) for zone in zones])
    finer = np.zeros((0, 4)) if finer is None else finer
    size = Grading(zones, radii, spacing, growth, h_max, coarseness, finer)
    if matching_points is None:
        points = np.zeros((0, 2))
        triangles, shared = np.zeros((0, 3), np.int64), np.zeros((0, 2), np.int64)
    else:
        points, triangles, shared = _lattice(radius, matching_points, zones, slit, spacing)
    turn = np.random.default_rng(seed).uniform(0, 2 * np.pi) if seed else 0.0
    points, edges = outline_of_ring(radius, points, shared, slit, size, turn)
    loops = closed_loops(points, edges)
    cells = triangles
    for area in areas(points, loops):
        used = np.concatenate(area)
        filled, new_triangles = fill([points[loop] for loop in area], size.scalar())
        number = np.concatenate([used, len(points) + np.arange(len(filled) - len(used))])
        points = np.concatenate([points, filled[len(used) :]])
        cells = np.concatenate([cells, number[new_triangles]])
    cells = positively_oriented(points, cells)
    facets = _named_edges(points, boundary_facets(cells), radius, slit)
    nodes = {name: np.unique(edge) for name, edge in facets.items()}
    return MeshData(points, cells, nodes, facets)


def _lattice(
    radius: float,
    atoms: Array,
    zones: tuple[Shape, ...],
    slit: Slit | None,
    spacing: float,
) -> tuple[Array, IntArray, IntArray]:
    """Nodes and triangles on the atoms, and the directed edges that the ring around them shares."""
    nearby = distances(atoms[:, :2], zones).min(axis=1) < 8 * spacing
    points = _distinct(atoms[nearby, :2])
    ends = None
    if slit is not None:
        points = slit.put_on_surface(points)
        ends = crack_end(points, slit)
        if not np.all(distances(points[list(ends)], zones).min(axis=1) <= 0):
            raise ValueError(
                "the tip of the crack must lie in a zone where the mesh matches the atoms"
            )
    triangles, outline = triangulate_lattice(points, zones, slit)
    if np.linalg.norm(points[outline], axis=2).max() > radius - spacing / 2:
        raise ValueError(
            f"the zones where the mesh matches the atoms reach the boundary of the disc, {radius:g}"
        )
    if slit is not None and ends is not None:
        outline = outline[on_flank(points, outline, slit, ends) == 0]
    used, corners = np.unique(triangles, return_inverse=True)
    number = np.full(len(points), -1, dtype=np.int64)
    number[used] = np.arange(len(used))
    return points[used], corners.reshape(-1, 3), number[outline[:, ::-1]]


def _distinct(points: Array) -> Array:
    """Points without repetitions (atoms behind each other), in order of first appearance."""
    cell = np.round(points / (10 * SAME_PLACE)).astype(np.int64)
    first = np.sort(np.unique(cell, axis=0, return_index=True)[1])
    return points[first]


def _named_edges(
    points: Array, edges: IntArray, radius: float, slit: Slit | None
) -> dict[str, IntArray]:
    """Boundary edges by name; every one has exactly one."""
    r = np.linalg.norm(points, axis=1)
    named = {"outer": (r > radius - SAME_PLACE)[edges].all(axis=1)}
    if slit is not None:
        surface, side = slit.on_surface(points), slit.side(points)
        named["upper_flank"] = (surface & (side > 0))[edges].all(axis=1) & ~named["outer"]
        named["lower_flank"] = (surface & (side < 0))[edges].all(axis=1) & ~named["outer"]
        flanks = named["upper_flank"] | named["lower_flank"]
        # Of several edges where the mesh is finer than the slit is wide.
        within = np.abs(points[:, 1] - slit.x_plane) < slit.half_gap + SAME_PLACE
        named["crack_end"] = within[edges].all(axis=1) & ~flanks & ~named["outer"]
    if np.any(np.sum(list(named.values()), axis=0) != 1):
        raise RuntimeError(
            "the mesh has a hole: an edge with one triangle is no part of the boundary"
        )
    return {name: edges[chosen] for name, chosen in named.items()}
