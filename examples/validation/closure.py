# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a strain-gradient energy adds to the learned handshake: the same training with it and without, side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common import (
    COLOUR,
    DECKS,
    Row,
    canvas,
    error_of,
    over_cores,
    prepare,
    publish,
    solve_coupled,
    solve_full,
    table,
)
from matplotlib.figure import Figure

from msolve.config import load_handshake_training
from msolve.handshake.operator import load_flank_model
from msolve.train import train_handshake

TOLERANCE, RIM, TIP = 1e-6, 8.0, 9.0  # [eV/Å], [Å], [Å]
CUTOFF = 5.5
"""Of the potential [Å]."""

CASES: dict[str, tuple[float, ...]] = {
    "0.95": (1.5, 2.0, 3.0),
    "1.05": (1.5, 2.0, 3.0, 4.0),
    "1.12": (1.5, 2.0, 3.0),
}
"""Cores over the cutoff, by K over Griffith's value."""


def study(
    cases: dict[str, tuple[float, ...]] = CASES, radius: float = 90.0, *changes: str
) -> list[Row]:
    """A row for each load and core; ``changes`` are of the training's input."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "both.yaml"
        recipe.write_text(
            f"deck: {DECKS}/crack_eam.yaml\noperator: {{degrees: [1], closure: linear}}\n"
            f"output: {{directory: {folder}/out}}\n"
        )
        both = train_handshake(load_handshake_training(recipe, list(changes))) / "both.pt"
        flanks = Path(folder) / "flanks.pt"
        replace(load_flank_model(both), closures={}).save(flanks)
        for K, cores in cases.items():
            for times in cores:
                rows.append(_row(K, times, radius, {"flanks": flanks, "both": both}))
                print(rows[-1], flush=True)
    return rows


def _row(K: str, times: float, radius: float, models: dict[str, Path]) -> Row:
    row: Row = {"K": float(K), "core": times}
    reference = None
    for name, model in models.items():
        setup, assembly = prepare(
            DECKS / "crack_eam.yaml",
            [
                f"domain.radius={radius} angstrom",
                f"regions.core_radius={times * CUTOFF} angstrom",
                f"load.K={K} K_G",
                f"coupling.handshake={{kind: learned, lift: quadratic, model: {model}}}",
            ],
        )
        coupled = solve_coupled(setup, assembly, "bgfc_deferred", TOLERANCE)
        reference = reference or solve_full(setup, TOLERANCE, start=coupled)
        error = error_of(coupled, reference, RIM, TIP)
        row |= {name: error.total_h1, f"tip_{name}": error.tip_h1}
    row["gain"] = float(row["flanks"]) / float(row["both"])  # type: ignore[arg-type]
    row["tip_gain"] = float(row["tip_flanks"]) / float(row["tip_both"])  # type: ignore[arg-type]
    return row


def draw(rows: Sequence[Row]) -> Figure:
    """Total error over the core, load by load."""
    loads = list(dict.fromkeys(row["K"] for row in rows))
    figure, axes = canvas(3.0 * len(loads), 3.4, columns=len(loads))
    curves = (
        ("flanks", COLOUR["bgfc"], "s", "flanks only"),
        ("both", COLOUR["bqcf"], "o", "with the energy"),
    )
    for axis, K in zip(axes, loads, strict=True):
        own = [row for row in rows if row["K"] == K]
        over_cores(axis, own, curves, f"K = {K} K_G")
    axes[0].set_ylabel("H1 error [Å]")
    axes[0].legend()
    return figure


def main() -> None:
    """Run the study and publish it."""
    rows = study()
    columns = {
        "K": "K [K_G]",
        "core": "core / cutoff",
        "flanks": "flanks only [Å]",
        "both": "with the energy [Å]",
        "gain": "gain",
        "tip_flanks": "tip, flanks only",
        "tip_both": "tip, with",
        "tip_gain": "tip gain",
    }
    publish("closure", rows, table(rows, columns), draw(rows), page="handshake")


if __name__ == "__main__":
    main()
