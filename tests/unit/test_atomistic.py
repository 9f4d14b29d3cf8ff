# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Neighbour lists and patches of atoms on one rank; tests/mpi has several."""

from mpi4py import MPI

import numpy as np
import pytest

from msolve.atomistic import AtomisticPatch, cluster_energy, find_edges, neighbours
from msolve.errors import CaseError, ConvergenceError, UnsupportedError
from msolve.potentials import keep_freed_memory, load_potential
from msolve.potentials.toy import toy_eam
from msolve.testing import check_potential

SKEW = np.array([[9.0, 0.0, 0.0], [2.0, 8.0, 0.0], [0.5, 1.0, 3.1]])


def edges_by_brute_force(x, cell, periodic, cutoff, n_images=4):
    """Sorted rows (centre, neighbour, edge vector)."""
    images = [range(-n_images, n_images + 1) if p else range(1) for p in periodic]
    rows = []
    for image in np.stack(np.meshgrid(*images, indexing="ij"), -1).reshape(-1, 3):
        vec = x[None] - x[:, None] + image @ cell
        r = np.linalg.norm(vec, axis=2)
        i, j = np.nonzero((r < cutoff) & (r > 1e-9))
        rows.append(np.column_stack([i, j, np.round(vec[i, j], 8)]))
    rows = np.concatenate(rows)
    return rows[np.lexsort(rows.T[::-1])]


@pytest.mark.parametrize("periodic", [(0, 0, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (1, 1, 1)])
@pytest.mark.parametrize("cell", [np.diag([9.0, 8.0, 3.1]), SKEW], ids=["straight", "skew"])
def test_edges_are_complete_in_thin_and_skew_cells(periodic, cell):
    rng = np.random.default_rng(5)
    # Two cells wide along each axis: atoms need not be wrapped.
    x = (2 * rng.random((40, 3)) - 1) @ cell
    cutoff = 4.0
    pair, shift = find_edges(x, cell, periodic, cutoff, np.ones(40, dtype=bool))
    vec = x[pair[1]] - x[pair[0]] + shift
    rows = np.column_stack([pair[0], pair[1], np.round(vec, 8)])
    rows = rows[np.lexsort(rows.T[::-1])] + 0.0
    expected = edges_by_brute_force(x, cell, periodic, cutoff) + 0.0
    assert len(expected) > 100
    assert np.allclose(rows, expected)
    assert (np.diff(pair[0]) >= 0).all()


def test_edges_start_at_the_given_centres_only():
    rng = np.random.default_rng(6)
    x, centres = rng.random((200, 3)) * 20, rng.random(200) < 0.1
    every, _ = find_edges(x, np.eye(3), [False] * 3, 4.0, np.ones(200, dtype=bool))
    some, _ = find_edges(x, np.eye(3), [False] * 3, 4.0, centres)
    assert np.array_equal(some, every[:, centres[every[0]]])
    none, shift = find_edges(x, np.eye(3), [False] * 3, 4.0, np.zeros(200, dtype=bool))
    assert none.shape == (2, 0) and shift.shape == (0, 3)


def rows_of(x, pair, shift):
    rows = np.column_stack([pair.T, np.round(x[pair[1]] - x[pair[0]] + shift, 8)]) + 0.0
    return rows[np.lexsort(rows.T[::-1])]


@pytest.mark.parametrize("periodic", [(1, 1, 1), (0, 0, 1), (1, 0, 1)])
@pytest.mark.parametrize("skew", [False, True])
@pytest.mark.parametrize("place", [0.05, 0.5])  # across the border of the cell, and inside
def test_a_part_of_a_periodic_crystal_looks_no_further_than_its_cutoff(periodic, skew, place):
    matscipy = pytest.importorskip("matscipy.neighbours", reason="matscipy is not installed")
    rng, cutoff = np.random.default_rng(7), 4.0
    cell = np.diag([30.0, 20.0, 25.0])
    if skew:
        cell[1, 0], cell[2, :2] = 8.0, (-5.0, 6.0)
    part = rng.random((2000, 3))
    x = (part + rng.integers(-1, 2, size=part.shape) * np.array(periodic)) @ cell  # unwrapped
    centres = (((part - place + 0.1) % 1.0) < 0.2)[:, [0, 2]].all(axis=1)
    pair, shift = find_edges(x, cell, periodic, cutoff, centres)
    i, j, image = matscipy.neighbour_list(
        "ijS", positions=x, cell=cell, pbc=np.array(periodic, dtype=bool), cutoff=cutoff
    )
    keep = centres[i]
    expected = rows_of(x, np.stack([i, j])[:, keep], image[keep] @ cell)
    assert len(expected) > 500
    assert np.array_equal(rows_of(x, pair, shift), expected)
    searched = neighbours._within_reach(x, cell, np.array(periodic, dtype=bool), cutoff, centres)
    if periodic[0] or place == 0.5:  # on an open axis, both ends are not one place
        assert len(searched) < (0.6 if skew else 0.45) * len(x)


def triangular(n=6, a=0.97, seed=0):
    rng = np.random.default_rng(seed)
    i, j = np.meshgrid(np.arange(n), np.arange(n))
    x = np.column_stack([(i + 0.5 * j).ravel(), (0.75**0.5 * j).ravel(), np.zeros(n * n)]) * a
    return x + rng.normal(scale=0.02, size=x.shape)


def patch_of(x, **options):
    n = len(x)
    settings = {"needed_weight": np.ones(n, dtype=bool)} | options
    return AtomisticPatch(
        MPI.COMM_SELF, toy_eam(), np.ones(n, dtype=int), np.diag([9, 9, 10.0]), (0, 0, 1), x,
        **settings,
    )  # fmt: skip


def test_toy_model_obeys_the_laws():
    x = triangular()
    check_potential(
        toy_eam(), x, np.ones(len(x)), np.diag([9, 9, 10.0]), (0, 0, 1), np.random.default_rng(0)
    )


def test_toy_model_with_nearest_neighbours_has_the_published_formula():
    x = np.array([[0.0, 0, 0], [1.1, 0, 0]])
    pair = np.exp(-0.8) - 2 * np.exp(-0.4)
    t = np.exp(-3.3) - 6 * np.exp(-2.7)
    energy, _ = cluster_energy(toy_eam(), x, [1, 1], np.eye(3), [False] * 3)
    assert energy == pytest.approx(pair + 2 * 10 * (t**2 + t**4), rel=1e-13)


def test_period_may_be_shorter_than_the_cutoff():
    """One atom per cell against a supercell of them."""
    a, model = 0.97, toy_eam()
    one = cluster_energy(model, np.zeros((1, 3)), [1], np.diag([a, 1, 1]), (1, 0, 0))[0]
    x = np.column_stack([a * np.arange(8), np.zeros(8), np.zeros(8)])
    eight = cluster_energy(model, x, np.ones(8), np.diag([8 * a, 1, 1]), (1, 0, 0))[0]
    assert one < -0.1
    assert 8 * one == pytest.approx(eight, rel=1e-13)


def test_lists_hold_until_an_atom_moves_by_half_the_skin():
    x = triangular()
    patch = patch_of(x, skin=0.4)
    weight = np.ones(len(x))
    moved = x.copy()
    moved[7, 0] += 0.19
    assert not patch.needs_rebuild(moved)
    fresh = patch_of(moved).evaluate(moved, weight)
    reused = patch.evaluate(moved, weight)
    assert reused[0] == pytest.approx(fresh[0], rel=1e-13)
    assert np.allclose(reused[1], fresh[1], atol=1e-12)
    moved[7, 0] += 0.02
    assert patch.needs_rebuild(moved)
    moved[7, 1] += 1.3
    version = patch.version
    patch.rebuild(moved)
    assert patch.version == version + 1 and not patch.needs_rebuild(moved)
    fresh = patch_of(moved).evaluate(moved, weight)
    assert patch.evaluate(moved, weight)[0] == pytest.approx(fresh[0], rel=1e-13)


def test_the_remembered_short_list_is_renewed_in_time():
    """Small steps, each within the skins, that add up to more than the short skin."""
    x = triangular()
    patch, weight = patch_of(x, skin=0.8), np.ones(len(x))
    step = np.random.default_rng(2).normal(size=x.shape)
    step *= 0.01 / np.abs(step).max()
    for k in range(1, 30):
        here = x + k * step
        assert not patch.needs_rebuild(here)
        energy = patch.evaluate(here, weight)[0]
        if k % 7 == 0:
            expected = patch_of(here, skin=0.0).evaluate(here, weight)[0]
            assert energy == pytest.approx(expected, rel=1e-13)


def test_weights_may_change_between_calls():
    x = triangular()
    patch, rng = patch_of(x), np.random.default_rng(3)
    sites = patch.site_energies(x)
    weight = np.ones(len(x))
    for _ in range(7):
        weight[:] = rng.random(len(x)) * (rng.random(len(x)) < 0.5)  # in place: same object
        assert patch.evaluate(x, weight)[0] == pytest.approx(weight @ sites, rel=1e-12)
    assert patch.evaluate(x, np.zeros(len(x)))[0] == 0.0


def test_further_products_at_a_state_are_those_of_that_state():
    x = triangular()
    patch, weight = patch_of(x), np.ones(len(x))
    d = np.random.default_rng(4).normal(size=x.shape)
    first = patch.hessian_product(x, weight, d)
    assert np.allclose(patch.hessian_product(x, weight, 2 * d), 2 * first, rtol=1e-13)
    y = x + 0.01 * d
    there = patch.hessian_product(y, weight, d)
    assert not np.allclose(there, first, rtol=1e-3)
    assert np.allclose(there, patch_of(y).hessian_product(y, weight, d), atol=1e-12)


def test_sites_that_are_not_needed_have_no_energy_and_take_no_weight():
    x = triangular()
    needed = x[:, 0] < 3.0
    patch = patch_of(x, needed_weight=needed)
    sites = patch.site_energies(x)
    assert np.array_equal(np.isfinite(sites), needed)
    assert np.allclose(sites[needed], patch_of(x).site_energies(x)[needed], rtol=1e-13)
    with pytest.raises(ValueError, match="outside needed_weight"):
        patch.evaluate(x, np.ones(len(x)))


def test_energies_that_are_not_finite_are_reported():
    x = triangular()
    patch = patch_of(x)
    broken = x.copy()
    broken[3] = np.nan
    assert patch.needs_rebuild(broken)
    with pytest.raises(ConvergenceError, match="not finite"):
        patch.evaluate(broken, np.ones(len(x)))


def test_site_energies_in_pieces(monkeypatch):
    x = triangular()
    whole = patch_of(x).site_energies(x)
    monkeypatch.setattr("msolve.potentials.engine.PIECE", 50)
    assert np.allclose(patch_of(x).site_energies(x), whole, rtol=1e-14)
    assert whole.std() > 0.01


def test_freed_memory_can_be_kept():
    assert keep_freed_memory() in (True, False)


def test_unknown_elements_and_kinds_are_named():
    with pytest.raises(UnsupportedError, match=r"\[1\].*\[6\]"):
        cluster_energy(toy_eam(), np.zeros((1, 3)), [6], np.eye(3), [False] * 3)
    with pytest.raises(CaseError, match=r"potential.kind = spam.*eam, linear, mace,.* toy"):
        load_potential("x", "spam")
    with pytest.raises(CaseError, match=r"potential.device = tpu"):
        load_potential("", "toy", device="tpu")
    assert load_potential("", "toy", device="auto", local_rank=3).device[:4] in ("cpu", "cuda")
