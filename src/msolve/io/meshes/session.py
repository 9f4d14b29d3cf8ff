# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Use of gmsh that leaves no trace: quiet, deterministic, no signal handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from msolve.errors import UnsupportedError

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

MODEL = "msolve mesh"
# Frontal-Delaunay makes the best-shaped triangles; sizes come from our function alone.
OPTIONS = {
    "General.Terminal": 0,
    "General.NumThreads": 1,
    "Mesh.Algorithm": 6,
    "Mesh.ElementOrder": 1,
    "Mesh.MeshSizeFromPoints": 0,
    "Mesh.MeshSizeFromCurvature": 0,
    "Mesh.MeshSizeExtendFromBoundary": 0,
    "Mesh.RandomSeed": 1,
    "Mesh.Smoothing": 3,
}


@contextmanager
def gmsh_session() -> Iterator[ModuleType]:
    """The gmsh module with a model of its own; whoever used gmsh before finds it as it was.

    Raises:
        UnsupportedError: gmsh's Python module is not installed.
    """
    try:
        import gmsh
    except ImportError as error:
        raise UnsupportedError(
            "meshes are made and read by gmsh, whose Python module is missing; install gmsh"
        ) from error
    began = bool(gmsh.isInitialized())
    if not began:
        # interruptible would replace the process's handler of Ctrl-C.
        gmsh.initialize(readConfigFiles=False, interruptible=False)
    before = {name: gmsh.option.getNumber(name) for name in OPTIONS}
    current = gmsh.model.getCurrent() if began else ""
    try:
        for name, value in OPTIONS.items():
            gmsh.option.setNumber(name, value)
        gmsh.model.add(MODEL)
        yield gmsh
    finally:
        gmsh.model.mesh.removeSizeCallback()
        gmsh.model.setCurrent(MODEL)
        gmsh.model.remove()
        if began:
            for name, value in before.items():
                gmsh.option.setNumber(name, value)
            if current:
                gmsh.model.setCurrent(current)
        else:
            gmsh.finalize()


def fill(loops: Sequence[Array], size: Callable[[float, float], float]) -> tuple[Array, IntArray]:
    """Triangulate what lies inside the first loop and outside the others, keeping their edges.

    Args:
        loops: Corners of closed polygons, shape ``(k, 2)`` each [Å]; the first encloses the rest.
        size: Wanted edge length at (x1, x2) [Å].

    Returns:
        ``(points, triangles)``: the corners of the loops in the given order, then new points, shape
            ``(n, 2)``;
        and corners of triangles, shape ``(m, 3)``.
    """
    corners = np.concatenate(loops)
    with gmsh_session() as gmsh:
        curves = []
        for loop in loops:
            tags = [gmsh.model.geo.addPoint(float(x), float(y), 0.0) for x, y in loop]
            lines = [
                gmsh.model.geo.addLine(a, b) for a, b in zip(tags, tags[1:] + tags[:1], strict=True)
            ]
            for line in lines:
                gmsh.model.geo.mesh.setTransfiniteCurve(line, 2)
            curves.append(gmsh.model.geo.addCurveLoop(lines))
        gmsh.model.geo.addPlaneSurface(curves)
        gmsh.model.geo.synchronize()
        gmsh.model.mesh.setSizeCallback(lambda dim, tag, x, y, z, lc: size(x, y))
        gmsh.model.mesh.generate(2)
        node_tags, coordinates, _ = gmsh.model.mesh.getNodes()
        _, triangle_nodes = gmsh.model.mesh.getElementsByType(2)
    made = coordinates.reshape(-1, 3)[:, :2]
    distance, corner = cKDTree(corners).query(made)
    new = distance > 1e-9 * max(1.0, float(np.abs(corners).max()))
    index = np.where(new, len(corners) + np.cumsum(new) - 1, corner)
    number = np.full(int(node_tags.max()) + 1, -1, dtype=np.int64)
    number[node_tags.astype(np.int64)] = index
    triangles = number[triangle_nodes.astype(np.int64).reshape(-1, 3)]
    return np.concatenate([corners, made[new]]), triangles
