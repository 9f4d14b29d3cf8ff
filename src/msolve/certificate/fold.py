# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Certificates near a fold, where that at a given load cannot close: the load is part of the answer.

Newton-Kantorovich for the bordered system (:mod:`msolve.certificate.border`). In its norm
N(v, μ)² = ⟨v, H v⟩ + ω² μ², ⟨c, v⟩ = 0, Newton's step has the norm η = √⟨r, H_s⁻¹ r⟩, and the linearised system
changes by at most L N, where L bounds |D³E[w, w, w]| over (⟨v, H_s v⟩ + ω² μ²)^(3/2) for w = v + μ p and all v. If
h = 2 L η ≤ 1, exactly one equilibrium with this amplitude lies within N ≤ ρ = (1 - √(1 - h)) / L; its load is within
ρ/ω of that of the centre.

The end of the branch: in the centre, k about zero, let the amplitude change by a, and α = |a| √κ. Newton's step is then
at most η(α) = η + α |k|/κ + L α²/2, and the system has changed by L (α + N). So for all such a up to a₁ there is one
equilibrium within R = ((1 - Lα) - √((1 - Lα)² - 2 L η(α))) / L: a curve of them. If the loads in both its ends are on
one side of that in the middle, the branch turns back in between, at a load within R/ω of that of the centre.

References:
    P. Deuflhard, Newton Methods for Nonlinear Problems (Springer, 2004), theorem 2.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from petsc4py import PETSc

import numpy as np

from msolve.assemble import Assembly
from msolve.certificate.algorithm import ROUNDING, Effort, lowest_of, rounding, softest_atoms
from msolve.certificate.border import Border, Bordered, chosen_border, solver_near
from msolve.certificate.bounds import Motion, has_bound, lipschitz_bound
from msolve.certificate.factor import Factor, dominates
from msolve.certificate.hessian import assembled_hessian
from msolve.certificate.modes import (
    Mode,
    bond_laplacian,
    modes_of,
    proven_stability,
    softest_modes,
)
from msolve.certificate.numbers import BranchEnd, FoldCertificate, Level
from msolve.certificate.sampled import loaded_atom, power_iteration_moving
from msolve.compare import from_atoms
from msolve.errors import ConvergenceError

CORRECTIONS = 12
"""Newton corrections at most; near a fold they go a longer way than at a given load."""

CLOSE = 1e-7
"""Newton's step below which the Hessian is assembled for the test [√eV]."""

FURTHEST = 0.02
"""Relative change of the load above which it is no longer near that which was asked for."""

OPENING = 0.02
"""First step of the amplitude on the way to the fold [Å]."""

LONGEST = 0.15
"""Longest step of the amplitude [Å]."""

STEPS = 25
"""Of the amplitude at most."""

AT_FOLD = 1e-7
"""Stiffness k over κ that counts as zero."""

SHARES = (0.05, 0.1, 0.2, 0.4)
"""L α of the curve in which the branch is shown to turn, tried in this order."""

WIDER = 1.2
"""Radius of the ball in which L is sought for it, over α."""

CHORDS = 12
"""Newton steps with the operator of the centre at most."""


@dataclass(frozen=True)
class _Centre:
    """A state in which the bordered system has been tested.

    Attributes:
        at: The system, by its own factors.
        H: Hessian.
        Hs: H + s c cᵀ, positive definite.
        eta: Norm of Newton's step, raised against round-off.
        floor: What round-off has added to it.
        tau: Hs ≥ τ D, shown by inertia.
    """

    at: Bordered
    H: PETSc.Mat
    Hs: PETSc.Mat
    D: PETSc.Mat
    eta: float
    floor: float
    tau: float | None

    def lipschitz(self, radius: float, effort: Effort) -> tuple[float, str, Level] | None:
        """L in a ball, how it is known, and the level that it gives. Collective."""
        at = self.at
        full = at.full
        motion = Motion(at.velocity, at.weight)
        if has_bound(full):
            bound = lipschitz_bound(full, at.x, at.t, self.Hs, radius, motion)
            return None if bound is None else (bound.value, bound.how, "A")
        mode = Mode(0.0, at.phi)
        none = at.x.duplicate()
        none.set(0.0)
        starts = [(at.border.c, 0.0), (none, at.weight)]
        starts += [
            (loaded_atom(full, atom, a), 0.0) for atom in softest_atoms(full, mode) for a in (0, 1)
        ]
        found = [
            power_iteration_moving(full, at.x, at.t, at.solve, at.velocity, at.weight, start)
            for start in starts
        ]
        how = f"{effort.factor:g} times the largest of {len(starts)} power iterations"
        return effort.factor * max(found), how, "B"


def certify_fold(
    full: Assembly, x0: PETSc.Vec, t: float, effort: Effort, close: float = CLOSE
) -> tuple[FoldCertificate, Bordered | None]:
    """Certify an equilibrium that has the amplitude of a state, at a load near by. Collective.

    Args:
        full: The full atomistic model.
        x0: The lifted coupled state.
        t: Load that was asked for.
        effort: How hard to try; its corrections are not counted here.
        close: Norm of Newton's step at which the corrections end [√eV].

    Returns:
        The certificate, and the bordered system in its centre; ``None`` if nothing is certified.
    """
    D = bond_laplacian(full)
    try:
        H = assembled_hessian(full, x0, t, effort.progress)
        border = chosen_border(full, x0, t, H, D)
        near = Factor(border.matrix(full, H))
        state, etas = corrected(full, border, x0, t, near, close)
        centre = _centre(state, D, effort)
    except ConvergenceError as error:
        return FoldCertificate("C", str(error), t, t), None
    told = _closed(centre, t, etas, effort)
    moved = from_atoms(full, full.problem.gather(x0, t) - full.problem.gather(state.x, state.t))
    told = replace(told, moved_h1=_norm(D, moved))
    if told.level == "C":
        return told, None
    return replace(told, end=branch_end(state, near, D, effort)), centre.at


def corrected(
    full: Assembly, border: Border, x: PETSc.Vec, t: float, near: Factor, close: float = CLOSE
) -> tuple[Bordered, list[float]]:
    """Newton corrections of the bordered system at the amplitude of a state. Collective.

    Args:
        full: The full atomistic model.
        border: The amplitude.
        x: State.
        t: Load.
        near: Factors of H + s c cᵀ near by.
        close: Norm of the step below which it is enough [√eV].

    Returns:
        The corrected state, and the norm of each step, the last one not taken.

    Raises:
        ConvergenceError: They do not converge, or the load gets out of hand.
    """
    etas: list[float] = []
    asked = t
    for _ in range(CORRECTIONS + 1):
        at = Bordered.at(full, border, x, t, solver_near(full, border, x, t, near))
        v, mu, eta = at.inverse(at.forces())
        etas.append(eta)
        if eta <= close:
            return at, etas
        if abs(t - mu - asked) > FURTHEST * abs(asked):
            raise ConvergenceError(
                "at this amplitude there is no equilibrium near the load that was asked for"
            )
        x, t = at.moved(-1.0 * v, -mu)
    raise ConvergenceError(f"{CORRECTIONS} corrections of the bordered system do not converge")


def _centre(state: Bordered, D: PETSc.Mat, effort: Effort) -> _Centre:
    """The bordered system by exact factors. Collective."""
    full, border = state.full, state.border
    H = assembled_hessian(full, state.x, state.t, effort.progress)
    Hs = border.matrix(full, H)
    factor = Factor(Hs)
    if not factor.positive:
        raise ConvergenceError("the Hessian has more than one soft direction")
    at = Bordered.at(full, border, state.x, state.t, factor.solve)
    modes = softest_modes(Hs, D, 1)
    tau = proven_stability(Hs, D, modes[0].value) if modes else None
    floor = rounding(full, lowest_of(full, D), tau)
    eta = at.inverse(at.forces())[2] * (1 + ROUNDING) + floor
    return _Centre(at, H, Hs, D, eta, floor, tau)


def _closed(centre: _Centre, asked: float, etas: list[float], effort: Effort) -> FoldCertificate:
    """Newton-Kantorovich in a centre. Collective."""
    at, eta = centre.at, centre.eta
    known = FoldCertificate(
        level="C",
        obstacle=None,
        asked=asked,
        load=at.t,
        corrections=len(etas) - 1,
        residual=eta,
        residuals=tuple(etas),
        stiffness=at.stiffness,
        eigenvalues=tuple(mode.value for mode in modes_of(centre.H, centre.D, 4)),
    )
    found = centre.lipschitz(2 * eta, effort)
    if found is None:
        return replace(
            known, obstacle="no bound of the Lipschitz constant holds in a ball of that size"
        )
    L, how, level = found
    known = replace(known, lipschitz=L, lipschitz_how=how, number=2 * L * eta)
    if not 2 * L * eta <= 1:
        return replace(
            known, obstacle=f"the bordered test does not close: h = 2 L η = {2 * L * eta:.3g} > 1"
        )
    radius = 2 * eta / (1 + math.sqrt(1 - 2 * L * eta))
    in_h1 = None
    if centre.tau is not None:
        # |v| / √τ from the atoms at a given load, and what they move with it.
        per_load = _norm(centre.D, from_atoms(at.full, at.velocity)) / at.weight
        in_h1 = radius * math.hypot(1 / math.sqrt(centre.tau), per_load)
    return replace(
        known,
        level=level,
        radius=radius,
        radius_h1=in_h1,
        half_width=radius / at.weight,
        negative=_index(centre, L * radius),
    )


def _index(centre: _Centre, change: float) -> int | None:
    """Negative eigenvalues of all Hessians that differ from H by at most ``change`` H_s; ``None`` if not one number."""
    if dominates(centre.H, centre.Hs, change):
        return 0
    highest = centre.H.copy()
    highest.axpy(change, centre.Hs, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
    # H_s is positive definite, of all these too, and differs from H by one direction: there is one at most.
    return 1 if Factor(highest).negative == 1 else None


def branch_end(start: Bordered, near: Factor, D: PETSc.Mat, effort: Effort) -> BranchEnd | None:
    """Where the branch turns back in the load, sought from a state near by; ``None`` if it is not found. Collective."""
    try:
        state, amplitude = _turning(start, near)
    except ConvergenceError:
        return None
    nothing = BranchEnd("C", None, state.t, state.t, start.t <= state.t, amplitude)
    try:
        centre = _centre(state, D, effort)
        return _proved_end(centre, nothing, effort)
    except ConvergenceError as error:
        return replace(nothing, obstacle=str(error))


def _turning(start: Bordered, near: Factor) -> tuple[Bordered, float]:
    """The fold, by secants in the amplitude, and its amplitude less that of the start. Collective."""
    at, a, step = start, 0.0, OPENING
    for _ in range(STEPS):
        if abs(at.stiffness) <= AT_FOLD * at.kappa:
            return at, a
        try:
            found = corrected(at.full, at.border, *at.moved(step * at.phi, 0.0), near)[0]
        except ConvergenceError:
            step /= 3
            continue
        slope = (found.stiffness - at.stiffness) / step
        at, a = found, a + step
        step = -at.stiffness / slope if slope else LONGEST
        step = float(np.clip(step, -LONGEST, LONGEST))
    raise ConvergenceError(f"{STEPS} steps of the amplitude did not reach it")


def _proved_end(centre: _Centre, known: BranchEnd, effort: Effort) -> BranchEnd:
    """The branch turns back: shown by a curve of equilibria around the fold, and the loads at its ends. Collective."""
    first = centre.lipschitz(2 * centre.eta, effort)
    found = None if first is None else centre.lipschitz(WIDER * SHARES[-1] / first[0], effort)
    if first is None or found is None:
        return replace(known, obstacle="no bound of the Lipschitz constant holds around the fold")
    for share in SHARES:
        proved = _proved_turn(centre, found[0], share / first[0])
        if proved is not None:
            low, high, highest, stretch = proved
            return replace(
                known, level=found[2], low=low, high=high, highest=highest, stretch=stretch
            )
    return replace(
        known, obstacle="the loads along the curve around the fold are too close to one another"
    )


def _proved_turn(
    centre: _Centre, L: float, alpha: float
) -> tuple[float, float, bool, float] | None:
    """Loads between which the branch turns, whether it is a highest load, and a; ``None`` if not shown. Collective."""
    at = centre.at
    reach = _reach(L, alpha, centre.eta + alpha * abs(at.stiffness) / at.kappa + 0.5 * L * alpha**2)
    if reach is None or math.hypot(alpha, reach) > WIDER * alpha:
        return None
    a, loads = alpha / math.sqrt(at.kappa), []
    for amplitude in (-a, 0.0, a):
        mu, left = _chord(at, amplitude, reach)
        off = (left + centre.floor) / (1 - L * (alpha + reach)) / at.weight
        loads.append((mu - off, mu + off))
    one, middle, other = loads
    furthest = reach / at.weight
    if max(one[1], other[1]) < middle[0]:
        return at.t + middle[0], at.t + furthest, True, a
    if min(one[0], other[0]) > middle[1]:
        return at.t - furthest, at.t + middle[1], False, a
    return None


def _reach(L: float, alpha: float, eta: float) -> float | None:
    """The smallest R that Newton's map at the changed amplitude maps into itself; ``None`` if there is none."""
    free = 1 - L * alpha
    if not (free > 0 and free**2 >= 2 * L * eta):
        return None
    return 2 * eta / (free + math.sqrt(free**2 - 2 * L * eta))


def _chord(at: Bordered, a: float, reach: float) -> tuple[float, float]:
    """The load at a changed amplitude less that of the centre, and the norm of the next step there. Collective."""
    v, mu = at.x.duplicate(), 0.0
    v.set(0.0)
    best = (0.0, math.inf)
    forces = at.x.duplicate()
    for _ in range(CHORDS):
        x, t = at.moved(v + a * at.phi, mu)
        at.full.problem.evaluate(x, t, forces)
        dv, dmu, norm = at.inverse(forces)
        if not norm < 0.5 * best[1]:
            break
        best = (mu, norm)
        v, mu = v - dv, mu - dmu
    if best[1] > reach:
        raise ConvergenceError("the equilibria at the ends of the curve were not found")
    return best


def _norm(matrix: PETSc.Mat, v: PETSc.Vec) -> float:
    out = v.duplicate()
    matrix.mult(v, out)
    return math.sqrt(max(float(v.dot(out)), 0.0))
