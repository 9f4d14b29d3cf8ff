# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Where a number of the full model's solution lies, given a ball that holds that solution.

A certificate says: the solution u is within ρ of x in the norm of H, the Hessian in x, and in that ball H changes by at
most L per distance in that norm. Newton's steps with this one Hessian stay in the ball. After some of them, in y, with
forces r and s = H⁻¹ r, the rest e = u - y obeys

    e = -s + δ,   |δ| ≤ q |e|,   |e| ≤ |s| / (1 - q),   q = L ρ < 1,

because H is off by at most q between y and u. So with z = H⁻¹ J'(y)

    J(u) = J(y) - ⟨r, z⟩ ± (q |z| |e| + ½ M |e|²),         |J''[v, v]| ≤ M |v|²,
    E(u) = E(y) - ½ |e|² (1 ± q),                          |s| / (1 + q) ≤ |e|.

M is zero for linear numbers. That the rest is small is computed, not assumed: the intervals rest on ρ and L alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.assemble import Assembly
from msolve.compare import on_atoms
from msolve.quantities.corrected import on_unknowns
from msolve.quantities.functionals import Functional

Array = npt.NDArray[np.float64]

STEPS = 2
"""Newton steps inside the ball before a number is taken."""

ITERATIONS = 8
"""Of the power iteration for M."""

FACTOR = 2.0
"""On the largest |J''[v, v]| / |v|² that was found."""

ROUNDING = 1e-12
"""Of floating-point arithmetic, relative to the sizes of what a number is summed from, one eV or more for each atom."""

MOVED = 1e-3
"""Largest displacement of an atom in differences of slopes [Å]."""


@dataclass(frozen=True)
class Ball:
    """What a certificate says of the full model's solution.

    Attributes:
        x: Centre, unknowns of the full model.
        radius: ρ [√eV].
        lipschitz: L [1/√eV].
        solve: The map v -> H⁻¹ v, to round-off. Collective.
        level: ``"A"`` if everything about the ball is proved, ``"B"`` if L is sampled.
    """

    x: PETSc.Vec
    radius: float
    lipschitz: float
    solve: Callable[[PETSc.Vec], PETSc.Vec]
    level: Literal["A", "B"] = "B"

    @property
    def change(self) -> float:
        """q: how much the Hessian changes in the ball, relative to itself."""
        return self.lipschitz * self.radius


@dataclass(frozen=True)
class Rest:
    """A state in the ball, and how far the solution is from it.

    Attributes:
        y: The state.
        energy: Its energy [eV].
        forces: Its forces.
        step: |s|, energy norm of the Newton step that they ask for [√eV].
        most: Largest distance of the solution [√eV].
        least: Smallest distance [√eV].
        off: |δ|, how far it may be from the end of that step [√eV].
    """

    y: PETSc.Vec
    energy: float
    forces: PETSc.Vec
    step: float
    most: float
    least: float
    off: float


def approach(full: Assembly, t: float, ball: Ball) -> Rest:
    """Newton's steps inside a ball. Collective.

    Args:
        full: The full atomistic model.
        t: Load parameter.
        ball: What holds its solution.
    """
    y, forces, q = ball.x.copy(), ball.x.duplicate(), ball.change
    energy = full.problem.evaluate(y, t, forces)
    s = ball.solve(forces)
    for _ in range(STEPS):
        y = y - s
        energy = full.problem.evaluate(y, t, forces)
        s = ball.solve(forces)
    step = _root(forces.dot(s))
    # Both ends are in the ball, whose diameter is a bound for q near one.
    most = min(2 * ball.radius, step / (1 - q) if q < 1 else np.inf)
    return Rest(y, energy, forces, step, most, step / (1 + q), q * most)


def enclose(
    functional: Functional, full: Assembly, t: float, ball: Ball, rest: Rest
) -> tuple[float, float]:
    """Bounds of a number of the solution. Collective.

    For numbers that are not linear M is sampled: a power iteration, times ``FACTOR``.

    Args:
        functional: The number.
        full: The full atomistic model.
        t: Load parameter.
        ball: What holds its solution.
        rest: A state in it.
    """
    y = full.problem.gather(rest.y, t)
    by_atoms = functional.slope(y)
    slope = on_unknowns(full, by_atoms)
    z = ball.solve(slope)
    centre = functional.value(y) - float(rest.forces.dot(z))
    half = _root(slope.dot(z)) * rest.off
    if not functional.linear:
        half += 0.5 * _curvature(functional, full, y, ball, z, slope) * rest.most**2
    half += ROUNDING * (abs(centre) + float(np.abs(by_atoms * y).sum()))
    return centre - half, centre + half


def enclose_energy(full: Assembly, ball: Ball, rest: Rest) -> tuple[float, float]:
    """Bounds of the energy of the solution [eV]; arguments as for :func:`enclose`."""
    rounding = ROUNDING * (abs(rest.energy) + len(full.X))
    low = rest.energy - 0.5 * rest.most**2 * (1 + ball.change)
    high = rest.energy - 0.5 * rest.least**2 * (1 - ball.change)
    return low - rounding, high + rounding


def _root(square: complex) -> float:
    return float(np.sqrt(max(float(np.real(square)), 0.0)))


def _curvature(
    functional: Functional, full: Assembly, y: Array, ball: Ball, v: PETSc.Vec, force: PETSc.Vec
) -> float:
    """M by power iteration on H⁻¹ J'' from v = H⁻¹ ``force``, times ``FACTOR``. Collective."""
    largest = 0.0
    for _ in range(ITERATIONS):
        norm = _root(force.dot(v))
        step = on_atoms(full, v)
        size = float(np.abs(step).max())
        if size == 0 or norm == 0:
            break
        h = MOVED / size
        bent = (functional.slope(y + h * step) - functional.slope(y - h * step)) / (2 * h)
        force = on_unknowns(full, np.asarray(bent))
        v = ball.solve(force)
        largest = max(largest, _root(force.dot(v)) / norm)
    return FACTOR * largest
