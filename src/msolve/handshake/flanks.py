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
            return np.asarray(self.moved(torch.from_numpy(line)).numpy())

    def along(self, line: Array, change: Array) -> Array:
        """Its change as the nodes move by ``change (m, 3)``, shape ``(k, 3)``."""
        _, out = torch.func.jvp(self.moved, (torch.from_numpy(line),), (torch.from_numpy(change),))
        return np.asarray(out.numpy())

    def back(self, line: Array, on_atoms: Array) -> Array:
        """The transpose of :meth:`along`: gradients by the atoms ``(k, 3)`` to those by the nodes ``(m, 3)``."""
        return np.asarray(self._pulled(torch.from_numpy(line), torch.from_numpy(on_atoms)).numpy())

    def curvature(self, line: Array, on_atoms: Array) -> Callable[[Array], Array]:
        """The map from a change of the nodes ``(m, 3)`` to that of :meth:`back` at a fixed gradient by the atoms."""
        y, force = torch.from_numpy(line), torch.from_numpy(on_atoms)

        def product(change: Array) -> Array:
            pull = lambda at: self._pulled(at, force)  # noqa: E731
            return np.asarray(torch.func.jvp(pull, (y,), (torch.from_numpy(change),))[1].numpy())

        return product

    def invariants(self, line: Array) -> Array:
        """Invariants of the flank beside each atom, shape ``(k, 5)``."""
        return np.asarray(self._state(torch.from_numpy(line))[0].numpy())

    def _pulled(self, line: torch.Tensor, force: torch.Tensor) -> torch.Tensor:
        pull: Callable[[torch.Tensor], tuple[torch.Tensor]] = torch.func.vjp(self.moved, line)[1]
        return pull(force)[0]

    def _state(self, line: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Invariants, and cosine and sine of the angle by which the flank has turned."""
        near = line[self.nodes]
        t = (self.first[:, :, None] * near).sum(dim=1)
        bent = (self.second[:, :, None] * near).sum(dim=1)
        length = torch.sqrt(t[:, 0] ** 2 + t[:, 1] ** 2)
        c, s = t[:, 0] / length, t[:, 1] / length
        own = (c * bent[:, 0] + s * bent[:, 1], c * bent[:, 1] - s * bent[:, 0], bent[:, 2])
        return torch.stack([((t**2).sum(dim=1) - 1) / 2, t[:, 2] / 2, *own], dim=1), c, s

    def moved(self, line: torch.Tensor) -> torch.Tensor:
        """As :meth:`at`, for differentiation, by the weights of the operator too."""
        invariants, c, s = self._state(line)
        every = self.operator(invariants)
        w = self.fade[:, None] * every[torch.arange(len(self.fade)), self.side, self.layer]
        turned = (c * w[:, 0] - s * w[:, 1], s * w[:, 0] + c * w[:, 1], w[:, 2])
        return torch.stack(turned, dim=1)


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

    def lift(self, X: Array) -> FlankLift:
        """For atoms at ``X (n, 3)`` [Å]. Rank-local."""
        return FlankLift.of(self.model, self.degree, self.line, X, self.taper)


@dataclass(frozen=True)
class FlankState:
    """The learned lift of one rank's atoms in one state."""

    lift: FlankLift
    flanks: FlankLine
    line: Array

    def along(self, nodes: Array, atoms: Array) -> None:
        """Add to the atoms' changes ``(n, 3)`` what follows from those of the local nodes. Collective."""
        atoms[self.lift.atoms] += self.lift.along(self.line, self.flanks.gather(nodes))

    def back(self, on_atoms: Array, on_nodes: Array) -> None:
        """Add the transpose of :meth:`along` to gradients by the local nodes, those that this rank owns. Collective."""
        self._add(self.lift.back(self.line, on_atoms[self.lift.atoms]), on_nodes)

    def curvature(self, on_atoms: Array) -> Callable[[Array, Array], None]:
        """The map (change of nodes, gradients by nodes to add to): second derivative of the lift. Collective."""
        product = self.lift.curvature(self.line, on_atoms[self.lift.atoms])

        def add(nodes: Array, on_nodes: Array) -> None:
            self._add(product(self.flanks.gather(nodes)), on_nodes)

        return add

    def _add(self, on_line: Array, on_nodes: Array) -> None:
        self.flanks.comm.Allreduce(MPI.IN_PLACE, on_line)
        on_nodes[self.flanks.owned] += on_line[self.flanks.place]


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
