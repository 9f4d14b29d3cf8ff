# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Run by test_pools.py under mpirun: a law whose points the first rank of each pool evaluates."""

from mpi4py import MPI

import numpy as np

from msolve.continuum.pooled import PooledLaw
from msolve.errors import ConvergenceError
from msolve.parallel import Pools


class Counted:
    """A law of polynomials that counts the points it is asked for, and fails where told."""

    def __init__(self):
        self.points = 0

    def energy_density(self, F):
        self.points += len(F)
        if np.isnan(F).any():
            raise ConvergenceError("not a number")
        return np.einsum("nij,nij->n", F, F) / 2, F.copy()

    def tangent(self, F):
        self.points += len(F)
        eye = np.einsum("ik,jl->ijkl", np.eye(3), np.eye(3))
        return eye * F[:, :1, :1, None, None]


def main():
    comm = MPI.COMM_WORLD
    for n_pools in (1, 2, comm.size, comm.size + 3):
        pools = Pools.of(comm, n_pools)
        n = min(n_pools, comm.size)
        assert len(pools.first) == n and pools.first[0] == 0
        assert comm.allreduce(int(pools.works)) == n
        assert pools.works == (comm.rank in pools.first)
        lengths = comm.allgather(pools.comm.size)
        assert max(lengths) - min(lengths) <= 1
        law = Counted()
        pooled = PooledLaw(law, pools.comm)
        rng = np.random.default_rng(comm.rank)
        F = rng.normal(size=(5 * comm.rank % 7, 3, 3))
        W, P = pooled.energy_density(F)
        A = pooled.tangent(F)
        expected = Counted()
        assert np.array_equal(W, expected.energy_density(F)[0]) and np.array_equal(P, F)
        assert np.array_equal(A, expected.tangent(F))
        assert (law.points > 0) <= pools.works
        assert comm.allreduce(law.points) == comm.allreduce(expected.points)
        if comm.rank == comm.size - 1:
            F = np.full((2, 3, 3), np.nan)
        try:
            pooled.energy_density(F)
            failed = False
        except ConvergenceError:
            failed = True
        assert failed == (pools.comm.rank + comm.size - comm.rank == pools.comm.size)


if __name__ == "__main__":
    main()
