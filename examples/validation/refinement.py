# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Refinement by the estimated error against cores of one radius: true error over atoms, unknowns and seconds.

Seconds are those of this process on its core, rounds and estimates added up; the full model that true errors need
is not among them.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mpi4py import MPI

import numpy as np
from common import (
    COLOUR,
    DECKS,
    Coupled,
    Reference,
    Row,
    canvas,
    error_of,
    prepare,
    publish,
    solve_coupled,
    solve_full,
    table,
)

from msolve.adapt import adapt
from msolve.build import set_up
from msolve.config import load_case
from msolve.io.log import RunLog
from msolve.rounds import Round
from msolve.solvers import Settings

TOLERANCE = 1e-5  # [eV/Å]
THREE = "[[-0.97 angstrom, 0], [0, 0], [0.97 angstrom, 0]]"
LEARNED = "coupling.handshake={kind: learned, lift: quadratic, model: potentials/w_handshake/w_handshake.pt}"
MICRO = (
    f"defect.positions={THREE}",
    "regions.cores=[]",
    "regions.core_radius=2.5 angstrom",
    "regions.blend=2 angstrom",
    "adaptivity.atom_cost=1",
)


@dataclass(frozen=True)
class Refined:
    """A deck that refines itself from a few atoms, once for each target, the H1 error that is wanted."""

    deck: str
    changes: tuple[str, ...]
    targets: tuple[str, ...]


CASES = {
    "vacancy, W": Refined("adaptive_vacancy", (), ("0.0001",)),
    "crack, W": Refined("adaptive_crack", (), ("0.009",)),
    "crack, W, learned handshake": Refined(
        "adaptive_crack", (LEARNED,), ("0.012", "0.0065", "0.005")
    ),
    "the same, atoms ten times as dear": Refined(
        "adaptive_crack", (LEARNED, "adaptivity.atom_cost=100"), ("0.0065",)
    ),
    "two cracks, W": Refined("adaptive_two_cracks", (), ("0.02",)),
    "3 atoms removed, triangular": Refined("micro_crack_triangular", MICRO, ("0.0008",)),
    "the same, quadratic": Refined(
        "micro_crack_triangular", (*MICRO, "mesh.degree=2", "mesh.coarseness=3"), ("0.0008",)
    ),
}

RADII = {
    "vacancy, W": ("adaptive_vacancy", (4, 6, 8, 10, 12, 16, 20)),
    "crack, W": ("crack_eam", (9, 13, 18, 24, 30, 40, 50, 62)),
    "3 atoms removed, triangular": ("micro_crack_triangular", (3, 4, 6, 9, 13)),
}
"""Cores of one radius, the rest as the deck has it: what refinement is compared with."""

HINDSIGHT = [(core, growth) for core in (9, 12, 15, 18, 22) for growth in (1.0, 0.6, 0.3)]
"""Cores [Å] and gradings with the learned handshake among which the best are kept."""


class Watch:
    """Compares each round with the full model, and counts its seconds without that.

    Attributes:
        rows: A row a round.
    """

    def __init__(self, name: str, target: str, references: dict[str, Reference]) -> None:
        self._name, self._target, self._references = name, target, references
        self.rows: list[Row] = []
        self._begin = time.process_time()

    def __call__(self, found: Round) -> None:
        """Add a row."""
        seconds = time.process_time() - self._begin
        t = found.setup.loads[-1]
        coupled = Coupled(found.setup, found.assembly, found.z, t, found.solved)
        true = _true(coupled, self._references)
        self.rows.append(
            {
                "case": self._name,
                "target": self._target,
                "atoms": int(found.assembly.evaluated.sum()),
                "unknowns": found.unknowns,
                "core": found.setup.regions.cores[0].extent(),
                "estimated": found.numbers.total_h1,
                "true": true.total_h1,
                "relative": true.relative_h1,
                "seconds": seconds,
            }
        )
        self._begin = time.process_time() - seconds


def _true(coupled: Coupled, references: dict[str, Reference]):  # type: ignore[no-untyped-def]
    """Its error. The full model is solved once a defect."""
    case = coupled.setup.case
    assert case.defect is not None
    key = f"{case.crystal.element} {case.defect}"
    if key not in references:
        references[key] = solve_full(coupled.setup, 1e-6, coupled)
    return error_of(coupled, references[key], case.compare.rim, case.compare.tip_radius)


def study(quick: bool = False) -> list[Row]:
    """Rows of the rounds, of cores of one radius, and of the best gradings."""
    rows: list[Row] = []
    references: dict[str, Reference] = {}
    prepare(DECKS / "adaptive_crack.yaml", [LEARNED])  # what is loaded once is nobody's time
    for name, one in CASES.items():
        for target in ("0.1",) if quick else one.targets:
            rows += _refined(name, one, target, references)
    for name, (deck, radii) in RADII.items():
        for radius in radii[: 2 if quick else None]:
            changes = [c for c in CASES[name].changes if not c.startswith("adaptivity")]
            changes += [f"regions.core_radius={radius} angstrom"]
            rows.append(_single(name, f"core {radius} Å", deck, changes, references))
    for core, growth in HINDSIGHT[: 2 if quick else None]:
        changes = [LEARNED, f"regions.core_radius={core} angstrom", f"mesh.growth={growth}"]
        how = f"core {core} Å, growth {growth}"
        rows.append(_single("crack, W, hindsight", how, "crack_eam", changes, references))
    return rows


def _refined(name: str, one: Refined, target: str, references: dict[str, Reference]) -> list[Row]:
    changes = [*one.changes, f"adaptivity.total_h1={target} angstrom", "adaptivity.rounds=14"]
    case = load_case(DECKS / f"{one.deck}.yaml", changes)
    setup, watch = set_up(case, MPI.COMM_WORLD), Watch(name, target, references)
    with tempfile.TemporaryDirectory() as folder, RunLog(0, folder, name) as log:
        found = adapt(setup, MPI.COMM_WORLD, Settings(tolerance=TOLERANCE), log, watch)
    for number, (row, told) in enumerate(zip(watch.rows, found.history["rounds"], strict=True)):
        row |= {
            "how": f"to {target} Å, round {number}, {told['how']}",
            "kept": told.get("kept", True),
        }
        row |= {"coupling": told["coupling_h1"], "mesh": told["discretisation_h1"]}
        print(row, flush=True)
    return watch.rows


def _single(
    name: str, how: str, deck: str, changes: list[str], references: dict[str, Reference]
) -> Row:
    begin = time.process_time()
    setup, assembly = prepare(DECKS / f"{deck}.yaml", [*changes, "adaptivity=null"])
    coupled = solve_coupled(setup, assembly, setup.case.coupling.method, TOLERANCE)
    seconds = time.process_time() - begin
    true = _true(coupled, references)
    row: Row = {
        "case": name,
        "how": how,
        "atoms": int(assembly.evaluated.sum()),
        "unknowns": coupled.unknowns,
        "true": true.total_h1,
        "relative": true.relative_h1,
        "seconds": seconds,
    }
    print(row, flush=True)
    return row


def singles(rows: Sequence[Row], name: str) -> list[Row]:
    """Those of cores of one radius, or of gradings by hindsight."""
    return [row for row in rows if row["case"] == name and "target" not in row]


def needed(rows: Sequence[Row], key: str, error: float) -> float:
    """Atoms or seconds that a core of one radius in ``rows`` needs for an error, between those tried."""
    x, y = (np.log([float(row[k]) for row in rows])[::-1] for k in ("true", key))  # type: ignore[arg-type]
    return math.exp(np.interp(math.log(error), x, y))


def best(rows: Sequence[Row], key: str) -> list[Row]:
    """Rows that no other beats in both the error and ``key``."""
    order = sorted(rows, key=lambda row: float(row[key]))  # type: ignore[arg-type]
    kept: list[Row] = []
    for row in order:
        if not kept or float(row["true"]) < float(kept[-1]["true"]):  # type: ignore[arg-type]
            kept.append(row)
    return kept


def ratios(rows: Sequence[Row]) -> list[Row]:
    """What a core of one radius needs for the true error at which each refined crack ended, over what that took."""
    out: list[Row] = []
    uniform, hindsight = singles(rows, "crack, W"), singles(rows, "crack, W, hindsight")
    for name, one in CASES.items():
        for target in one.targets:
            mine = [row for row in rows if (row["case"], row.get("target")) == (name, target)]
            if one.deck != "adaptive_crack" or not mine:
                continue
            last = [row for row in mine if row["kept"]][-1]
            error = float(last["true"])  # type: ignore[arg-type]
            row: Row = {
                "case": name,
                "rounds": len(mine),
                **{k: last[k] for k in ("atoms", "true", "estimated")},
            }
            row["seconds"] = mine[-1]["seconds"]
            for key in ("atoms", "seconds"):
                row[f"uniform_{key}"] = needed(uniform, key, error)
                row[f"ratio_{key}"] = float(row[f"uniform_{key}"]) / float(row[key])  # type: ignore[arg-type]
            cheap = needed(best(hindsight, "atoms"), "atoms", error)
            row["hindsight_atoms"] = cheap / float(last["atoms"])  # type: ignore[arg-type]
            out.append(row)
    return out


def draw(rows: list[Row]) -> object:
    """True error over unknowns, of the crack over atoms and over seconds."""
    figure, axes = canvas(15.2, 3.9, columns=4)
    panels = (
        ("Vacancy, W", "unknowns", ("vacancy, W",)),
        ("Crack, W: atoms", "atoms", tuple(n for n, one in CASES.items() if one.deck == "adaptive_crack")),
        ("Crack, W: seconds", "seconds", tuple(n for n, one in CASES.items() if one.deck == "adaptive_crack")),
        ("3 atoms removed, triangular", "unknowns", ("3 atoms removed, triangular", "the same, quadratic")),
    )  # fmt: skip
    colours = [COLOUR[key] for key in ("bqce", "bqcf", "bgfc_deferred")]
    for axis, (title, key, names) in zip(axes, panels, strict=True):
        for name, colour in zip(names, colours, strict=False):
            label = "refined" if name == names[0] else f"refined, {name.split(', ')[-1]}"
            for target in CASES[name].targets:
                mine = [row for row in rows if (row["case"], row.get("target")) == (name, target)]
                mine = [row for row in mine if row["kept"]]
                axis.loglog(*_xy(mine, key), "o-", color=colour, label=label, markersize=4)
                label = "_nolegend_"
        label = "one radius, slab" if title.startswith("Crack") else "one radius"
        axis.loglog(*_xy(singles(rows, names[0]), key), "s--", color="#333333", label=label)
        if title.startswith("Crack"):
            known = best(singles(rows, "crack, W, hindsight"), key)
            axis.loglog(*_xy(known, key), "*:", color="#888888", label="learned, best by hindsight")
        axis.set_title(title)
        axis.set_xlabel(
            {"atoms": "evaluated atoms", "seconds": "seconds, all rounds"}.get(key, key)
        )
        axis.legend(fontsize=7)
    axes[0].set_ylabel("true relative H1 error [%]")
    return figure


def _xy(rows: Sequence[Row], key: str) -> tuple[list[float], list[float]]:
    pairs = [(float(r[key]), 100 * float(r["relative"])) for r in rows]  # type: ignore[arg-type]
    return [x for x, _ in pairs], [y for _, y in pairs]


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
        "coupling": "of it coupling",
        "mesh": "mesh",
        "relative": "true, relative",
        "seconds": "seconds, rounds added up",
    }
    compared = {
        "case": "crack refined",
        "true": "true error [Å]",
        "rounds": "rounds",
        "atoms": "evaluated atoms",
        "uniform_atoms": "one core, slab",
        "ratio_atoms": "ratio",
        "hindsight_atoms": "best by hindsight, ratio",
        "seconds": "seconds, all rounds",
        "uniform_seconds": "one core, slab",
        "ratio_seconds": "ratio",
    }
    found = ratios(rows)
    text = table(found, compared) + "\n\n" + table(rows, columns)
    publish("refinement", rows, text, draw(rows), page="howto-refine", ratios=found)


if __name__ == "__main__":
    main()
