# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Meshes from gmsh's .msh files, of any outline: triangles or tetrahedra and their named parts.

What is wrong with a mesh is said here, before anything is built on it, with the place where.
"""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from msolve.errors import CaseError
from msolve.io.meshes.data import (
    MeshData,
    boundary_facets,
    facet_keys,
    overlapping_facets,
    positively_oriented,
    signed_volumes,
)
from msolve.io.meshes.session import gmsh_session

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

LINE, TRIANGLE, TETRAHEDRON = 1, 2, 4

FLAT = 1e-8
"""A cell whose volume is this fraction of that of its longest edge is no cell."""

SAME_PLACE = 1e-6
"""Nodes closer than this fraction of the shortest usual edge are one node given twice."""

_log = logging.getLogger("msolve")


def read_mesh(path: str | Path, unit: float = 1.0) -> MeshData:
    """Read a mesh and check it. Rank-local.

    Physical groups become tags: of points and boundary parts ``node_tags``, of boundary parts
    ``facet_tags``, of volumes (areas in the plane) ``cell_tags``. Tetrahedra make a mesh in space,
    triangles one in the plane. Points that belong to no cell are left out.

    Args:
        path: File in gmsh's format, versions 2.2 to 4.1, text or binary.
        unit: Length of the file's unit [Å].

    Raises:
        CaseError: The file is missing, is no mesh, has other cells than straight simplices, does
            not lie in a plane, or its cells are flat, overlap, or do not hang together.
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
        cell_type = TETRAHEDRON if gdim == 3 else TRIANGLE
        problem = _unusable(gmsh, gdim, cell_type)
        if problem:
            raise CaseError([f"mesh.file = {path}: {problem}"])
        cell_names, cells = gmsh.model.mesh.getElementsByType(cell_type)
        groups = {dim: _groups(gmsh, dim) for dim in range(gdim + 1)}
    number = np.full(int(tags.max()) + 1, -1, dtype=np.int64)
    used = np.flatnonzero(np.isin(tags, cells))
    number[tags[used].astype(np.int64)] = np.arange(len(used))
    points = unit * coordinates.reshape(-1, 3)[used]
    if gdim == 2 and np.ptp(points[:, 2]) > 1e-6:
        raise CaseError([f"mesh.file = {path}: is a surface in space; needs a plane x3 = 0"])
    mesh = _tagged(
        np.ascontiguousarray(points[:, :gdim]),
        number[cells.astype(np.int64)].reshape(-1, gdim + 1),
        cell_names.astype(np.int64),
        number,
        groups,
    )
    problems = mesh_problems(mesh)
    if problems:
        raise CaseError([f"mesh.file = {path}: {problem}" for problem in problems])
    return mesh


def mesh_problems(mesh: MeshData) -> list[str]:
    """What keeps a mesh from being used, with the place where; empty if nothing does."""
    points, cells = mesh.points, mesh.cells
    corner = points[cells]
    longest = np.linalg.norm(corner - np.roll(corner, 1, axis=1), axis=2).max(axis=1)
    flat = np.abs(signed_volumes(points, cells)) < FLAT * longest**mesh.gdim
    if flat.any():
        where = corner[flat][0].mean(axis=0)
        return [f"{np.count_nonzero(flat)} cells are flat, first at {_place(where)}; mesh it anew"]
    apart = cKDTree(points).query(points, k=2)[0][:, 1]
    twice = apart < SAME_PLACE * float(np.median(longest))
    if twice.any():
        return [
            f"{np.count_nonzero(twice)} nodes lie on another node, first at "
            f"{_place(points[twice][0])}: the parts of the mesh are not joined; gmsh's "
            "'Coherence Mesh' would do"
        ]
    overlaps = overlapping_facets(cells)
    if len(overlaps):
        where = points[overlaps[0]].mean(axis=0)
        return [
            f"cells overlap or are turned inside out at {len(overlaps)} facets, first at "
            f"{_place(where)}; mesh it anew"
        ]
    pieces = _pieces(len(points), cells)
    if pieces > 1:
        return [f"falls into {pieces} parts that share no nodes; needs one body"]
    return _tag_problems(mesh)


def _tag_problems(mesh: MeshData) -> list[str]:
    """Named facets that belong to no cell."""
    outer = facet_keys(boundary_facets(mesh.cells), len(mesh.points))
    problems = []
    for name, facets in mesh.facet_tags.items():
        inside = ~np.isin(facet_keys(facets, len(mesh.points)), outer)
        if inside.all():
            problems.append(
                f"physical group {name!r} lies inside the body; loads act on its boundary only"
            )
        elif inside.any():
            problems.append(
                f"physical group {name!r} has {np.count_nonzero(inside)} facets inside the body, "
                "all others on its boundary; make two groups of it"
            )
    return problems


def _place(X: Array) -> str:
    return f"({', '.join(f'{x:.4g}' for x in X)}) angstrom"


def _pieces(n_points: int, cells: IntArray) -> int:
    around = np.roll(cells, 1, axis=1)
    graph = sparse.coo_matrix(
        (np.ones(cells.size), (cells.ravel(), around.ravel())), shape=(n_points, n_points)
    )
    return int(connected_components(graph, directed=False)[0])


def _unusable(gmsh: ModuleType, gdim: int, cell_type: int) -> str:
    """What keeps the file from being used, or nothing."""
    types = gmsh.model.mesh.getElementTypes(gdim).tolist()
    others = [gmsh.model.mesh.getElementProperties(t)[0] for t in types if t != cell_type]
    if not types:
        return "holds no straight-sided triangles or tetrahedra"
    if others:
        return f"holds cells other than straight-sided simplices: {', '.join(others)}"
    return ""


def _groups(gmsh: ModuleType, dim: int) -> dict[str, tuple[IntArray, IntArray]]:
    """Physical groups of one dimension: gmsh's names of the elements and of their corners."""
    kind = {0: 15, 1: LINE, 2: TRIANGLE, 3: TETRAHEDRON}[dim]
    found: dict[str, tuple[IntArray, IntArray]] = {}
    for _, group in gmsh.model.getPhysicalGroups(dim):
        parts = [
            gmsh.model.mesh.getElementsByType(kind, entity)
            for entity in gmsh.model.getEntitiesForPhysicalGroup(dim, group)
        ]
        name = gmsh.model.getPhysicalName(dim, group) or str(group)
        elements = np.concatenate([part[0] for part in parts]).astype(np.int64)
        corners = np.concatenate([part[1] for part in parts]).astype(np.int64)
        found[name] = elements, corners.reshape(-1, dim + 1)
    return found


def _tagged(
    points: Array,
    cells: IntArray,
    cell_names: IntArray,
    number: IntArray,
    groups: dict[int, dict[str, tuple[IntArray, IntArray]]],
) -> MeshData:
    """The mesh with its groups, in its own numbers; names of elements and corners are gmsh's."""
    gdim = points.shape[1]
    nodes: dict[str, IntArray] = {}
    for dim in range(gdim):
        for name, (_, corners) in groups[dim].items():
            known = number[corners]
            here = np.unique(known[known >= 0])
            nodes[name] = np.union1d(nodes[name], here) if name in nodes else here
    facets = {name: number[corners] for name, (_, corners) in groups[gdim - 1].items()}
    loose = [name for name, corners in facets.items() if (corners < 0).any()]
    for name in loose:
        _log.warning("mesh: physical group %r has facets that belong to no cell; left out", name)
        facets[name] = facets[name][(facets[name] >= 0).all(axis=1)]
    order = np.argsort(cell_names)
    parts = {
        name: np.sort(order[np.searchsorted(cell_names, elements, sorter=order)])
        for name, (elements, _) in groups[gdim].items()
    }
    return MeshData(points, positively_oriented(points, cells), nodes, facets, parts)
