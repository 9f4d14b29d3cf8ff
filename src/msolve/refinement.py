# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""From marked places to the next input: finer mesh, larger, new or smaller cores, quadratic elements, a larger body.

Where the mesh is coarser than the lattice it is refined; elsewhere the nearest core grows, or a new one opens. Nothing
is edited in place: what comes out is an input of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.build import Setup, check_reach
from msolve.config import BallCore, BoxCore, CapsuleCore, Case, Core, FineZone, PolygonCore
from msolve.errors import CaseError
from msolve.io.meshes import MeshData

Array = npt.NDArray[np.float64]

COARSE = 1.3
"""Edges this much longer than the distance of neighbours can be refined; shorter ones are atoms already."""

BESIDE = 1.5
"""Distance from a missing site over that of neighbours, up to which what is marked is that site's doing."""

SHORTER = 0.7
"""Edges of a finer zone over the shortest there before."""

GROWTH = (0.15, 0.4)
"""Least and largest growth of a core in one round, over its extent."""

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


def refined(setup: Setup, places: Array, mesh: MeshData, unstable: Array) -> Case:
    """The input of the next round. Rank-local: the mesh is on the first rank.

    Args:
        setup: The round before.
        places: Where its error comes from, shape ``(n, 2)`` [Å].
        mesh: Its mesh.
        unstable: Places where a core is needed whatever the mesh is, shape ``(m, 2)`` [Å].
    """
    case, near = setup.case, setup.body.crystal.nearest_neighbour_distance
    corners = mesh.points[mesh.cells[:, :3]]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    _, cell = spatial.cKDTree(corners.mean(axis=1)).query(places)
    length = longest[cell]
    by_mesh = (length > COARSE * near) & ~_beside_missing(setup, places, near)
    fine = fine_zones(places[by_mesh], length[by_mesh], near)
    atomistic = np.concatenate([places[~by_mesh], unstable])
    cores = _grown(setup, atomistic, near) if len(atomistic) else None
    regions = case.regions
    assert regions is not None
    update: dict[str, Any] = {
        "mesh": case.mesh.model_copy(update={"fine": (*case.mesh.fine, *fine)})
    }
    if cores is not None:
        update["regions"] = regions.model_copy(update={"core_radius": None, "cores": cores})
    return case.model_copy(update=update)


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


def _beside_missing(setup: Setup, places: Array, near: float) -> npt.NDArray[np.bool_]:
    """Places ``(n, 2)`` beside sites that are missing: no mesh, however fine, has the forces there."""
    body = setup.body
    X = np.column_stack([places, np.zeros(len(places))])
    found = np.zeros(len(places), dtype=bool)
    if len(body.vacancies):
        found |= spatial.cKDTree(body.vacancies[:, :2]).query(places)[0] < BESIDE * near
    for void in body.voids:
        found |= void.distance(X) < BESIDE * near
    return found


def fine_zones(places: Array, length: Array, near: float) -> list[FineZone]:
    """Discs over the marked places, with edges shorter than those there now."""
    if not len(places):
        return []
    level = np.round(np.log2(length / near)).astype(np.int64)
    width = near * 2.0**level
    square = np.floor(places / width[:, None]).astype(np.int64)
    zones, which = np.unique(np.column_stack([level, square]), axis=0, return_inverse=True)
    found = []
    for k, (n, a, b) in enumerate(zones.tolist()):
        side = near * 2.0**n
        shortest = float(length[which.ravel() == k].min())
        found.append(
            FineZone.model_construct(
                centre=((a + 0.5) * side, (b + 0.5) * side, 0.0),
                radius=0.71 * side,
                size=max(SHORTER * shortest, near),
            )
        )
    return found


def _grown(setup: Setup, places: Array, near: float) -> tuple[Core, ...]:
    """Cores grown towards marked places around them, and new ones at places far from all.

    A core grows as a whole: growing it by balls at the marks leaves more blending than it saves atoms.
    """
    given, regions = setup.case.regions, setup.regions
    assert given is not None
    X = np.column_stack([places, np.zeros(len(places))])
    away = np.column_stack([core.distance(X) for core in regions.cores])
    nearest, beyond = away.argmin(axis=1), away.min(axis=1)
    around = beyond < regions.blend + 4 * near
    cores: list[Core] = []
    for k, (core, shape) in enumerate(zip(given.all_cores, regions.cores, strict=True)):
        mine = around & (nearest == k)
        if not mine.any():
            cores.append(core)
            continue
        extent = _size(core, shape.extent())
        wanted = float(np.quantile(np.maximum(beyond[mine], 0.0), 0.9))
        least, most = (max(g * extent, near) for g in GROWTH)
        cores.append(_larger(core, float(np.clip(wanted, least, most))))
    width = 4 * near
    squares = np.unique(np.floor(places[~around] / width).astype(np.int64), axis=0)
    new: list[Core] = [
        BallCore.model_construct(
            centre=(float((a + 0.5) * width), float((b + 0.5) * width), 0.0),
            radius=NEW_CORE * near,
        )
        for a, b in squares.tolist()
    ]
    room = setup.body.radius - regions.blend - 2 * setup.body.margin
    # Where no core fits, at the outer boundary, none opens.
    return (*cores, *(core for core in new if core.region(2).extent() < room))


def _size(core: Core, extent: float) -> float:
    return core.radius if isinstance(core, BallCore | CapsuleCore) else extent


def _larger(core: Core, by: float) -> Core:
    if isinstance(core, BallCore | CapsuleCore):
        return core.model_copy(update={"radius": core.radius + by})
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
