# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Cubic splines on uniform grids that start at zero, evaluated for many points at once in torch.

Twice continuously differentiable, with not-a-knot ends. Coefficients of an interval are one row,
in powers of the position within it, so that an evaluation is one gather and a Horner scheme.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def spline_rows(values: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """Coefficients of the interpolating cubic spline.

    Args:
        values: Values at 0, ``spacing``, 2 ``spacing`` ..., shape ``(..., n)``.
        spacing: Grid spacing.

    Returns:
        Rows (c0, c1, c2, c3), shape ``(..., n - 1, 4)``: in interval m the spline is
        c0 + c1 p + c2 p² + c3 p³ with p = x / spacing - m.
    """
    from scipy.interpolate import CubicSpline

    x = np.arange(values.shape[-1]) * spacing
    descending = CubicSpline(x, values, axis=-1, bc_type="not-a-knot").c
    powers = spacing ** np.arange(4.0)
    # scipy orders (power, interval, other axes).
    return np.moveaxis(descending[::-1], (0, 1), (-1, -2)) * powers


def cubic(c: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Value of the cubic with coefficients ``c[..., :4]`` at ``p``."""
    return ((c[..., 3] * p + c[..., 2]) * p + c[..., 1]) * p + c[..., 0]


def cubic_slope(c: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """First derivative by ``p``."""
    return (3 * c[..., 3] * p + 2 * c[..., 2]) * p + c[..., 1]


def cubic_curvature(c: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Second derivative by ``p``."""
    return 6 * c[..., 3] * p + 2 * c[..., 2]
