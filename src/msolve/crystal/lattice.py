# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Crystals in their own frame, by name or from any cell; the laboratory is not known here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.crystal.integers import primitive_cell, shortest_step
from msolve.crystal.oriented import OrientedCrystal
from msolve.errors import CaseError

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Directions count as orthogonal when the cosine between them is below this [-].
ORTHOGONAL = 1e-8


@dataclass(frozen=True, eq=False)
class Crystal:
    """An infinite crystal in its own Cartesian frame.

    Attributes:
        cell: Lattice vectors as rows, shape ``(3, 3)`` [Å], right-handed. The named constructors
            give primitive cells; ``from_cell`` reduces whatever it is given.
        basis: Fractional coordinates in ``cell``, shape ``(n_basis, 3)``.
        numbers: Atomic numbers, shape ``(n_basis,)``.
        axes: Vectors, as rows, that Miller directions are counted in, shape ``(3, 3)`` [Å]: the
            customary cell (the cube for cubic crystals). Each is a vector of the lattice.
    """

    cell: Array
    basis: Array
    numbers: IntArray
    axes: Array

    @classmethod
    def from_cell(cls, cell: ArrayLike, basis: ArrayLike, numbers: ArrayLike) -> Crystal:
        """A crystal from any of its cells; Miller directions refer to the given cell.

        The cell is reduced to a primitive one.

        Args:
            cell: Lattice vectors as rows, shape ``(3, 3)`` [Å].
            basis: Fractional coordinates, shape ``(n, 3)``.
            numbers: Atomic numbers, shape ``(n,)`` or one for all.

        Raises:
            CaseError: The cell has no volume, or two atoms coincide.
        """
        axes = np.array(cell, dtype=float).reshape(3, 3)
        points = np.array(basis, dtype=float).reshape(-1, 3)
        species = np.broadcast_to(np.array(numbers, dtype=np.int64), len(points))
        lengths = np.linalg.norm(axes, axis=1)
        if abs(np.linalg.det(axes)) < 1e-6 * np.prod(lengths):
            raise CaseError(
                [f"crystal.cell = {axes.tolist()}: has no volume; give three independent vectors"]
            )
        return cls(*primitive_cell(axes, points, species), axes)

    @classmethod
    def bcc(cls, a: float, number: int) -> Crystal:
        """Body-centred cubic, lattice constant ``a`` [Å]; Miller directions refer to the cube."""
        half = a / 2
        cell = half * np.array([[-1.0, 1, 1], [1, -1, 1], [1, 1, -1]])
        return cls(cell, np.zeros((1, 3)), np.array([number], dtype=np.int64), a * np.eye(3))

    @classmethod
    def fcc(cls, a: float, number: int) -> Crystal:
        """Face-centred cubic, lattice constant ``a`` [Å]; Miller directions refer to the cube."""
        return cls(
            _fcc_cell(a), np.zeros((1, 3)), np.array([number], dtype=np.int64), a * np.eye(3)
        )

    @classmethod
    def diamond(cls, a: float, number: int) -> Crystal:
        """Diamond cubic, lattice constant ``a`` [Å]; Miller directions refer to the cube."""
        basis = np.array([[0.0, 0, 0], [0.25, 0.25, 0.25]])
        return cls(_fcc_cell(a), basis, np.full(2, number, dtype=np.int64), a * np.eye(3))

    @classmethod
    def hexagonal(cls, a: float, c: float, number: int) -> Crystal:
        """Simple hexagonal [Å]: a1 and a2 at 120 degrees, a3 along the sixfold axis."""
        cell = _hexagonal_cell(a, c)
        return cls(cell, np.zeros((1, 3)), np.array([number], dtype=np.int64), cell)

    @classmethod
    def hcp(cls, a: float, c: float, number: int) -> Crystal:
        """Hexagonal close-packed [Å]: a1 and a2 at 120 degrees, a3 along the sixfold axis."""
        cell = _hexagonal_cell(a, c)
        basis = np.array([[0.0, 0, 0], [1 / 3, 2 / 3, 0.5]])
        return cls(cell, basis, np.full(2, number, dtype=np.int64), cell)

    @classmethod
    def triangular(cls, a: float, c: float, number: int = 1) -> Crystal:
        """Triangular lattice of spacing ``a`` in the plane, repeated with period ``c`` [Å].

        With ``c`` beyond the potential's cutoff the layers do not know of each other and the
        crystal is truly two-dimensional. a1 and a2 stand at 120 degrees: the axes [1,0,0], [1,2,0],
        [0,0,1] are orthogonal.
        """
        return cls.hexagonal(a, c, number)

    @property
    def n_basis(self) -> int:
        """Atoms per primitive cell."""
        return len(self.basis)

    @property
    def atomic_volume(self) -> float:
        """Volume per atom [Å³]."""
        return float(abs(np.linalg.det(self.cell))) / self.n_basis

    def scaled(self, factor: float) -> Crystal:
        """The crystal with all lengths multiplied by ``factor``."""
        return replace(self, cell=factor * self.cell, axes=factor * self.axes)

    def stretched(self, F: Array) -> Crystal:
        """The crystal with lattice vectors ``F a``; ``F`` ``(3, 3)`` in the crystal's frame [-]."""
        return replace(self, cell=self.cell @ F.T, axes=self.axes @ F.T)

    def oriented(
        self, x1: Sequence[int], x2: Sequence[int] | None, x3: Sequence[int]
    ) -> OrientedCrystal:
        """The crystal turned so that the given lattice directions lie along the laboratory axes.

        Args:
            x1: Direction along the crack's prolongation, three integers counted in ``axes``.
            x2: Direction normal to the crack plane. ``None``: the normal of the plane of x1 and x3,
                which in a crystal of low symmetry need not be a lattice direction.
            x3: Direction along the front.

        Raises:
            CaseError: A direction is zero or not integer, two are not orthogonal (by the metric of
                the lattice), or the three are left-handed.
        """
        given = {"x1": x1, "x2": x2, "x3": x3}
        problems: list[str] = []
        along: dict[str, Array] = {}
        for name, direction in given.items():
            if direction is None:
                continue
            miller = np.asarray(direction, dtype=float)
            if miller.shape != (3,) or not miller.any() or np.any(miller != np.round(miller)):
                problems.append(
                    f"crystal.orientation.{name} = {_text(direction)}: "
                    "needs three integers, not all zero"
                )
            else:
                along[name] = miller @ self.axes
        problems += self._angles_that_are_not_right(along, given)
        if not problems and "x2" in along:
            if np.dot(np.cross(along["x1"], along["x2"]), along["x3"]) < 0:
                problems.append(
                    f"crystal.orientation.x3 = {_text(x3)}: makes the axes left-handed; "
                    f"{[-int(i) for i in x3]} makes them right-handed"
                )
        if problems:
            raise CaseError(problems)
        e1 = along["x1"] / np.linalg.norm(along["x1"])
        e3 = along["x3"] / np.linalg.norm(along["x3"])
        e1 = e1 - np.dot(e1, e3) * e3
        e1 /= np.linalg.norm(e1)
        rotation = np.array([e1, np.cross(e3, e1), e3])
        steps = {name: shortest_step(vector, self.cell) for name, vector in along.items()}
        return OrientedCrystal(self, rotation, steps["x1"], steps.get("x2"), steps["x3"])

    @staticmethod
    def _angles_that_are_not_right(
        along: dict[str, Array], given: dict[str, Sequence[int] | None]
    ) -> list[str]:
        problems = []
        for one, other in (("x1", "x2"), ("x1", "x3"), ("x2", "x3")):
            if one not in along or other not in along:
                continue
            cosine = np.dot(along[one], along[other]) / (
                np.linalg.norm(along[one]) * np.linalg.norm(along[other])
            )
            if abs(cosine) > ORTHOGONAL:
                angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
                problems.append(
                    f"crystal.orientation.{other} = {_text(given[other])}: stands at {angle:.2f} "
                    f"degrees to {one} = {_text(given[one])} in this lattice, needs 90"
                )
        return problems


def _fcc_cell(a: float) -> Array:
    return a / 2 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])


def _hexagonal_cell(a: float, c: float) -> Array:
    return np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]])


def _text(direction: Sequence[int] | None) -> str:
    return (
        "none"
        if direction is None
        else str([i.item() if hasattr(i, "item") else i for i in direction])
    )
