# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The cells on which a potential of a cubic crystal is trained and tested.

One function for each kind of cells. A cell follows from the seed, its name and its number alone. Every cell
is periodic, with vacuum where it is open. Some are relaxed by the reference, so that surfaces, vacancies and
crack tips are met near their minima too.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read
from numpy.typing import NDArray
from scipy import optimize

from msolve.atomistic.relaxation import energy_of
from msolve.crystal import Crystal, OrientedCrystal
from msolve.errors import CaseError
from msolve.loads import KField
from msolve.potentials import Potential
from msolve.potentials.bulk import cauchy_born
from msolve.potentials.rest import elastic_constants
from msolve.properties import Miller, block, on_plane, surface_energy
from msolve.train.labels import KIND

Array = NDArray[np.float64]

RIM = 4.0
"""Width of the ring around a crack tip that keeps to the K-field when the inside is relaxed [Å]."""

AT_REST = 1e-3
"""Largest force component at which a relaxation of a cell stops [eV/Å]."""


@dataclass
class Maker:
    """Makes cells of the reference's crystal.

    Attributes:
        crystal: Crystal at rest.
        reference: Relaxes some of the cells and gives constants and surface energies for cracks.
        vacuum: Around open cells [Å].
        keep: Computes the value of a name, or knows it already.
    """

    crystal: Crystal
    reference: Potential
    vacuum: float
    keep: Callable[[str, Callable[[], Any]], Any] = lambda name, compute: compute()

    def make(self, given: Any, index: int, seed: int) -> Atoms:
        """The cell of a number.

        Args:
            given: Its kind, with parameters: one of ``config.AnyCells``.
            index: Its number among those of the kind.
            seed: Of the training.
        """
        rng = np.random.default_rng([seed, zlib.crc32(given.label.encode()), index])
        atoms = _MAKERS[given.kind](self, given, index, rng)
        atoms.info[KIND] = given.label
        atoms.pbc = True
        return atoms

    def crack(self, plane: Miller, front: Miller) -> tuple[OrientedCrystal, KField, float]:
        """The crystal turned, its near-tip field, and Griffith's K [eV/Å^2.5]."""
        oriented = on_plane(self.crystal, plane, front)

        def stiffness() -> Any:
            return elastic_constants(cauchy_born(self.reference, oriented)).tolist()

        def energy() -> float:
            return surface_energy(self.reference, self.crystal, plane)

        field = KField(np.array(self.keep(f"stiffness {plane} {front}", stiffness)))
        return oriented, field, field.griffith_K(self.keep(f"surface {plane}", energy))

    def relax(self, atoms: Atoms, fixed: NDArray[np.bool_], steps: int = 300) -> Atoms:
        """Move atoms towards their minimum, in place, at most that many steps; the fixed ones stay."""
        start, free = atoms.positions.copy(), ~fixed
        numbers = atoms.numbers.astype(np.int64)
        evaluate = energy_of(
            self.reference, start, numbers, atoms.cell.array, np.ones(3, dtype=bool)
        )

        def at(moved: Array) -> Array:
            y = start.copy()
            y[free] += moved.reshape(-1, 3)
            return y

        def objective(moved: Array) -> tuple[float, Array]:
            energy, gradient = evaluate(at(moved))
            return energy, gradient[free].ravel()

        found = optimize.minimize(
            objective,
            np.zeros(3 * int(free.sum())),
            jac=True,
            method="L-BFGS-B",
            options={"gtol": AT_REST, "ftol": 0.0, "maxiter": steps, "maxcor": 20},
        )
        atoms.positions = at(found.x)
        return atoms


def from_file(file: Path, numbers: frozenset[int], vacuum: float) -> list[Atoms]:
    """Cells of a file, periodic along all axes.

    Args:
        file: In any format that ASE reads.
        numbers: Atomic numbers that the reference knows.
        vacuum: Around the atoms, along axes that are open in the file [Å].

    Raises:
        CaseError: ASE cannot read it, or a cell holds elements that the reference does not know.
    """
    try:
        found = read(file, ":")
    except Exception as error:  # ASE's readers raise anything
        raise CaseError([f"cannot be read by ASE: {error}"], str(file)) from error
    cells = []
    for index, given in enumerate(found):
        atoms = Atoms(given.numbers, given.positions, cell=given.cell, pbc=given.pbc)
        strange = sorted({int(z) for z in atoms.numbers} - numbers)
        if strange or not len(atoms):
            what = f"holds the atomic numbers {strange}" if strange else "holds no atom"
            raise CaseError(
                [f"cell {index + 1} {what}; the reference knows {sorted(numbers)}"], str(file)
            )
        opened = [axis for axis in range(3) if not atoms.pbc[axis]]
        if opened:
            atoms.center(vacuum=0.5 * vacuum, axis=opened)
        cells.append(atoms)
    return cells


def strained(maker: Maker, given: Any, index: int, rng: np.random.Generator) -> Atoms:
    """A cube of perfect crystal under six strain components."""
    return _strained(_perfect(maker.crystal, 1), _random_strain(rng, given.strain))


def volume(maker: Maker, given: Any, index: int, rng: np.random.Generator) -> Atoms:
    """A cube of another volume, strained."""
    scale = (1 + rng.uniform(given.least, given.most)) ** (1 / 3)
    strain = (scale - 1) * np.eye(3) + _random_strain(rng, given.strain)
    return _strained(_perfect(maker.crystal, 1), strain)


def rattled(maker: Maker, given: Any, index: int, rng: np.random.Generator) -> Atoms:
    """A strained block with atoms displaced at random."""
    atoms = _strained(_perfect(maker.crystal, given.cubes), _random_strain(rng, given.strain))
    return _rattle(atoms, rng, given.rattle)


def vacancy(maker: Maker, given: Any, index: int, rng: np.random.Generator) -> Atoms:
    """A block without one atom; in every fourth a neighbour is missing too."""
    atoms = _perfect(maker.crystal, given.cubes)
    missing = [0]
    if index % 4 == 0:
        distance = atoms.get_distances(0, range(1, len(atoms)), mic=True)
        near = 1 + np.flatnonzero(distance < 1.3 * distance.min())
        missing.append(int(rng.choice(near)))
    del atoms[missing]
    if _chosen(index, given.relaxed):
        return maker.relax(atoms, np.zeros(len(atoms), dtype=bool))
    return _rattle(_strained(atoms, _random_strain(rng, given.strain)), rng, given.rattle)


def surface(maker: Maker, given: Any, index: int, rng: np.random.Generator) -> Atoms:
    """A slab with two free surfaces normal to x2, strained in its plane."""
    atoms = _slab(maker.crystal, given.planes, index, rng.uniform(*given.thickness))
    atoms.cell[1, 1] += maker.vacuum
    strain = _random_strain(rng, given.strain)
    strain[:, 1] = strain[1, :] = 0.0
    atoms = _strained(atoms, strain)
    if _chosen(index // len(given.planes), given.relaxed):
        return maker.relax(atoms, np.zeros(len(atoms), dtype=bool))
    return _rattle(atoms, rng, given.rattle)


def opened(maker: Maker, given: Any, index: int, rng: np.random.Generator) -> Atoms:
    """Crystal cut normal to x2, the cut opened and sheared, all of it strained."""
    atoms = _slab(maker.crystal, given.planes, index, given.thickness)
    atoms.cell[1] += [
        rng.uniform(-given.slip, given.slip),
        rng.uniform(*given.opening),
        rng.uniform(-given.slip, given.slip),
    ]
    return _rattle(_strained(atoms, _random_strain(rng, given.strain)), rng, given.rattle)


def crack_tip(maker: Maker, given: Any, index: int, rng: np.random.Generator) -> Atoms:
    """A disc around a crack tip in its K-field, one period thick; x1 of the tip is random."""
    oriented, field, K_G = maker.crack(given.plane, given.front)
    radius = rng.uniform(*given.radius)
    origin = oriented.cleavage().origin.copy()
    origin[0] += rng.uniform(0, oriented.periods[0])
    sites = oriented.sites(
        lambda X: np.hypot(X[:, 0], X[:, 1]) < radius, [(-radius, radius)] * 2, origin
    )
    X = sites.positions
    box = 2 * radius + maker.vacuum + 4.0  # the flanks open
    moved = X + field.displacement(X, K_G * rng.uniform(*given.K))
    moved[:, :2] += 0.5 * box
    atoms = Atoms(numbers=sites.numbers, positions=moved, cell=[box, box, oriented.period])
    if _chosen(index, given.relaxed):
        rim = np.hypot(X[:, 0], X[:, 1]) > radius - RIM
        atoms = maker.relax(atoms, rim, steps=int(rng.integers(3, 60)))
    return _rattle(atoms, rng, given.rattle)


_MAKERS: dict[str, Callable[[Maker, Any, int, np.random.Generator], Atoms]] = {
    "strained": strained,
    "volume": volume,
    "rattled": rattled,
    "vacancy": vacancy,
    "surface": surface,
    "opened": opened,
    "crack_tip": crack_tip,
}


def _chosen(index: int, share: float) -> bool:
    """Whether this one is of the given share, spread evenly; the same at each call."""
    return int((index + 1) * share + 1e-9) > int(index * share + 1e-9)


def _perfect(crystal: Crystal, cubes: int) -> Atoms:
    x, numbers, _ = block(crystal, cubes)
    return Atoms(numbers=numbers, positions=x, cell=cubes * crystal.axes, pbc=True)


def _slab(crystal: Crystal, planes: Sequence[Miller], index: int, thickness: float) -> Atoms:
    """One period of a slab between two gaps normal to x2, about as thick as asked; no vacuum yet."""
    oriented = on_plane(crystal, planes[index % len(planes)])
    p1, p2, p3 = oriented.periods
    assert p2 is not None  # a cubic crystal
    size = np.array([p1, p2 * max(1, round(thickness / p2)), p3])
    sites = oriented.sites(
        lambda X: np.all(X < size - 1e-6, axis=1),
        np.column_stack([np.zeros(3), size]),
        oriented.cleavage().origin,
    )
    return Atoms(numbers=sites.numbers, positions=sites.positions, cell=size, pbc=True)


def _random_strain(rng: np.random.Generator, largest: float) -> Array:
    strain = rng.uniform(-largest, largest, (3, 3))
    return np.triu(strain) + np.triu(strain, 1).T


def _strained(atoms: Atoms, strain: Array) -> Atoms:
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


def _rattle(atoms: Atoms, rng: np.random.Generator, span: tuple[float, float]) -> Atoms:
    atoms.positions += rng.normal(0.0, rng.uniform(*span), atoms.positions.shape)
    return atoms
