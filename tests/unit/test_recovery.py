# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Quadratic recovery between the vertices of linear elements: exact for quadratic fields, silent for affine ones."""

from __future__ import annotations

from mpi4py import MPI

import numpy as np
import pytest

from msolve.continuum.space import DisplacementSpace, build_space
from msolve.kinematics.recovery import recovered, recovered_gradients


def a_space(gdim: int, degree: int = 1, seed: int = 3) -> DisplacementSpace:
    """A jittered block of simplices."""
    n = 7 if gdim == 2 else 4
    axes = np.meshgrid(*[np.arange(n + 1.0)] * gdim, indexing="ij")
    points = np.column_stack([a.ravel() for a in axes])
    inside = ((points > 0) & (points < n)).all(axis=1)
    points[inside] += 0.25 * np.random.default_rng(seed).uniform(-1, 1, (inside.sum(), gdim))
    from scipy.spatial import Delaunay

    cells = Delaunay(points).simplices
    edges = points[cells[:, 1:]] - points[cells[:, :1]]
    cells = cells[np.abs(np.linalg.det(edges)) > 1e-3]
    return build_space(MPI.COMM_SELF, points, cells, {}, thickness=1.0, degree=degree)


def places(gdim: int) -> np.ndarray:
    """Points in the block, away from its corners, where too few vertices are around."""
    n = 7 if gdim == 2 else 4
    X = np.zeros((60, 3))
    X[:, :gdim] = np.random.default_rng(1).uniform(1.0, n - 1.0, (60, gdim))
    return X


def a_field(X: np.ndarray, order: int) -> np.ndarray:
    """A polynomial of some order, ``(n,)``."""
    rng = np.random.default_rng(5)
    out = rng.normal() + X @ rng.normal(size=3)
    if order > 1:
        out = out + np.einsum("ni,ij,nj->n", X, rng.normal(size=(3, 3)), X)
    return np.asarray(out)


@pytest.mark.parametrize("gdim", [2, 3])
@pytest.mark.parametrize("order", [1, 2])
def test_fields_up_to_second_order_are_exact_and_so_are_their_gradients(gdim, order):
    space, X = a_space(gdim), places(gdim)
    nodal = a_field(space.nodes(), order)
    point, nodes, weights, _ = recovered(space, X)
    assert len(point) == len(X)
    np.testing.assert_allclose((weights * nodal[nodes]).sum(axis=1), a_field(X, order), atol=1e-10)
    _, nodes, slopes, _ = recovered_gradients(space, X)
    found = np.einsum("mkd,mk->md", slopes, nodal[nodes])
    step = 1e-5
    for d in range(gdim):
        ahead, behind = X.copy(), X.copy()
        ahead[:, d] += step
        behind[:, d] -= step
        wanted = (a_field(ahead, order) - a_field(behind, order)) / (2 * step)
        np.testing.assert_allclose(found[:, d], wanted, atol=1e-7)


def test_linear_interpolation_is_not_exact_there():
    space, X = a_space(2), places(2)
    nodal = a_field(space.nodes(), 2)
    _, nodes, weights, _ = space.locate(X)
    assert np.abs((weights * nodal[nodes]).sum(axis=1) - a_field(X, 2)).max() > 1e-2


def test_the_lift_is_continuous_across_edges_and_keeps_what_vertices_know():
    space = a_space(2)
    nodal = np.sin(space.nodes()[:, 0]) * np.cos(0.7 * space.nodes()[:, 1])
    at = space.cell_vertices()[:, [0, 1, 2]]
    middle = np.zeros((len(at), 3))
    middle[:, :2] = 0.3 * at[:, 0] + 0.7 * at[:, 1]
    across = np.zeros_like(middle)
    edge = at[:, 1] - at[:, 0]
    across[:, :2] = 1e-6 * np.column_stack([-edge[:, 1], edge[:, 0]])
    values = []
    for sign in (1.0, -1.0):
        point, nodes, weights, _ = recovered(space, middle + sign * across)
        out = np.full(len(middle), np.nan)
        out[point] = (weights * nodal[nodes]).sum(axis=1)
        values.append(out)
    both = ~np.isnan(values[0] + values[1])
    assert both.sum() > 50
    np.testing.assert_allclose(values[0][both], values[1][both], atol=1e-4)
    assert np.nanmax(np.abs(values[0])) > 0.3
    point, nodes, weights, _ = recovered(space, space.nodes())
    np.testing.assert_allclose((weights * nodal[nodes]).sum(axis=1), nodal[point], atol=1e-12)


def test_too_few_vertices_are_left_alone():
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    space = build_space(MPI.COMM_SELF, points, np.array([[0, 1, 2]]), {}, thickness=1.0)
    X = np.array([[0.3, 0.3, 0.0]])
    _, nodes, weights, _ = recovered(space, X)
    nodal = a_field(space.nodes(), 2)
    plain = space.locate(X)
    assert (weights * nodal[nodes]).sum() == pytest.approx((plain[2] * nodal[plain[1]]).sum())


@pytest.mark.parametrize("gdim", [2, 3])
def test_a_rank_without_points_gets_nothing(gdim):
    """As where a refined problem starts from the same mesh: no atom of the next is carried by the one before."""
    space, none = a_space(gdim), np.zeros((0, 3))
    for found in (recovered(space, none), recovered_gradients(space, none)):
        assert all(len(part) == 0 for part in found)
