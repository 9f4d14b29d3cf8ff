# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a number of the full atomistic model's solution is, from a state near it: adjoints and Newton steps.

From the lifted coupled state x with forces r one Newton step d = H⁻¹ r leads to x₁, and another with the same H
and the forces r₁ left there to x₂, where r₂ are left. For a number J with adjoint z = H⁻¹ J'

    J(x) - ⟨r, z⟩      is right to first order,
    J(x₂) - ⟨r₂, z⟩    to third,

and what is left then is a share of |z|_H |H⁻¹ r₂|_H; the interval takes the whole, over 1 - κ with κ the change of the
Hessian, told by how the second step compares to the first.
Energies are stationary: their adjoint is d itself and ⟨r, d⟩ counts twice, the second time as curvature. For them
E(u) = E(x) - ½⟨r, d⟩ + … holds instead.

References:
    R. Becker, R. Rannacher, Acta Numerica 10, 1 (2001): weighting residuals by adjoints.
    P. Deuflhard, Newton Methods for Nonlinear Problems (Springer, 2004), section 2.1: contraction.
"""

from __future__ import annotations

from dataclasses import dataclass

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.assemble import Assembly
from msolve.compare import on_atoms, over_stiffness
from msolve.errors import ConvergenceError
from msolve.quantities.functionals import Functional
from msolve.solvers import Apply, Counted, own_errors

Array = npt.NDArray[np.float64]

TOLERANCE = 1e-3
"""Relative residual of the linear systems."""

MOST_PRODUCTS = 200
"""Hessian products for one of them at most."""

SMALL = 0.15
"""Second step over first below which no further linearisation is needed."""

MOST_STEPS = 3
"""Linearisations at most."""

ROUNDING = 1e-13
"""Of floating-point arithmetic, relative to a number, or to one eV for each atom."""


class Linearised:
    """The full model around one state: forces, and solves with its Hessian.

    Args:
        full: The full atomistic model.
        x: State.
        t: Load parameter.
        tolerance: Relative residual of solutions.

    Attributes:
        energy: Energy at ``x`` [eV]; nan for potentials without.
        forces: Gradient there.

    Raises:
        ConvergenceError: The state has no energy.

    Note:
        Everything is collective.
    """

    def __init__(
        self, full: Assembly, x: PETSc.Vec, t: float, tolerance: float = TOLERANCE
    ) -> None:
        self.x, self._full = x, full
        self.forces = x.duplicate()
        self.energy = full.problem.evaluate(x, t, self.forces)
        work = self._work = Counted(full.problem, t)
        self._ksp = PETSc.KSP().create(x.comm)
        size = (x.getLocalSize(), None)
        H = PETSc.Mat().createPython((size, size), work.linearised(x), comm=x.comm)
        H.setUp()
        self._ksp.setOperators(H)
        self._ksp.setType("cg")
        self._ksp.getPC().setType("python")
        self._ksp.getPC().setPythonContext(Apply(full.preconditioner))
        self._ksp.setTolerances(rtol=tolerance, max_it=MOST_PRODUCTS)

    @property
    def products(self) -> int:
        """Hessian products so far."""
        return self._work.products

    def solve(self, right: PETSc.Vec) -> PETSc.Vec | None:
        """H⁻¹ times a vector; ``None`` if H has a negative direction."""
        out = right.duplicate()
        with own_errors():
            self._ksp.solve(right, out)
        return out if self._ksp.getConvergedReason() > 0 else None

    def newton(self, forces: PETSc.Vec) -> tuple[PETSc.Vec, float] | None:
        """The step that forces ask for, and its energy norm [√eV]; ``None`` if H has a negative direction."""
        step = self.solve(forces)
        return None if step is None else (step, _root(forces.dot(step)))


@dataclass(frozen=True)
class Corrected:
    """Newton's steps from a lifted coupled state.

    Attributes:
        full: The full atomistic model.
        t: Load parameter.
        start: The lifted coupled state, and the forces there.
        base: The same at the state that the last two steps start from: ``start``, mostly.
        steps: These steps, with the Hessian of ``base``, to be subtracted one after the other.
        sizes: Their energy norms [√eV].
        energy: Energy after both [eV].
        rest: Forces left after both.
        left: Energy norm of the step that these ask for [√eV].
        products: Hessian products.
    """

    full: Assembly
    t: float
    start: Linearised
    base: Linearised
    steps: tuple[PETSc.Vec, PETSc.Vec]
    sizes: tuple[float, float]
    energy: float
    rest: PETSc.Vec
    left: float
    products: int

    @classmethod
    def of(cls, full: Assembly, x: PETSc.Vec, t: float) -> Corrected | None:
        """From state ``x``; ``None`` if a Hessian has a negative direction or a state no energy. Collective."""
        start: Linearised | None = None
        products = 0
        for k in range(MOST_STEPS):
            try:
                base = Linearised(full, x, t)
                start = start or base
                first = base.newton(base.forces)
                if first is None:
                    return None
                x = x - first[0]
                after = x.duplicate()
                full.problem.evaluate(x, t, after)
                second = base.newton(after)
                if second is None:
                    return None
                if second[1] > SMALL * first[1] and k < MOST_STEPS - 1:
                    products += base.products
                    continue
                energy = full.problem.evaluate(x - second[0], t, after)
            except ConvergenceError:
                return None
            third = base.newton(after)
            if third is None:
                return None
            steps, sizes = zip(first, second, strict=True)
            products += base.products
            return cls(full, t, start, base, steps, sizes, energy, after, third[1], products)
        return None

    @property
    def contraction(self) -> float:
        """Second step over first, in energy norm."""
        return self.sizes[1] / max(self.sizes[0], 1e-300)

    @property
    def change(self) -> float:
        """κ: about how much the Hessian has changed along both steps, relative to itself.

        With one that changes by ω|v| along v the first step leaves ω|d|²/2: that is measured, and gives ω.
        """
        return self.contraction * (2 + 2 * self.contraction)

    @property
    def remainder(self) -> float | None:
        """How far the solution may be from the state after both steps [√eV]; ``None`` where steps hardly shrink."""
        return self.left / (1 - self.change) if self.change < 0.5 else None

    def positions(self, x: PETSc.Vec) -> Array:
        """Positions of all atoms in state ``x``, shape ``(n, 3)`` [Å]. Collective."""
        return self.full.problem.gather(x, self.t)

    def final(self) -> PETSc.Vec:
        """The state after both steps."""
        return self.base.x - self.steps[0] - self.steps[1]


def _root(square: complex) -> float:
    return float(np.sqrt(max(float(np.real(square)), 0.0)))


@dataclass(frozen=True)
class Number:
    """A number of the coupled solution, and what is known of that of the full model's solution.

    Attributes:
        value: In the lifted coupled state.
        adjoint: First-order change to the full model's: -⟨r, z⟩, for energies -½⟨r, d⟩; ``None`` without Hessian.
        expected: What it is expected to be in the solution of the full model.
        interval: Where it lies, by estimates of what is neglected; ``None`` where Newton's steps hardly shrink.
        source: What each atom's forces have to do with it, shape ``(n,)``, in its unit; ``None`` without Hessian.
    """

    value: float
    adjoint: float | None = None
    expected: float | None = None
    interval: tuple[float, float] | None = None
    source: Array | None = None

    def over(self, size: float) -> Number:
        """The same in a unit of the given size."""
        given = self.interval
        return Number(
            self.value / size,
            None if self.adjoint is None else self.adjoint / size,
            None if self.expected is None else self.expected / size,
            None if given is None else (given[0] / size, given[1] / size),
            None if self.source is None else np.asarray(self.source / size),
        )


def number(functional: Functional, steps: Corrected, bonds: npt.NDArray[np.int64]) -> Number:
    """A number of the full model's solution. Collective.

    Args:
        functional: The number.
        steps: Newton's steps from the lifted coupled state.
        bonds: Neighbours, shape ``(2, b)``, for the sources.

    Returns:
        The value alone if the Hessian turns out to have a negative direction.
    """
    full, base = steps.full, steps.base
    y0, y = steps.positions(steps.start.x), steps.positions(base.x)
    value = functional.value(y0)
    slope = on_unknowns(full, functional.slope(y))
    z = base.solve(slope)
    if z is None:
        return Number(value)
    last = functional.value(steps.positions(steps.final()))
    expected = last - float(steps.rest.dot(z))
    bent = 0.0
    if not functional.linear:
        bent = abs(last - functional.value(y) + float(slope.dot(steps.steps[0] + steps.steps[1])))
    interval, rest = None, steps.remainder
    if rest is not None:
        relative = rest / max(steps.sizes[0], 1e-300)
        margin = _root(slope.dot(z)) * rest + bent * relative * (2 + relative)
        margin += 10 * ROUNDING * (abs(value) + abs(expected))
        interval = (expected - margin, expected + margin)
    return Number(
        value=value,
        adjoint=-float(steps.start.forces.dot(z)),
        expected=expected,
        interval=interval,
        source=weighted(full, steps.start.forces, z, bonds),
    )


def energy_number(steps: Corrected, none: float) -> Number:
    """The energy of the full model's solution. Collective.

    Its error is half the square of the energy norm of that of the state: its sources are those of the norm.

    Args:
        steps: Newton's steps from the lifted coupled state.
        none: Energy that counts as zero [eV].
    """
    full, base, forces = steps.full, steps.base, steps.start.forces
    first = steps.steps[0] if base is steps.start else base.solve(forces)
    expected = steps.energy - 0.5 * steps.left**2
    interval, rest = None, steps.remainder
    if rest is not None:
        # Above a minimum by a half of the step's square at most, over the least curvature; doubled.
        margin = 0.5 * rest * steps.left + ROUNDING * (abs(steps.energy) + len(full.X))
        interval = (expected - margin - none, expected + margin - none)
    return Number(
        value=steps.start.energy - none,
        adjoint=None if first is None else -0.5 * float(forces.dot(first)),
        expected=expected - none,
        interval=interval,
        source=0.5 * over_stiffness(full, forces),
    )


def on_unknowns(full: Assembly, by_atoms: Array) -> PETSc.Vec:
    """A slope by the positions of all atoms ``(n, 3)`` as one by the unknowns of the full model. Collective."""
    kinematics = full.problem.kinematics
    rows, out = kinematics.atoms.createVecLeft(), kinematics.unknowns.vector()
    rows.array[:] = by_atoms[kinematics.owned_atoms].ravel()
    kinematics.atoms.multTranspose(rows, out)
    return out


def weighted(
    full: Assembly, forces: PETSc.Vec, z: PETSc.Vec, bonds: npt.NDArray[np.int64]
) -> Array:
    """Force on each atom times how much the adjoint varies around it, shape ``(n,)``. Collective.

    Forces come in pairs that pull neighbours apart: the adjoint's own size does not count, its differences do.
    """
    adjoint, n = on_atoms(full, z), len(full.X)
    i, j = bonds
    apart = ((adjoint[i] - adjoint[j]) ** 2).sum(axis=1)
    total = np.bincount(i, apart, n) + np.bincount(j, apart, n)
    count = np.bincount(i, minlength=n) + np.bincount(j, minlength=n)
    varies = np.sqrt(total / np.maximum(count, 1))
    return np.asarray(np.linalg.norm(on_atoms(full, forces), axis=1) * varies)
