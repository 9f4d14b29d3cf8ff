# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How far a coupled solution is from that of the full atomistic model, without solving that.

Here every atom of the body is visited. The coupled state is lifted to all atoms; the forces r left on them, measured
in a dual norm, estimate the error in the norm that belongs to it:

    elasticity  η = √⟨r, K⁻¹ r⟩, K linear elasticity of the lattice;
    Hessian     η = √⟨r, H⁻¹ r⟩, H that of the full model in the lifted state: the energy norm of a Newton step,

whose displacement d = H⁻¹ r is also what the error is expected to be, place by place. Nothing is proved here: the
next Newton steps are taken to be small. How small is told by the forces that are left after this one.

References:
    C. Ortner and E. Süli, ESAIM: M2AN 42, 57 (2008); Y. Wang and H. Wang, J. Sci. Comput. 94 (2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import sparse, spatial

from msolve.assemble import Assembly
from msolve.compare import Lifting, Norms, on_atoms, over_stiffness, unknowns_of
from msolve.errors import ConvergenceError
from msolve.estimate.bounds import least_eigenvalue, two_sided
from msolve.estimate.numbers import Estimate, Places
from msolve.estimate.truncation import truncation
from msolve.handshake.shifts import CarriedShifts, InnerShifts
from msolve.kinematics import block_matrix, petsc_matrix
from msolve.problem import CoupledProblem
from msolve.solvers import Apply, Counted, Preconditioner, own_errors

Array = npt.NDArray[np.float64]

FORCING = 1e-2
"""Relative residual at which the Newton step is good enough for an estimate."""

ROUGH = 0.1
"""The same where the estimate only shows what to refine: within some 3 % of the other."""

MOST_PRODUCTS = 60
"""Hessian products for one step at most."""

SPLIT = 2e-8
"""Relative residual of the projection on the coupled space: its norms are then known to more than eight digits."""

ROUGH_SPLIT = 1e-4
"""The same where the estimate only shows what to refine."""

MOST_SPLIT = {2: 300, 3: 60}
"""Products for that at most, by dimension: in space it would take thousands."""

SAFETY = 0.5
"""Share of the lowest Ritz value that is taken for the stability constant."""


class Estimator:
    """Estimates for the states of one coupled problem, by all atoms of its body.

    Args:
        coupled: The problem.
        full: The full atomistic model of the same body.
        rim: Width of the ring at the outer boundary that norms leave out [Å].
        tip_radius: Radius of the zone that counts as the defect's own [Å].

    Attributes:
        X: Places of what is estimated place by place, all atoms, shape ``(n, 3)`` [Å].

    Note:
        Construction and calls are collective.
    """

    def __init__(self, coupled: Assembly, full: Assembly, *, rim: float, tip_radius: float) -> None:
        self._coupled, self._full, self.X = coupled, full, full.X
        self._norms = Norms.of(full, rim=rim, tip_radius=tip_radius)
        inner = full.problem.placement.inner
        owned = full.problem.kinematics.owned_atoms
        self._lifting = Lifting(coupled, full.X, full.free, inner, owned)
        self._space = space_in_full(coupled, full, self._lifting)
        self._stiffness = seen_through(full.preconditioner.matrix, self._space)

    def __call__(
        self,
        z: PETSc.Vec,
        t: float,
        solved: CoupledProblem,
        *,
        hessian: bool = True,
        rough: bool = False,
        minimised: CoupledProblem | None = None,
    ) -> tuple[Estimate, Places]:
        """Estimate the error of a solution.

        Args:
            z: The coupled solution.
            t: Load parameter.
            solved: The problem whose residual the solver made small.
            hessian: Whether to use the Hessian of the full model.
            rough: Whether a few products with it will do, and nobody asks what another step would leave.
            minimised: Where a dead load was renewed until it changed no more, the energy with its last one.

        Returns:
            Numbers, and what is expected of each atom of the full model.
        """
        full, K = self._full, self._full.preconditioner.matrix
        w = unknowns_of(full, self._lifting(z, t), t)
        r, step = w.duplicate(), w.duplicate()
        full.problem.evaluate(w, t, r)
        full.preconditioner.solve(r, step)
        elastic = float(np.sqrt(max(r.dot(step), 0.0)))
        bounds = self._bounds(r, step, elastic)
        newton = self._newton(w, t, r, ROUGH if rough else FORCING) if hessian else None
        work = float(r.dot(step)) if newton is None else newton.work
        if newton is not None:
            step = newton.step
        base = full.problem.gather(w, t)
        d = full.problem.gather(w + step, t) - base
        close = ROUGH_SPLIT if rough else SPLIT
        parts = split(K, self._space, self._stiffness, self._coupled, step, close)
        held = on_atoms(full, parts.inside)
        squares = np.column_stack([self._norms.each(held), self._norms.each(d - held)])
        algebraic, deferred = dual_residuals(self._coupled, z, t, solved, minimised)
        beyond, beyond_kind = truncation(self._coupled, z, t)
        contraction = None
        if newton is not None and not rough:
            contraction = self._left(w, t, step) / max(elastic, 1e-300)
        numbers = Estimate(
            kind="elasticity" if newton is None else "hessian",
            elasticity_norm=elastic,
            energy_norm=None if newton is None else float(np.sqrt(work)),
            energy=0.5 * work,
            total_h1=self._norms.total(d),
            tip_h1=self._norms.tip(d),
            coupling=parts.coupling,
            discretisation=parts.discretisation,
            contraction=contraction,
            algebraic=algebraic,
            products=0 if newton is None else newton.products,
            atoms=int(full.evaluated.sum()),
            elasticity_bounds=bounds,
            energy_bounds=None if newton is None else newton.bounds,
            deferred=deferred,
            truncation=beyond,
            truncation_kind=beyond_kind,
        )
        return numbers, Places(d, over_stiffness(full, r), squares)

    @cached_property
    def _least(self) -> float | None:
        """Lower bound of the eigenvalues of K."""
        components = self._full.problem.kinematics.unknowns.components
        return least_eigenvalue(self._full.preconditioner.matrix, components)

    def _bounds(self, r: PETSc.Vec, step: PETSc.Vec, norm: float) -> tuple[float, float] | None:
        if self._full.preconditioner.factorised:
            return norm, norm
        if self._least is None:
            return None
        return two_sided(self._full.preconditioner.matrix, r, step, self._least)

    def _newton(self, w: PETSc.Vec, t: float, r: PETSc.Vec, forcing: float) -> NewtonStep | None:
        return newton_step(Counted(self._full.problem, t), w, r, self._full.preconditioner, forcing)

    def _left(self, w: PETSc.Vec, t: float, step: PETSc.Vec) -> float:
        """Dual norm in elasticity of the forces in the corrected state [√eV]; inf where it has no energy."""
        r, out = w.duplicate(), w.duplicate()
        try:
            self._full.problem.evaluate(w - step, t, r)
        except ConvergenceError:
            return float("inf")
        self._full.preconditioner.apply(r, out)
        return float(np.sqrt(max(r.dot(out), 0.0)))


@dataclass(frozen=True)
class NewtonStep:
    """H⁻¹ r by conjugate gradients.

    Attributes:
        step: It [Å].
        work: ⟨r, H⁻¹ r⟩ from below [eV].
        products: Hessian products.
        left: Dual norm in elasticity of the residual [√eV].
        stability: Estimated lowest eigenvalue of the Hessian relative to elasticity [-].
    """

    step: PETSc.Vec
    work: float
    products: int
    left: float
    stability: float

    @property
    def bounds(self) -> tuple[float, float]:
        """√⟨r, H⁻¹ r⟩ from below, and from above if ``stability`` is right [√eV]."""
        high = self.work + self.left**2 / self.stability
        return float(np.sqrt(self.work)), float(np.sqrt(high))


def newton_step(
    counted: Counted,
    w: PETSc.Vec,
    r: PETSc.Vec,
    preconditioner: Preconditioner,
    forcing: float,
    start: PETSc.Vec | None = None,
) -> NewtonStep | None:
    """H⁻¹ r, whose energy approaches √⟨r, H⁻¹ r⟩ from below; ``None`` if H is not positive. Collective.

    Args:
        counted: The problem, with its load.
        w: State.
        r: Gradient there.
        preconditioner: Elasticity, in whose dual norm the residual is measured.
        forcing: Residual over r at which to stop.
        start: Where to start from, by default zero.
    """
    size = (w.getLocalSize(), None)
    H = PETSc.Mat().createPython((size, size), counted.linearised(w), comm=w.comm)
    H.setUp()
    ksp = conjugate_gradients(H, Apply(preconditioner), forcing)
    ksp.setNormType(PETSc.KSP.NormType.NATURAL)
    ksp.setComputeEigenvalues(True)
    step, left = w.duplicate(), r
    with own_errors():
        if start is not None:
            H.mult(start, step)
            left = r - step
            preconditioner.apply(r, step)
            ksp.setTolerances(rtol=0.0, atol=forcing * float(np.sqrt(r.dot(step))))
        ksp.solve(left, step)
    if ksp.getConvergedReason() <= 0:
        return None
    work = float(left.dot(step))
    if start is not None:
        # 2 r·x - x·Hx of the sum x: the step's own part is orthogonal to what it leaves.
        work += float(start.dot(r + left))
        step.axpy(1.0, start)
    # Ritz values lie above the lowest eigenvalue; half of theirs is no bound either, but errs on the safe side.
    ritz = float(np.real(ksp.computeEigenvalues()).min(initial=1.0))
    if not ritz > 0:
        return None
    return NewtonStep(step, work, counted.products, float(ksp.getResidualNorm()), SAFETY * ritz)


class Split(NamedTuple):
    """A step in two parts.

    Attributes:
        coupling: Elastic energy norm of what the coupled space holds of it [√eV].
        discretisation: That of the rest.
        inside: What the coupled space holds [Å].
    """

    coupling: float
    discretisation: float
    inside: PETSc.Vec


def split(
    K: PETSc.Mat,
    P: PETSc.Mat,
    stiffness: PETSc.Mat,
    coupled: Assembly,
    step: PETSc.Vec,
    forcing: float,
) -> Split:
    """A step's projection on the coupled space, orthogonal in elasticity. Collective.

    Args:
        K: Elasticity of the step's space.
        P: From the coupled space to that.
        stiffness: Pᵀ K P.
        coupled: The coupled problem.
        step: The step.
        forcing: Residual over that of the start at which to stop.
    """
    force, pull = step.duplicate(), P.createVecRight()
    K.mult(step, force)
    P.multTranspose(force, pull)
    ksp = conjugate_gradients(stiffness, Apply(coupled.preconditioner), forcing)
    ksp.setTolerances(max_it=MOST_SPLIT[coupled.body.gdim])
    inside = pull.duplicate()
    ksp.solve(pull, inside)
    part = max(float(pull.dot(inside)), 0.0)
    whole = float(step.dot(force))
    held = step.duplicate()
    P.mult(inside, held)
    return Split(float(np.sqrt(part)), float(np.sqrt(max(whole - part, 0.0))), held)


def dual_residuals(
    coupled: Assembly,
    z: PETSc.Vec,
    t: float,
    solved: CoupledProblem,
    minimised: CoupledProblem | None,
) -> tuple[float, float | None]:
    """What the solver left, and the last change of the dead load, in the elasticity of the coupled model [√eV].

    A dead load that changes no more makes the gradient of the minimised energy the blended forces: what they differ
    by is its change. Collective.
    """

    def norm(g: PETSc.Vec) -> float:
        out = g.duplicate()
        coupled.preconditioner.solve(g, out)
        return float(np.sqrt(max(g.dot(out), 0.0)))

    left = z.duplicate()
    solved.evaluate(z, t, left)
    if minimised is None:
        return norm(left), None
    own = z.duplicate()
    minimised.evaluate(z, t, own)
    return norm(own), norm(left - own)


def conjugate_gradients(A: PETSc.Mat, preconditioner: Apply, rtol: float) -> PETSc.KSP:
    """A solver that stops at a relative residual or after ``MOST_PRODUCTS``. Collective."""
    ksp = PETSc.KSP().create(A.comm)
    ksp.setOperators(A)
    ksp.setType("cg")
    ksp.getPC().setType("python")
    ksp.getPC().setPythonContext(preconditioner)
    ksp.setTolerances(rtol=rtol, max_it=MOST_PRODUCTS)
    return ksp


class _Through:
    """Context of a PETSc shell matrix: Pᵀ K P. To assemble that costs as much as the products that a split takes."""

    def __init__(self, K: PETSc.Mat, P: PETSc.Mat) -> None:
        self._K, self._P = K, P
        self._moved, self._force = P.createVecLeft(), P.createVecLeft()

    def mult(self, mat: PETSc.Mat, v: PETSc.Vec, out: PETSc.Vec) -> None:
        """Product for PETSc."""
        self._P.mult(v, self._moved)
        self._K.mult(self._moved, self._force)
        self._P.multTranspose(self._force, out)


def seen_through(K: PETSc.Mat, P: PETSc.Mat) -> PETSc.Mat:
    """Pᵀ K P, as a map only. Collective."""
    size = (P.getLocalSize()[1], None)
    out = PETSc.Mat().createPython((size, size), _Through(K, P), comm=P.comm)
    out.setUp()
    return out


def space_in_full(coupled: Assembly, full: Assembly, lifting: Lifting) -> PETSc.Mat:
    """From the unknowns of the coupled model to those of the full one, predictor apart. Collective.

    ``lifting`` is that of the full model's atoms, by the ranks that own them. Inner shifts follow the gradient of the
    mesh field as they do in the crystal at rest.
    """
    kinematics, whole = coupled.problem.kinematics, full.problem.kinematics
    assert kinematics.space is not None and kinematics.nodes_owned is not None
    free = np.flatnonzero(coupled.free)
    _, match = spatial.cKDTree(full.X).query(coupled.X[free])
    here = whole.owned_atoms
    mine = np.isin(match, here)
    components = kinematics.unknowns.components
    chosen = block_matrix(
        kinematics.unknowns.comm,
        np.searchsorted(here, match[mine]),
        kinematics.unknowns.atom[free[mine]],
        np.ones(int(mine.sum())),
        len(here),
        kinematics.unknowns.n_owned,
        3,
        components,
    )
    atoms = lifting.interpolation.matMult(kinematics.nodes_owned)
    different = PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN
    atoms.axpy(1.0, chosen, structure=different)
    inner = full.problem.placement.inner
    if inner is not None:
        follows = full.free.copy()
        follows[match] = False
        atoms.axpy(1.0, _shifts_at_rest(coupled, full, inner, follows), structure=different)
    return whole.atoms.transposeMatMult(atoms)


def _shifts_at_rest(
    coupled: Assembly, full: Assembly, inner: InnerShifts, follows: npt.NDArray[np.bool_]
) -> PETSc.Mat:
    """Inner shifts of the atoms of the full model that the mesh carries, by the coupled unknowns. Collective."""
    here, gdim = full.problem.kinematics.owned_atoms, coupled.body.gdim
    carried = CarriedShifts(inner, coupled.problem.kinematics, full.X, follows, here)
    directions = np.zeros((3 * gdim, 3, 3))
    column = np.arange(3 * gdim)
    directions[column, column % 3, column // 3] = 1.0
    rest = inner.law.response(np.broadcast_to(np.eye(3), directions.shape).copy())
    response = np.moveaxis(rest.along(directions), 0, 2)  # (n_basis, 3, 3 gdim)
    moving = np.flatnonzero(carried.moving[here])
    values = (response - response.mean(axis=0))[inner.basis[here[moving]]]
    rows = np.broadcast_to((3 * moving[:, None] + np.arange(3))[:, :, None], values.shape)
    first = carried.of_unknowns.getOwnershipRange()[0]
    columns = first + 3 * gdim * moving[:, None] + column
    columns = np.broadcast_to(columns[:, None, :], values.shape)
    csr = sparse.coo_matrix(
        (values.ravel(), (rows.ravel(), columns.ravel())),
        shape=(3 * len(here), carried.of_unknowns.getSize()[0]),
    ).tocsr()
    local = carried.of_unknowns.getLocalSize()[0]
    return petsc_matrix(coupled.problem.kinematics.unknowns.comm, csr, local).matMult(
        carried.of_unknowns
    )
