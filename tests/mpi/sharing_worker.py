# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Run by test_sharing_ranks.py under mpirun: a crystal, half of it porous, shared by measured cost.

Usage: sharing_worker.py OUT.npz TABLE
"""

import sys

from mpi4py import MPI

import numpy as np

from msolve.atomistic import share_atoms, sharing
from msolve.potentials import load_potential

CELLS = (80, 24, 24)
A0 = 3.165


def main(out, table):
    comm = MPI.COMM_WORLD
    rng = np.random.default_rng(0)
    corner = np.stack(np.meshgrid(*map(range, CELLS), indexing="ij"), -1).reshape(-1, 3)
    x = A0 * np.concatenate([corner, corner + 0.5])
    x = x[(x[:, 0] < 0.5 * A0 * CELLS[0]) | (rng.random(len(x)) < 0.3)]
    x += 0.02 * rng.normal(size=x.shape)
    weight, direction = rng.random(len(x)) + 0.1, rng.normal(size=x.shape)
    numbers, cell, periodic = np.full(len(x), 74), A0 * np.diag(CELLS), [False, False, True]
    rounds = []
    measure = sharing.busy_seconds

    def watched(comm, atoms, owner):
        rounds.append(measure(comm, atoms, owner))
        return rounds[-1]

    sharing.busy_seconds = watched
    model = load_potential(table, "eam")
    patch = share_atoms(comm, model, numbers, cell, periodic, x, np.ones(len(x), dtype=bool))
    here = x[patch.local]

    def gathered(rows):
        whole = np.zeros_like(x)
        np.add.at(whole, patch.local, rows)
        return comm.allreduce(whole)

    energy, gradient = patch.evaluate(here, weight)
    found = {
        "energy": comm.allreduce(energy),
        "gradient": gathered(gradient),
        "product": gathered(patch.hessian_product(here, weight, direction[patch.local])),
        "seconds": np.array(rounds),
    }
    if comm.rank == 0:
        np.savez(out, **found)


main(*sys.argv[1:])
