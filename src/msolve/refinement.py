# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""From places and parts of an error to the next input: finer mesh, larger, new or smaller cores, quadratic elements.

What the mesh alone leaves is met by a finer mesh, what the coupling leaves by larger cores, each by as much as makes
the cost of the wanted error least (``balance``). A new core opens where a mesh as fine as the lattice leaves much of
the error, and where no law of the mesh will do: where the defects are is not asked. Nothing is edited in place: what
comes out is an input of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.balance import Cells, Cores, balanced
from msolve.build import Setup, check_reach
from msolve.compare import summed
from msolve.config import BallCore, BoxCore, CapsuleCore, Case, Core, FineZone, PolygonCore
from msolve.errors import CaseError
from msolve.io.meshes import MeshData
from msolve.regions import Regions

Array = npt.NDArray[np.float64]

COARSE = 1.3
"""Edges this much longer than the distance of neighbours can be refined; shorter ones are atoms already."""

CUT = 1.1
"""Fewer pieces of a cell than this are not worth a zone."""

COVER = 0.6
"""Radius of a zone over the side of the square that it stands for: between the discs in and around it."""

LONGER = 1.1
"""Edges that a zone asks for over those wanted: where discs overlap the shortest counts, and edges come out shorter."""

GROWTH = (0.15, 0.4)
"""Least and largest growth of a core towards what it must hold, over its extent."""

OPENS = 0.1
"""Share of the error's square on the atoms that a new core would hold, from which on it opens: what is left of a graded
mesh at its finest is spread wider."""

NEW_CORE = 2.5
"""Radius of a new core over the distance of neighbours."""

SHRUNK = 0.6
"""Radius of a core that was too large, over what it was."""

PUSHED = 1.5
"""Radius of a body whose outer boundary is too near, over what it was."""

COARSER = 2.0
"""Edges of quadratic elements over those of linear ones."""


def fits(setup: Setup) -> bool:
    """Whether the body has room for the cores of an input."""
    try:
        check_reach(setup)
    except CaseError:
        return False
    return True


def marked(places: Array, source: Array, bulk: float) -> Array:
    """The fewest places ``(n, 2)`` that hold the share ``bulk`` of what is summed over all."""
    order = np.argsort(-source, kind="stable")
    reached = np.cumsum(source[order])
    return places[order[: int(np.searchsorted(reached, bulk * reached[-1])) + 1]]


@dataclass(frozen=True)
class Error:
    """What is to become smaller, and what it costs.

    Attributes:
        places: Places of the atoms that it is known at, shape ``(n, 2)`` [Å].
        parts: Their shares in its square, in any unit: of what the coupled space holds, and of what only a finer mesh
            or atoms can take away; shape ``(n, 2)``.
        left: Share of that sum which the next round should leave.
        evaluated: Places of the evaluated atoms, shape ``(m, 2)`` [Å].
        atom_cost: Unknowns that one of them is worth.
        rate: Of the coupling error over the size of cores.
    """

    places: Array
    parts: Array
    left: float
    evaluated: Array
    atom_cost: float
    rate: float


def refined(
    setup: Setup, marks: Array, mesh: MeshData, unstable: Array, error: Error | None = None
) -> Case:
    """The input of the next round. Rank-local: the mesh is on the first rank.

    Args:
        setup: The round before.
        marks: Where its error comes from, shape ``(n, 2)`` [Å].
        mesh: Its mesh.
        unstable: Places where a core is needed whatever the mesh is, shape ``(m, 2)`` [Å].
        error: What is to be gained; ``None`` if cores only grow to what they must hold.
    """
    case, regions = setup.case, setup.regions
    near = setup.body.crystal.nearest_neighbour_distance
    assert case.regions is not None
    cells = _Edges.of(mesh, near)
    nearest, beyond = _nearest(regions, unstable)
    around = _beside(setup, beyond, near)
    # The mesh can do no more there, and no core is near that could.
    fine = marks[~cells.coarse[cells.at(marks)]]
    fine = fine[~_beside(setup, _nearest(regions, fine)[1], near)]
    new = _opened(setup, unstable[~around], near) + _opened(setup, fine, near, error)
    growth: Array = np.zeros(len(regions.cores))
    pieces: Array = np.ones(len(cells.length))
    # With so much of the error in so few atoms, what else there is to do is seen with their core.
    if error is not None and not new:
        growth, pieces = _cheapest(setup, error, cells, near)
    cores: list[Core] = []
    for k, (core, shape) in enumerate(zip(case.regions.all_cores, regions.cores, strict=True)):
        size, mine = _size(core, shape.extent()), around & (nearest == k)
        by = growth[k]
        if mine.any():
            least, most = (max(g * size, near) for g in GROWTH)
            by = max(by, np.clip(np.quantile(np.maximum(beyond[mine], 0.0), 0.9), least, most))
        cores.append(_larger(core, float(by)) if by > 0 else core)
    finer = pieces > 1
    zones = fine_zones(
        cells.middle[finer], cells.length[finer], (cells.length / np.sqrt(pieces))[finer], near
    )
    update: dict[str, Any] = {
        "mesh": case.mesh.model_copy(update={"fine": (*case.mesh.fine, *zones)})
    }
    if new or growth.any() or around.any():
        update["regions"] = case.regions.model_copy(
            update={"core_radius": None, "cores": (*cores, *new)}
        )
    return case.model_copy(update=update)


class _Edges(NamedTuple):
    """Cells of a mesh: middles ``(n, 2)``, mean edges ``(n,)`` [Å], and whether they are coarser than the lattice."""

    middle: Array
    length: Array
    coarse: npt.NDArray[np.bool_]
    tree: spatial.cKDTree

    @classmethod
    def of(cls, mesh: MeshData, near: float) -> _Edges:
        corners = mesh.points[mesh.cells[:, :3], :2]
        edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
        middle = corners.mean(axis=1)
        coarse = edges.max(axis=1) > COARSE * near
        return cls(middle, edges.mean(axis=1), coarse, spatial.cKDTree(middle))

    def at(self, places: Array) -> npt.NDArray[np.int64]:
        """The cell whose middle is nearest to each place ``(n, 2)``."""
        return np.asarray(self.tree.query(places)[1], dtype=np.int64)


def _cheapest(setup: Setup, error: Error, cells: _Edges, near: float) -> tuple[Array, Array]:
    """Growth of each core [Å] and pieces of each cell that leave the wanted share of an error at the least cost."""
    body, regions, given = setup.body, setup.regions, setup.case.regions
    assert given is not None
    cell, k = cells.at(error.places), len(regions.cores)
    by_mesh = cells.coarse[cell]
    of_cells = summed(cell[by_mesh], error.parts[by_mesh, 1], len(cells.length))
    rest = error.parts[:, 0] + np.where(by_mesh, 0.0, error.parts[:, 1])
    which, _ = _nearest(regions, error.places)
    among, _ = _nearest(regions, error.evaluated)
    shapes = zip(given.all_cores, regions.cores, strict=True)
    cores = Cores(
        summed(which, rest, k),
        np.array([_size(core, shape.extent()) for core, shape in shapes]),
        summed(among, np.ones(len(among)), k),
        regions.blend + body.margin,
        error.rate,
    )
    degree = setup.case.mesh.degree
    room: Array = np.square(cells.length / near)
    # A node has two triangles; quadratic elements have four times the nodes.
    around, _ = _nearest(regions, cells.middle)
    grading = setup.case.mesh.growth
    mesh = Cells(of_cells, room, around, 0.5 * body.components * degree**2, degree, grading)
    left = error.left * float(error.parts.sum())
    factor, pieces = balanced(cores, mesh, left, error.atom_cost)
    # What the grading around larger cores brings by itself needs no zone.
    pieces[pieces < CUT * mesh.by_grading(cores.wider(factor))] = 1.0
    by = (factor - 1) * cores.size
    # Whole layers of atoms come in, or none; and rounded, so that last digits, other on other ranks, decide nothing.
    by = np.where(by < 0.25 * near, 0.0, np.round(np.maximum(by, 0.5 * near), 1))
    if not by.any() and not (pieces > 1).any():
        by[cores.error.argmax()] = round(near, 1)
    return by, pieces


def quadratic(case: Case) -> Case:
    """The same with quadratic elements, twice as long beyond the fine zones."""
    coarseness = min(COARSER * case.mesh.coarseness, 6.0)
    mesh = case.mesh.model_copy(update={"degree": 2, "coarseness": coarseness})
    return case.model_copy(update={"mesh": mesh})


def shrunk(setup: Setup) -> Case:
    """The same with smaller cores, none below the size of a new one."""
    given, near = setup.case.regions, setup.body.crystal.nearest_neighbour_distance
    assert given is not None
    cores = []
    for core, shape in zip(given.all_cores, setup.regions.cores, strict=True):
        size = _size(core, shape.extent())
        by = min((1 - SHRUNK) * size, size - NEW_CORE * near)
        # Less than a layer of atoms is no change.
        cores.append(_larger(core, -by) if by > near else core)
    regions = given.model_copy(update={"core_radius": None, "cores": tuple(cores)})
    if all(a == b for a, b in zip(cores, given.all_cores, strict=True)):
        return setup.case
    return setup.case.model_copy(update={"regions": regions})


def pushed(case: Case, largest: float) -> Case:
    """The same with a larger body."""
    assert case.domain is not None
    radius = min(PUSHED * case.domain.radius, largest)
    return case.model_copy(update={"domain": case.domain.model_copy(update={"radius": radius})})


def fine_zones(places: Array, length: Array, wanted: Array, near: float) -> list[FineZone]:
    """Discs over places ``(n, 2)`` with edges of ``length`` that are to become ``wanted`` (both ``(n,)``) [Å]."""
    if not len(places):
        return []
    level = np.round(np.log2(length / near)).astype(np.int64)
    width = near * 2.0**level
    square = np.floor(places / width[:, None]).astype(np.int64)
    zones, which = np.unique(np.column_stack([level, square]), axis=0, return_inverse=True)
    found = []
    for k, (n, a, b) in enumerate(zones.tolist()):
        side = near * 2.0**n
        size = LONGER * float(np.exp(np.log(wanted[which.ravel() == k]).mean()))
        found.append(
            FineZone.model_construct(
                centre=((a + 0.5) * side, (b + 0.5) * side, 0.0),
                radius=COVER * side,
                size=max(float(f"{size:.2g}"), near),
            )
        )
    return found


def _nearest(regions: Regions, places: Array) -> tuple[npt.NDArray[np.int64], Array]:
    """The core nearest to each place ``(n, 2)``, and how far that is [Å]."""
    X = np.column_stack([places, np.zeros(len(places))])
    away = np.column_stack([core.distance(X) for core in regions.cores])
    return away.argmin(axis=1), away.min(axis=1)


def _beside(setup: Setup, away: Array, near: float) -> npt.NDArray[np.bool_]:
    """Whether places so far from the nearest core [Å], shape ``(n,)``, are its own to hold."""
    return away < setup.regions.blend + 4 * near


def _opened(setup: Setup, places: Array, near: float, error: Error | None = None) -> list[Core]:
    """New cores at places ``(n, 2)`` far from all others; with an ``error`` those that hold much of it."""
    width = 4 * near
    # Squares around the origin, not beside it: marks on both faces of a crack make one core.
    squares = np.unique(np.rint(places / width).astype(np.int64), axis=0)
    if error is not None and len(squares):
        distance, which = spatial.cKDTree(squares).query(np.rint(error.places / width))
        held = summed(which[distance == 0], error.parts.sum(axis=1)[distance == 0], len(squares))
        squares = squares[held > OPENS * error.parts.sum()]
    new: list[Core] = [
        BallCore.model_construct(
            centre=(float(a * width), float(b * width), 0.0), radius=NEW_CORE * near
        )
        for a, b in squares.tolist()
    ]
    room = setup.body.radius - setup.regions.blend - 2 * setup.body.margin
    # Where no core fits, at the outer boundary, none opens.
    return [core for core in new if core.region(2).extent() < room]


def _size(core: Core, extent: float) -> float:
    return core.radius if isinstance(core, BallCore | CapsuleCore) else extent


def _larger(core: Core, by: float) -> Core:
    if isinstance(core, BallCore | CapsuleCore):
        return core.model_copy(update={"radius": round(core.radius + by, 6)})
    if isinstance(core, BoxCore):
        low, high = np.array(core.low) - by, np.array(core.high) + by
        return core.model_copy(
            update={"low": tuple(map(float, low)), "high": tuple(map(float, high))}
        )
    assert isinstance(core, PolygonCore)
    corners = np.array(core.corners)
    middle = corners.mean(axis=0)
    factor = 1 + by / float(np.linalg.norm(corners - middle, axis=1).max())
    grown = tuple(tuple(map(float, corner)) for corner in middle + factor * (corners - middle))
    return core.model_copy(update={"corners": grown})
