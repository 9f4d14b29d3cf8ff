# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Solvers for coupled problems, through PETSc and SLEPc.

Minimisation with a line search (TAO), root finding (SNES with exact Jacobian products), and the lowest
eigenvalue of the Hessian (SLEPc). One preconditioner serves all three: elasticity assembled through the
lifts. Each solver reads the options under its own prefix and no others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from petsc4py import PETSc
from slepc4py import SLEPc

import numpy as np
import numpy.typing as npt
from scipy import sparse, spatial

from msolve.coupling import Term
from msolve.errors import ConvergenceError
from msolve.kinematics import columns_without_slits, petsc_matrix, project
from msolve.problem import CoupledProblem

Array = npt.NDArray[np.float64]
Progress = Callable[[str, int, float, float], None]

_log = logging.getLogger("msolve")


@dataclass(frozen=True)
class Report:
    """What one solve did.

    Attributes:
        label: Which solver.
        iterations: Iterations of the outermost loop.
        evaluations: Energy and gradient evaluations.
        products: Hessian products.
        residual: Largest component of the gradient at the end [eV/Å].
        energy: Energy at the end [eV], nan where there is none.
        converged: Whether the tolerance was met.
        history: Largest gradient component per iteration [eV/Å].
        seconds: Wall time.
    """

    label: str
    iterations: int
    evaluations: int
    products: int
    residual: float
    energy: float
    converged: bool
    history: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class Settings:
    """Tolerances and PETSc options of a solve.

    Attributes:
        tolerance: Largest gradient component that counts as zero [eV/Å].
        max_iterations: Iterations before giving up.
        prefix: PETSc options prefix, not empty.
        options: PETSc options, without prefix.
        progress: Called with (label, iteration, energy, residual) on every rank.
    """

    tolerance: float = 1e-4
    max_iterations: int = 300
    prefix: str = "msolve_"
    options: dict[str, str] = field(default_factory=dict)
    progress: Progress | None = None


class Options:
    """PETSc options under a prefix, taken out of the global database again at the end."""

    def __init__(self, prefix: str, options: dict[str, str]):
        self.prefix, self.options = prefix, options

    def __enter__(self) -> None:
        database = PETSc.Options()
        # What is in the database already came from the command line, and wins.
        self._added = [k for k in self.options if not database.hasName(self.prefix + k)]
        for key in self._added:
            database[self.prefix + key] = self.options[key]

    def __exit__(self, *_: object) -> None:
        database = PETSc.Options()
        for key in self._added:
            database.delValue(self.prefix + key)


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
        prefix: PETSc options prefix.
        options: PETSc options of the linear solver.
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
        options: dict[str, str] | None = None,
    ):
        begin = time.perf_counter()
        kinematics = problem.kinematics
        K = _lattice_stiffness(problem, C, atom_weight, thickness, gdim, slits)
        self.matrix = K.ptap(kinematics.atoms)
        if problem.stored is not None and kinematics.nodes_owned is not None and point_weight is not None:
            mesh_part = problem.stored.stiffness(C, point_weight).ptap(kinematics.nodes_owned)
            self.matrix.axpy(1.0, mesh_part, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        self.matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)
        self.matrix.setOption(PETSc.Mat.Option.SPD, True)
        self.ksp = PETSc.KSP().create(kinematics.unknowns.comm)
        self.ksp.setOptionsPrefix(prefix + "elasticity_")
        self.ksp.setOperators(self.matrix)
        self.ksp.setType("preonly")
        pc = self.ksp.getPC()
        pc.setType("cholesky")
        pc.setFactorSolverType("mumps")
        with Options(prefix + "elasticity_", options or {}):
            self.ksp.setFromOptions()
        self.ksp.setUp()
        _log.debug("elasticity factorised in %.2f s", time.perf_counter() - begin)

    def apply(self, r: PETSc.Vec, out: PETSc.Vec) -> None:
        """out = M⁻¹ r. Collective."""
        self.ksp.solve(r, out)


class _Counted:
    """The problem at one load as PETSc wants it, counting evaluations."""

    def __init__(self, problem: CoupledProblem, t: float):
        self.problem, self.t = problem, t
        self.evaluations = self.products = 0

    def objective_gradient(self, tao: PETSc.TAO, z: PETSc.Vec, g: PETSc.Vec) -> float:
        self.evaluations += 1
        return self.problem.evaluate(z, self.t, g)

    def function(self, snes: PETSc.SNES, z: PETSc.Vec, g: PETSc.Vec) -> None:
        self.evaluations += 1
        self.problem.evaluate(z, self.t, g)

    def linearised(self, z: PETSc.Vec) -> _Product:
        return _Product(self, self.problem.linearise(z, self.t))


class _Product:
    """Context of a PETSc shell matrix."""

    def __init__(self, owner: _Counted, product: Callable[[PETSc.Vec, PETSc.Vec], None]):
        self.owner, self.product = owner, product

    def mult(self, mat: PETSc.Mat, v: PETSc.Vec, out: PETSc.Vec) -> None:
        self.owner.products += 1
        self.product(v, out)


class _Apply:
    """Context of a PETSc shell preconditioner."""

    def __init__(self, preconditioner: Preconditioner):
        self.preconditioner = preconditioner

    def apply(self, pc: PETSc.PC, r: PETSc.Vec, out: PETSc.Vec) -> None:
        self.preconditioner.apply(r, out)


def minimise(
    problem: CoupledProblem, z: PETSc.Vec, t: float, preconditioner: Preconditioner, settings: Settings
) -> Report:
    """Minimise the energy from ``z``, in place: preconditioned L-BFGS with a Wolfe line search. Collective.

    Raises:
        ConvergenceError: The line search or the iteration limit ended it early.
    """
    begin = time.perf_counter()
    work = _Counted(problem, t)
    history: list[float] = []
    best = _Best()
    tao = PETSc.TAO().create(z.comm)
    tao.setOptionsPrefix(settings.prefix + "min_")
    tao.setType("lmvm")
    tao.setObjectiveGradient(work.objective_gradient, None)
    tao.setMaximumIterations(settings.max_iterations)
    tao.setMaximumFunctionEvaluations(20 * settings.max_iterations)

    def test(tao: PETSc.TAO) -> int:
        gradient = tao.getGradient()[0]
        size = gradient.norm(PETSc.NormType.NORM_INFINITY)
        history.append(size)
        best.energy = float(tao.getObjectiveValue())
        if settings.progress:
            settings.progress("minimise", len(history) - 1, best.energy, size)
        return int(PETSc.TAO.ConvergedReason.CONVERGED_USER) if size <= settings.tolerance else 0

    tao.setConvergenceTest(test)
    tao.setLMVMH0(preconditioner.matrix)
    with Options(settings.prefix + "min_", settings.options):
        tao.setFromOptions()
    tao.setSolution(z)
    inner = tao.getLMVMH0KSP()
    inner.setType("preonly")
    inner.getPC().setType("python")
    inner.getPC().setPythonContext(_Apply(preconditioner))
    tao.solve()
    gradient = z.duplicate()
    energy = problem.evaluate(z, t, gradient)
    residual = gradient.norm(PETSc.NormType.NORM_INFINITY)
    tao.destroy()
    return Report(
        "minimise",
        len(history) - 1,
        work.evaluations,
        0,
        residual,
        energy,
        residual <= settings.tolerance,
        tuple(history),
        time.perf_counter() - begin,
    )


class _Best:
    energy = float("nan")


def find_root(
    problem: CoupledProblem, z: PETSc.Vec, t: float, preconditioner: Preconditioner, settings: Settings
) -> Report:
    """Solve gradient = 0 from ``z``, in place: inexact Newton with exact Jacobian products. Collective."""
    begin = time.perf_counter()
    work = _Counted(problem, t)
    history: list[float] = []
    snes = PETSc.SNES().create(z.comm)
    snes.setOptionsPrefix(settings.prefix + "root_")
    gradient = z.duplicate()
    size = (z.getLocalSize(), None)
    shell = PETSc.Mat().createPython((size, size), comm=z.comm)

    def jacobian(snes: PETSc.SNES, z: PETSc.Vec, J: PETSc.Mat, P: PETSc.Mat) -> None:
        J.setPythonContext(work.linearised(z))
        J.assemble()

    def test(snes: PETSc.SNES, it: int, norms: tuple[float, float, float]) -> int:
        worst = snes.getFunction()[0].norm(PETSc.NormType.NORM_INFINITY)
        history.append(worst)
        if settings.progress:
            settings.progress("root", it, float("nan"), worst)
        done = PETSc.SNES.ConvergedReason.CONVERGED_FNORM_ABS
        return int(done) if worst <= settings.tolerance else 0

    shell.setPythonContext(work.linearised(z))
    shell.setUp()
    snes.setFunction(work.function, gradient)
    snes.setJacobian(jacobian, shell, preconditioner.matrix)
    snes.setConvergenceTest(test)
    snes.setTolerances(max_it=settings.max_iterations)
    ksp = snes.getKSP()
    ksp.setType("gmres")
    ksp.setTolerances(rtol=1e-3, max_it=200)
    ksp.setGMRESRestart(100)
    ksp.getPC().setType("python")
    ksp.getPC().setPythonContext(_Apply(preconditioner))
    with Options(settings.prefix + "root_", {"snes_linesearch_type": "l2"} | settings.options):
        snes.setFromOptions()
    snes.solve(None, z)
    problem.evaluate(z, t, gradient)
    residual = gradient.norm(PETSc.NormType.NORM_INFINITY)
    iterations = snes.getIterationNumber()
    snes.destroy()
    return Report(
        "root",
        iterations,
        work.evaluations,
        work.products,
        residual,
        float("nan"),
        residual <= settings.tolerance,
        tuple(history),
        time.perf_counter() - begin,
    )


def correct(
    energy_problem: CoupledProblem,
    force_terms: tuple[Term, ...],
    z: PETSc.Vec,
    t: float,
    preconditioner: Preconditioner,
    settings: Settings,
    *,
    corrections: int,
    tolerance: float | None = None,
) -> tuple[CoupledProblem, list[Report], list[float]]:
    """Deferred ghost-force correction, in place. Collective.

    Minimise the blended energy with a dead load, renew the dead load at the solution, and again; a fixed
    point solves the blended-force equations.

    Args:
        energy_problem: Blended energy, with or without a dead load.
        force_terms: Terms of the blended-force residual on the same lifts.
        z: Start, overwritten with the solution.
        t: Load parameter.
        preconditioner: Elasticity.
        settings: Tolerance of each minimisation.
        corrections: How many times the dead load may be renewed.
        tolerance: Largest component of the blended force at the end [eV/Å]; by default that of ``settings``.

    Returns:
        ``(problem, reports, residuals)``: the energy problem with its last dead load, one report per
        minimisation, and the blended-force residual after each [eV/Å].
    """
    problem = with_ghost_force_correction(energy_problem, force_terms, z, t)
    wanted = settings.tolerance if tolerance is None else tolerance
    reports, residuals = [], []
    force = z.duplicate()
    for k in range(corrections + 1):
        reports.append(minimise(problem, z, t, preconditioner, settings))
        energy_problem.with_terms(force_terms).evaluate(z, t, force)
        residuals.append(force.norm(PETSc.NormType.NORM_INFINITY))
        if residuals[-1] <= wanted or k == corrections:
            break
        problem = with_ghost_force_correction(energy_problem, force_terms, z, t)
    return problem, reports, residuals


def with_ghost_force_correction(
    energy_problem: CoupledProblem, force_terms: tuple[Term, ...], z: PETSc.Vec, t: float
) -> CoupledProblem:
    """The blended energy with the dead load that makes its gradient the blended force at ``z``. Collective.

    References:
        Ortner, Zhang, "Atomistic/continuum blending with ghost force correction", SIAM J. Sci. Comput. 38,
        A346 (2016).
    """
    dead_load, force = z.duplicate(), z.duplicate()
    energy_problem.with_terms(energy_problem.terms).evaluate(z, t, dead_load)
    energy_problem.with_terms(force_terms).evaluate(z, t, force)
    dead_load.axpy(-1.0, force)
    return energy_problem.with_terms(energy_problem.terms, dead_load)


def lowest_mode(
    problem: CoupledProblem,
    z: PETSc.Vec,
    t: float,
    preconditioner: Preconditioner,
    *,
    prefix: str = "msolve_",
    tolerance: float = 0.05,
    max_products: int = 40,
) -> tuple[float, PETSc.Vec]:
    """Lowest eigenvalue of the Hessian relative to linear elasticity, and its mode. Collective.

    Args:
        problem: Conservative problem.
        z: State.
        t: Load parameter.
        preconditioner: The metric M: H v = λ M v.
        prefix: PETSc options prefix.
        tolerance: Relative residual of the eigenpair; the eigenvalue's error is of its square.
        max_products: Hessian products between restarts, of which there are at most three.

    Returns:
        ``(value, mode)``: the eigenvalue [-] (a Ritz value: an upper bound of the lowest one) and the mode.

    Raises:
        ConvergenceError: Nothing converged.
    """
    work = _Counted(problem, t)
    size = (z.getLocalSize(), None)
    H = PETSc.Mat().createPython((size, size), work.linearised(z), comm=z.comm)
    H.setUp()
    H.setOption(PETSc.Mat.Option.SYMMETRIC, True)
    solver = SLEPc.EPS().create(z.comm)
    solver.setOptionsPrefix(prefix + "mode_")
    solver.setOperators(H, preconditioner.matrix)
    solver.setProblemType(SLEPc.EPS.ProblemType.GHEP)
    # Lanczos costs one product an iteration; LOBPCG needed as many iterations and four products in each.
    solver.setType("krylovschur")
    solver.setWhichEigenpairs(SLEPc.EPS.Which.SMALLEST_REAL)
    solver.setDimensions(nev=1, ncv=max_products)
    solver.setTolerances(tol=tolerance, max_it=3)
    ksp = solver.getST().getKSP()
    ksp.setType("preonly")
    ksp.getPC().setType("python")
    ksp.getPC().setPythonContext(_Apply(preconditioner))
    solver.setInitialSpace([_any_direction(problem, preconditioner)])
    solver.setFromOptions()
    solver.solve()
    if solver.getConverged() < 1:
        raise ConvergenceError(f"the lowest eigenvalue did not converge in {3 * max_products} products")
    mode = z.duplicate()
    value = float(solver.getEigenpair(0, mode).real)
    solver.destroy()
    return value, mode


def _any_direction(problem: CoupledProblem, preconditioner: Preconditioner) -> PETSc.Vec:
    """A smoothed random direction that does not depend on the number of ranks. Collective."""
    kinematics = problem.kinematics
    force = kinematics.atoms.createVecLeft()
    everywhere = np.random.default_rng(7).normal(size=problem.placement.X.shape)
    force.array[:] = everywhere[kinematics.owned_atoms].ravel()
    pull, direction = kinematics.atoms.createVecRight(), kinematics.atoms.createVecRight()
    kinematics.atoms.multTranspose(force, pull)
    preconditioner.apply(pull, direction)
    return direction


def _lattice_stiffness(
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
    simplices = simplices[columns_without_slits(columns.points, simplices, slits)]
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
        "e,emJ,iJkL,enL->emink", mean * volume * thickness, gradients, block, gradients, optimize=True
    )
    atoms = representative[simplices]
    columns = 3 * kinematics.atom_rows()[atoms][..., None] + np.arange(3)
    j = np.broadcast_to(columns[:, None, None, :, :], K.shape)
    i = np.broadcast_to(columns[:, :, :, None, None], K.shape)
    own = np.broadcast_to((owner[atoms] == comm.rank)[:, :, None, None, None], K.shape)
    local = 3 * len(kinematics.owned_atoms)
    first = int(comm.exscan(local) or 0)
    csr = sparse.coo_matrix((K[own], (i[own] - first, j[own])), shape=(local, 3 * len(owner))).tocsr()
    return petsc_matrix(comm, csr, local)
