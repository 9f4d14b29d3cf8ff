# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The mesh itself, its boundary and its quality: arrays and what follows from them alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from msolve.regions import Outline

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MeshData:
    """Simplices and the names of their boundary parts.

    Names made by msolve are ``outer`` (where the load is prescribed), ``upper_flank`` and
    ``lower_flank`` (the faces of a crack, on the two atomic layers next to it) and ``crack_end``
    (where the strip between the flanks ends).

    Attributes:
        points: Reference positions, shape ``(n, gdim)`` [Å].
        cells: Corners of each simplex, positively oriented, shape ``(m, gdim + 1)``.
        node_tags: Nodes of each named boundary part, ascending.
        facet_tags: Facets of each named boundary part, shape ``(k, gdim)``.
        cell_tags: Cells of each named part of the volume, ascending.
    """

    points: Array
    cells: IntArray
    node_tags: dict[str, IntArray]
    facet_tags: dict[str, IntArray] = field(default_factory=dict)
    cell_tags: dict[str, IntArray] = field(default_factory=dict)

    @property
    def gdim(self) -> int:
        """Dimension of the space the mesh lies in, and of its cells."""
        return int(self.points.shape[1])

    def outline(self) -> Outline:
        """What the mesh covers, as a shape.

        Raises:
            ValueError: Cells overlap.
        """
        return Outline(self.points, boundary_facets(self.cells))

    def __repr__(self) -> str:
        """Sizes, not arrays."""
        tags = ", ".join(f"{name} {len(nodes)}" for name, nodes in self.node_tags.items())
        return f"MeshData({len(self.points)} points, {len(self.cells)} cells, {tags})"


@dataclass(frozen=True)
class MeshQuality:
    """What matters of a mesh at a glance.

    Attributes:
        smallest_angle: Smallest angle between two edges of a cell at a common corner [degrees].
        smallest_volume: Volume of the smallest cell [Å^gdim]; not positive if a cell is inverted.
        shortest_edge: [Å].
        longest_edge: [Å].
    """

    smallest_angle: float
    smallest_volume: float
    shortest_edge: float
    longest_edge: float


def mesh_quality(mesh: MeshData) -> MeshQuality:
    """Angles, volumes and edges of a mesh; rank-local."""
    corner = mesh.points[mesh.cells]
    n_corners = corner.shape[1]
    smallest = np.pi
    lengths = []
    for a in range(n_corners):
        others = [b for b in range(n_corners) if b != a]
        edges = corner[:, others] - corner[:, [a]]
        length = np.linalg.norm(edges, axis=2)
        lengths.append(length)
        for b in range(len(others)):
            for c in range(b):
                cosine = np.sum(edges[:, b] * edges[:, c], axis=1) / (length[:, b] * length[:, c])
                smallest = min(smallest, float(np.arccos(np.clip(cosine, -1, 1)).min()))
    return MeshQuality(
        float(np.degrees(smallest)),
        float(signed_volumes(mesh.points, mesh.cells).min()),
        float(np.min(lengths)),
        float(np.max(lengths)),
    )


def signed_volumes(points: Array, cells: IntArray) -> Array:
    """Signed area or volume of each simplex, shape ``(m,)`` [Å^gdim]."""
    edges = points[cells[:, 1:]] - points[cells[:, :1]]
    return np.linalg.det(edges) / (2.0 if points.shape[1] == 2 else 6.0)


def positively_oriented(points: Array, cells: IntArray) -> IntArray:
    """The same simplices with positive volume."""
    cells = cells.copy()
    inverted = signed_volumes(points, cells) < 0
    cells[inverted, :2] = cells[inverted, 1::-1]
    return cells


def boundary_facets(cells: IntArray) -> IntArray:
    """Facets of positively oriented simplices that belong to one only, shape ``(k, gdim)``.

    Edges have the mesh on their left; triangles run anticlockwise, seen from outside.

    Raises:
        ValueError: Two cells lie on the same side of a facet: they overlap, or are inverted.
    """
    faces, number, count, wrong = _facets(cells)
    if wrong.any():
        raise ValueError("cells overlap: a facet has two cells on the same side")
    return faces[count[number] == 1]


def overlapping_facets(cells: IntArray) -> IntArray:
    """Facets of positively oriented simplices with two cells on one side, shape ``(k, gdim)``."""
    faces, number, _, wrong = _facets(cells)
    return faces[np.unique(number, return_index=True)[1][wrong]]


def facet_keys(facets: IntArray, n_points: int) -> IntArray:
    """One number for the corners of each facet, whatever their order, shape ``(k,)``."""
    key = np.zeros(len(facets), dtype=np.int64)
    for corner in np.sort(facets, axis=1).T:
        key = key * n_points + corner
    return key


def _facets(cells: IntArray) -> tuple[IntArray, IntArray, IntArray, npt.NDArray[np.bool_]]:
    """Facets of all cells; number of each, then how often each number occurs and whether wrongly."""
    if cells.shape[1] == 3:
        around = [[0, 1], [1, 2], [2, 0]]
    else:
        around = [[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]]
    faces = np.concatenate([cells[:, face] for face in around])
    if cells.shape[1] == 3:
        odd = faces[:, 0] > faces[:, 1]
    else:
        # Whether sorting the corners is an odd permutation tells the side that the cell is on.
        odd = np.linalg.det(np.eye(3)[np.argsort(faces, axis=1)]) < 0
    n_points = int(cells.max()) + 1 if len(cells) else 1
    _, number, count = np.unique(
        facet_keys(faces, n_points), return_inverse=True, return_counts=True
    )
    balance = np.bincount(number, np.where(odd, 1, -1), len(count))
    return faces, number, count, (count > 2) | ((count == 2) & (balance != 0))
