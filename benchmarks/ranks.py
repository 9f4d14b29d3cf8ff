# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""One rank against two: seconds of the solve, and that both find the same."""

from __future__ import annotations

import sys
from statistics import median

import measure
from common import Row, canvas, table

CASES = {
    "EAM, crack_eam.yaml": ("crack_eam.yaml", ()),
    "EAM, large core": (
        "crack_eam.yaml",
        ("domain.radius=300 angstrom", "regions.core_radius=100 angstrom"),
    ),
    "MACE, crack.yaml": ("crack.yaml", ()),
}


def study(quick: bool = False) -> list[Row]:
    """Shortest and median time of the solve, one and two ranks in turn."""
    rows: list[Row] = []
    for name, (deck, overrides) in CASES.items():
        if quick and name != "EAM, crack_eam.yaml":
            continue
        seconds: dict[int, list[float]] = {1: [], 2: []}
        energy: dict[int, float] = {}
        for _ in range(1 if quick else 2):
            for ranks in (1, 2):
                step = measure.msolve(deck, *overrides, "solver.stability=false", ranks=ranks).step
                seconds[ranks].append(step["seconds"]["solve"])  # type: ignore[index]
                energy[ranks] = float(step["energy"])  # type: ignore[arg-type]
        rows.append(
            {
                "case": name,
                "one": min(seconds[1]),
                "two": min(seconds[2]),
                "speed_up": min(seconds[1]) / min(seconds[2]),
                "median": median(seconds[1]) / median(seconds[2]),
                "energy_difference": abs(energy[1] - energy[2]),
            }
        )
    return rows


def draw(rows: list[Row]) -> object:
    """Speed-up of two ranks."""
    figure, (axis,) = canvas(6.0, 2.4)
    axis.barh(
        [str(row["case"]) for row in rows],
        [float(row["speed_up"]) for row in rows],  # type: ignore[arg-type]
        color=measure.BLUE,
        height=0.5,
    )
    axis.axvline(2, color=measure.ORANGE, lw=1.5)
    axis.set_xlim(0, 2.1)
    axis.invert_yaxis()
    axis.set_xlabel("speed-up of the solve by a second rank; the line is the ideal")
    axis.grid(axis="y", visible=False)
    return figure


def main() -> None:
    """Measure and publish."""
    rows = study("--quick" in sys.argv)
    columns = {
        "case": "case",
        "one": "1 rank [s]",
        "two": "2 ranks [s]",
        "speed_up": "speed-up",
        "median": "of the medians",
        "energy_difference": "difference of the energies [eV]",
    }
    measure.publish("ranks", rows, table(rows, columns), draw(rows))


if __name__ == "__main__":
    main()
