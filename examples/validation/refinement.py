# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Refinement by the estimated error against cores of one radius: true error over unknowns, atoms and seconds."""

from __future__ import annotations

import sys
import tempfile
import time

from mpi4py import MPI

from common import DECKS, Row, canvas, error_of, prepare, publish, solve_coupled, solve_full, table

from msolve.adapt import adapt
from msolve.build import set_up
from msolve.config import load_case
from msolve.io.log import RunLog
from msolve.solvers import Settings

CASES = {
    "adaptive_vacancy": (4.0, 6.0, 8.0, 10.0, 12.0, 16.0),
    "adaptive_crack": (5.0, 9.0, 13.0, 18.0, 24.0, 30.0),
}
TARGETS = {"adaptive_vacancy": "0.0001", "adaptive_crack": "0.009"}


def study(quick: bool = False) -> list[Row]:
    """Rows of the rounds, and of cores of one radius."""
    rows: list[Row] = []
    for deck, radii in CASES.items():
        target = "0.01" if quick else TARGETS[deck]
        case = load_case(DECKS / f"{deck}.yaml", [f"adaptivity.total_h1={target} angstrom"])
        with tempfile.TemporaryDirectory() as folder, RunLog(0, folder, deck) as log:
            found = adapt(
                set_up(case, MPI.COMM_WORLD), MPI.COMM_WORLD, Settings(tolerance=1e-5), log
            )
        total = 0.0
        for number, one in enumerate(found.history["rounds"]):
            total += one["seconds"]
            rows.append(
                {
                    "deck": deck,
                    "how": f"round {number}",
                    "atoms": one["evaluated_atoms"],
                    "unknowns": one["unknowns"],
                    "estimated": one["total_h1"],
                    "seconds": total,
                }
            )
        reference = None
        for radius in radii[: 2 if quick else None]:
            overrides = [f"regions.core_radius={radius} angstrom"]
            begin = time.perf_counter()
            setup, assembly = prepare(DECKS / f"{deck}.yaml", overrides)
            coupled = solve_coupled(setup, assembly, setup.case.coupling.method, 1e-5)
            seconds = time.perf_counter() - begin
            if reference is None:
                reference = solve_full(setup, 1e-6, coupled)
            given = setup.case.compare
            true = error_of(coupled, reference, given.rim, given.tip_radius)
            rows.append(
                {
                    "deck": deck,
                    "how": f"core {radius:g} Å",
                    "atoms": int(assembly.evaluated.sum()),
                    "unknowns": coupled.unknowns,
                    "true": true.total_h1,
                    "seconds": seconds,
                }
            )
            print(rows[-1], flush=True)
    return rows


def draw(rows: list[Row]) -> object:
    """Error over unknowns."""
    figure, axes = canvas(9.6, 3.8, columns=2)
    for axis, deck in zip(axes, CASES, strict=True):
        for key, label, style in (
            ("estimated", "refined, estimated", "o-"),
            ("true", "one radius, true", "s--"),
        ):
            mine = [row for row in rows if row["deck"] == deck and key in row]
            axis.loglog(
                [row["unknowns"] for row in mine], [row[key] for row in mine], style, label=label
            )
        axis.set_title(deck)
        axis.set_xlabel("unknowns")
        axis.set_ylabel("H1 error [Å]")
        axis.legend()
    return figure


def main() -> None:
    """Measure and publish."""
    rows = study("--quick" in sys.argv)
    columns = {
        "deck": "deck",
        "how": "how",
        "atoms": "evaluated atoms",
        "unknowns": "unknowns",
        "estimated": "estimated H1 error [Å]",
        "true": "true [Å]",
        "seconds": "seconds, rounds added up",
    }
    publish("refinement", rows, table(rows, columns), draw(rows), page="howto-refine")


if __name__ == "__main__":
    main()
