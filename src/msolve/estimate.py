# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How far a coupled solution is from that of the full atomistic model, without solving that.

The coupled state is lifted to all atoms; the forces r left on them, measured in a dual norm, estimate the error
in the norm that belongs to it:

    elasticity  η = √⟨r, K⁻¹ r⟩, K linear elasticity of the lattice;
    Hessian     η = √⟨r, H⁻¹ r⟩, H that of the full model in the lifted state: the energy norm of a Newton step,

whose displacement d = H⁻¹ r is also what the error is expected to be, place by place. Nothing is proved here: the
next Newton steps are taken to be small. How small is told by the forces that are left after this one.

References:
    C. Ortner and E. Süli, ESAIM: M2AN 42, 57 (2008); Y. Wang and H. Wang, J. Sci. Comput. 94 (2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.assemble import Assembly
from msolve.compare import Norms, lift_to, unknowns_of
from msolve.errors import ConvergenceError
from msolve.kinematics import block_matrix, interpolation_matrix
from msolve.problem import CoupledProblem
from msolve.solvers import Apply, Counted, own_errors

Array = npt.NDArray[np.float64]

FORCING = 1e-2
"""Relative residual at which the Newton step is good enough for an estimate."""

MOST_PRODUCTS = 60
"""Hessian products for one step at most."""


@dataclass(frozen=True)
class Estimate:
    """Estimated distance of a coupled solution from the nearest one of the full atomistic model.

    Energy norms are in √eV, for one period along the front: half their square is an energy.

    Attributes:
        kind: ``"hessian"``, or ``"elasticity"`` if only that was asked for or the Hessian has a negative direction.
        elasticity_norm: √⟨r, K⁻¹ r⟩ [√eV].
        energy_norm: √⟨r, H⁻¹ r⟩ from below, as conjugate gradients reached it [√eV]; ``None`` without Hessian.
        energy: Energy above that of the solution, ½⟨r, d⟩ [eV].
        total_h1: Norm of d over the bonds inside the rim, as in comparisons [Å].
        tip_h1: The same near the defect [Å].
        coupling: Elastic energy norm of the part of d that the coupled space holds: blending, Cauchy-Born law,
            handshake [√eV]; ``None`` where the space is not known (several atoms per cell).
        discretisation: That of the part that no solution in that space could avoid [√eV]. The squares of the two
            add up to that of d.
        contraction: What is left of the forces' dual norm when the error expected is taken off, √⟨r', K⁻¹ r'⟩ over
            ``elasticity_norm``: the smaller, the closer the estimate is to the error. It holds ``FORCING`` and what the
            forces' curvature does. ``None`` without Hessian; inf where that state has no energy.
        algebraic: Dual norm of the residual that the solver left, in elasticity of the coupled model [√eV].
        products: Hessian products.
        atoms: Atoms whose forces were computed.
    """

    kind: str
    elasticity_norm: float
    energy_norm: float | None
    energy: float
    total_h1: float
    tip_h1: float
    coupling: float | None
    discretisation: float | None
    contraction: float | None
    algebraic: float
    products: int
    atoms: int


class Places(NamedTuple):
    """What is expected of each atom of the full model, the same on every rank.

    Attributes:
        error: Lifted minus exact position, shape ``(n, 3)`` [Å].
        source: Where the error comes from: square of the force on each atom over the stiffness that holds it,
            shape ``(n,)`` [eV]. An error spreads from there through the whole body.
    """

    error: Array
    source: Array


class Estimator:
    """Estimates for the states of one coupled problem.

    Args:
        coupled: The problem.
        full: The full atomistic model of the same body.
        rim: Width of the ring at the outer boundary that norms leave out [Å].
        tip_radius: Radius of the zone that counts as the defect's own [Å].

    Note:
        Construction and calls are collective.
    """

    def __init__(self, coupled: Assembly, full: Assembly, *, rim: float, tip_radius: float) -> None:
        self._coupled, self._full = coupled, full
        self._norms = Norms.of(full, rim=rim, tip_radius=tip_radius)
        self._space: PETSc.Mat | None = None
        if coupled.problem.placement.inner is None:
            self._space = _space_in_full(coupled, full)
            self._stiffness = full.preconditioner.matrix.ptap(self._space)

    def __call__(
        self, z: PETSc.Vec, t: float, solved: CoupledProblem, *, hessian: bool = True
    ) -> tuple[Estimate, Places]:
        """Estimate the error of a solution.

        Args:
            z: The coupled solution.
            t: Load parameter.
            solved: The problem whose residual the solver made small.
            hessian: Whether to use the Hessian of the full model.

        Returns:
            Numbers, and what is expected of each atom of the full model.
        """
        full = self._full
        w = unknowns_of(full, lift_to(self._coupled, z, t, full), t)
        r, step = w.duplicate(), w.duplicate()
        full.problem.evaluate(w, t, r)
        full.preconditioner.solve(r, step)
        elastic = float(np.sqrt(max(r.dot(step), 0.0)))
        found, products = self._newton(w, t, r) if hessian else (None, 0)
        if found is not None:
            step = found
        work = r.dot(step)
        base = full.problem.gather(w, t)
        d = full.problem.gather(w + step, t) - base
        coupling, discretisation = self._split(step)
        scaled, held = full.preconditioner.matrix.getDiagonal(), r.duplicate()
        scaled.sqrtabs()
        held.pointwiseDivide(r, scaled)
        source = ((full.problem.gather(w + held, t) - base) ** 2).sum(axis=1)
        return (
            Estimate(
                kind="elasticity" if found is None else "hessian",
                elasticity_norm=elastic,
                energy_norm=None if found is None else float(np.sqrt(work)),
                energy=0.5 * float(work),
                total_h1=self._norms.total(d),
                tip_h1=self._norms.tip(d),
                coupling=coupling,
                discretisation=discretisation,
                contraction=None
                if found is None
                else self._left(w, t, step) / max(elastic, 1e-300),
                algebraic=self._algebraic(z, t, solved),
                products=products,
                atoms=int(full.evaluated.sum()),
            ),
            Places(d, source),
        )

    def _newton(self, w: PETSc.Vec, t: float, r: PETSc.Vec) -> tuple[PETSc.Vec | None, int]:
        """H⁻¹ r by conjugate gradients, which approach √⟨r, H⁻¹ r⟩ from below; ``None`` if H is not positive."""
        work = Counted(self._full.problem, t)
        size = (w.getLocalSize(), None)
        H = PETSc.Mat().createPython((size, size), work.linearised(w), comm=w.comm)
        H.setUp()
        ksp = _conjugate_gradients(H, Apply(self._full.preconditioner), FORCING)
        step = w.duplicate()
        with own_errors():
            ksp.solve(r, step)
        reason = ksp.getConvergedReason()
        return (step if reason > 0 else None), work.products

    def _left(self, w: PETSc.Vec, t: float, step: PETSc.Vec) -> float:
        """Dual norm in elasticity of the forces in the corrected state [√eV]; inf where it has no energy."""
        r, out = w.duplicate(), w.duplicate()
        try:
            self._full.problem.evaluate(w - step, t, r)
        except ConvergenceError:
            return float("inf")
        self._full.preconditioner.solve(r, out)
        return float(np.sqrt(max(r.dot(out), 0.0)))

    def _split(self, step: PETSc.Vec) -> tuple[float | None, float | None]:
        """Norms of the step's projection on the coupled space, orthogonal in elasticity, and of what is left."""
        if self._space is None:
            return None, None
        K, P = self._full.preconditioner.matrix, self._space
        force, pull = step.duplicate(), P.createVecRight()
        K.mult(step, force)
        P.multTranspose(force, pull)
        ksp = _conjugate_gradients(self._stiffness, Apply(self._coupled.preconditioner), 1e-6)
        inside = pull.duplicate()
        ksp.solve(pull, inside)
        part = max(float(pull.dot(inside)), 0.0)
        whole = float(step.dot(force))
        return float(np.sqrt(part)), float(np.sqrt(max(whole - part, 0.0)))

    def _algebraic(self, z: PETSc.Vec, t: float, solved: CoupledProblem) -> float:
        g, out = z.duplicate(), z.duplicate()
        solved.evaluate(z, t, g)
        self._coupled.preconditioner.solve(g, out)
        return float(np.sqrt(max(g.dot(out), 0.0)))


def _conjugate_gradients(A: PETSc.Mat, preconditioner: Apply, rtol: float) -> PETSc.KSP:
    ksp = PETSc.KSP().create(A.comm)
    ksp.setOperators(A)
    ksp.setType("cg")
    ksp.getPC().setType("python")
    ksp.getPC().setPythonContext(preconditioner)
    ksp.setTolerances(rtol=rtol, max_it=MOST_PRODUCTS)
    return ksp


def _space_in_full(coupled: Assembly, full: Assembly) -> PETSc.Mat:
    """From the unknowns of the coupled model to those of the full one, predictor apart. Collective."""
    kinematics, whole = coupled.problem.kinematics, full.problem.kinematics
    assert kinematics.space is not None and kinematics.nodes_owned is not None
    free = np.flatnonzero(coupled.free)
    _, match = spatial.cKDTree(full.X).query(coupled.X[free])
    follows = full.free.copy()
    follows[match] = False
    here = whole.owned_atoms
    interpolation = interpolation_matrix(kinematics.space, full.X, here, follows)
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
    atoms = interpolation.matMult(kinematics.nodes_owned)
    atoms.axpy(1.0, chosen, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
    return whole.atoms.transposeMatMult(atoms)
