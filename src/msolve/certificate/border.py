# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The bordered system of the full model: equilibrium, with the load as one more unknown and one amplitude held.

Near a fold, where a branch of equilibria turns back in the load, the Hessian H becomes singular, and the load stops
telling the equilibria of a branch apart. The amplitude ⟨c, y⟩ of its softest mode still does. With the atoms at
y + v + μ p at the load λ + μ, p how all of them move with the load, the unknowns are v with ⟨c, v⟩ = 0, and μ.

H_s = H + s c cᵀ is positive definite if s is large enough. With κ = 1/⟨c, H_s⁻¹ c⟩ and φ = κ H_s⁻¹ c, ⟨v, H φ⟩ = 0 for
all v with ⟨c, v⟩ = 0. As held atoms move, their pull on the free ones changes by f; q = H_s⁻¹ f. Let free atoms move
with the load by p = -(q - ⟨c, q⟩ φ). Then H p + f = m c with m = κ⟨c, q⟩ = ⟨φ, f⟩, so that in v and μ, tested with the
v and with φ, the linearised system is block diagonal: H on the v, and m. It is inverted with H_s alone:

    H_s a = r, β = ⟨c, a⟩:   v = a - β φ,   μ = β κ / m.

With |(v, μ)|² = ⟨v, H v⟩ + ω² μ² and ω = |m|/√κ the norm of that is √⟨r, H_s⁻¹ r⟩: that of Newton's step as if H_s were
the Hessian. Along the branch the load changes by -k/m per amplitude, k = κ - s = ⟨φ, H φ⟩.

References:
    H. B. Keller, in Applications of Bifurcation Theory, ed. P. H. Rabinowitz (Academic Press, 1977): bordered systems.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import sparse

from msolve.assemble import Assembly
from msolve.certificate.factor import Factor
from msolve.certificate.modes import modes_of
from msolve.compare import from_atoms, on_atoms, unknowns_of
from msolve.errors import ConvergenceError
from msolve.kinematics import petsc_matrix

Array = npt.NDArray[np.float64]
Solve = Callable[[PETSc.Vec], PETSc.Vec]

BORDER_ATOMS = 40
"""Atoms whose places the amplitude is made of: those that the mode pulls most."""

STIFFENED = 1.0
"""Stiffness that the border gives to the softest mode, over that of the second one."""

MODES = 4
"""Softest modes among which that is sought."""

DRIVEN = 0.05
"""Pull of the load along a mode, over the largest among these, from which on the load drives it."""

LEAST_PUSH = 1e-2
"""Share of the load's pull, in the norm of H_s⁻¹, that has to act along φ."""

UNDRIVEN = (
    "the load does not push along the softest mode: where it becomes unstable a symmetry breaks, and the branch need "
    "not turn back"
)
"""Why there is no border."""

STEP = 1e-4
"""Relative change of the load in differences of how held atoms move."""

FORCING = 1e-8
"""Relative residual of the linear systems on the way."""


@dataclass(frozen=True)
class Border:
    """The amplitude that is held.

    Attributes:
        c: It is ⟨c, y⟩, [Å] if the softest mode has the norm one over bonds.
        s: Factor of c cᵀ in H_s [eV/Å²].
        eigenvalues: Lowest Ritz values of H against D where it was chosen [eV/Å²].
    """

    c: PETSc.Vec
    s: float
    eigenvalues: tuple[float, ...]

    def matrix(self, full: Assembly, H: PETSc.Mat) -> PETSc.Mat:
        """H + s c cᵀ. Collective."""
        unknowns = full.problem.kinematics.unknowns
        comm, size = unknowns.comm, unknowns.components
        here = np.flatnonzero(self.c.array_r)
        first = self.c.getOwnershipRange()[0]
        found = comm.allgather((first + here, self.c.array_r[here].copy()))
        at, values = (np.concatenate(part) for part in zip(*found, strict=True))
        block = self.s * np.outer(self.c.array_r[here], values)
        rows, columns = np.repeat(here, len(at)), np.tile(at, len(here))
        n = self.c.getLocalSize()
        csr = sparse.coo_matrix((block.ravel(), (rows, columns)), shape=(n, self.c.getSize()))
        out = H.copy()
        out.axpy(
            1.0,
            petsc_matrix(comm, csr.tocsr(), n, (size, size)),
            structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN,
        )
        out.setOption(PETSc.Mat.Option.SYMMETRIC, True)
        return out


def chosen_border(full: Assembly, x: PETSc.Vec, t: float, H: PETSc.Mat, D: PETSc.Mat) -> Border:
    """The amplitude of the softest mode that the load drives, growing with the load where it is stable. Collective.

    Raises:
        ConvergenceError: There is none: H has negative eigenvalues beside it, or the load drives none.
    """
    modes = modes_of(H, D, MODES)
    if len(modes) < 2 or modes[1].value <= 0:
        raise ConvergenceError("the Hessian has more than one unstable direction")
    pull = held_pull(full, x, t, held_motion(full, x, t))
    pushes = [float(pull.dot(mode.vector)) for mode in modes]
    driven = next(
        (k for k, one in enumerate(pushes) if abs(one) > DRIVEN * float(np.abs(pushes).max())), None
    )
    if driven is None or (driven > 0 and modes[0].value <= 0):
        raise ConvergenceError(UNDRIVEN)
    mode, push = modes[driven].vector, pushes[driven]
    strained = D.createVecLeft()
    D.mult(mode, strained)
    on = on_atoms(full, strained)
    # Rounded, so that no round-off decides between atoms that mirror each other.
    order = np.lexsort((*full.X.T[::-1], -np.linalg.norm(on, axis=1).round(9)))
    on[order[BORDER_ATOMS:]] = 0.0
    c = from_atoms(full, on)
    # The load acts against the gradient.
    c.scale(-math.copysign(1.0, push) / float(c.dot(mode)))
    values = tuple(mode.value for mode in modes)
    return Border(c, STIFFENED * (values[max(1, driven)] - min(values[0], 0.0)), values)


def held_motion(full: Assembly, x: PETSc.Vec, t: float) -> Array:
    """How held atoms move with the load, zero for the others, ``(n, 3)`` [Å per unit of load]. Collective."""
    step = STEP * max(abs(t), 1e-2)
    ahead, behind = (full.problem.gather(x, t + sign * step) for sign in (1.0, -1.0))
    return np.asarray(np.where(full.free[:, None], 0.0, (ahead - behind) / (2 * step)))


def held_pull(full: Assembly, x: PETSc.Vec, t: float, motion: Array) -> PETSc.Vec:
    """Change of the gradient by the free atoms as held ones move, f. Collective."""
    return from_atoms(full, full.problem.forces_along(x, t)(motion))


@dataclass(frozen=True)
class Bordered:
    """The bordered system in one state.

    Attributes:
        full: The full atomistic model.
        border: The amplitude that is held.
        x: Unknowns.
        t: Load.
        solve: v -> H_s⁻¹ v.
        phi: φ.
        kappa: κ [eV/Å²].
        push: m [eV/Å per unit of load], negative: the load drives the amplitude up.
        velocity: How all atoms move with the load, ``(n, 3)``.
    """

    full: Assembly
    border: Border
    x: PETSc.Vec
    t: float
    solve: Solve
    phi: PETSc.Vec
    kappa: float
    push: float
    velocity: Array

    @classmethod
    def at(cls, full: Assembly, border: Border, x: PETSc.Vec, t: float, solve: Solve) -> Bordered:
        """Set up in a state. Collective.

        Raises:
            ConvergenceError: The load does not push along the border.
        """
        c = border.c
        phi = solve(c)
        kappa = 1 / float(c.dot(phi))
        phi.scale(kappa)
        held = held_motion(full, x, t)
        pull = held_pull(full, x, t, held)
        q = solve(pull)
        along, whole = float(c.dot(q)), math.sqrt(max(float(pull.dot(q)), 0.0))
        if not kappa > 0 or not abs(along) * math.sqrt(kappa) > LEAST_PUSH * whole:
            raise ConvergenceError(UNDRIVEN)
        q.axpy(-along, phi)
        velocity = held - on_atoms(full, q)
        return cls(full, border, x, t, solve, phi, kappa, kappa * along, velocity)

    @property
    def weight(self) -> float:
        """ω [√eV per unit of load]."""
        return abs(self.push) / math.sqrt(self.kappa)

    @property
    def stiffness(self) -> float:
        """k, what holds the amplitude at a fixed load [eV/Å²]; zero at a fold."""
        return self.kappa - self.border.s

    def forces(self) -> PETSc.Vec:
        """Gradient in the state. Collective."""
        r = self.x.duplicate()
        self.full.problem.evaluate(self.x, self.t, r)
        return r

    def inverse(self, r: PETSc.Vec) -> tuple[PETSc.Vec, float, float]:
        """The linear system solved for forces: v, μ, and the norm of both. Collective."""
        a = self.solve(r)
        norm = math.sqrt(max(float(r.dot(a)), 0.0))
        beta = float(self.border.c.dot(a))
        return a - beta * self.phi, beta * self.kappa / self.push, norm

    def moved(self, v: PETSc.Vec, mu: float) -> tuple[PETSc.Vec, float]:
        """The state changed by v and the load by μ. Collective."""
        y = self.full.problem.gather(self.x, self.t)
        y = y + on_atoms(self.full, v) + mu * self.velocity
        return unknowns_of(self.full, y, self.t + mu), self.t + mu


class _Stiffened:
    """Context of a shell matrix: products with H_s."""

    def __init__(self, full: Assembly, border: Border, x: PETSc.Vec, t: float) -> None:
        self._border, self._product = border, full.problem.linearise(x, t)

    def mult(self, mat: PETSc.Mat, v: PETSc.Vec, out: PETSc.Vec) -> None:
        """Product for PETSc."""
        self._product(v, out)
        out.axpy(self._border.s * float(self._border.c.dot(v)), self._border.c)


def solver_near(full: Assembly, border: Border, x: PETSc.Vec, t: float, near: Factor) -> Solve:
    """The map v -> H_s⁻¹ v in a state, by conjugate gradients with the factors from one nearby. Collective."""
    size = (x.getLocalSize(), None)
    context = _Stiffened(full, border, x, t)
    matrix = PETSc.Mat().createPython((size, size), context, comm=x.comm)
    matrix.setUp()

    def solve(right: PETSc.Vec) -> PETSc.Vec:
        beside = "the Hessian has a negative direction beside the softest one"
        return near.solve_near(matrix, right, FORCING, beside)

    return solve
