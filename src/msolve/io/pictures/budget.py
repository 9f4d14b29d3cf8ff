# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What estimated errors consist of, as stacked bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msolve.io.pictures.canvas import FAINT, LINES, figure, panel

PARTS = {
    "coupling": "coupling",
    "discretisation": "mesh",
    "algebraic": "solver",
    "deferred": "deferred correction",
}
"""Parts of an estimate, from below, and what they are called."""


def picture_budget(
    path: str | Path,
    panels: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]],
    *,
    title: str,
) -> None:
    """Draw energy norms by cause, a bar an estimate.

    The squares of coupling and mesh add up: the two share the height that belongs to both by their squares.

    Args:
        path: PNG file.
        panels: By name of the axis: labels and estimates as in ``result.json``. Norms that are missing are not drawn.
        title: First line.
    """
    width = 9.6
    with figure(path, width, 4.8, title) as made:
        each = (width - 0.85 - 0.25) / len(panels)
        for number, (name, bars) in enumerate(panels.items()):
            axes = panel(made, 0.85 + number * each, 0.65, each - 0.75, 3.4)
            at = np.arange(len(bars))
            below = np.zeros(len(bars))
            for colour, (key, label) in zip(LINES, PARTS.items(), strict=False):
                height = np.array([_height(row, key) for _, row in bars])
                if height.any():
                    axes.bar(at, height, 0.6, below, color=colour, label=label)
                below += height
            axes.set_xticks(at, [label for label, _ in bars])
            axes.set_xlim(-0.8, max(len(bars), 4) - 0.2)
            axes.set_ylim(0, 1.35 * max(below.max(initial=0.0), 1e-300))
            axes.set_xlabel(name.replace("K_G", r"$K_\mathrm{G}$"))
            axes.set_ylabel("energy norm [√eV]")
            axes.grid(axis="y", color=FAINT, lw=0.6)
            axes.set_axisbelow(True)
            axes.legend(loc="upper right", fontsize=9, ncols=2)
            beyond = [float(row.get("truncation") or 0.0) for _, row in bars]
            if any(beyond):
                axes.set_title(
                    f"beyond the outer boundary, extrapolated: up to {max(beyond):.2g} √eV",
                    fontsize=9, fontweight="normal",
                )  # fmt: skip


def _height(row: Mapping[str, Any], key: str) -> float:
    value = float(row.get(key) or 0.0)
    if key not in ("coupling", "discretisation"):
        return value
    both = float(np.hypot(row.get("coupling") or 0.0, row.get("discretisation") or 0.0))
    return value**2 / both if both > 0 else 0.0
