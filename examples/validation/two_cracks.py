# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Two short cracks of which nothing is told: what the estimated error makes of a core that lies on neither."""

from __future__ import annotations

import tempfile

from mpi4py import MPI

import numpy as np
from common import COLOUR, DECKS, Coupled, Row, canvas, error_of, publish, solve_full, table
from matplotlib.figure import Figure

from msolve.adapt import adapt
from msolve.build import set_up
from msolve.config import load_case
from msolve.io.log import RunLog
from msolve.io.rounds import RoundView
from msolve.rounds import Round
from msolve.solvers import Settings

DECK = DECKS / "adaptive_two_cracks.yaml"
TOLERANCE = 1e-5  # [eV/Å]


def missing_in_cores(found: Round) -> int:
    """Missing sites that lie in a core."""
    away = [core.distance(found.setup.body.vacancies) for core in found.setup.regions.cores]
    return int((np.min(away, axis=0) < 0).sum())


def study() -> tuple[list[Row], list[RoundView]]:
    """A row a round, and what pictures need of each."""
    setup = set_up(load_case(DECK), MPI.COMM_WORLD)
    seen: list[Coupled] = []
    rows: list[Row] = []

    def watch(found: Round) -> None:
        t = found.setup.loads[-1]
        seen.append(Coupled(found.setup, found.assembly, found.z, t, found.solved))
        rows.append(
            {
                "round": len(rows),
                "cores": len(found.setup.regions.cores),
                "inside": missing_in_cores(found),
                "atoms": int(found.assembly.evaluated.sum()),
                "unknowns": found.unknowns,
                "estimated": found.numbers.total_h1,
            }
        )
        print(rows[-1], flush=True)

    with tempfile.TemporaryDirectory() as folder, RunLog(0, folder, "two cracks") as log:
        done = adapt(setup, MPI.COMM_WORLD, Settings(tolerance=TOLERANCE), log, watch)
    case = setup.case
    reference = solve_full(setup, 1e-6, seen[-1])
    for row, coupled in zip(rows, seen, strict=True):
        row["true"] = error_of(
            coupled, reference, case.compare.rim, case.compare.tip_radius
        ).total_h1
    return rows, list(done.views)


def draw(views: list[RoundView], rows: list[Row]) -> Figure:
    """Mesh and free atoms, round by round."""
    figure, axes = canvas(2.9 * len(views), 3.2, columns=len(views))
    for axis, view, row in zip(axes, views, rows, strict=True):
        axis.triplot(*view.points.T, view.cells, color="#9aa5b1", lw=0.3)
        axis.plot(*view.atoms.T, ".", color=COLOUR["bqcf"], ms=1.5)
        axis.set_aspect("equal")
        axis.axis("off")
        axis.set_title(f"round {row['round']}: {row['atoms']} atoms", fontsize=10)
    return figure


def main() -> None:
    """Measure and publish."""
    rows, views = study()
    columns = {
        "round": "round",
        "cores": "cores",
        "inside": "missing sites in cores, of 10",
        "atoms": "evaluated atoms",
        "unknowns": "unknowns",
        "estimated": "estimated H1 error [Å]",
        "true": "true [Å]",
    }
    publish("two_cracks", rows, table(rows, columns), draw(views, rows), page="howto-refine")


if __name__ == "__main__":
    main()
