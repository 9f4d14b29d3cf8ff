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
    oriented = Crystal.bcc(3.1436, 74).oriented([1, -1, 0], [1, 1, 0], [0, 0, 1])
    sites = oriented.sites(
        lambda X: (np.abs(X[:, 0]) < RADIUS) & (np.abs(X[:, 1]) < 6.0), [[-RADIUS, RADIUS]] * 2
    )
    x = sites.positions + 0.05 * np.random.default_rng(3).normal(size=sites.positions.shape)
    every, cell = np.ones(len(x), dtype=bool), np.diag([1.0, 1.0, oriented.period])
    periodic = [False, False, True]
    patch = share_atoms(comm, model, sites.numbers, cell, periodic, x, every)
    energy, part = patch.evaluate(x[patch.local], every.astype(float))
    gradient = np.zeros_like(x)
    np.add.at(gradient, patch.local, part)
    total, gradient = comm.allreduce(energy), comm.allreduce(gradient)
    owned = comm.gather(patch.n_owned)
    if comm.rank == 0:
        np.savez(out, energy=total, gradient=gradient, owned=owned)


main(*sys.argv[1:])
