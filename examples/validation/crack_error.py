# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Error of the coupled crack in tungsten against the full atomistic one, with and without slab handshake.

(110)[001], K = 1.05 K_G, embedded-atom and MACE potentials, disc of 100 Å, outer 8 Å left out of the norms. All
cases of a potential are measured against one reference, whose fixed rim carries the relaxation of the flanks.
"""

from __future__ import annotations

import itertools

import numpy as np
from common import (
    COLOUR,
    DECKS,
    Row,
    as_row,
    canvas,
    error_of,
    prepare,
    publish,
    solve_coupled,
    solve_full,
    table,
)
from matplotlib.figure import Figure

TOLERANCE = 1e-6  # [eV/Å]


def study(
    radius: float = 100.0,
    cores: tuple[float, ...] = (9.0, 18.0),
    growths: tuple[float, ...] = (1.0, 1.5),
    handshakes: tuple[str, ...] = ("slab", "none"),
    method: str = "bgfc_deferred",
    deck: str = "crack_eam",
) -> list[Row]:
    """One row per core radius [Å], handshake and mesh growth; the bare flank only at the first growth."""
    rows: list[Row] = []
    reference = None
    for handshake, core, growth in itertools.product(handshakes, cores, growths):
        if handshake != "slab" and growth != growths[0]:
            continue
        setup, assembly = prepare(
            DECKS / f"{deck}.yaml",
            [
                f"domain.radius={radius} angstrom",
                f"regions.core_radius={core} angstrom",
                f"coupling.handshake.kind={handshake}",
                f"mesh.growth={growth}",
            ],
        )
        coupled = solve_coupled(setup, assembly, method, TOLERANCE)
        if reference is None:
            reference = solve_full(setup, TOLERANCE, start=coupled)
        error = error_of(coupled, reference, rim=8.0, tip_radius=9.0)
        rows.append(
            {
                "potential": setup.case.potential.kind,
                "core": core,
                "handshake": handshake,
                "growth": growth,
                "atoms": int(assembly.free.sum()),
                "unknowns": coupled.unknowns,
                "reference_atoms": int(reference.full.free.sum()),
                **as_row(error),
            }
        )
    return rows


def draw(rows: list[Row]) -> Figure:
    """Total and tip error of each case."""
    figure, axes = canvas(9.6, 4.4, columns=2)
    names = [
        f"{row['potential']}, core {row['core']:g} Å, {row['handshake']}, growth {row['growth']:g}"
        for row in rows
    ]
    colours = [COLOUR["bqce"] if row["handshake"] == "none" else COLOUR["bqcf"] for row in rows]
    where = np.arange(len(rows))[::-1]
    for axis, key, title in zip(
        axes, ("total_h1", "tip_h1"), ("Whole body", "Within 9 Å of the tip"), strict=True
    ):
        values = [float(row[key]) for row in rows]  # type: ignore[arg-type]
        axis.scatter(values, where, c=colours, s=60, zorder=3)
        for place, value in zip(where, values, strict=True):
            axis.text(value * 1.2, place, f"{value:.2g}", va="center", fontsize=9)
        axis.set_xscale("log")
        axis.set_xlim(min(values) * 0.5, max(values) * 3)
        axis.set_ylim(-0.6, len(rows) - 0.4)
        axis.set_yticks(where, names if key == "total_h1" else [""] * len(rows))
        axis.set_xlabel("H1 error [Å]")
        axis.set_title(title)
    return figure


def main() -> None:
    """Run the whole study and publish it."""
    rows = study() + study(growths=(1.0,), handshakes=("slab",), deck="crack")
    columns = {
        "potential": "potential",
        "core": "core [Å]",
        "handshake": "handshake",
        "growth": "mesh growth",
        "atoms": "free atoms",
        "unknowns": "unknowns",
        "total_h1": "total H1 error [Å]",
        "tip_h1": "tip H1 error [Å]",
        "relative_h1": "relative H1 error",
        "largest": "largest displacement error [Å]",
        "energy": "energy error [eV]",
    }
    text = table(rows, columns) + f"\n\nReference: {rows[0]['reference_atoms']} free atoms."
    publish("crack_error", rows, text, draw(rows))


if __name__ == "__main__":
    main()
