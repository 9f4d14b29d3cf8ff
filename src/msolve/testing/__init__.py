# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Checks that potentials, laws and terms from elsewhere can be put through, and a small model to test with.

Each check raises ``AssertionError`` with the law that is broken and by how much. Not imported by
the library itself.
"""

from msolve.testing.laws import check_material, check_potential, check_term
from msolve.testing.measures import Tolerances
from msolve.testing.models import write_tiny_mace, write_tiny_nequip, write_tiny_sevennet

__all__ = [
    "Tolerances",
    "check_material",
    "check_potential",
    "check_term",
    "write_tiny_mace",
    "write_tiny_nequip",
    "write_tiny_sevennet",
]
