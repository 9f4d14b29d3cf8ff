# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Labelled cells: energy, forces and stress by a potential, and the files that keep them.

One extended-XYZ file for each kind of cells. Each cell is written when it is labelled and carries what it was
made from, so that a run that goes on, or a later one, computes only what is missing.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read, write
from numpy.typing import NDArray

from msolve.atomistic import find_edges
from msolve.io.files import output_error, write_whole
from msolve.potentials import ForceModel, Potential
from msolve.potentials.virial import CellForces, of_edges
from msolve.uncertainty.calibration import ENERGY as ENERGY
from msolve.uncertainty.calibration import FORCES as FORCES

Array = NDArray[np.float64]

STRESS = "REF_stress"
"""Where a labelled cell keeps its stress ``(9,)`` [eV/Å³, positive in tension], beside ``ENERGY`` and ``FORCES``."""

KIND = "config_type"
"""Where it keeps what kind of cell it is."""

ORIGIN = "made_from"


def evaluate(model: Potential, atoms: Atoms) -> CellForces:
    """Energy, gradient and virial of a cell that is periodic along all axes. Rank-local."""
    x, cell, numbers = atoms.positions, atoms.cell.array, atoms.numbers.astype(np.int64)
    if isinstance(model, ForceModel):
        places = x @ np.linalg.inv(cell)
        found = model.crystals(cell[None], places[None], numbers)
        return CellForces(float(found.energy[0]), found.gradient[0], found.virial[0])
    every = np.ones(len(x), dtype=bool)
    pair, shift = find_edges(x, cell, [True] * 3, model.cutoff, every)
    return of_edges(model, x, numbers, pair, shift)


def label(model: Potential, atoms: Atoms) -> Atoms:
    """Attach what a potential says of a cell, in place."""
    found = evaluate(model, atoms)
    atoms.info[ENERGY] = found.energy
    atoms.info[STRESS] = (found.virial / atoms.get_volume()).ravel()
    atoms.arrays[FORCES] = -found.gradient
    return atoms


def fingerprint(*parts: Any) -> str:
    """A short word that changes with any of the parts, which are JSON-able."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def labelled(
    path: Path,
    origin: str,
    count: int,
    make: Callable[[int], Atoms],
    each: Callable[[int], None] = lambda index: None,
) -> list[Atoms]:
    """Labelled cells of one kind, from their file as far as it goes.

    Args:
        path: Extended-XYZ file; made, continued, or begun anew where it holds cells of another origin.
        origin: Fingerprint of what the cells are made from.
        count: How many cells.
        make: Makes and labels the cell of a number.
        each: Told the number of each cell that is there.

    Raises:
        OutputError: The file cannot be written.
    """
    kept = list(_kept(path, origin))
    cells = [atoms for atoms, _ in kept[:count]]
    for index in range(len(cells)):
        each(index)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "w+b") as file:
            # What is left of a cell that was being written, and cells of another origin, go.
            file.truncate(sum(size for _, size in kept))
            file.seek(0, io.SEEK_END)
            for index in range(len(cells), count):
                atoms = make(index)
                atoms.info[ORIGIN] = origin
                text = io.StringIO()
                write(text, atoms, format="extxyz")
                file.write(text.getvalue().encode())
                file.flush()
                # As it is read again, so that going on changes no digit.
                cells.append(_read(text.getvalue()))
                each(index)
    except OSError as error:
        raise output_error(path, error) from error
    return cells


def write_cells(path: Path, cells: Sequence[Atoms]) -> None:
    """Write labelled cells as one extended-XYZ file.

    Raises:
        OutputError: The file cannot be written.
    """
    text = io.StringIO()
    write(text, list(cells), format="extxyz")
    write_whole(path, text.getvalue().encode())


def _kept(path: Path, origin: str) -> Iterator[tuple[Atoms, int]]:
    """The whole cells of that origin at the start of a file, and how many bytes each takes."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        while True:
            head = file.readline()
            if not head.strip().isdigit():
                return
            lines = [head, *(file.readline() for _ in range(int(head) + 1))]
            if not lines[-1].endswith(b"\n"):
                return
            frame = b"".join(lines)
            atoms = _read(frame.decode())
            if atoms.info.get(ORIGIN) != origin:
                return
            yield atoms, len(frame)


def _read(frame: str) -> Atoms:
    found = read(io.StringIO(frame), format="extxyz")
    assert isinstance(found, Atoms)
    return found
