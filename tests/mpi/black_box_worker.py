# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Run by test_black_box_ranks.py under mpirun: a patch of forces, and what all ranks together say of it.

Usage: black_box_worker.py OUT.npz gap|torchsim
"""

import sys
from dataclasses import replace
from pathlib import Path

from mpi4py import MPI

import numpy as np

from msolve.atomistic import share_atoms
from msolve.crystal import Crystal

DECKS = Path(__file__).parents[2] / "solver_configs"
RADIUS = 26.0


def bodies(rng):
    """Rattled atoms: a bar with sites that do not count, a cluster in empty space, a crystal of thin cells."""
    oriented = Crystal.bcc(3.1436, 74).oriented([1, -1, 0], [1, 1, 0], [0, 0, 1])
    bar = oriented.sites(
        lambda X: (np.abs(X[:, 0]) < RADIUS) & (np.abs(X[:, 1]) < 6.0), [[-RADIUS, RADIUS]] * 2
    ).positions
    cube = np.stack(np.meshgrid(*[range(-3, 4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    ball = 3.1436 * np.concatenate([cube, cube + 0.5])
    ball = ball[np.linalg.norm(ball, axis=1) < 7.5]
    cells = np.indices((7, 2, 1)).reshape(3, -1).T
    bulk = 3.1436 * np.concatenate([cells, cells + 0.5])
    thin = np.diag([1.0, 1.0, oriented.period])
    found = {
        "bar": (bar, thin, [False, False, True], (bar[:, 0] < 15.0).astype(float)),
        "cluster": (ball, np.eye(3), [False] * 3, np.ones(len(ball))),
        "crystal": (bulk, 3.1436 * np.diag([7.0, 2.0, 1.0]), [True] * 3, np.ones(len(bulk))),
    }
    return {
        name: (x + 0.05 * rng.normal(size=x.shape), *rest) for name, (x, *rest) in found.items()
    }


def main(out, kind):
    comm = MPI.COMM_WORLD
    if kind == "gap":
        from msolve.potentials.gap import load_gap

        model = load_gap(DECKS / "potentials/w_gap/w_gap.xml")
        model = replace(model, reach=model.cutoff, noise=1e-8)
    else:
        from msolve.potentials.torchsim import torchsim_model

        arguments = {"model": "potentials/w_mace/w_mace.model"}
        where = "torch_sim.models.mace:MaceModel"
        model = replace(torchsim_model(where, arguments, [74], 10.0, DECKS), noise=1e-12)
    found = {}
    for name, (x, cell, periodic, weight) in bodies(np.random.default_rng(3)).items():
        numbers, every = np.full(len(x), 74), np.ones(len(x), dtype=bool)
        patch = share_atoms(comm, model, numbers, cell, periodic, x, every)
        here = x[patch.local]
        energy, gradient = patch.evaluate(here, weight)
        direction = np.random.default_rng(4).normal(size=x.shape)
        product = patch.hessian_product(here, weight, direction[patch.local])
        told = {"energy": energy}
        for key, rows in (("gradient", gradient), ("product", product)):
            told[key] = np.zeros_like(x)
            np.add.at(told[key], patch.local, rows)
        found |= {f"{name}: {key}": comm.allreduce(value) for key, value in told.items()}
        found[f"{name}: owned"] = np.array(comm.allgather(patch.n_owned))
    if comm.rank == 0:
        np.savez(out, **found)


main(*sys.argv[1:])
