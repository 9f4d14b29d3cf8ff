# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Iterations of the preconditioned solvers against the size of the body, at a fixed core.

The crack in tungsten with an embedded-atom potential: L-BFGS on the blended energy with ghost-force
correction, Newton-Krylov on the blended forces, L-BFGS on the full atomistic model.
"""

from __future__ import annotations

from common import COLOUR, DECKS, Row, canvas, prepare, publish, solve_coupled, solve_full, table
from matplotlib.figure import Figure

from msolve.solvers import Settings, find_root

MINIMISE, ROOT = 1e-5, 1e-9  # [eV/Å]


def study(
    radii: tuple[float, ...] = (40.0, 80.0, 160.0, 400.0),
    largest_atomistic: float = 400.0,
    core: float = 9.0,
) -> list[Row]:
    """One row per radius of the body [Å]: unknowns and iterations of the three solves."""
    rows: list[Row] = []
    for radius in radii:
        setup, assembly = prepare(
            DECKS / "crack_eam.yaml",
            [f"domain.radius={radius} angstrom", f"regions.core_radius={core} angstrom"],
        )
        coupled = solve_coupled(setup, assembly, "bgfc", MINIMISE)
        forces = assembly.problem.with_terms(assembly.force_terms)
        z = coupled.z.copy()
        root = find_root(forces, z, coupled.t, assembly.preconditioner, Settings(tolerance=ROOT))
        (bgfc,) = coupled.solved.reports
        row: Row = {
            "radius": radius,
            "unknowns": coupled.unknowns,
            "bgfc": bgfc.iterations,
            "newton": root.iterations,
            "krylov": root.products / root.iterations,
            "converged": bgfc.converged and root.converged,
        }
        if radius <= largest_atomistic:
            reference = solve_full(setup, MINIMISE)
            row["atomistic_unknowns"] = reference.z.getSize()
            row["atomistic"] = reference.report.iterations
        rows.append(row)
    return rows


def spread(rows: list[Row], key: str) -> float:
    """Largest over smallest count."""
    counts = [float(row[key]) for row in rows if key in row]  # type: ignore[arg-type]
    return max(counts) / min(counts)


def draw(rows: list[Row]) -> Figure:
    """Iterations against the radius."""
    figure, (axis,) = canvas(6.8, 3.9)
    for key, label, marker, colour in (
        ("atomistic", "L-BFGS, full atomistic", "D", COLOUR["atomistic"]),
        ("bgfc", "L-BFGS, coupled (bgfc)", "s", COLOUR["bgfc_deferred"]),
        ("krylov", "GMRES per Newton step, coupled (bqcf)", "o", COLOUR["bqcf"]),
    ):
        chosen = [row for row in rows if key in row]
        axis.semilogx(
            [r["radius"] for r in chosen],
            [r[key] for r in chosen],
            marker + "-",
            color=colour,
            label=label,
        )
    axis.set_xticks([float(r["radius"]) for r in rows], [f"{r['radius']:g}" for r in rows])  # type: ignore[arg-type]
    axis.minorticks_off()
    axis.set_ylim(0, None)
    axis.set_xlabel("radius of the body [Å]")
    axis.set_ylabel("iterations")
    axis.set_title("Iterations do not grow with the body")
    axis.legend()
    return figure


def main() -> None:
    """Run the whole study and publish it."""
    rows = study()
    columns = {
        "radius": "radius [Å]",
        "unknowns": "unknowns, coupled",
        "bgfc": "L-BFGS on bgfc",
        "newton": "Newton steps to bqcf",
        "krylov": "GMRES iterations per step",
        "atomistic_unknowns": "unknowns, atomistic",
        "atomistic": "L-BFGS, atomistic",
    }
    publish("iterations", rows, table(rows, columns), draw(rows))


if __name__ == "__main__":
    main()
