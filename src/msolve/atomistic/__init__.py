# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Atoms shared among ranks: neighbour lists, halos, and the energy of a patch of atoms.

Knows potentials only through their protocol, and neither meshes nor configuration.
"""

from msolve.atomistic.force_patch import ForcePatch
from msolve.atomistic.lists import site_costs
from msolve.atomistic.neighbours import find_edges
from msolve.atomistic.patch import AtomisticPatch, cluster_energy
from msolve.atomistic.protocol import Patch
from msolve.atomistic.relaxation import relax_atoms
from msolve.atomistic.sharing import share_atoms

__all__ = [
    "AtomisticPatch",
    "ForcePatch",
    "Patch",
    "cluster_energy",
    "find_edges",
    "relax_atoms",
    "share_atoms",
    "site_costs",
]
