# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""K and J around one crack: from ring after ring, and against the energies of equilibria a bond apart.

About two minutes of one core.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise

from mpi4py import MPI

from common import DECKS, Row, canvas, prepare, publish, solve_coupled, table

from msolve.against import FullModel
from msolve.build import build, set_up
from msolve.compare import lift_to, unknowns_of
from msolve.config import load_case
from msolve.goals import Goals
from msolve.loads import KField
from msolve.solvers import Settings, minimise
from msolve.units import J_PER_M2, MPA_SQRT_M

TOLERANCE = 1e-5
"""Of the coupled solve [eV/Å]."""

RINGS = ((6, 20), (10, 25), (15, 30), (20, 40), (30, 50), (40, 60), (55, 78))
"""Inner and outer radius [Å]."""


def rings() -> list[Row]:
    """K from ring after ring, over that of the load: in the K-field, the coupled solution and the full model's."""
    asked = ", ".join(
        f"{{name: {name}{inner}, kind: stress_intensity, mode: {mode}, "
        f"inner: {inner} angstrom, outer: {outer} angstrom}}"
        for inner, outer in RINGS
        for name, mode in (("K", "equivalent"), ("K_I", "I"))
    )
    changes = ["domain.radius=80 angstrom", "load.K=1.0 K_G", f"quantities=[{asked}]"]
    setup, assembly = prepare(
        DECKS / "crack_eam.yaml", [*changes, "regions.core_radius=9 angstrom"]
    )
    coupled = solve_coupled(setup, assembly, setup.case.coupling.method, TOLERANCE)
    model = FullModel(setup, assembly)
    goals, full, t = Goals(setup, assembly, model), model.assembly, coupled.t
    exact = unknowns_of(full, lift_to(assembly, coupled.z, t, full), t)
    minimise(full.problem, exact, t, full.preconditioner, Settings(tolerance=TOLERANCE / 10))
    at_zero = full.problem.kinematics.unknowns.vector()
    field = goals.of_full(full, at_zero, t)
    told, truth = goals(coupled.z, t), goals.of_full(full, exact, t)
    assert told is not None
    K, rows = t / MPA_SQRT_M, []
    for inner, outer in RINGS:
        row: Row = {"ring": f"{inner} – {outer} Å", "inner": inner, "outer": outer}
        for name in ("K", "K_I"):
            key = f"{name}{inner}"
            row[f"{name} field"] = field[key].number.value / K
            row[f"{name} coupled"] = told[key].number.value / K
            row[f"{name} full"] = truth[key].number.value / K
        rows.append(row)
    return rows


def draw_rings(rows: list[Row]) -> object:
    """K over the middle of the ring."""
    figure, (axes,) = canvas(6.4, 3.8)
    middle = [0.5 * (float(row["inner"]) + float(row["outer"])) for row in rows]  # type: ignore[arg-type]
    names = {"K": "by J, nonlinear", "K_I": "mode I alone, linear"}
    for (key, name), colour in zip(names.items(), ("#0072b2", "#d55e00"), strict=True):
        for state, style in (("full", "o-"), ("coupled", "x:"), ("field", "s--")):
            values = [float(row[f"{key} {state}"]) for row in rows]  # type: ignore[arg-type]
            words = {"full": "full model", "coupled": "coupled", "field": "K-field of the load"}[
                state
            ]
            axes.plot(middle, values, style, color=colour, ms=5, lw=1, label=f"{name}: {words}")
    axes.axhline(1, color="#999999", lw=1, zorder=0)
    axes.set_xlabel("middle of the ring [Å]")
    axes.set_ylabel("K over that of the load")
    axes.legend(fontsize=8)
    return figure


def advance() -> list[Row]:
    """J of one crack at several places of its tip, and what the energies of these equilibria say of it.

    From one place to the next, Δ further, the energy of the body changes by (2γ - J) Δ times its period.
    """
    asked = ", ".join(
        f"{{name: J{inner}, kind: energy_release, inner: {inner} angstrom, outer: {outer} angstrom}}"
        for inner, outer in RINGS
    )
    changes = ["domain.radius=80 angstrom", "load.K=1.0 K_G", "coupling.method=atomistic"]
    case = load_case(DECKS / "crack_eam.yaml", [*changes, f"quantities=[{asked}]"])
    setup = set_up(case, MPI.COMM_WORLD)
    full = build(setup, None, MPI.COMM_WORLD)
    goals, t, body = Goals(setup, full, FullModel(setup, full)), setup.loads[-1], full.body
    field, slab = body.far_field, setup.slab
    assert isinstance(field, KField) and slab is not None
    step = float(body.crystal.crystal.axes[0][0]) / 2**0.5
    found: list[tuple[float, dict[str, float]]] = []
    for n in range(-1, 5):
        ahead = dataclasses.replace(field, tip=(n * step, 0.0)).displacement(full.X, t)
        z = unknowns_of(full, full.X + ahead, t)
        minimise(full.problem, z, t, full.preconditioner, Settings(tolerance=TOLERANCE / 10))
        energy = full.problem.evaluate(z, t, z.duplicate())
        numbers = goals.of_full(full, z, t)
        found.append((energy, {name: goal.number.value for name, goal in numbers.items()}))
    rows: list[Row] = []
    for n, ((before, J0), (after, J1)) in enumerate(pairwise(found), start=-1):
        lost = (before - after) / (step * body.crystal.period)
        G = (2 * slab.surface_energy + lost) / J_PER_M2
        row: Row = {"place": f"{n * step:.2f} → {(n + 1) * step:.2f} Å", "energies": G}
        row |= {name: 0.5 * (J0[name] + J1[name]) / G for name in J0}
        rows.append(row)
    return rows


def draw_advance(rows: list[Row]) -> object:
    """J over what energies say, ring by ring."""
    figure, (axes,) = canvas(6.4, 3.6)
    for row in rows:
        ratio = [float(row[f"J{inner}"]) - 1 for inner, _ in RINGS]  # type: ignore[arg-type]
        axes.plot([0.5 * (a + b) for a, b in RINGS], ratio, "o-", ms=5, label=str(row["place"]))
    axes.axhline(0, color="#999999", lw=1, zorder=0)
    axes.set_xlabel("middle of the ring [Å]")
    axes.set_ylabel("J over that by energies, less 1")
    axes.legend(fontsize=8, title="advance of the tip", title_fontsize=8)
    return figure


def _digits(rows: list[Row]) -> list[Row]:
    """The rows with four decimals."""
    return [
        {key: f"{value:.4f}" if isinstance(value, float) else value for key, value in row.items()}
        for row in rows
    ]


def main() -> None:
    """Measure and publish."""
    page = "howto-quantities"
    moved = advance()
    columns = {"place": "tip", "energies": "by energies [J/m²]"}
    columns |= {f"J{a}": f"J of {a} – {b} Å over it" for a, b in RINGS[::2]}
    publish("advance", moved, table(_digits(moved), columns), draw_advance(moved), page=page)
    headings = {"ring": "ring"} | {
        f"{name} {state}": f"{name}, {words}"
        for name in ("K", "K_I")
        for state, words in (("field", "K-field"), ("coupled", "coupled"), ("full", "full model"))
    }
    around = rings()
    publish("rings", around, table(_digits(around), headings), draw_rings(around), page=page)


if __name__ == "__main__":
    main()
