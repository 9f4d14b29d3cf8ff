# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Neighbour lists with periodic shifts on the edges, in any mixture of open and periodic axes.

Made by vesin in a box that is periodic along all axes and padded along the open ones: its own
treatment of mixed periodicity takes quadratic time (version 0.6.2). No image atoms are made.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import spatial

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


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

    near = _within_reach(positions, cell, periodic, cutoff, centres)
    x = positions[near]
    if len(x) == 0:
        return np.empty((2, 0), dtype=np.int64), np.empty((0, 3))
    box = _padded_box(x, np.asarray(cell, dtype=float), np.asarray(periodic, dtype=bool), cutoff)
    search = vesin.NeighborList(cutoff=cutoff, full_list=True)
    i, j, image = search.compute(points=x, box=box, periodic=True, quantities="ijS")
    i, j = near[i.astype(np.int64)], near[j.astype(np.int64)]
    keep = np.flatnonzero(centres[i])
    keep = keep[np.argsort(i[keep], kind="stable")]
    shift = image[keep].astype(np.float64) @ box
    return np.stack([i[keep], j[keep]]), shift


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
    if not of.any():
        return np.zeros(len(x), dtype=bool)
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
    positions: Array, cell: ArrayLike, periodic: ArrayLike, cutoff: float, centres: BoolArray
) -> IntArray:
    """Indices of the atoms in the box around the centres, widened by the cutoff on open axes."""
    if not centres.any():
        return np.empty(0, dtype=np.int64)
    axes = open_axes(np.asarray(cell, dtype=float), np.asarray(periodic, dtype=bool))
    across = positions @ axes.T
    low, high = across[centres].min(axis=0) - cutoff, across[centres].max(axis=0) + cutoff
    return np.flatnonzero(((across >= low) & (across <= high)).all(axis=1))


def _padded_box(x: Array, cell: Array, periodic: BoolArray, cutoff: float) -> Array:
    axes = open_axes(cell, periodic)
    width = np.ptp(x @ axes.T, axis=0) + 2.0 * cutoff
    box = np.empty((3, 3))
    box[periodic] = cell[periodic]
    box[~periodic] = axes * width[:, None]
    return box
