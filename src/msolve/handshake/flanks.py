# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The deformed flanks of a crack, and the relaxed layers that follow them as a learned operator says.

A flank is a line of mesh nodes. Its tangent and its second derivative come from cubics fitted to few neighbouring
nodes, so that they are linear in the nodes' places; what the operator makes of their invariants is turned with the
tangent. Atoms of the outermost layers stand that much further than the slab handshake puts them, those that are
unknowns too: mesh nodes never see it. Forces go back by the transpose, by automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
import torch

from msolve.continuum.space import DisplacementSpace
from msolve.errors import CaseError
from msolve.handshake.operator import FlankModel, FlankOperator
from msolve.handshake.slab import fade

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

WINDOW = 7
"""Nodes that a derivative is fitted to."""

ON_LINE = 1e-6
"""Distance of a node from a flank [Å]."""


@dataclass(frozen=True)
class FlankLine:
    """The mesh vertices on both flanks of a crack along x1 < 0, x2 = 0, known to every rank.

    Nodes inside edges are left out: derivatives over their short distances would make the layers follow noise.

    Attributes:
        comm: Communicator of the mesh.
        X: Reference positions of all of them, upper flank first, x1 ascending, shape ``(m, 3)`` [Å].
        sides: Slices of the two flanks.
        owned: Local nodes of this rank among them, shape ``(k,)``.
        place: Where these are in ``X``, shape ``(k,)``.
    """

    comm: MPI.Comm
    X: Array
    sides: tuple[slice, slice]
    owned: IntArray
    place: IntArray

    @classmethod
    def of(cls, space: DisplacementSpace, half_gap: float) -> FlankLine:
        """The flanks of a mesh. Collective.

        Raises:
            CaseError: Too few nodes lie on them; on every rank.
        """
        nodes = space.nodes()[: space.n_owned_nodes]
        behind = nodes[:, 0] < -ON_LINE
        inside = space.edge_nodes()[:, 0]
        behind[inside[inside < len(nodes)]] = False
        owned, points = [], []
        for side in (1.0, -1.0):
            mine = np.flatnonzero(behind & (np.abs(nodes[:, 1] - side * half_gap) < ON_LINE))
            owned.append(mine)
            points.append(np.concatenate(space.comm.allgather(nodes[mine])))
        if min(len(X) for X in points) < WINDOW:
            raise CaseError(
                [
                    f"coupling.handshake.kind = learned: the mesh has {min(len(X) for X in points)} nodes on a flank "
                    f"of the crack, {WINDOW} are needed; its slit must lie {half_gap:.4f} angstrom to both sides of "
                    "x2 = 0, as in meshes that the program makes"
                ]
            )
        points = [X[np.argsort(X[:, 0])] for X in points]
        n = len(points[0])
        place = [
            np.searchsorted(X[:, 0], nodes[mine, 0] - ON_LINE)
            for X, mine in zip(points, owned, strict=True)
        ]
        return cls(
            comm=space.comm,
            X=np.concatenate(points),
            sides=(slice(0, n), slice(n, n + len(points[1]))),
            owned=np.concatenate(owned),
            place=np.concatenate([place[0], place[1] + n]),
        )

    def gather(self, nodes: Array) -> Array:
        """A field of the local nodes on the flanks, the same on every rank, shape ``(m, 3)``. Collective."""
        out = np.zeros((len(self.X), 3))
        out[self.place] = nodes[self.owned]
        self.comm.Allreduce(MPI.IN_PLACE, out)
        return out


@dataclass(frozen=True)
class FlankLift:
    """What the learned handshake adds to the places of some atoms, as a function of the flanks' deformed nodes.

    Attributes:
        operator: The map from invariants to displacements.
        atoms: Which of the atoms given stand in a layer behind the tip, shape ``(k,)``.
        nodes: Nodes that their derivatives are made of, shape ``(k, 2 WINDOW)``.
        first: Weights of the first derivative along the flank, same shape [1/Å].
        second: Weights of the second derivative, same shape [1/Å²].
        fade: Factor that lets the relaxation fade in behind the tip, shape ``(k,)``.
        side: 0 for the upper flank, 1 for the lower, shape ``(k,)``.
        layer: Layer below the surface, shape ``(k,)``.
    """

    operator: FlankOperator
    atoms: IntArray
    nodes: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    fade: torch.Tensor
    side: torch.Tensor
    layer: torch.Tensor

    @classmethod
    def of(
        cls, model: FlankModel, degree: int, line: FlankLine, X: Array, taper: float
    ) -> FlankLift:
        """For atoms at reference positions ``X (n, 3)`` [Å]; ``taper`` [Å] is the length over which it fades in."""
        side, layer = model.layer_of(X)
        factor = fade(X, 0.0, taper)
        atoms = np.flatnonzero((layer >= 0) & (factor > 0))
        nodes, first, second = _derivatives(line, X[atoms], side[atoms])
        return cls(
            operator=model.operators[degree],
            atoms=atoms,
            nodes=torch.from_numpy(nodes),
            first=torch.from_numpy(first),
            second=torch.from_numpy(second),
            fade=torch.from_numpy(factor[atoms]),
            side=torch.from_numpy(side[atoms]),
            layer=torch.from_numpy(layer[atoms]),
        )

    def at(self, line: Array) -> Array:
        """Displacement of the atoms where the flanks' nodes stand at ``line (m, 3)``; shape ``(k, 3)`` [Å]."""
        with torch.no_grad():
            return np.asarray(self.moved(self.slopes(torch.from_numpy(line))).numpy())

    def slopes(self, line: torch.Tensor) -> torch.Tensor:
        """First, then second derivative of the flank beside each atom: linear in ``line (m, 3)``; ``(k, 6)``."""
        near = line[self.nodes]
        t = (self.first[:, :, None] * near).sum(dim=1)
        return torch.cat([t, (self.second[:, :, None] * near).sum(dim=1)], dim=1)

    def spread(self, by_slopes: Array, m: int) -> Array:
        """The transpose of :meth:`slopes`: gradients by these ``(k, 6)`` to those by ``m`` nodes, ``(m, 3)``."""
        pull = self.first.numpy()[:, :, None] * by_slopes[:, None, :3]
        pull += self.second.numpy()[:, :, None] * by_slopes[:, None, 3:]
        nodes = self.nodes.numpy().ravel()
        return np.column_stack([np.bincount(nodes, pull[..., i].ravel(), m) for i in range(3)])

    def invariants(self, line: Array) -> Array:
        """Invariants of the flank beside each atom, shape ``(k, 5)``."""
        return np.asarray(_state(self.slopes(torch.from_numpy(line)))[0].numpy())

    def moved(self, slopes: torch.Tensor) -> torch.Tensor:
        """As :meth:`at`, of the flank's derivatives; differentiable, by the weights of the operator too."""
        invariants, c, s = _state(slopes)
        every = self.operator(invariants)
        w = self.fade[:, None] * every[torch.arange(len(self.fade)), self.side, self.layer]
        turned = (c * w[:, 0] - s * w[:, 1], s * w[:, 0] + c * w[:, 1], w[:, 2])
        return torch.stack(turned, dim=1)


def _state(slopes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Invariants, and cosine and sine of the angle by which the flank has turned."""
    t, bent = slopes[:, :3], slopes[:, 3:]
    length = torch.sqrt(t[:, 0] ** 2 + t[:, 1] ** 2)
    c, s = t[:, 0] / length, t[:, 1] / length
    own = (c * bent[:, 0] + s * bent[:, 1], c * bent[:, 1] - s * bent[:, 0], bent[:, 2])
    return torch.stack([((t**2).sum(dim=1) - 1) / 2, t[:, 2] / 2, *own], dim=1), c, s


@dataclass(frozen=True)
class Flanks:
    """The learned handshake of a coupled problem.

    Attributes:
        model: The trained operators.
        degree: Of the finite elements.
        line: Nodes on the flanks.
        taper: Length over which the relaxation fades in behind the tip [Å].
    """

    model: FlankModel
    degree: int
    line: FlankLine
    taper: float

    @property
    def operator(self) -> FlankOperator:
        """For elements of this degree."""
        return self.model.operators[self.degree]

    def lift(self, X: Array) -> FlankLift:
        """For atoms at ``X (n, 3)`` [Å]. Rank-local."""
        return FlankLift.of(self.model, self.degree, self.line, X, self.taper)


class FlankState:
    """The learned lift of one rank's atoms in one state.

    An atom's displacement depends on six numbers, the derivatives of its flank: what is differentiated is small, and
    once a state.

    Args:
        lift: What moves the atoms.
        flanks: Nodes on the flanks.
        line: Where these stand, shape ``(m, 3)`` [Å].
    """

    def __init__(self, lift: FlankLift, flanks: FlankLine, line: Array) -> None:
        self.lift, self.line, self._flanks = lift, line, flanks
        self._slopes = lift.slopes(torch.from_numpy(line)).requires_grad_(True)
        self._moved = lift.moved(self._slopes)

    @property
    def displacement(self) -> Array:
        """Of the atoms of the lift, shape ``(k, 3)`` [Å]."""
        return np.asarray(self._moved.detach().numpy())

    def along(self, nodes: Array, atoms: Array) -> None:
        """Add to the atoms' changes ``(n, 3)`` what follows from those of the local nodes. Collective."""
        change = self.lift.slopes(torch.from_numpy(self._flanks.gather(nodes))).numpy()
        atoms[self.lift.atoms] += np.einsum("kij,kj->ki", self._jacobian, change)

    def back(self, on_atoms: Array, on_nodes: Array) -> None:
        """Add the transpose of :meth:`along` to gradients by the local nodes, those that this rank owns. Collective."""
        self._add(self._pulled(on_atoms).numpy(), on_nodes)

    def curvature(self, on_atoms: Array) -> Callable[[Array, Array], None]:
        """The map (change of nodes, gradients by nodes to add to): second derivative of the lift. Collective."""
        pulled = self._pulled(on_atoms, again=True)
        second = _by_columns(pulled, self._slopes)

        def add(nodes: Array, on_nodes: Array) -> None:
            change = self.lift.slopes(torch.from_numpy(self._flanks.gather(nodes))).numpy()
            self._add(np.einsum("kij,kj->ki", second, change), on_nodes)

        return add

    @cached_property
    def _jacobian(self) -> Array:
        """Of the displacements by the derivatives of the flank, shape ``(k, 3, 6)``."""
        return _by_columns(self._moved, self._slopes)

    def _pulled(self, on_atoms: Array, again: bool = False) -> torch.Tensor:
        """Gradients by the atoms as those by the derivatives of the flank, shape ``(k, 6)``."""
        # Of a number: gradients weighted by a tensor make torch import a computer algebra system first.
        work = (self._moved * torch.from_numpy(on_atoms[self.lift.atoms])).sum()
        return torch.autograd.grad(work, self._slopes, retain_graph=True, create_graph=again)[0]

    def _add(self, by_slopes: Array, on_nodes: Array) -> None:
        on_line = self.lift.spread(by_slopes, len(self._flanks.X))
        self._flanks.comm.Allreduce(MPI.IN_PLACE, on_line)
        on_nodes[self._flanks.owned] += on_line[self._flanks.place]


def _by_columns(out: torch.Tensor, by: torch.Tensor) -> Array:
    """Derivatives of rows ``(k, a)`` by rows ``(k, b)`` that nothing but themselves depends on, shape ``(k, a, b)``."""
    parts = [
        torch.autograd.grad(out[:, i].sum(), by, retain_graph=True)[0] for i in range(out.shape[1])
    ]
    return np.stack([part.numpy() for part in parts], axis=1)


def _derivatives(line: FlankLine, X: Array, side: IntArray) -> tuple[IntArray, Array, Array]:
    """Nodes and weights of first and second derivative along the flanks at sites ``X (k, 3)``."""
    nodes = np.zeros((len(X), 2 * WINDOW), dtype=np.int64)
    first, second = np.zeros(nodes.shape), np.zeros(nodes.shape)
    for which, part in enumerate(line.sides):
        own = np.flatnonzero(side == which)
        x = line.X[part, 0]
        window, one, two = _fits(x)
        i = np.clip(np.searchsorted(x, X[own, 0]) - 1, 0, len(x) - 2)
        share = np.clip((X[own, 0] - x[i]) / (x[i + 1] - x[i]), 0, 1)[:, None]
        nodes[own] = np.hstack([window[i], window[i + 1]]) + part.start
        first[own] = np.hstack([(1 - share) * one[i], share * one[i + 1]])
        second[own] = np.hstack([(1 - share) * two[i], share * two[i + 1]])
    return nodes, first, second


def _fits(x: Array) -> tuple[IntArray, Array, Array]:
    """Weights, node by node, of the derivatives of cubics fitted to ``WINDOW`` neighbours on a line ``x (m,)``."""
    start = np.clip(np.arange(len(x)) - WINDOW // 2, 0, len(x) - WINDOW)
    window = start[:, None] + np.arange(WINDOW)
    d = x[window] - x[:, None]
    size = 1.001 * np.abs(d).max(axis=1, keepdims=True)
    weight = (1 - np.abs(d / size) ** 3) ** 1.5
    powers = (d / size)[..., None] ** np.arange(4)
    fit = np.linalg.pinv(weight[..., None] * powers) * weight[:, None, :]
    return window, fit[:, 1] / size, 2 * fit[:, 2] / size**2
