# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A patch of atoms whose potential is a black box: only forces, and shares of the energy where given.

Each rank hands its own atoms and a halo as wide as a force reaches to the black box and keeps the
rows of its own atoms. Nothing is sent back: every force is computed whole by the rank that owns it.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpi4py import MPI

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.atomistic.lists import AtomsOfRank
from msolve.atomistic.neighbours import near
from msolve.atomistic.patch import check_elements, own_atoms
from msolve.errors import ConvergenceError, UnsupportedError
from msolve.parallel import Halo
from msolve.potentials.clock import Clock
from msolve.potentials.protocol import ForceModel

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CURVATURE = 50.0
"""Assumed third derivative of a force over its first [1/Å²], to weigh truncation against round-off."""

SMALLEST_STEP = 1e-4
"""Smallest step of the differences of forces [Å]."""


@dataclass(frozen=True)
class _Lists:
    """Everything that a rebuild replaces: local atoms, their halo, those computed, and start positions."""

    local: IntArray
    halo: Halo
    rows: IntArray
    start: Array


class ForcePatch:
    """Atoms with a black box for a potential, each owned by one rank.

    Has the interface of ``AtomisticPatch``. Site weights are 0 or 1. Gradients are minus the forces of
    the black box on the owned atoms, on those that no site of weight 0 is within reach of; other
    rows, which the atoms of the patch do not determine, are zero. Hessian products are central differences
    of forces, with a step that balances truncation against the round-off measured of the black box:
    relative errors are about 1e-7 where forces are computed in double precision.

    Args:
        comm: Ranks that share the atoms.
        model: The black box.
        numbers: Atomic numbers, shape ``(n,)``.
        cell: Lattice vectors as rows, shape ``(3, 3)`` [Å]; rows of open axes are not used.
        periodic: Which axes are periodic, shape ``(3,)``.
        positions: All atoms, the same on every rank, shape ``(n, 3)`` [Å].
        needed_weight: Sites whose energy may ever be asked for, shape ``(n,)``, bool.
        owner: Rank that owns each atom, shape ``(n,)``; bisected across the open axes if None.
        skin: Extra width of the halo [Å]; it holds until an atom moves by half of it.

    Attributes:
        clock: Time that the black box took.

    Raises:
        UnsupportedError: The black box is not used for an element.

    Note:
        Construction, :meth:`needs_rebuild`, :meth:`rebuild` and :meth:`hessian_product` are collective.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        model: ForceModel,
        numbers: ArrayLike,
        cell: ArrayLike,
        periodic: ArrayLike,
        positions: Array,
        needed_weight: ArrayLike,
        owner: ArrayLike | None = None,
        skin: float = 0.5,
    ) -> None:
        self.comm = comm
        self.model = model
        self.numbers = np.asarray(numbers, dtype=np.int64)
        self.cell = np.asarray(cell, dtype=np.float64)
        self.periodic = np.asarray(periodic, dtype=bool)
        self.needed = np.asarray(needed_weight, dtype=bool)
        self.skin = float(skin)
        self.version = 0
        self.clock = Clock()
        check_elements(model, self.numbers)
        x = np.array(positions, dtype=np.float64)
        self.owner = own_atoms(comm, model, self.cell, self.periodic, x, self.needed, owner)
        atoms = AtomsOfRank.of(comm, self.owner)
        self._place, self._own = atoms.place, atoms.own
        self._reference = x
        self._whole: list[tuple[Array, BoolArray]] = []
        self._lists = self._build(x)

    @property
    def has_energy(self) -> bool:
        """Whether the black box gives shares of the energy."""
        return "site_energy" in self.model.gives

    @property
    def local(self) -> IntArray:
        """Global indices of the local atoms, owned ones first, shape ``(n_local,)``."""
        return self._lists.local

    @property
    def n_owned(self) -> int:
        """Number of atoms this rank owns."""
        return len(self._own)

    @property
    def halo(self) -> Halo:
        """Exchange between the owned atoms and their copies on other ranks."""
        return self._lists.halo

    @property
    def busy(self) -> float:
        """Processor time of the black box [s]."""
        return self.clock.busy

    @property
    def step(self) -> float:
        """Largest displacement of an atom in the differences of forces [Å]."""
        return max(SMALLEST_STEP, (3 * self.model.noise / CURVATURE) ** (1 / 3))

    def needs_rebuild(self, positions: Array) -> bool:
        """See ``AtomisticPatch``. Collective."""
        moved = positions[: self.n_owned] - self._lists.start
        furthest = np.sqrt(np.einsum("ac,ac->a", moved, moved).max(initial=0.0))
        fine = bool(furthest <= 0.5 * self.skin)
        return not self.comm.allreduce(fine, op=MPI.LAND)

    def rebuild(self, positions: Array) -> None:
        """See ``AtomisticPatch``. Collective."""
        self._lists = self._build(np.asarray(positions, dtype=np.float64))

    def evaluate(self, positions: Array, weight: Array) -> tuple[float, Array]:
        """Energy of this rank's sites, and this rank's rows of the gradient.

        Args:
            positions: Local atoms, shape ``(n_local, 3)`` [Å].
            weight: 0 or 1 for each site, for all atoms, shape ``(n,)``.

        Returns:
            ``(energy, gradient)``: sum over the owned sites of weight 1 [eV], nan where the black box gives
            no shares; gradient, shape ``(n_local, 3)`` [eV/Å], zero for copies.

        Raises:
            UnsupportedError: A weight lies between 0 and 1.
            ConvergenceError: Something is not finite, or the black box gave up; on the ranks where it is so.
        """
        whole = self._whole_forces(weight)
        energies, gradient = self._compute(positions)
        gradient[~whole] = 0.0
        if energies is None:
            return float("nan"), gradient
        return float(energies[: self.n_owned][weight[self._own] != 0].sum()), gradient

    def hessian_product(self, positions: Array, weight: Array, direction: Array) -> Array:
        """See ``AtomisticPatch``; by central differences of forces, two evaluations. Collective."""
        whole = self._whole_forces(weight)
        length = float(np.sqrt(np.einsum("ac,ac->a", direction, direction).max(initial=0.0)))
        length = self.comm.allreduce(length, op=MPI.MAX)
        if length == 0.0:
            return np.zeros_like(direction)
        scale = self.step / length
        failure, change = None, np.zeros_like(positions)
        try:
            change = self._compute(positions + scale * direction)[1]
            change -= self._compute(positions - scale * direction)[1]
        except ConvergenceError as error:
            failure = error
        if self.comm.allreduce(failure is not None, op=MPI.LOR):
            raise failure or ConvergenceError("the forces on another rank's atoms are not finite")
        change[~whole] = 0.0
        return change / (2 * scale)

    def site_energies(self, positions: Array) -> Array:
        """Shares of the owned atoms, ``(n_owned,)`` [eV]; nan where not needed or not given."""
        energies = self._compute(positions)[0]
        out = np.full(self.n_owned, np.nan)
        if energies is not None:
            wanted = self.needed[self._own]
            out[wanted] = energies[: self.n_owned][wanted]
        return out

    def force_spread(self, positions: Array) -> Array | None:
        """None: a black box has no members that could be asked."""
        return None

    def _compute(self, positions: Array) -> tuple[Array | None, Array]:
        rows = self._lists.rows
        with self.clock:
            found = self.model.cluster(
                positions[rows], self.numbers[self.local[rows]], self.cell, self.periodic
            )
        gradient = np.zeros((len(self.local), 3))
        gradient[rows] = found.gradient
        if found.site_energy is None:
            # A rank without atoms to compute has shares, of nothing; whether there are any is the model's word.
            return (np.zeros(len(self.local)) if self.has_energy else None), gradient
        energies = np.zeros(len(self.local))
        energies[rows] = found.site_energy
        return (energies if self.has_energy else None), gradient

    def _whole_forces(self, weight: Array) -> BoolArray:
        """Local atoms, owned here, whose force the sites of weight 1 determine, shape ``(n_local,)``."""
        whole = next((m for w, m in self._whole if w is weight or np.array_equal(w, weight)), None)
        if whole is None:
            w = np.asarray(weight, dtype=np.float64)
            if np.any((w != 0) & (w != 1)):
                raise UnsupportedError(
                    f"the potential {self.model.name} gives forces only: its site energies cannot be "
                    "blended; coupling methods bqcf and atomistic work with it"
                )
            if np.any(w[~self.needed] != 0):
                raise ValueError("a weight differs from 0 on a site outside needed_weight")
            whole = (w != 0) & ~self._near_to(self._reference, w == 0, self.model.reach)
            self._whole = [(w.copy(), whole), *self._whole[:3]]
        here = np.zeros(len(self.local), dtype=bool)
        here[: self.n_owned] = whole[self._own]
        return here

    def _near_to(self, x: Array, of: BoolArray, distance: float) -> BoolArray:
        return near(x, self.cell, self.periodic, of, distance)

    def _build(self, x: Array) -> _Lists:
        mine = self.owner == self.comm.rank
        sites = self.needed & mine
        forces = sites & ~self._near_to(self._reference, ~self.needed, self.model.reach)
        computed = self._near_to(x, forces, 2 * self.model.cutoff + self.skin)
        if self.has_energy:
            computed |= self._near_to(x, sites, self.model.reach + self.skin)
        ghosts = np.flatnonzero(computed & ~mine)
        local = np.concatenate([self._own, ghosts])
        rows = np.flatnonzero(computed[local])
        halo = Halo(self.comm, len(self._own), self.owner[ghosts], self._place[ghosts])
        self.version += 1
        return _Lists(local, halo, rows, x[self._own].copy())
