# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A network's sites in batches: some sites and their surroundings at a time, which bounds the memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch

BATCH = {"cpu": 8192, "cuda": 32_768}
"""Sites computed at once: a third of a megabyte each with the smallest models."""


@dataclass(frozen=True)
class Batch:
    """Some sites, and what one layer needs to know of their surroundings.

    Attributes:
        n_sites: Number of sites.
        edges: Their edges in the list of all.
        rows: Atoms that take part, the sites first, as indices of local atoms.
        pair: Their edges as indices of ``rows``, shape ``(2, e)``.
    """

    n_sites: int
    edges: slice
    rows: torch.Tensor
    pair: torch.Tensor

    @classmethod
    def whole(cls, pair: torch.Tensor, n_sites: int, n_local: int) -> Batch:
        """All sites at once."""
        return cls(n_sites, slice(None), torch.arange(n_local, device=pair.device), pair)

    @classmethod
    def cut(cls, pair: torch.Tensor, n_sites: int, size: int) -> list[Batch]:
        """Runs of at most ``size`` sites; edges are ascending by site."""
        starts = torch.arange(0, n_sites, size, device=pair.device)
        ends = [*torch.searchsorted(pair[0].contiguous(), starts).tolist(), pair.shape[1]]
        found = []
        for k, first in enumerate(starts.tolist()):
            last = min(first + size, n_sites)
            edges = slice(ends[k], ends[k + 1])
            sites = torch.arange(first, last, device=pair.device)
            centre, neighbour = pair[0, edges], pair[1, edges]
            others = torch.unique(neighbour)
            others = others[(others < first) | (others >= last)]
            inside = (neighbour >= first) & (neighbour < last)
            place = torch.searchsorted(others, neighbour) + (last - first)
            place = torch.where(inside, neighbour - first, place)
            rows = torch.cat([sites, others])
            found.append(cls(last - first, edges, rows, torch.stack([centre - first, place])))
        return found


def with_rows(rows: torch.Tensor, n: int) -> torch.Tensor:
    """Rows followed by zeros, ``n`` of both."""
    missing = n - len(rows)
    if missing == 0:
        return rows
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])
