# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The finite elements that solved cracks are put on, and what remains of their forces on the layers of the flanks.

The nodes of a bench stand on the atoms, or anywhere: then the displacement of the atoms is interpolated, side by side,
and with it that of the layers, w to P w on the nodes. The forces of the elements on the nodes that follow the layers
are f - K P w, and what counts is their dual norm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from scipy import sparse, spatial
from scipy.interpolate import CloughTocher2DInterpolator
from scipy.sparse.linalg import SuperLU, splu

from msolve.body import Body
from msolve.continuum.energy import StoredEnergy
from msolve.continuum.space import build_space
from msolve.handshake.flanks import FlankLift, FlankLine
from msolve.handshake.operator import FlankModel, FlankOperator
from msolve.handshake.slab import half_layers, layers_below
from msolve.io.meshes import MeshData, Slit, disc_mesh
from msolve.placement import turned
from msolve.regions import Ball

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NEAR_TIP = 3.0
"""Nearest distance from the tip at which layers are learned from, in nearest-neighbour distances."""

RIM = 8.0
"""Width of the ring at the boundary that is not learned from, in nearest-neighbour distances."""

EMPTY = 2.5
"""Radius around the tip within which elements say nothing, in nearest-neighbour distances."""

SWEEPS = 8
"""Corrections of the eliminated nodes, each by the stiffness of the crystal at rest."""

FOLLOW = 1e-3
"""Share of an atom's motion from which on a node that ignores the atoms follows it."""

FOLLOWED = 4
"""Passes after which the flank that an operator sees has followed what it moves."""


@dataclass(frozen=True)
class CrackSpecimen:
    """A crack, as the operator is to see it; its squared residual is 1 + (w·Kw - 2 f·w) / r of the slab handshake's.

    Attributes:
        lift: Layers that are learned from, with the operator left out of account.
        line: Flank as the atoms have it, shape ``(m, 3)`` [Å].
        force: f, force of the elements on each atom of the layers, shape ``(k, 3)`` [eV/Å].
        stiffness: K, of the layers, shape ``(3 k, 3 k)`` [eV/Å²].
        before: r, squared dual norm of the forces without the operator [eV].
    """

    lift: FlankLift
    line: Array
    force: Array
    stiffness: Array
    before: float


class Bench:
    """The elements of one body, and what remains of them on the layers of its flanks.

    Args:
        body: A crack; its far field and predictor are a K-field.
        degree: Of the finite elements.
        layers: Layers of each flank.
        edges: Length of the edges of a mesh that does not know the atoms [Å]; ``None``: its nodes are the atoms.
    """

    def __init__(self, body: Body, degree: int, layers: int, edges: float | None = None) -> None:
        mesh = _on_atoms(body) if edges is None else _anywhere(body, edges)
        self.body, self.edges = body, edges
        self.space = build_space(
            MPI.COMM_SELF,
            mesh.points,
            mesh.cells,
            mesh.node_tags,
            mesh.facet_tags,
            thickness=body.crystal.period,
            degree=degree,
        )
        beyond = half_layers(self.space.cell_vertices(), body.half_gap, 0.0)
        self.stored = StoredEnergy(self.space, body.material, beyond)
        self.nodes = self.space.nodes()
        self.line = FlankLine.of(self.space, body.half_gap)
        assert body.slab is not None
        depths, relaxation = layers_below(body.slab, layers)
        self.blank = FlankModel(
            {degree: FlankOperator(layers, 0, np.ones(5))},
            body.crystal.rotation,
            body.half_gap,
            depths,
            relaxation,
            {},
        )
        self.degree = degree
        corner = self.stored.points.mean(axis=1)
        near = body.crystal.nearest_neighbour_distance
        says = np.hypot(corner[:, 0], corner[:, 1]) > EMPTY * near
        self._weight = np.repeat(says[:, None].astype(float), self.stored.points.shape[1], axis=1)
        K = self.stored.stiffness(body.C, np.ones_like(self._weight))
        indptr, indices, data = K.getValuesCSR()
        self.K = sparse.csc_matrix(sparse.csr_matrix((data, indices, indptr), shape=K.getSize()))
        self._loose: IntArray = np.zeros(0, dtype=np.int64)
        self._inverse: SuperLU | None = None
        self._between: Between | None = None
        atoms = body.sites(0.0).positions
        if edges is None:
            self._eliminate(atoms)
        else:
            self._interpolate(atoms)

    def _learned(self, X: Array) -> npt.NDArray[np.bool_]:
        """Where layers are learned from."""
        near, r = self.body.crystal.nearest_neighbour_distance, np.hypot(X[:, 0], X[:, 1])
        return np.asarray((X[:, 0] < -NEAR_TIP * near) & (r < self.body.radius - RIM * near))

    def _eliminate(self, atoms: Array) -> None:
        """Find the nodes that are atoms, those of the layers, and the stiffness of the layers alone."""
        X = self.nodes
        distance, self._atom = spatial.cKDTree(atoms[:, :2]).query(X[:, :2])
        on_atom = distance < 1e-4
        outer = np.zeros(len(X), dtype=bool)
        outer[self.space.node_tags["outer"]] = True
        self.on_atom = np.flatnonzero(on_atom)
        loose = np.flatnonzero(~on_atom & ~outer)
        _, layer = self.blank.layer_of(X)
        self.counted = np.flatnonzero(on_atom & (layer >= 0) & self._learned(X))
        self.layers = X[self.counted]
        self._loose = _dof(loose)
        kept = _dof(self.counted)
        stiff = self.K[kept][:, kept].toarray()
        if len(loose):
            self._inverse = splu(self.K[self._loose][:, self._loose])
            across = self.K[self._loose][:, kept].toarray()
            stiff -= across.T @ self._inverse.solve(across)
        self.stiffness = 0.5 * (stiff + stiff.T)
        self._spread: npt.NDArray[Any] = np.eye(len(kept))
        self._factor = np.linalg.cholesky(self.stiffness)

    def _interpolate(self, atoms: Array) -> None:
        """Find the nodes that follow the layers, and how."""
        self._between = between = Between(atoms, self.nodes)
        columns = between.atoms
        _, layer = self.blank.layer_of(columns)
        chosen = np.flatnonzero((layer >= 0) & self._learned(columns))
        self.layers = columns[chosen]
        unit = np.zeros((len(columns), len(chosen)))
        unit[chosen, np.arange(len(chosen))] = 1.0
        follow = between(unit)
        moved = np.abs(follow).max(axis=1) > FOLLOW
        self.counted = np.flatnonzero(moved & self._learned(self.nodes))
        self._spread = np.kron(follow[self.counted], np.eye(3))
        kept = _dof(self.counted)
        stiff = self.K[kept][:, kept].toarray()
        self._factor = np.linalg.cholesky(0.5 * (stiff + stiff.T))
        half = self._factor.T @ self._spread
        self.stiffness = half.T @ half

    def balance(
        self, y: Array, atoms: Array, t: float, body: Body, operator: FlankOperator | None = None
    ) -> tuple[Array, Array]:
        """Corrector of the nodes that puts the atoms where a solved crack has them, and the forces of the elements.

        Args:
            y: Positions of the atoms, shape ``(n, 3)`` [Å].
            atoms: Their reference positions, among them all sites of the body.
            t: Load.
            body: The body under its load.
            operator: Trained operator that the layers of the flanks follow; of benches on atoms.

        Raises:
            ConvergenceError: The elements are inside out somewhere.
        """
        places = self.nodes[self.on_atom] if self._between is None else self._between.atoms
        own = spatial.cKDTree(atoms[:, :2]).query(places[:, :2])[1]
        X = atoms[own]
        relaxed = turned(body.relaxation(X), body.predictor, X, t)
        moved = y[own] - X - relaxed - body.predictor.displacement(X, t)
        if self._between is not None:
            u = self._between(moved)
        else:
            u = np.zeros((len(self.nodes), 3))
            u[self.on_atom] = moved
        if operator is not None:
            u -= self._layers_follow(u, operator, t, body)
        if self.degree == 2 and self._between is None:
            middle, one, other = self.space.edge_nodes().T
            off = ~np.isin(middle, self.on_atom)
            u[middle[off]] = 0.5 * (u[one[off]] + u[other[off]])
        background = self.stored.sample(lambda at: body.predictor.gradient(at, t))
        force = self.stored.evaluate(u, background, self._weight)[1]
        if self._inverse is not None:
            for _ in range(SWEEPS):
                u.ravel()[self._loose] -= self._inverse.solve(force.ravel()[self._loose])
                force = self.stored.evaluate(u, background, self._weight)[1]
        return u, force

    def _layers_follow(self, u: Array, operator: FlankOperator, t: float, body: Body) -> Array:
        """What an operator moves the nodes by, where it makes of the nodes without it what the atoms have."""
        model = replace(self.blank, operators={self.degree: operator})
        lift = FlankLift.of(model, self.degree, self.line, self.nodes, body.taper)
        start = self.line.X + body.predictor.displacement(self.line.X, t)
        moved = np.zeros_like(u)
        for _ in range(FOLLOWED):
            moved[lift.atoms] = lift.at(start + self.line.gather(u - moved))
        return moved

    def specimen(self, y: Array, atoms: Array, t: float, body: Body) -> CrackSpecimen:
        """What a solved crack says.

        Args:
            y: Positions of the atoms, shape ``(n, 3)`` [Å].
            atoms: Their reference positions, among them all sites of the body.
            t: Load.
            body: The body under its load.

        Raises:
            ConvergenceError: The elements are inside out somewhere.
        """
        u, force = self.balance(y, atoms, t, body)
        lift = FlankLift.of(self.blank, self.degree, self.line, self.layers, body.taper)
        assert np.array_equal(lift.atoms, np.arange(len(self.layers)))
        X = self.line.X
        places = X + body.predictor.displacement(X, t) + self.line.gather(u)
        own = force[self.counted].ravel()
        before = float((np.linalg.solve(self._factor, own) ** 2).sum())
        return CrackSpecimen(
            lift, places, (self._spread.T @ own).reshape(-1, 3), self.stiffness, before
        )


class Between:
    """Fields of the atoms of a crack, interpolated to any points with continuous derivatives, side by side.

    Args:
        atoms: Reference positions, shape ``(n, 3)`` [Å]; of atoms behind each other one is taken.
        X: Points, shape ``(m, 3)`` [Å]. Behind the tip each sees the atoms of its own side alone.
    """

    def __init__(self, atoms: Array, X: Array) -> None:
        first = np.unique(atoms[:, :2].round(4), axis=0, return_index=True)[1]
        self.atoms = atoms[np.sort(first)]
        up, behind = X[:, 1] > 0, X[:, 0] < 0
        own = self.atoms[:, 1] > 0
        self._n = len(X)
        self._parts = []
        for points, seen in (
            (behind & up, own),
            (behind & ~up, ~own),
            (~behind, np.ones(len(own), dtype=bool)),
        ):
            which = np.flatnonzero(seen)
            mesh = spatial.Delaunay(self.atoms[which, :2])
            self._parts.append((np.flatnonzero(points), which, mesh, X[points, :2]))

    def __call__(self, values: Array) -> Array:
        """A field of the atoms ``(n, k)`` at the points, ``(m, k)``; zero beyond their hull."""
        out = np.zeros((self._n, values.shape[1]))
        for points, which, mesh, X in self._parts:
            out[points] = CloughTocher2DInterpolator(mesh, values[which], fill_value=0.0)(X)
        return out


def _on_atoms(body: Body) -> MeshData:
    near, spacing = body.crystal.nearest_neighbour_distance, body.crystal.sublattice_spacing
    box = [(-body.radius - 6 * spacing, body.radius + 6 * spacing)] * 2
    sites = body.crystal.sites(None, box, body.origin)
    return disc_mesh(
        body.radius,
        spacing=spacing,
        zones=(Ball((0.0, 0.0, 0.0), body.radius - 4.5 * near),),
        matching_points=sites.positions[sites.basis_index == 0, :2],
        slit=Slit(0.0, body.half_gap),
    )


def _anywhere(body: Body, edges: float) -> MeshData:
    zone = Ball((0.0, 0.0, 0.0), body.radius - edges)
    return disc_mesh(body.radius, spacing=edges, zones=(zone,), slit=Slit(0.0, body.half_gap))


def _dof(nodes: IntArray) -> IntArray:
    return np.asarray((3 * nodes[:, None] + np.arange(3)).ravel())
