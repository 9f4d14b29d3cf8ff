# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Graded meshes of tetrahedra in a ball, fine around the cores; they ignore the lattice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from msolve.io.meshes.data import MeshData, positively_oriented
from msolve.io.meshes.session import gmsh_session

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

TETRAHEDRON, TRIANGLE = 4, 2

# HXT is fast and deterministic on one thread; sizes come from the field alone.
HXT = 10
STEEPEST = 0.7
"""Growth of edges per distance from a zone where the mesh gets coarse at once."""

LENGTHENED = 1.42
"""Mean edge that HXT makes, over the size that it is asked for (measured on graded balls)."""


def ball_mesh(
    radius: float,
    *,
    spacing: float,
    zones: Sequence[tuple[Array, float]],
    growth: float = 1.0,
    h_max: float = np.inf,
    coarseness: float = 1.0,
) -> MeshData:
    """A mesh of a ball around the origin. Rank-local; deterministic.

    Args:
        radius: Of the ball; the nodes tagged ``outer`` lie on it [Å].
        spacing: Edge length in the fine zones [Å].
        zones: Centres ``(3,)`` and radii of the fine zones [Å].
        growth: Exponent by which edges grow with the distance from the nearest zone, over its radius.
        h_max: Longest wanted edge [Å].
        coarseness: Factor on edges beyond the zones, at least 1; approached at ``STEEPEST``.

    Raises:
        UnsupportedError: gmsh is missing.
        ValueError: A zone reaches the boundary.
    """
    for centre, reach in zones:
        if np.linalg.norm(centre) + reach > radius - spacing / 2:
            raise ValueError(f"the fine zones reach the boundary of the ball, {radius:g}")
    with gmsh_session() as gmsh:
        before = gmsh.option.getNumber("Mesh.Algorithm3D")
        gmsh.option.setNumber("Mesh.Algorithm3D", HXT)
        gmsh.model.occ.addSphere(0.0, 0.0, 0.0, radius)
        gmsh.model.occ.synchronize()
        fields = []
        for centre, reach in zones:
            size = gmsh.model.mesh.field.add("MathEval")
            asked = (spacing / LENGTHENED, growth, min(h_max, radius) / LENGTHENED)
            gmsh.model.mesh.field.setString(size, "F", _formula(centre, reach, *asked, coarseness))
            fields.append(size)
        least = gmsh.model.mesh.field.add("Min")
        gmsh.model.mesh.field.setNumbers(least, "FieldsList", fields)
        gmsh.model.mesh.field.setAsBackgroundMesh(least)
        try:
            gmsh.model.mesh.generate(3)
        finally:
            gmsh.option.setNumber("Mesh.Algorithm3D", before)
        tags, coordinates, _ = gmsh.model.mesh.getNodes()
        cells = gmsh.model.mesh.getElementsByType(TETRAHEDRON)[1].reshape(-1, 4)
        shell = gmsh.model.mesh.getElementsByType(TRIANGLE)[1].reshape(-1, 3)
    number = np.full(int(tags.max()) + 1, -1, dtype=np.int64)
    used = np.flatnonzero(np.isin(tags, cells))
    number[tags[used].astype(np.int64)] = np.arange(len(used))
    points = np.ascontiguousarray(coordinates.reshape(-1, 3)[used])
    facets = number[shell.astype(np.int64)]
    return MeshData(
        points,
        positively_oriented(points, number[cells.astype(np.int64)]),
        {"outer": np.unique(facets)},
        {"outer": facets},
    )


def _formula(
    centre: Array, reach: float, spacing: float, growth: float, largest: float, coarseness: float
) -> str:
    """Edge length to ask gmsh for: ``spacing`` in the zone, growing as a power of r / reach beyond."""
    terms = "+".join(f"({axis}-({float(c)!r}))^2" for axis, c in zip("xyz", centre, strict=True))
    ratio = _larger(f"Sqrt({terms})/{float(reach)!r}", "1")
    size = f"({float(coarseness * spacing)!r}*{ratio}^{float(growth)!r})"
    if coarseness > 1:
        slope = f"({float(spacing)!r}+{STEEPEST * float(reach) / LENGTHENED!r}*({ratio}-1))"
        size = _smaller(size, slope)
    return _smaller(size, repr(float(largest)))


# gmsh has no minimum and maximum; these are (a + b -+ |a - b|) / 2.
def _smaller(a: str, b: str) -> str:
    return f"(({a}+{b}-Fabs({a}-{b}))/2)"


def _larger(a: str, b: str) -> str:
    return f"(({a}+{b}+Fabs({a}-{b}))/2)"
