# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Run by test_handshake_ranks.py under mpirun: a crack with a random learned handshake, in one
state, on all ranks and on the first alone.

Usage: handshake_worker.py OUT.npz
"""

import sys
from pathlib import Path

from mpi4py import MPI

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import bodies

SIZES = (0.01, 0.05, 0.2)
"""Weights of the flanks [Å] and of the strain-gradient energy [eV]."""


def field(X, seed, size):
    """A displacement that varies from site to site, the same on any number of ranks."""
    rng = np.random.default_rng(seed)
    waves, phases = rng.normal(size=(2, 3, 3)), rng.uniform(0, 6, size=3)
    return size * np.sin(X @ waves[0] + np.cos(X @ waves[1]) + phases)


def rows_of(comm, plain, size):
    """Energy, and a row of place, gradient and Hessian product for each block, of energy and blended forces."""
    t = float(plain.far_field.griffith_K(plain.slab.surface_energy))
    body = bodies.with_random_handshake(plain, size, degrees=(1,))
    assembly = bodies.coupled(body, 7.0, 6.0, mesh="matching", comm=comm)
    X, atoms = bodies.block_places(assembly)
    z = assembly.problem.kinematics.unknowns.vector()
    way, gradient, product = z.duplicate(), z.duplicate(), z.duplicate()
    z.array, way.array = field(X, 1, 0.02).ravel(), field(X, 2, 1.0).ravel()
    out = []
    for terms in (assembly.problem.terms, assembly.force_terms):
        problem = assembly.problem.with_terms(terms)
        energy = problem.evaluate(z, t, gradient)
        problem.linearise(z, t)(way, product)
        columns = [X, atoms, gradient.array.reshape(-1, 3), product.array.reshape(-1, 3)]
        rows = np.concatenate(comm.allgather(np.column_stack(columns)))
        out.append((energy, rows[np.lexsort(rows[:, :4].round(6).T)]))
    return out


def main(comm, out):
    plain = bodies.cracked(bodies.eam4(), 40.0)
    found = {}
    for size in SIZES:
        several = rows_of(comm, plain, size)
        if comm.rank == 0:
            one = rows_of(MPI.COMM_SELF, plain, size)
            for which, ours, theirs in zip(("energy", "forces"), one, several, strict=True):
                name = f"{which} {size}"
                found[f"sum, {name}"] = (ours[0], theirs[0])
                found[f"rows, {name}"] = (ours[1], theirs[1])
    if comm.rank == 0:
        np.savez(out, **found)


if __name__ == "__main__":
    main(MPI.COMM_WORLD, sys.argv[1])
