# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Where the problem is atomistic, where it is a continuum, and how one blends into the other.

Regions are shapes and one blending function beta of reference positions. They hold no atoms, no
mesh and no state, so the same object serves the atoms, the quadrature points and the pictures.
"""

from msolve.regions.blend import Regions
from msolve.regions.outline import Outline
from msolve.regions.shapes import Ball, Box, Capsule, Disc, Grown, Polygon, Shape, Union

__all__ = [
    "Ball",
    "Box",
    "Capsule",
    "Disc",
    "Grown",
    "Outline",
    "Polygon",
    "Regions",
    "Shape",
    "Union",
]
