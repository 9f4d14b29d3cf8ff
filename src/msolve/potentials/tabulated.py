# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A Cauchy-Born law that is dear to ask, replaced at small strains by a polynomial fitted to it once.

W is a polynomial of fourth degree in the six components of the Green-Lagrange strain, so that it is
objective and its stress and tangent are its exact derivatives. Its error is measured at states that
were not fitted. Beyond the strain it was made for, the law itself is asked.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.crystal import OrientedCrystal
from msolve.errors import CaseError
from msolve.potentials.bulk_forces import ForceBulkCell, ForceResponse
from msolve.potentials.clock import Clock
from msolve.potentials.protocol import ForceModel

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

DEGREE = 4
FITTED, LEFT_OUT = 120, 30
"""States that the polynomial is fitted to, seven numbers each, and those that its error is measured at."""

WORST = 0.002
"""Error of the stress over the largest stress, from which on the fit is refused [-]."""

_I, _J = np.array([0, 1, 2, 1, 0, 0]), np.array([0, 1, 2, 2, 2, 1])
_TWICE = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
_PAIR = np.zeros((3, 3), dtype=np.int64)
_PAIR[_I, _J] = _PAIR[_J, _I] = np.arange(6)


class TabulatedLaw:
    """The interface of ``ForceBulkCell``, by a polynomial where it holds.

    Args:
        law: The law itself.
        strain: Frobenius norm of the Green-Lagrange strain up to which the polynomial is used [-].

    Attributes:
        strain: That norm.
        error: Largest error of the stress at states that were not fitted, over the largest stress there [-].
        clock: Time that the black box took.

    Raises:
        CaseError: The polynomial misses the stress by more than 0.2 %: the strain is too large for it.
        ConvergenceError: The law cannot be asked at such strains.

    Note:
        Rank-local; construction asks the law for 150 states.
    """

    def __init__(self, law: ForceBulkCell, strain: float) -> None:
        self._law = law
        self.strain = float(strain)
        rng = np.random.default_rng(3)
        E = _ball(rng, FITTED + LEFT_OUT, self.strain)
        W, S = self._asked(E)
        fitted, left = slice(0, FITTED), slice(FITTED, None)
        size = float(np.abs(S).max())
        e: Array = np.asarray(E / self.strain)
        # Energies and stresses as the polynomial has them: per unit of scaled strain.
        rows = [_monomials(e[fitted], EXPONENTS)]
        right = [(W[fitted] - W[fitted].mean()) / (size * self.strain)]
        rows[0] -= rows[0].mean(axis=0)
        for a in range(6):
            rows.append(_derivative(e[fitted], EXPONENTS, (a,)))
            right.append(_TWICE[a] * S[fitted, a] / size)
        scaled = np.linalg.lstsq(np.vstack(rows), np.concatenate(right), rcond=None)[0]
        self._coefficients: Array = scaled * size * self.strain
        self._constant = float(
            np.mean(W[fitted] - _monomials(e[fitted], EXPONENTS) @ self._coefficients)
        )
        self.error = float(np.abs(self._stress(E[left]) - S[left]).max()) / size
        if self.error > WORST:
            raise CaseError(
                [
                    f"potential.tabulate = {100 * self.strain:g} %: a polynomial misses the stress of "
                    f"{law.model.name} by {100 * self.error:.2g} % there; '{50 * self.strain:g} %' may do"
                ]
            )

    @property
    def model(self) -> ForceModel:
        """The black box."""
        return self._law.model

    @property
    def oriented(self) -> OrientedCrystal:
        """The crystal at rest."""
        return self._law.oriented

    @property
    def volume(self) -> float:
        """Volume of an atom at rest [Å³]."""
        return self._law.volume

    @property
    def n_basis(self) -> int:
        """Atoms per primitive cell."""
        return self._law.n_basis

    @property
    def clock(self) -> Clock:
        """Time that the black box took."""
        return self._law.clock

    def energy_density(self, F: ArrayLike) -> tuple[Array, Array]:
        """See ``ForceBulkCell``."""
        points = np.asarray(F, dtype=np.float64)
        E, inside = self._strain_of(points)
        W, P = np.empty(len(points)), np.empty((len(points), 3, 3))
        e: Array = np.asarray(E[inside] / self.strain)
        W[inside] = self._constant + _monomials(e, EXPONENTS) @ self._coefficients
        P[inside] = points[inside] @ self._stress(E[inside])[:, _PAIR]
        if not inside.all():
            W[~inside], P[~inside] = self._law.energy_density(points[~inside])
        return W, P

    def tangent(self, F: ArrayLike) -> Array:
        """See ``ForceBulkCell``."""
        points = np.asarray(F, dtype=np.float64)
        E, inside = self._strain_of(points)
        A = np.empty((len(points), 3, 3, 3, 3))
        here = points[inside]
        S = self._stress(E[inside])[:, _PAIR]
        C = self._stiffness(E[inside])
        A[inside] = np.einsum("qim,qkn,qmjnl->qijkl", here, here, C, optimize=True)
        A[inside] += np.einsum("ik,qjl->qijkl", np.eye(3), S)
        if not inside.all():
            A[~inside] = self._law.tangent(points[~inside])
        return A

    def shifts(self, F: ArrayLike) -> Array:
        """See ``ForceBulkCell``; not tabulated."""
        return self._law.shifts(F)

    def linear_shifts(self, F: ArrayLike) -> Array:
        """See ``ForceBulkCell``."""
        return self._law.linear_shifts(F)

    def response(self, F: ArrayLike) -> ForceResponse:
        """See ``ForceBulkCell``; not tabulated."""
        return self._law.response(F)

    def _asked(self, E: Array) -> tuple[Array, Array]:
        """W and second Piola-Kirchhoff stress ``(q, 6)`` of the law itself at strains ``(q, 6)``."""
        values, vectors = np.linalg.eigh(np.eye(3) + 2 * E[:, _PAIR])
        F = (vectors * np.sqrt(values)[:, None, :]) @ np.swapaxes(vectors, 1, 2)
        W, P = self._law.energy_density(F)
        return W, (np.linalg.inv(F) @ P)[:, _I, _J]

    def _strain_of(self, F: Array) -> tuple[Array, NDArray[np.bool_]]:
        E = 0.5 * (np.swapaxes(F, 1, 2) @ F - np.eye(3))
        inside = np.sqrt(np.einsum("qij,qij->q", E, E)) <= self.strain
        # An inversion has the strain of its mirror image; the law itself refuses it.
        return E[:, _I, _J], inside & (np.linalg.det(F) > 0)

    def _stress(self, E: Array) -> Array:
        e: Array = np.asarray(E / self.strain)
        slopes = [_derivative(e, EXPONENTS, (a,)) @ self._coefficients for a in range(6)]
        return np.stack(slopes, axis=1) / (_TWICE * self.strain)

    def _stiffness(self, E: Array) -> Array:
        e: Array = np.asarray(E / self.strain)
        H = np.empty((len(E), 6, 6))
        for a in range(6):
            for b in range(a, 6):
                H[:, a, b] = H[:, b, a] = _derivative(e, EXPONENTS, (a, b)) @ self._coefficients
        H /= _TWICE[:, None] * _TWICE * self.strain**2
        return np.asarray(H[:, _PAIR][:, :, :, _PAIR])


def _exponents() -> IntArray:
    powers = [
        np.bincount(chosen, minlength=6)
        for degree in range(1, DEGREE + 1)
        for chosen in combinations_with_replacement(range(6), degree)
    ]
    return np.array(powers, dtype=np.int64)


EXPONENTS = _exponents()
"""Powers of the six strains in each monomial, shape ``(209, 6)``."""


def _monomials(e: Array, exponents: IntArray) -> Array:
    """Monomials at scaled strains ``(q, 6)``, shape ``(q, m)``."""
    powers = np.ones((DEGREE + 1, *e.shape))
    for k in range(DEGREE):
        powers[k + 1] = powers[k] * e
    out = np.ones((len(e), len(exponents)))
    for a in range(6):
        out *= powers[exponents[:, a], :, a].T
    return out


def _derivative(e: Array, exponents: IntArray, by: tuple[int, ...]) -> Array:
    """Derivatives of the monomials by some of the strains, shape ``(q, m)``."""
    factor, left = np.ones(len(exponents)), exponents.copy()
    for a in by:
        factor *= left[:, a]
        left[:, a] = np.maximum(left[:, a] - 1, 0)
    return factor * _monomials(e, left)


def _ball(rng: np.random.Generator, n: int, radius: float) -> Array:
    """Random strains ``(n, 6)`` whose Frobenius norm is at most ``radius``."""
    directions = rng.normal(size=(n, 6)) / np.sqrt(_TWICE)
    directions /= np.sqrt((_TWICE * directions**2).sum(axis=1, keepdims=True))
    return np.asarray(directions * radius * rng.uniform(size=(n, 1)) ** (1 / 6))
