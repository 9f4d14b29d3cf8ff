# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A material law whose points one rank evaluates for several: the one that holds the GPU, say."""

from __future__ import annotations

from collections.abc import Callable

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from msolve.continuum.energy import Material
from msolve.parallel import all_or_none

Array = npt.NDArray[np.float64]


class PooledLaw:
    """Gathers the points of all ranks of a pool on its first, and sends back what the law says of them.

    Args:
        law: The law; asked on the first rank of the pool only.
        pool: The ranks.

    Note:
        Every call is collective over the pool, with any number of points, also none.
    """

    collective = True

    def __init__(self, law: Material, pool: MPI.Comm) -> None:
        self._law = law
        self._pool = pool

    def energy_density(self, F: Array) -> tuple[Array, Array]:
        """See ``Material``. Collective."""

        def ask(points: Array) -> Array:
            W, P = self._law.energy_density(points)
            return np.column_stack([W, P.reshape(-1, 9)])

        found = self._answer(F, ask, 10)
        return found[:, 0].copy(), found[:, 1:].reshape(-1, 3, 3).copy()

    def tangent(self, F: Array) -> Array:
        """See ``Material``. Collective."""
        found = self._answer(F, lambda points: self._law.tangent(points).reshape(-1, 81), 81)
        return found.reshape(-1, 3, 3, 3, 3)

    def _answer(self, F: Array, ask: Callable[[Array], Array], width: int) -> Array:
        pool, works = self._pool, self._pool.rank == 0
        counts = np.array(pool.allgather(len(F)))
        points = np.empty((counts.sum() if works else 0, 3, 3))
        pool.Gatherv(np.ascontiguousarray(F), [points, 9 * counts])
        answers: Array = np.empty((0, width))
        with all_or_none(pool, "evaluating the law of the continuum"):
            if works and len(points):
                answers = np.ascontiguousarray(ask(points))
        mine = np.empty((len(F), width))
        pool.Scatterv([answers, width * counts], mine)
        return mine
