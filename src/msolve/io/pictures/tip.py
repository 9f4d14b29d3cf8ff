# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The crack tip: true positions, stress of each atom, and how far the crack is open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msolve.io.pictures.canvas import (
    GREY,
    INK,
    LINES,
    Array,
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

ASPECT = 7.45 / 5.2
"""Width over height of the map."""

_RUN: dict[str, Any] = {"marker": "o", "ms": 4.5, "lw": 1.3, "color": LINES[1]}
_REFERENCE: dict[str, Any] = {
    "marker": "o", "ms": 9, "mfc": "none", "mec": INK, "mew": 1.0, "ls": "none"
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Opening:
    """How far the two surface layers of a crack have moved apart.

    Attributes:
        x1: Reference places along the crack, ascending, shape ``(n,)`` [Å].
        opening: Separation beyond that of the perfect crystal, shape ``(n,)`` [Å].
        far_field: What the load alone would give there, shape ``(n,)`` [Å].
        reference: The same from the full atomistic model, if it was solved.
    """

    x1: Array
    opening: Array
    far_field: Array
    reference: Array | None = None


def picture_tip(
    path: str | Path,
    mesh: MeshView | None,
    atoms: AtomsView,
    opening: Opening,
    *,
    half_width: float,
    label: str,
    title: str,
    tip: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Draw atoms around the tip where they are, not amplified, and the opening profile beside them.

    Args:
        path: PNG file.
        mesh: Drawn behind the atoms; ``None`` without a continuum.
        atoms: Atoms and their values.
        opening: Opening profile.
        half_width: Half the height of the part shown [Å].
        label: What the values are, with unit.
        title: First line.
        tip: Centre of the part shown [Å].
    """
    with figure(path, 13.4, 7.1, title) as made:
        near = panel(made, 0.2, 1.05, 7.45, 5.2)
        _draw_map(made, near, mesh, atoms, half_width, label, tip)
        _draw_profile(panel(made, 8.6, 3.35, 4.6, 2.9), opening)
        _draw_beyond(panel(made, 8.6, 0.75, 4.6, 1.75), opening)


def _draw_map(
    made: Figure,
    axes: Axes,
    mesh: MeshView | None,
    atoms: AtomsView,
    half: float,
    label: str,
    tip: tuple[float, float],
) -> None:
    map_axes(axes, (tip[0] - ASPECT * half, tip[0] + ASPECT * half), (tip[1] - half, tip[1] + half))
    axes.set_title("Crack tip, true positions")
    shown = np.all(np.abs(atoms.positions[:, :2] - tip) < 1.5 * half, axis=1)
    norm = balanced(atoms.values[shown & (atoms.region < 2)], 0.99)
    if mesh is not None:
        draw_mesh(axes, mesh, norm, 0.3).set_alpha(0.45)
    order = np.argsort(atoms.positions[shown, 2] if atoms.positions.shape[1] == 3 else 0)
    drawn = draw_atoms(
        axes,
        atoms.positions[shown][order],
        0.84 * atoms.spacing,
        values=atoms.values[shown][order],
        norm=norm,
        edge=0.6,
    )
    colour_bar(made, drawn, panel(made, 2.1, 0.72, 3.7, 0.14), label)
    scale_bar(axes)


def _draw_profile(axes: Axes, opening: Opening) -> None:
    axes.set_title("Opening of the crack")
    axes.axhline(0, color=GREY, lw=0.8)
    axes.plot(opening.x1, opening.far_field, color=GREY, lw=1.6, ls="--", label="K-field alone")
    if opening.reference is not None:
        axes.plot(opening.x1, opening.reference, label="full atomistic model", **_REFERENCE)
    axes.plot(opening.x1, opening.opening, label="this run", **_RUN)
    axes.set_ylabel("opening [Å]")
    axes.tick_params(labelbottom=False)
    axes.legend(loc="upper right")
    axes.grid(axis="y", color=LINES[5], alpha=0.15)


def _draw_beyond(axes: Axes, opening: Opening) -> None:
    axes.set_title("Beyond the K-field")
    axes.axhline(0, color=GREY, lw=1.6, ls="--")
    if opening.reference is not None:
        axes.plot(opening.x1, opening.reference - opening.far_field, **_REFERENCE)
    axes.plot(opening.x1, opening.opening - opening.far_field, **_RUN)
    axes.set_xlabel("place along the crack x₁ [Å]")
    axes.set_ylabel("difference [Å]")
    axes.grid(axis="y", color=LINES[5], alpha=0.15)
