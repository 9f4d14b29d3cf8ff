# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""An estimate place by place: for each atom of the coupled model, and summed up over the cells of its mesh."""

from __future__ import annotations

from dataclasses import dataclass

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.assemble import Assembly
from msolve.compare import SAME
from msolve.estimate.numbers import Places

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Indicators:
    """Local estimates.

    Attributes:
        atom_error: Length of the expected error of each atom of the patch, 0 where it was not visited, ``(n,)`` [Å].
        atom_source: Where the error comes from: square of the force over the stiffness that holds the atom [eV].
        cell_error: Largest expected error of an atom in each owned cell, 0 without one, ``(n_cells,)`` [Å].
        cell_source: Sum of the sources of a cell's atoms, ``(n_cells,)`` [eV].
    """

    atom_error: Array
    atom_source: Array
    cell_error: Array
    cell_source: Array


class Locator:
    """Where the atoms of an estimate lie in the coupled model; found once.

    Args:
        coupled: The coupled problem.
        X: Reference positions of the atoms, the same on every rank, shape ``(n, 3)`` [Å].

    Note:
        Construction is collective.
    """

    def __init__(self, coupled: Assembly, X: Array) -> None:
        space = coupled.problem.kinematics.space
        assert space is not None
        distance, self._row = spatial.cKDTree(X).query(coupled.X)
        self._known = distance < SAME
        self._n_cells = space.n_cells
        point, cell, _, inside = space.find_cells(X)
        deepest, rank = np.full(len(X), -np.inf), np.full(len(X), space.comm.size)
        deepest[point] = np.round(inside, 9)
        every = np.empty_like(deepest)
        space.comm.Allreduce(deepest, every, op=MPI.MAX)
        rank[point[deepest[point] == every[point]]] = space.comm.rank
        first = np.empty_like(rank)
        space.comm.Allreduce(rank, first, op=MPI.MIN)
        mine = first[point] == space.comm.rank
        self._point, self._cell = point[mine], cell[mine]

    def __call__(self, places: Places) -> Indicators:
        """Sort an estimate of these atoms. Rank-local."""
        length = np.linalg.norm(places.error, axis=1)
        largest = np.zeros(self._n_cells)
        np.maximum.at(largest, self._cell, length[self._point])
        source = np.bincount(
            self._cell, weights=places.source[self._point], minlength=self._n_cells
        )
        return Indicators(
            np.where(self._known, length[self._row], 0.0),
            np.where(self._known, places.source[self._row], 0.0),
            largest,
            source.astype(np.float64),
        )
