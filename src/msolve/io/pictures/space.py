# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Pictures of bodies in space: cut open by a plane through the defect, seen from aslant.

Here colours, camera and page are chosen; the scene itself is rendered by PyVista in a process of
its own (``render.py``), which may fail or crash without harm to the run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from msolve.io.pictures.canvas import (
    AMOUNT,
    BLEND,
    CORE,
    INK,
    STRESS,
    Array,
    AtomsView,
    IntArray,
    MeshView,
    RenderError,
    balanced,
    colour_bar,
    figure,
    map_axes,
    panel,
    scale_bar,
)
from msolve.regions import Regions

Scene = dict[str, NDArray[Any]]

RENDERER = Path(__file__).with_name("render.py")
PATIENCE = 600.0
"""A scene that takes longer is given up [s]."""
ABOVE, ASIDE = np.deg2rad(28.0), np.deg2rad(20.0)
"""How far the viewer stands above and to the right of the normal of the cut."""
PIXELS_PER_INCH = 180


@dataclass(frozen=True)
class Cut:
    """A plane normal to a laboratory axis; what lies on the positive side is taken away.

    Attributes:
        axis: Which axis, 0 to 2.
        at: Coordinate of the plane [Å].
    """

    axis: int
    at: float

    @classmethod
    def through(cls, centres: Array, flat: Array) -> Cut:
        """The plane through the first centre that misses the others least and opens flat holes.

        Args:
            centres: Of defects, shape ``(n, 3)`` [Å].
            flat: Normals of flat holes, shape ``(k, 3)``; the plane holds them as well as may be.

        Returns:
            Normal to x3 where nothing speaks against it.
        """
        missed = np.abs(centres - centres[0]).max(axis=0)
        lengths = np.linalg.norm(flat, axis=1, keepdims=True)
        across = np.abs(flat / lengths).max(axis=0, initial=0.0)
        order = sorted((2, 0, 1), key=lambda k: (across[k] > 0.75, round(float(missed[k]), 3)))
        return cls(order[0], float(centres[0, order[0]]))

    @property
    def plane(self) -> tuple[int, int]:
        """The axes that lie in the cut, to the right and up."""
        return (self.axis + 1) % 3, (self.axis + 2) % 3

    def depth(self, X: Array) -> Array:
        """Height above the plane, negative behind it, shape ``(n,)`` [Å]."""
        return np.asarray(X[:, self.axis] - self.at)

    def camera(self) -> Array:
        """Rows: to the right, up, towards the viewer; orthonormal, shape ``(3, 3)``."""
        x, y = (np.eye(3)[k] for k in self.plane)
        level = np.sin(ASIDE) * x + np.cos(ASIDE) * np.eye(3)[self.axis]
        towards = np.cos(ABOVE) * level + np.sin(ABOVE) * y
        up = np.cos(ABOVE) * y - np.sin(ABOVE) * level
        return np.stack([np.cross(up, towards), up, towards])


def picture_domain(
    path: str | Path,
    mesh: MeshView,
    atoms: AtomsView,
    *,
    reference: Array,
    regions: Regions,
    cut: Cut,
    label: str,
    title: str,
) -> None:
    """Draw the deformed body cut open, and beside it the neighbourhood of the atoms.

    Args:
        path: PNG file.
        mesh: Nodes and tetrahedra, displacement, one value per tetrahedron.
        atoms: Atoms of the patch; those of core and blending zone are drawn.
        reference: Their reference positions, shape ``(n, 3)`` [Å].
        regions: Atomistic zones.
        cut: Where the body is cut, in the reference configuration.
        label: What the values are, with unit.
        title: First line.

    Raises:
        RenderError: PyVista is missing, or there is no OpenGL.
    """
    behind = (atoms.region < 2) & (cut.depth(reference) < 0.1 * atoms.spacing)
    positions, inside = atoms.positions[behind], np.asarray(atoms.values[behind])
    norm = balanced(np.concatenate([mesh.values, inside]), 0.99)
    # A hair above the plane, so that nodes on it do not make empty cells.
    depth = cut.depth(mesh.points) - 1e-3
    points = mesh.points + mesh.displacement
    scene: Scene = {
        "points": points,
        "cells": mesh.cells,
        "cell_rgb": _rgb(mesh.values, norm, STRESS),
        "depth": depth,
        "away": regions.distance(mesh.points) - regions.blend,
        "positions": positions,
        "atom_rgb": _rgb(inside, norm, STRESS),
        "radius": np.array(0.46 * atoms.spacing),
        "shade": np.array(1.5 * atoms.spacing),
    }
    low, high = points.min(0), points.max(0)
    body = (low + high) / 2
    body[cut.axis] = cut.at
    low, high = atoms.positions[atoms.region < 2].min(0), atoms.positions[atoms.region < 2].max(0)
    zone = (low + high) / 2
    zone[cut.axis] = cut.at
    with figure(path, 12.6, 7.5, title) as made:
        whole, near = panel(made, 0.2, 0.95, 6.0, 5.7), panel(made, 6.5, 0.95, 5.8, 5.7)
        whole.set_title("The whole body, cut open")
        near.set_title("Where atoms meet finite elements")
        reach = 0.55 * float(np.delete(high - low, cut.axis).max())
        radius = float(np.linalg.norm(points - body, axis=1).max())
        size = _edge_length(points, mesh.cells)
        views = [(whole, body, 1.03 * radius), (near, zone, 1.3 * reach)]
        _show(views, scene, cut, size)
        for axes, centre, half in views:
            _outlines(axes, regions, cut, centre, half)
            scale_bar(axes)
        _frame(whole, near, (zone - body) @ cut.camera().T, 1.3 * reach)
        _axes_cross(whole, cut)
        colours = ScalarMappable(norm, STRESS)
        colour_bar(made, colours, panel(made, 1.4, 0.68, 3.6, 0.14), label)
        made.text(9.4 / 12.6, 0.75 / 7.5, _counts(atoms), ha="center", va="top", fontsize=10)


def draw_errors(
    axes: Axes, positions: Array, error: Array, *, regions: Regions, cut: Cut, spacing: float,
    norm: Normalize,
) -> ScalarMappable:  # fmt: skip
    """Draw the atoms behind the cut in the colours of their error.

    Args:
        axes: Where.
        positions: Atoms, shape ``(n, 3)`` [Å].
        error: Of each, shape ``(n,)`` [Å].
        regions: Atomistic zones.
        cut: Where the body is cut.
        spacing: Distance of nearest neighbours [Å].
        norm: Colours.

    Returns:
        What a colour bar shows.

    Raises:
        RenderError: PyVista is missing, or there is no OpenGL.
    """
    behind = cut.depth(positions) < 0.1 * spacing
    scene: Scene = {
        "positions": positions[behind],
        "atom_rgb": _rgb(error[behind], norm, AMOUNT),
        "radius": np.array(0.5 * spacing),
        "shade": np.array(1.5 * spacing),
    }
    centre = (positions.min(0) + positions.max(0)) / 2
    centre[cut.axis] = cut.at
    half = 1.03 * float(np.linalg.norm(positions - centre, axis=1).max()) + spacing
    _show([(axes, centre, half)], scene, cut, 0.0)
    _outlines(axes, regions, cut, centre, half)
    _axes_cross(axes, cut)
    return ScalarMappable(norm, AMOUNT)


def render(scene: Scene) -> NDArray[np.uint8]:
    """Render a scene, see ``render.py``, in a process of its own.

    Raises:
        RenderError: PyVista is missing, there is no OpenGL, or it takes too long.
    """
    # Without DISPLAY, VTK looks for EGL and OSMesa and does not ask an X server that may be far away.
    quiet = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
    try:
        with tempfile.TemporaryDirectory(prefix="msolve-") as folder:
            given, made = Path(folder) / "scene.npz", Path(folder) / "image.npy"
            np.savez(given, **scene)  # type: ignore[arg-type]
            command = [sys.executable, "-P", str(RENDERER), str(given), str(made)]
            child = subprocess.run(
                command, env=quiet, stdin=subprocess.DEVNULL, capture_output=True,
                text=True, errors="replace", timeout=PATIENCE, check=False,
            )  # fmt: skip
            if child.returncode == 0:
                return np.asarray(np.load(made))
    except subprocess.TimeoutExpired as error:
        raise RenderError(f"rendering took more than {PATIENCE:g} s") from error
    except OSError as error:
        raise RenderError(f"the renderer could not be run: {error}") from error
    if child.returncode < 0:
        raise RenderError("VTK crashed, as it does without OpenGL; libEGL (libegl1) would do")
    said = child.stderr.strip().splitlines()
    raise RenderError(f"PyVista failed: {said[-1] if said else 'it did not say why'}")


def _show(views: Sequence[tuple[Axes, Array, float]], scene: Scene, cut: Cut, size: float) -> None:
    """Render into map axes whose coordinates are angstrom in the plane of the picture.

    Args:
        views: Of each the axes, the point in their middle, shape ``(3,)`` [Å], and half their height [Å].
        scene: Mesh and atoms, see ``render.py``.
        cut: Where the body is cut.
        size: Length of a typical edge of the mesh [Å]; edges fade away where that is a few pixels.
    """
    box, page = views[0][0].get_position(), views[0][0].figure.get_size_inches()
    pixels = int(PIXELS_PER_INCH * min(box.width * page[0], box.height * page[1]))
    half = np.array([view[2] for view in views])
    _, up, towards = cut.camera()
    images = render(
        {
            **scene,
            "size": np.array([pixels, pixels]),
            "centre": np.stack([view[1] for view in views]),
            "half": half,
            "towards": towards,
            "up": up,
            "edge": np.clip((size * pixels / (2 * half) - 4) / 30, 0.0, 0.3),
        }
    )
    for (axes, _, reach), image in zip(views, images, strict=True):
        map_axes(axes, (-reach, reach), (-reach, reach))
        box_seen = (-reach, reach, -reach, reach)
        axes.imshow(image, extent=box_seen, interpolation="antialiased", zorder=1)


def _outlines(axes: Axes, regions: Regions, cut: Cut, centre: Array, half: float) -> None:
    """Borders of the cores and of the blend, where the plane cuts them."""
    line = np.linspace(-2 * half, 2 * half, 401)
    grid = np.empty((401, 401, 3))
    grid[..., cut.axis] = cut.at
    for k, values in zip(cut.plane, np.meshgrid(line, line), strict=True):
        grid[..., k] = values + centre[k]
    away = contour_generator(line, line, regions.distance(grid.reshape(-1, 3)).reshape(401, 401))
    halo = [withStroke(linewidth=3.2, foreground="white", alpha=0.9)]
    seen = cut.camera()[:2, list(cut.plane)].T
    for level, colour, style in ((0.0, CORE, "-"), (regions.blend, BLEND, (0, (4, 2)))):
        for border in away.lines(level):
            axes.plot(
                *(np.asarray(border) @ seen).T, color=colour, lw=1.6, ls=style, zorder=8,
                path_effects=halo,
            )  # fmt: skip


def _frame(whole: Axes, near: Axes, at: Array, half: float) -> None:
    """Show which part of the left picture the right one enlarges."""
    corner = (float(at[0]) - half, float(at[1]) - half)
    whole.add_patch(Rectangle(corner, 2 * half, 2 * half, fill=False, ec=INK, lw=1.0, zorder=15))
    near.add_patch(
        Rectangle((0, 0), 1, 1, transform=near.transAxes, fill=False, ec=INK, lw=1.0, zorder=15)
    )


def _axes_cross(axes: Axes, cut: Cut) -> None:
    """The laboratory axes as the viewer sees them, in the upper left corner."""
    low, high = axes.get_xlim()
    length = 0.07 * (high - low)
    origin = np.array([low + 0.055 * (high - low), high - 0.13 * (high - low)])
    seen = cut.camera()[:2].T * length
    for k, arrow in enumerate(seen):
        axes.annotate(
            "", origin + arrow, origin,
            arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.2, "shrinkA": 0, "shrinkB": 0},
            zorder=20,
        )  # fmt: skip
        tip = origin + arrow + 0.3 * length * arrow / np.linalg.norm(arrow)
        axes.text(*tip, f"$x_{k + 1}$", ha="center", va="center", fontsize=10, zorder=20)


def _rgb(values: Array, norm: Normalize, colours: Colormap) -> NDArray[np.uint8]:
    return np.asarray(colours(norm(values), bytes=True))[:, :3]


def _edge_length(points: Array, cells: IntArray) -> float:
    """Median length of an edge [Å]."""
    return float(np.median(np.linalg.norm(points[cells[:, 0]] - points[cells[:, 1]], axis=1)))


def _counts(atoms: AtomsView) -> str:
    core, blend = (np.count_nonzero(atoms.region == region) for region in (0, 1))
    return f"{core} atoms in the core, {blend} in the blending zone; those in front of the cut are not shown"
