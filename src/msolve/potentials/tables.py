# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Reader of embedded-atom tables, as LAMMPS reads them.

The formats are DYNAMO's setfl (``eam.alloy``) and its Finnis-Sinclair
extension (``eam.fs``), as LAMMPS reads them. It parses and checks; it does not interpolate.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msolve.errors import CaseError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EAMTables:
    """Tables of an embedded-atom potential for ``n`` species.

    Attributes:
        name: File name, for messages.
        numbers: Atomic numbers in the file's order, ``n`` of them.
        d_density: Spacing of the embedding tables [-].
        d_r: Spacing of the radial tables [Å]; both kinds of table start at 0.
        cutoff: Interaction range [Å].
        embedding: Fᵢ(ρ), shape ``(n, n_density)`` [eV].
        density: Density at a site of species ``[site]`` from a neighbour of species
            ``[neighbour]``, shape ``(n, n, n_r)`` indexed ``[site, neighbour]`` [-].
        r_pair: r φ(r), symmetric in the species, shape ``(n, n, n_r)`` [eV Å].
    """

    name: str
    numbers: tuple[int, ...]
    d_density: float
    d_r: float
    cutoff: float
    embedding: Array
    density: Array
    r_pair: Array


def read_eam(path: str | Path) -> EAMTables:
    """Read an ``eam.alloy`` (setfl) or ``eam.fs`` file; which one is told by its length.

    Args:
        path: The file.

    Returns:
        Its tables.

    Raises:
        CaseError: The file cannot be read or does not follow the format.

    References:
        LAMMPS manual, commands ``pair_style eam/alloy`` and ``pair_style eam/fs``.
    """
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise CaseError([f"cannot be read: {error.strerror}"], source=str(file)) from error
    try:
        return _parse(file.name, lines)
    except (ValueError, IndexError, KeyError) as error:
        raise CaseError(
            [
                f"is no eam.alloy (setfl) or eam.fs table: {error}; give a whole table as LAMMPS reads it"
            ],
            source=str(file),
        ) from error


def _parse(name: str, lines: list[str]) -> EAMTables:
    from ase.data import atomic_numbers

    if len(lines) < 7:
        raise ValueError("too short")
    species = lines[3].split()
    n = int(species[0]) if species and species[0].isdecimal() else 0
    if n < 1 or len(species) < n + 1:
        raise ValueError(
            f"line 4 should give the number of elements and their names: {lines[3][:40]!r}"
        )
    unknown = [symbol for symbol in species[1 : n + 1] if symbol not in atomic_numbers]
    if unknown:
        raise ValueError(f"unknown elements in line 4: {' '.join(unknown)}")
    try:
        header = lines[4].split()
        n_density, n_r = int(header[0]), int(header[2])
        d_density, d_r, cutoff = (_number(header[k]) for k in (1, 3, 4))
        sound = min(n_density, n_r) >= 2 and all(0 < x < np.inf for x in (d_density, d_r, cutoff))
    except (ValueError, IndexError):
        sound = False
    if not sound:
        raise ValueError(
            f"line 5 should give numbers of entries (2 or more), spacings and cutoff, all positive: {lines[4]!r}"
        )
    words = " ".join(lines[5:]).split()
    n_pairs = n * (n + 1) // 2
    n_alloy = n * (4 + n_density + n_r) + n_pairs * n_r
    n_fs = n_alloy + n * (n - 1) * n_r
    if len(words) not in (n_alloy, n_fs):
        raise ValueError(
            f"{len(words)} entries after line 5; eam.alloy needs {n_alloy}, eam.fs {n_fs}"
        )
    # With one element the two formats are the same.
    per_site = len(words) == n_fs
    embedding = np.empty((n, n_density))
    density = np.empty((n, n, n_r))
    at = 0
    for element in range(n):
        at += 4
        embedding[element] = _numbers(words[at : at + n_density])
        at += n_density
        for site in range(n):
            if per_site or site == 0:
                column = _numbers(words[at : at + n_r])
                at += n_r
            density[site, element] = column
    r_pair = np.empty((n, n, n_r))
    for a in range(n):
        for b in range(a + 1):
            r_pair[a, b] = r_pair[b, a] = _numbers(words[at : at + n_r])
            at += n_r
    for label, table in (("embedding", embedding), ("density", density), ("pair", r_pair)):
        if not np.isfinite(table).all():
            raise ValueError(f"the {label} tables hold values that are not finite")
    numbers = tuple(int(atomic_numbers[symbol]) for symbol in species[1 : n + 1])
    return EAMTables(name, numbers, d_density, d_r, cutoff, embedding, density, r_pair)


def _number(word: str) -> float:
    return float(word.replace("D", "E").replace("d", "e"))


def _numbers(words: list[str]) -> Array:
    try:
        return np.array([_number(word) for word in words], dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"an entry is no number ({error})") from error
