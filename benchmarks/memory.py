# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Largest resident memory against evaluated atoms and unknowns: what each costs, by least squares."""

from __future__ import annotations

import sys

import measure
import numpy as np
from common import Row, canvas, table

EAM = [
    ("domain.radius=60 angstrom", "regions.core_radius=18 angstrom"),
    ("domain.radius=200 angstrom", "regions.core_radius=18 angstrom", "mesh.h_max=6 angstrom"),
    ("domain.radius=200 angstrom", "regions.core_radius=18 angstrom", "mesh.h_max=3 angstrom"),
    ("domain.radius=200 angstrom", "regions.core_radius=80 angstrom"),
    ("domain.radius=250 angstrom", "regions.core_radius=150 angstrom"),
]
MACE = [
    ("domain.radius=60 angstrom", "regions.core_radius=9 angstrom"),
    ("domain.radius=80 angstrom", "regions.core_radius=30 angstrom"),
    ("domain.radius=100 angstrom", "regions.core_radius=50 angstrom"),
]


def study(quick: bool = False) -> list[Row]:
    """One row per run; the memory is that of the whole process."""
    rows: list[Row] = []
    cases = [("EAM", "crack_eam.yaml", keys) for keys in EAM[: 3 if quick else None]]
    cases += [] if quick else [("MACE", "crack.yaml", keys) for keys in MACE]
    for potential, deck, keys in cases:
        # A few iterations reach the peak; stability brings the second derivatives.
        run = measure.msolve(deck, *keys, "solver.gradient_tolerance=1e-2 eV/angstrom")
        step = run.step
        rows.append(
            {
                "potential": potential,
                "evaluated_atoms": step["evaluated_atoms"],
                "unknowns": step["unknowns"],
                "memory": run.memory,
            }
        )
    return rows


def slopes(rows: list[Row]) -> dict[str, dict[str, float]]:
    """By potential: memory without anything [MB], per evaluated atom and per unknown [kB].

    An unknown costs the same under every potential, so that the slope is taken from the cheap one.
    """
    found: dict[str, dict[str, float]] = {}
    for potential in dict.fromkeys(str(row["potential"]) for row in rows):
        mine = [row for row in rows if row["potential"] == potential]
        atoms = np.array([row["evaluated_atoms"] for row in mine], dtype=float)
        unknowns = np.array([row["unknowns"] for row in mine], dtype=float)
        memory = np.array([row["memory"] for row in mine], dtype=float)
        if "EAM" in found:
            per_unknown = found["EAM"]["per_unknown"]
            A = np.column_stack([np.ones_like(atoms), atoms])
            base, per_atom = np.linalg.lstsq(A, memory - unknowns * per_unknown / 1024, rcond=None)[
                0
            ]
        else:
            A = np.column_stack([np.ones_like(atoms), atoms, unknowns])
            base, per_atom, slope = np.linalg.lstsq(A, memory, rcond=None)[0]
            per_unknown = slope * 1024
        found[potential] = {
            "base": float(base),
            "per_atom": float(per_atom * 1024),
            "per_unknown": float(per_unknown),
        }
    return found


def draw(rows: list[Row], found: dict[str, dict[str, float]]) -> object:
    """Measured against the fit."""
    figure, axes = canvas(9.6, 3.8, columns=2)
    for axis, potential in zip(axes, found, strict=False):
        fit = found[potential]
        mine = [row for row in rows if row["potential"] == potential]
        atoms = np.array([row["evaluated_atoms"] for row in mine], dtype=float)
        unknowns = np.array([row["unknowns"] for row in mine], dtype=float)
        told = fit["base"] + (fit["per_atom"] * atoms + fit["per_unknown"] * unknowns) / 1024
        axis.plot(told, told, color="#bbbbbb", lw=1)
        axis.plot(told, [row["memory"] for row in mine], "o", color=measure.BLUE)
        axis.set_xlabel("fit [MB]")
        axis.set_ylabel("largest resident memory [MB]")
        axis.set_title(
            f"{potential}: {fit['per_atom']:.0f} kB an atom, {fit['per_unknown']:.1f} kB an unknown"
        )
    return figure


def main() -> None:
    """Measure and publish."""
    rows = study("--quick" in sys.argv)
    found = slopes(rows)
    columns = {
        "potential": "potential",
        "evaluated_atoms": "evaluated atoms",
        "unknowns": "unknowns",
        "memory": "largest resident memory [MB]",
    }
    fits: list[Row] = [{"potential": k, **v} for k, v in found.items()]
    text = (
        table(rows, columns)
        + "\n\nFit:\n\n"
        + table(
            fits,
            {
                "potential": "potential",
                "base": "programs [MB]",
                "per_atom": "per evaluated atom [kB]",
                "per_unknown": "per unknown [kB]",
            },
        )
    )
    measure.publish("memory", rows, text, draw(rows, found), fits=found)


if __name__ == "__main__":
    main()
