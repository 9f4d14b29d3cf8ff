# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Run by test_engine_ranks.py under mpirun: evaluates patches and writes what all ranks add up to.

Usage: engine_ranks_worker.py OUT.npz KIND=MODEL ...
"""

import sys
import warnings

from mpi4py import MPI

import numpy as np

from msolve.atomistic import AtomisticPatch
from msolve.crystal import Crystal
from msolve.errors import CaseError, ConvergenceError
from msolve.parallel import Halo, all_or_none
from msolve.potentials import load_potential
from msolve.potentials.committee import Committee

RADIUS = 17.0


def notched_disc(rng):
    """A rattled disc, one period thick, with a notch and one atom far away from all others."""
    oriented = Crystal.bcc(3.165, 74).oriented([1, -1, 0], [1, 1, 0], [0, 0, 1])
    sites = oriented.sites(
        lambda X: (
            (np.hypot(X[:, 0], X[:, 1]) < RADIUS) & ~((X[:, 0] < 0) & (np.abs(X[:, 1]) < 2.0))
        ),
        [[-RADIUS, RADIUS], [-RADIUS, RADIUS]],
    )
    x = sites.positions + 0.05 * rng.normal(size=sites.positions.shape)
    x[0, 0] -= 30.0
    return x, sites.numbers, oriented.period


def cluster(rng):
    """A rattled ball in empty space."""
    corner = np.stack(np.meshgrid(*[range(-3, 4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    x = 3.165 * np.concatenate([corner, corner + 0.5])
    x = x[np.linalg.norm(x, axis=1) < 9.0]
    return x + 0.05 * rng.normal(size=x.shape)


def crystal(rng):
    """A rattled crystal, periodic along all axes, wider than the cutoff along one only."""
    corner = np.stack(np.meshgrid(range(6), range(2), range(1), indexing="ij"), -1).reshape(-1, 3)
    x = 3.165 * np.concatenate([corner, corner + 0.5])
    return x + 0.05 * rng.normal(size=x.shape), np.diag([6, 2, 1]) * 3.165


def variant(kind, path):
    """A potential by its name here: its kind, and after a comma what is unusual about it."""
    if kind.startswith("committee"):
        return Committee([load_potential(each, "mace") for each in path.split("+")])
    model = load_potential(path, kind.split(",")[0])
    if "without exchange" in kind:
        model.exchange = False
    if "in batches" in kind:
        model.batch = 40
    return model


def owners(x, n_ranks):
    """Bisection, and a sharing that leaves the last rank without atoms."""
    yield "bisected", None
    by_quarter = 2 * (x[:, 0] > 1.0) + (x[:, 1] > -2.0)
    yield "last rank empty", np.minimum(by_quarter, max(n_ranks - 2, 0))


def totals(comm, patch, x, weight, directions):
    """Energy, gradient, Hessian products and site energies of all ranks together."""
    here = x[patch.local]

    def gather(rows):
        whole = np.zeros_like(x)
        np.add.at(whole, patch.local, rows)
        return comm.allreduce(whole)

    energy, gradient = patch.evaluate(here, weight)
    products = [gather(patch.hessian_product(here, weight, d[patch.local])) for d in directions]
    moved = here + 0.01 * directions[0][patch.local]
    products.append(gather(patch.hessian_product(moved, weight, directions[1][patch.local])))
    sites = np.zeros(len(x))
    sites[patch.local[: patch.n_owned]] = np.nan_to_num(patch.site_energies(here))
    owned = gradient[: patch.n_owned] + patch.halo.reverse(gradient[patch.n_owned :])
    whole = gather(gradient)
    assert np.allclose(owned, whole[patch.local[: patch.n_owned]], atol=1e-13)
    return {
        "energy": comm.allreduce(energy),
        "gradient": whole,
        "products": np.array(products),
        "sites": comm.allreduce(sites),
    }


def check_rebuild(comm, patch, x, weight, expected):
    """Atoms that one rank alone moves make all ranks rebuild; going back gives the old numbers."""
    here = x[patch.local]
    assert not patch.needs_rebuild(here)
    moved = here.copy()
    if comm.rank == 0 and patch.n_owned:
        moved[0, 1] += 0.3
    assert patch.needs_rebuild(moved)
    patch.rebuild(x + np.array([0.4, 0.0, 0.0]))
    assert patch.needs_rebuild(x[patch.local])
    patch.rebuild(x)
    energy = comm.allreduce(patch.evaluate(x[patch.local], weight)[0])
    assert abs(energy / expected - 1) < 1e-13


def check_not_finite(comm, patch, x, weight):
    """A bad position on one rank fails on every rank when features are exchanged."""
    here = x[patch.local].copy()
    if comm.rank == 0:
        here[0] = np.nan
    if not patch.model.exchange and comm.rank > 0:
        return
    try:
        patch.evaluate(here, weight)
    except ConvergenceError:
        return
    raise AssertionError("a position that is not finite went through")


def check_failing_together(comm):
    """The last rank fails; all raise its error, with its problems, and name it."""
    try:
        with all_or_none(comm, "reading"):
            if comm.rank == comm.size - 1:
                raise CaseError(["a = 1: too small"], source="x.yaml")
    except CaseError as error:
        assert error.problems == ["a = 1: too small"] and error.source == "x.yaml"
        assert str(error).startswith("x.yaml: 1 problem")
        assert comm.size == 1 or error.__notes__ == [f"while reading, on rank {comm.size - 1}"]
        return
    raise AssertionError("no rank may go on")


def check_halo(comm):
    """Random halos: forward fetches the owners' rows, and reverse is its transpose."""
    rng = np.random.default_rng(comm.rank)
    counts = [7 + 3 * rank if rank != 1 else 0 for rank in range(comm.size)]
    others = [rank for rank in range(comm.size) if counts[rank]]
    owner = rng.choice(others, 11 if comm.rank != 2 else 0)
    remote = np.array([rng.integers(counts[rank]) for rank in owner], dtype=np.int64)
    halo = Halo(comm, counts[comm.rank], owner, remote)
    labels = np.arange(counts[comm.rank]) + 1000 * comm.rank
    assert np.array_equal(halo.forward(labels), 1000 * owner + remote)
    a, b = rng.normal(size=(halo.n_owned, 3)), rng.normal(size=(halo.n_ghost, 3))
    left = comm.allreduce(float(np.sum(halo.forward(a) * b)))
    right = comm.allreduce(float(np.sum(a * halo.reverse(b))))
    assert comm.size == 1 or abs(left) > 1e-3
    assert abs(left - right) < 1e-12


def check_engine(comm, kind, path):
    """Put one potential through all of the above; gives what the ranks add up to."""
    model = variant(kind, path)
    rng = np.random.default_rng(0)
    x, numbers, period = notched_disc(rng)
    weight = rng.random(len(x)) * (np.hypot(x[:, 0], x[:, 1]) < RADIUS / 1.6)
    directions = rng.normal(size=(2, *x.shape))
    cell, periodic = np.diag([1.0, 1.0, period]), (False, False, True)
    found = {}
    for name, owner in owners(x, comm.size):
        patch = AtomisticPatch(comm, model, numbers, cell, periodic, x, weight > 0, owner)
        whole = totals(comm, patch, x, weight, directions)
        check_rebuild(comm, patch, x, weight, whole["energy"])
        check_not_finite(comm, patch, x, weight)
        found |= {f"{kind}, {name}: {key}": value for key, value in whole.items()}
    empty_ranks = comm.allreduce(int(patch.n_owned == 0), op=MPI.SUM)
    assert empty_ranks == comm.size - min(max(comm.size - 1, 1), 4)
    for name, (x, cell, periodic) in {
        "free": (cluster(rng), np.eye(3), [False] * 3),
        "periodic": (*crystal(rng), [True] * 3),
    }.items():
        weight, directions = rng.random(len(x)), rng.normal(size=(2, *x.shape))
        every = np.ones(len(x), dtype=bool)
        whole = AtomisticPatch(comm, model, np.full(len(x), 74), cell, periodic, x, every)
        told = totals(comm, whole, x, weight, directions)
        spread = whole.force_spread(x[whole.local])
        if spread is not None:
            every_spread = np.zeros(len(x))
            every_spread[whole.local[: whole.n_owned]] = spread
            told["spread"] = comm.allreduce(every_spread)
        found |= {f"{kind}, {name}: {key}": value for key, value in told.items()}
    return found


def main(out, *models):
    comm = MPI.COMM_WORLD
    warnings.simplefilter("ignore")
    check_failing_together(comm)
    check_halo(comm)
    found = {}
    for each in models:
        found |= check_engine(comm, *each.split("=", 1))
    if comm.rank == 0:
        np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
