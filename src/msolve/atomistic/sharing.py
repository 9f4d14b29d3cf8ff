# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The patch that fits a potential: site energies are shared one way, forces of a black box another."""

from __future__ import annotations

from mpi4py import MPI

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.atomistic.force_patch import ForcePatch
from msolve.atomistic.patch import AtomisticPatch
from msolve.atomistic.protocol import Patch
from msolve.potentials.protocol import ForceModel, Potential

Array = NDArray[np.float64]


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
) -> Patch:
    """A patch for either sort of potential; arguments as for ``AtomisticPatch``. Collective."""
    make = ForcePatch if isinstance(model, ForceModel) else AtomisticPatch
    return make(comm, model, numbers, cell, periodic, positions, needed_weight, owner, skin)  # type: ignore[arg-type]
