# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Where a number of the full model's solution lies, given a ball that holds that solution.

A certificate says: the solution u is within ρ of x in the norm of H, the Hessian in x, and H changes by at most L per
distance in that norm. With forces r in x, d = H⁻¹ r and z = H⁻¹ J' then u = x - d + δ with |δ| ≤ ½ L ρ², so

    J(u) = J(x) - ⟨r, z⟩ ± (|z| ½ L ρ² + ½ M ρ²),         |J''[v, v]| ≤ M |v|²,
    E(u) = E(x) - ½⟨r, d⟩ + [-L ρ³/6, L ρ³/6 + ½ (½ L ρ²)²],

the latter from the identity ⟨r, e⟩ + ½|e|² = -½|d|² + ½|e + d|² and Taylor's remainder. M is zero for linear numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from petsc4py import PETSc

import numpy as np

from msolve.assemble import Assembly
from msolve.quantities.corrected import on_atoms, on_unknowns
from msolve.quantities.functionals import Functional

STEPS = 8
"""Of the power iteration for M."""

FACTOR = 2.0
"""On the largest |J''[v, v]| / |v|² that was found."""

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
    def bend(self) -> float:
        """How far the solution may be from the centre less Newton's step, ½ L ρ² [√eV]."""
        return 0.5 * self.lipschitz * self.radius**2


def enclose(functional: Functional, full: Assembly, t: float, ball: Ball) -> tuple[float, float]:
    """Bounds of a number of the solution. Collective.

    For numbers that are not linear M is sampled: a power iteration, times ``FACTOR``.

    Args:
        functional: The number.
        full: The full atomistic model.
        t: Load parameter.
        ball: What holds its solution.
    """
    y = full.problem.gather(ball.x, t)
    forces = ball.x.duplicate()
    full.problem.evaluate(ball.x, t, forces)
    slope = on_unknowns(full, functional.slope(y))
    z = ball.solve(slope)
    centre = functional.value(y) - float(forces.dot(z))
    half = float(np.sqrt(max(slope.dot(z), 0.0))) * ball.bend
    if not functional.linear:
        half += 0.5 * _curvature(functional, full, t, ball, z, slope) * ball.radius**2
    half += 1e-12 * abs(centre)
    return centre - half, centre + half


def enclose_energy(full: Assembly, t: float, ball: Ball) -> tuple[float, float]:
    """Bounds of the energy of the solution [eV]. Collective."""
    forces = ball.x.duplicate()
    energy = full.problem.evaluate(ball.x, t, forces)
    centre = energy - 0.5 * float(forces.dot(ball.solve(forces)))
    third = ball.lipschitz * ball.radius**3 / 6
    rounding = 1e-13 * abs(energy)
    return centre - third - rounding, centre + third + 0.5 * ball.bend**2 + rounding


def _curvature(
    functional: Functional, full: Assembly, t: float, ball: Ball, v: PETSc.Vec, force: PETSc.Vec
) -> float:
    """M by power iteration on H⁻¹ J'' from v = H⁻¹ ``force``, times ``FACTOR``. Collective."""
    y, largest = full.problem.gather(ball.x, t), 0.0
    for _ in range(STEPS):
        norm = float(np.sqrt(max(force.dot(v), 0.0)))
        step = on_atoms(full, v)
        size = float(np.abs(step).max())
        if size == 0 or norm == 0:
            break
        h = MOVED / size
        bent = (functional.slope(y + h * step) - functional.slope(y - h * step)) / (2 * h)
        force = on_unknowns(full, np.asarray(bent))
        v = ball.solve(force)
        largest = max(largest, float(np.sqrt(max(force.dot(v), 0.0))) / norm)
    return FACTOR * largest
