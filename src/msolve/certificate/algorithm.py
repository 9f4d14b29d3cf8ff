# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Correct, then certify: Newton-Kantorovich for the full atomistic model around a lifted coupled state.

In the norm of the Hessian H in a state x, with forces r there,

    η = √⟨r, H⁻¹ r⟩,   L ≥ sup |D³E[v, v, v]| / |v|³ in the ball of radius 2η around x,   h = 2 L η.

If h ≤ 1, exactly one equilibrium lies within ρ = (1 - √(1 - h)) / L of x, and the Hessian there is at least √(1 - h)
times H: it has as many negative eigenvalues as H, none. A coupled state is rarely close enough for that, least of all
near a crack that is about to advance; one or two Newton corrections on the full lattice make η quadratically smaller.
The error of the coupled state x₀ is then at most |x - x₀| + ρ.

The corrections need no exact arithmetic and are solved by conjugate gradients, with the factors of the first Hessian as
preconditioner. Only where the test is about to close is the Hessian assembled anew.

References:
    P. Deuflhard, Newton Methods for Nonlinear Problems (Springer, 2004), theorem 2.1: affine covariance.
    L. V. Kantorovich, Uspekhi Mat. Nauk 3, 89 (1948).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.assemble import Assembly
from msolve.certificate.bounds import has_bound, lipschitz_bound
from msolve.certificate.factor import Factor
from msolve.certificate.hessian import assembled_hessian
from msolve.certificate.modes import Mode, bond_laplacian, proven_stability, softest_modes
from msolve.certificate.numbers import Certificate, Level
from msolve.certificate.sampled import loaded_atom, power_iteration, sampled_lipschitz
from msolve.compare import Norms, on_atoms
from msolve.errors import ConvergenceError
from msolve.estimate.bounds import least_eigenvalue
from msolve.solvers import Counted, any_direction

Array = npt.NDArray[np.float64]

MODES = 4
"""Softest modes that are told."""

FORCING = 1e-6
"""Relative residual of the corrections."""

ROUNDING = 1e-9
"""Share by which η is raised against round-off of the linear algebra."""

FORCE_ROUNDING = 1e-12
"""What a component of the forces may be off by round-off, some ten times what sums of hundred terms are [eV/Å]."""

PROVED_OVER_SAMPLED = 100.0
"""About how much larger a bound by formulas is than what power iterations find."""

TIP_ATOMS = 2
"""Atoms whose loading starts power iterations."""


@dataclass(frozen=True)
class Effort:
    """How hard to try.

    Attributes:
        corrections: Newton corrections at most.
        factor: On the sampled Lipschitz constant.
        progress: Told the number of Hessian products that are done for a matrix, and of all.
    """

    corrections: int = 3
    factor: float = 6.0
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class Centre:
    """Where a certificate's ball lies.

    Attributes:
        x: Corrected state.
        solve: v -> H⁻¹ v in it. Collective.
        modes: Softest modes of H.
    """

    x: PETSc.Vec
    solve: Callable[[PETSc.Vec], PETSc.Vec]
    modes: tuple[Mode, ...]


@dataclass(frozen=True)
class _State:
    """A state with its forces, and the Newton step that they ask for, to be subtracted."""

    x: PETSc.Vec
    r: PETSc.Vec
    step: PETSc.Vec
    eta: float


def certify(
    full: Assembly, x0: PETSc.Vec, t: float, effort: Effort
) -> tuple[Certificate, Centre | None]:
    """Certify a solution of the full atomistic model near a state. Collective.

    Args:
        full: The model; its potential has energies.
        x0: The lifted coupled state.
        t: Load parameter.
        effort: How hard to try.

    Returns:
        The certificate, and where its ball lies; ``None`` if nothing is certified.
    """
    first = Factor(assembled_hessian(full, x0, t, effort.progress))
    if not first.positive:
        return _unstable(full, first, 0, ()), None
    x = x0.copy()
    etas: list[float] = []
    best: tuple[Certificate, Centre | None] | None = None
    for k in range(effort.corrections + 1):
        last = k == effort.corrections
        try:
            state = _newton(full, x, t, first)
        except ConvergenceError as error:
            return best or (_lost(full, k, etas, str(error)), None)
        etas.append(state.eta)
        # Even where the first test would close a correction makes the bound of the coupled error sharp.
        if last or (k > 0 and _promising(full, state, t, first, effort)):
            factor = Factor(assembled_hessian(full, x, t, effort.progress)) if k else first
            if not factor.positive:
                return best or (_unstable(full, factor, k, etas), None)
            found = _test(full, x0, x, t, factor, effort, etas)
            if best is None or found[0].level < best[0].level:
                best = found
            if best[0].level == "A" or (best[0].level == "B" and not has_bound(full)):
                break
        x = x - state.step
    assert best is not None
    return best


def _lost(full: Assembly, k: int, etas: list[float], why: str) -> Certificate:
    """A correction led astray."""
    what = f"correction {k} led to a state without energy or stability ({why})"
    eta = etas[-1] if etas else math.inf
    return Certificate("C", what, k, 0, eta, tuple(etas), atoms=int(full.free.sum()))


def _unstable(full: Assembly, factor: Factor, k: int, etas: Sequence[float]) -> Certificate:
    """Not near a minimum."""
    where = "the coupled state" if k == 0 else f"the state after {k} corrections"
    what = (
        f"{where} is no minimum of the full model: its Hessian has {factor.negative} negative and "
        f"{factor.zero} vanishing eigenvalues; it is a saddle or on the way across one"
    )
    eta = etas[-1] if etas else math.inf
    return Certificate("C", what, k, factor.negative, eta, tuple(etas), atoms=int(full.free.sum()))


def _newton(full: Assembly, x: PETSc.Vec, t: float, near: Factor) -> _State:
    """Newton's step in ``x`` by conjugate gradients; raises ``ConvergenceError`` where there is none."""
    r = x.duplicate()
    full.problem.evaluate(x, t, r)
    work = Counted(full.problem, t)
    size = (x.getLocalSize(), None)
    H = PETSc.Mat().createPython((size, size), work.linearised(x), comm=x.comm)
    H.setUp()
    step = near.solve_near(H, r, FORCING, "the Hessian has a negative direction")
    return _State(x, r, step, math.sqrt(max(r.dot(step), 0.0)))


def _promising(full: Assembly, state: _State, t: float, near: Factor, effort: Effort) -> bool:
    """Whether the test may close: by one power iteration, a lower bound, in the norm of a Hessian nearby."""
    try:
        sampled = power_iteration(full, state.x, t, near.solve, state.r)
    except ConvergenceError:
        return False
    factor = PROVED_OVER_SAMPLED if has_bound(full) else effort.factor
    return 2 * factor * sampled * state.eta <= 1


def _test(
    full: Assembly,
    x0: PETSc.Vec,
    x: PETSc.Vec,
    t: float,
    factor: Factor,
    effort: Effort,
    etas: list[float],
) -> tuple[Certificate, Centre | None]:
    """Newton-Kantorovich in ``x``, whose Hessian is positive: with a proved constant if one closes the test."""
    H, D = factor.matrix, bond_laplacian(full)
    r = x.duplicate()
    full.problem.evaluate(x, t, r)
    step = factor.solve(r)
    modes = tuple(softest_modes(H, D, MODES, any_direction(full.problem, full.preconditioner)))
    stability = proven_stability(H, D, modes[0].value) if modes else None
    eta = math.sqrt(max(r.dot(step), 0.0)) * (1 + ROUNDING) + rounding(full, D, stability)
    moved = x0 - x
    known = Certificate(
        level="C",
        obstacle=None,
        corrections=len(etas) - 1,
        negative=0,
        residual=eta,
        residuals=tuple(etas),
        moved=_norm(H, moved),
        moved_h1=_norm(D, moved),
        stability=stability,
        eigenvalues=tuple(mode.value for mode in modes),
        soft_share=tuple(float(mode.vector.dot(r)) ** 2 / eta**2 for mode in modes),
        atoms=int(full.free.sum()),
    )
    centre = Centre(x, factor.solve, modes)
    bound = lipschitz_bound(full, x, t, H, 2 * eta)
    if bound is not None:
        proved = closed(known, bound.value, bound.how, "A")
        if proved is not None:
            return proved, centre
    starts = _starts(full, H, r, modes)
    sampled = sampled_lipschitz(full, [x, x - step], t, factor.solve, starts)
    L = effort.factor * sampled
    how = f"{effort.factor:g} times the largest of {len(starts)} power iterations"
    known = replace(known, sampled=sampled, lipschitz=L, lipschitz_how=how, number=2 * L * eta)
    found = closed(known, L, how, "B")
    if found is not None:
        return found, centre
    softest = modes[0].value if modes else 0.0
    what = (
        f"the test does not close after {known.corrections} corrections: h = 2 L η = {known.number:.3g} > 1, softest "
        f"mode {softest:.3g} eV/Å²"
    )
    return replace(known, obstacle=what), None


def rounding(full: Assembly, D: PETSc.Mat, stability: float | None) -> float:
    """What round-off of the forces may add to their dual norm: |δr| over the root of H's lowest eigenvalue [√eV]."""
    least = least_eigenvalue(D, full.problem.kinematics.unknowns.components)
    if stability is None or least is None:
        return 0.0
    size = FORCE_ROUNDING * math.sqrt(full.problem.kinematics.unknowns.n_global)
    return size / math.sqrt(stability * least)


def closed(known: Certificate, L: float, how: str, level: Level) -> Certificate | None:
    """The certificate that a Lipschitz constant gives; ``None`` if the test does not close."""
    h = 2 * L * known.residual
    if not h <= 1:
        return None
    # (1 - √(1 - h)) / L without cancellation
    radius = 2 * known.residual / (1 + math.sqrt(1 - h))
    in_h1 = None if known.stability is None else radius / math.sqrt(known.stability)
    return replace(
        known,
        level=level,
        lipschitz=L,
        lipschitz_how=how,
        number=h,
        radius=radius,
        bound=known.moved + radius,
        radius_h1=in_h1,
        bound_h1=None if in_h1 is None else known.moved_h1 + in_h1,
    )


def _starts(full: Assembly, H: PETSc.Mat, r: PETSc.Vec, modes: tuple[Mode, ...]) -> list[PETSc.Vec]:
    """Forces that power iterations start from: of the two softest modes, the residual, and at the softest place."""
    out = [r]
    for mode in modes[:2]:
        force = r.duplicate()
        H.mult(mode.vector, force)
        out.append(force)
    if modes:
        out += [
            loaded_atom(full, atom, a) for atom in softest_atoms(full, modes[0]) for a in (0, 1)
        ]
    return out


def softest_atoms(full: Assembly, mode: Mode) -> list[int]:
    """The atoms that a mode strains most: by the sum of squares of differences to their neighbours. Collective."""
    v = on_atoms(full, mode.vector)
    one, other = Norms.of(full, rim=0.0, tip_radius=0.0).inside
    apart = ((v[one] - v[other]) ** 2).sum(axis=1)
    strained = np.zeros(len(v))
    np.add.at(strained, one, apart)
    np.add.at(strained, other, apart)
    # Rounded, so that no round-off decides between atoms that mirror each other.
    order = np.lexsort((*full.X.T[::-1], -strained.round(9)))
    return [int(atom) for atom in order[:TIP_ATOMS]]


def _norm(matrix: PETSc.Mat, v: PETSc.Vec) -> float:
    out = v.duplicate()
    matrix.mult(v, out)
    return math.sqrt(max(float(v.dot(out)), 0.0))
