# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Atoms shared by what they cost, when that is not what was guessed."""

from mpi4py import MPI

import numpy as np
import pytest

from msolve.atomistic import share_atoms, sharing
from msolve.crystal import Crystal
from msolve.errors import ConvergenceError
from msolve.parallel import bisect_owners
from msolve.potentials import load_potential


@pytest.mark.parametrize("n_parts", [2, 3, 8])
def test_measured_costs_make_shares_even(n_parts):
    rng = np.random.default_rng(0)
    points = rng.random((4000, 2))
    true = np.where(points[:, 0] > 0.7, 4.0, 1.0)  # a region four times as dear as was guessed
    cost = np.ones(len(points))
    spread = []
    for _ in range(sharing.ROUNDS + 1):
        owner = bisect_owners(points, cost, n_parts)
        taken = np.bincount(owner, true, minlength=n_parts)
        spread.append(taken.max() / taken.mean())
        cost = sharing.recosted(cost, owner, taken)
        assert np.bincount(owner, cost, minlength=n_parts) == pytest.approx(taken)
    assert spread[0] > 1.2
    assert min(spread[1:]) < 1 + 0.25 * (spread[0] - 1)


def test_owners_without_atoms_leave_costs_as_they_are():
    cost = sharing.recosted(np.ones(3), np.array([0, 0, 2]), np.array([4.0, 0.0, 1.0]))
    assert np.array_equal(cost, [2, 2, 1])


class Four:
    """Ranks 0 to 3 in one process, for what only asks how many there are."""

    rank, size = 0, 4


def shared(monkeypatch, taken, workers=range(4)):
    """Owners when the ranks measure what ``taken`` makes of them, and how often they did."""
    oriented = Crystal.bcc(3.165, 74).oriented([1, 0, 0], [0, 1, 0], [0, 0, 1])
    sites = oriented.sites(lambda X: np.hypot(X[:, 0], X[:, 1]) < 40, [[-40, 40]] * 2)
    x, every = sites.positions, np.ones(len(sites.positions), dtype=bool)
    rounds = []

    def measured(comm, atoms, owner):
        rounds.append(owner)
        return taken(owner, x)

    monkeypatch.setattr(sharing, "busy_seconds", measured)
    model = load_potential("", "toy")
    atoms = sharing.Atoms(model, sites.numbers, np.eye(3), [0, 0, 1], x, every, 0.5)
    return sharing.share_by_cost(Four(), atoms, list(workers)), rounds, x


def by_side(owner, x):
    """What ranks would measure if atoms of one side took three times as long."""
    return np.bincount(owner, np.where(x[:, 0] > 0, 3e-3, 1e-3), minlength=4)


def test_ranks_share_anew_until_they_are_busy_for_equal_times(monkeypatch):
    owner, rounds, x = shared(monkeypatch, by_side)
    before, after = by_side(rounds[0], x), by_side(owner, x)
    assert before.max() > 1.4 * before.mean()
    assert after.max() < 1.05 * after.mean()
    assert 1 < len(rounds) <= sharing.ROUNDS


def test_the_best_sharing_counts_if_none_is_even(monkeypatch):
    rng = np.random.default_rng(0)
    noisy = [rng.random(4) + 1 for _ in range(sharing.ROUNDS)]
    left = iter(noisy)
    owner, rounds, _ = shared(monkeypatch, lambda owner, x: next(left))
    best = int(np.argmin([each.max() for each in noisy]))
    assert len(rounds) == sharing.ROUNDS and np.array_equal(owner, rounds[best])


def test_even_short_and_failed_measurements_keep_the_guess(monkeypatch):
    for taken in (np.full(4, 1.0), np.array([1e-3, 1e-4, 1e-4, 1e-4]), np.full(4, np.nan)):
        owner, rounds, _ = shared(monkeypatch, lambda owner, x, taken=taken: taken)
        assert len(rounds) == 1 and np.array_equal(owner, rounds[0])


def test_only_workers_own_atoms(monkeypatch):
    owner, _, _ = shared(monkeypatch, by_side, workers=[0, 2])
    assert set(owner) == {0, 2}


def test_one_rank_measures_nothing(monkeypatch):
    owner, rounds, _ = shared(monkeypatch, by_side, workers=[0])
    assert not owner.any() and not rounds


def test_atoms_that_cannot_be_evaluated_are_shared_all_the_same():
    x = np.zeros((2, 3))  # at one place
    atoms = sharing.Atoms(
        load_potential("", "toy"), [1, 1], np.eye(3), [False] * 3, x, [True] * 2, 0.5
    )
    assert np.isnan(sharing.busy_seconds(MPI.COMM_SELF, atoms, np.zeros(2, dtype=int))).all()
    patch = share_atoms(MPI.COMM_SELF, atoms.model, [1, 1], np.eye(3), [False] * 3, x, [True] * 2)
    with pytest.raises(ConvergenceError):
        patch.evaluate(x, np.ones(2))
