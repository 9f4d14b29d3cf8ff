# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A bound on the third derivative of the linear potential's site energy over a ball of states, by formulas.

With it the Hessian's Lipschitz constant, which an existence theorem of Newton-Kantorovich type asks for, is known
and not sampled. Radial functions are expanded about the middle of the range of each neighbour, so that what
cancels in a sum of them cancels before bounds are taken; harmonics enter by their exact norms,
Σ |D^k S_lm|² = (½Δ)^k |u|^2l. Bounds hold up to rounding of the arithmetic that computes them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from msolve.potentials.linear import LinearModel, tensors
from msolve.potentials.linear_basis import DEGREE, Basis, PairSplines, places, solid_harmonics

Array = NDArray[np.float64]


class _Range(NamedTuple):
    """Squared lengths over that of the cutoff that neighbours may have.

    Attributes:
        middle: Shape ``(j,)``.
        half: Half the width, shape ``(j,)``.
    """

    middle: Array
    half: Array

    def largest(self, polynomials: Array) -> Array:
        """Bound of |polynomial|, by coefficients of powers from the middle ``(k, ..., j)``."""
        powers = self.half ** np.arange(len(polynomials))[(...,) + (None,) * (polynomials.ndim - 1)]
        return np.asarray((np.abs(polynomials) * powers).sum(axis=0))

    def times_x(self, polynomials: Array) -> Array:
        """The polynomials times x."""
        out = np.concatenate([polynomials * self.middle, np.zeros_like(polynomials[:1])])
        out[1:] += polynomials
        return out

    @property
    def length(self) -> Array:
        """Largest |u|, shape ``(j,)``."""
        return np.sqrt(self.middle + self.half)

    def derivatives(self, h: Array) -> list[Array]:
        """Bounds of |D^k h(|u|²)[v, ..., v]| for unit v and k = 0 to 3, each ``(..., j)``.

        With c the cosine between u and v these are h, 2|u| c h', 4 x c² h'' + 2 h' and
        |u| (8 x c³ h''' + 12 c h''), largest for c = 1 or at the other c named here.
        """
        h1, h2 = _slope(h), _slope(_slope(h))
        h3 = _slope(h2)
        second = _plus(4 * self.times_x(h2), 2 * h1)
        third = _plus(8 * self.times_x(h3), 12 * h2)
        return [
            self.largest(h),
            2 * self.length * self.largest(h1),
            np.maximum(self.largest(second), 2 * self.largest(h1)),
            # Inside, αc³ + βc is stationary where c² = -β/3α ≤ 1, with the value ⅔βc.
            self.length * np.maximum(self.largest(third), 8 * self.largest(h2)),
        ]


def third_derivative_bound(model: LinearModel, vec: Array, radius: float) -> float:
    """Bound of |D³ε[v, v, v]| over (Σ_j |v_j|²)^(3/2) for one site [eV/Å³].

    The states are all those whose edge vectors are each within ``radius`` of the given ones; v_j are changes
    of the edge vectors. As the form is symmetric, the bound is also one of |D³ε[v, v', v"]|.

    Args:
        model: The potential.
        vec: All edge vectors of the site that are shorter than cutoff plus radius, shape ``(j, 3)`` [Å].
        radius: How far each may move [Å].

    Note:
        Rank-local.
    """
    basis, cutoff = model.basis, model.cutoff
    u, rho = np.asarray(vec, dtype=np.float64) / cutoff, radius / cutoff
    r = np.linalg.norm(u, axis=1)
    low, high = np.maximum(r - rho, 0.0) ** 2, np.minimum(r + rho, 1.0) ** 2
    near = low < high if rho > 0 else r < 1.0
    if not near.any():
        return 0.0
    u, low, high = u[near], low[near], np.maximum(high[near], low[near])
    span = _Range(0.5 * (low + high), 0.5 * (high - low))
    products, angular = tensors(basis, model.coefficients)
    total = _pair_bound(model, low, high)
    if basis.n_radial:
        g = _radial(basis, span.middle)
        total = total + _scalar_third(products, u, rho, span, g)
        total = total + _angular_third(basis, angular, u, rho, span, g)
    return float(total.max()) / cutoff**3


def _slope(h: Array) -> Array:
    """Derivative of polynomials ``(k, ...)``."""
    if len(h) == 1:
        return np.zeros_like(h)
    return np.asarray(h[1:] * np.arange(1, len(h))[(...,) + (None,) * (h.ndim - 1)])


def _plus(one: Array, other: Array) -> Array:
    out = np.zeros((max(len(one), len(other)), *one.shape[1:]))
    out[: len(one)] += one
    out[: len(other)] += other
    return out


def _radial(basis: Basis, middle: Array) -> Array:
    """Coefficients of g_n by powers of x - middle, shape ``(k, n, j)``."""
    n, span = basis.n_radial, _Range(middle, np.zeros_like(middle))
    T = [np.ones((1, len(middle))), np.stack([2 * middle - 1, np.full_like(middle, 2.0)])]
    for _ in range(n - 2):
        grown = _plus(4 * span.times_x(T[-1]), -2 * T[-1])
        T.append(_plus(grown, -T[-2]))
    fade: Array = np.ones((1, len(middle)))
    for _ in range(DEGREE):
        fade = _plus(fade, -span.times_x(fade))
    out = np.zeros((n + DEGREE, n, len(middle)))
    for order, t in enumerate(T[:n]):
        for a in range(len(t)):
            out[a : a + len(fade), order] += t[a] * fade
    return out


def _pair_bound(model: LinearModel, low: Array, high: Array) -> Array:
    """Bound of |D³φ[v, v, v]| for each neighbour, interval by interval of the splines."""
    basis = model.basis
    splines = PairSplines(basis, model.coefficients[: basis.pairs, None])
    knots, table = splines.pieces()
    begin = np.maximum(knots[:-1, None], low)
    end = np.minimum(knots[1:, None], high)
    inside = begin <= end
    span = _Range(
        np.where(inside, 0.5 * (begin + end), 0.0), np.where(inside, 0.5 * (end - begin), 0.0)
    )
    shift = np.where(inside, span.middle - knots[:-1, None], 0.0)
    moved = np.zeros((DEGREE + 1, *shift.shape))
    for k in range(DEGREE + 1):
        for power in range(k, DEGREE + 1):
            moved[k] += math.comb(power, k) * table[power][:, None] * shift ** (power - k)
    return np.asarray(np.where(inside, span.derivatives(moved)[3], 0.0).max(axis=0))


def _scalar_third(products: list[Array], u: Array, rho: float, span: _Range, g: Array) -> Array:
    """Bound for the products of densities: P'''[Da, Da, Da] + 3 P''[Da, D²a] + P'[D³a], per neighbour."""
    n = g.shape[1]
    bounds = span.derivatives(g)
    x = np.einsum("ja,ja->j", u, u)
    powers = (x - span.middle) ** np.arange(len(g))[:, None]
    here = np.einsum("kj,knj->nj", powers, g)
    slope = np.einsum("kj,knj->nj", powers[: len(g) - 1], _slope(g))
    if rho == 0:
        here, slope = np.where(x < 1, here, 0.0), np.where(x < 1, slope, 0.0)
    a, spread = here.sum(axis=1), rho * bounds[1].sum(axis=1)
    P = [_derivative(products, n, order, a) for order in (1, 2, 3)]
    away = [_change(products, n, order, a, spread) for order in (1, 2, 3)]
    # Da = G v with G = G₀ + δ, |δ_n| ≤ turn_n: then G Gᵀ ⪯ (1 + η) G₀ G₀ᵀ + (1 + 1/η) n diag(turn²).
    G = 2 * slope[:, :, None] * u
    turn = rho * np.sqrt((bounds[2] ** 2).sum(axis=1))
    gram = np.einsum("mja,nja->mn", G, G)
    extra = n * np.diag(turn**2)
    eta = math.sqrt(np.trace(extra) / np.trace(gram)) if np.trace(gram) > 0 else 1.0
    gram = (1 + eta) * gram + ((1 + 1 / eta) * extra if eta > 0 else 0.0)
    values, vectors = np.linalg.eigh(gram)
    root = vectors * np.sqrt(np.maximum(values, 0.0))  # Da = root y, |y| ≤ 1
    largest = np.sqrt(np.diag(gram))
    cubic = np.linalg.norm(np.einsum("lmn,la,mb,nc->abc", P[2], root, root, root, optimize=True))
    cubic += np.einsum("lmn,l,m,n->", away[2], largest, largest, largest)
    mixed = span.derivatives(np.einsum("kmj,mn,na->kaj", g, P[1], root))[2]
    loose = (away[1] @ largest) @ bounds[2]
    linear = span.derivatives(np.einsum("knj,n->kj", g, P[0]))[3] + away[0] @ bounds[3]
    return np.asarray(cubic + 3 * (np.sqrt((mixed**2).sum(axis=0)) + loose) + linear)


def _derivative(products: list[Array], n: int, order: int, a: Array) -> Array:
    """A derivative of the polynomial P of the densities at a, ``(n,) * order``."""
    out = np.zeros((n,) * order)
    for c in products:
        if len(c) and c.ndim >= order:
            m = len(c)
            out[np.s_[:m,] * order] += math.perm(c.ndim, order) * _times(c, a[:m], c.ndim - order)
    return out


def _change(products: list[Array], n: int, order: int, a: Array, spread: Array) -> Array:
    """How far that derivative may be from its value at a where each density is within its spread."""
    out = np.zeros((n,) * order)
    for c in products:
        m, left = len(c), c.ndim - order
        for k in range(1, left + 1 if m else 0):
            part = np.abs(_times(c, a[:m], left - k))
            factor = math.perm(c.ndim, order) * math.comb(left, k)
            out[np.s_[:m,] * order] += factor * _times(part, spread[:m], k)
    return out


def _times(c: Array, a: Array, count: int) -> Array:
    for _ in range(count):
        c = c @ a
    return c


def _angular_third(
    basis: Basis, angular: list[Array], u: Array, rho: float, span: _Range, g: Array
) -> Array:
    """Bound for Σ c A·A = Σ λ |B|², B = Σ_j h(x_j) S_l(u_j): 2 B·D³B + 6 DB·D²B, per neighbour.

    DB·D²B is taken at the middle of the ball, where what cancels is seen, and its change is bounded.
    """
    total: Array = np.zeros(len(u))
    x = np.einsum("ja,ja->j", u, u)
    powers = (x - span.middle) ** np.arange(len(g))[:, None] * (x < 1)
    S = _harmonics(basis.l_max, u)
    for degree, (own, c) in enumerate(zip(places(basis), angular, strict=True), start=1):
        n = len(c)
        if n == 0:
            continue
        h, eigenvalues = _decoupled(c, g[:, :n])
        weight = np.abs(eigenvalues)
        d = span.derivatives(h)
        s = [_harmonic_norm(degree, k) * span.length ** max(degree - k, 0) for k in range(4)]
        b1 = d[1] * s[0] + d[0] * s[1]
        b2 = d[2] * s[0] + 2 * d[1] * s[1] + d[0] * s[2]
        b3 = d[3] * s[0] + 3 * d[2] * s[1] + 3 * d[1] * s[2] + d[0] * s[3]
        radial = [
            np.einsum("kj,knj->nj", powers[: len(f)], f) for f in (h, _slope(h), _slope(_slope(h)))
        ]
        value, first, second = _derivatives_here(u, radial, [part[..., own] for part in S])
        size = np.linalg.norm(value.sum(axis=1), axis=1) + rho * b1.sum(axis=1)
        total = total + 2 * (weight * size) @ b3
        total = total + 6 * _mixed_here(first, second, eigenvalues)
        turning = weight * np.sqrt((b1**2).sum(axis=1))
        change = weight * rho * np.sqrt((b2**2).sum(axis=1))
        total = total + 6 * (change @ b2 + rho * turning @ b3)
    return total


def _derivatives_here(u: Array, radial: list[Array], S: list[Array]) -> tuple[Array, Array, Array]:
    """Values ``(i, j, m)`` of h S at the given vectors and derivatives by u, ``(i, j, m, 3)``, ``(i, j, m, 3, 3)``."""
    h, h1, h2 = (f[:, :, None] for f in radial)
    S0, S1, S2 = S[0], np.moveaxis(S[1], 0, -1), np.moveaxis(S[2], (0, 1), (-2, -1))
    value = h * S0
    across = 2 * h1[..., None] * u[:, None, :]
    first = across * S0[..., None] + h[..., None] * S1
    outer = 4 * h2[..., None, None] * (u[:, :, None] * u[:, None, :])[:, None]
    outer = outer + 2 * h1[..., None, None] * np.eye(3)
    mixed = across[..., :, None] * S1[..., None, :]
    second = outer * S0[..., None, None] + mixed + np.swapaxes(mixed, -1, -2)
    return value, first, second + h[..., None, None] * S2


def _mixed_here(first: Array, second: Array, eigenvalues: Array) -> Array:
    """Bound of |Σ λ DB·D²B| at one state: sup over changes of all vectors, per neighbour that D² is of."""
    n, j, m = first.shape[:3]
    w = np.sqrt(np.abs(eigenvalues))[:, None, None, None]
    G = np.moveaxis(w * first, 2, 1).reshape(n * m, 3 * j)
    H = np.moveaxis(
        (np.sign(eigenvalues)[:, None, None, None] * w)[..., None] * second, 2, 1
    ).reshape(n * m, j, 9)
    values, vectors = np.linalg.eigh(G @ G.T)
    root = vectors * np.sqrt(np.maximum(values, 0.0))  # DB = root y, |y| ≤ 1
    along = np.einsum("ky,kjb->jyb", root, H, optimize=True)
    return np.asarray(np.linalg.norm(along, ord=2, axis=(1, 2)))


def _harmonics(l_max: int, u: Array) -> list[Array]:
    """Solid harmonics from l = 1 on and their derivatives, ``(j, k)``, ``(3, j, k)``, ``(3, 3, j, k)``."""
    exponents, table = solid_harmonics(l_max)
    table = table[:, 1:]

    def derived(*by: int) -> Array:
        factor, left = np.ones(len(exponents)), exponents.copy()
        for a in by:
            factor *= left[:, a]
            left[:, a] = np.maximum(left[:, a] - 1, 0)
        return np.asarray((factor * np.prod(u[:, None, :] ** left, axis=2)) @ table)

    axes = range(3)
    second = np.array([[derived(a, b) for b in axes] for a in axes])
    return [derived(), np.array([derived(a) for a in axes]), second]


def _decoupled(c: Array, g: Array) -> tuple[Array, Array]:
    """Radial functions h_i and λ_i with Σ c_nn' g_n g_n' = Σ λ_i h_i h_i; h ``(k, i, j)``."""
    # Measured by their values at the neighbours the functions are about orthogonal.
    values = g[0]
    gram = values @ values.T
    scale = np.trace(gram) / len(gram)
    root = np.linalg.cholesky(gram + 1e-9 * (scale or 1.0) * np.eye(len(gram)))
    # c = L⁻ᵀ (Lᵀ c L) L⁻¹ with Lᵀ c L = V λ Vᵀ: h_i = Σ_n (L⁻ᵀ V)_ni g_n.
    eigenvalues, vectors = np.linalg.eigh(root.T @ c @ root)
    turned = np.linalg.solve(root.T, vectors)
    return np.einsum("knj,ni->kij", g, turned), eigenvalues


def _harmonic_norm(degree: int, k: int) -> float:
    """Norm of D^k S_l at |u| = 1: the square root of (½Δ)^k |u|^2l there."""
    return math.sqrt(math.prod((degree - i) * (2 * (degree - i) + 1) for i in range(k)))
