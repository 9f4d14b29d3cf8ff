# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Feature exchange between ranks as a part of the autograd graph.

Fetching copies and adding copies up are each other's transpose, so each is the other's backward
pass and derivatives of any order are exact across ranks. Every rank builds the same graph, so
every rank enters every exchange, also one without atoms. It is not a neighbour list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from msolve.parallel import Halo


class NoExchange:
    """All local atoms are owned: serial clusters and Cauchy-Born points."""

    def forward(self, owned: torch.Tensor) -> torch.Tensor:
        """Return the features as they are."""
        return owned


@dataclass(frozen=True)
class RankExchange:
    """Feature exchange over an MPI halo.

    Attributes:
        halo: Rows that are copied between ranks; the copies follow the owned rows.
        n_unused: Local atoms after the copies whose features nobody needs; their rows are zero.
    """

    halo: Halo
    n_unused: int

    def forward(self, owned: torch.Tensor) -> torch.Tensor:
        """Extend owned rows ``(n_owned, k)`` by copies and unused rows, ``(n_local, k)``.

        Note:
            Collective, and so is every backward pass through it.
        """
        return _Fetch.apply(owned, self)


class _Fetch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, owned: torch.Tensor, exchange: RankExchange) -> torch.Tensor:
        ctx.exchange = exchange
        host = owned.detach().cpu().numpy()  # waits for the device to finish the buffer
        ghosts = torch.as_tensor(exchange.halo.forward(host), device=owned.device)
        unused = owned.new_zeros((exchange.n_unused, *owned.shape[1:]))
        return torch.cat([owned.detach(), ghosts, unused])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _AddUp.apply(gradient, ctx.exchange), None


class _AddUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: torch.Tensor, exchange: RankExchange) -> torch.Tensor:
        ctx.exchange = exchange
        halo = exchange.halo
        ghosts = local.detach()[halo.n_owned : halo.n_owned + halo.n_ghost].cpu().numpy()
        sums = torch.as_tensor(halo.reverse(ghosts), device=local.device)
        return local.detach()[: halo.n_owned] + sums

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _Fetch.apply(gradient, ctx.exchange), None
