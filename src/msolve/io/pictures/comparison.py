# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Where a coupled solution differs from the full atomistic one, and by how much."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import LogNorm
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
from msolve.regions import Regions

if TYPE_CHECKING:
    from msolve.io.pictures.space import Cut

BoolArray = npt.NDArray[np.bool_]


def picture_comparison(
    path: str | Path,
    positions: Array,
    error: Array,
    *,
    regions: Regions,
    counted: BoolArray,
    spacing: float,
    title: str,
    summary: str,
    cut: Cut | None = None,
    window: float | None = None,
) -> None:
    """Draw the displacement error of every atom of the full model, as a map and against distance.

    Args:
        path: PNG file.
        positions: Atoms of the full model, shape ``(n, 2)`` or ``(n, 3)`` [Å].
        error: Length of each atom's displacement error, shape ``(n,)`` [Å].
        regions: Atomistic zones.
        counted: Atoms that the error norm counts, shape ``(n,)``; the others lie in the rim.
        spacing: Distance of nearest neighbours [Å].
        title: First line.
        summary: Second line, e.g. the error norm.
        cut: In space, the plane behind which atoms are drawn.
        window: Half the width of the map [Å]; by default all is on it.

    Raises:
        RenderError: A body in space cannot be rendered here.
    """
    with figure(path, 13.4, 7.5, title) as made:
        where, decay = panel(made, 0.2, 0.95, 5.8, 5.7), panel(made, 7.0, 0.95, 6.2, 5.7)
        shown = np.maximum(error, 1e-12)
        seen = np.abs(positions[:, :2]).max(axis=1) < (window or np.inf)
        top = float(np.quantile(shown[seen], 0.999))
        norm = LogNorm(max(float(np.quantile(shown[seen], 0.02)), 1e-4 * top), top)
        if cut is None:
            drawn = _draw_plane(where, positions[seen], shown[seen], regions, spacing, norm)
        else:
            from msolve.io.pictures.space import draw_errors

            drawn = draw_errors(
                where, positions, shown, regions=regions, cut=cut, spacing=spacing, norm=norm
            )
        which = "every atom" if cut is None else "the atoms behind the cut"
        if window is not None:
            which = "the atoms and nodes around the core"
        where.set_title(f"Displacement error of {which}")
        label = "distance from the full atomistic solution [Å]"
        colour_bar(made, drawn, panel(made, 1.3, 0.68, 3.6, 0.14), label)
        scale_bar(where)
        _draw_decay(decay, regions.distance(positions), shown, regions.blend, counted)
        decay.set_title(summary)


def _draw_plane(
    where: Axes, positions: Array, error: Array, regions: Regions, spacing: float, norm: LogNorm
) -> EllipseCollection:
    """The atoms as a map, with the borders of core and blend."""
    widest = 1.03 * float(np.abs(positions[:, :2]).max())
    map_axes(where, (-widest, widest), (-widest, widest))
    drawn = draw_atoms(
        where, positions, 1.12 * spacing, values=error, norm=norm, cmap=AMOUNT, edge=0.0
    )
    halo = [withStroke(linewidth=3.5, foreground="white")]
    line = np.linspace(-widest, widest, 400)
    grid = np.stack([*np.meshgrid(line, line), np.zeros((400, 400))], axis=2)
    away = regions.distance(grid.reshape(-1, 3)).reshape(400, 400)
    for level, colour, style in ((0.0, CORE, "-"), (regions.blend, BLEND, (0, (4, 2)))):
        border = where.contour(
            line, line, away, levels=[level], colors=[colour], linewidths=1.6, zorder=8,
            linestyles=[style],
        )  # fmt: skip
        border.set(path_effects=halo)
    return drawn


def _draw_decay(
    axes: Axes, distance: Array, error: Array, blend: float, counted: BoolArray
) -> None:
    """Error of each atom against its distance from the border of the nearest core, negative inside."""
    axes.scatter(
        distance[counted], error[counted], s=6, color=LINES[0], alpha=0.4, lw=0, label="one atom"
    )
    if not counted.all():
        axes.scatter(
            distance[~counted], error[~counted], s=6, color=GREY, alpha=0.4, lw=0,
            label="in the rim, not counted",
        )  # fmt: skip
    first, last = float(distance.min()), float(distance.max())
    edges = np.linspace(first, last, 26)
    place = np.digitize(distance, edges)
    rings = [k for k in range(1, len(edges)) if np.count_nonzero(place == k) > 3]
    axes.plot(
        [edges[k - 1 : k + 1].mean() for k in rings],
        [float(np.sqrt(np.mean(error[place == k] ** 2))) for k in rings],
        color=INK,
        lw=2.0,
        label="root mean square",
    )
    axes.axvspan(first, 0, color=CORE, alpha=0.16, lw=0, label="atomistic core")
    axes.axvspan(0, blend, color=BLEND, alpha=0.14, lw=0, label="blending zone")
    axes.set_yscale("log")
    axes.set_ylim(float(np.quantile(error, 0.005)), 4 * float(error.max()))
    axes.set_xlim(first, last)
    axes.set_xlabel("distance from the border of the nearest core [Å]")
    axes.set_ylabel("displacement error [Å]")
    axes.legend(loc="upper right", markerscale=2.5)
