# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Where a coupled solution differs from the full atomistic one, and by how much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke

from msolve.io.pictures.canvas import (
    AMOUNT,
    BLEND,
    CORE,
    GREY,
    INK,
    LINES,
    Array,
    colour_bar,
    draw_atoms,
    figure,
    map_axes,
    panel,
    scale_bar,
)


def picture_comparison(
    path: str | Path,
    positions: Array,
    error: Array,
    *,
    cores: tuple[tuple[float, float, float], ...],
    blend: float,
    spacing: float,
    title: str,
    summary: str,
    rim_from: float | None = None,
) -> None:
    """Draw the displacement error of every atom of the full model, as a map and against distance.

    Args:
        path: PNG file.
        positions: Atoms of the full model, shape ``(n, 2)`` or ``(n, 3)`` [Å].
        error: Length of each atom's displacement error, shape ``(n,)`` [Å].
        cores: Atomistic zones as (x1, x2, radius) [Å].
        blend: Width of the blending zone [Å].
        spacing: Distance of nearest neighbours [Å].
        title: First line.
        summary: Second line, e.g. the error norm.
        rim_from: Distance from the origin beyond which atoms do not count [Å].
    """
    with figure(path, 13.4, 7.5, title) as made:
        where, decay = panel(made, 0.2, 0.95, 5.8, 5.7), panel(made, 7.0, 0.95, 6.2, 5.7)
        shown = np.maximum(error, 1e-12)
        top = float(np.quantile(shown, 0.999))
        norm = LogNorm(max(float(np.quantile(shown, 0.02)), 1e-4 * top), top)
        widest = 1.03 * float(np.abs(positions[:, :2]).max())
        map_axes(where, (-widest, widest), (-widest, widest))
        where.set_title("Displacement error of every atom")
        drawn = draw_atoms(
            where, positions, 1.12 * spacing, values=shown, norm=norm, cmap=AMOUNT, edge=0.0
        )
        halo = [withStroke(linewidth=3.5, foreground="white")]
        for x, y, radius in cores:
            for reach, style in ((radius, "-"), (radius + blend, (0, (4, 2)))):
                where.add_patch(
                    Circle(
                        (x, y), reach, fill=False, ec=BLEND if reach > radius else CORE,
                        lw=1.6, ls=style, zorder=8, path_effects=halo,
                    )
                )  # fmt: skip
        label = "distance from the full atomistic solution [Å]"
        colour_bar(made, drawn, panel(made, 1.3, 0.68, 3.6, 0.14), label)
        scale_bar(where)
        _draw_decay(decay, positions, shown, cores, blend, rim_from)
        decay.set_title(summary)


def _draw_decay(
    axes: Axes,
    positions: Array,
    error: Array,
    cores: tuple[tuple[float, float, float], ...],
    blend: float,
    rim_from: float | None,
) -> None:
    apart = [np.hypot(positions[:, 0] - x, positions[:, 1] - y) for x, y, _ in cores]
    distance = np.min(apart, axis=0)
    axes.scatter(distance, error, s=6, color=LINES[0], alpha=0.4, lw=0, label="one atom")
    edges = np.linspace(0, float(distance.max()), 26)
    place = np.digitize(distance, edges)
    rings = [k for k in range(1, len(edges)) if np.count_nonzero(place == k) > 3]
    axes.plot(
        [edges[k - 1 : k + 1].mean() for k in rings],
        [float(np.sqrt(np.mean(error[place == k] ** 2))) for k in rings],
        color=INK,
        lw=2.0,
        label="root mean square",
    )
    radius = max(core[2] for core in cores)
    axes.axvspan(0, radius, color=CORE, alpha=0.16, lw=0, label="atomistic core")
    axes.axvspan(radius, radius + blend, color=BLEND, alpha=0.14, lw=0, label="blending zone")
    if rim_from is not None:
        axes.axvspan(
            rim_from, float(distance.max()), color=GREY, alpha=0.18, lw=0, label="rim, not counted"
        )
    axes.set_yscale("log")
    axes.set_ylim(float(np.quantile(error, 0.005)), 4 * float(error.max()))
    axes.set_xlim(0, float(distance.max()))
    axes.set_xlabel("distance from the tip or defect [Å]")
    axes.set_ylabel("displacement error [Å]")
    axes.legend(loc="upper right", markerscale=2.5)
