# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The same crack tip in ever larger bodies, up to 10⁸ represented atoms: seconds, unknowns and memory of a run."""

from __future__ import annotations

import math
import sys

import measure
from common import Row, canvas, table

RADII = (100.0, 400.0, 1600.0, 6400.0, 12600.0)
AREA = 3.14339**2 / 2
"""Of the disc, for each atom of a body one lattice constant of tungsten thick [Å²]."""


def study(quick: bool = False) -> list[Row]:
    """A row a radius, each a process of its own, stability and output included."""
    rows: list[Row] = []
    for radius in RADII[: 2 if quick else None]:
        run = measure.msolve("crack_eam.yaml", f"domain.radius={radius} angstrom")
        step = run.step
        phases: dict[str, float] = step["seconds"]  # type: ignore[assignment]
        rows.append(
            {
                "radius": radius,
                "atoms": math.pi * radius**2 / AREA,
                "evaluated_atoms": step["evaluated_atoms"],
                "unknowns": step["unknowns"],
                "iterations": step["iterations"],
                "solve": phases["solve"],
                "whole": run.seconds,
                "memory": run.memory,
                "eigenvalue": step["lowest_eigenvalue"],
            }
        )
    return rows


def draw(rows: list[Row]) -> object:
    """Seconds against represented atoms."""
    figure, (axis,) = canvas(5.4, 3.2)
    atoms = [row["atoms"] for row in rows]
    axis.plot(atoms, [row["whole"] for row in rows], "o-", color=measure.BLUE, label="whole run")
    axis.plot(atoms, [row["solve"] for row in rows], "o-", color=measure.GREEN, label="its solve")
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("atoms that the body would have")
    axis.set_ylabel("seconds")
    axis.legend()
    return figure


def main() -> None:
    """Measure and publish."""
    rows = study("--quick" in sys.argv)
    columns = {
        "radius": "radius [Å]",
        "atoms": "represented atoms",
        "evaluated_atoms": "evaluated atoms",
        "unknowns": "unknowns",
        "iterations": "iterations",
        "solve": "solve [s]",
        "whole": "whole run [s]",
        "memory": "memory [MB]",
        "eigenvalue": "lowest λ",
    }
    measure.publish("represented", rows, table(rows, columns), draw(rows))


if __name__ == "__main__":
    main()
