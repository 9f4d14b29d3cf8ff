# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a mesh covers, as a shape: its boundary facets and the signed distance to them.

The side of a point is that of the nearest place on the boundary, judged by the normal of the facet,
edge or corner that this place lies on (the angle-weighted one, which is right for every closed
boundary).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

CANDIDATES = 24
"""Facets looked at for each point before the search is widened."""

CHUNK = 20_000
"""Points searched for at once, which bounds the memory."""


@dataclass(frozen=True, eq=False)
class Outline:
    """The inside of a closed boundary of segments (a prism along x3) or of triangles in space.

    Holes are parts of the boundary like any other.

    Attributes:
        points: Corners, shape ``(n, gdim)`` [Å].
        facets: Corners of each facet, shape ``(m, gdim)``; seen from outside, segments have the
            inside on their left and triangles run anticlockwise.

    References:
        J. A. Bærentzen, H. Aanæs, IEEE Trans. Vis. Comput. Graph. 11, 243 (2005): the normals.
    """

    points: Array
    facets: IntArray
    _search: _Search = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Prepare the search for nearest facets."""
        object.__setattr__(self, "_search", _Search(self.points, self.facets))

    @property
    def gdim(self) -> int:
        """Dimension of the space that the boundary lies in."""
        return int(self.points.shape[1])

    def distance(self, X: Array) -> Array:
        """Signed distance to the boundary, negative inside, shape ``(n,)`` [Å]."""
        facet, foot, local = self._search.nearest(X[:, : self.gdim])
        apart = X[:, : self.gdim] - foot
        normal = self._search.normals(facet, local)
        far = np.linalg.norm(apart, axis=1)
        return np.where(np.einsum("ni,ni->n", apart, normal) > 0, far, -far)

    def nearest_facet(self, X: Array) -> IntArray:
        """Index of the facet nearest to each point, shape ``(n,)``."""
        return self._search.nearest(X[:, : self.gdim])[0]

    def extent(self) -> float:
        """Distance of the furthest corner from the origin [Å]."""
        used = np.unique(self.facets)
        return float(np.linalg.norm(self.points[used], axis=1).max())

    def surface(self, spacing: float) -> Array:
        """Points on the boundary, none of it further than ``spacing`` from one, shape ``(n, 3)`` [Å]."""
        corner = self.points[self.facets]
        longest = np.linalg.norm(corner - np.roll(corner, 1, axis=1), axis=2).max(initial=0.0)
        n = max(1, int(np.ceil(longest / spacing)))
        if self.gdim == 2:
            share = np.linspace(0, 1, n + 1)
            weights = np.column_stack([1 - share, share])
        else:
            a, b = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
            a, b = a[a + b <= n] / n, b[a + b <= n] / n
            weights = np.column_stack([1 - a - b, a, b])
        sampled = np.einsum("wk,fkx->fwx", weights, corner).reshape(-1, self.gdim)
        out = np.zeros((len(sampled), 3))
        out[:, : self.gdim] = sampled
        return out


class _Search:
    """Nearest places on a set of facets, and the normals there."""

    def __init__(self, points: Array, facets: IntArray) -> None:
        self._corner = points[facets]  # (m, gdim, gdim)
        self._gdim = points.shape[1]
        middle = self._corner.mean(axis=1)
        self._radius = float(
            np.linalg.norm(self._corner - middle[:, None], axis=2).max(initial=0.0)
        )
        self._tree = cKDTree(middle)
        self._face, self._edge, self._vertex = _pseudo_normals(points, facets)

    def nearest(self, X: Array) -> tuple[IntArray, Array, Array]:
        """Facet, nearest place on it and its barycentric coordinates there, for each point."""
        parts = [self._of_few(X[k : k + CHUNK]) for k in range(0, max(len(X), 1), CHUNK)]
        facet, foot, local = (np.concatenate(part) for part in zip(*parts, strict=True))
        return facet, foot, local

    def _of_few(self, X: Array) -> tuple[IntArray, Array, Array]:
        count = min(CANDIDATES, len(self._corner))
        facet = np.zeros(len(X), dtype=np.int64)
        foot, local = np.zeros_like(X), np.zeros((len(X), self._gdim))
        left = np.arange(len(X))
        while len(left):
            far, candidate = self._tree.query(X[left], k=count)
            far, candidate = far.reshape(len(left), -1), candidate.reshape(len(left), -1)
            place, share = _closest(X[left, None], self._corner[candidate])
            away = np.linalg.norm(X[left, None] - place, axis=2)
            best = away.argmin(axis=1)
            row = np.arange(len(left))
            facet[left], foot[left] = candidate[row, best], place[row, best]
            local[left] = share[row, best]
            # A facet not looked at is at least so far away.
            unsure = away[row, best] > far[:, -1] - self._radius
            if count == len(self._corner):
                break
            left, count = left[unsure], min(4 * count, len(self._corner))
        return facet, foot, local

    def normals(self, facet: IntArray, local: Array) -> Array:
        """Normal at a place: of the facet, or summed over the facets that share its edge or corner."""
        on = local > 1e-12
        out = self._face[facet].copy()
        if self._gdim == 3:
            edge = on.sum(axis=1) == 2
            out[edge] = self._edge[facet[edge], np.argmin(on[edge], axis=1)]
        corner = on.sum(axis=1) == 1
        out[corner] = self._vertex[facet[corner], np.argmax(on[corner], axis=1)]
        return out


def _pseudo_normals(points: Array, facets: IntArray) -> tuple[Array, Array, Array]:
    """Normals of facets ``(m, gdim)``, of the edge opposite each corner and of each corner ``(m, gdim, gdim)``."""
    corner = points[facets]
    if points.shape[1] == 2:
        along = corner[:, 1] - corner[:, 0]
        face = np.column_stack([along[:, 1], -along[:, 0]])
        face /= np.linalg.norm(face, axis=1, keepdims=True)
        at_vertex = np.zeros_like(points)
        for k in range(2):
            np.add.at(at_vertex, facets[:, k], face)
        return face, np.zeros((0, 2, 2)), at_vertex[facets]
    face = np.asarray(
        np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), dtype=np.float64
    )
    face /= np.linalg.norm(face, axis=1, keepdims=True)
    at_vertex = np.zeros_like(points)
    for k in range(3):
        a, b = corner[:, (k + 1) % 3] - corner[:, k], corner[:, (k + 2) % 3] - corner[:, k]
        cosine = np.einsum("ni,ni->n", a, b) / (
            np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        )
        angle = np.arccos(np.clip(cosine, -1, 1))
        np.add.at(at_vertex, facets[:, k], angle[:, None] * face)
    opposite = np.sort(np.stack([facets[:, [1, 2]], facets[:, [2, 0]], facets[:, [0, 1]]], 1), 2)
    edges, number = np.unique(opposite.reshape(-1, 2), axis=0, return_inverse=True)
    at_edge = np.zeros((len(edges), 3))
    np.add.at(at_edge, number.ravel(), np.repeat(face, 3, axis=0))
    return face, at_edge[number.ravel()].reshape(-1, 3, 3), at_vertex[facets]


def _closest(X: Array, corner: Array) -> tuple[Array, Array]:
    """Nearest place on each simplex and its barycentric coordinates; leading axes as given."""
    if corner.shape[-1] == 2:
        return _on_segment(X, corner[..., 0, :], corner[..., 1, :])
    a, b, c = (corner[..., k, :] for k in range(3))
    u, v, w = b - a, c - a, X - a
    uu, uv, vv = _dot(u, u), _dot(u, v), _dot(v, v)
    uw, vw = _dot(u, w), _dot(v, w)
    volume = uu * vv - uv * uv
    s, t = (vv * uw - uv * vw) / volume, (uu * vw - uv * uw) / volume
    share = np.stack([1 - s - t, s, t], axis=-1)
    place = a + s[..., None] * u + t[..., None] * v
    outside = (share < 0).any(axis=-1)
    nearest = np.where(outside, np.inf, _dot(X - place, X - place))
    for i, j in ((0, 1), (1, 2), (2, 0)):
        on_edge, local = _on_segment(X, corner[..., i, :], corner[..., j, :])
        away = _dot(X - on_edge, X - on_edge)
        closer = away < nearest
        whole = np.zeros_like(share)
        whole[..., i], whole[..., j] = local[..., 0], local[..., 1]
        place = np.where(closer[..., None], on_edge, place)
        share = np.where(closer[..., None], whole, share)
        nearest = np.where(closer, away, nearest)
    return place, share


def _on_segment(X: Array, a: Array, b: Array) -> tuple[Array, Array]:
    t = np.clip(_dot(X - a, b - a) / _dot(b - a, b - a), 0, 1)
    return a + t[..., None] * (b - a), np.stack([1 - t, t], axis=-1)


def _dot(a: Array, b: Array) -> Array:
    return np.asarray(np.einsum("...i,...i->...", a, b))
