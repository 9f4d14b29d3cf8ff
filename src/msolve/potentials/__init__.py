# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Interatomic potentials as site energies of edge vectors, and the engine that derives the rest.

The only place that uses torch. Importing this package does not import it: ask for the submodules.
"""

from msolve.potentials.loading import load_potential, pick_device
from msolve.potentials.memory import keep_freed_memory
from msolve.potentials.protocol import ClosedForm, FeatureHalo, ForceModel, Potential, SiteModel

__all__ = [
    "ClosedForm",
    "FeatureHalo",
    "ForceModel",
    "Potential",
    "SiteModel",
    "keep_freed_memory",
    "load_potential",
    "pick_device",
]
