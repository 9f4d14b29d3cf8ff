# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Atoms shared among ranks: neighbour lists, halos, and the energy of a patch of atoms.

Knows potentials only through their protocol, and neither meshes nor configuration.
"""

from msolve.atomistic.neighbours import find_edges
from msolve.atomistic.patch import AtomisticPatch, cluster_energy

__all__ = ["AtomisticPatch", "cluster_energy", "find_edges"]
