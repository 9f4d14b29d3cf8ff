# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Meshes as plain arrays: made by gmsh around the atoms of a crystal, or read from a file.

Meshes are built on the calling rank and know nothing of finite elements, function spaces or
communicators. Points are reference positions, so a mesh that is to match a crystal is given the
crystal's sites.
"""

from msolve.io.meshes.ball import ball_mesh
from msolve.io.meshes.data import MeshData, mesh_quality
from msolve.io.meshes.disc import Slit, disc_mesh
from msolve.io.meshes.read import read_mesh
from msolve.io.meshes.user import held_facets, missing_tags, size_warnings, with_outer

__all__ = [
    "MeshData",
    "Slit",
    "ball_mesh",
    "disc_mesh",
    "held_facets",
    "mesh_quality",
    "missing_tags",
    "read_mesh",
    "size_warnings",
    "with_outer",
]
