# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Quadratic recovery: how far a smooth field lies from its linear interpolation, from second differences of the mesh.

Linear elements know the displacement at their vertices better than between them. A quadratic polynomial fitted to
the vertices around an edge gives the second derivative along it, and the three (in space six) edges of a cell those
that the interpolation error is made of:

    u(x) - Σ λᵢ uᵢ  ≈  -1/2 Σ_{i<j} λᵢ λⱼ  eᵢⱼ · H eᵢⱼ,   eᵢⱼ = xᵢ - xⱼ.

The correction is linear in the field at the vertices, zero for affine fields, zero at vertices, and continuous across
edges, because what it is along an edge depends on that edge alone. Patches are made of cells, so they do not reach
across a crack.

References:
    Z. Zhang, A. Naga, SIAM J. Sci. Comput. 26, 1192 (2005): polynomial preserving recovery.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from msolve.continuum.space import DisplacementSpace

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

POOR = 1e-3
"""Smallest singular value of a fit over the largest, below which its vertices determine no quadratic polynomial."""


def recovered(space: DisplacementSpace, X: Array) -> tuple[IntArray, IntArray, Array, Array]:
    """As :meth:`DisplacementSpace.locate` for linear elements, with the quadratic correction in the weights.

    Args:
        space: Linear elements.
        X: Points, shape ``(n, 3)`` [Å].

    Returns:
        ``(point, nodes, weights, inside)``: nodes and weights are ``(m, k)``, filled up with zero weights.

    Note:
        Collective: the cells around an edge may belong to several ranks.
    """
    point, cell, local, inside = space.find_cells(X)
    barycentric = _barycentric(local)
    i, j = _edges(space.gdim)
    product = barycentric[:, i] * barycentric[:, j]
    own, around, correction = _correction(space, cell, product[..., None])
    weights = np.hstack([barycentric, correction[..., 0]])
    return point, np.hstack([own, around]), weights, inside


def recovered_gradients(
    space: DisplacementSpace, X: Array
) -> tuple[IntArray, IntArray, Array, Array]:
    """As :meth:`DisplacementSpace.locate_gradients` for linear elements, with the gradient of the correction.

    Arguments and note as for :func:`recovered`; gradients have shape ``(m, k, gdim)`` [1/Å].
    """
    point, cell, local, inside = space.find_cells(X)
    barycentric = _barycentric(local)
    slope = space.gradients_at(cell, X[point])
    i, j = _edges(space.gdim)
    product = barycentric[:, i, None] * slope[:, j] + barycentric[:, j, None] * slope[:, i]
    own, around, correction = _correction(space, cell, product)
    return point, np.hstack([own, around]), np.concatenate([slope, correction], axis=1), inside


def _barycentric(local: Array) -> Array:
    """Barycentric coordinates ``(m, gdim + 1)`` without round-off, which must not tie an atom to other cells."""
    out = np.clip(np.column_stack([1 - local.sum(axis=1), local]), 0.0, 1.0)
    out[out < 1e-9] = 0.0
    return np.asarray(out / out.sum(axis=1, keepdims=True))


def _edges(gdim: int) -> tuple[list[int], list[int]]:
    """First and second vertex of each edge of a simplex."""
    first, second = zip(*combinations(range(gdim + 1), 2), strict=True)
    return list(first), list(second)


def _correction(
    space: DisplacementSpace, cell: IntArray, factor: Array
) -> tuple[IntArray, IntArray, Array]:
    """-1/2 Σ factor e · H e over the edges of some cells, as weights of the vertices around. Collective.

    Args:
        space: Linear elements.
        cell: Owned cells, shape ``(m,)``.
        factor: Of each edge, shape ``(m, n_edges, c)``.

    Returns:
        ``(own, around, weights)``: global nodes of each cell ``(m, gdim + 1)``, those around its edges ``(m, k)``, and
        their weights ``(m, k, c)``.
    """
    nodes = space.global_nodes()[space.cell_nodes()]
    own = nodes[cell]
    used = (factor != 0).any(axis=(1, 2))
    ring = _cells_around(space, nodes, own[used])
    ends = np.stack([own[:, k] for k in _edges(space.gdim)], axis=2)
    active = (factor != 0).any(axis=2)
    distinct, which = np.unique(np.sort(ends[active], axis=1), axis=0, return_inverse=True)
    patch, second = _second_differences(distinct, *ring, space.gdim)
    m, n_edges, c = factor.shape
    around = np.zeros((m, n_edges, patch.shape[1]), dtype=np.int64)
    weights = np.zeros((*around.shape, c))
    around[active] = patch[which.ravel()]
    weights[active] = -0.5 * factor[active][:, None, :] * second[which.ravel()][:, :, None]
    width = n_edges * patch.shape[1]  # told, because of no cells at all nothing could be inferred
    return own, around.reshape(m, width), weights.reshape(m, width, c)


def _cells_around(
    space: DisplacementSpace, nodes: IntArray, touched: IntArray
) -> tuple[IntArray, Array]:
    """Vertices ``(k, gdim + 1)`` and their places of all cells, of any rank, at some vertices of this one. Collective.

    Every rank gets those of all ranks: points lie in cells near the atoms, or everywhere where all atoms are visited.
    """
    wanted = np.unique(np.concatenate(space.comm.allgather(np.unique(touched))))
    mine = np.flatnonzero(np.isin(nodes, wanted).any(axis=1))
    positions = space.nodes()[:, : space.gdim][space.cell_nodes()[mine]]
    found = space.comm.allgather((nodes[mine], positions))
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _second_differences(
    edges: IntArray, cells: IntArray, X: Array, gdim: int
) -> tuple[IntArray, Array]:
    """For each edge, vertices around it and the weights that make e · H e of a field there, both ``(n, k)``."""
    names, first, cells = np.unique(cells, return_index=True, return_inverse=True)
    place = X.reshape(-1, gdim)[first]
    cells = cells.reshape(-1, gdim + 1)
    ends = np.searchsorted(names, edges)
    corner = np.ones(cells.size)
    at = np.repeat(np.arange(len(cells)), gdim + 1)
    incident = sparse.csr_matrix((corner, (at, cells.ravel())), (len(cells), len(names)))
    beside = incident.T @ incident
    chosen = sparse.csr_matrix(
        (np.ones(ends.size), (np.repeat(np.arange(len(ends)), 2), ends.ravel())),
        (len(ends), len(names)),
    )
    around = (chosen @ beside).tocsr()
    around.sort_indices()
    count = np.diff(around.indptr)
    width = int(count.max(initial=0))
    slot = np.arange(width) < count[:, None]
    patch = np.zeros((len(ends), width), dtype=np.int64)
    patch[slot] = around.indices
    e = place[ends[:, 0]] - place[ends[:, 1]] if len(ends) else np.zeros((0, gdim))
    length = np.linalg.norm(e, axis=1)
    middle = 0.5 * (place[ends[:, 0]] + place[ends[:, 1]]) if len(ends) else e
    d = (place[patch] - middle[:, None]) / length[:, None, None]
    quadratic = [(i, j) for i in range(gdim) for j in range(i, gdim)]
    columns = [np.ones(d.shape[:2]), *np.moveaxis(d, 2, 0)]
    columns += [d[..., i] * d[..., j] for i, j in quadratic]
    weight = slot / (1.0 + (d**2).sum(axis=2))
    fit = np.stack(columns, axis=2) * weight[..., None]
    size = np.linalg.svd(fit, compute_uv=False) if len(ends) else np.zeros((0, 1))
    inverse = np.linalg.pinv(fit) if len(ends) else np.zeros((0, fit.shape[2], width))
    # (e/|e|) · H (e/|e|) in units of the edge is e · H e itself.
    direction = e / length[:, None]
    factor = [direction[:, i] * direction[:, j] * 2.0 for i, j in quadratic]
    second = np.einsum(
        "qn,nqk->nk", np.array(factor).reshape(len(quadratic), -1), inverse[:, 1 + gdim :]
    )
    second *= weight
    good = (count >= fit.shape[2]) & (size[:, -1] > POOR * size[:, 0])
    second[~good] = 0.0
    return names[patch], second
