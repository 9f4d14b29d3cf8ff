# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Integer geometry of lattices: shortest steps, bases that hold a given step, primitive cells.

What can be decided in integers is decided in integers, so that sites are neither lost nor doubled
by round-off.
"""

from __future__ import annotations

from math import gcd

import numpy as np
from numpy.typing import NDArray

from msolve.errors import CaseError

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# Coordinates that differ by less are the same coordinate [Å]; far above round-off, far below any
# spacing.
COINCIDENT = 1e-6


def shortest_step(vector: Array, cell: Array) -> IntArray:
    """Integer coordinates of the shortest lattice vector along ``vector``, itself one."""
    index = np.rint(vector @ np.linalg.inv(cell)).astype(np.int64)
    return index // gcd(*(int(i) for i in index))


def steps_completing(step: IntArray, cell: Array) -> IntArray:
    """Two integer vectors that with the primitive ``step`` generate all others, shape ``(2, 3)``.

    Their projections along ``step`` are Gauss-reduced: the shortest generators of the projected
    lattice.
    """
    # Unimodular row operations bring `step` to (0, 0, 1); their inverse's rows are then a basis
    # that holds `step`.
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


def integer_box(steps: Array, box: Array, points: Array) -> IntArray:
    """Integer vectors whose lattice points, moved by any of ``points``, may lie in the box.

    A superset: the caller drops what lies outside.
    """
    dimension = len(steps)
    corners = np.stack(np.meshgrid(*box, indexing="ij"), axis=-1).reshape(-1, dimension)
    reached = ((corners[None] - points[:, None]) @ np.linalg.inv(steps)).reshape(-1, dimension)
    low, high = (
        np.floor(reached.min(axis=0)).astype(int) - 1,
        np.ceil(reached.max(axis=0)).astype(int) + 1,
    )
    ranges = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*ranges[::-1], indexing="ij"), axis=-1).reshape(-1, dimension)[
        :, ::-1
    ]


def primitive_cell(cell: Array, basis: Array, numbers: IntArray) -> tuple[Array, Array, IntArray]:
    """A primitive right-handed cell of the crystal, its basis and numbers."""
    tolerance = COINCIDENT / float(np.linalg.norm(cell, axis=1).min())

    def same(a: Array, b: Array) -> BoolArray:
        apart = a[:, None] - b[None]
        return np.all(np.abs(apart - np.rint(apart)) < tolerance, axis=2)

    if np.any(same(basis, basis) & ~np.eye(len(basis), dtype=bool)):
        raise CaseError(
            ["crystal.basis: two atoms lie on the same place; give each atom of the cell once"]
        )
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
    return (
        new_cell,
        fractional - np.floor(fractional + tolerance),
        np.array(numbers[kept], dtype=np.int64),
    )


def _row_lattice(vectors: Array, n_lattice: int) -> Array:
    """Generators, times ``n_lattice``, of the lattice that fractional rows span."""
    rows = [[round(float(x) * n_lattice) for x in row] for row in vectors]
    generators = []
    for column in range(3):
        while sum(1 for row in rows if row[column]) > 1:
            pivot = min((row for row in rows if row[column]), key=lambda row: abs(row[column]))
            rows = [
                row
                if row is pivot
                else [
                    x - (row[column] // pivot[column]) * p for x, p in zip(row, pivot, strict=True)
                ]
                for row in rows
            ]
        generators.append(next(row for row in rows if row[column]))
        rows = [row for row in rows if not row[column]]
    return np.array(generators, dtype=float)


def _reduced(cell: Array) -> Array:
    """Shorter vectors of the same lattice: each reduced by the others until none shortens."""
    vectors = cell.copy()
    changed = True
    while changed:
        changed = False
        for i in range(3):
            for j in range(3):
                if i == j:
                    continue
                multiple = np.rint(
                    np.dot(vectors[i], vectors[j]) / np.dot(vectors[j], vectors[j]) - 1e-9
                )
                trial = vectors[i] - multiple * vectors[j]
                if np.linalg.norm(trial) < np.linalg.norm(vectors[i]) - COINCIDENT:
                    vectors[i], changed = trial, True
    return vectors
