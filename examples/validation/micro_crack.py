# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Error against unknowns: an open micro-crack of eleven removed atoms, the core all within a distance of it.

Every method starts from the predictor, finds the open crack by its energy, and is measured against the full
atomistic solution nearest to it.
"""

from __future__ import annotations

from common import (
    COLOUR,
    DECKS,
    MARKER,
    Row,
    best_approximation,
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

METHODS = ("bgfc_deferred", "bgfc", "bqce")
TOLERANCE = 1e-7  # [eV/Å]


def study(cores: tuple[float, ...] = (3, 4, 6, 8, 12), radius: float = 60.0) -> list[Row]:
    """One row per width of core and blend [Å]: unknowns, relative H1 error of each method, best approximation."""
    rows: list[Row] = []
    reference = None
    for core in cores:
        widths = {"regions.cores.0.radius": core, "regions.blend": core, "domain.radius": radius}
        setup, assembly = prepare(
            DECKS / "micro_crack_triangular.yaml", [f"{k}={v} angstrom" for k, v in widths.items()]
        )
        row: Row = {"core": core}
        for method in METHODS:
            coupled = solve_coupled(setup, assembly, method, TOLERANCE)
            if reference is None:
                reference = solve_full(setup, 0.1 * TOLERANCE, start=coupled)
            row["unknowns"] = coupled.unknowns
            row[method] = error_of(coupled, reference, rim=0.0, tip_radius=4.0).relative_h1
        assert reference is not None
        row["best"] = best_approximation(setup, assembly, reference, rim=0.0)
        rows.append(row)
        print(row, flush=True)
    return rows


def slopes(rows: list[Row]) -> dict[str, float]:
    """Exponent of each error against unknowns."""
    x = [float(row["unknowns"]) for row in rows]  # type: ignore[arg-type]
    return {
        key: slope(x, [float(row[key]) for row in rows])  # type: ignore[arg-type]
        for key in (*METHODS, "best")
    }


def draw(rows: list[Row], found: dict[str, float]) -> Figure:
    """Error against unknowns in logarithmic axes."""
    figure, (axis,) = canvas()
    x = [row["unknowns"] for row in rows]
    for key in (*METHODS, "best"):
        axis.loglog(
            x,
            [row[key] for row in rows],
            MARKER[key] + ("--" if key == "best" else "-"),
            color=COLOUR[key],
            label=f"{'best approximation' if key == 'best' else key}: slope {found[key]:.2f}",
        )
    axis.set_xticks([float(n) for n in x], [str(n) for n in x])  # type: ignore[arg-type]
    axis.minorticks_off()
    axis.set_xlabel("unknowns")
    axis.set_ylabel("relative H1 error")
    axis.set_title("Micro-crack in the triangular lattice: error against cost")
    axis.legend(fontsize=9)
    return figure


def main() -> None:
    """Run the whole study and publish it."""
    rows = study()
    found = slopes(rows)
    columns = {
        "core": "core = blend [Å]",
        "unknowns": "unknowns",
        "best": "best approximation",
        "bgfc_deferred": "bgfc_deferred",
        "bgfc": "bgfc",
        "bqce": "bqce",
    }
    last: Row = {"core": "slope", **found}
    publish("micro_crack", rows, table([*rows, last], columns), draw(rows, found), slopes=found)


if __name__ == "__main__":
    main()
