# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A model and its reference side by side: errors on test cells, properties of the crystal, phonons, speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from msolve.config.training import Report as ReportInput
from msolve.crystal import Crystal
from msolve.errors import ConvergenceError, UnsupportedError
from msolve.potentials import Potential
from msolve.properties import (
    Miller,
    block,
    bulk_properties,
    griffith_K,
    phonon_frequencies,
    surface_energy,
    vacancy_energy,
)
from msolve.train.labels import ENERGY, FORCES, KIND, STRESS, evaluate
from msolve.units import GPA, J_PER_M2, MPA_SQRT_M

Array = NDArray[np.float64]
Properties = dict[str, float | None]

UNITS = {
    "a0": "Å",
    "E_bulk": "eV",
    "C": "GPa",
    "gamma": "J/m²",
    "E_vacancy": "eV",
    "K_G": "MPa√m",
    "phonons": "THz",
    "energy": "meV/atom",
    "forces": "meV/Å",
    "stress": "GPa",
}

PATHS = {
    "bcc": (("Γ", (0, 0, 0)), ("H", (1, 0, 0)), ("P", (0.5, 0.5, 0.5)), ("Γ", (0, 0, 0)), ("N", (0.5, 0.5, 0))),
    "fcc": (("Γ", (0, 0, 0)), ("X", (1, 0, 0)), ("X", (1, 1, 0)), ("Γ", (0, 0, 0)), ("L", (0.5, 0.5, 0.5))),
}  # fmt: skip
"""Corners of the path of waves for each Bravais lattice, in units of 2π/a."""


def bare(indices: Sequence[int]) -> str:
    """Miller indices without brackets, as in (110)."""
    return "".join(str(i) for i in indices)


def crack_name(plane: Miller, front: Miller) -> str:
    """What tables call Griffith's load of a crack."""
    return f"K_G ({bare(plane)})[{bare(front)}]"


def properties_of(
    model: Potential, crystal: Crystal, wanted: ReportInput, note: Callable[[str], None]
) -> Properties:
    """Properties of the crystal in the units of ``UNITS``; ``None``, and a note, where one cannot be had.

    Args:
        model: Potential.
        crystal: Cubic crystal with the lattice constant within 15 %.
        wanted: Which ones.
        note: Told what failed.

    Raises:
        ConvergenceError: There is no crystal at rest.
    """
    bulk = bulk_properties(model, crystal)
    table: Properties = {"a0": bulk.lattice_constant, "E_bulk": bulk.energy}
    table |= {name: getattr(bulk, name) / GPA for name in ("C11", "C12", "C44")}

    def kept(name: str, compute: Callable[[], float], unit: float = 1.0) -> float | None:
        try:
            table[name] = compute() / unit
        except (ConvergenceError, UnsupportedError) as error:
            note(f"{name} with {model.name}: {error}")
            table[name] = None
        return table[name]

    surfaces = dict.fromkeys([*wanted.surfaces, *(crack.plane for crack in wanted.cracks)])
    for plane in surfaces:
        name = f"gamma{bare(plane)}"
        kept(name, lambda plane=plane: surface_energy(model, bulk.crystal, plane), J_PER_M2)  # type: ignore[misc]
    if wanted.vacancy:
        kept("E_vacancy", lambda: vacancy_energy(model, bulk.crystal, wanted.vacancy))
    for crack in wanted.cracks:
        energy, name = table[f"gamma{bare(crack.plane)}"], crack_name(crack.plane, crack.front)
        if energy is not None:
            where = (crack.plane, crack.front, energy * J_PER_M2)
            kept(
                name,
                lambda where=where: griffith_K(model, bulk.crystal, *where),  # type: ignore[misc]
                MPA_SQRT_M,
            )
    return table


def path_of_waves(structure: str, cubes: int) -> tuple[Array, list[tuple[int, str]]]:
    """Waves along the path that a cell of so many cubes holds, ``(q, 3)``, and which are corners of it."""
    corners = PATHS["bcc" if structure == "bcc" else "fcc"]
    waves, marks = [np.array(corners[0][1], dtype=float)], [(0, corners[0][0])]
    for (_, here), (name, there) in pairwise(corners):
        ends = np.array([here, there], dtype=float)
        steps = int(np.rint(np.abs(ends[1] - ends[0]).max() * cubes))
        for k in range(1, steps + 1):
            waves.append(ends[0] + (ends[1] - ends[0]) * k / steps)
        marks.append((len(waves) - 1, name))
    q = np.array(waves)
    fits = np.abs(q * cubes - np.rint(q * cubes)).max(axis=1) < 1e-9
    place = np.cumsum(fits) - 1
    return q[fits], [(int(place[k]), name) for k, name in marks if fits[k]]


def phonons_of(model: Potential, crystal: Crystal, structure: str, cubes: int) -> Array:
    """Frequencies along the path, shape ``(q, modes)`` [THz]."""
    at_rest = bulk_properties(model, crystal).crystal
    return phonon_frequencies(model, at_rest, path_of_waves(structure, cubes)[0], cubes)


def errors_of(
    model: Potential,
    cells: Sequence[Atoms],
    each: Callable[[int], None] = lambda done: None,
    zero: float = 0.0,
) -> tuple[dict[str, dict[str, float]], dict[str, list[tuple[str, Array]]]]:
    """Root-mean-square errors on labelled cells.

    Args:
        model: Potential.
        cells: Labelled cells.
        each: Told how many cells are done.
        zero: What the model says of an atom where the reference says 0 [eV].

    Returns:
        By kind and for all: number of cells, errors of energy [meV/atom], forces [meV/Å] and stress [GPa]; and the
        pairs (reference, model) behind them by quantity, kind by kind [eV/atom, eV/Å, GPa].
    """
    pairs: dict[str, list[tuple[str, Array]]] = {"energy": [], "forces": [], "stress": []}
    for done, atoms in enumerate(cells):
        found, n, kind = evaluate(model, atoms), len(atoms), atoms.info[KIND]
        stress = found.virial.ravel() / atoms.get_volume()
        energies = [atoms.info[ENERGY] / n, found.energy / n - zero]
        pairs["energy"].append((kind, np.array([energies])))
        both = np.column_stack([atoms.arrays[FORCES].ravel(), -found.gradient.ravel()])
        pairs["forces"].append((kind, both))
        labels = np.asarray(atoms.info[STRESS]).ravel()
        pairs["stress"].append((kind, np.column_stack([labels, stress]) / GPA))
        each(done + 1)
    scale = {"energy": 1e3, "forces": 1e3, "stress": 1.0}
    table: dict[str, dict[str, float]] = {}
    for name in [*dict.fromkeys(kind for kind, _ in pairs["energy"]), "all"]:
        table[name] = {"cells": sum(name in (kind, "all") for kind, _ in pairs["energy"])}
        for quantity, rows in pairs.items():
            chosen = np.concatenate([values for kind, values in rows if name in (kind, "all")])
            table[name][quantity] = float(np.sqrt(np.mean(np.diff(chosen) ** 2)) * scale[quantity])
    return table, pairs


def samples_of(model: Potential, cells: Sequence[Atoms]) -> list[dict[str, Any]]:
    """The first cell of each kind with what reference and model say of it."""
    first: dict[str, Atoms] = {}
    for atoms in cells:
        first.setdefault(atoms.info[KIND], atoms)
    samples = []
    for kind, atoms in first.items():
        found = evaluate(model, atoms)
        reference = {"energy": atoms.info[ENERGY], "forces": atoms.arrays[FORCES].tolist()}
        samples.append(
            {
                "kind": kind,
                "cell": atoms.cell.array.tolist(),
                "positions": atoms.positions.tolist(),
                "truth": reference,
                "model": {"energy": found.energy, "forces": (-found.gradient).tolist()},
            }
        )
    return samples


def speed_of(model: Potential, crystal: Crystal) -> float:
    """Atoms per second of process time: energy, forces and stress of some 2000 atoms, with the neighbour search."""
    n_cube = round(abs(np.linalg.det(crystal.axes) / np.linalg.det(crystal.cell)) * crystal.n_basis)
    cubes = round((2000 / n_cube) ** (1 / 3))
    x, numbers, _ = block(crystal, cubes)
    atoms = Atoms(numbers=numbers, positions=x, cell=cubes * crystal.axes, pbc=True)
    evaluate(model, atoms)
    atoms.positions += 0.01  # calculators of ASE answer the same question from memory
    start = time.process_time()
    evaluate(model, atoms)
    return len(atoms) / (time.process_time() - start)
