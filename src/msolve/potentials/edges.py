# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Edge lists as torch tensors: who sees whom, through which periodic image.

An edge carries its periodic shift, so that an atom occurs once however thin the cell is. Lists are
made in :mod:`msolve.atomistic`; here they are only held, measured, shortened and halved.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from msolve.potentials.shortage import enough_memory

CHUNK = {"cpu": 32_768, "cuda": 4_000_000}
"""Edges handled at once: few enough on a CPU to stay in its cache."""

SHORT_SKIN = 0.1
"""Extra length of the edges that :class:`ShortList` keeps [Å]."""


@dataclass(frozen=True)
class HalfEdges:
    """Edges of which each is listed in one direction if both directions were there.

    Attributes:
        centre: Local index of one end, shape ``(e,)``; an owned atom.
        neighbour: Local index of the other end, shape ``(e,)``.
        shift: Lattice vector added to the neighbour, axis first, shape ``(3, e)`` [Å].
        n_mutual: The first so many edges also stand for their reverse; the rest do not.
    """

    centre: torch.Tensor
    neighbour: torch.Tensor
    shift: torch.Tensor
    n_mutual: int

    def chunks(self) -> list[tuple[slice, bool]]:
        """Runs of edges, and whether they are mutual."""
        size = CHUNK[self.centre.device.type]
        ends = ((0, self.n_mutual, True), (self.n_mutual, len(self.centre), False))
        return [
            (slice(a, min(a + size, stop)), mutual)
            for start, stop, mutual in ends
            for a in range(start, stop, size)
        ]


@dataclass(frozen=True)
class Edges:
    """Directed edges of the owned sites, ascending by centre.

    Either all edges of a site are here, or none.

    Attributes:
        pair: Local indices (centre, neighbour), shape ``(2, e)``, int64; centres are owned atoms.
        shift: Lattice vector added to the neighbour's position, shape ``(e, 3)`` [Å].
        numbers: Atomic numbers of the local atoms, owned ones first, shape ``(n_local,)``.
        n_owned: Number of owned atoms.
    """

    pair: torch.Tensor
    shift: torch.Tensor
    numbers: torch.Tensor
    n_owned: int

    @classmethod
    def from_numpy(
        cls,
        pair: NDArray[np.int64],
        shift: NDArray[np.float64],
        numbers: NDArray[np.int64],
        n_owned: int,
        device: str = "cpu",
    ) -> Edges:
        """Copy an edge list, ascending by centre, to a device.

        Raises:
            MemoryError: It does not fit there.
        """
        with enough_memory(device, f"a list of {pair.shape[1]} edges"):
            return cls(
                torch.as_tensor(np.ascontiguousarray(pair), device=device),
                torch.as_tensor(np.ascontiguousarray(shift), device=device),
                torch.as_tensor(np.asarray(numbers, dtype=np.int64), device=device),
                int(n_owned),
            )

    @property
    def n_local(self) -> int:
        """Number of local atoms, copies included."""
        return len(self.numbers)

    def vectors(self, positions: torch.Tensor) -> torch.Tensor:
        """Edge vectors y_j - y_i + shift, shape ``(e, 3)`` [Å], from positions ``(n_local, 3)``."""
        centre, neighbour = self.pair
        return positions.index_select(0, neighbour) - positions.index_select(0, centre) + self.shift

    def shorter_than(self, length: float, positions: torch.Tensor) -> Edges:
        """Drop the edges that are not shorter than ``length`` [Å] at these positions."""
        keep = (self.vectors(positions).square().sum(1) < length**2).nonzero()[:, 0]
        pair = torch.gather(self.pair, 1, keep.expand(2, -1))
        return Edges(pair, self.shift.index_select(0, keep), self.numbers, self.n_owned)

    def pieces(self, size: int) -> list[tuple[slice, Edges]]:
        """Runs of owned atoms with their edges, about ``size`` edges each; all are covered."""
        ends = torch.bincount(self.pair[0], minlength=self.n_owned).cumsum(0).cpu().numpy()
        found, edge, centre = [], 0, 0
        while centre < self.n_owned:
            stop = max(int(np.searchsorted(ends, edge + size, side="right")), centre + 1)
            part = slice(edge, int(ends[stop - 1]))
            piece = Edges(self.pair[:, part], self.shift[part], self.numbers, self.n_owned)
            found.append((slice(centre, stop), piece))
            edge, centre = part.stop, stop
        return found

    @cached_property
    def halved(self) -> HalfEdges:
        """The same edges with one of each two opposite ones left out."""
        i, j = self.pair
        listed = torch.zeros(self.n_local, dtype=torch.bool, device=i.device)
        listed[i] = True
        # Edges to an atom's own images come in both directions already and stay as they are.
        mutual = listed.index_select(0, j) & (i != j)
        mutual_kept = (mutual & (i < j)).nonzero()[:, 0]
        kept = torch.cat([mutual_kept, (~mutual).nonzero()[:, 0]])
        shift = torch.stack([self.shift[:, axis].index_select(0, kept) for axis in range(3)])
        return HalfEdges(i.index_select(0, kept), j.index_select(0, kept), shift, len(mutual_kept))


class ShortList:
    """Remembers which edges of a list with a skin are within reach, until an atom moves.

    Args:
        edges: The list.
        cutoff: Length beyond which an edge has no effect [Å].
    """

    def __init__(self, edges: Edges, cutoff: float) -> None:
        self._edges = edges
        self._cutoff = cutoff
        self._kept: tuple[torch.Tensor, Edges] | None = None

    def at(self, positions: torch.Tensor) -> Edges:
        """Edges, among them all that are shorter than the cutoff at ``positions`` ``(n, 3)``."""
        if self._kept is not None:
            moved = (positions - self._kept[0]).square().sum(1)
            if len(moved) == 0 or bool(moved.max() <= (0.5 * SHORT_SKIN) ** 2):
                return self._kept[1]
        short = self._edges.shorter_than(self._cutoff + SHORT_SKIN, positions)
        self._kept = (positions.clone(), short)
        return short
