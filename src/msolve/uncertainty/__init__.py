# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How far other potentials are from the one in use: in a state of a body, and on cells that a reference labelled."""

from msolve.uncertainty.calibration import Calibration, LabelledCell, calibrate, read_cells
from msolve.uncertainty.differences import Apart, Beside, Change
from msolve.uncertainty.members import Members

__all__ = [
    "Apart",
    "Beside",
    "Calibration",
    "Change",
    "LabelledCell",
    "Members",
    "calibrate",
    "read_cells",
]
