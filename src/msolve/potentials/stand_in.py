# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A Cauchy-Born law that is dear to ask, with a cheap function of the strain in its place at small strains.

The function knows the Green-Lagrange strain only, so it is objective, and stress and tangent are its exact derivatives.
Towards the largest strain it was made for it goes over smoothly into the law itself, which is asked beyond.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.crystal import OrientedCrystal
from msolve.potentials.bulk import BulkCell
from msolve.potentials.bulk_forces import ForceBulkCell, ForceResponse
from msolve.potentials.cells import Response
from msolve.potentials.clock import Clock
from msolve.potentials.protocol import Potential

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

ALONE = 0.9
"""Share of the largest strain up to which the function stands alone; beyond, the law takes over smoothly."""

ROW, COLUMN = np.array([0, 1, 2, 1, 0, 0]), np.array([0, 1, 2, 2, 2, 1])
"""Rows and columns of the six components of a strain, in Voigt's order."""

TWICE = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
"""How often each of the six stands in the symmetric matrix."""

PAIR = np.zeros((3, 3), dtype=np.int64)
"""Which of the six stands at each place of the matrix."""
PAIR[ROW, COLUMN] = PAIR[COLUMN, ROW] = np.arange(6)


class StrainFunction(Protocol):
    """Energy density as a function of the six strain components, in the axes of the law it stands for."""

    def energy(self, E: Array) -> tuple[Array, Array]:
        """W ``(q,)`` and the second Piola-Kirchhoff stress ``(q, 6)`` [eV/Å³] at strains ``(q, 6)``."""
        ...

    def stiffness(self, E: Array) -> Array:
        """∂S/∂E, ``(q, 6, 6)`` [eV/Å³]: columns belong to strains of which shears stand twice in the matrix."""
        ...


class StandIn:
    """The interface of ``BulkCell``, by a function of the strain where that holds.

    Args:
        law: The law itself.
        function: What stands in its place.
        strain: Frobenius norm of the Green-Lagrange strain up to which it does [-].
        error: Largest error of its stress over the largest stress, at strains that it was not fitted to [-].

    Attributes:
        law: The law itself.
        strain: That norm.
        error: That error.
        clock: Time that the potential took.

    Note:
        Rank-local.
    """

    def __init__(
        self,
        law: BulkCell | ForceBulkCell,
        function: StrainFunction,
        strain: float,
        error: float,
    ) -> None:
        self.law = law
        self.strain, self.error = float(strain), float(error)
        self._function = function

    @property
    def model(self) -> Potential:
        """The potential."""
        return self.law.model

    @property
    def oriented(self) -> OrientedCrystal:
        """The crystal at rest."""
        return self.law.oriented

    @property
    def volume(self) -> float:
        """Volume of an atom at rest [Å³]."""
        return self.law.volume

    @property
    def n_basis(self) -> int:
        """Atoms per primitive cell."""
        return self.law.n_basis

    @property
    def clock(self) -> Clock:
        """Time that the potential took."""
        return self.law.clock

    def energy_density(self, F: ArrayLike) -> tuple[Array, Array]:
        """See ``BulkCell``."""
        points = np.asarray(F, dtype=np.float64)
        at = self._strains(points)
        W, S = np.empty(len(points)), np.empty((len(points), 6))
        W[at.inside], S[at.inside] = self._function.energy(at.E[at.inside])
        P = points @ np.where(at.inside[:, None], S, 0.0)[:, PAIR]
        if at.asked.any():
            asked = points[at.asked]
            own, P[at.asked] = self.law.energy_density(asked)
            own_S = (np.linalg.inv(asked) @ P[at.asked])[:, ROW, COLUMN]
            more = np.where(at.inside, W, 0.0)[at.asked] - own
            more_S = np.where(at.inside[:, None], S, 0.0)[at.asked] - own_S
            share, slope, _ = _handover(at.size[at.asked])
            W[at.asked] = own + _times(share, more)
            S[at.asked] = own_S + _times(share, more_S) + _times(slope * more, self._away(at))
            both = at.asked & at.inside
            P[both] = points[both] @ S[both][:, PAIR]
        return W, P

    def tangent(self, F: ArrayLike) -> Array:
        """See ``BulkCell``."""
        points = np.asarray(F, dtype=np.float64)
        at = self._strains(points)
        S, C = np.empty((len(points), 6)), np.empty((len(points), 6, 6))
        W = np.zeros(len(points))
        W[at.inside], S[at.inside] = self._function.energy(at.E[at.inside])
        C[at.inside] = self._function.stiffness(at.E[at.inside])
        out = np.empty((len(points), 3, 3, 3, 3))
        if at.asked.any():
            out[at.asked] = self._mix(points, at, W, S, C)
        near = points[at.inside]
        A = np.einsum(
            "qim,qkn,qmjnl->qijkl", near, near, C[at.inside][:, PAIR][:, :, :, PAIR], optimize=True
        )
        out[at.inside] = A + np.einsum("ik,qjl->qijkl", np.eye(3), S[at.inside][:, PAIR])
        return out

    def shifts(self, F: ArrayLike) -> Array:
        """See ``BulkCell``; the law's own."""
        return self.law.shifts(F)

    def linear_shifts(self, F: ArrayLike) -> Array:
        """See ``BulkCell``."""
        return self.law.linear_shifts(F)

    def response(self, F: ArrayLike) -> Response | ForceResponse:
        """See ``BulkCell``; the law's own."""
        return self.law.response(F)

    def _mix(self, points: Array, at: _Strains, W: Array, S: Array, C: Array) -> Array:
        """Stress and stiffness where the law is asked as well, in place; returns its own tangent there."""
        asked, band = points[at.asked], at.inside[at.asked]
        own, P = self.law.energy_density(asked)
        back = np.linalg.inv(asked)
        own_S = back @ P
        tangent = self.law.tangent(asked)
        A = tangent - np.einsum("ik,qjl->qijkl", np.eye(3), own_S)
        own_C = np.einsum("qmi,qnk,qijkl->qmjnl", back, back, A, optimize=True)[:, ROW, COLUMN][
            :, :, ROW, COLUMN
        ]
        own_S = own_S[:, ROW, COLUMN]
        more = np.where(band, W[at.asked] - own, 0.0)
        more_S = np.where(band[:, None], S[at.asked] - own_S, 0.0)
        more_C = np.where(band[:, None, None], C[at.asked] - own_C, 0.0)
        share, slope, bend = _handover(at.size[at.asked])
        away = self._away(at)
        S[at.asked] = own_S + _times(share, more_S) + _times(slope * more, away)
        cross = more_S[:, :, None] * away[:, None, :]
        length = at.size[at.asked] * self.strain**2
        turn = np.diag(1 / TWICE) / length[:, None, None]
        turn = turn - away[:, :, None] * away[:, None, :] / at.size[at.asked][:, None, None]
        C[at.asked] = own_C + _times(share, more_C)
        C[at.asked] += _times(slope, cross + np.swapaxes(cross, 1, 2)) + _times(slope * more, turn)
        C[at.asked] += _times(bend * more, away[:, :, None] * away[:, None, :])
        return tangent

    def _away(self, at: _Strains) -> Array:
        """Derivative of the relative size by the strain where the law is asked, ``(k, 6)``."""
        return np.asarray(at.E[at.asked] / (at.size[at.asked, None] * self.strain**2))

    def _strains(self, F: Array) -> _Strains:
        E = 0.5 * (np.swapaxes(F, 1, 2) @ F - np.eye(3))
        size = np.sqrt(np.einsum("qij,qij->q", E, E)) / self.strain
        # An inversion has the strain of its mirror image; the law itself refuses it.
        inside = (size < 1.0) & (np.linalg.det(F) > 0)
        return _Strains(E[:, ROW, COLUMN], size, inside, (size > ALONE) | ~inside)


class _Strains(NamedTuple):
    """Strains ``(q, 6)``, their norms over the largest, where the function counts, where the law is asked."""

    E: Array
    size: Array
    inside: BoolArray
    asked: BoolArray


def _handover(size: Array) -> tuple[Array, Array, Array]:
    """Share of the function at a relative size, and its first two derivatives: a step of fifth degree."""
    x = np.clip((size - ALONE) / (1 - ALONE), 0.0, 1.0)
    share = 1 - x**3 * (10 - 15 * x + 6 * x**2)
    slope = -30 * x**2 * (1 - x) ** 2 / (1 - ALONE)
    bend = -60 * x * (1 - x) * (1 - 2 * x) / (1 - ALONE) ** 2
    return share, slope, bend


def _times(factor: Array, values: Array) -> Array:
    """A factor for each row."""
    return np.asarray(factor.reshape(-1, *[1] * (values.ndim - 1)) * values)
