# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A crystal turned into the laboratory: sites, layers, the plane that cleaves, neighbour shells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.crystal.integers import COINCIDENT, integer_box, steps_completing

if TYPE_CHECKING:
    from msolve.crystal.lattice import Crystal

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Sites:
    """Atoms of a perfect crystal.

    Attributes:
        positions: Laboratory coordinates, shape ``(n, 3)`` [Å].
        numbers: Atomic numbers, shape ``(n,)``.
        basis_index: Basis atom of the primitive cell that each site belongs to, shape ``(n,)``.
    """

    positions: Array
    numbers: IntArray
    basis_index: IntArray

    def __len__(self) -> int:
        """Number of sites."""
        return len(self.positions)

    def select(self, chosen: BoolArray | IntArray) -> Sites:
        """The chosen sites (mask or indices), in the order of the choice."""
        return Sites(self.positions[chosen], self.numbers[chosen], self.basis_index[chosen])


@dataclass(frozen=True, eq=False)
class Shell:
    """Directed edges from each basis atom to all its neighbours within a radius.

    Attributes:
        vectors: From centre to neighbour, laboratory axes, shape ``(e, 3)`` [Å].
        centre: Basis index of the centre, ascending, shape ``(e,)``.
        neighbour: Basis index of the neighbour, shape ``(e,)``.
    """

    vectors: Array
    centre: IntArray
    neighbour: IntArray


@dataclass(frozen=True, eq=False)
class Cleavage:
    """The plane x2 = 0 put midway into the widest gap between atomic layers.

    Attributes:
        origin: Laboratory position of the lattice point 0 that does so, shape ``(3,)`` [Å]; x1 = 0
            then lies midway between two neighbouring columns of the two layers next to the plane.
        half_gap: Distance of either layer from the plane [Å].
    """

    origin: Array
    half_gap: float


@dataclass(frozen=True, eq=False)
class OrientedCrystal:
    """A crystal together with its orientation in the laboratory; made by ``Crystal.oriented``.

    Attributes:
        crystal: The crystal in its own frame.
        rotation: Laboratory axes as rows, in the crystal frame, shape ``(3, 3)``: ``v_lab =
            rotation @ v_crystal``.
        step1: Shortest lattice vector along x1, in integer multiples of the primitive cell, shape
            ``(3,)``.
        step2: The same along x2, or ``None`` where x2 is no lattice direction.
        step3: The same along x3.
    """

    crystal: Crystal
    rotation: Array
    step1: IntArray
    step2: IntArray | None
    step3: IntArray

    @property
    def cell(self) -> Array:
        """Primitive lattice vectors as rows in laboratory axes, shape ``(3, 3)`` [Å]."""
        return self.crystal.cell @ self.rotation.T

    @property
    def period(self) -> float:
        """Lattice period along the front x3 [Å]."""
        return float(np.linalg.norm(self.step3 @ self.crystal.cell))

    @property
    def periods(self) -> tuple[float, float | None, float]:
        """Lattice periods along x1, x2 (``None`` if there is none) and x3 [Å]."""
        across = (
            None if self.step2 is None else float(np.linalg.norm(self.step2 @ self.crystal.cell))
        )
        return float(np.linalg.norm(self.step1 @ self.crystal.cell)), across, self.period

    @property
    def nearest_neighbour_distance(self) -> float:
        """Shortest distance between two atoms [Å]."""
        radius = 1.001 * float(np.linalg.norm(self.cell, axis=1).min())
        return float(np.linalg.norm(self.shell(radius).vectors, axis=1).min())

    @property
    def sublattice_spacing(self) -> float:
        """Shortest distance between two atoms of one sublattice [Å]."""
        shell = self.shell(1.001 * float(np.linalg.norm(self.cell, axis=1).min()))
        own = shell.vectors[(shell.centre == 0) & (shell.neighbour == 0)]
        return float(np.linalg.norm(own, axis=1).min())

    def scaled(self, factor: float) -> OrientedCrystal:
        """The crystal with all lengths multiplied by ``factor``, in the same orientation."""
        return replace(self, crystal=self.crystal.scaled(factor))

    def basis_positions(self) -> Array:
        """Basis atoms relative to the lattice point in laboratory axes, ``(n_basis, 3)`` [Å]."""
        return self.crystal.basis @ self.cell

    def sites(
        self,
        inside: Callable[[Array], BoolArray] | None,
        bounds: ArrayLike,
        origin: ArrayLike = (0.0, 0.0, 0.0),
    ) -> Sites:
        """All sites in a box for which ``inside`` holds, each exactly once, in a fixed order.

        Args:
            inside: Positions ``(n, 3)`` to a mask ``(n,)``; ``None`` keeps the whole box.
            bounds: Lowest and highest coordinate, closed, as rows [Å]. Two rows (x1, x2): one
                period along the front, x3 in [0, period). Three rows: a block, no wrapping.
            origin: Laboratory position of the lattice point 0 [Å].

        Returns:
            The sites, ordered by lattice row and not by distance.
        """
        box = np.asarray(bounds, dtype=float)
        if box.shape not in ((2, 2), (3, 2)) or np.any(box[:, 1] < box[:, 0]):
            raise ValueError(f"bounds need two or three rows (lowest, highest), got {box.tolist()}")
        wrap = len(box) == 2
        # Two steps that together with step3 generate the lattice: their projections generate the
        # projected lattice.
        steps = np.vstack([steps_completing(self.step3, self.cell), self.step3]) @ self.cell
        points = self.basis_positions() + np.asarray(origin, dtype=float)
        used = 2 if wrap else 3
        index = integer_box(steps[:used, :used], box, points[:, :used])
        positions = (index @ steps[:used])[:, None, :] + points[None, :, :]
        basis_index = np.tile(np.arange(len(points), dtype=np.int64), len(index))
        positions = positions.reshape(-1, 3)
        if wrap:
            positions[:, 2] = _wrapped(positions[:, 2], self.period)
        low, high = box[:, 0] - COINCIDENT, box[:, 1] + COINCIDENT
        kept = np.all((positions[:, :used] >= low) & (positions[:, :used] <= high), axis=1)
        positions, basis_index = positions[kept], basis_index[kept]
        if inside is not None:
            chosen = np.asarray(inside(positions), dtype=bool)
            positions, basis_index = positions[chosen], basis_index[chosen]
        return Sites(positions, self.crystal.numbers[basis_index], basis_index)

    def layers_along_x2(self) -> tuple[Array, float]:
        """Atomic layers normal to x2.

        Returns:
            ``(offsets, repeat)``: distinct x2 of the layers within one repeat, ascending in [0,
                repeat),
            shape ``(n_layers,)`` [Å], and the distance after which they repeat [Å].
        """
        # Lattice planes that hold step1 and step3 have the integer normal h: layer number = h .
        # (lattice coordinates).
        normal = np.cross(self.step1, self.step3)
        normal = normal // np.gcd.reduce(normal)
        repeat = 1 / float(np.linalg.norm(np.linalg.inv(self.cell) @ normal))
        offsets = np.sort(_wrapped(self.basis_positions()[:, 1], repeat))
        distinct = np.concatenate([[True], np.diff(offsets) > COINCIDENT])
        return offsets[distinct], repeat

    def cleavage(self) -> Cleavage:
        """Where to put the crystal so that x2 = 0 is the plane that cleaves.

        That is midway in the widest gap between layers.
        Of gaps equally wide, the one above the lowest layer offset is taken.
        """
        offsets, repeat = self.layers_along_x2()
        gap, middle = _widest_gap(offsets, repeat)
        along = self.periods[0]
        surface = self.sites(
            lambda X: np.abs(np.abs(X[:, 1]) - gap / 2) < 10 * COINCIDENT,
            [(0.0, along), (-gap, gap)],
            origin=(0.0, -middle, 0.0),
        )
        columns = np.sort(_wrapped(surface.positions[:, 0], along))
        columns = columns[np.concatenate([[True], np.diff(columns) > COINCIDENT])]
        return Cleavage(np.array([-_widest_gap(columns, along)[1], -middle, 0.0]), gap / 2)

    def shell(self, radius: float) -> Shell:
        """Edges to all neighbours within ``radius`` [Å]; nearest first for each basis atom."""
        points = self.basis_positions()
        spread = points[None, :, :] - points[:, None, :]
        reach = radius + float(np.linalg.norm(spread, axis=2).max())
        index = integer_box(self.cell, np.array([[-reach, reach]] * 3), np.zeros((1, 3)))
        vectors = (index @ self.cell)[None, None] + spread[:, :, None]
        length = np.linalg.norm(vectors, axis=3)
        centre, neighbour, image = np.nonzero((length < radius) & (length > COINCIDENT))
        # Rounded, so that round-off cannot reorder neighbours at equal distance.
        order = np.lexsort((np.round(length[centre, neighbour, image], 6), centre))
        centre, neighbour, image = centre[order], neighbour[order], image[order]
        return Shell(vectors[centre, neighbour, image], centre, neighbour)


def _wrapped(x: Array, period: float) -> Array:
    """Into [0, period), with what lies within the tolerance of either end put exactly on 0."""
    rest = x - period * np.floor(x / period)
    return np.where((rest < COINCIDENT) | (rest > period - COINCIDENT), 0.0, rest)


def _widest_gap(offsets: Array, repeat: float) -> tuple[float, float]:
    """Width and middle of the first of the widest gaps between ascending offsets that repeat."""
    gaps = np.diff(np.append(offsets, offsets[0] + repeat))
    widest = int(np.flatnonzero(gaps > gaps.max() - COINCIDENT)[0])
    return float(gaps[widest]), float(offsets[widest] + gaps[widest] / 2)
