# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The energy of a crack's flanks, whatever its weights: derivatives, rigid motions, no force on uniform flanks."""

from mpi4py import MPI

import numpy as np
import pytest
import torch

from msolve.handshake.flanks import FlankLine
from msolve.handshake.operator import FlankOperator
from msolve.handshake.tension import FlankEdges

TURN = np.array([[np.cos(0.4), -np.sin(0.4), 0], [np.sin(0.4), np.cos(0.4), 0], [0, 0, 1]])


def flanks(seed=0):
    rng = np.random.default_rng(seed)
    x = -np.cumsum(rng.uniform(1.0, 3.0, 12))[::-1]
    sides = [np.column_stack([x, np.full(12, h), np.zeros(12)]) for h in (1.1, -1.1)]
    every = np.arange(24)
    line = FlankLine(
        MPI.COMM_SELF, np.concatenate(sides), (slice(0, 12), slice(12, 24)), every, every
    )
    operator = FlankOperator(2, 0, np.array([0.03, 0.02, 0.0, 0.0, 0.0]))
    operator.tension = torch.from_numpy(rng.normal(size=(2, 5)))
    return line, FlankEdges.of(line, 3.0), operator, rng


def test_derivatives_belong_together():
    line, edges, operator, rng = flanks()
    y, way, other = (line.X + 0.02 * rng.normal(size=line.X.shape), *rng.normal(size=(2, 24, 3)))
    _, gradient = edges.evaluate(operator, y)
    h = 1e-6
    ends = [edges.evaluate(operator, y + s * way) for s in (h, -h)]
    assert (ends[0][0] - ends[1][0]) / (2 * h) == pytest.approx((gradient * way).sum(), rel=1e-6)
    product = edges.hessian(operator, y)
    change = (ends[0][1] - ends[1][1]) / (2 * h)
    assert product(way) == pytest.approx(change, abs=1e-6 * np.abs(change).max())
    assert (product(way) * other).sum() == pytest.approx((product(other) * way).sum(), rel=1e-10)


def test_it_follows_rigid_motions_and_has_neither_net_force_nor_torque():
    line, edges, operator, rng = flanks(1)
    y = line.X + 0.05 * rng.normal(size=line.X.shape)
    energy, gradient = edges.evaluate(operator, y)
    turned, other = edges.evaluate(operator, y @ TURN.T + [3.0, -2.0, 1.0])
    assert turned == pytest.approx(energy, rel=1e-12)
    assert other == pytest.approx(gradient @ TURN.T, abs=1e-12 * np.abs(gradient).max())
    size = np.abs(gradient).max()
    assert np.abs(gradient.sum(axis=0)).max() < 1e-12 * size
    torque = y[:, 0] * gradient[:, 1] - y[:, 1] * gradient[:, 0]
    assert abs(torque.sum()) < 1e-10 * size


def test_flanks_under_one_strain_are_pulled_at_their_ends_alone():
    line, edges, operator, _ = flanks(2)
    F = np.eye(3) + np.array([[0.02, 0.1, 0], [0.3, -0.05, 0], [0.01, 0.02, 0]])
    _, gradient = edges.evaluate(operator, line.X @ F.T)
    ends = [0, 11, 12, 23]
    assert np.abs(gradient[ends]).max() > 0.1
    inner = np.delete(gradient, ends, axis=0)
    assert np.abs(inner).max() < 1e-12 * np.abs(gradient).max()


def test_without_weights_there_is_no_energy():
    line, edges, operator, rng = flanks(3)
    operator.tension = torch.zeros_like(operator.tension)
    energy, gradient = edges.evaluate(operator, line.X + 0.1 * rng.normal(size=line.X.shape))
    assert energy == 0.0 and not gradient.any()
