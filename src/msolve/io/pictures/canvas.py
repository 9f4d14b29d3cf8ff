# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What all pictures share: colours, type, scale bars, atoms as discs of true size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, PolyCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogFormatterSciNotation
from numpy.typing import ArrayLike, NDArray

from msolve.io.files import whole

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

INK = "#1d2733"
GREY = "#8a94a0"
FAINT = "#d5dae0"
CORE, BLEND, PAD = "#10284a", "#2f9c95", "#f4f6f8"
LINES = ("#2f6690", "#c2402a", "#2f9c95", "#e8a33d", "#6d4c8d", "#5c6b7a")
STRESS = LinearSegmentedColormap.from_list(
    "stress", ["#16305c", "#3f78b0", "#a9c9de", "#faf8f5", "#f5bd8b", "#d8603a", "#7f1420"]
)
AMOUNT = LinearSegmentedColormap.from_list(
    "amount", ["#fbf7ef", "#f3d9a4", "#e8a33d", "#c2402a", "#6b1638", "#2a0b2e"]
)

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 10,
}


class RenderError(Exception):
    """A scene in space cannot be rendered here; the message says why and what would do."""


@dataclass(frozen=True, eq=False)
class MeshView:
    """The finite-element side of a picture.

    Attributes:
        points: Reference nodes, shape ``(n, 2)``, in space ``(n, 3)`` [Å].
        cells: Triangles, shape ``(m, 3)``, in space tetrahedra, ``(m, 4)``.
        displacement: At the nodes, shape ``(n, 2)`` or ``(n, 3)`` [Å].
        values: One value per cell, shape ``(m,)``, in the unit that the label names.
    """

    points: Array
    cells: IntArray
    displacement: Array
    values: Array

    def corners(self) -> Array:
        """Deformed triangles of a plane mesh, shape ``(m, 3, 2)`` [Å]."""
        return (self.points + self.displacement[:, :2])[self.cells]


@dataclass(frozen=True, eq=False)
class AtomsView:
    """The atomistic side of a picture.

    Attributes:
        positions: Deformed atoms, shape ``(n, 2)`` or ``(n, 3)`` [Å].
        region: 0 core, 1 blending zone, 2 pad, shape ``(n,)``.
        values: One value per atom, shape ``(n,)``, in the unit that the label names.
        spacing: Distance of nearest neighbours [Å].
    """

    positions: Array
    region: IntArray
    values: Array
    spacing: float


@contextmanager
def figure(path: str | Path, width: float, height: float, headline: str) -> Iterator[Figure]:
    """A figure in msolve's style, saved to ``path`` at the end; sizes in inches."""
    with mpl.rc_context(_STYLE):
        made = Figure(figsize=(width, height), dpi=180, facecolor="white")
        made.text(
            0.22 / width,
            1 - 0.2 / height,
            headline.replace("K_G", r"$K_\mathrm{G}$"),
            ha="left",
            va="top",
            fontsize=16,
            fontweight="bold",
        )
        yield made
        with whole(Path(path)) as unfinished:
            made.savefig(unfinished)


def panel(made: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place and of a size given in inches."""
    across, up = made.get_size_inches()
    return made.add_axes((left / across, bottom / up, width / across, height / up))


def colour_bar(made: Figure, drawn: Any, place: Axes, label: str) -> None:
    """A horizontal bar in axes of its own."""
    bar = made.colorbar(drawn, cax=place, orientation="horizontal", extend="both")
    bar.set_label(label, labelpad=3)
    bar.outline.set_visible(False)
    place.tick_params(length=3)
    if isinstance(drawn.norm, LogNorm):
        # Where the bar spans about a decade or less, 2 and 5 need their labels too.
        place.xaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(1.5, 0.6)))
        place.tick_params(which="minor", labelsize=8)


def map_axes(axes: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Turn axes into a map: equal scales, no ticks; its scale is told by ``scale_bar``."""
    axes.set_aspect("equal")
    axes.set_xlim(*x)
    axes.set_ylim(*y)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)


def scale_bar(axes: Axes) -> None:
    """A bar of 1, 2 or 5 times a power of ten angstrom in the lower left corner."""
    low, high = axes.get_xlim()
    bottom, _ = axes.get_ylim()
    wanted = (high - low) / 5
    power = 10 ** np.floor(np.log10(wanted))
    length = max(k * power for k in (1, 2, 5) if k * power <= wanted)
    x, y = low + 0.03 * (high - low), bottom + 0.03 * (high - low)
    label = f"{length:g} Å" if length < 10 else f"{length / 10:g} nm"
    halo = [withStroke(linewidth=5, foreground="white", alpha=0.9)]
    axes.plot(
        [x, x + length], [y, y], color=INK, lw=3, solid_capstyle="butt", zorder=20,
        path_effects=halo,
    )  # fmt: skip
    axes.annotate(
        label, (x + length / 2, y), (0, 5), textcoords="offset points", ha="center", zorder=20,
        fontweight="bold", path_effects=halo,
    )  # fmt: skip


def draw_mesh(axes: Axes, mesh: MeshView, norm: Normalize | None, edge: float) -> PolyCollection:
    """Triangles in the colours of their values, or their edges alone without a ``norm``."""
    drawn = PolyCollection(
        mesh.corners(), edgecolors=INK if norm is not None else FAINT, linewidths=edge
    )
    if norm is None:
        drawn.set_facecolor("none")
    else:
        drawn.set_array(mesh.values)
        drawn.set_cmap(STRESS)
        drawn.set_norm(norm)
    drawn.set_zorder(1)
    axes.add_collection(drawn)
    return drawn


def draw_atoms(
    axes: Axes,
    positions: Array,
    diameter: float,
    *,
    colour: ArrayLike | None = None,
    values: Array | None = None,
    norm: Normalize | None = None,
    cmap: LinearSegmentedColormap = STRESS,
    edge: float = 0.4,
    zorder: float = 5,
) -> EllipseCollection:
    """Atoms as discs whose ``diameter`` is in angstrom, so that they scale with the map."""
    size = np.full(len(positions), diameter)
    drawn = EllipseCollection(
        size,
        size,
        np.zeros(len(positions)),
        units="xy",
        offsets=positions[:, :2],
        offset_transform=axes.transData,
        edgecolors=INK,
        linewidths=edge,
        zorder=zorder,
    )
    if values is None:
        drawn.set_facecolor(colour)
    else:
        drawn.set_array(values)
        drawn.set_cmap(cmap)
        drawn.set_norm(norm)
    axes.add_collection(drawn)
    return drawn


def balanced(values: Array, share: float = 0.98) -> Normalize:
    """Colours symmetric about zero that hold ``share`` of the values, to two digits."""
    finite = np.abs(values[np.isfinite(values)])
    largest = float(np.quantile(finite, share)) if len(finite) else 1.0
    return Normalize(-rounded_up(largest), rounded_up(largest))


def rounded_up(x: float) -> float:
    """The next of 1, 1.5, 2, 3, 4, 5, 6, 8, 10 times a power of ten."""
    if x <= 0 or not np.isfinite(x):
        return 1.0
    power = 10 ** np.floor(np.log10(x))
    return float(next(k for k in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if k * power >= 0.999 * x) * power)
