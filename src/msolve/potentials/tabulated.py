# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A polynomial fitted once to a Cauchy-Born law at small strains.

W is a polynomial of fourth degree in the six components of the Green-Lagrange strain. Its error is measured at
states that were not fitted.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from msolve.errors import CaseError
from msolve.potentials.bulk import BulkCell
from msolve.potentials.bulk_forces import ForceBulkCell
from msolve.potentials.stand_in import COLUMN, PAIR, ROW, TWICE, StandIn

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

DEGREE = 4
FITTED, LEFT_OUT = 120, 30
"""States that the polynomial is fitted to, seven numbers each, and those that its error is measured at."""

WORST = 0.002
"""Error of the stress over the largest stress, from which on the fit is refused [-]."""


def tabulated(law: ForceBulkCell, strain: float) -> StandIn:
    """A polynomial in the place of a law. Rank-local; asks the law for 150 states.

    Args:
        law: The law itself.
        strain: Frobenius norm of the Green-Lagrange strain up to which the polynomial is used [-].

    Raises:
        CaseError: The polynomial misses the stress by more than 0.2 %: the strain is too large for it.
        ConvergenceError: The law cannot be asked at such strains.
    """
    rng = np.random.default_rng(3)
    E = ball(rng.uniform(size=FITTED + LEFT_OUT) ** (1 / 6) * strain, rng)
    W, S = asked(law, E)
    left = slice(FITTED, None)
    size = float(np.abs(S).max())
    function = Polynomial(E[:FITTED], W[:FITTED], S[:FITTED], strain)
    error = float(np.abs(function.energy(E[left])[1] - S[left]).max()) / size
    if error > WORST:
        raise CaseError(
            [
                f"potential.tabulate = {100 * strain:g} %: a polynomial misses the stress of "
                f"{law.model.name} by {100 * error:.2g} % there; '{50 * strain:g} %' may do"
            ]
        )
    return StandIn(law, function, strain, error)


def asked(law: BulkCell | ForceBulkCell, E: Array) -> tuple[Array, Array]:
    """W ``(q,)`` and second Piola-Kirchhoff stress ``(q, 6)`` [eV/Å³] of a law at strains ``(q, 6)``."""
    values, vectors = np.linalg.eigh(np.eye(3) + 2 * E[:, PAIR])
    F = (vectors * np.sqrt(values)[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    W, P = law.energy_density(F)
    return W, (np.linalg.inv(F) @ P)[:, ROW, COLUMN]


def ball(sizes: Array, rng: np.random.Generator) -> Array:
    """Strains ``(n, 6)`` of given Frobenius norms ``(n,)`` in random directions."""
    directions = rng.normal(size=(len(sizes), 6)) / np.sqrt(TWICE)
    directions /= np.sqrt((TWICE * directions**2).sum(axis=1, keepdims=True))
    return np.asarray(directions * sizes[:, None])


class Polynomial:
    """Energy density as a polynomial in six strains, fitted to energies and stresses.

    Args:
        E: Strains, ``(n, 6)``.
        W: Energy densities there, ``(n,)`` [eV/Å³].
        S: Second Piola-Kirchhoff stresses there, ``(n, 6)`` [eV/Å³].
        strain: Their largest norm.
    """

    def __init__(self, E: Array, W: Array, S: Array, strain: float) -> None:
        self.strain = strain
        size = float(np.abs(S).max())
        e: Array = np.asarray(E / strain)
        # Energies and stresses as the polynomial has them: per unit of scaled strain.
        rows = [_monomials(e, EXPONENTS)]
        right = [(W - W.mean()) / (size * strain)]
        rows[0] -= rows[0].mean(axis=0)
        for a in range(6):
            rows.append(_derivative(e, EXPONENTS, (a,)))
            right.append(TWICE[a] * S[:, a] / size)
        scaled = np.linalg.lstsq(np.vstack(rows), np.concatenate(right), rcond=None)[0]
        self._coefficients: Array = scaled * size * strain
        self._constant = float(np.mean(W - _monomials(e, EXPONENTS) @ self._coefficients))

    def energy(self, E: Array) -> tuple[Array, Array]:
        """See ``StrainFunction``."""
        e: Array = np.asarray(E / self.strain)
        slopes = [_derivative(e, EXPONENTS, (a,)) @ self._coefficients for a in range(6)]
        W = self._constant + _monomials(e, EXPONENTS) @ self._coefficients
        return W, np.stack(slopes, axis=1) / (TWICE * self.strain)

    def stiffness(self, E: Array) -> Array:
        """See ``StrainFunction``."""
        e: Array = np.asarray(E / self.strain)
        H = np.empty((len(E), 6, 6))
        for a in range(6):
            for b in range(a, 6):
                H[:, a, b] = H[:, b, a] = _derivative(e, EXPONENTS, (a, b)) @ self._coefficients
        return np.asarray(H / (TWICE[:, None] * TWICE * self.strain**2))


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
