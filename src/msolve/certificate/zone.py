# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The full atomistic model of a zone around the defect alone, its surroundings held where the coupled solution is.

Where a body is too large for its whole lattice this is what can be certified: that the zone has one equilibrium close
by *if* its surroundings stand where they are said to. Of these themselves nothing is certified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.assemble import Assembly, full_atomistic
from msolve.compare import Lifting
from msolve.crystal import Sites
from msolve.regions import Ball, Shape

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Within:
    """What lies in all of some shapes.

    Attributes:
        shapes: One or more.
    """

    shapes: tuple[Shape, ...]

    def distance(self, X: Array) -> Array:
        """Negative inside, shape ``(n,)`` [Å]; outside at most the distance."""
        return np.max([shape.distance(X) for shape in self.shapes], axis=0)

    def extent(self) -> float:
        """No point is further from the origin [Å]."""
        return min(shape.extent() for shape in self.shapes)


def zone_model(
    coupled: Assembly, z: PETSc.Vec, t: float, centre: tuple[float, float, float], radius: float
) -> Assembly:
    """All atoms within a radius, the others held; zero unknowns are the coupled state. Collective.

    Args:
        coupled: The coupled problem.
        z: Its unknowns.
        t: Load parameter; the model knows no other load.
        centre: Middle of the zone [Å].
        radius: Its radius [Å].
    """
    body = coupled.body
    shape = Within((body.shape, Ball(centre, radius, body.gdim)))
    comm = coupled.problem.kinematics.unknowns.comm

    def placed(atoms: Sites) -> Array:
        X = atoms.positions
        inside = body.shape.distance(X) < 0
        return Lifting(coupled, X, inside, body.inner_shifts(atoms))(z, t)

    return full_atomistic(comm, replace(body, shape=shape), prefix="msolve_full_", placed=placed)
