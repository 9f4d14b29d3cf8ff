# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Other coefficients that the training data allow a linear potential: pointwise optimal parameter sets.

For each row φ of the weighted least-squares problem with residual r, the least change of the coefficients (in the norm
of the problem's normal matrix A) that makes the model right there is A⁻¹ φ r / h with the leverage h = φᵀ A⁻¹ φ. The
changes of the half of the rows with the larger leverage are boxed in along their principal axes, and draws are uniform
in the box. So their spread is that of a model which cannot fit all data at once: it does not shrink with their number,
as that of Bayesian regression does, which knows noise only.

References:
    T. D. Swinburne and D. Perez, Mach. Learn.: Sci. Technol. 6, 015008 (2025); here the axes are those of the changes
    in units of A, so that scaling a feature changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from msolve.errors import CaseError
from msolve.potentials.linear import LinearModel
from msolve.potentials.linear_fit import FitCell, weighted_rows, with_penalty

Array = NDArray[np.float64]

FORMAT = "msolve draws of a linear potential"
VERSION = 1

LEAST_LEVERAGE = 0.5
"""Share of the rows, those of less leverage, that are left out."""

NEGLIGIBLE = 1e-8
"""Variance along a principal axis, over the largest, below which there is none."""


class Normal:
    """The least-squares problem of a model around its solution.

    Args:
        model: The fitted model.
        cells: The cells it was fitted to.
        ridge: The strength of the penalty it was fitted with.
        free_offset: Whether ε₀ was fitted too.

    Attributes:
        rows: Weighted rows in units of A: φ A^(-1/2), shape ``(n, c)``.
        residuals: Labels less predictions, weighted, shape ``(n,)``.
    """

    def __init__(
        self, model: LinearModel, cells: Iterable[FitCell], ridge: float, free_offset: bool
    ) -> None:
        basis, offset = model.basis, None if free_offset else model.offset
        every = np.concatenate([weighted_rows(basis, cell, offset) for cell in cells])
        columns = [*range(basis.n_features), *([basis.n_features] if free_offset else [])]
        matrix, found = every[:, columns], model.coefficients
        if free_offset:
            found = np.append(found, model.offset)
        whole = with_penalty(matrix, len(matrix), ridge, basis)
        self._unit = np.sqrt((whole**2).sum(axis=0))
        self._unit[self._unit == 0] = 1.0
        self._factor = cast(Array, np.linalg.qr(whole / self._unit, mode="r"))
        self._n_features = basis.n_features
        self.residuals: Array = every[:, -1] - matrix @ found
        self.rows: Array = linalg.solve_triangular(self._factor, (matrix / self._unit).T, trans=1).T

    def coefficients(self, changes: Array) -> Array:
        """Changes of the coefficients ``(k, f + 1)``, the last of ε₀ [eV], from such in units of A ``(k, c)``."""
        found = linalg.solve_triangular(self._factor, changes.T).T / self._unit
        missing = self._n_features + 1 - found.shape[1]
        return np.pad(found, ((0, 0), (0, missing)))


def pops(normal: Normal, count: int, rng: np.random.Generator) -> Array:
    """Draw changes of the coefficients from the box of the pointwise ones, shape ``(count, f + 1)`` [eV]."""
    leverage = (normal.rows**2).sum(axis=1)
    chosen = leverage >= np.quantile(leverage, LEAST_LEVERAGE)
    chosen &= leverage > 0
    changes = normal.rows[chosen] * (normal.residuals[chosen] / leverage[chosen])[:, None]
    variance, axes = np.linalg.eigh(changes.T @ changes / len(changes))
    axes = axes[:, variance > NEGLIGIBLE * max(variance[-1], 1e-300)]
    along = changes @ axes
    low, high = along.min(axis=0, initial=0.0), along.max(axis=0, initial=0.0)
    drawn = low + (high - low) * rng.uniform(size=(count, axes.shape[1]))
    return normal.coefficients(drawn @ axes.T)


def write_draws(model: LinearModel, changes: Array) -> str:
    """What stands in the file of some draws of a model."""
    content = {"format": FORMAT, "version": VERSION, "of": _digest(model)}
    rows = ",\n  ".join(json.dumps([float(f"{c:.9g}") for c in row]) for row in changes)
    head = json.dumps(content, indent=1).rstrip("}\n ")
    return f'{head},\n "changes": [\n  {rows}\n ]\n}}\n'


def read_draws(path: Path, model: LinearModel) -> tuple[LinearModel, ...]:
    """Models with the coefficients of a file's draws.

    Args:
        path: The file.
        model: The model in use.

    Raises:
        CaseError: The file cannot be read, or its draws are not of this model.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CaseError([f"cannot be read: {error.strerror}"], str(path)) from error
    except (ValueError, RecursionError) as error:
        raise CaseError([f"is not valid JSON ({error})"], str(path)) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CaseError([f"its format is not {FORMAT!r}"], str(path))
    if content.get("version") != VERSION:
        raise CaseError(
            [f"has version {content.get('version')!r}; this msolve reads version {VERSION}"],
            str(path),
        )
    if content.get("of") != _digest(model):
        raise CaseError([f"its draws are not of {model.name}; train both again"], str(path))
    try:
        changes = np.array(content.get("changes"), dtype=np.float64)
    except (ValueError, TypeError):
        changes = np.zeros(0)
    width = len(model.coefficients) + 1
    if changes.ndim != 2 or changes.shape[1] != width or len(changes) < 2:
        raise CaseError([f"changes: should be two or more lists of {width} numbers"], str(path))
    if not np.isfinite(changes).all():
        raise CaseError(["changes: one is not finite"], str(path))
    return tuple(drawn_model(model, change, k) for k, change in enumerate(changes))


def drawn_model(model: LinearModel, change: Array, k: int) -> LinearModel:
    """The model with other coefficients; ``change`` is one row of draws."""
    number = min(model.numbers)
    return LinearModel(
        model.basis,
        number,
        model.offset + change[-1],
        model.coefficients + change[:-1],
        f"draw {k + 1} of {model.name}",
        model.device,
    )


def _digest(model: LinearModel) -> str:
    told = [model.offset, *map(float, model.coefficients)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
