# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Edge lists as torch tensors: who sees whom, through which periodic image.

An edge carries its periodic shift, so that an atom occurs once however thin the cell is. Lists are
made in :mod:`msolve.atomistic`; here they are only held, measured and cut into chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

CHUNK = {"cpu": 40_000, "cuda": 4_000_000}
"""Edges handled at once: few enough on a CPU to stay in its cache."""


@dataclass(frozen=True)
class Edges:
    """Directed edges of the owned sites, sorted by centre.

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
        """Copy an edge list to a device, sorted by centre."""
        order = np.argsort(pair[0], kind="stable")
        return cls(
            torch.as_tensor(np.ascontiguousarray(pair[:, order]), device=device),
            torch.as_tensor(np.ascontiguousarray(shift[order]), device=device),
            torch.as_tensor(np.asarray(numbers, dtype=np.int64), device=device),
            int(n_owned),
        )

    @property
    def n_local(self) -> int:
        """Number of local atoms, copies included."""
        return len(self.numbers)

    def vectors(self, positions: torch.Tensor) -> torch.Tensor:
        """Edge vectors y_j - y_i + shift, shape ``(e, 3)`` [Å], from positions ``(n_local, 3)``."""
        return positions[self.pair[1]] - positions[self.pair[0]] + self.shift

    def shorter_than(self, cutoff: float, positions: torch.Tensor) -> Edges:
        """Drop the edges that are longer than ``cutoff`` [Å] at these positions."""
        keep = (self.vectors(positions).square().sum(1) < cutoff**2).nonzero()[:, 0]
        return Edges(self.pair[:, keep], self.shift[keep], self.numbers, self.n_owned)

    @cached_property
    def spans(self) -> list[tuple[slice, slice]]:
        """Chunks (edges, centres) that hold all edges of their centres; all centres are covered."""
        size = CHUNK[self.pair.device.type]
        ends = torch.bincount(self.pair[0], minlength=self.n_owned).cumsum(0).cpu().numpy()
        spans, edge, centre = [], 0, 0
        while centre < self.n_owned:
            stop = max(int(np.searchsorted(ends, edge + size, side="right")), centre + 1)
            spans.append((slice(edge, int(ends[stop - 1])), slice(centre, stop)))
            edge, centre = int(ends[stop - 1]), stop
        return spans
