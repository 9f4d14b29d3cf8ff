# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Where a coupled solution differs from the full atomistic one, and by how much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Circle

from msolve.io.pictures.canvas import (
    AMOUNT,
    BLEND,
    CORE,
    GREY,
    INK,
    LINES,
    Array,
    draw_atoms,
    figure,
    map_axes,
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
    with figure(path, 13.2, 6.6) as made:
        made.suptitle(title, x=0.012, ha="left", fontsize=15, fontweight="bold")
        where, decay = made.subplots(1, 2, width_ratios=[1.15, 1.0])
        shown = np.maximum(error, 1e-12)
        top = float(np.quantile(shown, 0.999))
        norm = LogNorm(max(float(np.quantile(shown, 0.02)), 1e-4 * top), top)
        reach = 1.03 * float(np.abs(positions[:, :2]).max())
        map_axes(where, (-reach, reach), (-reach, reach))
        where.set_title("Displacement error of every atom")
        drawn = draw_atoms(
            where, positions, 0.95 * spacing, values=shown, norm=norm, cmap=AMOUNT, edge=0.0
        )
        for x, y, radius in cores:
            where.add_patch(Circle((x, y), radius, fill=False, ec=CORE, lw=1.6, zorder=8))
            where.add_patch(
                Circle((x, y), radius + blend, fill=False, ec=BLEND, lw=1.6, ls="--", zorder=8)
            )
        bar = made.colorbar(
            drawn, ax=where, location="bottom", shrink=0.55, aspect=32, pad=0.02, extend="both"
        )
        bar.set_label("distance from the full atomistic solution [Å]")
        bar.outline.set_visible(False)  # type: ignore[operator]
        scale_bar(where, (0.0, 0.0))
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
    axes.scatter(distance, error, s=5, color=LINES[0], alpha=0.25, lw=0, label="one atom")
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
    axes.axvspan(0, radius, color=CORE, alpha=0.10, lw=0, label="atomistic core")
    axes.axvspan(radius, radius + blend, color=BLEND, alpha=0.14, lw=0, label="blending zone")
    if rim_from is not None:
        axes.axvspan(
            rim_from, float(distance.max()), color=GREY, alpha=0.18, lw=0, label="rim, not counted"
        )
    axes.set_yscale("log")
    axes.set_ylim(float(np.quantile(error, 0.005)), 2 * float(error.max()))
    axes.set_xlim(0, float(distance.max()))
    axes.set_xlabel("distance from the tip or defect [Å]")
    axes.set_ylabel("displacement error [Å]")
    axes.legend(loc="lower right", markerscale=2.5)
