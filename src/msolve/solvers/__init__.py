# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Solvers for coupled problems, through PETSc and SLEPc.

Minimisation with a line search (TAO), descent by forces alone, root finding (SNES with exact Jacobian
products), deferred corrections, and the lowest eigenvalue of the Hessian (SLEPc). One preconditioner serves
all of them: elasticity assembled through the lifts. Each solver reads the options under its own prefix and
no others.
"""

from msolve.solvers.context import Apply, Counted, Product, own_errors
from msolve.solvers.descent import descend, work_between
from msolve.solvers.mode import any_direction, lowest_mode
from msolve.solvers.nonlinear import correct, find_root, minimise, with_ghost_force_correction
from msolve.solvers.preconditioner import Preconditioner
from msolve.solvers.settings import Options, Report, Settings
from msolve.solvers.start import follow_boundary

__all__ = [
    "Apply",
    "Counted",
    "Options",
    "Preconditioner",
    "Product",
    "Report",
    "Settings",
    "any_direction",
    "correct",
    "descend",
    "find_root",
    "follow_boundary",
    "lowest_mode",
    "minimise",
    "own_errors",
    "with_ghost_force_correction",
    "work_between",
]
