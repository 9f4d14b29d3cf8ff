# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a patch of atoms is to the terms and lifts above it, whichever sort of potential it holds."""

from __future__ import annotations

from typing import Protocol

from mpi4py import MPI

import numpy as np
from numpy.typing import NDArray

from msolve.parallel import Halo
from msolve.potentials.clock import Clock
from msolve.potentials.protocol import Potential

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Patch(Protocol):
    """Atoms with a potential, each owned by one rank; ``AtomisticPatch`` says what each member is."""

    comm: MPI.Comm
    numbers: IntArray
    owner: IntArray
    version: int
    clock: Clock

    @property
    def model(self) -> Potential:
        """The potential."""
        ...

    @property
    def has_energy(self) -> bool:
        """Whether energies are known, or only gradients."""
        ...

    @property
    def local(self) -> IntArray:
        """Global indices of the local atoms, owned ones first, shape ``(n_local,)``."""
        ...

    @property
    def n_owned(self) -> int:
        """Number of atoms this rank owns."""
        ...

    @property
    def halo(self) -> Halo:
        """Exchange between the owned atoms and their copies on other ranks."""
        ...

    @property
    def busy(self) -> float:
        """Processor time that this rank has worked on the potential, waiting for others left out [s]."""
        ...

    def needs_rebuild(self, positions: Array) -> bool:
        """Tell whether some atom has moved too far for the present lists. Collective."""
        ...

    def rebuild(self, positions: Array) -> None:
        """Make new lists from the positions of all atoms. Collective."""
        ...

    def evaluate(self, positions: Array, weight: Array) -> tuple[float, Array]:
        """Weighted energy of this rank's sites, and this rank's share of its gradient."""
        ...

    def hessian_product(self, positions: Array, weight: Array, direction: Array) -> Array:
        """This rank's share of the Hessian of the weighted energy times a direction."""
        ...

    def site_energies(self, positions: Array) -> Array:
        """Energies of the owned sites [eV]."""
        ...

    def force_spread(self, positions: Array) -> Array | None:
        """How far the members of a committee are apart, by owned atom [eV/Å]; ``None`` without one. Collective."""
        ...
