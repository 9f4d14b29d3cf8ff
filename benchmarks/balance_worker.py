# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How evenly ranks are busy with the atoms of a deck.

Run by ``mpirun -n P python balance_worker.py OUT.json DECK KEY=VALUE ...``. OUT gets, for each way of sharing, the
processor time of the slowest rank over the mean, and that of the slowest.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["OMP_NUM_THREADS"] = "1"

from mpi4py import MPI

import numpy as np
import torch

from msolve.atomistic import sharing
from msolve.build import build, build_mesh, set_up
from msolve.config import load_case
from msolve.parallel import bisect_owners
from msolve.potentials import keep_freed_memory


def main(out: str, deck: str, *overrides: str) -> None:
    """Share as a run does, then measure the sharings that it might have taken."""
    comm = MPI.COMM_WORLD
    keep_freed_memory()
    torch.set_num_threads(1)
    known: list[tuple[sharing.Atoms, np.ndarray]] = []
    measured = sharing.busy_seconds

    def watched(comm: MPI.Comm, atoms: sharing.Atoms, owner: np.ndarray) -> np.ndarray:
        known.append((atoms, owner))
        return measured(comm, atoms, owner)

    sharing.busy_seconds = watched
    setup = set_up(load_case(deck, overrides), comm)
    assembly = build(setup, build_mesh(setup, comm), comm)
    atoms, guessed = known[0]
    even = bisect_owners(atoms.positions[:, :2], np.ones(len(guessed)), comm.size)
    ways = {"number": even, "layers": guessed, "measured": assembly.problem.patch.owner}
    taken = {way: [measured(comm, atoms, owner) for _ in range(3)] for way, owner in ways.items()}
    if comm.rank == 0:
        found: dict[str, float] = {"atoms": int(np.count_nonzero(atoms.needed))}
        for way, each in taken.items():
            seconds = np.min(each, axis=0)
            found |= {way: seconds.max() / seconds.mean(), f"{way}_seconds": seconds.max()}
        with open(out, "w") as stream:
            json.dump(found, stream)


if __name__ == "__main__":
    main(*sys.argv[1:])
