# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Error against unknowns: a vacancy in the strained triangular lattice, blend as wide as the core.

Every method is measured against the full atomistic solution of the same disc and against the best
approximation of its own trial space, in the discrete H1 norm over all atoms.
"""

from __future__ import annotations

from common import (
    COLOUR,
    HERE,
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

METHODS = ("bqcf", "bgfc_deferred", "bgfc", "bqce")
TOLERANCE = 1e-8  # [eV/Å]


def study(
    radius: float = 100.0,
    cores: tuple[float, ...] = (3, 4, 6, 8, 12),
    methods: tuple[str, ...] = METHODS,
    growth: float = 1.5,
) -> list[Row]:
    """One row per core radius [Å]: unknowns, relative H1 error of each method, best approximation.

    ``growth`` is the exponent by which the mesh coarsens with distance.
    """
    rows: list[Row] = []
    reference = None
    for core in cores:
        changes = {"domain.radius": radius, "regions.core_radius": core, "regions.blend": core}
        setup, assembly = prepare(
            HERE / "triangular_vacancy.yaml",
            [f"mesh.growth={growth}", *(f"{k}={v} angstrom" for k, v in changes.items())],
        )
        if reference is None:
            reference = solve_full(setup, TOLERANCE)
        row: Row = {"core": core, "best": best_approximation(setup, assembly, reference, rim=0.0)}
        for method in methods:
            coupled = solve_coupled(setup, assembly, method, TOLERANCE)
            error = error_of(coupled, reference, rim=0.0, tip_radius=6.0)
            row["unknowns"] = coupled.unknowns
            row[method] = error.relative_h1
            row[f"{method}_energy"] = error.energy
        rows.append(row)
    return rows


def slopes(rows: list[Row], keys: tuple[str, ...]) -> dict[str, float]:
    """Exponent of each error against unknowns."""
    unknowns = [float(row["unknowns"]) for row in rows]  # type: ignore[arg-type]
    return {key: slope(unknowns, [float(row[key]) for row in rows]) for key in keys}  # type: ignore[arg-type]


def draw(rows: list[Row], found: dict[str, float]) -> Figure:
    """Error against unknowns in logarithmic axes."""
    figure, (axis,) = canvas()
    x = [row["unknowns"] for row in rows]
    label = {"bgfc_deferred": "bgfc_deferred (on top of bqcf)", "best": "best approximation"}
    for key in (*METHODS, "best"):
        axis.loglog(
            x,
            [row[key] for row in rows],
            MARKER[key] + ("--" if key in ("best", "bgfc_deferred") else "-"),
            color=COLOUR[key],
            label=f"{label.get(key, key)}: slope {found[key]:.2f}",
            markersize=9 if key == "bqcf" else 6,
            markerfacecolor="white" if key == "bqcf" else COLOUR[key],
        )
    axis.set_xticks([float(n) for n in x], [str(n) for n in x])  # type: ignore[arg-type]
    axis.minorticks_off()
    axis.set_xlabel("unknowns")
    axis.set_ylabel("relative H1 error")
    axis.set_title("Vacancy in the triangular lattice: error against cost")
    axis.legend(loc="center left", bbox_to_anchor=(0.0, 0.56), fontsize=9)
    return figure


def main() -> None:
    """Run the whole study and publish it."""
    rows, finer = study(), study(methods=("bqcf",), growth=1.0)
    found, found_finer = slopes(rows, (*METHODS, "best")), slopes(finer, ("bqcf", "best"))
    shown = with_ratio(rows)
    last: Row = {"core": "slope", **found}
    last_finer: Row = {"core": "slope", **found_finer}
    columns = {
        "core": "core = blend [Å]",
        "unknowns": "unknowns",
        "best": "best approximation",
        "bqcf": "bqcf",
        "bgfc_deferred": "bgfc_deferred",
        "bgfc": "bgfc",
        "bqce": "bqce",
        "ratio": "bqcf / best",
    }
    text = (
        "Mesh growth 1.5:\n\n"
        + table([*shown, last], columns)
        + "\n\nMesh growth 1, a finer mesh far from the vacancy:\n\n"
        + table(
            [*with_ratio(finer), last_finer],
            {k: v for k, v in columns.items() if k not in ("bgfc_deferred", "bgfc", "bqce")},
        )
        + "\n\nRelative H1 error over all atoms of the disc, its rim included."
    )
    publish("triangular_vacancy", rows, text, draw(rows, found), slopes=found, growth_1=finer)


def with_ratio(rows: list[Row]) -> list[Row]:
    """The rows with the error of ``bqcf`` over that of the best approximation."""
    return [{**row, "ratio": row["bqcf"] / row["best"]} for row in rows]  # type: ignore[operator]


if __name__ == "__main__":
    main()
