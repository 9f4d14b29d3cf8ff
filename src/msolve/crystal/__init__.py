# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Perfect crystals: lattice, basis, orientation in the laboratory, and the sites in a region.

Everything here is geometry of an infinite perfect crystal, exact up to round-off and independent of
any potential: no defects, no energies, no MPI. A crystal is any lattice with any basis; the
laboratory axes are x1 (along the crack), x2 (normal to it) and x3 (the front).
Quasi-two-dimensional problems hold one lattice period along x3.
"""

from msolve.crystal.bonds import nearest_neighbour_bonds, projected_points
from msolve.crystal.lattice import Crystal
from msolve.crystal.oriented import Cleavage, OrientedCrystal, Shell, Sites

__all__ = [
    "Cleavage",
    "Crystal",
    "OrientedCrystal",
    "Shell",
    "Sites",
    "nearest_neighbour_bonds",
    "projected_points",
]
