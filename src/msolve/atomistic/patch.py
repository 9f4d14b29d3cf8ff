# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A patch of atoms, shared among ranks, whose site energies are added up with any weights.

Gives the weighted energy, its gradient and its Hessian products as each rank's share. It does not
add the shares up: whoever owns the unknowns does, together with all other terms.
"""

from __future__ import annotations

from mpi4py import MPI

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.atomistic.lists import AtomsOfRank, Lists, Selection, make_lists, select, site_costs
from msolve.atomistic.neighbours import near
from msolve.errors import ConvergenceError, UnsupportedError
from msolve.parallel import Halo, bisect_owners
from msolve.potentials.clock import Clock
from msolve.potentials.committee import Committee
from msolve.potentials.engine import Linearisation, site_energies, weighted_energy
from msolve.potentials.exchange import RankExchange
from msolve.potentials.protocol import ForceModel, Potential, SiteModel

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class AtomisticPatch:
    """Atoms with a potential, each owned by one rank.

    Every rank knows all reference positions and weights, but evaluates only the sites it owns.
    Local atoms are the owned ones (by rising global index) and then copies of those of other ranks
    within ``cutoff + skin`` of an owned atom that takes part; for potentials of several layers that do not
    exchange features, one such width a layer.

    Args:
        comm: Ranks that share the atoms.
        model: The potential.
        numbers: Atomic numbers, shape ``(n,)``.
        cell: Lattice vectors as rows, shape ``(3, 3)`` [Å]; rows of open axes are not used.
        periodic: Which axes are periodic, shape ``(3,)``.
        positions: All atoms, the same on every rank, shape ``(n, 3)`` [Å].
        needed_weight: Sites whose energy may ever be asked for, shape ``(n,)``, bool.
        owner: Rank that owns each atom, shape ``(n,)``; bisected across the open axes if None.
        skin: Extra length of the listed edges [Å]; lists hold until an atom moves by half of it.

    Attributes:
        version: Grows with each rebuild; 0 as long as there are no lists, which the first call that needs them
            makes at the reference positions.
        clock: Time that the potential took, waiting for features of other ranks included.

    Raises:
        UnsupportedError: The potential does not know an element.

    Note:
        :meth:`needs_rebuild`, :meth:`rebuild` and whatever comes before them are collective; for potentials
        with feature exchange so are :meth:`evaluate`, :meth:`hessian_product`, :meth:`site_energies`.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        model: SiteModel,
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
        x = np.asarray(positions, dtype=np.float64)
        self.owner = own_atoms(comm, model, self.cell, self.periodic, x, self.needed, owner)
        self._atoms = AtomsOfRank.of(comm, self.owner)
        self._own = self._atoms.own
        self._selections: list[Selection] = []
        self._linear: tuple[Selection, Array, Linearisation] | None = None
        self._reference = x
        self._made: Lists | None = None

    @property
    def _lists(self) -> Lists:
        # Made when they are first asked for: a loaded body starts from elsewhere, and lists are costly.
        if self._made is None:
            self._made = self._build(self._reference)
        return self._made

    @property
    def has_energy(self) -> bool:
        """Always true: site energies are known."""
        return True

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
    def sent(self) -> int:
        """Bytes that this rank has sent with the present lists: positions, gradients, features."""
        return self.halo.sent + sum(halo.sent for halo in self._feature_halos())

    @property
    def busy(self) -> float:
        """Processor time that this rank has worked on the potential with the present lists, waiting left out [s]."""
        return self.clock.busy - sum(halo.waited for halo in self._feature_halos())

    def needs_rebuild(self, positions: Array) -> bool:
        """Tell whether some atom has moved too far for the present lists.

        Args:
            positions: Local atoms, shape ``(n_local, 3)`` [Å].

        Note:
            Collective.
        """
        moved = positions[: self.n_owned] - self._lists.start
        furthest = np.sqrt(np.einsum("ac,ac->a", moved, moved).max(initial=0.0))
        # Written so that positions that are not numbers also ask for new lists.
        fine = bool(furthest <= 0.5 * self.skin)
        return not self.comm.allreduce(fine, op=MPI.LAND)

    def rebuild(self, positions: Array) -> None:
        """Make new lists; copies, their order and ``version`` change, ownership does not.

        Args:
            positions: All atoms, the same on every rank, shape ``(n, 3)`` [Å].

        Note:
            Collective.
        """
        self._selections, self._linear = [], None
        self._made = self._build(np.asarray(positions, dtype=np.float64))

    def evaluate(self, positions: Array, weight: Array) -> tuple[float, Array]:
        """Weighted energy of this rank's sites, and its gradient.

        Args:
            positions: Local atoms, shape ``(n_local, 3)`` [Å].
            weight: Factor on each site energy, for all atoms, shape ``(n,)`` [-].

        Returns:
            ``(energy, gradient)``: Σ wᵢ εᵢ over the owned sites [eV], and this rank's share of the
            gradient, copies included, shape ``(n_local, 3)`` [eV/Å]; the shares of all ranks add
            up to the gradient of the total energy.

        Raises:
            ConvergenceError: The energy, the gradient or a position is not finite (raised on every
                rank if the potential exchanges features, else on the ranks where it is so).

        Note:
            Collective if the potential exchanges features.
        """
        chosen = self._select(weight)
        with self.clock:
            energy, part = weighted_energy(
                self.model, chosen.near, positions[chosen.rows], chosen.site_weight, chosen.halo
            )
        # Edges of atoms without a place are in no list, so the places have to be looked at too.
        finite = bool(
            np.isfinite(energy) and np.isfinite(part).all() and np.isfinite(positions).all()
        )
        if self.model.exchange:
            finite = self.comm.allreduce(finite, op=MPI.LAND)
        if not finite:
            raise ConvergenceError(
                f"the energy of the atoms ({self.model.name}) is not finite: atoms coincide or "
                "have left the range of the potential; try smaller load steps"
            )
        return energy, self._expand(part, chosen)

    def hessian_product(self, positions: Array, weight: Array, direction: Array) -> Array:
        """Hessian of the weighted energy times a direction.

        Args:
            positions: Local atoms, shape ``(n_local, 3)`` [Å].
            weight: Factor on each site energy, for all atoms, shape ``(n,)`` [-].
            direction: Change of all local atoms, copies included, shape ``(n_local, 3)`` [Å].

        Returns:
            This rank's share of the product, shape ``(n_local, 3)`` [eV/Å].

        Note:
            Collective if the potential exchanges features. Further products at the same positions
            and weight are cheaper.
        """
        chosen = self._select(weight)
        with self.clock:
            product = self._linearise(positions, chosen).product(direction[chosen.rows])
        return self._expand(product, chosen)

    def site_energies(self, positions: Array) -> Array:
        """Energies of the owned sites.

        Args:
            positions: Local atoms, shape ``(n_local, 3)`` [Å].

        Returns:
            Shape ``(n_owned,)`` [eV]; nan where ``needed_weight`` is false.

        Note:
            Collective if the potential exchanges features.
        """
        chosen = self._select(self.needed.astype(np.float64))
        with self.clock:
            found = site_energies(self.model, chosen.near, positions[chosen.rows], chosen.halo)
        energies = np.full(self.n_owned, np.nan)
        energies[chosen.rows[: chosen.n_owned]] = found[: chosen.n_owned]
        energies[~self.needed[self._own]] = np.nan
        return energies

    def force_spread(self, positions: Array) -> Array | None:
        """How far the members of a committee are apart in the force on each owned atom.

        Args:
            positions: Local atoms, shape ``(n_local, 3)`` [Å].

        Returns:
            Root of the mean square distance from the mean force, shape ``(n_owned,)`` [eV/Å]; nan where a site
            outside ``needed_weight`` has a share in the force. ``None`` if the potential is no committee.

        Note:
            Collective.
        """
        if not isinstance(self.model, Committee):
            return None
        chosen = self._select(self.needed.astype(np.float64))
        gradients = []
        for member in self.model.members:
            with self.clock:
                _, part = weighted_energy(
                    member, chosen.near, positions[chosen.rows], chosen.site_weight, chosen.halo
                )
            whole = self._expand(part, chosen)
            gradients.append(whole[: self.n_owned] + self.halo.reverse(whole[self.n_owned :]))
        apart = np.array(gradients) - np.mean(gradients, axis=0)
        spread = np.sqrt(np.einsum("kac,kac->a", apart, apart) / len(gradients))
        reach = self.model.reach
        cut = near(self._reference, self.cell, self.periodic, ~self.needed, reach)
        spread[cut[self._own]] = np.nan
        return spread

    def _feature_halos(self) -> list[Halo]:
        return [c.halo.halo for c in self._selections if isinstance(c.halo, RankExchange)]

    def _build(self, x: Array) -> Lists:
        self.version += 1
        return make_lists(
            self._atoms, self.model, self.cell, self.periodic, self.needed, x, self.skin
        )

    def _select(self, weight: Array) -> Selection:
        # Compared by value: all ranks hold the same weights, so all find or miss together.
        for known in self._selections:
            if known.weight is weight or np.array_equal(known.weight, weight):
                return known
        if np.any(np.asarray(weight)[~self.needed] != 0):
            raise ValueError("a weight differs from 0 on a site outside needed_weight")
        chosen = select(self._atoms, self.model, self._lists, self.numbers, weight)
        self._selections = [chosen, *self._selections[:3]]
        return chosen

    def _linearise(self, positions: Array, chosen: Selection) -> Linearisation:
        known = self._linear
        same = known is not None and known[0] is chosen and np.array_equal(known[1], positions)
        if self.model.exchange:
            # The kept graph holds features of other ranks: it is stale if any of them has moved.
            same = self.comm.allreduce(same, op=MPI.LAND)
        if known is None or not same:
            linear = Linearisation(
                self.model, chosen.near, positions[chosen.rows], chosen.site_weight, chosen.halo
            )
            known = self._linear = (chosen, positions.copy(), linear)
        return known[2]

    def _expand(self, part: Array, chosen: Selection) -> Array:
        whole = np.zeros((len(self.local), 3))
        whole[chosen.rows] = part
        return whole


def cluster_energy(
    model: Potential, positions: Array, numbers: ArrayLike, cell: ArrayLike, periodic: ArrayLike
) -> tuple[float, Array]:
    """Energy of some atoms and its gradient, on the calling rank alone.

    Args:
        model: The potential, of either sort.
        positions: Atoms, shape ``(n, 3)`` [Å].
        numbers: Atomic numbers, shape ``(n,)``.
        cell: Lattice vectors as rows, shape ``(3, 3)`` [Å].
        periodic: Which axes are periodic, shape ``(3,)``.

    Returns:
        Energy [eV] and its gradient, shape ``(n, 3)`` [eV/Å].
    """
    if isinstance(model, ForceModel):
        found = model.cluster(positions, numbers, cell, periodic)
        return found.energy, found.gradient
    every = np.ones(len(positions), dtype=bool)
    patch = AtomisticPatch(
        MPI.COMM_SELF, model, numbers, cell, periodic, positions, every, skin=0.0
    )
    return patch.evaluate(np.asarray(positions, dtype=np.float64), every.astype(np.float64))


def own_atoms(
    comm: MPI.Comm,
    model: Potential,
    cell: Array,
    periodic: BoolArray,
    x: Array,
    needed: BoolArray,
    owner: ArrayLike | None,
) -> IntArray:
    """The given owners, or else ones found by bisection across the open axes by cost, shape ``(n,)``."""
    if owner is None:
        cuttable = x if periodic.all() else x[:, ~periodic]
        owner = bisect_owners(cuttable, site_costs(model, cell, periodic, x, needed), comm.size)
    return np.asarray(owner, dtype=np.int64)


def check_elements(model: Potential, numbers: IntArray) -> None:
    """Raise ``UnsupportedError`` where the potential does not know an element."""
    strange = sorted({int(z) for z in np.unique(numbers)} - model.numbers)
    if strange:
        raise UnsupportedError(
            f"the potential {model.name} knows the atomic numbers {sorted(model.numbers)}, "
            f"but the atoms hold {strange}; choose a potential made for them"
        )
