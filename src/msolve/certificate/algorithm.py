# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Correct, then certify: Newton-Kantorovich for the full atomistic model around a lifted coupled state.

In the norm of the Hessian H in a state x, with forces r there,

    η = √⟨r, H⁻¹ r⟩,   L ≥ sup |D³E[v, v, v]| / |v|³ in the ball of radius 2η around x,   h = 2 L η.

If h ≤ 1, exactly one equilibrium lies within ρ = (1 - √(1 - h)) / L of x, and the Hessian there is at least √(1 - h)
times H: it has as many negative eigenvalues as H, none. A coupled state is rarely close enough for that, least of all
near a crack that is about to advance; one or two Newton corrections on the full lattice make η quadratically smaller.
The error of the coupled state x₀ is then at most |x - x₀| + ρ.

The corrections need no exact arithmetic and are solved by conjugate gradients on products with the Hessian where they
stand, with the factors of the first one as preconditioner. Only where the test is about to close is the Hessian
assembled anew, from products, and factorised.

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
from msolve.certificate.modes import (
    Mode,
    bond_laplacian,
    loose_bonds,
    modes_of,
    proven_stability,
    softest_modes,
)
from msolve.certificate.numbers import Certificate, closed
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
    work = _Work(full, t, effort)
    first = Factor(work.hessian(x0))
    if not first.positive:
        return _unstable(work, first, 0, ()), None
    x = x0.copy()
    etas: list[float] = []
    best: tuple[Certificate, Centre | None] | None = None
    for k in range(effort.corrections + 1):
        last = k == effort.corrections
        try:
            state = _newton(work, x, first)
        except ConvergenceError as error:
            return best or (_lost(work, first, k, etas, str(error)), None)
        etas.append(state.eta)
        # Even where the first test would close a correction makes the bound of the coupled error sharp.
        if last or (k > 0 and _promising(full, state, t, first, effort)):
            factor = Factor(work.hessian(x)) if k else first
            if not factor.positive:
                return best or (_unstable(work, factor, k, etas), None)
            found = _test(work, x0, x, factor, etas)
            if best is None or found[0].level < best[0].level:
                best = found
            if best[0].level == "A" or (best[0].level == "B" and not has_bound(full)):
                break
        x = x - state.step
    assert best is not None
    return best


class _Work:
    """The model at one load, and how many Hessian products were asked of it.

    Attributes:
        products: By corrections.
        columns: By matrices.
    """

    def __init__(self, full: Assembly, t: float, effort: Effort) -> None:
        self.full, self.t, self.effort = full, t, effort
        self.products = self.columns = 0

    def hessian(self, x: PETSc.Vec) -> PETSc.Mat:
        """The assembled Hessian in a state. Collective."""
        each = self.full.problem.kinematics.unknowns.components

        def counted(done: int, total: int) -> None:
            self.columns += each
            if self.effort.progress is not None:
                self.effort.progress(done, total)

        return assembled_hessian(self.full, x, self.t, counted)

    def nothing(self, what: str, k: int, etas: Sequence[float], factor: Factor) -> Certificate:
        """That nothing is certified, with the softest directions of the Hessian in ``factor``. Collective."""
        modes = modes_of(factor.matrix, bond_laplacian(self.full), MODES)
        return Certificate(
            level="C",
            obstacle=what,
            corrections=k,
            negative=factor.negative,
            residual=etas[-1] if etas else math.inf,
            residuals=tuple(etas),
            eigenvalues=tuple(mode.value for mode in modes),
            softest_at=_softest_place(self.full, modes),
            products=self.products,
            columns=self.columns,
            atoms=int(self.full.free.sum()),
        )


def _softest_place(full: Assembly, modes: Sequence[Mode]) -> tuple[float, float, float] | None:
    """Place of the atom that the first mode strains most (x1, x2, x3) [Å]. Collective."""
    if not modes:
        return None
    x1, x2, x3 = (float(x) for x in full.X[softest_atoms(full, modes[0])[0]])
    return x1, x2, x3


def _lost(work: _Work, first: Factor, k: int, etas: Sequence[float], why: str) -> Certificate:
    """A correction led astray; ``first`` is of the coupled state."""
    what = f"correction {k} led to a state without energy or stability ({why})"
    return work.nothing(what, k, etas, first)


def _unstable(work: _Work, factor: Factor, k: int, etas: Sequence[float]) -> Certificate:
    """Not near a minimum."""
    where = "the coupled state" if k == 0 else f"the state after {k} corrections"
    what = (
        f"{where} is no minimum of the full model: its Hessian has {factor.negative} negative and "
        f"{factor.zero} vanishing eigenvalues; it is a saddle or on the way across one"
    )
    return work.nothing(what, k, etas, factor)


def _newton(work: _Work, x: PETSc.Vec, near: Factor) -> _State:
    """Newton's step in ``x`` by conjugate gradients; raises ``ConvergenceError`` where there is none."""
    full, r = work.full, x.duplicate()
    full.problem.evaluate(x, work.t, r)
    counted = Counted(full.problem, work.t)
    size = (x.getLocalSize(), None)
    H = PETSc.Mat().createPython((size, size), counted.linearised(x), comm=x.comm)
    H.setUp()
    try:
        step = near.solve_near(H, r, FORCING, "the Hessian has a negative direction")
    finally:
        work.products += counted.products
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
    work: _Work, x0: PETSc.Vec, x: PETSc.Vec, factor: Factor, etas: list[float]
) -> tuple[Certificate, Centre | None]:
    """Newton-Kantorovich in ``x``, whose Hessian is positive: with a proved constant if one closes the test."""
    full, t, effort = work.full, work.t, work.effort
    H, D = factor.matrix, bond_laplacian(full)
    r = x.duplicate()
    full.problem.evaluate(x, t, r)
    step = factor.solve(r)
    modes = tuple(softest_modes(H, D, MODES, any_direction(full.problem, full.preconditioner)))
    stability = proven_stability(H, D, modes[0].value) if modes else None
    least = lowest_of(full, D)
    eta = math.sqrt(max(r.dot(step), 0.0)) * (1 + ROUNDING) + rounding(full, least, stability)
    moved, atoms = x0 - x, int(full.free.sum())
    i, j = loose_bonds(full)
    v = on_atoms(full, moved)
    neighbours = full.body.crystal.nearest_neighbour_distance
    strain = np.linalg.norm(v[i] - v[j], axis=1).max(initial=0.0) / neighbours
    known = Certificate(
        level="C",
        obstacle=None,
        corrections=len(etas) - 1,
        negative=0,
        residual=eta,
        residuals=tuple(etas),
        moved=_norm(H, moved),
        moved_h1=_norm(D, moved),
        moved_rms=float(moved.norm()) / math.sqrt(max(atoms, 1)),
        moved_strain=float(strain),
        stability=stability,
        least=least,
        eigenvalues=tuple(mode.value for mode in modes),
        softest_at=_softest_place(full, modes),
        soft_share=tuple(float(mode.vector.dot(r)) ** 2 / eta**2 for mode in modes),
        products=work.products,
        columns=work.columns,
        atoms=atoms,
    )
    centre = Centre(x, factor.solve, modes)
    bound = lipschitz_bound(full, x, t, H, 2 * eta)
    if bound is not None:
        proved = closed(known, bound.value, bound.how, "A", neighbours)
        if proved is not None:
            return proved, centre
    starts = _starts(full, H, r, modes)
    sampled = sampled_lipschitz(full, [x, x - step], t, factor.solve, starts)
    L = effort.factor * sampled
    how = f"{effort.factor:g} times the largest of {len(starts)} power iterations"
    known = replace(known, sampled=sampled, lipschitz=L, lipschitz_how=how, number=2 * L * eta)
    found = closed(known, L, how, "B", neighbours)
    if found is not None:
        return found, centre
    softest = modes[0].value if modes else 0.0
    what = (
        f"the test does not close after {known.corrections} corrections: h = 2 L η = {known.number:.3g} > 1, softest "
        f"mode {softest:.3g} eV/Å²"
    )
    return replace(known, obstacle=what), None


def lowest_of(full: Assembly, D: PETSc.Mat) -> float | None:
    """A lower bound of the eigenvalues of D, the sum of squares over bonds; ``None`` if none is found. Collective."""
    return least_eigenvalue(D, full.problem.kinematics.unknowns.components)


def rounding(full: Assembly, least: float | None, stability: float | None) -> float:
    """What round-off of the forces may add to their dual norm: |δr| over the root of H's lowest eigenvalue [√eV].

    Args:
        full: The model.
        least: Lower bound of the eigenvalues of D.
        stability: τ with H ≥ τ D [eV/Å²].
    """
    if stability is None or least is None:
        return 0.0
    size = FORCE_ROUNDING * math.sqrt(full.problem.kinematics.unknowns.n_global)
    return size / math.sqrt(stability * least)


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
