# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Quadratic elements against linear ones at equal unknowns: two vacancies, each against its full atomistic model.

Linear elements coarsen as the error of theirs wants it, quadratic ones start coarser and coarsen less fast.
"""

from __future__ import annotations

import numpy as np
from common import (
    DECKS,
    HERE,
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

MESHES = {
    1: ["mesh.degree=1", "mesh.growth=1.5"],
    2: ["mesh.degree=2", "mesh.growth=1.33", "mesh.coarseness=2"],
}
CASES = {
    "triangular lattice": (HERE / "triangular_vacancy.yaml", 100.0, (4.0, 6.0, 8.0, 12.0), 4.0),
    "tungsten": (DECKS / "vacancy.yaml", 140.0, (12.0, 16.0, 24.0, 32.0), 12.0),
}
"""Deck, radius, radii of the core and width of the rim that is left out [Å]; blends are as wide as cores."""


def study(
    cases: dict[str, tuple[object, float, tuple[float, ...], float]] = CASES,  # type: ignore[assignment]
    tolerance: float = 1e-8,
) -> list[Row]:
    """One row per case, degree and core: unknowns, relative H1 error, best approximation, gain."""
    rows: list[Row] = []
    for case, (deck, radius, cores, rim) in cases.items():
        reference = None
        for degree, mesh in MESHES.items():
            for core in cores:
                changes = {
                    "domain.radius": radius,
                    "regions.core_radius": core,
                    "regions.blend": core,
                }
                setup, assembly = prepare(
                    deck,  # type: ignore[arg-type]
                    [*mesh, *(f"{k}={v} angstrom" for k, v in changes.items())],
                )
                if reference is None:
                    reference = solve_full(setup, tolerance)
                coupled = solve_coupled(setup, assembly, "bqcf", tolerance)
                best = best_approximation(setup, assembly, reference, rim=rim)
                found, whole = (
                    error_of(coupled, reference, rim=width, tip_radius=6.0).relative_h1
                    for width in (rim, 0.0)
                )
                rows.append(
                    {
                        "case": case,
                        "degree": degree,
                        "core": core,
                        "unknowns": coupled.unknowns,
                        "best": best,
                        "bqcf": found,
                        "rest": float(np.sqrt(found**2 - best**2)),
                        "bqcf_all": whole,
                    }
                )
                print(rows[-1], flush=True)
    for row in rows:
        if row["degree"] == 2:
            linear = [one for one in rows if one["degree"] == 1 and one["case"] == row["case"]]
            row["gain"] = at_equal(linear, row, "bqcf")
            row["gain_best"] = at_equal(linear, row, "best")
    return rows


def at_equal(linear: list[Row], row: Row, key: str) -> float:
    """Error of linear elements at the unknowns of a row, over that of the row; along their power law."""
    unknowns = np.array([one["unknowns"] for one in linear], dtype=float)
    errors = np.array([one[key] for one in linear], dtype=float)
    exponent, level = np.polyfit(np.log(unknowns), np.log(errors), 1)
    there = np.exp(level) * float(row["unknowns"]) ** exponent  # type: ignore[arg-type]
    return float(there / float(row[key]))  # type: ignore[arg-type]


def slopes(rows: list[Row]) -> dict[str, float]:
    """Exponent of the error of ``bqcf`` against unknowns, by case and degree."""
    out = {}
    for case in dict.fromkeys(str(row["case"]) for row in rows):
        for degree in MESHES:
            line = [row for row in rows if row["case"] == case and row["degree"] == degree]
            x = [float(row["unknowns"]) for row in line]  # type: ignore[arg-type]
            out[f"{case}, P{degree}"] = slope(x, [float(row["bqcf"]) for row in line])  # type: ignore[arg-type]
    return out


def draw(rows: list[Row], found: dict[str, float]) -> Figure:
    """Error against unknowns, one panel per case."""
    names = list(dict.fromkeys(str(row["case"]) for row in rows))
    figure, axes = canvas(width=10.4, height=4.4, columns=len(names))
    for axis, case in zip(axes, names, strict=True):
        for degree, colour, marker in ((1, "#0072b2", "o"), (2, "#d55e00", "s")):
            line = [row for row in rows if row["case"] == case and row["degree"] == degree]
            x = [row["unknowns"] for row in line]
            label = f"P{degree}: bqcf, slope {found[f'{case}, P{degree}']:.2f}"
            axis.loglog(x, [row["bqcf"] for row in line], marker + "-", color=colour, label=label)
            best = [row["best"] for row in line]
            axis.loglog(
                x, best, marker + ":", color=colour, markerfacecolor="white",
                label=f"P{degree}: best approximation",
            )  # fmt: skip
        axis.set_xlabel("unknowns")
        axis.set_ylabel("relative H1 error")
        axis.set_title(f"Vacancy, {case}")
        axis.legend(fontsize=9)
    return figure


def main() -> None:
    """Run the whole study and publish it."""
    rows = study()
    found = slopes(rows)
    columns = {
        "case": "vacancy in",
        "degree": "degree",
        "core": "core = blend [Å]",
        "unknowns": "unknowns",
        "bqcf": "bqcf",
        "best": "best approximation",
        "rest": "√(bqcf² - best²)",
        "gain": "gain of P2",
        "gain_best": "gain in best",
        "bqcf_all": "bqcf, rim included",
    }
    publish("quadratic_elements", rows, table(rows, columns), draw(rows, found), slopes=found)


if __name__ == "__main__":
    main()
