# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Who owns which atoms, by what they cost, and the patch that fits a potential.

Costs are first guessed from the layers that are computed of each atom, then measured: each rank evaluates its part,
and where one takes longer than the others its atoms count for more and are shared anew. Nothing but the
order of sums depends on who owns what.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpi4py import MPI

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.atomistic.force_patch import ForcePatch
from msolve.atomistic.lists import site_costs
from msolve.atomistic.patch import AtomisticPatch
from msolve.atomistic.protocol import Patch
from msolve.errors import ConvergenceError, UnsupportedError
from msolve.parallel import bisect_owners
from msolve.potentials.protocol import ForceModel, Potential

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

EVEN = 1.05
"""Seconds of the slowest rank over the mean at which sharing is good enough."""

ROUNDS = 3
"""Times that the ranks measure at most; the best sharing counts."""

WORTH = 0.02
"""Processor time of the slowest rank below which nothing is gained by sharing better [s]."""

LONG = 1.0
"""Processor time of an evaluation that is not repeated [s]; shorter ones are, the first being slower than others."""


@dataclass(frozen=True)
class Atoms:
    """What a patch is made of; see ``AtomisticPatch``."""

    model: Potential
    numbers: ArrayLike
    cell: ArrayLike
    periodic: ArrayLike
    positions: Array
    needed: ArrayLike
    skin: float

    def patch(self, comm: MPI.Comm, owner: IntArray) -> Patch:
        """The patch with these owners. Collective."""
        make = ForcePatch if isinstance(self.model, ForceModel) else AtomisticPatch
        return make(
            comm,
            self.model,  # type: ignore[arg-type]
            self.numbers,
            self.cell,
            self.periodic,
            self.positions,
            self.needed,
            owner,
            self.skin,
        )


def share_atoms(
    comm: MPI.Comm,
    model: Potential,
    numbers: ArrayLike,
    cell: ArrayLike,
    periodic: ArrayLike,
    positions: Array,
    needed_weight: ArrayLike,
    owner: ArrayLike | None = None,
    skin: float = 0.5,
    workers: ArrayLike | None = None,
) -> Patch:
    """A patch for either sort of potential; arguments as for ``AtomisticPatch``.

    Without ``owner``, ``workers`` are the ranks that may own atoms, by default all, and the potential is evaluated
    a few times to measure what its atoms cost.

    Note:
        Collective.
    """
    atoms = Atoms(model, numbers, cell, periodic, positions, needed_weight, skin)
    if owner is None:
        owner = share_by_cost(comm, atoms, np.arange(comm.size) if workers is None else workers)
    return atoms.patch(comm, np.asarray(owner, dtype=np.int64))


def share_by_cost(comm: MPI.Comm, atoms: Atoms, workers: ArrayLike) -> IntArray:
    """Owners of atoms that keep the ranks busy for equal times.

    Args:
        comm: Ranks that share the atoms.
        atoms: The atoms.
        workers: Ranks that may own some.

    Returns:
        Shape ``(n,)``.

    Note:
        Collective.
    """
    ranks = np.asarray(workers, dtype=np.int64)
    x = np.asarray(atoms.positions, dtype=np.float64)
    open_axes = ~np.asarray(atoms.periodic, dtype=bool)
    points = x[:, open_axes] if open_axes.any() else x
    cost = site_costs(
        atoms.model, np.asarray(atoms.cell), ~open_axes, x, np.asarray(atoms.needed, dtype=bool)
    )
    owner = bisect_owners(points, cost, len(ranks))
    best, shortest = owner, np.inf
    for _ in range(ROUNDS if len(ranks) > 1 else 0):
        taken = busy_seconds(comm, atoms, ranks[owner])[ranks]
        slowest = float(taken.max())
        if not np.isfinite(slowest) or slowest < WORTH:
            break
        if slowest < shortest:
            best, shortest = owner, slowest
        if slowest <= EVEN * taken.mean():
            break
        cost = recosted(cost, owner, taken)
        owner = bisect_owners(points, cost, len(ranks))
    return np.asarray(ranks[best])


def recosted(cost: Array, owner: IntArray, taken: Array) -> Array:
    """Costs that add up, for each owner, to what its atoms took.

    Args:
        cost: Costs so far, shape ``(n,)``.
        owner: Who owned each, shape ``(n,)``.
        taken: What the atoms of each owner took together, shape ``(n_owners,)``.
    """
    guessed = np.bincount(owner, cost, minlength=len(taken))
    pace = np.divide(taken, guessed, out=np.ones_like(taken), where=guessed > 0)
    return np.asarray(cost * pace[owner])


def busy_seconds(comm: MPI.Comm, atoms: Atoms, owner: IntArray) -> Array:
    """Processor time that each rank needs for energy and gradient of its part, waiting left out.

    Processor time, because other programs on the machine are no reason to share otherwise.

    Args:
        comm: Ranks that share the atoms.
        atoms: The atoms.
        owner: Rank that owns each.

    Returns:
        Shape ``(comm.size,)`` [s]; nan everywhere where the atoms cannot be evaluated as they stand.

    Note:
        Collective.
    """
    patch = atoms.patch(comm, owner)
    x, weight = atoms.positions[patch.local], np.asarray(atoms.needed, dtype=np.float64)
    found: list[Array] = []
    while len(found) < 3 and (not found or found[-1].max() < LONG):
        before, failed = patch.busy, False
        try:
            patch.evaluate(x, weight)
        except (ConvergenceError, UnsupportedError):
            # The run will meet the same, and says so in its own place.
            failed = True
        found.append(np.array(comm.allgather(np.nan if failed else patch.busy - before)))
        if np.isnan(found[-1]).any():
            return np.full(comm.size, np.nan)
    return np.asarray(np.min(found, axis=0))
