# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What quadratic recovery is worth where linear elements carry atoms: errors with it and without, core by core.

The unknowns, the mesh and the potential's work are the same; only where atoms stand between the vertices differs.
"""

from __future__ import annotations

from collections.abc import Sequence

from common import (
    COLOUR,
    DECKS,
    HERE,
    Row,
    best_error,
    canvas,
    error_of,
    prepare,
    publish,
    slope,
    solve_coupled,
    solve_full,
    table,
)
from matplotlib.figure import Figure

TOLERANCE = 1e-7  # [eV/Å]
LIFTS = ("linear", "quadratic")

CASES = {
    "vacancy, triangular": (
        HERE / "triangular_vacancy.yaml",
        ["domain.radius=60 angstrom", "mesh.growth=1.5"],
        (3.0, 4.0, 6.0, 8.0),
        True,
        3.0,
    ),
    "11 atoms removed, triangular": (
        DECKS / "micro_crack_triangular.yaml",
        ["domain.radius=60 angstrom"],
        (4.0, 8.0),
        True,
        3.0,
    ),
    "vacancy, W": (
        DECKS / "vacancy.yaml",
        ["domain.radius=60 angstrom"],
        (6.0, 10.0, 16.0),
        False,
        8.0,
    ),
    "crack, W": (DECKS / "crack_eam.yaml", ["domain.radius=80 angstrom"], (9.0, 18.0), False, 8.0),
    "crack, Si": (DECKS / "si_crack.yaml", ["domain.radius=50 angstrom"], (9.0, 14.0), False, 8.0),
}
"""Deck, changes, cores [Å], whether the blend is as wide as the core, width of the rim [Å]."""


RADIUS = {"micro_crack_triangular.yaml": "cores.0.radius"}
"""What a deck calls the size of its core."""


def study(cases: Sequence[str] = tuple(CASES)) -> list[Row]:
    """A row for each case and core."""
    rows: list[Row] = []
    for name in cases:
        deck, changes, cores, wide, rim = CASES[name]
        reference = None
        for core in cores:
            row: Row = {"case": name, "core": core}
            for lift in LIFTS:
                given = [
                    *changes,
                    f"regions.{RADIUS.get(deck.name, 'core_radius')}={core} angstrom",
                    f"coupling.handshake.lift={lift}",
                ]
                if wide:
                    given.append(f"regions.blend={core} angstrom")
                setup, assembly = prepare(deck, given)
                coupled = solve_coupled(setup, assembly, "bgfc_deferred", TOLERANCE)
                reference = reference or solve_full(setup, TOLERANCE, start=coupled)
                error = error_of(coupled, reference, rim, 9.0)
                row |= {
                    "unknowns": coupled.unknowns,
                    lift: error.total_h1,
                    f"energy_{lift}": error.energy,
                }
                if setup.body.crystal.crystal.n_basis == 1:
                    row[f"best_{lift}"] = best_error(setup, assembly, reference, rim)
            row["ratio"] = float(row["linear"]) / float(row["quadratic"])  # type: ignore[arg-type]
            rows.append(row)
            print(row, flush=True)
    return rows


def draw(rows: Sequence[Row]) -> Figure:
    """Errors over the core, with and without, case by case."""
    names = list(dict.fromkeys(str(row["case"]) for row in rows))
    figure, axes = canvas(2.6 * len(names), 3.4, columns=len(names))
    for axis, name in zip(axes, names, strict=True):
        own = [row for row in rows if row["case"] == name]
        cores = [float(row["core"]) for row in own]  # type: ignore[arg-type]
        for lift, colour, marker in (
            ("linear", COLOUR["bqce"], "s"),
            ("quadratic", COLOUR["bqcf"], "o"),
        ):
            axis.loglog(cores, [row[lift] for row in own], marker + "-", color=colour, label=lift)
            if f"best_{lift}" in own[0]:
                best = [row[f"best_{lift}"] for row in own]
                axis.loglog(cores, best, ":", color=colour, label=f"{lift}, best")
        axis.set_xticks(cores, [f"{core:g}" for core in cores])
        axis.minorticks_off()
        axis.set(xlabel="core [Å]", title=name)
    axes[0].set_ylabel("H1 error [Å]")
    axes[0].legend(fontsize=8)
    return figure


def main() -> None:
    """Run the study and publish it."""
    rows = study()
    columns = {
        "case": "case",
        "core": "core [Å]",
        "unknowns": "unknowns",
        "linear": "linear [Å]",
        "quadratic": "quadratic [Å]",
        "ratio": "ratio",
        "best_linear": "best, linear",
        "best_quadratic": "best, quadratic",
        "energy_linear": "energy, linear [eV]",
        "energy_quadratic": "energy, quadratic [eV]",
    }
    own = [row for row in rows if row["case"] == "vacancy, triangular"]
    rates = ", ".join(
        f"{lift} {slope([float(r['unknowns']) for r in own], [float(r[lift]) for r in own]):.2f}"  # type: ignore[arg-type]
        for lift in LIFTS
    )
    text = (
        table(rows, columns)
        + f"\n\nVacancy in the triangular lattice, exponent over the unknowns: {rates}."
    )
    publish("recovered_lift", rows, text, draw(rows))


if __name__ == "__main__":
    main()
