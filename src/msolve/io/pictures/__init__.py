# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Pictures of a run (PNG): the whole body, the tip, convergence, the error of each atom.

Arrays in, files out, on one rank; bodies in space are in ``space``, imported when one is drawn.
Nothing is computed here that belongs into a result, and no global state of matplotlib is touched.
"""

from msolve.io.pictures.budget import picture_budget
from msolve.io.pictures.canvas import AtomsView, MeshView, RenderError
from msolve.io.pictures.comparison import picture_comparison
from msolve.io.pictures.convergence import picture_convergence
from msolve.io.pictures.domain import picture_domain
from msolve.io.pictures.rounds import picture_rounds
from msolve.io.pictures.tip import Opening, picture_tip

__all__ = [
    "AtomsView",
    "MeshView",
    "Opening",
    "RenderError",
    "picture_budget",
    "picture_comparison",
    "picture_convergence",
    "picture_domain",
    "picture_rounds",
    "picture_tip",
]
