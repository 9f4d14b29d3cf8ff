# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Atomistic-continuum mechanics of crystals with defects.

Atoms where they matter, finite elements of the same potential elsewhere, one displacement field.
This module imports nothing until a name is asked for, so that ``msolve --version`` is instantaneous.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msolve.crystal import Crystal
    from msolve.embedding import embed
    from msolve.potentials import load_potential
    from msolve.potentials.rest import relaxed_lattice
    from msolve.regions import Ball

__all__ = ["Ball", "Crystal", "__version__", "embed", "load_potential", "relaxed_lattice"]

__version__ = "0.1.0"

_HOMES = {
    "Ball": "msolve.regions",
    "Crystal": "msolve.crystal",
    "embed": "msolve.embedding",
    "load_potential": "msolve.potentials",
    "relaxed_lattice": "msolve.potentials.rest",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'msolve' has no attribute '{name}'")
