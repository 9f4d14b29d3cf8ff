# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What is missing beyond the outer boundary of a body that is cut out of an infinite crystal.

The corrector u decays as |∇u| ~ r^-q: q = d around a point or a line without Burgers vector in d dimensions, 3/2
around a crack tip. With p = 2q - d,

    ‖∇u‖²(r > R) = ‖∇u‖²(R/2 < r < R) / (2^p - 1),

which is what the far field imposed at R leaves out. An estimate: the imposed field bends the decay near R.

References:
    V. Ehrlacher, C. Ortner, A. Shapeev, Arch. Ration. Mech. Anal. 222, 1217 (2016); M. Buze, T. Hudson,
    C. Ortner, Math. Models Methods Appl. Sci. 30, 2853 (2020), for cracks.
"""

from __future__ import annotations

from petsc4py import PETSc

import numpy as np

from msolve.assemble import Assembly
from msolve.regions import Ball


def truncation(coupled: Assembly, z: PETSc.Vec, t: float) -> tuple[float, str]:
    """Elastic energy norm of the corrector beyond the outer boundary [√eV], and how it was found. Collective.

    Returns:
        ``(norm, "extrapolated")`` for a disc or ball around the origin under a far field, ``(0, "body")`` for a body
        of the user's own outline or under loads on its parts: that one ends where it ends.
    """
    problem, body = coupled.problem, coupled.body
    stored = problem.stored
    if stored is None or body.loads is not None or not isinstance(body.shape, Ball):
        return 0.0, "body"
    at = problem.snapshot(z, t)
    radius = np.linalg.norm(stored.points.mean(axis=1)[:, : body.gdim], axis=1)
    ring = (radius > body.radius / 2) & (radius < body.radius)
    far = stored.sample(lambda X: body.far_field.gradient(X, t))
    G = stored.deformation(at.nodes, at.background - far, ring) - np.eye(3)
    density = np.einsum("cqiJ,iJkL,cqkL->cq", G, body.C, G, optimize=True)
    own = float(np.sum(stored.volume[ring] * density))
    share = problem.kinematics.unknowns.comm.allreduce(own)
    power = 1 if body.crack else body.gdim
    return float(np.sqrt(max(share, 0.0) / (2**power - 1))), "extrapolated"
