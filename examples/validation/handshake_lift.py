# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Where atoms stand between the vertices of a mesh: what a linear map of second differences could learn of it.

Nodes are put where the exact atoms say. What the recovered lift then misses is fitted, on some solved cracks, by second
differences along the edges of each cell, times three functions of the place in it, each with a matrix of its own.
"""

from __future__ import annotations

import itertools

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from common import DECKS, Row
from handshake_cracks import FACE_100, RIM
from scipy.spatial import cKDTree

from msolve.build import Setup, build_mesh, set_up
from msolve.config import load_case
from msolve.continuum.space import DisplacementSpace, build_space
from msolve.kinematics.recovery import _barycentric, _correction, _edges
from msolve.placement import turned
from msolve.train.bench import Between
from msolve.train.flanks import solved_crack, under

Array = npt.NDArray[np.float64]

CUTOFF = 5.5
"""Of the potential [Å]."""

STATES = ((0.98, 0.04), (1.05, -0.05), (1.08, 0.02), (1.0, -0.03), (1.06, 0.05))
"""K_I over Griffith's value and K_II over K_I; the last two are held out."""


def lifts(plane: str = "(110)[001]", radius: float = 70.0, times: float = 2.0) -> list[Row]:
    """Misfit between the vertices, of linear and recovered lift and of a fitted linear map of second differences."""
    turn = [FACE_100] if plane == "(100)[001]" else []
    rows: list[Row] = []
    for kind in ("matching", "free"):
        given = [
            f"domain.radius={radius} angstrom", f"regions.core_radius={times * CUTOFF} angstrom",
            f"mesh.kind={kind}", *turn,
        ]  # fmt: skip
        setup = set_up(load_case(DECKS / "crack_eam.yaml", given), MPI.COMM_SELF)
        mesh = build_mesh(setup, MPI.COMM_SELF)
        space = build_space(
            MPI.COMM_SELF, mesh.points, mesh.cells, mesh.node_tags, mesh.facet_tags,
            thickness=setup.body.crystal.period, degree=1,
        )  # fmt: skip
        assert setup.K_G is not None
        parts = [_misfit(setup, space, K * setup.K_G, shear, times) for K, shear in STATES]
        normal = sum(A.T @ A for A, _, _ in parts[:3])
        right = sum(A.T @ b for A, b, _ in parts[:3])
        theta = np.linalg.solve(normal + 1e-10 * np.trace(normal) * np.eye(len(normal)), right)
        left = [np.linalg.norm(b - A @ theta) for A, b, _ in parts]
        for name, own in (("training", slice(0, 3)), ("held out", slice(3, 5))):
            mean = [float(np.sqrt(np.mean(np.square(one[own])))) for one in
                    ([c for _, _, c in parts], [np.linalg.norm(b) for _, b, _ in parts], left)]  # fmt: skip
            rows.append({"plane": plane, "mesh": kind, "cracks": name, "linear": mean[0],
                         "recovered": mean[1], "fitted": mean[2], "share": mean[2] / mean[1]})  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def _misfit(
    setup: Setup, space: DisplacementSpace, t: float, shear: float, times: float
) -> tuple[Array, Array, float]:
    """Bond differences by unit weights of the map, those that the recovered lift misses, and the norm of the linear."""
    body, regions = under(setup.body, shear), setup.regions
    y, X = solved_crack(setup.body, t, shear)
    relaxed = turned(body.relaxation(X), body.predictor, X, t)
    moved = y - X - relaxed - body.predictor.displacement(X, t)
    between = Between(X, space.nodes())
    field = between(moved[cKDTree(X).query(between.atoms)[1]])
    point, cell, local, _ = space.find_cells(X)
    inside = np.zeros(len(X), dtype=bool)
    inside[point] = True
    weight = _barycentric(local)
    i, j = _edges(2)
    pair, third = weight[:, i] * weight[:, j], 1 - weight[:, i] - weight[:, j]
    linear = np.zeros_like(X)
    vertices = space.global_nodes()[space.cell_nodes()[cell]]
    linear[point] = np.einsum("nk,nkc->nc", weight, field[vertices])
    shapes = []
    for factor in (pair, pair * third, pair**2):
        _, around, correction = _correction(space, cell, factor[..., None])
        part = np.zeros_like(X)
        part[point] = np.einsum("nk,nkc->nc", correction[..., 0], field[around])
        shapes.append(part)
    a, b = bonds_of(X, body.crystal.nearest_neighbour_distance)
    r = np.hypot(X[:, 0], X[:, 1])
    counts = inside & (r > times * CUTOFF + regions.blend) & (r < body.radius - RIM)
    a, b = a[counts[a] & counts[b]], b[counts[a] & counts[b]]
    off = moved - linear
    columns = []
    for part in shapes:
        for row, column in itertools.product(range(3), range(3)):
            one = np.zeros_like(X)
            one[:, row] = part[:, column]
            columns.append((one[a] - one[b]).ravel())
    rest = off - shapes[0]
    norm = float(np.linalg.norm(off[a] - off[b]))
    return np.array(columns).T, (rest[a] - rest[b]).ravel(), norm


def bonds_of(X: Array, near: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Neighbours in the plane that do not lie across the crack."""
    pairs = cKDTree(X[:, :2]).query_pairs(1.05 * near, output_type="ndarray")
    i, j = pairs.T
    across = (X[i, 1] * X[j, 1] < 0) & (np.minimum(X[i, 0], X[j, 0]) < 0)
    return i[~across], j[~across]
