# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A case's own mesh as its body, and the loads on its tags."""

from __future__ import annotations

from dataclasses import dataclass

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from msolve.config import AffineLoad, BoundaryLoad, Case
from msolve.errors import CaseError
from msolve.io.meshes import MeshData, held_facets, missing_tags, read_mesh, with_outer
from msolve.loads import (
    Affine,
    BodyForce,
    BoundaryLoads,
    Held,
    OnOutline,
    Predictor,
    Shift,
    Traction,
    Zero,
)
from msolve.parallel import all_or_none
from msolve.regions import Ball, Outline, Shape
from msolve.units import LENGTH


@dataclass(frozen=True)
class Given:
    """Body and loads as the case and its mesh say; all but the field of a crack.

    Attributes:
        shape: What is solved.
        far_field: Displacement beyond the body; ``None`` leaves it to the crack.
        loads: What acts on tags, or ``None``.
        gdim: 2 for one period along the front, or 3.
    """

    shape: Shape
    far_field: Predictor | None
    loads: BoundaryLoads | None
    gdim: int


def user_mesh(case: Case, comm: MPI.Comm) -> tuple[MeshData | None, Given]:
    """The mesh, on rank 0, where it is the body; and what it and the case say of body and loads. Collective."""
    mesh, found = None, None
    loads = _boundary_loads(case.load) if isinstance(case.load, BoundaryLoad) else None
    with all_or_none(comm, "reading the mesh"):
        if case.domain is None and comm.rank == 0:
            mesh = read_tagged(case, loads)
            which = None if loads is None else held_facets(mesh, loads)
            found = mesh.outline(), which
    found = comm.bcast(found, root=0)
    if found is None:
        assert case.domain is not None
        shape: Shape = Ball((0.0, 0.0, 0.0), case.domain.radius, case.domain.dimension)
    else:
        shape = found[0]
    gdim = case.dimension if found is None else found[0].gdim
    far_field: Predictor | None = None
    if isinstance(case.load, AffineLoad):
        far_field = Affine(case.load.deformation)
    elif loads is not None:
        far_field = _rim(case, loads, shape, None if found is None else found[1])
    return mesh, Given(shape, far_field, loads, gdim)


def read_tagged(case: Case, loads: BoundaryLoads | None) -> MeshData:
    """The case's mesh, with the tags that its loads need. Rank-local.

    Raises:
        CaseError: It cannot be used, or lacks tags.
    """
    given = case.mesh
    assert given.file is not None
    mesh = read_mesh(case.path(given.file), LENGTH.units[given.unit])
    problems = _front_problems(case, loads) if mesh.gdim == 2 else []
    if case.domain is not None and mesh.gdim != case.dimension:
        problems.append(
            f"mesh.file = {given.file}: is a mesh of {'triangles' if mesh.gdim == 2 else 'tetrahedra'}, "
            f"and domain one in {'the plane' if case.dimension == 2 else 'space'}"
        )
    if problems:
        raise CaseError(problems)
    if loads is None:
        if case.domain is None:
            return with_outer(mesh)
        if "outer" not in mesh.node_tags:
            raise CaseError(
                [f"mesh.file = {given.file}: has no physical group 'outer' for its outer boundary"]
            )
        return mesh
    problems = missing_tags(mesh, loads)
    if problems:
        raise CaseError(problems)
    return mesh


def _front_problems(case: Case, loads: BoundaryLoads | None) -> list[str]:
    """Deformations that change the period along the front, which a plane mesh cannot."""
    given = {"load.F": case.load.deformation} if isinstance(case.load, AffineLoad) else {}
    for k, one in enumerate(() if loads is None else loads.held):
        if isinstance(one.field, Affine):
            given[f"load.displacement.{k}.F"] = one.field.F
    return [
        f"{key}: its third column is {F[:, 2].tolist()}, needs [0, 0, 1] on a plane mesh: the period "
        "along x3 stays that of the crystal at rest"
        for key, F in given.items()
        if (F[:, 2] != (0.0, 0.0, 1.0)).any()
    ]


def _boundary_loads(load: BoundaryLoad) -> BoundaryLoads:
    held = []
    for one in load.displacement:
        if one.F is not None:
            held.append(Held(one.on, (True, True, True), Affine(np.array(one.F))))
            continue
        assert one.value is not None
        x1, x2, x3 = one.value
        field = Shift((x1 or 0.0, x2 or 0.0, x3 or 0.0))
        held.append(Held(one.on, (x1 is not None, x2 is not None, x3 is not None), field))
    return BoundaryLoads(
        tuple(held),
        tuple(Traction(one.on, one.value) for one in load.traction),
        tuple(BodyForce(None if one.on == "all" else one.on, one.value) for one in load.body_force),
    )


def _rim(
    case: Case, loads: BoundaryLoads, shape: Shape, which: npt.NDArray[np.int64] | None
) -> Predictor:
    """The field of atoms beyond the body, for the full atomistic model; refused where there is none."""
    complete = [k for k, one in enumerate(loads.held) if all(one.components)]
    if which is None:
        outer = [k for k in complete if loads.held[k].on == "outer"]
        which = np.array(outer[-1:] or [-1])
    dead = bool(loads.traction or loads.body_force)
    if dead or (which < 0).any():
        if case.compare.atomistic or not case.coupled:
            key = "compare.atomistic" if case.coupled else "coupling.method = atomistic"
            reason = "has dead loads" if dead else "is free in parts"
            raise CaseError(
                [
                    f"{key}: the full atomistic model needs the displacement of the whole outline, "
                    f"which {reason}; a larger core, compared with a smaller one, would do"
                ]
            )
        return Zero()
    fields = [loads.held[k].field for k in np.unique(which)]
    if len(fields) == 1 or not isinstance(shape, Outline):
        return fields[0]
    return OnOutline(shape, tuple(one.field for one in loads.held), which)
