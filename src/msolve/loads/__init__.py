# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Load fields: the displacement imposed at the outer boundary and predicted inside.

A load is an analytic displacement field and its gradient, for an amplitude: the K-field of a crack or the field of a
dislocation in any anisotropic crystal (Stroh's sextic formalism), a homogeneous deformation, or nothing. Loads know the
stiffness they were built with, and nothing of meshes, atoms, load steps or solvers.
"""

from msolve.loads.crack import KField
from msolve.loads.dislocation import Together, Volterra
from msolve.loads.fields import (
    Affine,
    BodyForce,
    BoundaryLoads,
    Facets,
    Held,
    OnOutline,
    Predictor,
    Shift,
    Tabulated,
    Traction,
    Zero,
)
from msolve.loads.stroh import Stroh, cubic_stiffness, stiffness_from_voigt, stroh

__all__ = [
    "Affine",
    "BodyForce",
    "BoundaryLoads",
    "Facets",
    "Held",
    "KField",
    "OnOutline",
    "Predictor",
    "Shift",
    "Stroh",
    "Tabulated",
    "Together",
    "Traction",
    "Volterra",
    "Zero",
    "cubic_stiffness",
    "stiffness_from_voigt",
    "stroh",
]
