# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The whole body with its mesh, and where atoms meet elements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import ConnectionPatch, Rectangle

from msolve.io.pictures.canvas import (
    BLEND,
    CORE,
    GREY,
    INK,
    PAD,
    AtomsView,
    MeshView,
    balanced,
    colour_bar,
    draw_atoms,
    draw_mesh,
    figure,
    map_axes,
    panel,
    scale_bar,
)

_CLASSES = (
    (2, PAD, "follow the mesh"),
    (1, BLEND, "blending zone"),
    (0, CORE, "atomistic core"),
)


def picture_domain(
    path: str | Path, mesh: MeshView, atoms: AtomsView, *, label: str, title: str
) -> None:
    """Draw the deformed body in the colours of a field, and the atoms by their part in the model.

    Args:
        path: PNG file.
        mesh: Nodes, triangles, displacement, one value per triangle.
        atoms: Atoms of the patch and their regions.
        label: What the values are, with unit, e.g. ``"opening stress σ22 [GPa]"``.
        title: First line, e.g. ``"Tungsten, crack (110)[001] at 1.05 K_G"``.
    """
    with figure(path, 12.6, 7.5, title) as made:
        whole, near = panel(made, 0.2, 0.85, 6.0, 5.8), panel(made, 6.6, 0.85, 5.8, 5.8)
        norm = balanced(mesh.values)
        corners = mesh.corners()
        low, high = corners.min((0, 1)), corners.max((0, 1))
        centre, half = (low + high) / 2, 0.51 * float((high - low).max())
        map_axes(whole, (centre[0] - half, centre[0] + half), (centre[1] - half, centre[1] + half))
        whole.set_title("The whole body")
        field = draw_mesh(whole, mesh, norm, 0.25)
        _draw_classes(whole, atoms, edge=0.0)
        scale_bar(whole)
        colour_bar(made, field, panel(made, 1.4, 0.62, 3.6, 0.14), label)
        window = _window(atoms)
        map_axes(near, window[0], window[1])
        near.set_title("Where atoms meet finite elements")
        draw_mesh(near, mesh, norm, 0.4)
        _draw_classes(near, atoms, edge=0.5)
        scale_bar(near)
        _legend(near, atoms)
        _connect(whole, near, window)


def _draw_classes(axes: Axes, atoms: AtomsView, edge: float) -> None:
    for rank, (region, colour, _) in enumerate(_CLASSES):
        chosen = atoms.region == region
        size = (0.42 if region == 2 else 0.62) * atoms.spacing
        draw_atoms(axes, atoms.positions[chosen], size, colour=colour, edge=edge, zorder=5 + rank)


def _window(atoms: AtomsView) -> tuple[tuple[float, float], tuple[float, float]]:
    """A square around all atoms and a little more."""
    low, high = atoms.positions[:, :2].min(0), atoms.positions[:, :2].max(0)
    centre, half = (low + high) / 2, 0.54 * float((high - low).max())
    x, y = (((c - half), (c + half)) for c in centre.tolist())
    return x, y


def _legend(axes: Axes, atoms: AtomsView) -> None:
    handles = [
        Line2D(
            [],
            [],
            marker="o",
            ls="none",
            ms=8,
            mfc=colour,
            mec=INK,
            mew=0.4,
            label=f"{words}: {np.count_nonzero(atoms.region == region)}",
        )
        for region, colour, words in reversed(_CLASSES)
    ]
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.015),
        ncols=3,
        handletextpad=0.2,
        columnspacing=1.4,
    )


def _connect(
    whole: Axes, near: Axes, window: tuple[tuple[float, float], tuple[float, float]]
) -> None:
    """Show which part of the left map the right one enlarges."""
    (x0, x1), (y0, y1) = window
    whole.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=INK, lw=1.0, zorder=15))
    near.add_patch(
        Rectangle((0, 0), 1, 1, transform=near.transAxes, fill=False, ec=INK, lw=1.0, zorder=15)
    )
    for y, corner in ((y1, 1.0), (y0, 0.0)):
        near.add_artist(
            ConnectionPatch(
                (x1, y), (0.0, corner), "data", "axes fraction", axesA=whole, axesB=near,
                color=GREY, lw=0.7, zorder=0,
            )
        )  # fmt: skip
