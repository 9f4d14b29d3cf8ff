# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The bound on third derivatives of the linear potential: above everything that can be found, and not far above."""

from pathlib import Path

import numpy as np
import pytest
import torch

from msolve.potentials import load_potential
from msolve.potentials.exchange import NoExchange
from msolve.potentials.linear import LinearModel
from msolve.potentials.linear_basis import Basis
from msolve.potentials.linear_bounds import third_derivative_bound

SHIPPED = (
    Path(__file__).parents[2] / "solver_configs" / "potentials" / "w_linear" / "w_linear.linear"
)
EPS = 1e-9  # rounding


def largest_found(model, vec, rng, directions=8, steps=10):
    """The largest |D³ε[d, d, d]| over unit d that climbing from some directions finds."""
    n, j = directions, len(vec)
    d = rng.normal(size=(n, j, 3))
    # Half of them start along single edges.
    for k in range(min(n // 2, j)):
        d[k] = 0.0
        d[k, k] = vec[k]
    d = torch.as_tensor(d / np.linalg.norm(d, axis=(1, 2))[:, None, None])
    pair = torch.arange(n).repeat_interleave(j).expand(2, -1)
    best = 0.0
    for step in range(steps):
        x = torch.as_tensor(np.tile(vec, (n, 1, 1))).requires_grad_()
        s = torch.zeros(n, dtype=torch.float64, requires_grad=True)
        moved = (x + s[:, None, None] * d).reshape(-1, 3)
        energy = model.site_energy(moved, pair, torch.full((n,), 74), n, NoExchange()).sum()
        (first,) = torch.autograd.grad(energy, s, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), s, create_graph=True)
        (third,) = torch.autograd.grad(second.sum(), x)
        value = (third * d).sum((1, 2))
        best = max(best, float(value.abs().max()))
        new = torch.sign(value)[:, None, None] * third
        new = new / new.norm(dim=(1, 2), keepdim=True).clamp(min=1e-300)
        new = new + d if step < steps // 2 else new
        d = new / new.norm(dim=(1, 2), keepdim=True).clamp(min=1e-300)
    return best


def neighbours(which):
    """Edge vectors of one site, also a little beyond the cutoff."""
    corner = np.stack(np.meshgrid(*[range(-3, 4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    x = 3.1434 * np.concatenate([corner, corner + 0.5])
    x = x[(np.linalg.norm(x, axis=1) > 0.1) & (np.linalg.norm(x, axis=1) < 6.0)]
    if which == "surface":
        return x[x @ [1, 1, 0] < 0.1]
    if which == "crowded":
        return np.random.default_rng(5).uniform(-1, 1, size=(9, 3)) * 2.5
    if which == "pair":
        return np.array([[1.9, 0.7, 0.3]])
    return x


def only(model, part):
    """The model with one of its parts alone."""
    basis = model.basis
    cuts = [basis.pairs, basis.pairs + len(basis.scalar_features)]
    c = np.zeros_like(model.coefficients)
    places = np.split(np.arange(len(c)), cuts)[["pairs", "products", "angles"].index(part)]
    c[places] = model.coefficients[places]
    return LinearModel(basis, 74, 0.0, c)


@pytest.mark.parametrize(
    ("which", "radius"),
    [
        ("bulk", 0.0),
        ("bulk", 0.3),
        ("surface", 0.02),
        ("crowded", 0.02),
        ("crowded", 0.3),
        ("pair", 0.02),
    ],
)
def test_nothing_is_found_above_the_bound(which, radius):
    rng = np.random.default_rng(1)
    basis = Basis(5.0, 1.8, 20, (4, 3, 2), (3, 2, 2))
    random = LinearModel(basis, 74, 0.0, rng.normal(size=basis.n_features))
    for model in (load_potential(SHIPPED, "linear"), random):
        vec = neighbours(which)
        vec = vec[np.linalg.norm(vec, axis=1) < model.cutoff + radius]
        bound = third_derivative_bound(model, vec, radius)
        found = 0.0
        for _ in range(2):
            step = rng.normal(size=vec.shape)
            step *= (
                radius * rng.uniform(0.5, 1, (len(vec), 1)) / np.linalg.norm(step, axis=1)[:, None]
            )
            found = max(found, largest_found(model, vec + step, rng))
        assert 1e-3 < found <= bound * (1 + EPS)


@pytest.mark.parametrize("part", ["pairs", "products", "angles"])
def test_each_part_stays_below_its_bound(part):
    rng = np.random.default_rng(2)
    model = only(load_potential(SHIPPED, "linear"), part)
    for radius in (0.0, 0.05):
        vec = neighbours("bulk")
        vec = vec[np.linalg.norm(vec, axis=1) < model.cutoff + radius]
        step = rng.normal(size=vec.shape)
        step *= radius / np.linalg.norm(step, axis=1)[:, None]
        assert largest_found(model, vec + step, rng) <= (
            third_derivative_bound(model, vec, radius) * (1 + EPS)
        )


def test_at_one_state_the_bound_is_close():
    rng, model = np.random.default_rng(3), load_potential(SHIPPED, "linear")
    vec = neighbours("bulk")
    vec = vec[np.linalg.norm(vec, axis=1) < model.cutoff]
    found = largest_found(model, vec, rng, directions=16, steps=30)
    assert third_derivative_bound(model, vec, 0.0) < 3 * found
    # A pair's third derivative is a number.
    pairs = only(model, "pairs")
    exact = largest_found(pairs, vec, rng)
    assert third_derivative_bound(pairs, vec, 0.0) == pytest.approx(exact, rel=1e-6)


def test_the_bound_grows_with_the_ball_and_ends_beyond_the_cutoff():
    model, vec = load_potential(SHIPPED, "linear"), neighbours("bulk")
    bounds = [third_derivative_bound(model, vec, radius) for radius in (0.0, 0.01, 0.03, 0.1)]
    assert np.all(np.diff(bounds) > 0)
    assert third_derivative_bound(model, np.array([[5.7, 0.0, 0.0]]), 0.1) == 0.0
    assert third_derivative_bound(model, np.array([[5.7, 0.0, 0.0]]), 0.3) > 0.0
