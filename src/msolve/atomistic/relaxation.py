# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Relaxing a few hundred atoms on one rank: slabs and defects in small periodic cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mpi4py import MPI

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from msolve.atomistic.patch import AtomisticPatch, cluster_energy
from msolve.errors import ConvergenceError
from msolve.potentials.protocol import ForceModel, Potential

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

FORCE_TOLERANCE = 1e-6
"""Largest component of a force at rest [eV/Å]; leaves positions accurate to about 1e-7 Å."""


@dataclass(frozen=True)
class Relaxed:
    """Atoms at rest.

    Attributes:
        energy: Their energy [eV].
        displacement: How far each has moved, shape ``(n, 3)`` [Å].
        residual: Largest component of a force [eV/Å].
    """

    energy: float
    displacement: Array
    residual: float


def relax_atoms(
    model: Potential,
    positions: Array,
    numbers: IntArray,
    cell: Array,
    periodic: NDArray[np.bool_],
    what: str,
) -> Relaxed:
    """Move atoms to the nearest minimum of their energy, by L-BFGS. Rank-local.

    Args:
        model: Potential.
        positions: Atoms, shape ``(n, 3)`` [Å].
        numbers: Atomic numbers, shape ``(n,)``.
        cell: Lattice vectors as rows, shape ``(3, 3)`` [Å]; kept.
        periodic: Which axes are periodic, shape ``(3,)``.
        what: What to call the atoms in a message.

    Raises:
        ConvergenceError: They do not come to rest.
    """
    evaluate = energy_of(model, positions, numbers, cell, periodic)

    def objective(u: Array) -> tuple[float, Array]:
        energy, gradient = evaluate(positions + u.reshape(-1, 3))
        return energy, gradient.ravel()

    found = optimize.minimize(
        objective,
        np.zeros(positions.size),
        jac=True,
        method="L-BFGS-B",
        options={"gtol": FORCE_TOLERANCE, "ftol": 0.0, "maxiter": 500, "maxcor": 30},
    )
    worst = float(np.abs(found.jac).max())
    if worst > 100 * FORCE_TOLERANCE:
        raise ConvergenceError(
            f"{what} did not relax: largest gradient {worst:.2g} eV/angstrom "
            f"after {found.nit} iterations"
        )
    return Relaxed(float(found.fun), found.x.reshape(-1, 3), worst)


def energy_of(
    model: Potential, X: Array, numbers: IntArray, cell: Array, periodic: NDArray[np.bool_]
) -> Callable[[Array], tuple[float, Array]]:
    """Energy [eV] and its gradient ``(n, 3)`` [eV/Å] as a function of the positions; lists are kept while they hold."""
    if isinstance(model, ForceModel):
        # Not the sum of its shares of the energy, which it may not give.
        return lambda y: cluster_energy(model, y, numbers, cell, periodic)
    ones = np.ones(len(X))
    patch = AtomisticPatch(MPI.COMM_SELF, model, numbers, cell, periodic, X, ones)

    def evaluate(y: Array) -> tuple[float, Array]:
        if patch.needs_rebuild(y):
            patch.rebuild(y)
        return patch.evaluate(y, ones)

    return evaluate
