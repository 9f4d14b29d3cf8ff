# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How much of a solve the potential takes, for atoms and for the continuum's law; the rest is msolve's own."""

from __future__ import annotations

import sys

import measure
from common import Row, canvas, table

CASES = {
    "EAM, crack_eam.yaml": ("crack_eam.yaml", ()),
    "EAM, large core": (
        "crack_eam.yaml",
        ("domain.radius=300 angstrom", "regions.core_radius=100 angstrom"),
    ),
    "MACE, crack.yaml": ("crack.yaml", ()),
    "MACE, large core": (
        "crack.yaml",
        ("domain.radius=120 angstrom", "regions.core_radius=66 angstrom"),
    ),
}


def study(quick: bool = False) -> list[Row]:
    """Shares of the time of load steps (solve and stability), one run each."""
    rows: list[Row] = []
    for name, (deck, overrides) in CASES.items():
        if quick and "large" in name:
            continue
        step = measure.msolve(deck, *overrides).step
        phases: dict[str, float] = step["seconds"]  # type: ignore[assignment]
        taken: dict[str, float] = step["potential_seconds"]  # type: ignore[assignment]
        total = phases["solve"] + phases.get("stability", 0.0) + phases["output"]
        rows.append(
            {
                "case": name,
                "evaluated_atoms": step["evaluated_atoms"],
                "mesh_nodes": step["mesh_nodes"],
                "seconds": total,
                "atoms": 100 * taken["atoms"] / total,
                "continuum": 100 * taken["continuum"] / total,
                "rest": 100 * (total - taken["atoms"] - taken["continuum"]) / total,
            }
        )
    return rows


def draw(rows: list[Row]) -> object:
    """Stacked bars."""
    figure, (axis,) = canvas(7.2, 2.8)
    names = [f"{row['case']}\n{row['evaluated_atoms']} atoms" for row in rows]
    left = [0.0] * len(rows)
    for key, label, colour in (
        ("atoms", "potential, atoms", measure.BLUE),
        ("continuum", "potential, Cauchy-Born law", "#56b4e9"),
        ("rest", "all else", "#bbbbbb"),
    ):
        share = [float(row[key]) for row in rows]  # type: ignore[arg-type]
        axis.barh(names, share, left=left, color=colour, label=label, height=0.6)
        left = [a + b for a, b in zip(left, share, strict=True)]
    axis.axvline(70, color=measure.ORANGE, lw=1.5)
    axis.invert_yaxis()
    axis.set_xlim(0, 100)
    axis.set_xlabel("share of the load step [%]; the line is the target for the potential")
    axis.grid(axis="y", visible=False)
    axis.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.4, 1.0))
    return figure


def main() -> None:
    """Measure and publish."""
    rows = study("--quick" in sys.argv)
    columns = {
        "case": "case",
        "evaluated_atoms": "evaluated atoms",
        "mesh_nodes": "mesh nodes",
        "seconds": "load step [s]",
        "atoms": "potential, atoms [%]",
        "continuum": "potential, Cauchy-Born law [%]",
        "rest": "all else [%]",
    }
    measure.publish("potential_share", rows, table(rows, columns), draw(rows))


if __name__ == "__main__":
    main()
