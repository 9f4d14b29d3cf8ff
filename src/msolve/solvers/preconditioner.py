# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Linear elasticity through the lifts: preconditioner of every solve, and metric of the eigenvalues."""

from __future__ import annotations

import logging
import time

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.crystal import OrientedCrystal
from msolve.problem import CoupledProblem
from msolve.solvers.lattice import lattice_stiffness
from msolve.solvers.settings import Options

Array = npt.NDArray[np.float64]

_log = logging.getLogger("msolve")


LARGEST_FACTORISED = {2: 1_000_000, 3: 8_000}
"""Unknowns up to which elasticity is factorised, by dimension; above, one multigrid cycle stands for its inverse."""

MULTIGRID = {
    "pc_gamg_type": "agg",
    "pc_gamg_agg_nsmooths": "1",
    "pc_gamg_threshold": "0.01",
    "pc_gamg_aggressive_coarsening": "2",
    "mg_levels_ksp_type": "chebyshev",
    "mg_levels_ksp_max_it": "3",
    "mg_levels_pc_type": "jacobi",
}
"""Smoothed aggregation whose cycle is linear and symmetric, as L-BFGS and Lanczos need it.

The first two levels are coarsened aggressively: set-up takes three quarters of the time, iterations stay the same.
"""


class Preconditioner:
    """Linear elasticity seen by the unknowns: Lᵀ K_a(1-β) L + Tᵀ K_c(β) T, assembled once.

    K_a is elasticity on the simplices between the atoms, K_c on the mesh, each weighted by the part of the
    model that acts there; C is the potential's own.

    Args:
        problem: Problem whose lifts are used.
        crystal: Crystal at rest.
        C: Elastic constants, shape ``(3, 3, 3, 3)`` [eV/Å³].
        atom_weight: 1 - β at each atom, shape ``(n_atoms,)``.
        point_weight: β at each quadrature point, or ``None`` without a mesh.
        gdim: 2 for one period along x3, or 3.
        slits: Cracks that no simplex may cross.
        prefix: PETSc options prefix; that of the linear solver is ``prefix + "elasticity_"``.

    Attributes:
        C: As given.
        matrix: It.
    """

    def __init__(
        self,
        problem: CoupledProblem,
        crystal: OrientedCrystal,
        C: Array,
        atom_weight: Array,
        point_weight: Array | None,
        *,
        gdim: int,
        slits: tuple[tuple[float, float], ...] = (),
        prefix: str = "msolve_",
    ):
        begin = time.perf_counter()
        self.C = C
        kinematics = problem.kinematics
        K = lattice_stiffness(problem, crystal, C, atom_weight, gdim, slits)
        self.matrix = _seen_through(K, kinematics.atoms)
        if (
            problem.stored is not None
            and kinematics.nodes_owned is not None
            and point_weight is not None
        ):
            K = problem.stored.stiffness(C, point_weight)
            part = _seen_through(K, kinematics.nodes_owned)
            self.matrix.axpy(1.0, part, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
            part.destroy()
        springs = kinematics.unknowns.springs()
        if springs is not None:
            self.matrix.axpy(1.0, springs, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        self.matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)
        self.matrix.setOption(PETSc.Mat.Option.SPD, True)
        self._exact: PETSc.KSP | None = None
        self.ksp = PETSc.KSP().create(kinematics.unknowns.comm)
        self.ksp.setOptionsPrefix(prefix + "elasticity_")
        self.ksp.setOperators(self.matrix)
        self.ksp.setType("preonly")
        pc = self.ksp.getPC()
        if kinematics.unknowns.n_global <= LARGEST_FACTORISED[gdim]:
            pc.setType("cholesky")
            pc.setFactorSolverType("mumps")
            self.ksp.setFromOptions()
        else:
            self.matrix.setNearNullSpace(_rigid_motions(problem))
            pc.setType("gamg")
            with Options(prefix + "elasticity_", MULTIGRID):
                self.ksp.setFromOptions()
        self.ksp.setUp()
        _log.debug("elasticity factorised in %.2f s", time.perf_counter() - begin)

    @property
    def factorised(self) -> bool:
        """Whether it is the inverse of elasticity to round-off."""
        return bool(self.ksp.getPC().getType() != "gamg")

    def apply(self, r: PETSc.Vec, out: PETSc.Vec) -> None:
        """M⁻¹ r, or what one multigrid cycle makes of it; a linear, symmetric map either way. Collective."""
        self.ksp.solve(r, out)

    def solve(self, r: PETSc.Vec, out: PETSc.Vec) -> None:
        """Solve M out = r, by conjugate gradients where M is not factorised. Collective."""
        if self.factorised:
            self.ksp.solve(r, out)
            return
        if self._exact is None:
            self._exact = PETSc.KSP().create(self.matrix.comm)
            self._exact.setOperators(self.matrix)
            self._exact.setType("cg")
            self._exact.setTolerances(rtol=1e-8, max_it=500)
            self._exact.setPC(self.ksp.getPC())
        self._exact.solve(r, out)


def _seen_through(K: PETSc.Mat, lift: PETSc.Mat) -> PETSc.Mat:
    """Lᵀ K L; destroys K, which is as large, before multigrid needs the room. Collective."""
    product = K.ptap(lift)
    K.destroy()
    return product


def _rigid_motions(problem: CoupledProblem) -> PETSc.NullSpace:
    """Translations and rotations of the unknowns, which coarse grids have to hold. Collective."""
    kinematics = problem.kinematics
    unknowns, space = kinematics.unknowns, kinematics.space
    places = PETSc.Vec().createMPI((3 * unknowns.n_owned, None), bsize=3, comm=unknowns.comm)
    begin = places.getOwnershipRange()[0] // 3
    rows = places.array.reshape(-1, 3)
    atoms = kinematics.owned_atoms[unknowns.atom[kinematics.owned_atoms] >= 0]
    rows[unknowns.atom[atoms] - begin] = problem.placement.X[atoms]
    if space is not None:
        nodes = np.flatnonzero(unknowns.node[: space.n_owned_nodes] >= 0)
        rows[unknowns.node[nodes] - begin] = space.nodes()[nodes]
    places.array = rows.ravel()
    return PETSc.NullSpace().createRigidBody(places)
