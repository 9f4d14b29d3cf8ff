# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Loads on the named parts of a mesh: nodal forces, held components, and motions that nothing holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import basix
import numpy as np
import numpy.typing as npt

from msolve.continuum.space import SIMPLEX, DisplacementSpace, scalar_element
from msolve.loads import Held

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

UNHELD = 1e-8
"""A motion whose held components are this small a part of it is not held."""


def traction_forces(space: DisplacementSpace, facets: IntArray, value: Array) -> Array:
    """∫ N t dA over boundary facets. Rank-local.

    Args:
        space: Displacement space.
        facets: Corners of the facets as vertices of the mesh that was handed in, shape ``(k, gdim)``.
        value: Traction per reference area, shape ``(3,)`` [eV/Å³].

    Returns:
        This rank's share of the force on each local node, shape ``(n_local_nodes, 3)`` [eV/Å].
    """
    gdim = space.gdim
    cells, vertices = space.cell_corners(), space.cell_vertices()
    # On the facet opposite corner k of the reference cell.
    reference = np.vstack([np.zeros(gdim), np.eye(gdim)])
    facet_type = basix.CellType.interval if gdim == 2 else basix.CellType.triangle
    points, weights = basix.make_quadrature(facet_type, 2 * space.degree)
    share = np.column_stack([1 - points.sum(axis=1), points])
    element, nodes = scalar_element(gdim, space.degree), space.cell_nodes()
    out = np.zeros((space.n_local_nodes, 3))
    for opposite in range(gdim + 1):
        corners = [k for k in range(gdim + 1) if k != opposite]
        here = np.flatnonzero(_rows_in(cells[:, corners], facets))
        basis = element.tabulate(0, share @ reference[corners])[0, :, :, 0]
        mean = weights @ basis / weights.sum()
        area = _measure(vertices[here][:, corners]) * space.thickness
        force = area[:, None, None] * mean[None, :, None] * value
        np.add.at(out, nodes[here], force)
    return out


def body_forces(
    space: DisplacementSpace, cells: BoolArray, density: Callable[[Array], Array], value: Array
) -> Array:
    """∫ w N b dX over some cells. Rank-local.

    Args:
        space: Displacement space.
        cells: Owned cells in which it acts, shape ``(n_cells,)``.
        density: Weight w at points ``(n, 3)``, shape ``(n,)``.
        value: Force per reference volume, shape ``(3,)`` [eV/Å⁴].

    Returns:
        This rank's share of the force on each local node, shape ``(n_local_nodes, 3)`` [eV/Å].
    """
    degree = 2 * space.degree
    X, weight, _ = space.quadrature(degree)
    points, _ = basix.make_quadrature(getattr(basix.CellType, SIMPLEX[space.gdim]), degree)
    basis = scalar_element(space.gdim, space.degree).tabulate(0, points)[0, :, :, 0]
    amount = weight * density(X.reshape(-1, 3)).reshape(weight.shape) * cells[:, None]
    out = np.zeros((space.n_local_nodes, 3))
    np.add.at(out, space.cell_nodes(), np.einsum("cq,qn->cn", amount, basis)[..., None] * value)
    return out


def held_components(space: DisplacementSpace, held: tuple[Held, ...]) -> BoolArray:
    """Which components of the local nodes are prescribed, shape ``(n_local_nodes, 3)``. Rank-local."""
    out = np.zeros((space.n_local_nodes, 3), dtype=bool)
    for one in held:
        out[space.node_tags[one.on]] |= np.array(one.components)
    return out


def boundary_values(
    space: DisplacementSpace,
    held: tuple[Held, ...],
    predictor: Callable[[Array, float], Array],
) -> Callable[[float], Array]:
    """Corrector of the local nodes at zero unknowns, as a function of the load, ``(n_local_nodes, 3)`` [Å]."""
    places = [(space.node_tags[one.on], np.array(one.components), one.field) for one in held]
    X = space.nodes()

    def values(t: float) -> Array:
        out = np.zeros((space.n_local_nodes, 3))
        for nodes, components, field in places:
            wanted = field.displacement(X[nodes], t) - predictor(X[nodes], t)
            out[nodes] = np.where(components, wanted, out[nodes])
        return out

    return values


def unheld_motions(space: DisplacementSpace, held: BoolArray, components: int) -> list[str]:
    """Translations and rotations that no held component resists, in words. Collective.

    Args:
        space: Displacement space.
        held: Prescribed components of the local nodes, shape ``(n_local_nodes, 3)``.
        components: Components of the displacement that are unknowns.
    """
    X = space.nodes()
    X = X - _mean(space, X)
    size = np.sqrt(_mean(space, X**2).sum())
    motions: dict[str, Array] = {
        f"translation along x{k + 1}": np.tile(np.eye(3)[k], (len(X), 1)) for k in range(components)
    }
    axes = (2,) if space.gdim == 2 else (0, 1, 2)
    for k in axes:
        motions[f"rotation about x{k + 1}"] = np.cross(np.eye(3)[k], X) / size
    own = space.n_owned_nodes
    resisted = np.stack([(motion * held)[:own].ravel() for motion in motions.values()], axis=1)
    square = space.comm.allreduce(resisted.T @ resisted)
    whole = np.stack([motion[:own].ravel() for motion in motions.values()], axis=1)
    scale = np.trace(space.comm.allreduce(whole.T @ whole)) / len(motions)
    values, vectors = np.linalg.eigh(square)
    loose = vectors[:, values < UNHELD**2 * scale]
    # A motion is named if it is, or is part of, what nothing resists.
    return [
        name for name, row in zip(motions, loose, strict=True) if np.abs(row).max(initial=0) > 0.1
    ]


def tagged_cells(
    space: DisplacementSpace, tags: Mapping[str, IntArray], on: str | None
) -> BoolArray:
    """Owned cells that carry a tag of the mesh that was handed in; all of them where it is ``None``."""
    if on is None:
        return np.ones(space.n_cells, dtype=bool)
    return np.isin(space.cell_index, tags[on])


def points_in(space: DisplacementSpace, cells: BoolArray, X: Array) -> BoolArray:
    """Which points lie in chosen owned cells of some rank, shape ``(n,)``. Collective."""
    point, cell, _, inside = space.find_cells(X)
    found = np.full((2, len(X)), -np.inf)
    found[0, point], found[1, point] = inside, cells[cell]
    ranks = np.array(space.comm.allgather(found))
    deepest = ranks[:, 0].argmax(axis=0)
    return np.asarray(ranks[deepest, 1, np.arange(len(X))] > 0)


def _mean(space: DisplacementSpace, values: Array) -> Array:
    """Mean over the nodes of all ranks. Collective."""
    total = space.comm.allreduce(values[: space.n_owned_nodes].sum(axis=0))
    return np.asarray(total / space.n_global_nodes)


def _measure(corner: Array) -> Array:
    """Length or area of facets given by their corners ``(n, gdim, gdim)``."""
    edges = corner[:, 1:] - corner[:, :1]
    gram = np.einsum("nax,nbx->nab", edges, edges)
    return np.sqrt(np.linalg.det(gram)) / (1.0 if edges.shape[1] == 1 else 2.0)


def _rows_in(rows: IntArray, among: IntArray) -> BoolArray:
    """Which rows occur among others, whatever the order inside a row."""
    both = np.sort(np.concatenate([rows, among.reshape(-1, rows.shape[1])]), axis=1)
    number = np.unique(both, axis=0, return_inverse=True)[1].ravel()
    return np.isin(number[: len(rows)], number[len(rows) :])
