# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""By what factor a spread of members has to be stretched so that it covers the errors against a reference.

Split conformal prediction: on every other cell the scores |error| / spread are ranked, and the factor is the score
that the asked share of them, with one more to come, does not exceed. On the cells in between, which had no part in
that, the share that is covered is counted. For cells that could be swapped with those of the run the promise holds in
the mean; for a defect core it is as good as the cells are like it.

References:
    V. Vovk, A. Gammerman and G. Shafer, Algorithmic Learning in a Random World (Springer, 2005), chapter 4.
    A. N. Angelopoulos and S. Bates, Found. Trends Mach. Learn. 16, 494 (2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from msolve.atomistic import cluster_energy
from msolve.errors import CaseError
from msolve.potentials import Potential
from msolve.uncertainty.members import Members

Array = npt.NDArray[np.float64]

ENERGY, FORCES = "REF_energy", "REF_forces"
"""Where a labelled cell keeps the reference's energy [eV] and forces ``(n, 3)`` [eV/Å]."""

FLOOR = 1e-6
"""Spread below which members agree [eV/Å, eV per atom]."""


class LabelledCell(NamedTuple):
    """Some atoms and what a reference says of them.

    Attributes:
        positions: Shape ``(n, 3)`` [Å].
        numbers: Atomic numbers, shape ``(n,)``.
        cell: Lattice vectors as rows, shape ``(3, 3)`` [Å].
        periodic: Which axes are periodic, shape ``(3,)``.
        forces: Shape ``(n, 3)`` [eV/Å].
        energy: [eV]; nan where it is not given.
        inside: Atoms whose forces count, shape ``(n,)``: of a cluster those not in its outer shell.
    """

    positions: Array
    numbers: npt.NDArray[np.int64]
    cell: Array
    periodic: npt.NDArray[np.bool_]
    forces: Array
    energy: float
    inside: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scores:
    """|error| / spread on some cells.

    Attributes:
        forces: Of each component of a force that counts.
        energy: Of the energy of each cell.
    """

    forces: Array
    energy: Array


@dataclass(frozen=True)
class Calibration:
    """Factors, and what they are worth on cells that had no part in them.

    Attributes:
        asked: Share that is to be covered [-].
        forces: Factor on spreads of forces and what follows from them [-].
        energy: Factor on spreads of energies [-]; ``None`` where the cells have none.
        covered_forces: Share of the components of forces on the other cells that is covered [-].
        covered_energy: The same for energies; ``None`` where the cells have none.
        cells: Number of cells, both halves together.
    """

    asked: float
    forces: float
    energy: float | None
    covered_forces: float
    covered_energy: float | None
    cells: int


def read_cells(path: Path, numbers: frozenset[int]) -> list[LabelledCell]:
    """Read labelled cells, in any format that ASE reads; those of a training are extended XYZ.

    Args:
        path: The file.
        numbers: Atomic numbers that the potential knows.

    Raises:
        CaseError: It cannot be read, a cell has no forces or strange elements, or there are fewer than two.
    """
    from ase.io import read  # its formats take a while to import, and few runs calibrate

    try:
        found = read(path, ":")
    except Exception as error:  # ASE's readers raise anything
        raise CaseError([f"cannot be read by ASE: {error}"], str(path)) from error
    cells, problems = [], []
    for index, atoms in enumerate(found):
        strange = sorted({int(z) for z in atoms.numbers} - numbers)
        if strange:
            problems.append(f"cell {index + 1} holds the atomic numbers {strange}")
        elif FORCES not in atoms.arrays:
            problems.append(f"cell {index + 1} has no column {FORCES}: the forces of the reference")
        elif not np.isfinite(atoms.arrays[FORCES]).all():
            problems.append(f"cell {index + 1}: a force of the reference is not finite")
        else:
            cells.append(
                LabelledCell(
                    positions=atoms.positions,
                    numbers=atoms.numbers.astype(np.int64),
                    cell=atoms.cell.array,
                    periodic=np.asarray(atoms.pbc, dtype=bool),
                    forces=atoms.arrays[FORCES],
                    energy=float(atoms.info.get(ENERGY, np.nan)),
                    inside=np.asarray(atoms.arrays.get("inner", np.ones(len(atoms))), dtype=bool),
                )
            )
    if not problems and len(cells) < 2:
        problems.append(f"holds {len(cells)} cell: one half calibrates, the other measures")
    if problems:
        raise CaseError(problems[:5], str(path))
    return cells


def scores(own: Potential, members: Members, cell: LabelledCell) -> Scores:
    """Scores of one cell; the spread of a force is the root mean square over its three components. Rank-local."""
    at = (cell.positions, cell.numbers, cell.cell, cell.periodic)
    energy, gradient = cluster_energy(own, *at)
    every = [cluster_energy(member, *at) for member in members.potentials]
    apart = members.apart(np.array([g for _, g in every]), gradient)
    spread = np.sqrt(members.share * (apart**2).sum(axis=(0, 2)) / 3)[:, None]
    error = np.abs(gradient + cell.forces)
    of_forces = (error / np.maximum(spread, FLOOR))[cell.inside]
    n = len(cell.numbers)
    energies = members.apart(np.array([e for e, _ in every]), np.array(energy))
    width = np.sqrt(members.share * (energies**2).sum())
    of_energy = abs(energy - cell.energy) / max(width, FLOOR * n)
    return Scores(of_forces.ravel(), np.array([of_energy]))


def calibrate(
    comm: MPI.Comm,
    own: Potential,
    members: Members,
    cells: Sequence[LabelledCell],
    asked: float,
) -> Calibration:
    """Find the factors on the cells of even number, and count on the others. Collective.

    Raises:
        CaseError: There are too few forces for the asked coverage.
    """
    mine = {k: scores(own, members, cells[k]) for k in range(comm.rank, len(cells), comm.size)}
    found = {k: one for part in comm.allgather(mine) for k, one in part.items()}
    halves = []
    for first in (0, 1):
        half = [found[k] for k in range(first, len(cells), 2)]
        halves.append(
            Scores(
                np.concatenate([one.forces for one in half]),
                np.concatenate([one.energy for one in half]),
            )
        )
    fit, held = halves
    factor = quantile(fit.forces, asked)
    if math.isinf(factor):
        raise CaseError(
            [
                f"holds {len(cells)} cells with {fit.forces.size} components of forces to calibrate with; a coverage "
                f"of {asked:g} needs more"
            ]
        )
    known = np.isfinite(fit.energy).all() and np.isfinite(held.energy).all()
    energy = quantile(fit.energy, asked) if known else None
    # With fewer cells than the coverage needs the largest score is the best that can be said.
    if energy is not None and math.isinf(energy):
        energy = float(fit.energy.max())
    return Calibration(
        asked=asked,
        forces=factor,
        energy=energy,
        covered_forces=float(np.mean(held.forces <= factor)),
        covered_energy=None if energy is None else float(np.mean(held.energy <= energy)),
        cells=len(cells),
    )


def quantile(values: Array, share: float) -> float:
    """Smallest value that ``share`` of n + 1 does not exceed, the one more being anything; inf where n is too small."""
    k = math.ceil((len(values) + 1) * share - 1e-9)
    return float(np.sort(values)[k - 1]) if k <= len(values) else math.inf
