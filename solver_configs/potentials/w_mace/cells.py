# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The cells on which the tungsten MACE model is trained and tested.

Each function makes cells of one kind from a random generator; none computes an energy, but some
relax with the truth, so that surfaces, vacancies and crack tips are met near their minima too.
Every cell is periodic, with a vacuum wider than the potential's reach where it is open.
"""

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.lattice.cubic import BodyCenteredCubic
from matscipy.fracture_mechanics.crack import CubicCrystalCrack
from truth import Truth

A0 = 3.14339  # lattice constant of EAM4 [Å]
GPA = 1.0 / 160.21766208  # [eV/Å³]
C11, C12, C44 = 523.0 * GPA, 202.2 * GPA, 160.9 * GPA  # of EAM4
SURFACE_ENERGY = {(1, 1, 0): 0.15660, (1, 0, 0): 0.18288}  # of EAM4, relaxed [eV/Å²]
VACUUM = 12.0  # [Å]; the truth reaches 5.5 Å, the model one cutoff per edge
CRACKS = (  # plane, front
    ((1, 1, 0), (0, 0, 1)),
    ((1, 1, 0), (1, -1, 0)),
    ((1, 0, 0), (0, 0, 1)),
    ((1, 0, 0), (0, 1, 1)),
)
SURFACES = {  # normal: in-plane directions
    (1, 0, 0): ((0, 1, 0), (0, 0, 1)),
    (1, 1, 0): ((1, -1, 0), (0, 0, 1)),
    (1, 1, 1): ((1, -1, 0), (1, 1, -2)),
    (1, 1, 2): ((1, -1, 0), (1, 1, -1)),
}


def generate(recipe: dict, truth: Truth, rng: np.random.Generator) -> Iterator[Atoms]:
    """Make all cells of a recipe, each its kind in ``info["config_type"]``, as mace-torch reads it.

    Args:
        recipe: Number of cells of each kind, by the name of the function that makes them.
        truth: Relaxes some of the cells.
        rng: The only source of chance.
    """
    makers = {
        "bulk_small_strain": bulk_small_strain,
        "bulk_strain": bulk_strain,
        "bulk_volume": bulk_volume,
        "rattled": rattled,
        "vacancy": vacancy,
        "surface": surface,
        "opened": opened,
        "crack_tip": crack_tip,
    }
    for kind, count in recipe.items():
        for index in range(count):
            atoms = makers[kind](index, truth, rng)
            atoms.info["config_type"] = kind
            atoms.pbc = True
            yield atoms


def bulk_small_strain(index: int, truth: Truth, rng: np.random.Generator) -> Atoms:
    """Two atoms, six strain components up to 0.5 %: the elastic constants."""
    return _strained(_perfect(1), _random_strain(rng, 0.005))


def bulk_strain(index: int, truth: Truth, rng: np.random.Generator) -> Atoms:
    """Two atoms, six strain components up to 6 %."""
    return _strained(_perfect(1), _random_strain(rng, 0.06))


def bulk_volume(index: int, truth: Truth, rng: np.random.Generator) -> Atoms:
    """Two atoms, the volume changed by -6 to +12 %, a shear of up to 2 % on top."""
    volume = 1 + rng.uniform(-0.06, 0.12)
    return _strained(_perfect(1), (volume ** (1 / 3) - 1) * np.eye(3) + _random_strain(rng, 0.02))


def rattled(index: int, truth: Truth, rng: np.random.Generator) -> Atoms:
    """Strained by up to 3 %, each atom displaced by 0.02 to 0.15 Å; 16 atoms, every sixth 54."""
    atoms = _strained(_perfect(3 if index % 6 == 0 else 2), _random_strain(rng, 0.03))
    return _rattle(atoms, rng, rng.uniform(0.02, 0.15))


def vacancy(index: int, truth: Truth, rng: np.random.Generator) -> Atoms:
    """One or two atoms of 54 missing; a third relaxed, the others strained and rattled."""
    atoms = _perfect(3)
    del atoms[[0] if index % 4 else [0, int(rng.choice([1, 2]))]]
    if index % 3 == 0:
        return truth.relax(atoms, np.zeros(len(atoms), dtype=bool))
    return _rattle(_strained(atoms, _random_strain(rng, 0.02)), rng, rng.uniform(0.0, 0.1))


def surface(index: int, truth: Truth, rng: np.random.Generator) -> Atoms:
    """A slab with two free surfaces, strained in its plane by up to 4 %, rattled or relaxed."""
    normals = tuple(SURFACES)
    normal = normals[index % len(normals)]
    atoms = _slab(normal, thickness=11.0 + rng.uniform(0, 5))
    atoms.cell[2, 2] += VACUUM
    strain = _random_strain(rng, 0.04)
    strain[:, 2] = strain[2, :] = 0.0
    atoms = _strained(atoms, strain)
    if index % 3 == 0:
        return truth.relax(atoms, np.zeros(len(atoms), dtype=bool))
    return _rattle(atoms, rng, rng.uniform(0.0, 0.1))


def opened(index: int, truth: Truth, rng: np.random.Generator) -> Atoms:
    """Bulk cut along (110) or (100), opened by up to 5.5 Å with a slip of up to 0.8 Å."""
    normal = ((1, 1, 0), (1, 0, 0))[index % 2]
    atoms = _slab(normal, thickness=13.0)
    atoms.cell[2] += [*rng.uniform(-0.8, 0.8, 2), rng.uniform(0.05, 5.5)]
    strain = _random_strain(rng, 0.03)
    return _rattle(_strained(atoms, strain), rng, rng.uniform(0.0, 0.08))


def crack_tip(index: int, truth: Truth, rng: np.random.Generator) -> Atoms:
    """A disc around a crack tip in its K-field; most along (110)[001], a third partly relaxed.

    K is 0.7 to 1.2 of Griffith's. The disc is one period thick and its outside is open.
    """
    plane, front = CRACKS[0] if index % 2 == 0 else CRACKS[1 + index // 2 % 3]
    radius = rng.uniform(9.5, 12.0) if index % 8 else 16.0
    field = CubicCrystalCrack(plane, front, C11, C12, C44)
    atoms = _disc(field.third_dir, plane, front, radius, rng)
    K = rng.uniform(0.7, 1.2) * field.k1g(SURFACE_ENERGY[plane])
    x, y, _ = (atoms.positions - 0.5 * atoms.cell.diagonal()).T
    ux, uy = field.displacements(x, y, 0.0, 0.0, K)
    atoms.positions += np.column_stack([ux, uy, np.zeros_like(ux)])
    if index % 3 == 0:
        rim = np.hypot(x, y) > radius - 4.0
        atoms = truth.relax(atoms, rim, steps=int(rng.integers(3, 60)))
    return _rattle(atoms, rng, rng.uniform(0.0, 0.08))


def _perfect(repeats: int) -> Atoms:
    return BodyCenteredCubic("W", latticeconstant=A0, size=[repeats] * 3)


def _random_strain(rng: np.random.Generator, largest: float) -> np.ndarray:
    strain = rng.uniform(-largest, largest, (3, 3))
    return np.triu(strain) + np.triu(strain, 1).T


def _strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


def _rattle(atoms: Atoms, rng: np.random.Generator, width: float) -> Atoms:
    atoms.positions += rng.normal(0.0, width, atoms.positions.shape)
    return atoms


def _slab(normal: tuple[int, int, int], thickness: float) -> Atoms:
    first, second = SURFACES[normal]
    if np.linalg.det([first, second, normal]) < 0:
        first, second = second, first
    unit = BodyCenteredCubic("W", latticeconstant=A0, directions=[first, second, normal])
    return unit * (1, 1, max(1, round(thickness / unit.cell[2, 2])))


def _disc(third, plane, front, radius: float, rng: np.random.Generator) -> Atoms:
    third = np.round(third / np.abs(third[third != 0]).min()).astype(int)
    unit = BodyCenteredCubic("W", latticeconstant=A0, directions=[third, plane, front])
    period_x, period_y, period_z = unit.cell.diagonal()
    repeats = np.ceil(2 * (radius + 3) / unit.cell.diagonal()[:2]).astype(int)
    atoms = unit * (*repeats, 1)
    heights = np.unique(np.round(unit.positions[:, 1], 6))
    centre = np.array(
        [
            period_x * (repeats[0] // 2 + rng.uniform()),
            period_y * (repeats[1] // 2) + 0.5 * (heights[0] + heights[1]),
        ]
    )
    offset = atoms.positions[:, :2] - centre
    atoms = atoms[np.hypot(*offset.T) < radius]
    box = 2 * radius + VACUUM + 4.0
    atoms.set_cell([box, box, period_z])
    atoms.positions[:, :2] += 0.5 * box - centre
    atoms.positions[:, 2] += 0.5 * period_z - atoms.positions[:, 2].mean()
    return atoms
