# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Functions whose intermediate results are computed again when they are differentiated, not kept.

So a model can go through its atoms in batches, in memory that does not grow with their number. torch's own
checkpoints keep the graph of the first derivative for the second; here that is computed again too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Function = Callable[..., torch.Tensor]


def recomputed(function: Function, *inputs: torch.Tensor) -> torch.Tensor:
    """Apply a function without keeping what it computes on the way.

    Args:
        function: Of tensors alone, to one tensor, the same at each call; whatever else it uses must not
            need derivatives, and it must make no collective call.
        inputs: Its arguments; twice differentiable in those of floating point.

    Returns:
        ``function(*inputs)``. A first derivative costs one more evaluation, a second one two.
    """
    if not torch.is_grad_enabled():
        return function(*inputs)
    return _Value.apply(function, *inputs)


def _leaves(inputs: tuple[torch.Tensor, ...], wanted: tuple[bool, ...]) -> list[torch.Tensor]:
    return [x.detach().requires_grad_(w) for x, w in zip(inputs, wanted, strict=True)]


class _Value(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Function, *inputs: torch.Tensor) -> torch.Tensor:
        ctx.function = function
        ctx.save_for_backward(*inputs)
        with torch.no_grad():
            return function(*inputs)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        wanted = tuple(ctx.needs_input_grad[1:])
        found = iter(_Slope.apply(ctx.function, wanted, slope, *ctx.saved_tensors))
        return None, *(next(found) if w else None for w in wanted)


class _Slope(torch.autograd.Function):
    """Product of the Jacobian's transpose with ``slope``, by the inputs that are wanted."""

    @staticmethod
    def forward(
        ctx: Any,
        function: Function,
        wanted: tuple[bool, ...],
        slope: torch.Tensor,
        *inputs: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        ctx.function, ctx.wanted = function, wanted
        ctx.save_for_backward(slope, *inputs)
        with torch.enable_grad():
            leaves = _leaves(inputs, wanted)
            value = function(*leaves)
            return torch.autograd.grad(
                value, [x for x, w in zip(leaves, wanted, strict=True) if w], slope.detach()
            )

    @staticmethod
    def backward(ctx: Any, *change: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        slope, *inputs = ctx.saved_tensors
        with torch.enable_grad():
            leaves = _leaves(tuple(inputs), ctx.wanted)
            by = slope.detach().requires_grad_()
            active = [x for x, w in zip(leaves, ctx.wanted, strict=True) if w]
            first = torch.autograd.grad(ctx.function(*leaves), active, by, create_graph=True)
            second = torch.autograd.grad(
                first, [by, *active], [c.detach() for c in change], materialize_grads=True
            )
        rest = iter(second[1:])
        return None, None, second[0], *(next(rest) if w else None for w in ctx.wanted)
