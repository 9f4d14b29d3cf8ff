# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Draws of a trained model's parameters, by which a run tells the model's own error (``model_error.kind: pops``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from msolve.config import AnyTraining, LinearTraining
from msolve.errors import UnsupportedError
from msolve.potentials import Potential
from msolve.potentials.linear import LinearModel
from msolve.potentials.linear_fit import weighted_rows, with_penalty
from msolve.potentials.pops import Normal, Parametric, pops
from msolve.train.labels import ENERGY, FORCES, STRESS, evaluate
from msolve.train.trainers.linear import fit_cell

Array = NDArray[np.float64]

WEIGHTS = (20.0, 1.0, 10.0)
"""Of energies of an atom [1/eV], forces [Å/eV] and stresses [Å³/eV] for networks; the linear potential has its own."""

RIDGE = 1e-6
"""Penalty on weights of a network, over the size of their columns."""


def draw(
    model: Potential,
    given: AnyTraining,
    cells: Sequence[Atoms],
    count: int,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> tuple[Parametric, Array]:
    """Draw parameters by the cells that a model was trained on.

    Args:
        model: The trained model.
        given: How it was trained.
        cells: Labelled cells.
        count: How many draws.
        seed: Of random numbers.
        progress: Told (what, done, of how many).

    Returns:
        The model, and changes of its parameters, shape ``(count, c)``.

    Raises:
        UnsupportedError: The model is of a kind without such parameters.
    """
    rng = np.random.default_rng(seed)
    if isinstance(model, LinearModel) and isinstance(given, LinearTraining):
        return model, padded(pops(of_linear(model, given, cells), count, rng), model)
    if not isinstance(model, Parametric) or isinstance(model, LinearModel):
        raise UnsupportedError(
            f"draws: {model.name} has no linear layers that are known here; leave it out, or train a linear "
            "potential or MACE"
        )
    return model, pops(of_network(model, cells, progress), count, rng)


def of_linear(model: LinearModel, given: LinearTraining, cells: Sequence[Atoms]) -> Normal:
    """The least-squares problem that a linear potential solved; ε₀ is a parameter where it was fitted."""
    basis, free = model.basis, given.offset is None
    every = np.concatenate(
        [weighted_rows(basis, fit_cell(given, atoms), given.offset) for atoms in cells]
    )
    matrix = every[:, : basis.n_features + int(free)]
    found = model.parameters[: matrix.shape[1]]
    penalty = with_penalty(matrix, len(matrix), given.ridge, basis)[len(matrix) :]
    return Normal(matrix, every[:, -1] - matrix @ found, penalty)


def padded(changes: Array, model: LinearModel) -> Array:
    """Changes of all parameters, from such without ε₀."""
    missing = len(model.parameters) - changes.shape[1]
    return np.pad(changes, ((0, 0), (0, missing)))


def of_network(
    model: Parametric,
    cells: Sequence[Atoms],
    progress: Callable[[str, int, int], None] = lambda *told: None,
) -> Normal:
    """The least-squares problem of a network's last layers, around what it was trained to."""
    n = len(model.parameters)
    units = np.vstack([np.zeros(n), np.eye(n)])
    probes = [model.with_parameters(unit, model.name) for unit in units]
    rows, residuals = [], []
    for done, atoms in enumerate(cells):
        none, *each = (_answers(probe, atoms) for probe in probes)
        matrix = np.stack([one - none for one in each], axis=1)
        labels = _weighted(atoms, atoms.info[ENERGY], atoms.arrays[FORCES], atoms.info[STRESS])
        rows.append(matrix)
        residuals.append(labels - none - matrix @ model.parameters)
        progress("cells drawn by", done + 1, len(cells))
    whole = np.concatenate(rows)
    penalty = RIDGE * np.diag(np.sqrt((whole**2).sum(axis=0)))
    return Normal(whole, np.concatenate(residuals), penalty)


def _answers(model: Potential, atoms: Atoms) -> Array:
    found = evaluate(model, atoms)
    return _weighted(atoms, found.energy, -found.gradient, found.virial / atoms.get_volume())


def _weighted(atoms: Atoms, energy: float, forces: Array, stress: Array) -> Array:
    of_energy, of_forces, of_stress = WEIGHTS
    return np.concatenate(
        [
            [of_energy * energy / len(atoms)],
            of_forces * np.ravel(forces),
            of_stress * np.ravel(stress),
        ]
    )
