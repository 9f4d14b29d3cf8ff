# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What is kept of a round of refinement for its picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class RoundView(NamedTuple):
    """One round.

    Attributes:
        points: Nodes of the mesh, shape ``(n, 2)`` [Å].
        cells: Corners of its triangles, shape ``(m, 3)``.
        atoms: Free atoms, shape ``(k, 2)`` [Å].
        error: Estimated error.
        unknowns: Scalar unknowns.
    """

    points: Array
    cells: npt.NDArray[np.int64]
    atoms: Array
    error: float
    unknowns: int
