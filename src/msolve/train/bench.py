# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The finite elements that solved cracks are put on, and what remains of their forces around the flanks.

The nodes of a bench stand on the atoms, or anywhere: then the displacement of the atoms is interpolated, side by side,
and with it that of the layers, w to P w on the nodes. The gradient of the elements around the layers becomes f - K P w,
that of the surface's energy comes on top. What counts is the dual norm of the sum as coupled runs would have it:
multiplied with the blending functions of a few cores, and answered by the whole body.
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
from msolve.handshake.closure import rise
from msolve.handshake.flanks import FlankLift, FlankLine
from msolve.handshake.operator import FlankModel, FlankOperator
from msolve.handshake.slab import half_layers, layers_below
from msolve.handshake.tension import FlankEdges
from msolve.io.meshes import MeshData, Slit, disc_mesh
from msolve.placement import turned
from msolve.regions import Ball

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NEAR_TIP = 3.0
"""Nearest distance from the tip at which layers are learned from where nothing is weighted, in such distances."""

AROUND = 2.0
"""How far beyond what counts layers are moved, in nearest-neighbour distances."""

RIM = 8.0
"""Width of the ring at the boundary that is not learned from, in nearest-neighbour distances."""

EMPTY = 2.5
"""Radius around the tip within which elements say nothing, in nearest-neighbour distances."""

PULLED = 1e-3
"""Share of the stiffest pull of a layer from which on a node counts."""

SWEEPS = 8
"""Corrections of the eliminated nodes, each by the stiffness of the crystal at rest."""

FOLLOW = 1e-3
"""Share of an atom's motion from which on a node that ignores the atoms follows it."""

FOLLOWED = 4
"""Passes after which the flank that an operator sees has followed what it moves."""


@dataclass(frozen=True)
class Zones:
    """Coupled models that a residual is weighted for.

    Attributes:
        cores: Radii of the cores, shape ``(k,)`` [Å].
        blend: Width of their blending zones [Å].
        matched: How far beyond the blend the nodes of the mesh are atoms [Å].
    """

    cores: Array
    blend: float
    matched: float


@dataclass(frozen=True)
class Form:
    """Squared residual of a crack over that of the slab handshake, c + 2 g·w + w·Nw; mean over the cores.

    Attributes:
        N: Symmetric matrix, shape ``(3 k, 3 k)`` [Å⁻²]; w are the displacements of the layers, atom by atom.
        g: Shape ``(3 k,)`` [Å⁻¹].
        c: What the surface's energy leaves by itself.
        before: Residual with the slab handshake [√eV].
    """

    N: Array
    g: Array
    c: float
    before: float


@dataclass(frozen=True)
class CrackSpecimen:
    """A crack, as the operator is to see it.

    Attributes:
        bench: Elements that it was put on.
        lift: Layers that are learned from, with the operator left out of account.
        line: Flank as the atoms have it, shape ``(m, 3)`` [Å].
        gradient: Of the elements, by the nodes that count, shape ``(n, 3)`` [eV/Å].
    """

    bench: Bench
    lift: FlankLift
    line: Array
    gradient: Array

    @property
    def invariants(self) -> Array:
        """Of the flanks beyond the smallest core, shape ``(n, 5)``."""
        return self.lift.invariants(self.line)[self.bench.beyond]

    def form(self, operator: FlankOperator) -> Form:
        """The squared residual under an operator's energy of the surface, by what its layers may do."""
        return self.bench.form(self.gradient, self.bench.pull(operator, self.line))


class Bench:
    """The elements of one body, and what remains of them on the layers of its flanks.

    Args:
        body: A crack; its far field and predictor are a K-field.
        degree: Of the finite elements.
        layers: Layers of each flank.
        zones: Coupled models that the residual is weighted for, and answered by the whole body; ``None``: all that the
            layers do not move is held, and nothing is weighted.
        edges: Length of the edges of a mesh that does not know the atoms [Å]; ``None``: its nodes are the atoms.
    """

    def __init__(
        self,
        body: Body,
        degree: int,
        layers: int,
        zones: Zones | None,
        edges: float | None = None,
    ) -> None:
        mesh = _on_atoms(body) if edges is None else _anywhere(body, edges)
        self.body, self.edges, self._zones = body, edges, zones
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
        self._edges = FlankEdges.of(self.line, self.space.thickness)
        atoms = body.sites(0.0).positions
        if edges is None:
            self._eliminate(atoms)
        else:
            self._interpolate(atoms)
        x = -self.layers[:, 0]
        self.beyond = (x > (0.0 if zones is None else zones.cores.min())) & (x < self._rim)
        if zones is None:
            self.rows = self.counted
            stiff = self._pulls(self.rows)
            self.stiffness, self.compliance = stiff @ self._spread, np.linalg.inv(stiff)
            self.beta: Array = np.ones((1, len(stiff)))
        else:
            self._weigh(zones)
        self._to_rows = [(b * self.stiffness.T) @ (self.compliance * b) for b in self.beta]
        self._layers = [one @ self.stiffness for one in self._to_rows]

    def _moves(self, X: Array) -> npt.NDArray[np.bool_]:
        """Where layers are moved."""
        near, r = self.body.crystal.nearest_neighbour_distance, np.hypot(X[:, 0], X[:, 1])
        if self._zones is None:
            return np.asarray((X[:, 0] < -NEAR_TIP * near) & (r < self._rim))
        wide = AROUND * near
        behind = X[:, 0] < min(wide - self._zones.cores.min(), -wide / 4)
        return np.asarray(behind & (r < self._rim + wide))

    @property
    def _rim(self) -> float:
        return self.body.radius - RIM * self.body.crystal.nearest_neighbour_distance

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
        self.counted = np.flatnonzero(on_atom & (layer >= 0) & self._moves(X))
        self.layers = X[self.counted]
        self._loose = _dof(loose)
        if len(loose):
            self._inverse = splu(self.K[self._loose][:, self._loose])
        self._spread: npt.NDArray[Any] = np.eye(3 * len(self.counted))
        self._may_count = on_atom & ~outer

    def _interpolate(self, atoms: Array) -> None:
        """Find the nodes that follow the layers, and how."""
        self._between = between = Between(atoms, self.nodes)
        columns = between.atoms
        _, layer = self.blank.layer_of(columns)
        chosen = np.flatnonzero((layer >= 0) & self._moves(columns))
        self.layers = columns[chosen]
        unit = np.zeros((len(columns), len(chosen)))
        unit[chosen, np.arange(len(chosen))] = 1.0
        follow = between(unit)
        moved = np.abs(follow).max(axis=1) > FOLLOW
        self.counted = np.flatnonzero(moved & ((self._zones is not None) | self._moves(self.nodes)))
        self._spread = np.kron(follow[self.counted], np.eye(3))
        self._may_count = np.ones(len(self.nodes), dtype=bool)
        self._may_count[self.space.node_tags["outer"]] = False

    def _pulls(self, nodes: IntArray) -> Array:
        """Gradient by some nodes as those that follow the layers move, and nodes between the atoms with them."""
        own, moved = _dof(nodes), _dof(self.counted)
        stiff = self.K[own][:, moved].toarray()
        if self._inverse is not None:
            across = self._inverse.solve(self.K[self._loose][:, moved].toarray())
            stiff -= self.K[own][:, self._loose] @ across
        return np.asarray(stiff)

    def _weigh(self, zones: Zones) -> None:
        """Find the nodes that count: how layers pull on them, and what they do to the whole body."""
        r = np.hypot(self.nodes[:, 0], self.nodes[:, 1])
        every = np.flatnonzero(self._may_count & (r > zones.cores.min()) & (r < self._rim))
        stiff = self._pulls(every)
        pulled = np.abs(stiff).reshape(len(every), -1).max(axis=1)
        near = pulled > PULLED * pulled.max()
        self.rows = every[near]
        own = _dof(self.rows)
        self.stiffness = stiff[np.repeat(near, 3)] @ self._spread
        outer = np.zeros(len(self.nodes), dtype=bool)
        outer[self.space.node_tags["outer"]] = True
        free = _dof(np.flatnonzero(~outer))
        unit = np.zeros((len(free), len(own)))
        unit[np.searchsorted(free, own), np.arange(len(own))] = 1.0
        answer = splu(self.K[free][:, free]).solve(unit)[np.searchsorted(free, own)]
        self.compliance = 0.5 * (answer + answer.T)
        wide = AROUND * self.body.crystal.nearest_neighbour_distance
        end = 1 - rise(r[self.rows], self._rim - wide, self._rim)
        self.beta = np.repeat(
            rise(r[self.rows] - zones.cores[:, None], 0.0, zones.blend) * end, 3, axis=1
        )

    def pull(self, operator: FlankOperator, line: Array) -> Array:
        """Gradient of the energy of the surface by the nodes that count, shape ``(n, 3)`` [eV/Å]."""
        out = np.zeros((len(self.nodes), 3))
        out[self.line.owned] = self._edges.evaluate(operator, line)[1][self.line.place]
        return out[self.rows]

    def form(self, gradient: Array, pull: Array) -> Form:
        """The squared residual of a gradient of the elements and one of the surface, both ``(n, 3)`` [eV/Å]."""
        with_slab, given = gradient.ravel(), (gradient + pull).ravel()
        N, g, c, sizes = np.zeros_like(self._layers[0]), np.zeros(len(self._layers[0])), 0.0, []
        for b, to_rows, N_core in zip(self.beta, self._to_rows, self._layers, strict=True):
            sizes.append(float((b * with_slab) @ self.compliance @ (b * with_slab)))
            N += N_core / sizes[-1]
            g -= to_rows @ given / sizes[-1]
            c += float((b * given) @ self.compliance @ (b * given)) / sizes[-1]
        k = len(sizes)
        return Form(N / k, g / k, c / k, float(np.sqrt(np.mean(sizes))))

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
        if operator is not None:
            line = self._rest(t, body) + self.line.gather(u)
            force[self.line.owned] += self._edges.evaluate(operator, line)[1][self.line.place]
        return u, force

    def _rest(self, t: float, body: Body) -> Array:
        """Where the vertices of the flanks stand without corrector, shape ``(m, 3)`` [Å]."""
        return self.line.X + body.predictor.displacement(self.line.X, t)

    def _layers_follow(self, u: Array, operator: FlankOperator, t: float, body: Body) -> Array:
        """What an operator moves the nodes by, where it makes of the nodes without it what the atoms have."""
        model = replace(self.blank, operators={self.degree: operator})
        lift = FlankLift.of(model, self.degree, self.line, self.nodes, body.taper)
        moved = np.zeros_like(u)
        for _ in range(FOLLOWED):
            moved[lift.atoms] = lift.at(self._rest(t, body) + self.line.gather(u - moved))
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
        u, gradient = self.balance(y, atoms, t, body)
        lift = FlankLift.of(self.blank, self.degree, self.line, self.layers, body.taper)
        assert np.array_equal(lift.atoms, np.arange(len(self.layers)))
        places = self._rest(t, body) + self.line.gather(u)
        return CrackSpecimen(self, lift, places, gradient[self.rows])


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
