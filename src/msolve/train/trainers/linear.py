# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The linear potential: one least-squares solve, seconds; validation cells are only reported on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from msolve.atomistic import find_edges
from msolve.config import LinearTraining
from msolve.errors import CaseError
from msolve.io.files import write_whole
from msolve.potentials.linear_basis import Basis
from msolve.potentials.linear_file import linear_text, start_problem
from msolve.potentials.linear_fit import FitCell, fit_linear
from msolve.train.labels import ENERGY, FORCES, KIND, STRESS
from msolve.train.trainers import Task, Trained


def check(given: LinearTraining) -> None:
    """See that the pair splines have room."""
    wrong = start_problem(_basis(given))
    if wrong:
        raise CaseError([f"model.start = {wrong}"])


def train(given: LinearTraining, task: Task) -> Trained:
    """Fit ``NAME.linear``."""
    basis = _basis(given)
    number = int(task.crystal.numbers[0])
    model = fit_linear(basis, number, _cells(given, task), given.ridge, given.offset, task.name)
    write_whole(task.folder / f"{task.name}.linear", linear_text(model).encode())
    return Trained(
        {"kind": "linear", "file": f"{task.name}.linear"}, {"parameters": basis.n_features}
    )


def _basis(given: LinearTraining) -> Basis:
    return Basis(given.cutoff, given.start, given.pairs, given.products, given.angular)


def _cells(given: LinearTraining, task: Task) -> Iterator[FitCell]:
    for done, atoms in enumerate(task.train):
        yield fit_cell(given, atoms)
        task.progress("cells fitted to", done + 1, len(task.train))


def fit_cell(given: LinearTraining, atoms: Atoms) -> FitCell:
    """A labelled cell as rows of the fit."""
    x, n = atoms.positions, len(atoms)
    every = np.ones(n, dtype=bool)
    pair, shift = find_edges(x, atoms.cell.array, [True] * 3, given.cutoff, every)
    factor = given.kind_weights.get(atoms.info[KIND], 1.0)
    return FitCell(
        vec=x[pair[1]] - x[pair[0]] + shift,
        pair=pair,
        volume=atoms.get_volume(),
        energy=float(atoms.info[ENERGY]),
        forces=atoms.arrays[FORCES],
        stress=np.asarray(atoms.info[STRESS]).reshape(3, 3),
        weights=(
            factor * given.energy_weight,
            factor * given.forces_weight,
            factor * given.stress_weight,
        ),
    )
