# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Refinement by the estimated error against cores of one radius: true error over unknowns, atoms and seconds."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mpi4py import MPI

from common import DECKS, Row, canvas, error_of, prepare, publish, solve_coupled, solve_full, table

from msolve.adapt import adapt
from msolve.build import set_up
from msolve.compare import Norms
from msolve.config import load_case
from msolve.io.log import RunLog
from msolve.solvers import Settings

THREE = "[[-0.97 angstrom, 0], [0, 0], [0.97 angstrom, 0]]"
LEARNED = ("coupling.handshake={kind: learned, model: potentials/w_handshake/w_handshake.pt}",)
MICRO = (
    f"defect.positions={THREE}",
    "regions.cores=[]",
    "regions.core_radius=2.5 angstrom",
    "regions.blend=2 angstrom",
)


@dataclass(frozen=True)
class Refined:
    """One comparison: a deck, refined from a few atoms, against cores of one radius in a graded mesh."""

    deck: str
    changes: tuple[str, ...]
    radii: tuple[float, ...]
    target: str


CASES = {
    "vacancy, W": Refined("adaptive_vacancy", (), (4, 6, 8, 10, 12, 16), "0.0001"),
    "crack, W": Refined("adaptive_crack", (), (5, 9, 13, 18, 24, 30, 40, 55), "0.009"),
    "crack, W, learned handshake": Refined("adaptive_crack", LEARNED, (5, 9, 13, 18, 24), "0.006"),
    "two cracks, W": Refined("adaptive_two_cracks", (), (), "0.02"),
    "3 atoms removed, triangular": Refined(
        "micro_crack_triangular", (*MICRO, "adaptivity.bulk=0.3"), (3, 4, 6, 9, 13), "0.0008"
    ),
    "the same, quadratic": Refined(
        "micro_crack_triangular",
        (*MICRO, "adaptivity.bulk=0.3", "mesh.degree=2", "mesh.coarseness=3"),
        (),
        "0.0008",
    ),
}


def study(quick: bool = False) -> list[Row]:
    """Rows of the rounds, and of cores of one radius."""
    rows: list[Row] = []
    for name, one in CASES.items():
        target = "0.1" if quick else one.target
        rows += _refined(name, one, target)
        if one.radii:
            rows += _single(name, one, one.radii[: 2 if quick else None])
    return rows


def _refined(name: str, one: Refined, target: str) -> list[Row]:
    """A row a round."""
    changes = [*one.changes, f"adaptivity.total_h1={target} angstrom", "adaptivity.rounds=14"]
    case = load_case(DECKS / f"{one.deck}.yaml", changes)
    with tempfile.TemporaryDirectory() as folder, RunLog(0, folder, name) as log:
        found = adapt(set_up(case, MPI.COMM_WORLD), MPI.COMM_WORLD, Settings(tolerance=1e-5), log)
    # The displacement that the defect adds, in the full model: what errors are relative to.
    exact = solve_full(found.setup, 1e-6)
    u = exact.full.problem.gather(exact.z, exact.t) - exact.full.problem.gather(
        0 * exact.z, exact.t
    )
    size = Norms.of(exact.full, rim=case.compare.rim, tip_radius=1.0).total(u)
    rows: list[Row] = []
    total = 0.0
    for number, row in enumerate(found.history["rounds"]):
        total += row["seconds"]
        rows.append(
            {
                "case": name,
                "how": f"round {number}, {row['how']}",
                "atoms": row["evaluated_atoms"],
                "unknowns": row["unknowns"],
                "estimated": row["total_h1"],
                "relative": row["total_h1"] / size,
                "seconds": total,
                "kept": row.get("kept", True),
            }
        )
        print(rows[-1], flush=True)
    return rows


def _single(name: str, one: Refined, radii: Sequence[float]) -> list[Row]:
    """A row a core."""
    rows: list[Row] = []
    reference = None
    for radius in radii:
        overrides = [c for c in one.changes if not c.startswith("adaptivity")]
        overrides += [f"regions.core_radius={radius} angstrom", "adaptivity=null"]
        begin = time.perf_counter()
        setup, assembly = prepare(DECKS / f"{one.deck}.yaml", overrides)
        coupled = solve_coupled(setup, assembly, setup.case.coupling.method, 1e-5)
        seconds = time.perf_counter() - begin
        if reference is None:
            reference = solve_full(setup, 1e-6, coupled)
        given = setup.case.compare
        true = error_of(coupled, reference, given.rim, given.tip_radius)
        rows.append(
            {
                "case": name,
                "how": f"core {radius:g} Å",
                "atoms": int(assembly.evaluated.sum()),
                "unknowns": coupled.unknowns,
                "true": true.total_h1,
                "relative": true.relative_h1,
                "seconds": seconds,
            }
        )
        print(rows[-1], flush=True)
    return rows


def draw(rows: list[Row]) -> object:
    """Relative error over unknowns."""
    figure, axes = canvas(14.6, 3.8, columns=4)
    names = tuple(CASES)
    panels = (names[:1], names[1:3], names[3:4], names[4:])
    for axis, shown in zip(axes, panels, strict=True):
        for name in shown:
            for key, label, style in (
                ("estimated", "refined, estimated", "o-"),
                ("true", "one radius, true", "s--"),
            ):
                mine = [row for row in rows if row["case"] == name and key in row]
                mine = [row for row in mine if row.get("kept", True)]
                if not mine:
                    continue
                beside = f", {name.split(', ')[-1]}" if name != shown[0] else ""
                axis.loglog(
                    [row["unknowns"] for row in mine],
                    [100 * float(row["relative"]) for row in mine],  # type: ignore[arg-type]
                    style,
                    label=label + beside,
                )
        axis.set_title(shown[0])
        axis.set_xlabel("unknowns")
        axis.legend(fontsize=7)
    axes[0].set_ylabel("relative H1 error [%]")
    return figure


def main() -> None:
    """Measure and publish."""
    rows = study("--quick" in sys.argv)
    columns = {
        "case": "case",
        "how": "how",
        "atoms": "evaluated atoms",
        "unknowns": "unknowns",
        "estimated": "estimated H1 error [Å]",
        "true": "true [Å]",
        "relative": "relative",
        "seconds": "seconds, rounds added up",
    }
    publish("refinement", rows, table(rows, columns), draw(rows), page="howto-refine")


if __name__ == "__main__":
    main()
