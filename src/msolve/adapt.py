# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Cores and mesh refined by the estimated error, until it is small enough: solve, estimate, mark, refine.

Marked are the fewest atoms that hold a given share of the forces that the full model leaves, in a local norm. Where
the mesh is coarser than the lattice it is refined; elsewhere the nearest core grows, or a new one opens. Nothing is
edited in place: each round is an input of its own, and the last one is what the run goes on with and what
``result.json`` holds.

References:
    W. Dörfler, SIAM J. Numer. Anal. 33, 1106 (1996): marking by a share of the error.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.against import FullModel
from msolve.assemble import Assembly
from msolve.build import Setup, build, build_mesh, check_reach
from msolve.config import BallCore, BoxCore, CapsuleCore, Case, Core, FineZone, PolygonCore
from msolve.errors import CaseError, ConvergenceError
from msolve.estimate import Estimate
from msolve.io.log import RunLog
from msolve.io.meshes import MeshData
from msolve.methods import solve
from msolve.solvers import Settings

Array = npt.NDArray[np.float64]

COARSE = 1.3
"""Edges this much longer than the distance of neighbours can be refined; shorter ones are atoms already."""

GROWTH = (0.15, 0.4)
"""Least and largest growth of a core in one round, over its extent."""

NEW_CORE = 2.5
"""Radius of a new core over the distance of neighbours."""


@dataclasses.dataclass(frozen=True)
class Adapted:
    """Where refinement ended.

    Attributes:
        setup: The last problem.
        history: For ``result.json``: why it stopped, and a row a round.
    """

    setup: Setup
    history: dict[str, Any]


def adapt(setup: Setup, comm: MPI.Comm, settings: Settings, log: RunLog) -> Adapted:
    """Refine until the estimated error at the last load is small enough, or something else says stop. Collective.

    Raises:
        CaseError: No error can be estimated for this body.
        ConvergenceError: A problem could not be solved.
    """
    wanted = setup.case.adaptivity
    assert wanted is not None
    rows: list[dict[str, Any]] = []
    whole: Assembly | None = None
    while True:
        begin = time.perf_counter()
        mesh = build_mesh(setup, comm)
        assembly = build(setup, mesh, comm)
        full = FullModel(setup, assembly, whole)
        if full.why_not is not None:
            raise CaseError([f"adaptivity: no error can be estimated: {full.why_not}"])
        z, t = assembly.problem.kinematics.unknowns.vector(), setup.loads[-1]
        solved = solve(assembly, setup.case, z, t, settings)
        if not solved.converged:
            raise ConvergenceError(
                f"round {len(rows)} of the refinement stopped at a residual of {solved.residual:.2g} eV/angstrom"
            )
        found = full.estimate(z, t, solved)
        if found is None:
            raise CaseError(["adaptivity: needs estimates; estimate.kind = hessian would do"])
        numbers, places = found
        whole = full.assembly
        rows.append(_row(assembly, numbers, time.perf_counter() - begin))
        log.say(_told(len(rows) - 1, rows[-1]))
        atoms = rows[-1]["evaluated_atoms"]
        stop = None
        if numbers.total_h1 <= wanted.total_h1:
            stop = "the estimated error is small enough"
        elif len(rows) == wanted.rounds:
            stop = "adaptivity.rounds problems are solved"
        elif wanted.atoms is not None and atoms > wanted.atoms:
            stop = "more than adaptivity.atoms are evaluated"
        if stop is None:
            inside = setup.body.shape.distance(whole.X) < -setup.case.compare.rim
            marked = _marked(whole.X[inside, :2], places.source[inside], wanted.bulk)
            case = comm.bcast(refined(setup, marked, mesh) if comm.rank == 0 else None)
            following = dataclasses.replace(setup, case=case)
            if case == setup.case:
                stop = "what is left lies at the outer boundary, where no core fits and the mesh is fine"
            elif not _fits(following):
                stop = "the body is too small for a larger core"
            else:
                setup = following
        if stop is not None:
            log.say(f"refinement: {stop}")
            done = setup.case.model_copy(update={"adaptivity": None})
            return Adapted(dataclasses.replace(setup, case=done), {"stopped": stop, "rounds": rows})


def _fits(setup: Setup) -> bool:
    try:
        check_reach(setup)
    except CaseError:
        return False
    return True


def _marked(places: Array, source: Array, bulk: float) -> Array:
    """The fewest places ``(n, 2)`` that hold the share ``bulk`` of what is summed over all."""
    order = np.argsort(-source, kind="stable")
    reached = np.cumsum(source[order])
    return places[order[: int(np.searchsorted(reached, bulk * reached[-1])) + 1]]


def refined(setup: Setup, marked: Array, mesh: MeshData) -> Case:
    """The input of the next round. Rank-local: the mesh is on the first rank.

    Args:
        setup: The round before.
        marked: Where its error comes from, shape ``(n, 2)`` [Å].
        mesh: Its mesh.
    """
    case, near = setup.case, setup.body.crystal.nearest_neighbour_distance
    corners = mesh.points[mesh.cells[:, :3]]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    _, cell = spatial.cKDTree(corners.mean(axis=1)).query(marked)
    length = longest[cell]
    by_mesh = length > COARSE * near
    fine = _fine_zones(marked[by_mesh], length[by_mesh], near)
    cores = _grown(setup, marked[~by_mesh], near) if not by_mesh.all() else None
    regions = case.regions
    assert regions is not None
    update: dict[str, Any] = {
        "mesh": case.mesh.model_copy(update={"fine": (*case.mesh.fine, *fine)})
    }
    if cores is not None:
        update["regions"] = regions.model_copy(update={"core_radius": None, "cores": cores})
    return case.model_copy(update=update)


def _fine_zones(places: Array, length: Array, near: float) -> list[FineZone]:
    """Discs over the marked places, each with half the edges that are there now."""
    if not len(places):
        return []
    level = np.round(np.log2(length / near)).astype(np.int64)
    size = near * 2.0**level
    square = np.floor(places / (2 * size[:, None])).astype(np.int64)
    zones, which = np.unique(np.column_stack([level, square]), axis=0, return_inverse=True)
    found = []
    for k, (n, a, b) in enumerate(zones.tolist()):
        width = 2 * near * 2.0**n
        shortest = float(length[which.ravel() == k].min())
        found.append(
            FineZone.model_construct(
                centre=((a + 0.5) * width, (b + 0.5) * width, 0.0),
                radius=0.71 * width,
                size=max(0.5 * shortest, near),
            )
        )
    return found


def _grown(setup: Setup, places: Array, near: float) -> tuple[Core, ...]:
    """Cores grown towards marked places around them, and new ones at places far from all."""
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
    far = places[~around]
    if len(far):
        width = 4 * near
        squares = np.unique(np.floor(far / width).astype(np.int64), axis=0)
        cores += [
            BallCore.model_construct(
                centre=(float((a + 0.5) * width), float((b + 0.5) * width), 0.0),
                radius=NEW_CORE * near,
            )
            for a, b in squares.tolist()
        ]
    return tuple(cores)


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


def _row(assembly: Assembly, numbers: Estimate, seconds: float) -> dict[str, Any]:
    kinematics = assembly.problem.kinematics
    assert kinematics.space is not None
    return {
        "free_atoms": int(assembly.free.sum()),
        "evaluated_atoms": int(assembly.evaluated.sum()),
        "mesh_nodes": kinematics.space.n_global_nodes,
        "unknowns": kinematics.unknowns.n_global,
        "total_h1": numbers.total_h1,
        "tip_h1": numbers.tip_h1,
        "coupling": numbers.coupling,
        "discretisation": numbers.discretisation,
        "contraction": numbers.contraction,
        "seconds": seconds,
    }


def _told(k: int, row: dict[str, Any]) -> str:
    return (
        f"round {k}: estimated error {row['total_h1']:.3g} Å, {row['evaluated_atoms']} atoms evaluated, "
        f"{row['unknowns']} unknowns, {row['seconds']:.1f} s"
    )
