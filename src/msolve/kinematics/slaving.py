# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Which mesh nodes follow which atoms, with what weights; atoms gathered by their projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.crystal import projected_points

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


LEAST_VOLUME = 0.05
"""Six times the volume of a tetrahedron over the cube of its longest edge, below which it is a sliver [-]."""

BEYOND = 0.6
"""How far a node may lie beyond the simplex that it follows, as a share of the simplex's height."""


@dataclass(frozen=True)
class NodeSlaving:
    """Which local nodes follow atoms, and with what weights (triplets node, atom, weight)."""

    slaved: BoolArray
    node: IntArray
    atom: IntArray
    weight: Array

    def renumbered(self, atoms: IntArray) -> NodeSlaving:
        """With atom k called ``atoms[k]``."""
        return NodeSlaving(self.slaved, self.node, atoms[self.atom], self.weight)

    @classmethod
    def none(cls, n: int) -> NodeSlaving:
        """Nothing follows anything, among ``n`` nodes."""
        empty = np.zeros(0, dtype=np.int64)
        return cls(np.zeros(n, dtype=bool), empty, empty, np.zeros(0))


def slave_nodes(
    nodes: Array,
    candidate: BoolArray,
    X: Array,
    free: BoolArray,
    gdim: int,
    slits: tuple[tuple[float, float], ...],
    extrapolate: bool = False,
) -> NodeSlaving:
    """Interpolate nodes between the free atoms around them.

    With ``extrapolate`` nodes just beyond the atoms, as at a flank where another sublattice is the outermost,
    follow the nearest ones.

    A node that touches an atom which is itself slaved stays an unknown: tying it would close a circle.
    """
    if not candidate.any() or np.count_nonzero(free) <= gdim:
        return NodeSlaving.none(len(nodes))
    columns = project(X, gdim)
    triangulation = spatial.Delaunay(columns.points)
    simplices = clear_of_slits(columns.points, triangulation.simplices, slits)
    wanted = np.flatnonzero(candidate)
    # Nodes on a flank lie on the border of a simplex that reaches across: look on their own side.
    sought = nodes[wanted, :gdim].copy()
    for x_tip, x_plane in slits:
        behind = sought[:, 0] < x_tip
        sought[behind, 1] += 1e-5 * np.sign(sought[behind, 1] - x_plane)
    simplex = triangulation.find_simplex(sought)
    if gdim == 3:
        # Sites of a lattice lie on common spheres, so some simplices between them are flat.
        simplices = simplices & _round_enough(triangulation)
    if extrapolate or gdim == 3:
        simplex = _or_nearest(triangulation, simplices, sought, simplex)
    found = (simplex >= 0) & simplices[simplex]
    wanted, simplex = wanted[found], simplex[found]
    transform = triangulation.transform[simplex]
    local = np.einsum("nij,nj->ni", transform[:, :gdim], nodes[wanted, :gdim] - transform[:, gdim])
    weights = np.column_stack([local, 1 - local.sum(axis=1)])
    weights[np.abs(weights) < 1e-8] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    corners = triangulation.simplices[simplex]
    column_free = np.bincount(columns.column, ~free, len(columns.points)) == 0
    usable = (column_free[corners] | (weights == 0)).all(axis=1)
    wanted, weights, corners = wanted[usable], weights[usable], corners[usable]
    slaved = np.zeros(len(nodes), dtype=bool)
    slaved[wanted] = True
    k = np.flatnonzero(weights.ravel())
    node, column, weight = np.repeat(wanted, gdim + 1)[k], corners.ravel()[k], weights.ravel()[k]
    # Atoms that share a column (multilattices seen along the front) share its weight.
    size = columns.count[column]
    repeat = np.repeat(np.arange(len(k)), size)
    offset = np.arange(len(repeat)) - np.repeat(np.cumsum(size) - size, size)
    atom = columns.atoms[columns.start[column][repeat] + offset]
    return NodeSlaving(slaved, node[repeat], atom, (weight / size)[repeat])


def mean_of(parts: Sequence[NodeSlaving]) -> NodeSlaving:
    """Nodes that follow some atoms in every part follow the mean of what they do there."""
    slaved = np.logical_and.reduce([part.slaved for part in parts])
    kept = [slaved[part.node] for part in parts]
    return NodeSlaving(
        slaved,
        np.concatenate([part.node[k] for part, k in zip(parts, kept, strict=True)]),
        np.concatenate([part.atom[k] for part, k in zip(parts, kept, strict=True)]),
        np.concatenate([part.weight[k] for part, k in zip(parts, kept, strict=True)]) / len(parts),
    )


def _round_enough(triangulation: spatial.Delaunay) -> BoolArray:
    """Which tetrahedra are no slivers, by their volume over the cube of their longest edge."""
    corner = triangulation.points[triangulation.simplices]
    edges = corner[:, 1:] - corner[:, :1]
    longest = np.max(
        [np.linalg.norm(corner[:, a] - corner[:, b], axis=1) for a in range(4) for b in range(a)],
        axis=0,
    )
    return np.asarray(np.abs(np.linalg.det(edges)) > LEAST_VOLUME * longest**3)


def _or_nearest(
    triangulation: spatial.Delaunay, usable: BoolArray, points: Array, simplex: IntArray
) -> IntArray:
    """The simplex that holds each point, else the usable one near it that it lies least beyond."""
    lost = np.flatnonzero((simplex < 0) | ~usable[simplex])
    candidates = np.flatnonzero(usable)
    if len(lost) == 0 or len(candidates) == 0:
        return simplex
    centres = triangulation.points[triangulation.simplices[candidates]].mean(axis=1)
    near = spatial.cKDTree(centres).query(points[lost], k=min(6, len(candidates)))[1]
    near = candidates[near.reshape(len(lost), -1)]
    transform = triangulation.transform[near]
    gdim = points.shape[1]
    offset = points[lost][:, None] - transform[:, :, gdim]
    local = np.einsum("nkij,nkj->nki", transform[:, :, :gdim], offset)
    least = np.minimum(local.min(axis=2), 1 - local.sum(axis=2))
    best = np.argmax(least, axis=1)
    rows = np.arange(len(lost))
    out = simplex.copy()
    out[lost] = np.where(least[rows, best] > -BEYOND, near[rows, best], -1)
    return out


def straightened(
    slaving: NodeSlaving, candidate: BoolArray, edges: IntArray
) -> tuple[NodeSlaving, IntArray]:
    """Put nodes inside edges between two atoms halfway between these; which nodes, with those at the ends.

    Elements whose corners are atoms are then linear, as the lattice is; which diagonal of a square of atoms
    another triangulation takes does not matter.
    """
    entries = np.bincount(slaving.node, minlength=len(candidate))
    at_atom = np.full(len(candidate), -1, dtype=np.int64)
    single = entries[slaving.node] == 1
    at_atom[slaving.node[single]] = slaving.atom[single]
    tied = candidate[edges[:, 0]] & (at_atom[edges[:, 1:]] >= 0).all(axis=1)
    straight = edges[tied]
    middle = straight[:, 0]
    others = ~np.isin(slaving.node, middle)
    slaved = slaving.slaved.copy()
    slaved[middle] = True
    joined = NodeSlaving(
        slaved,
        np.concatenate([slaving.node[others], np.repeat(middle, 2)]),
        np.concatenate([slaving.atom[others], at_atom[straight[:, 1:]].ravel()]),
        np.concatenate([slaving.weight[others], np.full(2 * len(middle), 0.5)]),
    )
    return joined, straight


@dataclass(frozen=True)
class Columns:
    """Atoms gathered by their projection onto the mesh's plane (in 3-D every atom is its own column).

    Attributes:
        points: Distinct projections, shape ``(n_columns, gdim)`` [Å].
        column: Column of each atom.
        count, start, atoms: Atoms of column k are ``atoms[start[k] : start[k] + count[k]]``.
    """

    points: Array
    column: IntArray
    count: IntArray
    start: IntArray
    atoms: IntArray


def project(X: Array, gdim: int) -> Columns:
    """Gather atoms by their projection, columns in order of first appearance."""
    points, column = projected_points(X) if gdim == 2 else (X, np.arange(len(X)))
    count = np.bincount(column)
    return Columns(
        points, column, count, np.cumsum(count) - count, np.argsort(column, kind="stable")
    )


def clear_of_slits(
    points: Array, simplices: IntArray, slits: tuple[tuple[float, float], ...]
) -> BoolArray:
    """Which simplices do not reach across a crack, shape ``(n_simplices,)``, bool."""
    keep = np.ones(len(simplices), dtype=bool)
    for x_tip, x_plane in slits:
        corner = points[simplices]
        side = corner[..., 1] > x_plane
        keep &= (side.all(axis=1) | ~side.any(axis=1)) | (corner[..., 0].min(axis=1) >= x_tip)
    return keep
