# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Failing together, halos and owners on one rank; tests/mpi has the rest."""

from mpi4py import MPI

import numpy as np
import pytest

from msolve.errors import CaseError
from msolve.parallel import Halo, all_or_none, bisect_owners


def test_all_or_none_lets_the_original_error_through():
    error = CaseError(["potential.file = x: no such file"], source="crack.yaml")
    with pytest.raises(CaseError) as caught, all_or_none(MPI.COMM_SELF, "reading"):
        raise error
    assert caught.value is error


def test_all_or_none_is_silent_when_all_goes_well():
    with all_or_none(MPI.COMM_SELF, "nothing"):
        done = True
    assert done


def test_halo_on_one_rank_is_a_selection_and_its_transpose():
    halo = Halo(MPI.COMM_SELF, 4, np.zeros(3, dtype=int), np.array([2, 0, 2]))
    rng = np.random.default_rng(0)
    owned, ghosts = rng.normal(size=(4, 5)), rng.normal(size=(3, 5))
    assert np.array_equal(halo.forward(owned), owned[[2, 0, 2]])
    assert np.sum(halo.forward(owned) * ghosts) == pytest.approx(
        np.sum(owned * halo.reverse(ghosts)), rel=1e-14
    )


def test_halo_refuses_rows_that_do_not_exist():
    with pytest.raises(ValueError, match="does not have"):
        Halo(MPI.COMM_SELF, 2, [0], [2])


@pytest.mark.parametrize("n_parts", [1, 2, 3, 5, 8])
def test_bisection_shares_the_weight_evenly(n_parts):
    rng = np.random.default_rng(1)
    points, weights = rng.random((4000, 2)), 0.5 + rng.random(4000)
    owner = bisect_owners(points, weights, n_parts)
    shares = np.bincount(owner, weights, minlength=n_parts) / weights.sum()
    assert len(shares) == n_parts
    assert np.abs(shares - 1 / n_parts).max() < 0.003
    assert np.array_equal(owner, bisect_owners(points, weights, n_parts))


def test_bisection_of_fewer_points_than_ranks_leaves_ranks_empty():
    owner = bisect_owners(np.array([[0.0, 0], [1, 0]]), np.ones(2), 4)
    assert len(set(owner)) == 2
    assert len(bisect_owners(np.empty((0, 2)), np.empty(0), 4)) == 0


def test_bisection_cuts_across_the_longest_extent():
    x, y = np.meshgrid(np.arange(40.0), np.arange(5.0))
    owner = bisect_owners(np.column_stack([x.ravel(), y.ravel()]), np.ones(200), 2)
    assert np.array_equal(owner, (x.ravel() >= 20).astype(int))
