# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Cubic splines on uniform grids that start at zero, evaluated for many points at once in torch.

Twice continuously differentiable, with not-a-knot ends. Coefficients are in powers of the position
within an interval, so that an evaluation is one gather and a Horner scheme. They are stored power
first: gathering rows and then working on their columns takes ten times as long.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def spline_coefficients(values: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """Coefficients of the interpolating cubic spline.

    Args:
        values: Values at 0, ``spacing``, 2 ``spacing`` ..., shape ``(..., n)``.
        spacing: Grid spacing.

    Returns:
        c, shape ``(4, ..., n - 1)``: in interval m the spline is
        c0 + c1 p + c2 p² + c3 p³ with p = x / spacing - m.
    """
    from scipy.interpolate import CubicSpline

    x = np.arange(values.shape[-1]) * spacing
    # scipy orders (descending power, interval, other axes).
    ascending = np.moveaxis(CubicSpline(x, values, axis=-1, bc_type="not-a-knot").c[::-1], 1, -1)
    return np.stack([c * spacing**power for power, c in enumerate(ascending)])


def cubic(c: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Value at ``p`` (n,) of the cubics with coefficients ``c`` (4, n)."""
    return ((c[3] * p + c[2]) * p + c[1]) * p + c[0]


def cubic_slope(c: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """First derivative by ``p``."""
    return (3 * c[3] * p + 2 * c[2]) * p + c[1]


def cubic_curvature(c: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Second derivative by ``p``."""
    return 6 * c[3] * p + 2 * c[2]
