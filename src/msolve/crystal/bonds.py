# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Relations between sites that depend on positions alone: bonds, columns along the front."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from msolve.crystal.integers import COINCIDENT

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


def nearest_neighbour_bonds(
    positions: Array, period: float | None, cutoff: float
) -> tuple[IntArray, IntArray, Array]:
    """All bonds no longer than ``cutoff``, each once: what discrete H1 norms are taken over.

    Args:
        positions: Reference positions, shape ``(n, 3)`` [Å].
        period: Period along x3 [Å]; ``None`` where nothing is periodic.
        cutoff: Longest bond [Å]; a little more than the nearest-neighbour distance.

    Returns:
        ``(i, j, shift)``: ends, shape ``(n_bonds,)``, and the x3 shift ``(n_bonds, 3)`` [Å] of the
            image of
        ``j``, so that a bond is ``x[j] - x[i] + shift``. Sorted by ``(i, j, shift)``.
    """
    n_images = 0 if period is None else int(np.ceil(cutoff / period))
    tree = cKDTree(positions)
    found = []
    for image in range(n_images + 1):
        shift = np.array([0.0, 0.0, image * (period or 0.0)])
        pairs = tree.sparse_distance_matrix(
            cKDTree(positions + shift), cutoff, output_type="ndarray"
        )
        i, j = pairs["i"].astype(np.int64), pairs["j"].astype(np.int64)
        # Bonds to images above are seen once; those inside the cell twice. Nobody is bonded to
        # itself in place.
        once = i < j if image == 0 else np.ones(len(i), dtype=bool)
        found.append((i[once], j[once], np.full(int(once.sum()), image, dtype=np.int64)))
    i, j, image_of_j = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((image_of_j, j, i))
    shifts = np.zeros((len(order), 3))
    shifts[:, 2] = image_of_j[order] * (period or 0.0)
    return i[order], j[order], shifts


def projected_points(positions: Array) -> tuple[Array, IntArray]:
    """Distinct projections of sites on the plane (x1, x2).

    Returns:
        ``(points, column)``: distinct points ``(k, 2)`` [Å] in order of first appearance, and the
            point that
        each position falls on, shape ``(n,)``.
    """
    plane = np.ascontiguousarray(positions[:, :2])
    pairs = cKDTree(plane).query_pairs(COINCIDENT, output_type="ndarray")
    first = np.arange(len(plane))
    # Columns are far further apart than the tolerance, so the lowest index of each cluster is a
    # direct neighbour.
    np.minimum.at(first, pairs[:, 1], pairs[:, 0])
    kept = np.flatnonzero(first == np.arange(len(plane)))
    return plane[kept], np.searchsorted(kept, first)
