# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The Cauchy-Born law of a black box: one primitive cell for each point, inner shifts relaxed.

The black box computes one small periodic crystal after another, so a point costs what a call costs:
0.05 to 0.1 ms with LAMMPS, 10 ms with calculators written in Python. Points at the same F are computed
once, and so is a whole set of points that is asked for again.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.crystal import OrientedCrystal
from msolve.errors import ConvergenceError, UnsupportedError
from msolve.potentials.clock import Clock
from msolve.potentials.protocol import CrystalForces, ForceModel

Array = NDArray[np.float64]

STEP = 5e-5
"""Strain of the central differences that give the tangent [-]; its relative error is about 1e-5 (kinks of tables)."""

ELASTIC_STEP = 2e-3
"""Strain of the differences that give elastic constants [-]."""

_AT_REST = 1e-10  # [eV/Å], force on an inner shift
_MOST_STEPS = 80


class ForceBulkCell:
    """Cauchy-Born energy density of a black box in an oriented crystal; the interface of ``BulkCell``.

    Args:
        model: The black box.
        oriented: The crystal at rest, in the axes that F refers to.

    Attributes:
        clock: Time that the black box took.

    Raises:
        UnsupportedError: The black box is not used for an element of the crystal.

    Note:
        Rank-local: makes no MPI call.
    """

    def __init__(self, model: ForceModel, oriented: OrientedCrystal) -> None:
        crystal = oriented.crystal
        strange = {int(z) for z in crystal.numbers} - model.numbers
        if strange:
            raise UnsupportedError(
                f"the potential {model.name} is used for the atomic numbers {sorted(model.numbers)}, "
                f"but the crystal holds {sorted(strange)}"
            )
        self.model = model
        self.oriented = oriented
        self.volume = crystal.atomic_volume
        self._n_basis = crystal.n_basis
        self._softness: Array | None = None
        self._first: Array | None = None
        self.clock = Clock()
        self._known: dict[str, tuple[Array, object]] = {}

    def energy_density(self, F: ArrayLike) -> tuple[Array, Array]:
        """Energy per reference volume and first Piola-Kirchhoff stress.

        Args:
            F: Deformation gradients, shape ``(q, 3, 3)`` [-].

        Returns:
            ``(W, P)``: W, shape ``(q,)`` [eV/Å³], and P = ∂W/∂F, shape ``(q, 3, 3)`` [eV/Å³].

        Raises:
            ConvergenceError: A point is inverted, or its inner shifts do not come to rest.
        """
        points = np.asarray(F, dtype=np.float64)
        known = self._known.get("stress")
        if known is None or not np.array_equal(known[0], points):
            states, which = _distinct(points)
            W, P = self._evaluate(states)
            known = self._known["stress"] = (points.copy(), (W[which], P[which]))
        W, P = known[1]  # type: ignore[misc]
        return W.copy(), P.copy()

    def tangent(self, F: ArrayLike) -> Array:
        """Second derivative of W, by central differences of P along six strains; turns are exact.

        Args:
            F: Deformation gradients, shape ``(q, 3, 3)`` [-].

        Returns:
            A = ∂P/∂F with ``A[q, i, j, k, l] = ∂P[q, i, j] / ∂F[q, k, l]``, shape
            ``(q, 3, 3, 3, 3)`` [eV/Å³].

        Raises:
            ConvergenceError: As for :meth:`energy_density`.
        """
        points = np.asarray(F, dtype=np.float64)
        known = self._known.get("tangent")
        if known is None or not np.array_equal(known[0], points):
            states, which = _distinct(points)
            known = self._known["tangent"] = (points.copy(), self._differences(states)[which])
        return np.array(known[1])

    def stiffness(self) -> Array:
        """The tangent at rest, over strains of 0.2 %: elastic constants, ``(3, 3, 3, 3)`` [eV/Å³].

        Wider than those of :meth:`tangent`, because tables have kinks in their curvature, and what lies on
        one knot of one is not what a specimen has.
        """
        return np.asarray(self._differences(np.eye(3)[None], ELASTIC_STEP)[0])

    @property
    def n_basis(self) -> int:
        """Atoms per primitive cell."""
        return self._n_basis

    def shifts(self, F: ArrayLike) -> Array:
        """Inner shifts of the sublattices against the first at ``F``, shape ``(q, b, 3)`` [Å].

        Atom b of a cell stands at F times its place in the crystal at rest, plus its shift.
        """
        points = np.asarray(F, dtype=np.float64)
        if self._n_basis == 1:
            return np.zeros((len(points), 1, 3))
        states, which = _distinct(points)
        places, _ = self._relaxed(states)
        moved = places - self.oriented.crystal.basis
        return np.asarray((moved - moved[:, :1]) @ self._cells(states))[which]

    def linear_shifts(self, F: ArrayLike) -> Array:
        """Inner shifts as the crystal at rest begins to follow the stretch of F, ``(q, b, 3)`` [Å]."""
        points = np.asarray(F, dtype=np.float64)
        if self._n_basis == 1:
            return np.zeros((len(points), 1, 3))
        if self._first is None:
            self._first = self._shift_slopes(np.eye(3)[None])[0]
        left, stretch, right = np.linalg.svd(points)
        U = np.swapaxes(right, 1, 2) @ (stretch[:, :, None] * right)
        at_rest = np.einsum("bcij,qij->qbc", self._first, U - np.eye(3))
        return np.asarray(at_rest @ np.swapaxes(left @ right, 1, 2))

    def response(self, F: ArrayLike) -> ForceResponse:
        """Inner shifts at ``F`` ``(q, 3, 3)``, and how they follow a change of F."""
        points = np.asarray(F, dtype=np.float64)
        return ForceResponse(self, points, self.shifts(points))

    def _shift_slopes(self, F: Array) -> Array:
        """Derivative of the shifts by F, by central differences, ``(q, b, 3, 3, 3)`` [Å]."""
        q, step = len(F), max(STEP, (self.model.noise / 10) ** (1 / 3))
        directions, changes = np.empty((q, 9, 9)), np.empty((q, 3 * self._n_basis, 9))
        for k, strain in enumerate(_SYMMETRIC):
            way = F @ strain
            ends = [self.shifts(F + sign * step * way) for sign in (1, -1)]
            directions[:, :, k] = way.reshape(q, 9)
            changes[:, :, k] = ((ends[0] - ends[1]) / (2 * step)).reshape(q, -1)
        shifts = self.shifts(F)
        for k, turn in enumerate(_TURNS):
            directions[:, :, 6 + k] = (turn @ F).reshape(q, 9)
            changes[:, :, 6 + k] = (shifts @ turn.T).reshape(q, -1)
        return (changes @ np.linalg.inv(directions)).reshape(q, self._n_basis, 3, 3, 3)

    def _evaluate(self, F: Array) -> tuple[Array, Array]:
        _, found = self._relaxed(F)
        whole = self._n_basis * self.volume
        P = found.virial @ np.swapaxes(np.linalg.inv(F), 1, 2) / whole
        return np.asarray(found.energy / whole), np.asarray(P)

    def _differences(self, F: Array, least: float = STEP) -> Array:
        q = len(F)
        step = max(least, (self.model.noise / 10) ** (1 / 3))
        directions, changes = np.empty((q, 9, 9)), np.empty((q, 9, 9))
        for k, strain in enumerate(_SYMMETRIC):
            way = F @ strain
            ends = [self._evaluate(F + sign * step * way)[1] for sign in (1, -1)]
            directions[:, :, k] = way.reshape(q, 9)
            changes[:, :, k] = ((ends[0] - ends[1]) / (2 * step)).reshape(q, 9)
        P = self.energy_density(F)[1] if q else np.zeros((0, 3, 3))
        for k, turn in enumerate(_TURNS):
            # P(QF) = Q P(F): no evaluation needed along these.
            directions[:, :, 6 + k] = (turn @ F).reshape(q, 9)
            changes[:, :, 6 + k] = (turn @ P).reshape(q, 9)
        A = changes @ np.linalg.inv(directions)
        return (0.5 * (A + np.swapaxes(A, 1, 2))).reshape(q, 3, 3, 3, 3)

    def _cells(self, F: Array) -> Array:
        return np.asarray(self.oriented.cell @ np.swapaxes(F, 1, 2))

    def _relaxed(self, F: Array) -> tuple[Array, CrystalForces]:
        """Fractional coordinates at which no inner shift feels a force, and what is known there."""
        if not np.isfinite(F).all() or (np.linalg.det(F) <= 0).any():
            raise ConvergenceError(
                "the crystal is turned inside out somewhere in the continuum; try smaller load "
                "steps or a larger core"
            )
        crystal = self.oriented.crystal
        cells = self._cells(F)
        places = np.broadcast_to(crystal.basis, (len(F), *crystal.basis.shape)).copy()
        with self.clock:
            found = self.model.crystals(cells, places, crystal.numbers)
        if self._n_basis == 1:
            return places, found
        kept = _Kept(found.energy.copy(), found.gradient.copy(), found.virial.copy())
        rest = max(_AT_REST, 30 * self.model.noise)
        softness = self._inner_softness()
        for _ in range(_MOST_STEPS):
            pull = kept.gradient - kept.gradient.mean(axis=1, keepdims=True)
            moving = np.flatnonzero(np.abs(pull).max(axis=(1, 2)) > rest)
            if len(moving) == 0:
                return places, CrystalForces(*kept)
            left, _, right = np.linalg.svd(F[moving])
            turn = left @ right
            back = pull[moving][:, 1:] @ turn
            step = -(back.reshape(len(moving), -1) @ softness.T).reshape(back.shape)
            step *= np.minimum(1.0, 0.2 / np.abs(step).max(axis=(1, 2)))[:, None, None]
            places[moving, 1:] += step @ np.swapaxes(turn, 1, 2) @ np.linalg.inv(cells[moving])
            with self.clock:
                again = self.model.crystals(cells[moving], places[moving], crystal.numbers)
            for into, new in zip(kept, again, strict=True):
                into[moving] = new
        raise ConvergenceError(
            "the inner shifts of the crystal do not come to rest somewhere in the continuum; try "
            "smaller load steps or a larger core"
        )

    def _inner_softness(self) -> Array:
        """Inverse Hessian by the inner shifts at rest, ``(3 (b - 1), 3 (b - 1))`` [Å²/eV]; computed once."""
        if self._softness is None:
            crystal, h = self.oriented.crystal, 1e-3
            n = 3 * (self._n_basis - 1)
            cells = np.broadcast_to(self.oriented.cell, (2 * n, 3, 3))
            moved = np.zeros((2 * n, self._n_basis, 3))
            k = np.arange(n)
            moved[k, 1 + k // 3, k % 3], moved[n + k, 1 + k // 3, k % 3] = h, -h
            places = crystal.basis + moved @ np.linalg.inv(self.oriented.cell)
            pull = self.model.crystals(cells, places, crystal.numbers).gradient[:, 1:]
            pull = pull.reshape(2 * n, n)
            H = (pull[:n] - pull[n:]) / (2 * h)
            self._softness = np.asarray(np.linalg.inv(0.5 * (H + H.T)))
        return self._softness


class ForceResponse:
    """Inner shifts of a black box's crystal, and their derivative; the interface of ``Response``.

    Attributes:
        shifts: Shape ``(q, b, 3)`` [Å].
    """

    def __init__(self, law: ForceBulkCell, F: Array, shifts: Array) -> None:
        self.shifts = shifts
        self._law, self._F = law, F

    @cached_property
    def _slopes(self) -> Array:
        return self._law._shift_slopes(self._F)

    def along(self, change: Array) -> Array:
        """Change of the shifts with F, ``(q, 3, 3)`` [-] to ``(q, b, 3)`` [Å]."""
        return np.asarray(np.einsum("qbcij,qij->qbc", self._slopes, change))

    def back(self, gradient: Array) -> Array:
        """The transpose: from a gradient by the shifts ``(q, b, 3)`` to one by F ``(q, 3, 3)``."""
        return np.asarray(np.einsum("qbcij,qbc->qij", self._slopes, gradient))


class _Kept(NamedTuple):
    energy: Array
    gradient: Array
    virial: Array


def _unit(*entries: tuple[int, int, float]) -> Array:
    matrix = np.zeros((3, 3))
    for i, j, value in entries:
        matrix[i, j] = value
    return matrix


_PAIRS = ((1, 2), (0, 2), (0, 1))
_SYMMETRIC = [_unit((i, i, 1.0)) for i in range(3)] + [
    _unit((i, j, 0.5), (j, i, 0.5)) for i, j in _PAIRS
]
_TURNS = [_unit((i, j, 1.0), (j, i, -1.0)) for i, j in _PAIRS]


def _distinct(F: Array) -> tuple[Array, NDArray[np.int64]]:
    """The different states among ``F``, and which of them each is."""
    if len(F) == 0:
        return F, np.zeros(0, dtype=np.int64)
    rows, which = np.unique(F.reshape(-1, 9), axis=0, return_inverse=True)
    return rows.reshape(-1, 3, 3), which.reshape(-1)
