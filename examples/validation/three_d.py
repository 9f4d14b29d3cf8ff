# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""In space: a vacancy over the radius of its core by linear and quadratic tetrahedra, a hole and a penny crack.

Each against the full atomistic model of the same ball. Copper's table is read where Debian's LAMMPS has it.
"""

from __future__ import annotations

from pathlib import Path

from common import (
    DECKS,
    Row,
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

RADIUS = 40.0
CORES = {1: (3.5, 5.0, 7.0, 10.0), 2: (3.5, 5.0, 7.0)}
"""Radii of the core by degree [Å]; blends are as wide as cores, but at least 4 Å."""
MESHES = {1: ["mesh.degree=1", "mesh.growth=1.5"], 2: ["mesh.degree=2", "mesh.growth=1.33"]}
RIM = 8.0
COPPER = Path("/usr/share/lammps/potentials/Cu_mishin1.eam.alloy")

METALS: dict[str, list[str]] = {
    "W": [],
    "Cu": [
        "crystal.structure=fcc",
        "crystal.element=Cu",
        f"potential.file={COPPER}",
    ],
}
DEFECTS = {
    "vacancy": ("vacancy_3d.yaml", ["domain.radius=40 angstrom"], ("W", "Cu")),
    "hole, 7 Å": ("void_3d.yaml", ["domain.radius=40 angstrom"], ("W", "Cu")),
    "penny crack, 10 Å": ("penny_crack.yaml", ["domain.radius=44 angstrom"], ("W",)),
}


def vacancy(
    cores: dict[int, tuple[float, ...]] = CORES, radius: float = RADIUS, tolerance: float = 1e-7
) -> list[Row]:
    """One row per degree and core: unknowns, relative H1 error, iterations."""
    rows: list[Row] = []
    reference = None
    for degree, radii in cores.items():
        for core in radii:
            changes = [
                *MESHES[degree],
                "load.strain={e11: 0.0}",
                f"domain.radius={radius} angstrom",
                f"regions.core_radius={core} angstrom",
                f"regions.blend={max(core, 4.0)} angstrom",
            ]
            setup, assembly = prepare(DECKS / "vacancy_3d.yaml", changes)
            if reference is None:
                reference = solve_full(setup, tolerance)
            coupled = solve_coupled(setup, assembly, "bqcf", tolerance)
            found = error_of(coupled, reference, rim=RIM, tip_radius=6.0)
            rows.append(
                {
                    "degree": degree,
                    "core": core,
                    "atoms": int(assembly.free.sum()),
                    "unknowns": coupled.unknowns,
                    "bqcf": found.relative_h1,
                    "steps": coupled.solved.reports[-1].iterations,
                    "products": coupled.solved.reports[-1].products,
                    "full": int(reference.full.free.sum()),
                }
            )
            print(rows[-1], flush=True)
    return rows


def defects(names: tuple[str, ...] = tuple(DEFECTS), tolerance: float = 1e-5) -> list[Row]:
    """One row per metal and defect: relative H1 error against the full model."""
    rows: list[Row] = []
    for name in names:
        deck, overrides, metals = DEFECTS[name]
        for metal in metals:
            if metal == "Cu" and not COPPER.is_file():
                continue
            setup, assembly = prepare(DECKS / deck, [*overrides, *METALS[metal]])
            coupled = solve_coupled(setup, assembly, "bqcf", tolerance)
            reference = solve_full(setup, tolerance)
            found = error_of(coupled, reference, rim=RIM, tip_radius=12.0)
            rows.append(
                {
                    "defect": f"{metal}: {name}",
                    "atoms": int(assembly.free.sum()),
                    "full": int(reference.full.free.sum()),
                    "unknowns": coupled.unknowns,
                    "h1": found.total_h1,
                    "bqcf": found.relative_h1,
                    "iterations": coupled.solved.reports[0].iterations,
                }
            )
            print(rows[-1], flush=True)
    return rows


def draw(rows: list[Row], found: dict[int, float]) -> Figure:
    """Error of the vacancy against the radius of the core."""
    figure, (axis,) = canvas(width=6.4, height=4.4, columns=1)
    for degree, colour, marker in ((1, "#0072b2", "o"), (2, "#d55e00", "s")):
        line = [row for row in rows if row["degree"] == degree]
        label = f"P{degree}, slope {found[degree]:.2f}"
        x, y = [row["core"] for row in line], [row["bqcf"] for row in line]
        axis.loglog(x, y, marker + "-", color=colour, label=label)
    axis.set_xlabel("core radius [Å]")
    axis.set_ylabel("relative H1 error")
    axis.set_title("Vacancy in tungsten, in space")
    axis.legend(fontsize=9)
    return figure


def main() -> None:
    """Run the whole study and publish it."""
    rows = vacancy()
    slopes = {
        degree: slope(
            [float(row["core"]) for row in rows if row["degree"] == degree],  # type: ignore[arg-type]
            [float(row["bqcf"]) for row in rows if row["degree"] == degree],  # type: ignore[arg-type]
        )
        for degree in CORES
    }
    columns = {
        "degree": "degree",
        "core": "core [Å]",
        "atoms": "free atoms",
        "unknowns": "unknowns",
        "bqcf": "relative H1 error",
        "steps": "Newton steps",
        "products": "Hessian products",
        "full": "atoms of the full model",
    }
    others = defects()
    more = {
        "defect": "defect",
        "atoms": "free atoms",
        "full": "atoms of the full model",
        "unknowns": "unknowns",
        "h1": "H1 error [Å]",
        "bqcf": "relative",
        "iterations": "L-BFGS iterations",
    }
    text = table(rows, columns) + "\n\n" + table(others, more)
    publish(
        "three_d",
        [*rows, *others],
        text,
        draw(rows, slopes),
        slopes={f"P{degree}": value for degree, value in slopes.items()},
    )


if __name__ == "__main__":
    main()
