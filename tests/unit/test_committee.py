# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Committees: the mean of their members, and how far these are apart."""

from mpi4py import MPI

import numpy as np
import pytest

from msolve.atomistic import AtomisticPatch, cluster_energy
from msolve.errors import UnsupportedError
from msolve.potentials import load_potential
from msolve.potentials.committee import Committee
from msolve.testing import check_potential, write_tiny_mace

pytest.importorskip("mace", reason="mace-torch is not installed")


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    folder = tmp_path_factory.mktemp("committee")
    for seed in range(3):
        write_tiny_mace(folder / f"{seed}.model", seed=seed)
    return [load_potential(folder / f"{seed}.model", "mace") for seed in range(3)]


def chain(n=14):
    rng = np.random.default_rng(0)
    x = np.zeros((2 * n, 3))
    x[:n, 0] = x[n:, 0] = 2.7 * np.arange(n)
    x[n:, 1] = 2.5
    return x + 0.1 * rng.normal(size=x.shape), np.full(2 * n, 74)


def test_obeys_the_laws(members):
    x, z = chain()
    check_potential(Committee(members), x, z, np.eye(3), [False] * 3, np.random.default_rng(1))


def test_is_the_mean_and_tells_the_spread(members):
    x, z = chain()
    each = [cluster_energy(member, x, z, np.eye(3), [False] * 3) for member in members]
    energy, gradient = cluster_energy(Committee(members), x, z, np.eye(3), [False] * 3)
    assert energy == pytest.approx(np.mean([e for e, _ in each]), rel=1e-12)
    gradients = np.array([g for _, g in each])
    assert np.allclose(gradient, gradients.mean(axis=0), atol=1e-12)
    expected = np.sqrt(((gradients - gradients.mean(axis=0)) ** 2).sum(axis=2).mean(axis=0))
    assert expected.max() > 1e-2
    needed = x[:, 0] < 20.0
    committee = Committee(members)
    patch = AtomisticPatch(MPI.COMM_SELF, committee, z, np.eye(3), [False] * 3, x, needed)
    found = patch.force_spread(x)
    known = np.linalg.norm(x[:, None] - x[~needed], axis=2).min(axis=1) > committee.reach
    assert known.sum() >= 6
    assert np.allclose(found[known], expected[known], rtol=1e-10)
    assert np.array_equal(np.isnan(found), ~known)
    alone = AtomisticPatch(MPI.COMM_SELF, members[0], z, np.eye(3), [False] * 3, x, needed)
    assert alone.force_spread(x) is None


def test_members_must_see_the_same_atoms(members, tmp_path):
    write_tiny_mace(tmp_path / "short.model", r_max=4.0)
    short = load_potential(tmp_path / "short.model", "mace")
    with pytest.raises(UnsupportedError, match=r"same cutoff.*5\.0.*4\.0"):
        Committee([members[0], short])
