# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Numbers that a state of the full atomistic model has: functions of the positions of its atoms, with their slopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from msolve.body import Body
from msolve.errors import CaseError

Array = npt.NDArray[np.float64]


class Functional(Protocol):
    """A number of a state, differentiable. Calls are collective; the answer is the same on every rank."""

    @property
    def linear(self) -> bool:
        """Whether the slope is the same in every state."""
        ...

    def value(self, y: Array) -> float:
        """The number at positions ``y (n, 3)`` [Å] of all atoms."""
        ...

    def slope(self, y: Array) -> Array:
        """Its derivative by the positions, shape ``(n, 3)``."""
        ...


@dataclass(frozen=True, eq=False)
class Linear:
    """⟨g, y - y₀⟩.

    Attributes:
        weights: g, shape ``(n, 3)``.
        rest: y₀, where the number is zero, shape ``(n, 3)`` [Å].
    """

    weights: Array
    rest: Array

    @property
    def linear(self) -> bool:
        """Always."""
        return True

    def value(self, y: Array) -> float:
        """See ``Functional``."""
        return float(np.vdot(self.weights, y - self.rest))

    def slope(self, y: Array) -> Array:
        """See ``Functional``."""
        return self.weights


def displacement(
    body: Body, X: Array, at: tuple[float, float, float], direction: tuple[float, float, float]
) -> Linear:
    """Displacement of the atom nearest to a point, along a direction [Å].

    Args:
        body: The body.
        X: Its atoms in the perfect crystal, shape ``(n, 3)`` [Å].
        at: The point [Å]; in the plane its third coordinate is not used.
        direction: Any length.

    Raises:
        CaseError: The point lies outside the body.
    """
    check_place(body, "at", at)
    point = np.array([at])
    inside = np.flatnonzero(body.shape.distance(X) < 0)
    away = np.linalg.norm((X[inside] - point)[:, : body.gdim], axis=1)
    # Of atoms equally far, rounded so that no round-off decides, the first along the axes.
    order = np.lexsort((*X[inside].T[::-1], away.round(6)))
    weights = np.zeros_like(X)
    weights[inside[order[0]]] = np.asarray(direction) / np.linalg.norm(direction)
    return Linear(weights, X)


def opening(body: Body, X: Array, behind: float) -> Linear:
    """How far the flanks of a crack have moved apart, normal to them, between facing atoms [Å].

    Args:
        body: A body with a crack.
        X: Its atoms in the perfect crystal, shape ``(n, 3)`` [Å].
        behind: Distance behind the end of the cut at which the atoms are taken [Å].

    Raises:
        CaseError: The place lies outside the body.
    """
    check_place(body, "behind", (-behind, 0.0, 0.0))
    weights = np.zeros_like(X)
    near = body.crystal.nearest_neighbour_distance
    for side in (1.0, -1.0):
        height = side * X[:, 1]
        # The outermost layer: no atom of a flank lies nearer to the plane of the cut.
        along = np.abs(X[:, 0] + behind)
        layer = height[(height > 0) & (along < 2 * near)].min()
        flank = np.flatnonzero((height > 0) & (height < layer + 1e-6))
        order = np.lexsort((*X[flank].T[::-1], along[flank].round(6)))
        weights[flank[order[0]], 1] = side
    return Linear(weights, X)


def check_place(body: Body, key: str, at: tuple[float, float, float]) -> None:
    """Refuse a point [Å] outside a body; raises ``CaseError`` that names ``key``."""
    if body.shape.distance(np.array([at]))[0] >= 0:
        told = ", ".join(f"{x:g}" for x in at[: body.gdim])
        raise CaseError([f"{key}: ({told}) angstrom lies outside the body"])
