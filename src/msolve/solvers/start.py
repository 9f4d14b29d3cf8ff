# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Where a load step starts: the last one, moved as linear elasticity follows the boundary.

Boundary nodes that jump by themselves would turn the first layer of elements inside out.
"""

from __future__ import annotations

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.problem import CoupledProblem
from msolve.solvers.preconditioner import Preconditioner


def follow_boundary(
    problem: CoupledProblem,
    z: PETSc.Vec,
    before: float,
    t: float,
    C: npt.NDArray[np.float64],
    preconditioner: Preconditioner,
) -> None:
    """Move the unknowns ``z``, in place, as the boundary values change from load ``before`` to ``t``. Collective.

    Args:
        problem: Any problem on the unknowns.
        z: Unknowns at load ``before``.
        before: Load they belong to.
        t: Load wanted.
        C: Elastic constants, shape ``(3, 3, 3, 3)`` [eV/Å³].
        preconditioner: Elasticity on the same unknowns.
    """
    kinematics, stored = problem.kinematics, problem.stored
    space, comm = kinematics.space, kinematics.unknowns.comm
    if space is None or stored is None or kinematics.nodes_owned is None:
        return
    change = problem.node_base(t) - problem.node_base(before)
    if not comm.allreduce(bool(np.any(change != 0))):
        return
    K = stored.stiffness(C, np.ones(stored.volume.shape))
    moved, force = K.createVecRight(), K.createVecLeft()
    moved.array[:] = change[: space.n_owned_nodes, : space.block].ravel()
    K.mult(moved, force)
    pull, follow = z.duplicate(), z.duplicate()
    kinematics.nodes_owned.multTranspose(force, pull)
    preconditioner.apply(pull, follow)
    z.axpy(-1.0, follow)
