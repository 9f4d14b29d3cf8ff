# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""An upper bound of how fast the Hessian changes, by formulas and inertia: nothing is sampled.

With H ≥ τ D, D the sum of squares |v_i - v_j|² over some pairs, a pair that n of these connect one after the other has
|v_i - v_j| ≤ √(n/τ) |v|, as (Σ a_k)² ≤ n Σ a_k². So in a ball of radius R around a state every length stays within a
window, on which the derivatives of the potential are bounded. There, for each pair with unit vector e, u = v_j - v_i,
s = e·u and p² = |u|² - s²,

    pair      |D³ f(|y|)[u, u, u]| ≤ |u| (|f'''| s² + 3 |f''/r - f'/r²| p²),
    embedding D³F(ρ)[v, v, v] = F' D³ρ + 3 F'' (Dρ v) D²ρ[v, v] + F''' (Dρ v)³,

f the pair function with F' f of both ends. With the bounds of |u| and |Dρ v| in place of one factor each,
|D³E[v, v, v]| ≤ |v| ⟨v, Q v⟩, Q a sum of springs. If L H - Q has no negative pivot, then Q ≤ L H and L is an upper
bound of |D³E[v, v, v]| / |v|³; and, the form being symmetric, of |D³E[v, v', v"]| over three norms.

Held atoms may move with the load: all atoms by v + μ p, with |(v, μ)|² = |v|² + ω² μ². Then
|u| ≤ √(n/τ + |p_j - p_i|²/ω²) |(v, μ)|, and as √Q is a seminorm the bound is L + Q(p, p)/ω².

References:
    S. Banach, Studia Math. 7, 36 (1938).
"""

from __future__ import annotations

from dataclasses import dataclass

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import sparse

from msolve.assemble import Assembly
from msolve.atomistic import find_edges
from msolve.certificate.factor import dominates
from msolve.certificate.modes import (
    largest_ratio,
    loose_bonds,
    proven_stability,
    softest_modes,
    springs_matrix,
)
from msolve.potentials.eam import EAM
from msolve.potentials.eam_bounds import EAMBounds, Embedding, Span
from msolve.potentials.linear import LinearModel
from msolve.potentials.linear_bounds import third_derivative_bound

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LONGEST = 3
"""Bonds in a row that may connect a pair; pairs that so many do not connect enter D themselves."""

MARGIN = 1.05
"""On the largest eigenvalue that iterations found, so that inertia can prove it."""

TRIES = 6

BEYOND = 0.01
"""Share of the cutoff by which pairs beyond it are taken along; no vector may change by more in the ball."""


@dataclass(frozen=True)
class Bound:
    """An upper bound of the Lipschitz constant.

    Attributes:
        value: It [1/√eV].
        how: How it is known.
    """

    value: float
    how: str


@dataclass(frozen=True)
class Motion:
    """How all atoms move with the load.

    Attributes:
        velocity: p, shape ``(n, 3)`` [Å per unit of load].
        weight: ω [√eV per unit of load].
    """

    velocity: Array
    weight: float


@dataclass(frozen=True)
class _Edges:
    """Pairs of atoms in reach of each other, each once, at least one of them a site that sees free atoms.

    Attributes:
        i: One end, shape ``(e,)``.
        j: The other end.
        vec: From i to the image of j that is meant, shape ``(e, 3)`` [Å].
        sees: Sites that see free atoms, shape ``(n,)``; the energies of others do not matter.
    """

    i: IntArray
    j: IntArray
    vec: Array
    sees: npt.NDArray[np.bool_]

    @property
    def length(self) -> Array:
        """Shape ``(e,)`` [Å]."""
        return np.asarray(np.linalg.norm(self.vec, axis=1))


@dataclass(frozen=True)
class _Springs:
    """Σ [along (e·u)² + across (|u|² - (e·u)²)] over edges."""

    along: Array
    across: Array


def has_bound(full: Assembly) -> bool:
    """Whether third derivatives of the potential can be bounded."""
    return isinstance(full.body.model, EAM | LinearModel)


def lipschitz_bound(
    full: Assembly,
    x: PETSc.Vec,
    t: float,
    H: PETSc.Mat,
    radius: float,
    motion: Motion | None = None,
) -> Bound | None:
    """Bound of |D³E[v, v, v]| / |v|³ over a ball, |v| = √⟨v, H v⟩. Collective.

    Args:
        full: The full atomistic model.
        x: Middle of the ball.
        t: Load parameter.
        H: Hessian there, or another symmetric matrix; positive definite.
        radius: Of the ball, in the norm of H [√eV].
        motion: How atoms move with the load, if it is an unknown too; the norm then is that of both.

    Returns:
        The bound; ``None`` for potentials without one, or where the ball is too large for it.
    """
    model = full.body.model
    if not isinstance(model, EAM | LinearModel):
        return None
    y = full.problem.gather(x, t)
    slack = BEYOND * model.cutoff
    edges = _edges(full, y, model.cutoff + slack)
    steps, D = _connected(full, edges)
    modes = softest_modes(H, D, 1)
    tau = proven_stability(H, D, modes[0].value) if modes else None
    if tau is None:
        return None
    # Largest |u| over |v|, and how far each vector may change in the ball.
    velocity = np.zeros_like(y) if motion is None else motion.velocity / motion.weight
    push = velocity[edges.j] - velocity[edges.i]
    per_norm = np.sqrt(steps / tau + (push**2).sum(axis=1))
    moved = radius * per_norm
    if moved.max() >= min(slack, 0.25 * float(edges.length.min())):
        return None
    if isinstance(model, EAM):
        springs = _eam(full, model, edges, per_norm, moved)
        how = "from the polynomials of its tables"
    else:
        springs = _linear(full, model, edges, y, per_norm, moved)
        how = "from the derivatives of its polynomials"
    if springs is None:
        return None
    Q = _matrix(full, edges, springs)
    found = proven_ratio(Q, H)
    if found is None:
        return None
    return Bound(found + _along(edges, springs, push), f"{how}, by inertia")


def proven_ratio(Q: PETSc.Mat, H: PETSc.Mat) -> float | None:
    """A number L with Q ≤ L H, shown by the inertia of H - Q/L; ``None`` if none was found. Collective."""
    found = MARGIN * largest_ratio(Q, H)
    for _ in range(TRIES):
        if not found > 0:
            return None
        if dominates(H, Q, 1 / found):
            return found
        found *= 1.5
    return None


def _edges(full: Assembly, y: Array, cutoff: float) -> _Edges:
    sees = full.free.copy()
    sees[find_edges(y, full.body.cell, _periodic(full), cutoff, full.free)[0][1]] = True
    pair, shift = find_edges(y, full.body.cell, _periodic(full), cutoff, sees)
    i, j = pair
    # Each pair once: from the lower number where both ends see; images of one atom move with it.
    once = (i < j) | ~sees[j]
    i, j, shift = i[once], j[once], shift[once]
    return _Edges(i, j, y[j] + shift - y[i], sees)


def _connected(full: Assembly, edges: _Edges) -> tuple[Array, PETSc.Mat]:
    """How many bonds in a row connect the ends of each edge, ``(e,)``, and D of these bonds. Collective.

    Held ones are connected by none: no bond moves them against each other.
    """
    n = len(full.X)
    first, second = loose_bonds(full)
    # All held atoms are one: they do not move.
    name = np.where(full.free, np.arange(n), n)
    ones = np.ones(len(first))
    A = sparse.coo_matrix((ones, (name[first], name[second])), shape=(n + 1, n + 1)).tocsr()
    A = ((A + A.T) > 0).astype(np.float64)
    steps, reached = np.full(len(edges.i), np.inf), sparse.identity(n + 1, format="csr")
    for k in range(1, LONGEST + 1):
        # Paths through held atoms are as good as others: these do not move.
        reached = ((reached @ A + reached) > 0).astype(np.float64)
        there = np.asarray(reached[name[edges.i], name[edges.j]]).ravel() > 0
        steps[there & np.isinf(steps)] = k
    steps[~full.free[edges.i] & ~full.free[edges.j]] = 0
    far = np.isinf(steps)
    steps[far] = 1
    # A pair with several images in reach is one pair here.
    pairs = np.unique(np.sort(np.stack([name[edges.i[far]], name[edges.j[far]]]), axis=0), axis=1)
    one = np.concatenate([name[first], pairs[0]])
    other = np.concatenate([name[second], pairs[1]])
    return steps, springs_matrix(full, one, other, np.tile(np.eye(3), (len(one), 1, 1)))


def _matrix(full: Assembly, edges: _Edges, springs: _Springs) -> PETSc.Mat:
    e = edges.vec / edges.length[:, None]
    blocks = springs.across[:, None, None] * np.eye(3)
    blocks = (
        blocks + (springs.along - springs.across)[:, None, None] * e[:, :, None] * e[:, None, :]
    )
    return springs_matrix(full, edges.i, edges.j, blocks)


def _along(edges: _Edges, springs: _Springs, push: Array) -> float:
    """What the springs take in a change of the edges, shape ``(e, 3)``."""
    s = ((edges.vec * push).sum(axis=1) / edges.length) ** 2
    return float((springs.along * s + springs.across * ((push**2).sum(axis=1) - s)).sum())


def _turned(along: Array, across: Array, moved: Array, length: Array) -> _Springs:
    """Springs whose directions are known up to how far the vectors may move, by springs along those at hand.

    A vector moved by δ has turned by a chord c ≤ √2 δ/r, and (s + c|u|)² ≤ (1 + c) s² + (c + c²) |u|²; alike across.
    """
    c = np.sqrt(2.0) * moved / length
    both = (c + c**2) * (along + across)
    return _Springs((1 + c) * along + both, (1 + c) * across + both)


def _eam(
    full: Assembly, model: EAM, edges: _Edges, per_norm: Array, moved: Array
) -> _Springs | None:
    """Springs of an embedded-atom potential."""
    ranges = EAMBounds(model)
    if not ranges.smooth_end:
        return None
    i, j, r, n = edges.i, edges.j, edges.length, len(full.X)
    species = model.species(full.numbers)
    window = Span(r - moved, r + moved)
    at_i = ranges.radial(species[i], species[j], window)
    at_j = ranges.radial(species[j], species[i], window)
    density = _densities(full, model, ranges, edges, window)
    if density.low.min() < -1e-9 or density.high.max() > ranges.most:
        return None
    F = ranges.embedding(species, density)
    # |Dρ v| ≤ √(Σ f'²) √(Σ |u|²), over the edges that change.
    changes = per_norm > 0
    squares = _summed(n, edges, at_i.slope.largest**2 * changes, at_j.slope.largest**2 * changes)
    sizes = _summed(n, edges, per_norm**2, per_norm**2)
    g = np.sqrt(squares * sizes)
    F = Embedding(*(Span(part.low * edges.sees, part.high * edges.sees) for part in F))
    third = at_i.pair_third.plus(at_i.third.times(Span(F.slope.low[i], F.slope.high[i])))
    third = third.plus(at_j.third.times(Span(F.slope.low[j], F.slope.high[j])))
    bend = at_i.pair_bend.plus(at_i.bend.times(Span(F.slope.low[i], F.slope.high[i])))
    bend = bend.plus(at_j.bend.times(Span(F.slope.low[j], F.slope.high[j])))
    along, across = per_norm * third.largest, 3 * per_norm * bend.largest
    for at, site in ((at_i, i), (at_j, j)):
        curved = 3 * (F.curvature.largest * g)[site]
        cubed = (F.third.largest * g * squares)[site]  # (Dρ v)² ≤ Σ f'² Σ s²
        along = along + curved * at.curvature.largest + cubed
        across = across + curved * at.turn.largest
    return _turned(along, across, moved, r)


def _densities(full: Assembly, model: EAM, ranges: EAMBounds, edges: _Edges, window: Span) -> Span:
    """Ranges of the densities of all sites; images of an atom itself stay as they are."""
    n = len(full.X)
    species = model.species(full.numbers)
    at_i = ranges.radial(species[edges.i], species[edges.j], window).density
    at_j = ranges.radial(species[edges.j], species[edges.i], window).density
    low = _summed(n, edges, at_i.low, at_j.low)
    high = _summed(n, edges, at_i.high, at_j.high)
    body = full.body
    if body.period is not None:
        for k in range(1, int(model.cutoff / body.period) + 1):
            r = np.full(n, k * body.period)
            itself = ranges.radial(species, species, Span(r, r)).density
            low, high = low + 2 * itself.low, high + 2 * itself.high
    return Span(low, high)


def _summed(n: int, edges: _Edges, at_i: Array, at_j: Array) -> Array:
    """Sums over the edges of each atom, shape ``(n,)``."""
    one = np.bincount(edges.i, weights=at_i, minlength=n)
    return np.asarray(one + np.bincount(edges.j, weights=at_j, minlength=n))


def _linear(
    full: Assembly, model: LinearModel, edges: _Edges, y: Array, per_norm: Array, moved: Array
) -> _Springs:
    """Springs of the linear potential: |D³ε[v, v, v]| ≤ M (Σ |u|²)^(3/2) at each site. Collective."""
    comm, n = full.problem.kinematics.unknowns.comm, len(full.X)
    radius = float(moved.max())
    mine = np.zeros(n, dtype=bool)
    mine[np.flatnonzero(edges.sees)[comm.rank :: comm.size]] = True
    pair, shift = find_edges(y, full.body.cell, _periodic(full), model.cutoff + radius, mine)
    vec = y[pair[1]] + shift - y[pair[0]]
    begin = np.searchsorted(pair[0], np.arange(n + 1))
    M = np.zeros(n)
    for site in np.flatnonzero(mine):
        M[site] = third_derivative_bound(model, vec[begin[site] : begin[site + 1]], radius)
    M = np.asarray(comm.allreduce(M))
    sizes = _summed(n, edges, per_norm**2, per_norm**2)
    strength = M * np.sqrt(sizes)
    both = strength[edges.i] + strength[edges.j]
    return _Springs(both, both)


def _periodic(full: Assembly) -> npt.NDArray[np.bool_]:
    return np.array([False, False, full.body.period is not None])
