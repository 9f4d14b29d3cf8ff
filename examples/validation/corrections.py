# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How fast the deferred ghost-force correction contracts, against the width of the blend.

The factor is the mean ratio between the blended-force residuals after one minimisation and the next, for the
vacancy in the triangular lattice and for the crack in tungsten (embedded-atom potential).
"""

from __future__ import annotations

from unittest import mock

from common import COLOUR, DECKS, HERE, Row, canvas, prepare, publish, table
from matplotlib.figure import Figure

from msolve.assemble import Assembly
from msolve.errors import ConvergenceError
from msolve.solvers import Settings, correct, nonlinear

MINIMISE, STOP = 1e-8, 1e-6  # [eV/Å]

CASES = {
    "vacancy": (
        HERE / "triangular_vacancy.yaml",
        40.0,
        6.0,
        0.965,
        (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0),
    ),
    "crack": (DECKS / "crack_eam.yaml", 70.0, 12.0, 2.72, (0.0, 3.0, 5.5, 8.0, 11.0, 16.0)),
}
"""Deck, radius [Å], core [Å], nearest-neighbour distance [Å], blends [Å]."""


def study(
    cases: tuple[str, ...] = ("vacancy", "crack"), blends: tuple[float, ...] | None = None
) -> list[Row]:
    """One row per case and blend [Å]: residuals after each minimisation and the mean ratio between them."""
    rows: list[Row] = []
    for name in cases:
        deck, radius, core, spacing, widths = CASES[name]
        for blend in widths if blends is None else blends:
            setup, assembly = prepare(
                deck,
                [
                    f"domain.radius={radius} angstrom",
                    f"regions.core_radius={core} angstrom",
                    f"regions.blend={blend} angstrom",
                    "coupling.method=bqcf",  # takes any blend; the method of this study is set below
                ],
            )
            residuals = contract(assembly, setup.loads[-1])
            steps = len(residuals) - 1
            factor = (residuals[-1] / residuals[0]) ** (1 / steps) if steps > 0 else None
            rows.append(
                {
                    "case": name,
                    "blend": blend,
                    "spacings": blend / spacing,
                    "first": residuals[0] if residuals else None,
                    "factor": factor,
                    "corrections": steps if residuals and residuals[-1] <= STOP else None,
                    "residuals": residuals,
                }
            )
    return rows


def contract(assembly: Assembly, t: float) -> list[float]:
    """Blended-force residual after each minimisation [eV/Å]; nothing where a minimisation breaks down."""
    z = assembly.problem.kinematics.unknowns.vector()
    try:
        # What is left by the minimisation must not hide what is left by the dead load.
        with mock.patch.object(nonlinear, "INNER", 0.0):
            _, reports, residuals = correct(
                assembly.problem,
                assembly.force_terms,
                z,
                t,
                assembly.preconditioner,
                Settings(tolerance=MINIMISE),
                corrections=8,
                tolerance=STOP,
            )
    except ConvergenceError as error:
        print(f"broke down: {error}", flush=True)
        return []
    # Where the correction was slow Newton's method finished; its residual is none of the correction's.
    return residuals[:-1] if reports[-1].label == "root" else residuals


def draw(rows: list[Row]) -> Figure:
    """Factor against the width of the blend."""
    figure, (axis,) = canvas(6.8, 3.9)
    for name, marker, colour in (("vacancy", "o", COLOUR["bqcf"]), ("crack", "s", COLOUR["bqce"])):
        chosen = [row for row in rows if row["case"] == name and row["factor"] is not None]
        axis.plot(
            [r["spacings"] for r in chosen],
            [r["factor"] for r in chosen],
            marker + "-",
            color=colour,
            label=name,
        )
    axis.axhline(1.0, color="#888888", linewidth=1, linestyle=":")
    axis.set_yscale("log")
    axis.set_xlabel("width of the blend [nearest-neighbour distances]")
    axis.set_ylabel("residual, ratio per correction")
    axis.set_title("What a correction leaves, against the width of the blend")
    axis.legend()
    return figure


def main() -> None:
    """Run the whole study and publish it."""
    rows = study()
    columns = {
        "case": "case",
        "blend": "blend [Å]",
        "spacings": "blend [neighbour distances]",
        "first": "residual with the first correction [eV/Å]",
        "factor": "factor per correction",
        "corrections": f"corrections to {STOP:g} eV/Å",
    }
    publish("corrections", rows, table(rows, columns), draw(rows))


if __name__ == "__main__":
    main()
