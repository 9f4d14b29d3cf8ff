# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How fast the Hessian changes, in its own norm: the largest |D³E[v, v, v]| / |v|³ that a power iteration finds.

As D³E is symmetric, its largest value over three unit vectors is taken where all three are one, and
v <- H⁻¹ D³E[v, v] leads to stationary ones. What is found is a lower bound of the supremum: a sample, not a proof.

References:
    S. Banach, Studia Math. 7, 36 (1938); L. De Lathauwer et al., SIAM J. Matrix Anal. Appl. 21, 1324 (2000).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.assemble import Assembly
from msolve.compare import from_atoms, on_atoms, unknowns_of
from msolve.kinematics import Kinematics

MOVED = 2e-3
"""Largest displacement of an atom in differences of Hessian products [Å]."""

STEPS = 12
"""Of the power iteration from each start at most."""

SETTLED = 0.02
"""Relative change at which it ends."""

Array = npt.NDArray[np.float64]
Solve = Callable[[PETSc.Vec], PETSc.Vec]


def third_derivative(full: Assembly, w: PETSc.Vec, t: float, v: PETSc.Vec) -> PETSc.Vec:
    """D³E[v, v] by central differences of Hessian products. Collective."""
    size = largest_displacement(full, v)
    h = MOVED / max(size, 1e-300)
    found, part = v.duplicate(), v.duplicate()
    found.set(0.0)
    for sign in (1.0, -1.0):
        at = w.copy()
        at.axpy(sign * h, v)
        full.problem.linearise(at, t)(v, part)
        found.axpy(sign / (2 * h), part)
    return found


def largest_displacement(full: Assembly, v: PETSc.Vec) -> float:
    """Largest displacement component of an atom along a change of the unknowns. Collective."""
    on_atoms = full.problem.kinematics.atoms.createVecLeft()
    full.problem.kinematics.atoms.mult(v, on_atoms)
    return float(on_atoms.norm(PETSc.NormType.NORM_INFINITY))


def power_iteration(
    full: Assembly, w: PETSc.Vec, t: float, solve: Solve, start: PETSc.Vec
) -> float:
    """The largest |D³E[v, v, ·]| over |v|² on the way from a start [1/√eV]. Collective.

    Args:
        full: The full atomistic model.
        w: State.
        t: Load parameter.
        solve: v -> H⁻¹ v, H the Hessian whose norm is meant.
        start: A force; its displacement H⁻¹ ``start`` is the first direction.
    """
    force, largest, before = start, 0.0, 0.0
    v = solve(force)
    for _ in range(STEPS + 1):
        size = float(np.sqrt(max(force.dot(v), 0.0)))
        if not size > 0:
            break
        largest = max(largest, before and size)
        if before and abs(size - before) <= SETTLED * size:
            break
        before = size
        v.scale(1 / size)
        force = third_derivative(full, w, t, v)
        v = solve(force)
    return largest


def sampled_lipschitz(
    full: Assembly, states: Sequence[PETSc.Vec], t: float, solve: Solve, starts: list[PETSc.Vec]
) -> float:
    """The largest value from all starts in the first state, and from the best of them in the others. Collective.

    Returns:
        In 1/√eV.
    """
    found = [power_iteration(full, states[0], t, solve, start) for start in starts]
    best = starts[int(np.argmax(found))]
    return max(found + [power_iteration(full, w, t, solve, best) for w in states[1:]])


def power_iteration_moving(
    full: Assembly,
    x: PETSc.Vec,
    t: float,
    solve: Solve,
    velocity: Array,
    weight: float,
    start: tuple[PETSc.Vec, float],
) -> float:
    """As :func:`power_iteration`, with the load as one more unknown: |D³E[w, w, ·]| for w = v + μ p. Collective.

    Args:
        full: The full atomistic model.
        x: State.
        t: Load parameter.
        solve: v -> H⁻¹ v, H the matrix whose norm is meant.
        velocity: p, how all atoms move with the load, shape ``(n, 3)``.
        weight: ω; the norm is √(⟨v, H v⟩ + ω² μ²).
        start: A force, and that on the load.
    """
    (force, on_load), largest, before = start, 0.0, 0.0
    for _ in range(STEPS + 1):
        v, mu = solve(force), on_load / weight**2
        size = float(np.sqrt(max(force.dot(v), 0.0) + mu * on_load))
        if not size > 0:
            break
        largest = max(largest, before and size)
        if before and abs(size - before) <= SETTLED * size:
            break
        before, mu = size, mu / size
        bent = _bent(full, x, t, on_atoms(full, v) / size + mu * velocity, mu)
        force, on_load = from_atoms(full, bent), float((bent * velocity).sum())
    return largest


def _bent(full: Assembly, x: PETSc.Vec, t: float, w: Array, mu: float) -> Array:
    """D³E[w, w] on all atoms; the held ones among them move as the load changes by ``mu``. Collective."""
    h = MOVED / max(float(np.abs(w).max()), 1e-300)
    y, out = full.problem.gather(x, t), np.zeros_like(w)
    for sign in (1.0, -1.0):
        load = t + sign * h * mu
        at = unknowns_of(full, y + sign * h * w, load)
        out += sign / (2 * h) * full.problem.forces_along(at, load)(w)
    return out


def loaded_atom(full: Assembly, atom: int, direction: int) -> PETSc.Vec:
    """A unit force on one atom, by the unknowns. Collective."""
    kinematics: Kinematics = full.problem.kinematics
    rows, out = kinematics.atoms.createVecLeft(), kinematics.unknowns.vector()
    here = np.flatnonzero(kinematics.owned_atoms == atom)
    rows.array[3 * here + direction] = 1.0
    kinematics.atoms.multTranspose(rows, out)
    return out
