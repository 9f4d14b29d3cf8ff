# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What other potentials say of one state of the full atomistic model, and what would follow from it.

With forces g of the potential in use and g' of another on the same atoms in the same state, δ = g' - g, the solution
of the other lies, to first order, a step -H⁻¹ δ from that of the first, H its Hessian; a number J changes by
-⟨J', H⁻¹ δ⟩, which is -⟨δ, z⟩ with the adjoint z = H⁻¹ J'. Energies are stationary: to first order they change by the
difference in the state, to second by -⟨g, H⁻¹ δ⟩ - ½⟨δ, H⁻¹ δ⟩ more. The numerical error has no part in δ: it is in
both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.assemble import Assembly, full_atomistic, within
from msolve.atomistic import share_atoms
from msolve.compare import Norms, on_atoms
from msolve.coupling import atomistic_terms
from msolve.potentials import ForceModel, Potential
from msolve.potentials.bulk import cauchy_born
from msolve.problem import CoupledProblem
from msolve.quantities.corrected import Linearised, on_unknowns
from msolve.quantities.functionals import Functional
from msolve.uncertainty.members import Members

Array = npt.NDArray[np.float64]

FORCING = 1e-2
"""Relative residual of linear systems: the differences are known no better."""

NEGLECTED = 1e-2
"""Share of the members' mean square, in elasticity, whose effect is not solved for."""


@dataclass(frozen=True)
class Change:
    """What a number owes to the potential.

    Attributes:
        change: By the reference less by the potential in use, to first order; ``None`` where there is none.
        size: Root mean square over the members.
    """

    change: float | None
    size: float


@dataclass(frozen=True)
class Apart:
    """How far the others are from the potential in use, in one state; nothing is stretched by a factor here.

    Attributes:
        kind: ``"hessian"``, or ``"elasticity"`` where the Hessian has a negative direction.
        atoms: Atoms whose forces were compared.
        rms_force: Root mean square of the difference on these atoms [eV/Å].
        largest_force: The same on the atom where it is largest [eV/Å].
        elasticity_norm: Dual norm of the difference in linear elasticity [√eV].
        energy_norm: The same in the Hessian of the potential in use [√eV]; ``None`` without.
        total_h1: Of the change of the solution, over the bonds inside the rim [Å].
        tip_h1: The same near the defect [Å].
        energy: Change of the energy of these atoms, relative to the perfect crystals [eV]: to second order by a
            reference, to first by the members of a spread. ``None`` where one of the potentials has no energies of
            atoms.
        quantities: What the numbers change by.
        products: Hessian products.
    """

    kind: str
    atoms: int
    rms_force: float
    largest_force: float
    elasticity_norm: float
    energy_norm: float | None
    total_h1: float
    tip_h1: float
    energy: Change | None
    quantities: Mapping[str, Change]
    products: int


class Beside:
    """Other potentials on the atoms of a full atomistic model.

    Args:
        full: The full atomistic model of the potential in use.
        members: The others.
        near: Forces are compared on the atoms that it marks among places ``(n, 3)``, shape ``(n,)``; by default on all.
        rim: Width of the ring at the outer boundary that norms leave out [Å].
        tip_radius: Radius of the zone that counts as the defect's own [Å].

    Attributes:
        whole: The full model with as many atoms around it as the potential that sees furthest needs.
        perfect: Energy of the compared sites in the perfect crystal, by the potential in use and each other [eV].

    Note:
        Everything is collective.
    """

    def __init__(
        self,
        full: Assembly,
        members: Members,
        near: Callable[[Array], npt.NDArray[np.bool_]] | None,
        *,
        rim: float,
        tip_radius: float,
    ) -> None:
        self.members, own = members, full.body.model
        furthest = max(members.potentials, key=lambda one: one.reach)
        if furthest.reach > own.reach:
            comm = full.problem.kinematics.unknowns.comm
            wide = full_atomistic(comm, replace(full.body, model=furthest), prefix="msolve_wide_")
            full = replace(wide, body=full.body, problem=with_model(wide, own, wide.evaluated))
        self.whole = full
        self._norms = Norms.of(full, rim=rim, tip_radius=tip_radius)
        chosen = full.free if near is None else full.free & near(full.X)
        self._chosen = chosen
        self._mask = on_unknowns(full, np.repeat(chosen[:, None], 3, axis=1).astype(float))
        reach = 1.1 * max(furthest.reach, own.reach)
        self._sites = (
            full.evaluated
            if near is None
            else full.evaluated & within(full.X, full.X[chosen], reach, full.body.gdim)
        )
        self.perfect = [self._of_perfect(one) for one in (own, *members.potentials)]

    @property
    def atoms(self) -> int:
        """Atoms whose forces are compared."""
        return int(self._chosen.sum())

    def _of_perfect(self, model: Potential) -> float:
        """Energy of as many atoms of the perfect crystal [eV]."""
        crystal = self.whole.body.crystal
        W = float(cauchy_born(model, crystal).energy_density(np.eye(3)[None])[0][0])
        return W * crystal.crystal.atomic_volume * float(self._sites.sum())

    def __call__(self, w: PETSc.Vec, t: float, functionals: Mapping[str, Functional]) -> Apart:
        """Ask all of them.

        Args:
            w: State: unknowns of ``whole``.
            t: Load parameter.
            functionals: Numbers of that model, by name.

        Raises:
            ConvergenceError: The state has no energy in one of them.
        """
        whole, members = self.whole, self.members
        own_energy, own = self._answer(whole.body.model, w, t, self.perfect[0])
        answers = [
            self._answer(one, w, t, none)
            for one, none in zip(members.potentials, self.perfect[1:], strict=True)
        ]
        forces = members.apart(np.array([g for _, g in answers]), own)
        energies = members.apart(np.array([e for e, _ in answers]), np.array(own_energy))
        deltas, elastic = self._principal([self._vector(w, one) for one in forces])
        linear = Linearised(whole, w, t, FORCING)
        steps, kind = self._steps(linear, deltas)
        change, y = {}, whole.problem.gather(w, t)
        for name, functional in functionals.items():
            slope = on_unknowns(whole, functional.slope(y))
            change[name] = self._change(np.array([-float(slope.dot(one)) for one in steps]))
        on = np.array([on_atoms(whole, self._vector(w, one)) for one in forces])
        squares = members.share * (on**2).sum(axis=(0, 2))[self._chosen]
        moved = [on_atoms(whole, step) for step in steps]
        work = [float(d.dot(s)) for d, s in zip(deltas, steps, strict=True)]
        if members.signed and kind == "hessian":
            # Both at their solutions: what relaxes from here with one potential, and with the other.
            energies = energies - float(linear.forces.dot(steps[0])) - 0.5 * work[0]
        told = np.isfinite(energies).all()
        return Apart(
            kind=kind,
            atoms=self.atoms,
            rms_force=float(np.sqrt(squares.mean())) if squares.size else 0.0,
            largest_force=float(np.sqrt(squares.max(initial=0.0))),
            elasticity_norm=self._root([elastic]),
            energy_norm=self._root(work) if kind == "hessian" else None,
            total_h1=self._root([self._norms.total(d) ** 2 for d in moved]),
            tip_h1=self._root([self._norms.tip(d) ** 2 for d in moved]),
            energy=self._change(energies) if told else None,
            quantities=change,
            products=linear.products,
        )

    def _answer(self, model: Potential, w: PETSc.Vec, t: float, none: float) -> tuple[float, Array]:
        """Energy less that of the perfect crystal, and the gradient on the chosen atoms, this rank's part."""
        problem = with_model(self.whole, model, self._sites)
        g = w.duplicate()
        energy = problem.evaluate(w, t, g)
        g.pointwiseMult(g, self._mask)
        # What a black box calls its energy is that of all atoms around it.
        return energy - none if not isinstance(model, ForceModel) else np.nan, g.array_r.copy()

    def _vector(self, like: PETSc.Vec, values: Array) -> PETSc.Vec:
        out = like.duplicate()
        out.array[:] = values
        return out

    def _principal(self, deltas: list[PETSc.Vec]) -> tuple[list[PETSc.Vec], float]:
        """The same differences by their principal combinations, and the sum of their squares in elasticity.

        Sums of squares over all members do not change when they are rotated into each other, so few are enough.
        """
        steps = [self._elastic_step(delta) for delta in deltas]
        gram = np.array([[float(d.dot(s)) for s in steps] for d in deltas])
        squares, axes = np.linalg.eigh((gram + gram.T) / 2)
        total = float(np.trace(gram))
        if len(deltas) == 1 or not total > 0:
            return deltas[:1], max(total, 0.0)
        left = np.cumsum(squares) / total
        out = []
        for axis in axes.T[left > NEGLECTED][::-1]:
            combined = deltas[0].duplicate()
            combined.set(0.0)
            combined.maxpy(axis, deltas)
            out.append(combined)
        return out, total

    def _steps(self, linear: Linearised, deltas: list[PETSc.Vec]) -> tuple[list[PETSc.Vec], str]:
        steps = []
        for delta in deltas:
            step = linear.solve(delta) if delta.norm() > 0 else delta.duplicate()
            if step is None:
                return [self._elastic_step(one) for one in deltas], "elasticity"
            steps.append(step)
        return steps, "hessian"

    def _elastic_step(self, delta: PETSc.Vec) -> PETSc.Vec:
        step = delta.duplicate()
        self.whole.preconditioner.solve(delta, step)
        return step

    def _change(self, found: Array) -> Change:
        return Change(
            change=float(found[0]) if self.members.signed else None, size=self._root(found**2)
        )

    def _root(self, squares: list[float] | Array) -> float:
        return float(np.sqrt(max(self.members.share * float(np.sum(squares)), 0.0)))


def with_model(whole: Assembly, model: Potential, sites: npt.NDArray[np.bool_]) -> CoupledProblem:
    """The full atomistic problem of another potential on the same atoms, the same unknowns. Collective."""
    body, kinematics = whole.body, whole.problem.kinematics
    periodic = np.array([False, False, body.gdim == 2])
    owner = whole.problem.patch.owner
    comm = kinematics.unknowns.comm
    patch = share_atoms(comm, model, whole.numbers, body.cell, periodic, whole.X, sites, owner)
    return CoupledProblem(
        kinematics, patch, None, atomistic_terms(patch, sites), whole.problem.placement
    )
