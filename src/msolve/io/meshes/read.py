# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Meshes from gmsh's .msh files: triangles or tetrahedra and their named boundary parts."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from msolve.errors import CaseError
from msolve.io.meshes.data import MeshData, positively_oriented
from msolve.io.meshes.session import gmsh_session

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

LINE, TRIANGLE, TETRAHEDRON = 1, 2, 4


def read_mesh(path: str | Path) -> MeshData:
    """Read a mesh whose physical group ``outer`` names where the load is prescribed. Rank-local.

    Cracks name their faces ``upper_flank`` and ``lower_flank``. Tetrahedra make a mesh in space,
    triangles one in the plane x3 = 0. Points that belong to no cell are left out.

    Raises:
        CaseError: The file is missing, is no mesh, has other cells than straight simplices, does
            not lie in the plane, or names no boundary ``outer``.
    """
    path = Path(path)
    if not path.is_file():
        raise CaseError([f"mesh.file = {path}: no such file"])
    with gmsh_session() as gmsh:
        try:
            gmsh.merge(str(path))
        except Exception as error:  # gmsh raises nothing more specific.
            raise CaseError([f"mesh.file = {path}: gmsh cannot read it: {error}"]) from error
        tags, coordinates, _ = gmsh.model.mesh.getNodes()
        types = set(gmsh.model.mesh.getElementTypes(-1).tolist())
        gdim = 3 if TETRAHEDRON in types else 2
        cell_type, facet_type = (TETRAHEDRON, TRIANGLE) if gdim == 3 else (TRIANGLE, LINE)
        problem = _unusable(gmsh, gdim, cell_type)
        if problem:
            raise CaseError([f"mesh.file = {path}: {problem}"])
        cells = gmsh.model.mesh.getElementsByType(cell_type)[1].reshape(-1, gdim + 1)
        named = _named_facets(gmsh, gdim, facet_type)
    points = coordinates.reshape(-1, 3)
    number = np.full(int(tags.max()) + 1, -1, dtype=np.int64)
    used = np.flatnonzero(np.isin(tags, cells))
    number[tags[used].astype(np.int64)] = np.arange(len(used))
    points = points[used]
    if gdim == 2 and np.ptp(points[:, 2]) > 1e-6:
        raise CaseError([f"mesh.file = {path}: is a surface in space; needs a plane x3 = 0"])
    if "outer" not in named:
        found = ", ".join(sorted(named)) or "none"
        raise CaseError(
            [f"mesh.file = {path}: no physical group 'outer' on the boundary (found: {found})"]
        )
    points = np.ascontiguousarray(points[:, :gdim])
    facets = {name: number[nodes.astype(np.int64)] for name, nodes in named.items()}
    return MeshData(
        points,
        positively_oriented(points, number[cells.astype(np.int64)]),
        {name: np.unique(facet) for name, facet in facets.items()},
        facets,
    )


def _unusable(gmsh: ModuleType, gdim: int, cell_type: int) -> str:
    """What keeps the mesh from being used, or nothing."""
    types = gmsh.model.mesh.getElementTypes(gdim).tolist()
    if cell_type not in types:
        return "holds no straight-sided triangles or tetrahedra"
    others = [gmsh.model.mesh.getElementProperties(t)[0] for t in types if t != cell_type]
    if others:
        return f"holds cells other than straight-sided simplices: {', '.join(others)}"
    return ""


def _named_facets(gmsh: ModuleType, gdim: int, facet_type: int) -> dict[str, IntArray]:
    named: dict[str, IntArray] = {}
    for dim, group in gmsh.model.getPhysicalGroups(gdim - 1):
        nodes = [
            gmsh.model.mesh.getElementsByType(facet_type, entity)[1]
            for entity in gmsh.model.getEntitiesForPhysicalGroup(dim, group)
        ]
        name = gmsh.model.getPhysicalName(dim, group) or str(group)
        named[name] = np.concatenate(nodes).reshape(-1, gdim).astype(np.int64)
    return named
