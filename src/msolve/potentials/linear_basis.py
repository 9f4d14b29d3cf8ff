# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Pairs and densities of neighbours: the polynomials of edge vectors that the linear potential is made of.

With u = v / cutoff and x = |u|², the pair functions are quartic B-splines of x, and the densities are
    a_n = Σ_j g_n(x_j),   A_nlm = Σ_j g_n(x_j) S_lm(u_j),   g_n(x) = (1 - x)⁴ T_n(2x - 1),
with Chebyshev's polynomials T_n and real solid harmonics S_lm, scaled so that
Σ_m S_lm(u) S_lm(v) = |u|^l |v|^l P_l(cos). Inside the cutoff a density is a polynomial of the components of the
edge vectors; all functions end at the cutoff with three continuous derivatives. How energies are made of
them stands in :mod:`msolve.potentials.linear`.

References:
    Drautz, Phys. Rev. B 99, 014104 (2019), for expansions of this sort; the choice of polynomials is ours.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import BSpline

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Polynomial = dict[tuple[int, int, int], float]


DEGREE = 4
"""Degree of the splines and power of the cutoff function: three continuous derivatives."""


@dataclass(frozen=True)
class Basis:
    """Which pair functions and densities there are, and which products of densities are features.

    Attributes:
        cutoff: Length beyond which a neighbour has no effect [Å].
        start: Length down to which the pair splines are complete [Å]; they end within four knots below.
        pairs: Number of pair splines; their knots are evenly spaced in the distance.
        products: Numbers of densities a_n that enter products of two, three, ... of them.
        angular: Numbers of densities A_nlm that enter Σ_m A_nlm A_n'lm, for l = 1, 2, ...
    """

    cutoff: float
    start: float
    pairs: int
    products: tuple[int, ...]
    angular: tuple[int, ...]

    @property
    def spacing(self) -> float:
        """Distance of the knots [Å]."""
        return (self.cutoff - self.start) / self.pairs

    @property
    def n_radial(self) -> int:
        """Number of radial functions g_n."""
        return max((0, *self.products, *self.angular))

    @property
    def n_angular(self) -> int:
        """Number of radial functions with angles."""
        return max((0, *self.angular))

    @property
    def l_max(self) -> int:
        """Highest degree of the harmonics."""
        return len(self.angular)

    @cached_property
    def scalar_features(self) -> tuple[tuple[int, ...], ...]:
        """Densities a_n in each product, after the pairs in the order of the coefficients."""
        return tuple(
            chosen
            for order, n in enumerate(self.products, start=2)
            for chosen in combinations_with_replacement(range(n), order)
        )

    @cached_property
    def angular_features(self) -> tuple[tuple[int, int, int], ...]:
        """(l, n, n') of each power, last in the order of the coefficients."""
        return tuple(
            (degree, a, b)
            for degree, n in enumerate(self.angular, start=1)
            for a, b in combinations_with_replacement(range(n), 2)
        )

    @property
    def n_features(self) -> int:
        """Number of coefficients."""
        return self.pairs + len(self.scalar_features) + len(self.angular_features)


def places(basis: Basis) -> list[slice]:
    """Where the harmonics of l = 1, 2, ... stand, after those of lower degree; S_00 = 1 is left out."""
    return [slice(k * k - 1, k * k + 2 * k) for k in range(1, basis.l_max + 1)]


class Dense(NamedTuple):
    """Edges of some sites in a table, a row for each site; unused places hold a vector of length one cutoff.

    Attributes:
        sites: The sites, shape ``(s,)``.
        place: Place of each edge in the table laid flat, shape ``(e,)``.
        u: Edge vectors over the cutoff, shape ``(3, s, j)`` [-].
    """

    sites: torch.Tensor
    place: torch.Tensor
    u: torch.Tensor


def dense(vec: torch.Tensor, centre: torch.Tensor, cutoff: float) -> Dense:
    """Sort edge vectors ``(e, 3)`` [Å], ascending by centre, into a table."""
    sites, row, counts = torch.unique_consecutive(centre, return_inverse=True, return_counts=True)
    width = int(counts.max()) if len(counts) else 0
    first = counts.cumsum(0) - counts
    place = torch.arange(len(centre), device=vec.device) + row * width - first[row]
    empty = vec.new_zeros(3, len(sites) * width)
    empty[0] = 1.0
    u = empty.index_copy(1, place, vec.T / cutoff)
    return Dense(sites, place, u.view(3, len(sites), width))


class Densities:
    """Evaluates radial functions and harmonics of a basis; its tables live on one device.

    Monomials are divided by factorials, u_x^a u_y^b u_z^c / (a! b! c!): their derivatives are monomials again.

    Attributes:
        basis: The basis.
        table: Harmonics from l = 1 on by monomials from degree 1 on, shape ``(k, m - 1)``.
        n_low: Number of monomials of less than the highest degree.
        up: Where, from degree 1 on, each of these stands with one more power of an axis, shape ``(3, n_low)``.
    """

    def __init__(self, basis: Basis, device: str = "cpu") -> None:
        self.basis = basis
        exponents, table = solid_harmonics(basis.l_max)
        self._exponents = [(int(x), int(y), int(z)) for x, y, z in exponents]
        divisors = [math.prod(map(math.factorial, e)) for e in self._exponents]
        scaled = np.array(divisors)[1:, None] * table[1:, 1:]  # S_00 is 1
        self.table = torch.as_tensor(np.ascontiguousarray(scaled.T), device=device)
        place = {e: k for k, e in enumerate(self._exponents)}
        low = [e for e in self._exponents if sum(e) < basis.l_max]
        self.n_low = len(low)
        up = [[place[_raised(e, axis, 1)] - 1 for e in low] for axis in range(3)]
        self.up = torch.as_tensor(np.array(up, dtype=np.int64), device=device)

    def radial(self, u: torch.Tensor, order: int) -> list[torch.Tensor]:
        """Functions g_n and their first derivatives by x, each ``(n, s, j)``."""
        x = u.square().sum(0)
        t, n_radial = 2 * x - 1, self.basis.n_radial
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        # T_(n+1) = 2 t T_n - T_(n-1), and its derivatives by x, where t = 2x - 1.
        T = [[one, t], [zero, 2 * one], [zero, zero]][: order + 1]
        for n in range(1, n_radial - 1):
            for k in range(order, -1, -1):
                grown = 2 * t * T[k][n] - T[k][n - 1]
                T[k].append(grown + 4 * k * T[k - 1][n] if k else grown)
        T0, *more = (
            torch.stack(values[:n_radial]) if n_radial else x.new_zeros(0, *x.shape) for values in T
        )
        left = (1 - x).clamp(min=0)
        f, f1, f2 = left**DEGREE, -DEGREE * left ** (DEGREE - 1), DEGREE * (DEGREE - 1) * left**2
        found = [T0 * f]
        if order > 0:
            found.append(more[0] * f + T0 * f1)
        if order > 1:
            found.append(more[1] * f + 2 * more[0] * f1 + T0 * f2)
        return found

    def monomials(self, u: torch.Tensor) -> torch.Tensor:
        """Divided monomials of the components by ascending degree, shape ``(m, s, j)``."""
        known = {(0, 0, 0): torch.ones_like(u[0])}
        over = {k: u / k for k in range(1, self.basis.l_max + 1)}
        for exponent in self._exponents[1:]:
            axis = next(a for a in range(3) if exponent[a])
            known[exponent] = known[_raised(exponent, axis, -1)] * over[exponent[axis]][axis]
        return torch.stack([known[e] for e in self._exponents])

    def harmonics(self, monomials: torch.Tensor) -> torch.Tensor:
        """S_lm from l = 1 on, shape ``(k, s, j)``."""
        return torch.tensordot(self.table, monomials[1:], 1)

    def harmonic_slopes(self, monomials: torch.Tensor) -> torch.Tensor:
        """∂S_lm/∂u, shape ``(3, k, s, j)``."""
        return torch.stack(
            [torch.tensordot(self.table[:, up], monomials[: self.n_low], 1) for up in self.up]
        )


class PairSplines:
    """Sums of the pair splines with given coefficients, as one polynomial on each interval.

    Args:
        basis: The basis.
        coefficients: Columns of coefficients, shape ``(pairs, c)``.
        device: Where its table lives.
    """

    def __init__(self, basis: Basis, coefficients: Array, device: str = "cpu") -> None:
        self._spacing = basis.spacing / basis.cutoff
        self._first = basis.start / basis.cutoff - DEGREE * self._spacing
        # Empty splines at both ends let the polynomials of the others go on to where those end.
        distances = self._first + self._spacing * np.arange(-DEGREE, basis.pairs + 2 * DEGREE + 1)
        knots = np.sign(distances) * distances**2
        empty = np.zeros((DEGREE, coefficients.shape[1]))
        spline = BSpline(knots, np.concatenate([empty, coefficients, empty]), DEGREE)
        begins = knots[DEGREE : -DEGREE - 1]
        # By powers of the distance from the knot, highest first; past the end stands a row of zeros.
        table = np.zeros((DEGREE + 1, len(begins) + 1, coefficients.shape[1]))
        for k in range(DEGREE + 1):
            table[DEGREE - k, :-1] = spline(begins, nu=k) / math.factorial(k)
        self._knots = torch.as_tensor(begins, device=device)
        self._table = torch.as_tensor(table, device=device)

    def pieces(self) -> tuple[Array, Array]:
        """Ends of the intervals in x, ``(i + 1,)``, and the first column's polynomials on them.

        Their coefficients go by powers from the left end, lowest first, shape ``(5, i)``.
        """
        end = (self._first + self._spacing * len(self._knots)) ** 2
        knots = np.append(self._knots.cpu().numpy(), end)
        return knots, self._table[:, :-1, 0].flip(0).cpu().numpy()

    def __call__(self, x: torch.Tensor, order: int) -> list[torch.Tensor]:
        """Values and first derivatives by x, each ``(c, ...)``, at squared lengths over that of the cutoff."""
        n = len(self._knots)
        place = ((x.detach().sqrt() - self._first) / self._spacing).floor().long()
        place = torch.where((place >= 0) & (place < n), place, n)
        p = x - self._knots[place.clamp(max=n - 1)]
        c = [self._table[k, place].movedim(-1, 0) for k in range(DEGREE + 1)]
        found = []
        for k in range(order + 1):
            value = torch.zeros_like(c[0])
            for power in range(DEGREE, k - 1, -1):
                value = value * p + math.perm(power, k) * c[DEGREE - power]
            found.append(value)
        return found


def solid_harmonics(l_max: int) -> tuple[IntArray, Array]:
    """Real solid harmonics as polynomials.

    Args:
        l_max: Highest degree.

    Returns:
        Exponents of the monomials by ascending degree, shape ``(m, 3)``, and the coefficients of the
        harmonics of l = 0, 1, ..., each with 2l + 1 of them, shape ``(m, (l_max + 1)²)``, scaled so that
        Σ_m S_lm(u) S_lm(v) = |u|^l |v|^l P_l(cos).
    """
    exponents = [
        (a, b, d - a - b)
        for d in range(l_max + 1)
        for a in range(d, -1, -1)
        for b in range(d - a, -1, -1)
    ]
    place = {e: k for k, e in enumerate(exponents)}
    table = np.zeros((len(exponents), (l_max + 1) ** 2))
    # Re and Im of (x + iy)^m.
    real: Polynomial = {(0, 0, 0): 1.0}
    imaginary: Polynomial = {}
    across = [(real, imaginary)]
    for _ in range(l_max):
        x_real, y_imaginary = _times(real, {(1, 0, 0): 1.0}), _times(imaginary, {(0, 1, 0): -1.0})
        x_imaginary, y_real = _times(imaginary, {(1, 0, 0): 1.0}), _times(real, {(0, 1, 0): 1.0})
        real, imaginary = _plus(x_real, y_imaginary), _plus(x_imaginary, y_real)
        across.append((real, imaginary))
    column = 0
    for degree in range(l_max + 1):
        for m in range(degree + 1):
            along = _along(degree, m)
            for part in across[m][: 2 if m else 1]:
                for e, value in _times(along, part).items():
                    table[place[e], column] += value
                column += 1
    return np.array(exponents, dtype=np.int64), table


def _along(degree: int, m: int) -> Polynomial:
    """The factor of z and r² in a solid harmonic, scaled."""
    scale = math.sqrt((2 if m else 1) * math.factorial(degree - m) / math.factorial(degree + m))
    found: Polynomial = {}
    power: Polynomial = {(0, 0, 0): 1.0}
    for k in range((degree - m) // 2 + 1):
        left = degree - 2 * k
        number = (-1) ** k * math.comb(degree, k) * math.comb(degree + left, degree)
        number *= math.factorial(left) // math.factorial(left - m)
        found = _plus(found, _times(power, {(0, 0, left - m): scale * number / 2**degree}))
        power = _times(power, {(2, 0, 0): 1.0, (0, 2, 0): 1.0, (0, 0, 2): 1.0})
    return found


def _times(one: Polynomial, other: Polynomial) -> Polynomial:
    found: dict[tuple[int, int, int], float] = defaultdict(float)
    for (a, b, c), p in one.items():
        for (d, e, f), q in other.items():
            found[a + d, b + e, c + f] += p * q
    return dict(found)


def _plus(one: Polynomial, other: Polynomial) -> Polynomial:
    found: dict[tuple[int, int, int], float] = defaultdict(float, one)
    for e, value in other.items():
        found[e] += value
    return dict(found)


def _raised(exponent: tuple[int, int, int], axis: int, by: int) -> tuple[int, int, int]:
    x, y, z = exponent
    return (x + by * (axis == 0), y + by * (axis == 1), z + by * (axis == 2))
