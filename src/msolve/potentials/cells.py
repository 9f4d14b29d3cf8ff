# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Deformed primitive cells by the batch: their edges, and second derivatives by F and by inner shifts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from msolve.potentials.clock import Clock
from msolve.potentials.engine import edge_products
from msolve.potentials.protocol import SiteModel

Array = NDArray[np.float64]


class Response:
    """Inner shifts of the sublattices at some F, and their derivative.

    Atom b of a cell stands at F times its place in the crystal at rest, plus the shift p_b(F); p_0 = 0.

    Attributes:
        shifts: p_b, shape ``(q, n_basis, 3)`` [Å].
    """

    def __init__(self, shifts: Array, parts: list[tuple[slice, SecondOrder]]) -> None:
        self.shifts = shifts
        self._parts = parts

    def along(self, change: Array) -> Array:
        """Change of the shifts with F, ``(q, 3, 3)`` [-] to ``(q, n_basis, 3)`` [Å]."""
        out = np.zeros_like(self.shifts)
        for part, at in self._parts:
            if at.shifting:
                moved = -np.linalg.solve(at.stiffness(), at.pull_along(change[part])[..., None])
                out[part, 1:] = moved.reshape(len(moved), -1, 3)
        return out

    def back(self, gradient: Array) -> Array:
        """The transpose: from a gradient by the shifts ``(q, n_basis, 3)`` to one by F ``(q, 3, 3)``."""
        out = np.zeros((len(gradient), 3, 3))
        for part, at in self._parts:
            if at.shifting:
                given = gradient[part, 1:].reshape(-1, at.stiffness().shape[1], 1)
                pushed: Array = np.asarray(np.linalg.solve(at.stiffness(), given)[..., 0])
                out[part] = -at.stress_along(pushed)
        return out


class Shell(NamedTuple):
    """Reference edges of one cell: vectors, basis atoms at their ends, and +1 and -1 at these.

    Each stands for ``copies`` edges, itself or itself and its opposite.
    """

    vectors: torch.Tensor
    centre: torch.Tensor
    neighbour: torch.Tensor
    turns: torch.Tensor
    copies: int


class Cells(NamedTuple):
    """Edges of a batch of cells: present vectors, which of all (cell, shell edge) they are, numbers of the atoms."""

    vec: torch.Tensor
    kept: torch.Tensor
    shell: Shell
    numbers: torch.Tensor
    n: int

    def sites(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int, int]:
        """As sites that see nothing but the atoms of their own cell and the images of these."""
        k, b = len(self.shell.vectors), self.shell.turns.shape[1]
        cell = torch.div(self.kept, k, rounding_mode="floor")
        if b == 1:
            pair = cell.expand(2, -1)
        else:
            edge = self.kept - cell * k
            pair = b * cell + torch.stack([self.shell.centre[edge], self.shell.neighbour[edge]])
        return self.vec, pair, self.numbers, len(self.numbers), self.shell.copies

    def by_F(self, by_edge: torch.Tensor) -> Array:
        """Gradient by F from that by the edge vectors, shape ``(n, 3, 3)``."""
        return self._gathered(by_edge, self.shell.vectors).reshape(self.n, 3, 3)

    def by_shift(self, by_edge: torch.Tensor) -> Array:
        """Gradient by all shifts but the first, shape ``(n, 3 (b - 1))``."""
        each = self._gathered(by_edge, self.shell.turns[:, 1:])
        return np.swapaxes(each, 1, 2).reshape(self.n, -1)

    def _gathered(self, by_edge: torch.Tensor, columns: torch.Tensor) -> Array:
        k = len(self.shell.vectors)
        every = by_edge.new_zeros(3, self.n * k).index_copy_(1, self.kept, by_edge.T)
        sums = every.reshape(3 * self.n, k) @ columns
        found: Array = sums.reshape(3, self.n, -1).transpose(0, 1).cpu().numpy()
        return found


class SecondOrder:
    """Second derivatives of the energies of a batch of cells by F and by the shifts.

    Args:
        model: The potential.
        clock: Counts the time that it takes.
        shifting: Whether there are shifts at all.
        volume: Reference volume of a cell [Å³].
        at: The cells.
        shifts: Their shifts, shape ``(n, n_basis, 3)`` [Å].
    """

    def __init__(
        self,
        model: SiteModel,
        clock: Clock,
        shifting: bool,
        volume: float,
        at: Cells,
        shifts: Array,
    ) -> None:
        self.shifts = shifts
        self.shifting = shifting
        self._clock, self._volume, self._at = clock, volume, at
        self._n_basis = shifts.shape[1]
        self._k = at.kept % len(at.shell.vectors)
        self._stiffness: Array | None = None
        with clock:
            self._product = edge_products(model, *at.sites())

    def by_gradient(self) -> tuple[Array, Array]:
        """∂P/∂F at fixed shifts ``(n, 3, 3, 3, 3)`` [eV/Å³] and ∂²E/∂s∂F ``(n, 3 (b - 1), 3, 3)`` [eV/Å]."""
        n, at = self._at.n, self._at
        A = np.empty((n, 3, 3, 3, 3))
        mixed = np.empty((n, 3 * (self._n_basis - 1), 3, 3))
        reference = at.shell.vectors.T[:, self._k]
        for i in range(3):
            for j in range(3):
                change = torch.zeros_like(reference)
                change[i] = reference[j]
                by_edge = self._along(change)
                A[:, :, :, i, j] = at.by_F(by_edge) / self._volume
                if self.shifting:
                    mixed[:, :, i, j] = at.by_shift(by_edge)
        return A, mixed

    def stiffness(self) -> Array:
        """∂²E/∂s∂s, shape ``(n, 3 (b - 1), 3 (b - 1))`` [eV/Å²]; kept."""
        if self._stiffness is None:
            at, size = self._at, 3 * (self._n_basis - 1)
            H = np.empty((at.n, size, size))
            for b in range(1, self._n_basis):
                turns = at.shell.turns[self._k, b]
                for i in range(3):
                    change = turns.new_zeros(3, len(turns))
                    change[i] = turns
                    H[:, :, 3 * (b - 1) + i] = at.by_shift(self._along(change))
            self._stiffness = 0.5 * (H + np.swapaxes(H, 1, 2))
        return self._stiffness

    def pull_along(self, change: Array) -> Array:
        """Change of the gradient by the shifts with F, ``(n, 3, 3)`` to ``(n, 3 (b - 1))``."""
        return self._at.by_shift(self._along(self._edges_of(change)))

    def stress_along(self, shift: Array) -> Array:
        """Change of the gradient by F with the shifts, ``(n, 3 (b - 1))`` to ``(n, 3, 3)`` [eV]."""
        at, n = self._at, self._at.n
        s = torch.as_tensor(shift.reshape(n, -1, 3), device=at.vec.device).permute(2, 0, 1)
        every = s.reshape(3 * n, -1) @ at.shell.turns[:, 1:].T
        change = torch.gather(every.reshape(3, -1), 1, at.kept.expand(3, -1))
        return at.by_F(self._along(change))

    def _edges_of(self, change: Array) -> torch.Tensor:
        at, k = self._at, len(self._at.shell.vectors)
        moved = (
            torch.as_tensor(np.ascontiguousarray(change), device=at.vec.device).reshape(-1, 3)
            @ at.shell.vectors.T
        )
        every = moved.reshape(at.n, 3, k).transpose(0, 1).reshape(3, at.n * k)
        return torch.gather(every, 1, at.kept.expand(3, -1))

    def _along(self, change: torch.Tensor) -> torch.Tensor:
        with self._clock:
            return self._product(change.T)


def downhill(stiffness: Array, pull: Array) -> Array:
    """Newton step that goes downhill also where the stiffness has negative directions."""
    value, mode = np.linalg.eigh(stiffness)
    least = 0.05 * np.abs(value).max(axis=1, keepdims=True)
    along = np.einsum("nij,ni->nj", mode, pull) / np.maximum(np.abs(value), least)
    return -np.einsum("nij,nj->ni", mode, along)
