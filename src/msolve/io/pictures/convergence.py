# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How the solvers got there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from msolve.io.pictures.canvas import GREY, INK, LINES, figure, panel


def picture_convergence(
    path: str | Path,
    histories: Mapping[str, Sequence[float]],
    *,
    tolerance: float,
    title: str,
    apart: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Draw the residual of each solver against iterations, one solver after the other.

    Args:
        path: PNG file.
        histories: Largest residual component [eV/Å] per iteration, by solver, in order.
        tolerance: Where the solvers stop [eV/Å].
        title: First line.
        apart: Histories to draw from iteration 0 in grey, e.g. of the full atomistic model.
    """
    with figure(path, 9.6, 5.6, title) as made:
        axes = panel(made, 0.85, 0.65, 8.5, 4.2)
        begin = 0
        for index, (name, history) in enumerate(histories.items()):
            values = np.asarray(history, dtype=float)
            at = begin + np.arange(len(values))
            colour = LINES[index % len(LINES)]
            axes.plot(
                at, values, "o-", color=colour, lw=1.8, ms=5, mec="white", mew=0.7, label=name
            )
            begin += max(len(values) - 1, 0)
        for name, history in (apart or {}).items():
            axes.plot(np.asarray(history), color=GREY, lw=1.6, ls="-.", label=name, zorder=1)
        axes.axhline(tolerance, color=INK, lw=1.0, ls=":")
        axes.annotate(
            "tolerance", (0, tolerance), (6, 4), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="left", color=INK, fontsize=9,
        )  # fmt: skip
        axes.set_yscale("log")
        axes.set_xlabel("iteration")
        axes.set_ylabel("largest residual component [eV/Å]")
        axes.grid(axis="y", color=LINES[5], alpha=0.18)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.02)
        axes.legend(loc="upper right")
