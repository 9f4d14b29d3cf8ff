# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How evenly ranks are busy: atoms shared by number, by layers computed of them, and by measured cost."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import measure
from common import Row, canvas, table

WORKER = Path(__file__).with_name("balance_worker.py")
WIDE = ("regions.core_radius=30 angstrom", "domain.radius=120 angstrom")
CASES = {
    "MACE, crack": ("crack", WIDE, (2, 4, 8)),
    "EAM, crack": (
        "crack_eam",
        ("regions.core_radius=120 angstrom", "domain.radius=300 angstrom"),
        (2, 4, 8),
    ),
}
"""Deck, what is changed in it, and numbers of ranks."""

WAYS = {"number": "by number", "layers": "by layers", "measured": "as measured"}


def study(quick: bool = False) -> list[Row]:
    """A row a deck and number of ranks."""
    rows: list[Row] = []
    for case, (deck, overrides, ranks) in CASES.items():
        for n in ranks[:1] if quick else ranks:
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "out.json"
                words = ["mpirun", "-n", str(n), sys.executable, str(WORKER), str(out)]
                measure.process([*words, str(measure.DECKS / f"{deck}.yaml"), *overrides])
                rows.append({"case": case, "ranks": n, **json.loads(out.read_text())})
            print(rows[-1], flush=True)
    return rows


def draw(rows: list[Row]) -> object:
    """The slowest rank over the mean, for each way of sharing."""
    figure, (axis,) = canvas(6.4, 3.0)
    colours = (measure.INK, measure.ORANGE, measure.BLUE)
    for k, (way, colour) in enumerate(zip(WAYS, colours, strict=True)):
        axis.bar(
            [i + 0.27 * (k - 1) for i in range(len(rows))],
            [100 * (float(row[way]) - 1) for row in rows],  # type: ignore[arg-type]
            width=0.25,
            color=colour,
            label=WAYS[way],
        )
    axis.set_xticks(range(len(rows)), [f"{row['case']}\n{row['ranks']} ranks" for row in rows])
    axis.tick_params(axis="x", labelsize=7)
    axis.set_ylabel("slowest rank above the mean [%]")
    axis.legend()
    return figure


def main() -> None:
    """Measure and publish."""
    rows = study("--quick" in sys.argv)
    columns = {
        "case": "patch",
        "atoms": "sites",
        "ranks": "ranks",
        **{way: f"slowest / mean, {told}" for way, told in WAYS.items()},
        "measured_seconds": "slowest, as measured [s]",
    }
    measure.publish("balance", rows, table(rows, columns), draw(rows))


if __name__ == "__main__":
    main()
