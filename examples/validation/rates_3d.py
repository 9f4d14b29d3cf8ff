# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""In space: rates of linear and quadratic tetrahedra around a small hole, and iterations against the size.

The hole under equal stretch has a strong far field, u ~ r⁻², and hardly any other part. Edges outside the atoms
are three times as long as they would be by default, so that what they lose is more than what the coupling adds.
Theory of that part: with blends as wide as cores and h ~ r, -5/2 for linear and -7/2 for quadratic elements.
"""

from __future__ import annotations

from common import (
    COLOUR,
    DECKS,
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

RADIUS, HOLE, STRAIN, RIM = 60.0, 3.5, 0.02, 8.0
CORES = {degree: (8.0, 10.0, 12.5, 16.0) for degree in (1, 2)}
"""Radii of the core by degree [Å]; the blend is three quarters of that."""
BLEND = 0.75
MESHES = {
    1: ["mesh.degree=1", "mesh.growth=1.0", "mesh.coarseness=3"],
    2: [
        "mesh.degree=2",
        "mesh.growth=1.0",
        "mesh.coarseness=3",
        "mesh.spacing=3.5 angstrom",
    ],
}
SIZES = (35.0, 50.0, 70.0, 100.0)


def case(radius: float) -> list[str]:
    """Changes of the deck of the hole."""
    return [
        f"domain.radius={radius} angstrom",
        f"load.strain={{e11: {STRAIN}, e22: {STRAIN}, e33: {STRAIN}}}",
        f"defect.voids=[{{radius: {HOLE} angstrom}}]",
    ]


def rates(
    cores: dict[int, tuple[float, ...]] = CORES, radius: float = RADIUS, tolerance: float = 1e-6
) -> list[Row]:
    """One row per degree and core: H1 errors relative to the displacement caused by the hole."""
    rows: list[Row] = []
    reference = None
    for degree, radii in cores.items():
        for core in radii:
            changes = [
                f"regions.core_radius={core} angstrom",
                f"regions.blend={BLEND * core} angstrom",
            ]
            setup, assembly = prepare(
                DECKS / "void_3d.yaml", [*case(radius), *MESHES[degree], *changes]
            )
            if reference is None:
                reference = solve_full(setup, tolerance)
            coupled = solve_coupled(setup, assembly, "bqcf", tolerance)
            error = error_of(coupled, reference, rim=RIM, tip_radius=12.0).relative_h1
            best = best_approximation(setup, assembly, reference, RIM)
            rows.append(
                {
                    "degree": degree,
                    "core": core,
                    "atoms": int(assembly.free.sum()),
                    "unknowns": coupled.unknowns,
                    "bqcf": error,
                    "best": best,
                    "rest": max(error**2 - best**2, 0.0) ** 0.5,
                    "full": int(reference.full.free.sum()),
                }
            )
            print(rows[-1], flush=True)
    return rows


def fits(rows: list[Row], last: int = 3) -> dict[str, float]:
    """Exponents of error and best approximation over the largest cores, by degree."""
    found = {}
    for degree in sorted({int(str(row["degree"])) for row in rows}):
        line = [row for row in rows if row["degree"] == degree][-last:]
        x = [float(str(row["core"])) for row in line]
        for key in ("bqcf", "best"):
            found[f"P{degree} {key}"] = slope(x, [float(str(row[key])) for row in line])
    return found


def iterations(radii: tuple[float, ...] = SIZES, core: float = 10.0) -> list[Row]:
    """One row per radius of the ball, at one core: what L-BFGS and Newton's method need."""
    rows: list[Row] = []
    for radius in radii:
        changes = [f"regions.core_radius={core} angstrom", "regions.blend=6 angstrom"]
        setup, assembly = prepare(DECKS / "void_3d.yaml", [*case(radius), *changes])
        coupled = solve_coupled(setup, assembly, "bqcf", 1e-6)
        minimised, root = coupled.solved.reports
        rows.append(
            {
                "radius": radius,
                "unknowns": coupled.unknowns,
                "minimise": minimised.iterations,
                "newton": root.iterations,
                "krylov": root.products / root.iterations,
            }
        )
        print(rows[-1], flush=True)
    return rows


def draw(rows: list[Row], found: dict[str, float]) -> Figure:
    """Errors over the radius of the core, one panel for each degree."""
    figure, axes = canvas(width=9.0, height=4.0, columns=2)
    for axis, degree in zip(axes, sorted(CORES), strict=True):
        line = [row for row in rows if row["degree"] == degree]
        x = [float(str(row["core"])) for row in line]
        for key, marker, name in (("bqcf", "o", "bqcf"), ("best", "*", "best approximation")):
            y = [float(str(row[key])) for row in line]
            label = f"{name}, {found[f'P{degree} {key}']:.2f}"
            axis.loglog(x, y, marker + "-", color=COLOUR[key], label=label)
        theory = -1.5 - degree
        y0 = 0.6 * float(str(line[-1]["best"]))
        axis.loglog(x, [y0 * (v / x[-1]) ** theory for v in x], "--", color="#888888", lw=1,
                    label=f"theory, {theory:g}")  # fmt: skip
        axis.set_xlabel("core radius [Å]")
        axis.set_title(f"{'Linear' if degree == 1 else 'Quadratic'} tetrahedra")
        axis.set_xticks(x, [f"{v:g}" for v in x])
        axis.minorticks_off()
        axis.legend(fontsize=9)
    axes[0].set_ylabel("relative H1 error")
    return figure


def tell(rows: list[Row], sizes: list[Row]) -> None:
    """Publish what ``rates`` and ``iterations`` found."""
    found = fits(rows)
    columns = {
        "degree": "degree",
        "core": "core [Å]",
        "atoms": "free atoms",
        "unknowns": "unknowns",
        "bqcf": "bqcf",
        "best": "best approximation",
        "rest": "√(bqcf² - best²)",
        "full": "atoms of the full model",
    }
    more = {
        "radius": "radius of the ball [Å]",
        "unknowns": "unknowns",
        "minimise": "L-BFGS iterations",
        "newton": "Newton steps",
        "krylov": "GMRES iterations per step",
    }
    exponents = [{"exponent": name, "value": value} for name, value in found.items()]
    text = table(rows, columns) + "\n\nExponents over the three largest cores:\n\n"
    text += table(exponents, {"exponent": "error", "value": "exponent"})
    text += "\n\nIterations at a core of 10 Å, default mesh, to 1e-6 eV/Å:\n\n" + table(sizes, more)
    publish("rates_3d", [*rows, *sizes], text, draw(rows, found), slopes=found)


def main() -> None:
    """Run the whole study and publish it."""
    tell(rates(), iterations())


if __name__ == "__main__":
    main()
