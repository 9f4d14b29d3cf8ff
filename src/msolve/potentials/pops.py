# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Other parameters that the training data allow a model which is linear in them: pointwise optimal parameter sets.

For each row φ of the weighted least-squares problem with residual r, the least change of the parameters (in the norm
of the problem's normal matrix A) that makes the model right there is A⁻¹ φ r / h with the leverage h = φᵀ A⁻¹ φ. The
changes of the half of the rows with the larger leverage are boxed in along their principal axes, and draws are uniform
in the box. So their spread is that of a model which cannot fit all data at once: it does not shrink with their number,
as that of Bayesian regression does, which knows noise only. Of a network the parameters are the weights of its last,
linear, layers.

References:
    T. D. Swinburne and D. Perez, Mach. Learn.: Sci. Technol. 6, 015008 (2025); here the axes are those of the changes
    in units of A, so that scaling a feature changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from msolve.errors import CaseError
from msolve.potentials.protocol import SiteModel

Array = NDArray[np.float64]

FORMAT = "msolve draws of a potential"
VERSION = 1

LEAST_LEVERAGE = 0.5
"""Share of the rows, those of less leverage, that are left out."""

NEGLIGIBLE = 1e-8
"""Variance along a principal axis, over the largest, below which there is none."""


@runtime_checkable
class Parametric(Protocol):
    """A site model whose energy is linear in some parameters."""

    @property
    def name(self) -> str:
        """What to call it."""
        ...

    @property
    def parameters(self) -> Array:
        """The parameters, shape ``(c,)``."""
        ...

    def with_parameters(self, values: Array, name: str) -> SiteModel:
        """The same model with other parameters."""
        ...


class Normal:
    """A least-squares problem around its solution.

    Args:
        matrix: Weighted derivatives of the predictions by the parameters, shape ``(n, c)``.
        residuals: Labels less predictions, weighted, shape ``(n,)``.
        penalty: Further rows of the normal matrix, shape ``(m, c)``.

    Attributes:
        rows: Rows in units of the normal matrix A: φ A^(-1/2), shape ``(n, c)``.
        residuals: See above.
    """

    def __init__(self, matrix: Array, residuals: Array, penalty: Array) -> None:
        whole = np.vstack([matrix, penalty])
        self._unit = np.sqrt((whole**2).sum(axis=0))
        self._unit[self._unit == 0] = 1.0
        self._factor = np.asarray(np.linalg.qr(whole / self._unit, mode="r"))
        self.residuals = residuals
        self.rows: Array = linalg.solve_triangular(self._factor, (matrix / self._unit).T, trans=1).T

    def parameters(self, changes: Array) -> Array:
        """Changes of the parameters ``(k, c)`` from such in units of A."""
        return np.asarray(linalg.solve_triangular(self._factor, changes.T).T / self._unit)


def pops(normal: Normal, count: int, rng: np.random.Generator) -> Array:
    """Draw changes of the parameters from the box of the pointwise ones, shape ``(count, c)``."""
    leverage = (normal.rows**2).sum(axis=1)
    chosen = leverage >= np.quantile(leverage, LEAST_LEVERAGE)
    chosen &= leverage > 0
    changes = normal.rows[chosen] * (normal.residuals[chosen] / leverage[chosen])[:, None]
    variance, axes = np.linalg.eigh(changes.T @ changes / len(changes))
    axes = axes[:, variance > NEGLIGIBLE * max(variance[-1], 1e-300)]
    along = changes @ axes
    low, high = along.min(axis=0, initial=0.0), along.max(axis=0, initial=0.0)
    drawn = low + (high - low) * rng.uniform(size=(count, axes.shape[1]))
    return normal.parameters(drawn @ axes.T)


def write_draws(model: Parametric, changes: Array) -> str:
    """What stands in the file of some draws of a model."""
    content = {"format": FORMAT, "version": VERSION, "of": _digest(model)}
    rows = ",\n  ".join(json.dumps([float(f"{c:.9g}") for c in row]) for row in changes)
    head = json.dumps(content, indent=1).rstrip("}\n ")
    return f'{head},\n "changes": [\n  {rows}\n ]\n}}\n'


def read_draws(path: Path, model: Parametric) -> tuple[SiteModel, ...]:
    """Models with the parameters of a file's draws.

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
    width = len(model.parameters)
    if changes.ndim != 2 or changes.shape[1] != width or len(changes) < 2:
        raise CaseError([f"changes: should be two or more lists of {width} numbers"], str(path))
    if not np.isfinite(changes).all():
        raise CaseError(["changes: one is not finite"], str(path))
    return tuple(drawn_model(model, change, k) for k, change in enumerate(changes))


def drawn_model(model: Parametric, change: Array, k: int) -> SiteModel:
    """The model with other parameters; ``change`` is one row of draws."""
    return model.with_parameters(model.parameters + change, f"draw {k + 1} of {model.name}")


def _digest(model: Parametric) -> str:
    # Seven digits: a network may run in single precision.
    told = [f"{value:.6e}" for value in model.parameters]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
