# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Refinement as a strip: mesh and atoms of its rounds, one beside the other, and the error over the unknowns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from msolve.io.pictures.canvas import FAINT, LINES, figure, panel
from msolve.io.rounds import RoundView

MOST = 5
"""Rounds in the strip: the first, the last, and some between."""


def picture_rounds(path: str | Path, views: Sequence[RoundView], *, title: str, label: str) -> None:
    """Draw the rounds of a refinement.

    Args:
        path: PNG file.
        views: The rounds, in order.
        title: First line.
        label: What the error is, with its unit.
    """
    chosen = np.unique(np.linspace(0, len(views) - 1, min(MOST, len(views))).round().astype(int))
    side, low = 3.0, 0.75
    width = side * len(chosen) + 4.6
    with figure(path, width, side + 1.6, title) as made:
        for place, k in enumerate(chosen):
            view = views[k]
            axes = panel(made, 0.2 + place * side, low, side - 0.25, side - 0.25)
            axes.triplot(*view.points.T, view.cells, color="#9aa5b1", lw=0.3, zorder=1)
            axes.plot(*view.atoms.T, ".", color=LINES[0], ms=1.6, zorder=2)
            axes.set_aspect("equal")
            axes.axis("off")
            told = f"{len(view.atoms)} atoms, {view.unknowns} unknowns"
            axes.set_title(f"round {k}\n{told}", fontsize=9, fontweight="normal")
        axes = panel(made, 0.2 + len(chosen) * side + 0.95, low + 0.1, 3.1, side - 0.35)
        unknowns, error = [v.unknowns for v in views], [v.error for v in views]
        axes.loglog(unknowns, error, "o-", color=LINES[0])
        axes.loglog(
            unknowns,
            error[0] * unknowns[0] / np.asarray(unknowns),
            "--",
            color="#9aa5b1",
            label="slope -1",
        )
        axes.set_xlabel("unknowns")
        axes.set_ylabel(label)
        axes.grid(color=FAINT, lw=0.6, which="both")
        axes.legend(fontsize=9)
