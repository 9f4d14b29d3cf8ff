# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Potentials of other programs: what is known of one, and how its ranges and round-off are measured.

An *engine* computes (``lammps``, ``calculator``); :class:`BlackBox` adds what msolve must know
beyond forces: how far they reach, how noisy they are, whether shares of the energy and the virial
are given. These are measured on the crystal in use, not believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.crystal import Crystal
from msolve.errors import CaseError, ConvergenceError, UnsupportedError
from msolve.potentials.protocol import ClusterForces, CrystalForces

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

STRAIN = 1e-4
"""Strain of the energy differences that stand in for a virial [-]; leaves it right to about 1e-7."""

_RATTLE = 0.03  # [Å], of the crystal whose response is measured
_PUSH = 0.01  # [Å], of the atom whose effect is looked for
_SLACK = (
    0.02  # [Å], by which a range may exceed what was declared: cutoffs are met by rattled atoms
)


class Engine(Protocol):
    """The program behind a black box. May return what is not finite; the caller looks."""

    def cluster(
        self, positions: Array, numbers: IntArray, cell: Array, periodic: NDArray[np.bool_]
    ) -> ClusterForces:
        """See ``ForceModel.cluster``."""
        ...

    def crystals(
        self, cells: Array, places: Array, numbers: IntArray
    ) -> tuple[Array, Array, Array | None]:
        """See ``ForceModel.crystals``; energies, gradients, and virials where it has them."""
        ...


@dataclass(frozen=True, eq=False)
class BlackBox:
    """A ``ForceModel``: an engine and what is known of it.

    Attributes:
        name: What to call it in messages and outputs.
        engine: The program that computes.
        numbers: Atomic numbers it is used for.
        cutoff: Half the range of a force [Å].
        reach: Range of a share of the energy [Å].
        noise: Round-off of a component of a force [eV/Å].
        gives: Subset of ``{"energy", "gradient", "site_energy", "virial"}``.
    """

    name: str
    engine: Engine
    numbers: frozenset[int]
    cutoff: float
    reach: float
    noise: float = 1e-12
    gives: frozenset[str] = frozenset({"energy", "gradient"})
    layers: int = field(default=1, init=False)
    exchange: bool = field(default=False, init=False)
    device: str = field(default="cpu", init=False)

    def cluster(
        self, positions: Array, numbers: ArrayLike, cell: ArrayLike, periodic: ArrayLike
    ) -> ClusterForces:
        """See ``ForceModel.cluster``."""
        x, z = np.asarray(positions, dtype=np.float64), self._known(numbers)
        if len(x) == 0:
            return ClusterForces(0.0, np.zeros((0, 3)), np.zeros(0))
        self._finite(x)
        found = self.engine.cluster(
            x, z, np.asarray(cell, dtype=np.float64), np.asarray(periodic, dtype=bool)
        )
        self._finite(found.energy, found.gradient)
        return found if "site_energy" in self.gives else found._replace(site_energy=None)

    def crystals(self, cells: Array, places: Array, numbers: ArrayLike) -> CrystalForces:
        """See ``ForceModel.crystals``."""
        z = self._known(numbers)
        energy, gradient, virial = self.engine.crystals(cells, places, z)
        if virial is None or "virial" not in self.gives:
            virial = self._virial_by_differences(cells, places, z)
        self._finite(energy, gradient, virial)
        return CrystalForces(energy, gradient, virial)

    def _virial_by_differences(self, cells: Array, places: Array, numbers: IntArray) -> Array:
        virial = np.empty((len(cells), 3, 3))
        for i in range(3):
            for j in range(i, 3):
                strain = np.zeros((3, 3))
                strain[i, j] += 0.5 * STRAIN
                strain[j, i] += 0.5 * STRAIN
                ends = [
                    self.engine.crystals(cells @ (np.eye(3) + sign * strain), places, numbers)[0]
                    for sign in (1, -1)
                ]
                virial[:, i, j] = virial[:, j, i] = (ends[0] - ends[1]) / (2 * STRAIN)
        return virial

    def _known(self, numbers: ArrayLike) -> IntArray:
        z = np.asarray(numbers, dtype=np.int64)
        strange = {int(n) for n in np.unique(z)} - self.numbers
        if strange:
            raise UnsupportedError(
                f"the potential {self.name} is used for the atomic numbers {sorted(self.numbers)}, "
                f"but the atoms hold {sorted(strange)}"
            )
        return z

    def _finite(self, *values: float | Array) -> None:
        if not all(np.isfinite(value).all() for value in values):
            raise ConvergenceError(
                f"positions or forces of the atoms ({self.name}) are not finite: atoms coincide or "
                "have left the range of the potential; try smaller load steps"
            )


@dataclass(frozen=True)
class Ranges:
    """How far a black box was seen to reach in a rattled crystal, and what it gives.

    Attributes:
        force: Furthest atom whose force felt that another had moved [Å].
        site: Furthest atom whose share of the energy did [Å]; 0 where no shares are given.
        noise: Largest change of a force when all atoms move together [eV/Å].
        shares: Whether shares of the energy are given and add up to it.
        virial: Whether a virial is given and is the derivative of the energy.
    """

    force: float
    site: float
    noise: float
    shares: bool
    virial: bool


def measure(model: BlackBox, crystal: Crystal) -> Ranges:
    """Push one atom of a rattled crystal and see how far that is felt.

    Args:
        model: The black box, with the cutoff that was declared.
        crystal: Crystal to be rattled; the piece taken is a little over four cutoffs across.

    Note:
        Rank-local; four evaluations of some 1000 atoms.
    """
    rng = np.random.default_rng(11)
    heights = 1 / np.linalg.norm(np.linalg.inv(crystal.cell), axis=0)
    repeat = np.ceil((4.3 * model.cutoff + 1.0) / heights).astype(int)
    corner = np.indices(repeat).reshape(3, -1).T
    places = (corner[:, None, :] + crystal.basis).reshape(-1, 3)
    x = places @ crystal.cell + rng.uniform(-_RATTLE, _RATTLE, size=(len(places), 3))
    z = np.tile(crystal.numbers, len(corner))
    cell = repeat[:, None] * crystal.cell
    whole = replace(model, gives=model.gives | {"site_energy"})

    def at(positions: Array) -> ClusterForces:
        return whole.cluster(positions, z, cell, [True] * 3)

    here, shifted = at(x), at(x + rng.uniform(-1, 1, size=3))
    noise = float(np.abs(shifted.gradient - here.gradient).max())
    pushed = x.copy()
    pushed[0] += _PUSH * np.array([0.36, 0.48, 0.8])
    after = at(pushed)
    shares = here.site_energy is not None and bool(
        abs(here.site_energy.sum() - here.energy) < 1e-7 * abs(here.energy)
    )
    distance = _shortest(x - x[0], cell)
    felt = np.abs(after.gradient - here.gradient).max(axis=1) > max(1e-8, 20 * noise)
    site = 0.0
    if shares:
        assert here.site_energy is not None and after.site_energy is not None
        changed = np.abs(after.site_energy - here.site_energy) > max(1e-10, noise)
        site = float(distance[changed].max(initial=0.0))
    return Ranges(
        force=float(distance[felt].max(initial=0.0)),
        site=site,
        noise=noise,
        shares=shares,
        virial=_has_virial(model, crystal, rng),
    )


def with_noise(model: BlackBox, crystal: Crystal) -> BlackBox:
    """The black box with its round-off, as a few atoms of a rattled crystal show it: moved, forces should stay.

    Note:
        Rank-local; two evaluations of some twenty atoms. Elements that it is not used for are left to others to tell.
    """
    if {int(n) for n in crystal.numbers} - model.numbers:
        return model
    rng = np.random.default_rng(12)
    corner = np.indices((2, 2, 2)).reshape(3, -1).T
    x = (corner[:, None, :] + crystal.basis).reshape(-1, 3) @ crystal.cell
    x += rng.uniform(-_RATTLE, _RATTLE, size=x.shape)
    z, cell = np.tile(crystal.numbers, len(corner)), 2 * crystal.cell
    ends = [
        model.cluster(x + shift, z, cell, [True] * 3).gradient
        for shift in (0.0, rng.uniform(-1, 1, size=3))
    ]
    return replace(model, noise=max(model.noise, float(np.abs(ends[1] - ends[0]).max())))


def examined(model: BlackBox, crystal: Crystal) -> BlackBox:
    """The black box with what was measured of it.

    Shares of the energy count as local if they reach no further than the cutoff; some programs
    split the energy of a triple among its three atoms, and then they reach twice as far.

    Raises:
        CaseError: Forces or shares of the energy reach further than the declared cutoff allows.
    """
    found = measure(model, crystal)
    if found.force == 0.0:
        raise CaseError(
            [f"potential: {model.name} gives the crystal no forces; check elements and structure"]
        )
    allowed = 2 * model.cutoff + _SLACK
    if max(found.force, found.site) > allowed:
        raise CaseError(
            [
                f"potential.cutoff = {model.cutoff:g} angstrom: with {model.name}, moving an atom is "
                f"felt {max(found.force, found.site):.2f} angstrom away, more than twice as far; "
                f"'{np.ceil(5 * max(found.force, found.site)) / 10:g} angstrom' would do"
            ]
        )
    local = found.site <= model.cutoff + _SLACK
    gives = {"energy", "gradient"}
    gives |= {"site_energy"} if found.shares else set()
    gives |= {"virial"} if found.virial else set()
    return replace(
        model,
        reach=model.cutoff if local else 2 * model.cutoff,
        noise=max(found.noise, 1e-13),
        gives=frozenset(gives),
    )


def _has_virial(model: BlackBox, crystal: Crystal, rng: np.random.Generator) -> bool:
    strain = rng.uniform(-0.02, 0.02, size=(3, 3))
    cell = (crystal.cell @ (np.eye(3) + 0.5 * (strain + strain.T)))[None]
    virial = model.engine.crystals(cell, crystal.basis[None], crystal.numbers)[2]
    if virial is None or not np.isfinite(virial).all():
        return False
    expected = model._virial_by_differences(cell, crystal.basis[None], crystal.numbers)
    return bool(np.abs(virial - expected).max() < 1e-3 * np.abs(expected).max())


def _shortest(vectors: Array, cell: Array) -> Array:
    """Lengths of the shortest images, for cells that are not very oblique, shape ``(n,)`` [Å]."""
    fraction = vectors @ np.linalg.inv(cell)
    fraction -= np.round(fraction)
    steps = np.indices((3, 3, 3)).reshape(3, -1).T - 1
    images = (fraction[:, None, :] + steps) @ cell
    return np.asarray(np.sqrt(np.einsum("nij,nij->ni", images, images)).min(axis=1))
