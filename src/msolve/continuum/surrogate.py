# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A polynomial stand-in for an expensive Cauchy-Born law, with its error measured and a range it keeps to.

W is a polynomial in the Green strain E = (FᵀF - I)/2, so the stand-in is objective whatever its
coefficients. The parts up to second order are the law's own (energy, stress and elastic constants at F = I);
the higher ones are fitted to its energies and stresses on random strains. Strains beyond the fitted range go
to the law itself: the stand-in is never extrapolated.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg

from msolve.continuum.energy import Material

Array = npt.NDArray[np.float64]

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_log = logging.getLogger("msolve")


class PolynomialLaw:
    """Polynomial in the Green strain, fitted to a material. Satisfies ``Material``.

    Args:
        exact: The law to stand in for.
        radius: Largest Frobenius norm of the Green strain that is fitted [-].
        degree: Degree of the polynomial, at least 3.
        samples_per_term: Random strains for each fitted coefficient.
        seed: Seed of the random strains; the same on every rank.

    Attributes:
        error: Root mean square and largest error of the second Piola-Kirchhoff stress on strains that the fit
            has not seen, each relative to the largest stress of that sample's strain magnitude [-].
    """

    def __init__(
        self,
        exact: Material,
        *,
        radius: float = 0.08,
        degree: int = 6,
        samples_per_term: float = 1.5,
        seed: int = 20,
    ):
        self.exact, self.radius, self.degree = exact, radius, degree
        self._monomials = _Monomials.of(degree)
        self._taylor(exact)
        n = int(samples_per_term * self._monomials.size)
        E = _random_strains(n + n // 4, radius, np.random.default_rng(seed))
        W, S = self._sample(exact, E)
        train, test = slice(0, n), slice(n, None)
        self._fit(E[train], W[train], S[train])
        self.error = self._measure(E[test], S[test])
        _log.info(
            "Cauchy-Born polynomial of degree %d, |E| <= %g: stress error rms %.1e, largest %.1e (relative)",
            degree,
            radius,
            *self.error,
        )

    def energy_density(self, F: Array) -> tuple[Array, Array]:
        """See ``Material``."""
        E = _green(F)
        inside = np.linalg.norm(_unfold(E), axis=(1, 2)) <= self.radius
        table = self._monomials.table(E, self.degree)
        W = table @ self._energy
        S = _unfold(table[:, : len(self._stress)] @ self._stress)
        P = F @ S
        if not inside.all():
            W[~inside], P[~inside] = self.exact.energy_density(F[~inside])
        return W, P

    def tangent(self, F: Array) -> Array:
        """See ``Material``."""
        E = _green(F)
        inside = np.linalg.norm(_unfold(E), axis=(1, 2)) <= self.radius
        table = self._monomials.table(E, self.degree - 1)
        S = _unfold(table @ self._stress)
        D = (table[:, : len(self._stiffness)] @ self._stiffness).reshape(-1, 6, 6)
        D = D[:, _INDEX][:, :, :, _INDEX]  # (n, 3, 3, 3, 3)
        A = np.einsum("niI,nkK,nIJKL->niJkL", F, F, D, optimize=True)
        A += np.einsum("ik,nJL->niJkL", np.eye(3), S)
        if not inside.all():
            A[~inside] = self.exact.tangent(F[~inside])
        return A

    def _taylor(self, exact: Material) -> None:
        identity = np.eye(3)[None]
        W0, P0 = exact.energy_density(identity)
        A0 = exact.tangent(identity)[0] - np.einsum("ik,JL->iJkL", np.eye(3), P0[0])
        rows = [A0[i, j] for i, j in _VOIGT]
        self._W0, self._S0 = float(W0[0]), _fold(P0)[0]
        D = np.array([[0.5 * (r[k, m] + r[m, k]) for k, m in _VOIGT] for r in rows])
        self._D0 = 0.5 * (D + D.T)

    def _sample(self, exact: Material, E: Array) -> tuple[Array, Array]:
        """Energy density and second Piola-Kirchhoff stress (Voigt) of the exact law at Green strains ``(n, 6)``."""
        values, vectors = np.linalg.eigh(np.eye(3) + 2 * _unfold(E))
        U = np.einsum("nij,nj,nkj->nik", vectors, np.sqrt(values), vectors)
        W, P = exact.energy_density(U)
        return W, _fold(np.linalg.solve(U, P))

    def _fit(self, E: Array, W: Array, S: Array) -> None:
        terms = self._monomials
        low = terms.count(2)
        size = np.linalg.norm(_unfold(E), axis=(1, 2))
        table = terms.table(E, self.degree)
        linear = E @ (self._D0 * _DOUBLE[:, None])
        rest_W = W - self._W0 - E @ (_DOUBLE * self._S0) - 0.5 * np.sum(E * _DOUBLE * linear, axis=1)
        rest_S = S - self._S0 - linear
        # Both parts scaled by |E|² and |E|: the relative error counts, and small strains are not drowned.
        rows = [table[:, low:] / size[:, None] ** 2]
        right = [rest_W / size**2]
        for v in range(6):
            D = terms.derivative(v)
            rows.append((table[:, : D.shape[0]] @ D)[:, low:] / (_DOUBLE[v] * size[:, None]))
            right.append(rest_S[:, v] / size)
        matrix, b = np.vstack(rows), np.concatenate(right)
        scale = np.linalg.norm(matrix, axis=0)
        high = linalg.lstsq(matrix / scale, b, lapack_driver="gelsy")[0] / scale
        c = np.zeros(terms.size)
        c[0], c[1:7] = self._W0, _DOUBLE * self._S0
        for (p, q), k in terms.second_order().items():
            c[k] = _DOUBLE[p] * _DOUBLE[q] * self._D0[p, q] * (0.5 if p == q else 1.0)
        c[low:] = high
        derivatives = [terms.derivative(v) @ c / _DOUBLE[v] for v in range(6)]
        self._energy = c
        self._stress = np.stack(derivatives, axis=1)
        second = [
            [terms.derivative(w)[: terms.count(self.degree - 2), : len(d)] @ d / _DOUBLE[w] for w in range(6)]
            for d in derivatives
        ]
        self._stiffness = np.moveaxis(np.array(second), 2, 0).reshape(-1, 36)

    def _measure(self, E: Array, S: Array) -> tuple[float, float]:
        table = self._monomials.table(E, self.degree - 1)
        size = np.linalg.norm(_unfold(E), axis=(1, 2))
        error = np.linalg.norm(_unfold(table @ self._stress - S), axis=(1, 2)) / size
        scale = np.max(np.linalg.norm(_unfold(S), axis=(1, 2)) / size)
        return float(np.sqrt(np.mean(error**2)) / scale), float(error.max() / scale)


_DOUBLE = np.array([1.0, 1, 1, 2, 2, 2])  # how often a Voigt component occurs in the tensor
_INDEX = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


def _green(F: Array) -> Array:
    E = 0.5 * (np.swapaxes(F, 1, 2) @ F - np.eye(3))
    return _fold(E)


def _fold(tensor: Array) -> Array:
    return np.stack([0.5 * (tensor[:, i, j] + tensor[:, j, i]) for i, j in _VOIGT], axis=1)


def _unfold(voigt: Array) -> Array:
    return np.asarray(voigt[:, _INDEX])




def _random_strains(n: int, radius: float, rng: np.random.Generator) -> Array:
    """Random symmetric strains, uniform in direction, Frobenius norm spread over (0, radius]; Voigt ``(n, 6)``."""
    E = rng.normal(size=(n, 6)) / np.sqrt(_DOUBLE)
    E /= np.linalg.norm(_unfold(E), axis=(1, 2))[:, None]
    return np.asarray(E * radius * rng.uniform(size=(n, 1)) ** (1 / 3))


@dataclass(frozen=True)
class _Monomials:
    """All monomials of six variables up to a degree, ordered by degree.

    Attributes:
        exponents: Exponent tuples.
        parent: For each monomial but the first, the one it is a multiple of.
        variable: And the variable that it is multiplied by.
    """

    exponents: tuple[tuple[int, ...], ...]
    parent: tuple[int, ...]
    variable: tuple[int, ...]

    @classmethod
    def of(cls, degree: int) -> _Monomials:
        exponents = [(0,) * 6]
        for d in range(1, degree + 1):
            for combination in itertools.combinations_with_replacement(range(6), d):
                exponents.append(tuple(combination.count(v) for v in range(6)))
        index = {e: k for k, e in enumerate(exponents)}
        parent, variable = [0], [0]
        for e in exponents[1:]:
            v = next(k for k in range(6) if e[k])
            parent.append(index[_lower(e, v)])
            variable.append(v)
        return cls(tuple(exponents), tuple(parent), tuple(variable))

    @property
    def size(self) -> int:
        return len(self.exponents)

    def count(self, degree: int) -> int:
        """Monomials up to a degree."""
        return sum(1 for e in self.exponents if sum(e) <= degree)

    def table(self, x: Array, degree: int) -> Array:
        """Values of the monomials up to ``degree`` at ``x (n, 6)``, shape ``(n, count)``."""
        columns = np.ones((self.count(degree), len(x)))
        variables = np.ascontiguousarray(x.T)
        for k in range(1, len(columns)):
            np.multiply(columns[self.parent[k]], variables[self.variable[k]], out=columns[k])
        return columns.T

    def derivative(self, v: int) -> Array:
        """Matrix from coefficients to those of the derivative by variable ``v`` (one degree less)."""
        lower = self.count(sum(self.exponents[-1]) - 1)
        index = {e: k for k, e in enumerate(self.exponents)}
        D = np.zeros((lower, self.size))
        for k, e in enumerate(self.exponents):
            if e[v]:
                D[index[_lower(e, v)], k] = e[v]
        return D

    def second_order(self) -> dict[tuple[int, int], int]:
        """Index of each product of two variables, keyed by the ordered pair."""
        out = {}
        for k, e in enumerate(self.exponents):
            if sum(e) == 2:
                pair = [v for v in range(6) for _ in range(e[v])]
                out[pair[0], pair[1]] = k
        return out


def _lower(exponent: tuple[int, ...], v: int) -> tuple[int, ...]:
    return (*exponent[:v], exponent[v] - 1, *exponent[v + 1 :])
