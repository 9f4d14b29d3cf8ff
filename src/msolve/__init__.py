# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Atomistic-continuum mechanics of crystals with defects.

Atoms where they matter, finite elements of the same potential elsewhere, one displacement field.
This module holds the version and imports nothing, so that ``msolve --version`` is instantaneous.
"""

__version__ = "0.1.0"
