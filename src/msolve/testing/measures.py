# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How closely laws have to hold, and how errors are measured and told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Tolerances:
    """Largest relative errors that the checks accept.

    Attributes:
        step: Step of the central differences [Å].
        gradient: Gradient against differences of the energy.
        hessian: Hessian product against differences of the gradient.
        exact: Laws that hold up to round-off.
        jump: Jump of a site energy where a neighbour passes the cutoff [eV].
        rest: Stress of a law in the undeformed crystal over its stiffness, and constants against those given.
    """

    step: float = 1e-4
    gradient: float = 1e-6
    hessian: float = 1e-5
    exact: float = 1e-10
    jump: float = 1e-4
    rest: float = 1e-4


USUAL = Tolerances()
"""What is accepted unless the caller says otherwise."""


def difference(function: Callable[[float], Any], h: float) -> Any:
    """Central difference of fourth order at 0."""
    near, far = function(h) - function(-h), function(2 * h) - function(-2 * h)
    return (8 * near - far) / (12 * h)


def same(law: str, found: Any, expected: Any, tolerance: float) -> None:
    """Raise ``AssertionError`` where the relative error of ``found`` is not below ``tolerance``."""
    scale = max(float(np.abs(expected).max()), 1e-12)
    error = float(np.abs(np.asarray(found) - np.asarray(expected)).max()) / scale
    require(error < tolerance, f"{law}: relative error {error:.2e}, accepted {tolerance:.0e}")


def require(holds: bool, message: str) -> None:
    """Raise ``AssertionError`` with the message unless ``holds``; not an ``assert``, which ``python -O`` drops."""
    if not holds:
        raise AssertionError(message)


def rotation(rng: np.random.Generator) -> Array:
    """A random rotation, shape ``(3, 3)``."""
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return turn * np.sign(np.linalg.det(turn))
