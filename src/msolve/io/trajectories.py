# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Atoms for OVITO: extended XYZ files, and the local strain that is worth colouring by.

Arrays are global, on one rank. Positions written are deformed ones; displacements lead back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TextIO

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from msolve.crystal import nearest_neighbour_bonds
from msolve.io.files import write_whole

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CORE, BLEND, PAD = 0, 1, 2

# Bonds that became this much longer are broken: their ends no longer deform together [-].
BROKEN = 1.35
# An atom's bonds must span space this well (smallest over largest eigenvalue of their second
# moment), or its deformation is not determined [-].
SPANNING = 0.05


@dataclass(frozen=True, eq=False)
class LocalDeformation:
    """Deformation of each atom's neighbourhood.

    Attributes:
        F: Deformation gradient, least squares over the atom's bonds, shape ``(n, 3, 3)`` [-].
        determined: Atoms with enough bonds, shape ``(n,)``; ``F`` is the identity elsewhere.
    """

    F: Array
    determined: BoolArray

    def von_mises(self) -> Array:
        """Von Mises strain as in OVITO, shape ``(n,)`` [-].

        With E = (FᵀF - 1) / 2:
            √(E12² + E13² + E23² + ((E11-E22)² + (E22-E33)² + (E33-E11)²) / 6)
        """
        E = (np.einsum("nki,nkj->nij", self.F, self.F) - np.eye(3)) / 2
        shear = E[:, 0, 1] ** 2 + E[:, 0, 2] ** 2 + E[:, 1, 2] ** 2
        a, b, c = E[:, 0, 0], E[:, 1, 1], E[:, 2, 2]
        return np.sqrt(shear + ((a - b) ** 2 + (b - c) ** 2 + (c - a) ** 2) / 6)


def atoms_file(step: int) -> str:
    """Atoms of a load step, relative to the output folder."""
    return f"atoms/step_{step:04d}.extxyz"


def regions_of(beta: Array) -> IntArray:
    """0 core, 1 blending zone, 2 pad, from the blending function at each atom."""
    return np.where(beta <= 0, CORE, np.where(beta < 1, BLEND, PAD)).astype(np.int64)


def local_deformation(
    reference: Array, positions: Array, period: float | None, cutoff: float
) -> LocalDeformation:
    """Least-squares deformation gradient of each atom's neighbourhood, broken bonds left out.

        F_i = (Σ_j r_ij ⊗ R_ij) (Σ_j R_ij ⊗ R_ij)⁻¹

    Args:
        reference: Positions in the perfect crystal, shape ``(n, 3)`` [Å].
        positions: Deformed positions, shape ``(n, 3)`` [Å].
        period: Period along x3, the same in both [Å]; ``None`` where nothing is periodic.
        cutoff: Longest bond in the perfect crystal [Å]; must reach neighbours in all directions.

    References:
        M. L. Falk and J. S. Langer, Phys. Rev. E 57, 7192 (1998).
    """
    i, j, shift = nearest_neighbour_bonds(reference, period, cutoff)
    i, j, shift = np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([shift, -shift])
    R = reference[j] - reference[i] + shift
    r = positions[j] - positions[i] + shift
    if period is not None:
        # Behind a screw dislocation atoms have moved on by whole periods, from one image of a neighbour to the next.
        r[:, 2] -= period * np.round((r - R)[:, 2] / period)
    whole = np.linalg.norm(r, axis=1) < BROKEN * np.linalg.norm(R, axis=1)
    i, R, r = i[whole], R[whole], r[whole]
    n = len(reference)
    moment, mixed = np.zeros((n, 3, 3)), np.zeros((n, 3, 3))
    np.add.at(moment, i, R[:, :, None] * R[:, None, :])
    np.add.at(mixed, i, r[:, :, None] * R[:, None, :])
    spread = np.linalg.eigvalsh(moment)
    determined = spread[:, 0] > SPANNING * np.maximum(spread[:, 2], 1e-300)
    F = np.broadcast_to(np.eye(3), (n, 3, 3)).copy()
    F[determined] = mixed[determined] @ np.linalg.inv(moment[determined])
    return LocalDeformation(F, determined)


def write_atoms(
    path: str | Path,
    positions: Array,
    reference: Array,
    numbers: IntArray,
    period: float | None,
    arrays: Mapping[str, NDArray[np.generic]],
    *,
    comment: Mapping[str, str | float] | None = None,
) -> None:
    """Write atoms as a file of extended XYZ, which OVITO and ASE read. Call it on one rank.

    Args:
        path: File, ending in ``.extxyz``.
        positions: Deformed atoms, shape ``(n, 3)`` [Å].
        reference: Reference atoms, shape ``(n, 3)`` [Å]; the file gets their difference as
            ``displacement``.
        numbers: Atomic numbers, shape ``(n,)``.
        period: Period along x3 [Å]; ``None`` where nothing is periodic.
        arrays: Further columns by name, shape ``(n,)`` or ``(n, k)``.
        comment: Further entries of the header, e.g. the load.

    Raises:
        OutputError: The file cannot be written.
    """
    columns: dict[str, NDArray[np.generic]] = {"displacement": positions - reference, **arrays}
    text = StringIO()
    text.write(f"{len(positions)}\n{_header(positions, period, columns, comment or {})}\n")
    _write_rows(text, positions, numbers, columns)
    write_whole(Path(path), text.getvalue().encode())


def _header(
    positions: Array,
    period: float | None,
    columns: Mapping[str, NDArray[np.generic]],
    comment: Mapping[str, str | float],
) -> str:
    low, high = positions.min(axis=0), positions.max(axis=0)
    if period is not None:
        low[2], high[2] = 0.0, period
    cell = np.diag(np.maximum(high - low, 1e-3))
    lattice = " ".join(f"{x:.10g}" for x in cell.ravel())
    origin = " ".join(f"{x:.10g}" for x in low)
    kinds = ["species:S:1", "pos:R:3"]
    for name, values in columns.items():
        kind = "I" if np.issubdtype(values.dtype, np.integer) else "R"
        kinds.append(f"{name}:{kind}:{1 if values.ndim == 1 else values.shape[1]}")
    words = [
        f'Lattice="{lattice}"',
        f'Origin="{origin}"',
        f'pbc="F F {"F" if period is None else "T"}"',
        f"Properties={':'.join(kinds)}",
        *(f'{key}="{value}"' for key, value in comment.items()),
    ]
    return " ".join(words)


def _write_rows(
    file: TextIO,
    positions: Array,
    numbers: IntArray,
    columns: Mapping[str, NDArray[np.generic]],
) -> None:
    texts = [[chemical_symbols[number] for number in numbers]]
    for values in (positions, *columns.values()):
        whole = np.issubdtype(values.dtype, np.integer)
        for column in values.reshape(len(positions), -1).T:
            texts.append([str(x) if whole else f"{x:.10g}" for x in column])
    file.writelines(" ".join(row) + "\n" for row in zip(*texts, strict=True))
