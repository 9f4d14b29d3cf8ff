# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Perfect crystals: lattice, basis, orientation in the laboratory, and the sites they put in a region.

Everything here is geometry of an infinite perfect crystal, exact up to round-off and independent of any potential:
no defects, no energies, no MPI. A crystal is any lattice with any basis; the laboratory axes are x1 (along the
crack), x2 (normal to it) and x3 (the front). Quasi-two-dimensional problems hold one lattice period along x3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import gcd

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from msolve.errors import CaseError

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# Coordinates that differ by less are the same coordinate [Å]; far above round-off, far below any spacing.
COINCIDENT = 1e-6
# Directions count as orthogonal when the cosine between them is below this [-].
ORTHOGONAL = 1e-8


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
        origin: Laboratory position of the lattice point 0 that does so, shape ``(3,)`` [Å]; x1 = 0 then
            lies midway between two neighbouring columns of the two layers next to the plane.
        half_gap: Distance of either layer from the plane [Å].
    """

    origin: Array
    half_gap: float


@dataclass(frozen=True, eq=False)
class Crystal:
    """An infinite crystal in its own Cartesian frame.

    Attributes:
        cell: Lattice vectors as rows, shape ``(3, 3)`` [Å], right-handed. The named constructors give primitive
            cells; ``from_cell`` reduces whatever it is given.
        basis: Fractional coordinates in ``cell``, shape ``(n_basis, 3)``.
        numbers: Atomic numbers, shape ``(n_basis,)``.
        axes: Vectors, as rows, that Miller directions are counted in, shape ``(3, 3)`` [Å]: the customary cell
            (the cube for cubic crystals). Each is a vector of the lattice.
    """

    cell: Array
    basis: Array
    numbers: IntArray
    axes: Array

    @classmethod
    def from_cell(cls, cell: ArrayLike, basis: ArrayLike, numbers: ArrayLike) -> Crystal:
        """A crystal from any of its cells, reduced to a primitive one; Miller directions refer to ``cell``.

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
            raise CaseError([f"crystal.cell = {axes.tolist()}: has no volume; give three independent vectors"])
        return cls(*_primitive(axes, points, species), axes)

    @classmethod
    def bcc(cls, a: float, number: int) -> Crystal:
        """Body-centred cubic, lattice constant ``a`` [Å]; Miller directions refer to the cube."""
        half = a / 2
        cell = half * np.array([[-1.0, 1, 1], [1, -1, 1], [1, 1, -1]])
        return cls(cell, np.zeros((1, 3)), np.array([number], dtype=np.int64), a * np.eye(3))

    @classmethod
    def fcc(cls, a: float, number: int) -> Crystal:
        """Face-centred cubic, lattice constant ``a`` [Å]; Miller directions refer to the cube."""
        return cls(_fcc_cell(a), np.zeros((1, 3)), np.array([number], dtype=np.int64), a * np.eye(3))

    @classmethod
    def diamond(cls, a: float, number: int) -> Crystal:
        """Diamond cubic, lattice constant ``a`` [Å]; Miller directions refer to the cube."""
        basis = np.array([[0.0, 0, 0], [0.25, 0.25, 0.25]])
        return cls(_fcc_cell(a), basis, np.full(2, number, dtype=np.int64), a * np.eye(3))

    @classmethod
    def hexagonal(cls, a: float, c: float, number: int) -> Crystal:
        """Simple hexagonal, one atom per cell [Å]; a1 and a2 at 120 degrees, a3 along the sixfold axis."""
        cell = _hexagonal_cell(a, c)
        return cls(cell, np.zeros((1, 3)), np.array([number], dtype=np.int64), cell)

    @classmethod
    def hcp(cls, a: float, c: float, number: int) -> Crystal:
        """Hexagonal close-packed [Å]; a1 and a2 at 120 degrees, a3 along the sixfold axis."""
        cell = _hexagonal_cell(a, c)
        basis = np.array([[0.0, 0, 0], [1 / 3, 2 / 3, 0.5]])
        return cls(cell, basis, np.full(2, number, dtype=np.int64), cell)

    @classmethod
    def triangular(cls, a: float, c: float, number: int = 1) -> Crystal:
        """Triangular lattice of spacing ``a`` in the plane, repeated with period ``c`` [Å].

        With ``c`` beyond the potential's cutoff the layers do not know of each other and the crystal is
        truly two-dimensional. a1 and a2 stand at 120 degrees: the axes [1,0,0], [1,2,0], [0,0,1] are orthogonal.
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
        """The homogeneously deformed crystal: lattice vectors ``F a``, with ``F`` (3, 3) in the crystal frame."""
        return replace(self, cell=self.cell @ F.T, axes=self.axes @ F.T)

    def oriented(
        self, x1: Sequence[int], x2: Sequence[int] | None, x3: Sequence[int]
    ) -> OrientedCrystal:
        """The crystal turned so that the given lattice directions lie along the laboratory axes.

        Args:
            x1: Direction along the crack's prolongation, three integers counted in ``axes``.
            x2: Direction normal to the crack plane. ``None``: the normal of the plane of x1 and x3, which in
                a crystal of low symmetry need not be a lattice direction.
            x3: Direction along the front.

        Raises:
            CaseError: A direction is zero or not integer, two are not orthogonal (by the metric of the
                lattice), or the three are left-handed.
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
                    f"crystal.orientation.{name} = {_text(direction)}: needs three integers, not all zero"
                )
            else:
                along[name] = miller @ self.axes
        problems += self._angles_that_are_not_right(along, given)
        if not problems and "x2" in along:
            if np.dot(np.cross(along["x1"], along["x2"]), along["x3"]) < 0:
                reversed_x3 = [-int(i) for i in x3]
                problems.append(
                    f"crystal.orientation.x3 = {_text(x3)}: x1, x2, x3 are left-handed; reverse one, e.g. x3: {reversed_x3}"
                )
        if problems:
            raise CaseError(problems)
        e1 = along["x1"] / np.linalg.norm(along["x1"])
        e3 = along["x3"] / np.linalg.norm(along["x3"])
        e1 = e1 - np.dot(e1, e3) * e3
        e1 /= np.linalg.norm(e1)
        rotation = np.array([e1, np.cross(e3, e1), e3])
        steps = {name: _shortest_step(vector, self.cell) for name, vector in along.items()}
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
                    f"crystal.orientation.{other} = {_text(given[other])}: stands at {angle:.2f} degrees to "
                    f"{one} = {_text(given[one])} in this lattice, needs 90"
                )
        return problems


@dataclass(frozen=True, eq=False)
class OrientedCrystal:
    """A crystal together with its orientation in the laboratory; made by ``Crystal.oriented``.

    Attributes:
        crystal: The crystal in its own frame.
        rotation: Laboratory axes as rows, in the crystal frame, shape ``(3, 3)``: ``v_lab = rotation @ v_crystal``.
        step1: Shortest lattice vector along x1, in integer multiples of the primitive cell, shape ``(3,)``.
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
        across = None if self.step2 is None else float(np.linalg.norm(self.step2 @ self.crystal.cell))
        return float(np.linalg.norm(self.step1 @ self.crystal.cell)), across, self.period

    @property
    def nearest_neighbour_distance(self) -> float:
        """Shortest distance between two atoms [Å]."""
        radius = 1.001 * float(np.linalg.norm(self.cell, axis=1).min())
        return float(np.linalg.norm(self.shell(radius).vectors, axis=1).min())

    def scaled(self, factor: float) -> OrientedCrystal:
        """The crystal with all lengths multiplied by ``factor``, in the same orientation."""
        return replace(self, crystal=self.crystal.scaled(factor))

    def basis_positions(self) -> Array:
        """Basis atoms relative to the lattice point, laboratory axes, shape ``(n_basis, 3)`` [Å]."""
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
            bounds: Lowest and highest coordinate, closed, as rows [Å]. Two rows (x1, x2): one period along
                the front, x3 in [0, period). Three rows: a block, no wrapping.
            origin: Laboratory position of the lattice point 0 [Å].

        Returns:
            The sites, ordered by lattice row and not by distance.
        """
        box = np.asarray(bounds, dtype=float)
        if box.shape not in ((2, 2), (3, 2)) or np.any(box[:, 1] < box[:, 0]):
            raise ValueError(f"bounds need two or three rows (lowest, highest), got {box.tolist()}")
        wrap = len(box) == 2
        # Two steps that together with step3 generate the lattice: their projections generate the projected lattice.
        steps = np.vstack([_steps_completing(self.step3, self.cell), self.step3]) @ self.cell
        points = self.basis_positions() + np.asarray(origin, dtype=float)
        used = 2 if wrap else 3
        index = _integer_box(steps[:used, :used], box, points[:, :used])
        positions = (index @ steps[:used])[:, None, :] + points[None, :, :]
        basis_index = np.broadcast_to(np.arange(len(points)), positions.shape[:2]).reshape(-1)
        positions = positions.reshape(-1, 3)
        if wrap:
            positions[:, 2] = _wrapped(positions[:, 2], self.period)
        low, high = box[:, 0] - COINCIDENT, box[:, 1] + COINCIDENT
        kept = np.all((positions[:, :used] >= low) & (positions[:, :used] <= high), axis=1)
        positions, basis_index = positions[kept], basis_index[kept]
        if inside is not None:
            chosen = np.asarray(inside(positions), dtype=bool)
            positions, basis_index = positions[chosen], basis_index[chosen]
        return Sites(positions, self.crystal.numbers[basis_index], basis_index.astype(np.int64))

    def layers_along_x2(self) -> tuple[Array, float]:
        """Atomic layers normal to x2.

        Returns:
            ``(offsets, repeat)``: distinct x2 of the layers within one repeat, ascending in [0, repeat),
            shape ``(n_layers,)`` [Å], and the distance after which they repeat [Å].
        """
        # Lattice planes that hold step1 and step3 have the integer normal h: layer number = h . (lattice coordinates).
        normal = np.cross(self.step1, self.step3)
        normal = normal // np.gcd.reduce(normal)
        repeat = 1 / float(np.linalg.norm(np.linalg.inv(self.cell) @ normal))
        offsets = np.sort(_wrapped(self.basis_positions()[:, 1], repeat))
        distinct = np.concatenate([[True], np.diff(offsets) > COINCIDENT])
        return offsets[distinct], repeat

    def cleavage(self) -> Cleavage:
        """Where to put the crystal so that x2 = 0 is the plane that cleaves: midway in the widest gap of layers.

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
        """Edges to all neighbours within ``radius`` [Å], nearest first for each basis atom; no self edge."""
        points = self.basis_positions()
        spread = points[None, :, :] - points[:, None, :]
        reach = radius + float(np.linalg.norm(spread, axis=2).max())
        index = _integer_box(self.cell, np.array([[-reach, reach]] * 3), np.zeros((1, 3)))
        vectors = (index @ self.cell)[None, None] + spread[:, :, None]
        length = np.linalg.norm(vectors, axis=3)
        centre, neighbour, image = np.nonzero((length < radius) & (length > COINCIDENT))
        # Rounded, so that round-off cannot reorder neighbours at equal distance.
        order = np.lexsort((np.round(length[centre, neighbour, image], 6), centre))
        centre, neighbour, image = centre[order], neighbour[order], image[order]
        return Shell(vectors[centre, neighbour, image], centre, neighbour)


def nearest_neighbour_bonds(
    positions: Array, period: float | None, cutoff: float
) -> tuple[IntArray, IntArray, Array]:
    """All bonds no longer than ``cutoff``, each once: the bonds that discrete H1 norms are taken over.

    Args:
        positions: Reference positions, shape ``(n, 3)`` [Å].
        period: Period along x3 [Å]; ``None`` where nothing is periodic.
        cutoff: Longest bond [Å]; a little more than the nearest-neighbour distance.

    Returns:
        ``(i, j, shift)``: ends, shape ``(n_bonds,)``, and the x3 shift ``(n_bonds, 3)`` [Å] of the image of
        ``j``, so that a bond is ``x[j] - x[i] + shift``. Sorted by ``(i, j, shift)``.
    """
    n_images = 0 if period is None else int(np.ceil(cutoff / period))
    tree = cKDTree(positions)
    found = []
    for image in range(n_images + 1):
        shift = np.array([0.0, 0.0, image * (period or 0.0)])
        pairs = tree.sparse_distance_matrix(cKDTree(positions + shift), cutoff, output_type="ndarray")
        i, j = pairs["i"].astype(np.int64), pairs["j"].astype(np.int64)
        # Bonds to images above are seen once; those inside the cell twice. Nobody is bonded to itself in place.
        once = i < j if image == 0 else np.ones(len(i), dtype=bool)
        found.append((i[once], j[once], np.full(int(once.sum()), image, dtype=np.int64)))
    i, j, image_of_j = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((image_of_j, j, i))
    shifts = np.zeros((len(order), 3))
    shifts[:, 2] = image_of_j[order] * (period or 0.0)
    return i[order], j[order], shifts


def projected_points(positions: Array) -> tuple[Array, IntArray]:
    """Distinct projections of sites on the plane (x1, x2).

    Returns:
        ``(points, column)``: distinct points ``(k, 2)`` [Å] in order of first appearance, and the point that
        each position falls on, shape ``(n,)``.
    """
    plane = np.ascontiguousarray(positions[:, :2])
    pairs = cKDTree(plane).query_pairs(COINCIDENT, output_type="ndarray")
    first = np.arange(len(plane))
    # Columns are far further apart than the tolerance, so the lowest index of each cluster is a direct neighbour.
    np.minimum.at(first, pairs[:, 1], pairs[:, 0])
    kept = np.flatnonzero(first == np.arange(len(plane)))
    return plane[kept], np.searchsorted(kept, first)


def _fcc_cell(a: float) -> Array:
    return a / 2 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])


def _hexagonal_cell(a: float, c: float) -> Array:
    return np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]])


def _text(direction: Sequence[int] | None) -> str:
    return "none" if direction is None else str([i.item() if hasattr(i, "item") else i for i in direction])


def _wrapped(x: Array, period: float) -> Array:
    """Into [0, period), with what lies within the tolerance of either end put exactly on 0."""
    rest = x - period * np.floor(x / period)
    return np.where((rest < COINCIDENT) | (rest > period - COINCIDENT), 0.0, rest)


def _widest_gap(offsets: Array, repeat: float) -> tuple[float, float]:
    """Width and middle of the first of the widest gaps between ascending offsets that repeat."""
    gaps = np.diff(np.append(offsets, offsets[0] + repeat))
    widest = int(np.flatnonzero(gaps > gaps.max() - COINCIDENT)[0])
    return float(gaps[widest]), float(offsets[widest] + gaps[widest] / 2)


def _shortest_step(vector: Array, cell: Array) -> IntArray:
    """The shortest lattice vector along ``vector``, itself a lattice vector, in integer coordinates."""
    index = np.rint(vector @ np.linalg.inv(cell)).astype(np.int64)
    return index // gcd(*(int(i) for i in index))


def _steps_completing(step: IntArray, cell: Array) -> IntArray:
    """Two integer vectors that with the primitive ``step`` generate all integer vectors, shape ``(2, 3)``.

    Their projections along ``step`` are Gauss-reduced: the shortest generators of the projected lattice.
    """
    # Unimodular row operations bring `step` to (0, 0, 1); their inverse's rows are then a basis that holds `step`.
    work, inverse = [int(i) for i in step], np.eye(3, dtype=np.int64)
    for lead in (0, 1):
        while work[lead]:
            quotient = work[2] // work[lead]
            work[2] -= quotient * work[lead]
            inverse[lead] += quotient * inverse[2]
            work[lead], work[2] = work[2], work[lead]
            inverse[[lead, 2]] = inverse[[2, lead]]
    first, second = inverse[0], inverse[1]
    direction = step @ cell / np.linalg.norm(step @ cell)
    plane = cell - np.outer(cell @ direction, direction)
    while True:
        if np.linalg.norm(second @ plane) < np.linalg.norm(first @ plane) - COINCIDENT:
            first, second = second, first
        u, v = first @ plane, second @ plane
        multiple = int(np.rint(np.dot(u, v) / np.dot(u, u) - 1e-9))
        if multiple == 0:
            return np.array([first, second])
        second = second - multiple * first


def _integer_box(steps: Array, box: Array, points: Array) -> IntArray:
    """Integer vectors whose lattice points, moved by any of ``points``, may fall in the box; a safe superset."""
    dimension = len(steps)
    corners = np.stack(np.meshgrid(*box, indexing="ij"), axis=-1).reshape(-1, dimension)
    reached = ((corners[None] - points[:, None]) @ np.linalg.inv(steps)).reshape(-1, dimension)
    low, high = np.floor(reached.min(axis=0)).astype(int) - 1, np.ceil(reached.max(axis=0)).astype(int) + 1
    ranges = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*ranges[::-1], indexing="ij"), axis=-1).reshape(-1, dimension)[:, ::-1]


def _primitive(cell: Array, basis: Array, numbers: IntArray) -> tuple[Array, Array, IntArray]:
    """A primitive right-handed cell of the crystal, its basis and numbers."""
    tolerance = COINCIDENT / float(np.linalg.norm(cell, axis=1).min())

    def same(a: Array, b: Array) -> BoolArray:
        apart = a[:, None] - b[None]
        return np.all(np.abs(apart - np.rint(apart)) < tolerance, axis=2)

    if np.any(same(basis, basis) & ~np.eye(len(basis), dtype=bool)):
        raise CaseError(["crystal.basis: two atoms lie on the same place; give each atom of the cell once"])
    translations = [np.eye(3)]
    for candidate in basis[1:] - basis[0]:
        match = same(basis + candidate, basis)
        if match.any(axis=1).all() and np.array_equal(numbers[match.argmax(axis=1)], numbers):
            translations.append(candidate[None])
    n_lattice = len(translations)
    shifts = np.vstack(translations)
    lattice = (np.rint(_row_lattice(shifts, n_lattice))).astype(np.int64) / n_lattice
    new_cell = _reduced(lattice @ cell)
    if np.linalg.det(new_cell) < 0:
        new_cell = -new_cell
    fractional = basis @ cell @ np.linalg.inv(new_cell)
    kept: list[int] = []
    for atom in range(len(basis)):
        if not kept or not same(fractional[[atom]], fractional[kept]).any():
            kept.append(atom)
    fractional = fractional[kept]
    return new_cell, fractional - np.floor(fractional + tolerance), np.array(numbers[kept], dtype=np.int64)


def _row_lattice(vectors: Array, n_lattice: int) -> Array:
    """Generators (times ``n_lattice``) of the lattice spanned by fractional rows, by integer elimination."""
    rows = [[int(round(float(x) * n_lattice)) for x in row] for row in vectors]
    generators = []
    for column in range(3):
        while sum(1 for row in rows if row[column]) > 1:
            pivot = min((row for row in rows if row[column]), key=lambda row: abs(row[column]))
            rows = [
                row
                if row is pivot
                else [x - (row[column] // pivot[column]) * p for x, p in zip(row, pivot, strict=True)]
                for row in rows
            ]
        generators.append(next(row for row in rows if row[column]))
        rows = [row for row in rows if not row[column]]
    return np.array(generators, dtype=float)


def _reduced(cell: Array) -> Array:
    """Shorter lattice vectors for the same lattice: each reduced against the others until nothing shortens."""
    vectors = cell.copy()
    changed = True
    while changed:
        changed = False
        for i in range(3):
            for j in range(3):
                if i == j:
                    continue
                multiple = np.rint(np.dot(vectors[i], vectors[j]) / np.dot(vectors[j], vectors[j]) - 1e-9)
                trial = vectors[i] - multiple * vectors[j]
                if np.linalg.norm(trial) < np.linalg.norm(vectors[i]) - COINCIDENT:
                    vectors[i], changed = trial, True
    return vectors
