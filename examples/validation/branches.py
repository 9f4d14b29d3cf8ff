# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Several equilibria at one load: which one each solver finds, and whether it is stable.

The crack in tungsten (embedded-atom potential) at one K, solved by minimisation, by minimisation and then
Newton (what method ``bqcf`` does), and by Newton alone, from the K-field. The full atomistic model is then
minimised from each coupled state. Agreement with a full solution means little without this.
"""

from __future__ import annotations

import numpy as np
from common import (
    COLOUR,
    DECKS,
    Array,
    Coupled,
    Reference,
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

from msolve.compare import lift_to, unknowns_of
from msolve.methods import Solved
from msolve.solvers import Settings, find_root, lowest_mode

TOLERANCE = 1e-6  # [eV/Å]


def study(radius: float = 70.0, core: float = 12.0) -> tuple[list[Row], dict[str, Array]]:
    """One row per way to solve, and the displacement jumps of the states found."""
    setup, assembly = prepare(
        DECKS / "crack_eam.yaml",
        [f"domain.radius={radius} angstrom", f"regions.core_radius={core} angstrom"],
    )
    t = setup.loads[-1]
    z = assembly.problem.kinematics.unknowns.vector()
    forces = assembly.problem.with_terms(assembly.force_terms)
    root = find_root(forces, z, t, assembly.preconditioner, Settings(tolerance=TOLERANCE))
    newton = Solved(assembly.problem, forces, (root,), root.residual, root.energy, root.converged)
    states = {
        "minimise (bgfc_deferred)": solve_coupled(setup, assembly, "bgfc_deferred", TOLERANCE),
        "minimise, then Newton (bqcf)": solve_coupled(setup, assembly, "bqcf", TOLERANCE),
        "Newton alone": Coupled(setup, assembly, z, t, newton),
    }
    first = solve_full(setup, TOLERANCE)
    rows, displaced = [], {}
    for name, state in states.items():
        lifted = unknowns_of(first.full, lift_to(assembly, state.z, t, first.full), t)
        near = solve_full(setup, TOLERANCE, start=state)
        rows.append(
            {
                "solver": name,
                "eigenvalue_there": _lowest(first, lifted),
                "error": error_of(state, first, 8.0, 9.0).total_h1,
                "energy_after": near.report.energy - first.report.energy,
                "eigenvalue_after": _lowest(near, near.z),
                "error_after": error_of(state, near, 8.0, 9.0).total_h1,
            }
        )
        displaced[name] = near.full.problem.gather(near.z, t)
    return rows, displaced | {"reference": first.full.X}


def _lowest(reference: Reference, z: object) -> float:
    full = reference.full
    return lowest_mode(full.problem, z, reference.t, full.preconditioner)[0]  # type: ignore[arg-type]


def draw(states: dict[str, Array], window: float = 14.0) -> Figure:
    """The tip in the two full atomistic equilibria."""
    figure, axes = canvas(8.6, 4.6, columns=2)
    X = states["reference"]
    shown = np.hypot(X[:, 0], X[:, 1]) < 2 * window
    chosen = ("minimise (bgfc_deferred)", "Newton alone")
    titles = ("Minimised from the K-field", "Minimised from the end of Newton alone")
    for axis, name, title in zip(axes, chosen, titles, strict=True):
        y = states[name][shown]
        front = X[shown, 2] > 0.1
        for layer, colour in ((front, COLOUR["bqcf"]), (~front, COLOUR["bgfc"])):
            axis.scatter(
                y[layer, 0], y[layer, 1], s=60, color=colour, edgecolors="white", linewidths=0.5
            )
        axis.set_xlim(-window, window)
        axis.set_ylim(-window, window)
        axis.set_aspect("equal")
        axis.grid(False)
        axis.set_xlabel("x1 [Å]")
        axis.set_title(title)
    axes[0].set_ylabel("x2 [Å]")
    return figure


def main() -> None:
    """Run the study and publish it."""
    rows, states = study()
    columns = {
        "solver": "coupled model solved by",
        "error": "H1 distance to the full solution from the K-field [Å]",
        "eigenvalue_there": "lowest eigenvalue of the full Hessian there",
        "energy_after": "energy of the full solution from there, relative [eV]",
        "error_after": "H1 distance to it [Å]",
        "eigenvalue_after": "its lowest eigenvalue",
    }
    publish("branches", rows, table(rows, columns), draw(states))


if __name__ == "__main__":
    main()
