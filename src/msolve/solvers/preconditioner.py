# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Linear elasticity through the lifts: preconditioner of every solve, and metric of the eigenvalues."""

from __future__ import annotations

import logging
import time

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import sparse, spatial

from msolve.kinematics import clear_of_slits, petsc_matrix, project
from msolve.problem import CoupledProblem

Array = npt.NDArray[np.float64]

_log = logging.getLogger("msolve")


class Preconditioner:
    """Linear elasticity seen by the unknowns: Lᵀ K_a(1-β) L + Tᵀ K_c(β) T, assembled once.

    K_a is elasticity on the simplices between the atoms, K_c on the mesh, each weighted by the part of the
    model that acts there; C is the potential's own.

    Args:
        problem: Problem whose lifts are used.
        C: Elastic constants, shape ``(3, 3, 3, 3)`` [eV/Å³].
        atom_weight: 1 - β at each atom, shape ``(n_atoms,)``.
        point_weight: β at each quadrature point, or ``None`` without a mesh.
        thickness: Length along the front; 1 in 3-D [Å].
        gdim: Dimension in which atoms are triangulated.
        slits: Cracks that no simplex may cross.
        prefix: PETSc options prefix; that of the linear solver is ``prefix + "elasticity_"``.
    """

    def __init__(
        self,
        problem: CoupledProblem,
        C: Array,
        atom_weight: Array,
        point_weight: Array | None,
        *,
        thickness: float,
        gdim: int,
        slits: tuple[tuple[float, float], ...] = (),
        prefix: str = "msolve_",
    ):
        begin = time.perf_counter()
        kinematics = problem.kinematics
        K = lattice_stiffness(problem, C, atom_weight, thickness, gdim, slits)
        self.matrix = K.ptap(kinematics.atoms)
        if (
            problem.stored is not None
            and kinematics.nodes_owned is not None
            and point_weight is not None
        ):
            mesh_part = problem.stored.stiffness(C, point_weight).ptap(kinematics.nodes_owned)
            self.matrix.axpy(
                1.0, mesh_part, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN
            )
        springs = kinematics.unknowns.springs()
        if springs is not None:
            self.matrix.axpy(1.0, springs, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        self.matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)
        self.matrix.setOption(PETSc.Mat.Option.SPD, True)
        self.ksp = PETSc.KSP().create(kinematics.unknowns.comm)
        self.ksp.setOptionsPrefix(prefix + "elasticity_")
        self.ksp.setOperators(self.matrix)
        self.ksp.setType("preonly")
        pc = self.ksp.getPC()
        pc.setType("cholesky")
        pc.setFactorSolverType("mumps")
        self.ksp.setFromOptions()
        self.ksp.setUp()
        _log.debug("elasticity factorised in %.2f s", time.perf_counter() - begin)

    def apply(self, r: PETSc.Vec, out: PETSc.Vec) -> None:
        """Solve M out = r. Collective."""
        self.ksp.solve(r, out)


def lattice_stiffness(
    problem: CoupledProblem,
    C: Array,
    weight: Array,
    thickness: float,
    gdim: int,
    slits: tuple[tuple[float, float], ...],
) -> PETSc.Mat:
    """Linear elasticity on the simplices between atoms, each weighted by the mean weight of its corners."""
    kinematics = problem.kinematics
    owner = kinematics.atom_owner
    comm = kinematics.unknowns.comm
    columns = project(problem.placement.X, gdim)
    simplices = spatial.Delaunay(columns.points).simplices
    simplices = simplices[clear_of_slits(columns.points, simplices, slits)]
    representative = columns.atoms[columns.start]
    mean = weight[representative][simplices].mean(axis=1)
    # Every rank computes the simplices that touch its atoms and keeps the rows of these: no exchange.
    mine = (mean > 0) & (owner[representative[simplices]] == comm.rank).any(axis=1)
    simplices, mean = simplices[mine], mean[mine]
    corner = columns.points[simplices]
    edges = np.swapaxes(corner[:, 1:] - corner[:, :1], 1, 2)
    volume = np.abs(np.linalg.det(edges)) / (2.0 if gdim == 2 else 6.0)
    flat = volume < 1e-6 * np.max(volume, initial=1.0)
    simplices, mean, edges, volume = simplices[~flat], mean[~flat], edges[~flat], volume[~flat]
    inner = np.linalg.inv(edges)
    gradients = np.concatenate([-inner.sum(axis=1, keepdims=True), inner], axis=1)
    block = C[:, :gdim, :, :gdim]
    K = np.einsum(
        "e,emJ,iJkL,enL->emink",
        mean * volume * thickness,
        gradients,
        block,
        gradients,
        optimize=True,
    )
    atoms = representative[simplices]
    columns = 3 * kinematics.atom_rows()[atoms][..., None] + np.arange(3)
    j = np.broadcast_to(columns[:, None, None, :, :], K.shape)
    i = np.broadcast_to(columns[:, :, :, None, None], K.shape)
    own = np.broadcast_to((owner[atoms] == comm.rank)[:, :, None, None, None], K.shape)
    local = 3 * len(kinematics.owned_atoms)
    first = int(comm.exscan(local) or 0)
    csr = sparse.coo_matrix(
        (K[own], (i[own] - first, j[own])), shape=(local, 3 * len(owner))
    ).tocsr()
    return petsc_matrix(comm, csr, local)
