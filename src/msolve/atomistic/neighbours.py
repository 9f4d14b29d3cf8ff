# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Neighbour lists with periodic shifts on the edges, in any mixture of open and periodic axes.

Made by vesin in a box that is periodic along all axes and padded along the open ones: its own
treatment of mixed periodicity takes quadratic time (version 0.6.2). No image atoms are made.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, spatial

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

PIECE = 100_000
"""Edges copied at once."""


def find_edges(
    positions: Array, cell: ArrayLike, periodic: ArrayLike, cutoff: float, centres: BoolArray
) -> tuple[IntArray, Array]:
    """Find all directed edges shorter than a cutoff that start at given centres.

    Args:
        positions: Atoms, wrapped into the cell or not, shape ``(n, 3)`` [Å].
        cell: Lattice vectors as rows, shape ``(3, 3)`` [Å]; rows of open axes are not used.
        periodic: Which axes are periodic, shape ``(3,)``. Cells thinner than the cutoff are
            allowed: a pair then occurs once for each image within reach.
        cutoff: Length [Å].
        centres: Atoms whose edges are wanted, shape ``(n,)``.

    Returns:
        ``(pair, shift)``: indices (centre, neighbour), shape ``(2, e)``, and the lattice vector to
        add to the neighbour, shape ``(e, 3)`` [Å]; sorted by centre.
    """
    import vesin

    cell, periodic = np.asarray(cell, dtype=float), np.asarray(periodic, dtype=bool)
    near = _within_reach(positions, cell, periodic, cutoff, centres)
    x = positions[near]
    if len(x) == 0:
        return np.empty((2, 0), dtype=np.int64), np.empty((0, 3))
    box = _padded_box(x, cell, periodic, cutoff)
    search = vesin.NeighborList(cutoff=cutoff, full_list=True)
    # Views of what the search holds, which is copied once, in order.
    found, image = search.compute(points=x, box=box, periodic=True, quantities="PS", copy=False)
    found = found.view(np.int64)
    wanted = centres[near]
    rows = None if wanted.all() else np.flatnonzero(wanted[found[:, 0]])
    order = _by_centre(found[:, 0] if rows is None else found[rows, 0], len(x))
    if rows is not None:
        order = rows[order]
    pair, shift = np.empty((2, len(order)), dtype=np.int64), np.empty((len(order), 3))
    for start in range(0, len(order), PIECE):
        part = slice(start, start + PIECE)
        pair[:, part] = np.take(found, order[part], axis=0).T
        whole = np.take(image, order[part], axis=0).astype(np.float64)
        np.matmul(whole, box, out=shift[part])
        if len(near) < len(positions):
            pair[:, part] = near[pair[:, part]]
    return pair, shift


def _by_centre(centre: IntArray, n: int) -> IntArray:
    """The order that sorts edges by centre: a counting sort, five times as fast as NumPy's (2.2)."""
    e = len(centre)
    small = np.int32 if max(e, n) < 2**31 else np.int64
    edge = np.arange(e, dtype=small)
    by_edge = sparse.coo_array((np.ones(e, dtype=np.int8), (edge, centre.astype(small))), (e, n))
    return np.asarray(by_edge.tocsc().indices)


def near(x: Array, cell: Array, periodic: BoolArray, of: BoolArray, distance: float) -> BoolArray:
    """Atoms within a distance of some others, these included; a superset in thin periodic cells.

    Args:
        x: Atoms, shape ``(n, 3)`` [Å].
        cell: Lattice vectors as rows, shape ``(3, 3)`` [Å].
        periodic: Which axes are periodic, shape ``(3,)``.
        of: The others, shape ``(n,)``.
        distance: Length [Å].

    Returns:
        Shape ``(n,)``.
    """
    if of.all() or not of.any():
        return of.copy()
    if periodic.all():
        pair, _ = find_edges(x, cell, periodic, distance, of)
        found = of.copy()
        found[pair[1]] = True
        return found
    across = x @ open_axes(cell, periodic).T
    reached = spatial.cKDTree(across[of]).query(across, distance_upper_bound=distance)[0]
    return np.asarray(np.isfinite(reached))


def open_axes(cell: Array, periodic: BoolArray) -> Array:
    """Orthonormal directions at right angles to all periodic lattice vectors, ``(n_open, 3)``."""
    if periodic.all():
        return np.empty((0, 3))
    if not periodic.any():
        return np.eye(3)
    _, _, rows = np.linalg.svd(cell[periodic])
    return rows[int(periodic.sum()) :]


def _within_reach(
    positions: Array, cell: Array, periodic: BoolArray, cutoff: float, centres: BoolArray
) -> IntArray:
    """Indices of the atoms in the box around the centres, widened by the cutoff: all that their edges can meet."""
    if not centres.any():
        return np.empty(0, dtype=np.int64)
    axes = open_axes(cell, periodic)
    across = positions @ axes.T
    low, high = across[centres].min(axis=0) - cutoff, across[centres].max(axis=0) + cutoff
    within = ((across >= low) & (across <= high)).all(axis=1)
    if not centres.all():
        frame = np.array(cell)
        frame[~periodic] = axes
        # Of a fractional coordinate, a cutoff is the cutoff over the distance of two lattice planes.
        along = np.linalg.inv(frame)[:, periodic]
        for column in along.T:
            margin = 1e-9 + cutoff * float(np.linalg.norm(column))
            within &= _near_on_circle((positions @ column) % 1.0, centres, margin)
    return np.flatnonzero(within)


def _near_on_circle(place: Array, of: BoolArray, margin: float) -> BoolArray:
    """Points of a circle of length 1 that lie no further than ``margin`` outside of the shortest arc around some."""
    marks = np.sort(place[of])
    gaps = np.diff(marks, append=marks[0] + 1.0)
    widest = int(np.argmax(gaps))
    free = float(gaps[widest]) - 2 * margin
    if free <= 0:
        return np.ones(len(place), dtype=bool)
    return np.asarray((place - (marks[widest] + margin)) % 1.0 >= free)


def _padded_box(x: Array, cell: Array, periodic: BoolArray, cutoff: float) -> Array:
    axes = open_axes(cell, periodic)
    width = np.ptp(x @ axes.T, axis=0) + 2.0 * cutoff
    box = np.empty((3, 3))
    box[periodic] = cell[periodic]
    box[~periodic] = axes * width[:, None]
    return box
