# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Bounds of what third derivatives of an embedded-atom potential consist of, over windows of lengths and densities.

Between two knots the tables are cubics. On each such interval, a thousandth of an angstrom or less wide, the ranges of
value and derivatives are known from their ends, and interval arithmetic gives those of

    φ''' = z'''/r - 3 z''/r² + 6 z'/r³ - 6 z/r⁴,   φ''/r - φ'/r² = z''/r² - 3 z'/r³ + 3 z/r⁴   (z = r φ)

and of the same of the density f. Nothing is sampled. The range over a window is that over the intervals it touches, by
a table of the ranges of 1, 2, 4, 8 ... of them in a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from msolve.potentials.eam import EAM

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

JUMP = 1e-6
"""Largest jump at the cutoff, in first and second derivatives [eV/Å, eV/Å²], that passes for rounding of the table."""


class Span(NamedTuple):
    """Ranges: lower and upper ends, arrays of one shape."""

    low: Array
    high: Array

    @property
    def largest(self) -> Array:
        """Largest absolute value."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def plus(self, other: Span) -> Span:
        """Range of the sum."""
        return Span(self.low + other.low, self.high + other.high)

    def times(self, other: Span) -> Span:
        """Range of the product."""
        ends = [a * b for a in self for b in other]
        return Span(np.minimum.reduce(ends), np.maximum.reduce(ends))

    def scaled(self, factor: float) -> Span:
        """Range of a multiple."""
        ends = (factor * self.low, factor * self.high)
        return Span(np.minimum(*ends), np.maximum(*ends))


@dataclass(frozen=True)
class Ranges:
    """Ranges of some functions on the intervals of a grid that starts at zero.

    Attributes:
        spacing: Of the grid.
        levels: Ranges over 2^k intervals from each one on, by k; ends of shape ``(functions, tables, n)``.
    """

    spacing: float
    levels: tuple[Span, ...]

    @classmethod
    def of(cls, spacing: float, functions: list[Span]) -> Ranges:
        """From the ranges on single intervals, each ``(tables, n)``."""
        levels = [Span(np.stack([f.low for f in functions]), np.stack([f.high for f in functions]))]
        n, step = levels[0].low.shape[-1], 1
        while 2 * step <= n:
            last = levels[-1]
            later = np.minimum(np.arange(n) + step, n - 1)
            levels.append(
                Span(
                    np.minimum(last.low, last.low[..., later]),
                    np.maximum(last.high, last.high[..., later]),
                )
            )
            step *= 2
        return cls(spacing, tuple(levels))

    def over(self, table: IntArray, window: Span) -> list[Span]:
        """Ranges of each function over windows ``(w,)`` in the tables ``(w,)``; beyond the grid its ends go on."""
        n = self.levels[0].low.shape[-1]
        # One interval more on each side, should a quotient have been rounded across a knot.
        first = np.clip(np.floor(window.low / self.spacing).astype(np.int64) - 1, 0, n - 1)
        last = np.clip(np.floor(window.high / self.spacing).astype(np.int64) + 1, 0, n - 1)
        level = np.log2(last - first + 1).astype(np.int64)
        functions = self.levels[0].low.shape[0]
        low, high = np.empty((functions, len(table))), np.empty((functions, len(table)))
        for k in np.unique(level):
            here = np.flatnonzero(level == k)
            one, other = first[here], last[here] - (1 << int(k)) + 1
            ends = self.levels[k]
            low[:, here] = np.minimum(
                ends.low[:, table[here], one], ends.low[:, table[here], other]
            )
            high[:, here] = np.maximum(
                ends.high[:, table[here], one], ends.high[:, table[here], other]
            )
        return [Span(a, b) for a, b in zip(low, high, strict=True)]


class Radial(NamedTuple):
    """Ranges over windows of lengths: φ''', φ''/r - φ'/r², then f, f', f'/r, f'', f''', f''/r - f'/r²."""

    pair_third: Span
    pair_bend: Span
    density: Span
    slope: Span
    turn: Span
    curvature: Span
    third: Span
    bend: Span


class Embedding(NamedTuple):
    """Ranges over windows of densities: F', F'', F'''."""

    slope: Span
    curvature: Span
    third: Span


class EAMBounds:
    """Ranges of the derivatives of one potential.

    Args:
        model: The potential.

    Attributes:
        smooth_end: Whether its functions end smoothly at the cutoff, up to ``JUMP``: else its Hessian jumps there.
        most: Density up to which the embedding function is tabulated; beyond, its second derivative jumps.
    """

    def __init__(self, model: EAM) -> None:
        radial, embedding, d_r, d_density = model.polynomials()
        self._cutoff, self._n = model.cutoff, model.n_species
        f, z = radial[:4], radial[-4:]
        kept = int(np.ceil(model.cutoff / d_r - 1e-9))
        r = Span(
            np.asarray(np.arange(kept) * d_r),
            np.minimum(np.arange(1, kept + 1) * d_r, model.cutoff),
        )
        # Nothing is known of atoms on top of each other.
        inverse = Span(1 / r.high, 1 / np.maximum(r.low, 1e-3 * d_r))
        close, pair = _derivatives(f[..., :kept], d_r), _derivatives(z[..., :kept], d_r)
        powers = [inverse]
        for _ in range(3):
            powers.append(Span(powers[-1].low * inverse.low, powers[-1].high * inverse.high))
        z0, z1, z2, z3 = pair
        f0, f1, f2, f3 = close
        pair_third = _sum(
            z3.times(powers[0]),
            z2.times(powers[1]).scaled(-3),
            z1.times(powers[2]).scaled(6),
            z0.times(powers[3]).scaled(-6),
        )
        pair_bend = _sum(
            z2.times(powers[1]), z1.times(powers[2]).scaled(-3), z0.times(powers[3]).scaled(3)
        )
        turn = f1.times(powers[0])
        bend = f2.times(powers[0]).plus(f1.times(powers[1]).scaled(-1))
        functions = [pair_third, pair_bend, f0, f1, turn, f2, f3, bend]
        self._radial = Ranges.of(d_r, [_with_nothing_beyond(one) for one in functions])
        ends = [abs(part) for block in (f, z) for part in _at_end(block, kept, d_r, model.cutoff)]
        self.smooth_end = max(float(end.max()) for end in ends) < JUMP
        self._embedding = Ranges.of(d_density, _derivatives(embedding, d_density)[1:])
        self.most = embedding.shape[-1] * d_density

    def radial(self, site: IntArray, neighbour: IntArray, window: Span) -> Radial:
        """Ranges for windows of lengths ``(w,)`` [Å] between species; the densities are those that ``site`` feels."""
        return Radial(*self._radial.over(site * self._n + neighbour, window))

    def embedding(self, species: IntArray, window: Span) -> Embedding:
        """Ranges for windows of densities ``(w,)`` at sites of some species."""
        return Embedding(*self._embedding.over(species, window))


def _sum(first: Span, *others: Span) -> Span:
    for other in others:
        first = first.plus(other)
    return first


def _derivatives(local: Array, spacing: float) -> list[Span]:
    """Ranges of value and three derivatives of cubics in powers of the place in the interval, ``(4, tables, n)``."""
    a0, a1, a2, a3 = local
    third = Span(6 * a3 / spacing**3, 6 * a3 / spacing**3)
    ends = (2 * a2 / spacing**2, (2 * a2 + 6 * a3) / spacing**2)
    curvature = Span(np.minimum(*ends), np.maximum(*ends))
    slope = _within(a1 / spacing, (a1 + 2 * a2 + 3 * a3) / spacing, curvature, spacing)
    value = _within(a0, a0 + a1 + a2 + a3, slope, spacing)
    return [value, slope, curvature, third]


def _within(begin: Array, end: Array, slope: Span, spacing: float) -> Span:
    """Range of a function on an interval from its ends and the range of its derivative."""
    beyond = 0.5 * spacing * slope.largest
    return Span(np.minimum(begin, end) - beyond, np.maximum(begin, end) + beyond)


def _with_nothing_beyond(one: Span) -> Span:
    """One interval more, for what is beyond the cutoff: zero."""
    nothing = np.zeros((*one.low.shape[:-1], 1))
    return Span(
        np.concatenate([one.low, nothing], axis=-1), np.concatenate([one.high, nothing], axis=-1)
    )


def _at_end(local: Array, kept: int, spacing: float, cutoff: float) -> list[Array]:
    """First and second derivative at the cutoff, by table."""
    _, a1, a2, a3 = local[..., kept - 1]
    p = cutoff / spacing - (kept - 1)
    return [(a1 + 2 * a2 * p + 3 * a3 * p**2) / spacing, (2 * a2 + 6 * a3 * p) / spacing**2]
