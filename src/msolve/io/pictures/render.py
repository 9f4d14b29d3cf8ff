# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Renders one scene off screen with PyVista: ``python render.py SCENE.npz IMAGE.npy``.

A program of its own, because VTK ends its process where it finds no OpenGL, and takes a second to
import. Knows nothing of msolve: numbers and colours come in, an image goes out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from vtkmodules.vtkRenderingOpenGL2 import vtkOpenGLSphereMapper

FINE = 2
"""Rendered this many times finer than asked, then averaged: smooth edges without OpenGL's help."""
INK = "#1d2733"


def render(scene: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """Render a scene in parallel projection on white, once for each view.

    Args:
        scene: ``size`` (width, height) [pixels]; ``towards`` the viewer and ``up``; of each view ``centre`` ``(v, 3)``
            and ``half`` the height ``(v,)`` [Å], and opacity of ``edge`` ``(v,)``. Where there is a mesh, ``points``
            ``(n, 3)``, tetrahedra ``cells`` ``(m, 4)``, ``cell_rgb`` ``(m, 3)``, and at the nodes ``depth`` and
            ``away``: only where the first is negative and the second positive is the mesh kept. Atoms: ``positions``
            ``(k, 3)``, ``atom_rgb`` ``(k, 3)`` and ``radius`` [Å]. What lies within ``shade`` [Å] of other things, as
            in a hole, is darker.

    Returns:
        RGB, shape ``(v, height, width, 3)``.
    """
    parts = _surfaces(scene) if "cells" in scene else []
    views = zip(scene["centre"], scene["half"], scene["edge"], strict=True)
    return np.stack([_view(scene, parts, c, float(h), float(e)) for c, h, e in views])


def _view(
    scene: Mapping[str, NDArray[Any]],
    parts: list[tuple[pv.DataSet, dict[str, Any]]],
    centre: NDArray[np.float64],
    half: float,
    edge: float,
) -> NDArray[np.uint8]:
    width, height = (FINE * int(n) for n in scene["size"])
    plotter = pv.Plotter(off_screen=True, window_size=(width, height), lighting="none")
    plotter.set_background("white")
    towards, up = scene["towards"], scene["up"]
    key = towards + 0.45 * up - 0.55 * np.cross(up, towards)
    for direction, intensity in ((key, 0.8), (towards, 0.3)):
        light = pv.Light(light_type="scene light", intensity=intensity)
        light.position, light.focal_point = tuple(direction), (0.0, 0.0, 0.0)
        plotter.add_light(light)
    edges = {"show_edges": edge > 0, "edge_color": INK, "edge_opacity": edge, "line_width": FINE}
    for surface, look in parts:
        plotter.add_mesh(surface, scalars="rgb", rgb=True, **edges, **look)
    if len(scene["positions"]):
        _add_atoms(plotter, scene)
    plotter.camera.parallel_projection = True
    plotter.camera.focal_point = tuple(centre)
    plotter.camera.position = tuple(centre + 10 * half * towards)
    plotter.camera.up = tuple(up)
    plotter.camera.parallel_scale = half
    plotter.reset_camera_clipping_range()
    plotter.enable_ssao(radius=float(scene["shade"]), bias=0.05, kernel_size=32, blur=True)
    image = np.asarray(plotter.screenshot(return_img=True))[..., :3].astype(float)
    plotter.close()
    blocks = image.reshape(height // FINE, FINE, width // FINE, FINE, 3)
    return np.round(blocks.mean((1, 3))).astype(np.uint8)


def _surfaces(scene: Mapping[str, NDArray[Any]]) -> list[tuple[pv.DataSet, dict[str, Any]]]:
    """The cut and the other surfaces of the mesh, and how they are lit."""
    cells, depth = scene["cells"], scene["depth"]
    kept = depth[cells].min(axis=1) < 0
    grid = pv.UnstructuredGrid({pv.CellType.TETRA: cells[kept]}, scene["points"])
    grid.cell_data["rgb"] = scene["cell_rgb"][kept]
    grid.point_data["depth"], grid.point_data["away"] = depth, scene["away"]
    grid = grid.clip_scalar("away", value=0.0, invert=False)
    grid = grid.clip_scalar("depth", value=0.0, invert=True)
    if grid.n_cells == 0:
        return []
    surface = grid.extract_surface(algorithm="dataset_surface")
    surface.point_data["cut"] = (np.abs(surface.point_data["depth"]) < 1e-6).astype(float)
    on_cut = surface.point_data_to_cell_data(pass_point_data=False).cell_data["cut"] > 0.999
    # The cut shows the colours of the bar as they are; the rest is lit, so that its form is seen.
    looks: list[tuple[NDArray[np.bool_], dict[str, Any]]] = [
        (on_cut, {"lighting": False}),
        (~on_cut, {"ambient": 0.35, "diffuse": 0.75}),
    ]
    return [(surface.extract_cells(chosen), look) for chosen, look in looks if chosen.any()]


def _add_atoms(plotter: pv.Plotter, scene: Mapping[str, NDArray[Any]]) -> None:
    points = pv.PolyData(scene["positions"])
    points.point_data["rgb"] = scene["atom_rgb"]
    mapper = vtkOpenGLSphereMapper()
    mapper.SetInputData(points)
    mapper.SetRadius(float(scene["radius"]))
    mapper.SetScalarModeToUsePointFieldData()
    mapper.SelectColorArray("rgb")
    mapper.SetColorModeToDirectScalars()
    actor = pv.Actor()
    actor.SetMapper(mapper)
    actor.prop.ambient, actor.prop.diffuse = 0.45, 0.68
    actor.prop.specular, actor.prop.specular_power = 0.12, 25
    plotter.add_actor(actor)


if __name__ == "__main__":
    with np.load(sys.argv[1]) as arrays:
        given = dict(arrays)
    np.save(sys.argv[2], render(given))
