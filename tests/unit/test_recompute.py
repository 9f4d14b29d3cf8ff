# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Functions that are computed again when they are differentiated."""

import torch

from msolve.potentials.recompute import recomputed

W = torch.linspace(-1.0, 1.0, 15, dtype=torch.float64).reshape(5, 3)


def some_function(x, rows, y):
    return (torch.tanh(x @ W.T) * y).sin().index_select(0, rows)


def test_both_derivatives_are_right():
    gen = torch.Generator().manual_seed(0)
    x, y = (
        torch.randn(4, k, dtype=torch.float64, generator=gen, requires_grad=True) for k in (3, 5)
    )
    rows = torch.tensor([0, 2, 2])

    def value(x, y):
        return recomputed(some_function, x, rows, y)

    assert torch.autograd.gradcheck(value, (x, y))
    assert torch.autograd.gradgradcheck(value, (x, y))


def test_inputs_that_need_no_derivative_get_none():
    x = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    y = torch.ones(4, 5, dtype=torch.float64)
    value = recomputed(some_function, x, torch.arange(4), y)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), x)
    assert second.abs().max() > 1e-3 and y.grad is None


def test_nothing_is_kept():
    x = torch.zeros(1000, 3, dtype=torch.float64, requires_grad=True)
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    def chain(x):
        for _ in range(10):
            x = torch.sin(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        chain(x)
        usual = sum(kept)
        kept.clear()
        recomputed(chain, x)
    assert usual == 10 * x.numel() and sum(kept) == x.numel()
