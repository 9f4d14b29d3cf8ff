# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A user's mesh against what the case wants of it: its tags, its outline, its size around the cores."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from msolve.io.meshes.data import MeshData, boundary_facets, facet_keys
from msolve.loads import BoundaryLoads
from msolve.regions import Regions

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

FINE, COARSE = 0.5, 1.0
"""Edges in the blending zone below this many spacings of atoms, or above this many widths of it, are unusual."""


def with_outer(mesh: MeshData) -> MeshData:
    """The mesh, its whole boundary tagged ``outer`` unless a part of it has that name already."""
    if "outer" in mesh.node_tags:
        return mesh
    facets = boundary_facets(mesh.cells)
    return dataclasses.replace(
        mesh,
        node_tags={**mesh.node_tags, "outer": np.unique(facets)},
        facet_tags={**mesh.facet_tags, "outer": facets},
    )


def missing_tags(mesh: MeshData, loads: BoundaryLoads) -> list[str]:
    """Tags that loads name and the mesh does not have, each with those that there are."""
    keys = {"nodes": "displacement", "facets": "traction", "cells": "body_force"}
    there = {"nodes": mesh.node_tags, "facets": mesh.facet_tags, "cells": mesh.cell_tags}
    problems = []
    for carrier, names in loads.tags.items():
        found = ", ".join(sorted(there[carrier])) or "none"
        problems += [
            f"load.{keys[carrier]}: on = {name}: the mesh has no physical group of {carrier} with "
            f"this name (found: {found})"
            for name in names
            if name not in there[carrier]
        ]
    return problems


def held_facets(mesh: MeshData, loads: BoundaryLoads) -> IntArray:
    """Which of ``loads.held`` prescribes each boundary facet as a whole, -1 where none does, shape ``(m,)``.

    Facets in the order of ``MeshData.outline``.
    """
    keys = facet_keys(boundary_facets(mesh.cells), len(mesh.points))
    which = np.full(len(keys), -1, dtype=np.int64)
    for k, one in enumerate(loads.held):
        if all(one.components) and one.on in mesh.facet_tags:
            on = facet_keys(mesh.facet_tags[one.on], len(mesh.points))
            which[np.isin(keys, on)] = k
    return which


def size_warnings(mesh: MeshData, regions: Regions, spacing: float) -> list[str]:
    """What is unusual about a mesh around the cores, in sentences; rank-local.

    Args:
        mesh: The mesh.
        regions: Atomistic cores.
        spacing: Distance of nearest neighbours [Å].
    """
    corner = np.zeros((*mesh.cells.shape, 3))
    corner[:, :, : mesh.gdim] = mesh.points[mesh.cells]
    away = regions.distance(corner.mean(axis=1))
    corner = corner[np.abs(away) < max(regions.blend, spacing)]
    if not len(corner):
        return ["mesh: no cell lies in the blending zone; a mesh finer around the cores would do"]
    edges = np.linalg.norm(corner - np.roll(corner, 1, axis=1), axis=2)
    told = []
    if float(np.median(edges)) < FINE * spacing:
        told.append(
            f"mesh: edges around the cores ({np.median(edges):.2g} angstrom) are shorter than half "
            f"the distance of atoms ({spacing:.3g}): they cost, and gain nothing"
        )
    if edges.max() > max(COARSE * regions.blend, 3 * spacing):
        told.append(
            f"mesh: edges of up to {edges.max():.3g} angstrom around the cores, more than the "
            f"blending zone is wide ({regions.blend:.3g}): errors will be large"
        )
    return told
