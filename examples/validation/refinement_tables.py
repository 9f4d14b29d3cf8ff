# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What the rows of ``refinement`` say: ratios of atoms and seconds, tables and the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from common import COLOUR, Row, canvas

COLUMNS = {
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
"""Of all rounds and cores."""

REFINED = {"case": "refined", "target": "wanted [Å]"}

COMPARED = (
    REFINED
    | {
        "true": "true error [Å]",
        "rounds": "rounds",
        "atoms": "atoms",
        "seconds": "seconds",
    },
    REFINED
    | {
        "uniform_rounds": "uniform rounds, slab",
        "uniform_atoms": "atoms",
        "uniform_ratio_atoms": "ratio",
        "uniform_seconds": "seconds",
        "uniform_ratio_seconds": "ratio",
        "learned_rounds": "uniform rounds, learned",
        "learned_atoms": "atoms",
        "learned_ratio_atoms": "ratio",
        "learned_seconds": "seconds",
        "learned_ratio_seconds": "ratio",
    },
    REFINED
    | {
        "one_atoms": "one core by hindsight, slab: atoms",
        "one_ratio_atoms": "ratio",
        "one_seconds": "seconds",
        "one_ratio_seconds": "ratio",
        "hindsight_atoms": "best learned core and grading, atoms: ratio",
    },
)
"""Of the cracks: what refinement took, what an opponent in rounds did, and what the right core at once would have."""


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


def ratios(rows: Sequence[Row], against: dict[str, str]) -> list[Row]:
    """What opponents need over what each refined crack took: in rounds to its tolerance, at once to its true error."""
    out: list[Row] = []
    hindsight = singles(rows, "crack, W, hindsight")
    for name, other in against.items():
        targets = dict.fromkeys(
            str(row["target"]) for row in rows if row["case"] == name and "target" in row
        )
        for target in targets:
            mine = _run(rows, name, target)
            last = [row for row in mine if row["kept"]][-1]
            row: Row = {"case": name, "target": target, "rounds": len(mine)}
            row |= {"atoms": last["atoms"], "true": last["true"], "seconds": mine[-1]["seconds"]}
            for how, more in (("uniform", ""), ("learned", ", learned")):
                grown = _run(rows, f"{other}, uniform rounds{more}", target)
                if not grown or (more and "learned" not in str(mine[0]["handshake"])):
                    continue
                row[f"{how}_rounds"] = len(grown)
                for key in ("atoms", "seconds"):
                    row[f"{how}_{key}"] = grown[-1][key]
                    row[f"{how}_ratio_{key}"] = _over(grown[-1], row, key)
            for key in ("atoms", "seconds"):
                one = {key: needed(singles(rows, other), key, float(last["true"]))}  # type: ignore[arg-type]
                row[f"one_{key}"] = one[key]
                row[f"one_ratio_{key}"] = _over(one, row, key)
            if other == "crack, W":
                error = float(last["true"])  # type: ignore[arg-type]
                cheap = {"atoms": needed(best(hindsight, "atoms"), "atoms", error)}
                row["hindsight_atoms"] = _over(cheap, row, "atoms")
            out.append(row)
    return out


def _over(one: Row, other: Row, key: str) -> float:
    return float(one[key]) / float(other[key])  # type: ignore[arg-type]


def _run(rows: Sequence[Row], name: str, target: str) -> list[Row]:
    return [row for row in rows if (row["case"], row.get("target")) == (name, target)]


def draw(rows: list[Row]) -> object:
    """True error over unknowns, of the crack over atoms and over seconds."""
    figure, axes = canvas(15.2, 3.9, columns=4)
    cracks = ("crack, W", "crack, W, learned handshake", "the same, atoms ten times as dear")
    panels = (
        ("Vacancy, W", "unknowns", ("vacancy, W",)),
        ("Crack, W: atoms", "atoms", cracks),
        ("Crack, W: seconds", "seconds", cracks),
        ("3 atoms removed, triangular", "unknowns", ("3 atoms removed, triangular", "the same, quadratic")),
    )  # fmt: skip
    colours = [COLOUR[key] for key in ("bqce", "bqcf", "bgfc_deferred")]
    for axis, (title, key, names) in zip(axes, panels, strict=True):
        for name, colour in zip(names, colours, strict=False):
            label = "refined" if name == names[0] else f"refined, {name.split(', ')[-1]}"
            _runs(axis, rows, name, key, style="o-", color=colour, label=label)
        label = "one radius, slab" if title.startswith("Crack") else "one radius"
        axis.loglog(*_xy(singles(rows, names[0]), key), "s--", color="#333333", label=label)
        if title.startswith("Crack"):
            grown = "crack, W, uniform rounds"
            _runs(
                axis,
                rows,
                grown,
                key,
                style="^:",
                color="#56b4e9",
                label="one radius in rounds, slab",
            )
        if key == "atoms":
            known = best(singles(rows, "crack, W, hindsight"), key)
            axis.loglog(*_xy(known, key), "*:", color="#888888", label="learned, best by hindsight")
        axis.set_title(title)
        axis.set_xlabel(
            {"atoms": "evaluated atoms", "seconds": "seconds, all rounds"}.get(key, key)
        )
        axis.legend(fontsize=7)
    axes[0].set_ylabel("true relative H1 error [%]")
    return figure


def _runs(
    axis, rows: list[Row], name: str, key: str, *, style: str, color: str, label: str
) -> None:  # type: ignore[no-untyped-def]
    for target in dict.fromkeys(
        row["target"] for row in rows if row["case"] == name and "target" in row
    ):
        mine = [row for row in _run(rows, name, str(target)) if row["kept"]]
        axis.loglog(*_xy(mine, key), style, color=color, label=label, markersize=4)
        label = "_nolegend_"


def _xy(rows: Sequence[Row], key: str) -> tuple[list[float], list[float]]:
    pairs = [(float(r[key]), 100 * float(r["relative"])) for r in rows]  # type: ignore[arg-type]
    return [x for x, _ in pairs], [y for _, y in pairs]
