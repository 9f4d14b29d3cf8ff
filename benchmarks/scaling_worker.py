# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""One crystal evaluated by all ranks: ``mpirun -n P python scaling_worker.py OUT.json KIND FILE NX N [VARIANT]``.

The crystal has ``2 NX N²`` atoms of tungsten. A step is what a solver asks for: positions to the copies, energy and
gradient, gradients of copies back to their owners. OUT gets the shortest step and what one step sends, and of the
slowest rank the processor time of lists and evaluation, which other work on the machine changes little.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"

from mpi4py import MPI

import numpy as np
import torch

from msolve.atomistic import AtomisticPatch
from msolve.potentials import keep_freed_memory, load_potential

A0 = 3.165


def main(out: str, kind: str, file: str, nx: str, n: str, variant: str = "") -> None:
    """Measure on all ranks, write on the first."""
    comm = MPI.COMM_WORLD
    keep_freed_memory()
    torch.set_num_threads(1)
    model = load_potential(file, kind)
    if variant == "redundant":
        model.exchange = False  # type: ignore[misc]
    counts = [int(nx), int(n), int(n)]
    corner = np.stack(np.meshgrid(*map(range, counts), indexing="ij"), -1).reshape(-1, 3)
    x = A0 * np.concatenate([corner, corner + 0.5])
    x = x[np.argsort(x[:, 0], kind="stable")]
    x += 0.05 * np.random.default_rng(0).normal(size=x.shape)
    every = np.ones(len(x), dtype=bool)
    cell = A0 * np.diag(counts).astype(float)
    begin, spent = time.perf_counter(), time.process_time()
    patch = AtomisticPatch(comm, model, np.full(len(x), 74), cell, [True] * 3, x, every)
    ones, n_owned = every.astype(float), patch.n_owned
    own = x[patch.local[:n_owned]]
    lists_busy = time.process_time() - spent
    comm.Barrier()
    lists = time.perf_counter() - begin

    def step(k: int) -> float:
        here = own + 1e-9 * k
        energy, gradient = patch.evaluate(np.vstack([here, patch.halo.forward(here)]), ones)
        patch.halo.reverse(gradient[n_owned:])
        return float(comm.allreduce(energy))

    energy = step(0)
    before = patch.sent
    times, busy = [], []
    for k in range(1, 5):
        comm.Barrier()
        begin, spent = time.perf_counter(), patch.busy
        step(k)
        comm.Barrier()
        times.append(time.perf_counter() - begin)
        busy.append(patch.busy - spent)
    found = {
        "ranks": comm.size,
        "atoms": len(x),
        "seconds": min(times),
        "lists": lists,
        "busy": comm.allreduce(min(busy), op=MPI.MAX),
        "lists_busy": comm.allreduce(lists_busy, op=MPI.MAX),
        "sent": comm.allreduce((patch.sent - before) / len(times), op=MPI.MAX),
        "copies": comm.allreduce(patch.halo.n_ghost, op=MPI.MAX),
        "memory": comm.allreduce(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, op=MPI.MAX
        ),
        "energy": energy,
    }
    found |= {f"exchange_{key}": value for key, value in _exchange(comm).items()}
    if comm.rank == 0:
        with open(out, "w") as stream:
            json.dump(found, stream)


def _exchange(comm: MPI.Comm) -> dict[str, float]:
    """Latency [s] and bandwidth [B/s] between the first two ranks, there and back."""
    if comm.size == 1:
        return {}
    taken = {}
    for size, repeats in ((8, 2000), (8_000_000, 20)):
        buffer = np.zeros(size // 8)
        comm.Barrier()
        begin = time.perf_counter()
        for _ in range(repeats):
            if comm.rank == 0:
                comm.Send(buffer, 1)
                comm.Recv(buffer, 1)
            elif comm.rank == 1:
                comm.Recv(buffer, 0)
                comm.Send(buffer, 0)
        taken[size] = (time.perf_counter() - begin) / (2 * repeats)
    return {"latency": taken[8], "bandwidth": 8_000_000 / taken[8_000_000]}


if __name__ == "__main__":
    main(*sys.argv[1:])
