# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Energy, gradient and virial of a periodic cell of atoms from a site model. Knows no neighbour search."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from msolve.potentials.engine import edge_slopes
from msolve.potentials.protocol import SiteModel

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


class CellForces(NamedTuple):
    """What a potential says of a periodic cell.

    Attributes:
        energy: Energy of the cell [eV].
        gradient: Its derivative by the positions, minus the forces, shape ``(n, 3)`` [eV/Å].
        virial: Its derivative by a strain that moves cell and atoms, shape ``(3, 3)`` [eV].
    """

    energy: float
    gradient: Array
    virial: Array


def of_edges(
    model: SiteModel, positions: Array, numbers: IntArray, pair: IntArray, shift: Array
) -> CellForces:
    """Of a cell whose edges are known. Rank-local.

    Args:
        model: The potential; message passing stays inside the cell.
        positions: Atoms, shape ``(n, 3)`` [Å].
        numbers: Atomic numbers, shape ``(n,)``.
        pair: Centre and neighbour of all edges shorter than the cutoff, shape ``(2, e)``.
        shift: Lattice vector to add to each neighbour, shape ``(e, 3)`` [Å].
    """
    vec = positions[pair[1]] - positions[pair[0]] + shift
    energy, slopes = edge_slopes(
        model,
        torch.as_tensor(vec, device=model.device),
        torch.as_tensor(pair, device=model.device),
        torch.as_tensor(numbers, device=model.device),
        len(positions),
    )
    by_edge = slopes.cpu().numpy()
    gradient = np.zeros_like(positions)
    for axis in range(3):
        gradient[:, axis] = np.bincount(pair[1], by_edge[:, axis], len(positions))
        gradient[:, axis] -= np.bincount(pair[0], by_edge[:, axis], len(positions))
    virial = by_edge.T @ vec
    return CellForces(float(energy.sum()), gradient, 0.5 * (virial + virial.T))
