# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The lifts from the unknowns to all atoms and mesh nodes, and how they are interpolated."""

from msolve.kinematics.lifts import Kinematics, Unknowns, build_kinematics
from msolve.kinematics.matrices import (
    block_matrix,
    gradient_matrix,
    interpolation_matrix,
    petsc_matrix,
)
from msolve.kinematics.slaving import clear_of_slits, project

__all__ = [
    "Kinematics",
    "Unknowns",
    "block_matrix",
    "build_kinematics",
    "clear_of_slits",
    "gradient_matrix",
    "interpolation_matrix",
    "petsc_matrix",
    "project",
]
