# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Crystals of two atoms per cell: error over the radius of the core, with relaxed inner shifts and without them.

Without them the continuum and the pad move every atom of a cell alike; the far field stays that of the relaxed
crystal, and so does the full atomistic model. Magnesium's table is read where Debian's LAMMPS has it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mpi4py import MPI

from common import (
    DECKS,
    Row,
    canvas,
    error_of,
    prepare,
    publish,
    solve_coupled,
    solve_full,
    table,
)
from matplotlib.figure import Figure

from msolve.build import Setup, build, build_mesh
from msolve.potentials.bulk import BulkCell

MAGNESIUM = Path("/usr/share/lammps/potentials/Mg_mm.eam.fs")

CASES: dict[str, tuple[str, list[str], tuple[float, ...]]] = {
    "Si vacancy": ("si_vacancy.yaml", ["domain.radius=40 angstrom"], (5.0, 8.0)),
    "Si (111) crack": ("si_crack.yaml", ["domain.radius=50 angstrom"], (9.0, 14.0)),
    "Mg vacancy": (
        "si_vacancy.yaml",
        [
            "crystal.structure=hcp",
            "crystal.element=Mg",
            "crystal.orientation={x1: [1, 0, 0], x2: [1, 2, 0], x3: [0, 0, 1]}",
            "potential.kind=eam",
            f"potential.file={MAGNESIUM}",
            "domain.radius=44 angstrom",
        ],
        (5.0, 8.0),
    ),
}
"""Deck, changes and radii of the core [Å]."""

BLEND, RIM, TIP = 8.0, 8.0, 8.0  # [Å]
TOLERANCE = 1e-5  # [eV/Å]


def without_shifts(setup: Setup) -> Setup:
    """The same case, with sublattices that follow the deformation gradient."""
    body = setup.body
    rigid = BulkCell(body.model, body.crystal, relaxed=False)  # type: ignore[arg-type]
    return replace(setup, body=replace(body, material=rigid))


def study(
    names: tuple[str, ...] = tuple(CASES),
    cores: tuple[float, ...] | None = None,
    changes: tuple[str, ...] = (),
) -> list[Row]:
    """One row per case and core: unknowns, relative H1 error with relaxed inner shifts and without."""
    rows: list[Row] = []
    for name in names:
        deck, given, radii = CASES[name]
        reference = None
        for core in cores or radii:
            setup, assembly = prepare(
                DECKS / deck,
                [
                    *given,
                    *changes,
                    f"regions.core_radius={core} angstrom",
                    f"regions.blend={BLEND} angstrom",
                ],
            )
            coupled = solve_coupled(setup, assembly, "bqcf", TOLERANCE)
            if reference is None:
                reference = solve_full(setup, 0.1 * TOLERANCE, start=coupled)
            rigid = without_shifts(setup)
            other = build(rigid, build_mesh(rigid, MPI.COMM_WORLD), MPI.COMM_WORLD)
            frozen = solve_coupled(rigid, other, "bqcf", TOLERANCE)
            errors = [error_of(solved, reference, RIM, TIP) for solved in (coupled, frozen)]
            rows.append(
                {
                    "case": name,
                    "core": core,
                    "unknowns": coupled.unknowns,
                    "relaxed": errors[0].relative_h1,
                    "total": errors[0].total_h1,
                    "frozen": errors[1].relative_h1,
                    "ratio": errors[1].relative_h1 / errors[0].relative_h1,
                }
            )
            print(rows[-1], flush=True)
    return rows


def draw(rows: list[Row]) -> Figure:
    """One panel per case, logarithmic."""
    names = list(dict.fromkeys(str(row["case"]) for row in rows))
    figure, axes = canvas(3.2 * len(names), 3.6, len(names))
    for axis, name in zip(axes, names, strict=True):
        mine = [row for row in rows if row["case"] == name]
        x = [float(row["core"]) for row in mine]  # type: ignore[arg-type]
        axis.loglog(x, [row["relaxed"] for row in mine], "o-", color="#0072b2", label="relaxed")
        axis.loglog(x, [row["frozen"] for row in mine], "s--", color="#d55e00", label="none")
        axis.set_xticks(x, [f"{value:g}" for value in x])
        axis.minorticks_off()
        axis.set_title(name)
        axis.set_xlabel("core radius [Å]")
    axes[0].set_ylabel("relative H1 error")
    axes[0].legend(title="inner shifts", fontsize=9)
    return figure


def main() -> None:
    """Run the whole study and publish it."""
    rows = study()
    columns = {
        "case": "case",
        "core": "core [Å]",
        "unknowns": "unknowns",
        "relaxed": "relative H1 error",
        "total": "total H1 [Å]",
        "frozen": "without inner shifts",
        "ratio": "ratio",
    }
    publish("multilattice", rows, table(rows, columns), draw(rows))


if __name__ == "__main__":
    main()
