# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A screw dislocation in tungsten, coupled against full atomistic: error, energy and place of the core, and glide.

Under a growing shear σ23 the line leaves its place when Peierls' stress is reached. Both models are loaded step by
step, each from its own last state. About three minutes of one core.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from common import COLOUR, DECKS, Row, canvas, prepare, publish, solve_coupled, table
from matplotlib.figure import Figure
from scipy import optimize

from msolve.assemble import Assembly, full_atomistic
from msolve.compare import compare, lift_to, unknowns_of
from msolve.loads import Volterra
from msolve.methods import solve
from msolve.solvers import Settings, minimise
from msolve.units import GPA

Array = npt.NDArray[np.float64]

DECK = DECKS / "screw_dislocation.yaml"
TOLERANCE = 1e-5
CORES = (4, 6, 8, 12, 18)
RADIUS = 80.0
NEAR = 20.0
"""Around the line, where its place is looked for [Å]."""


def place(full: Assembly, y: Array, field: Volterra, start: Array) -> Array:
    """Where the line is: the centre of the field that fits u3 best, ``(2,)`` [Å]."""
    X, period = full.X, full.body.crystal.period
    r = np.linalg.norm(X[:, :2] - start, axis=1)
    chosen = np.flatnonzero((r < NEAR) & (r > 4.0))
    u = (y - X)[chosen, 2]

    def misfit(line: Array) -> Array:
        moved = dataclasses.replace(field, line=(float(line[0]), float(line[1])))
        found = moved.displacement(X[chosen], 1.0)[:, 2]
        away = u - found
        away -= period * np.round(away / period)
        return np.asarray(away - away.mean())

    return np.asarray(optimize.least_squares(misfit, start, diff_step=1e-4).x)


def changes(core: float, radius: float, extra: Sequence[str] = ()) -> list[str]:
    """Overrides of the deck."""
    return [
        f"domain.radius={radius} angstrom",
        f"regions.core_radius={core} angstrom",
        "regions.blend=8 angstrom",
        "solver.stability=false",
        "compare.atomistic=false",
        *extra,
    ]


def core_study(quick: bool) -> list[Row]:
    """Errors against the size of the core."""
    rows: list[Row] = []
    for degree in (1, 2):
        for core in CORES[1:3] if quick else CORES:
            extra = [f"mesh.degree={degree}"]
            setup, assembly = prepare(DECK, changes(core, RADIUS, extra))
            coupled = solve_coupled(setup, assembly, "bgfc_deferred", TOLERANCE)
            full = full_atomistic(assembly.problem.kinematics.unknowns.comm, setup.body)
            lifted = lift_to(assembly, coupled.z, coupled.t, full)
            exact = unknowns_of(full, lifted, coupled.t)
            settings = Settings(tolerance=TOLERANCE / 3)
            minimise(full.problem, exact, coupled.t, full.preconditioner, settings)
            given = setup.case.compare
            error, _ = compare(
                full, lifted, exact, coupled.t, rim=given.rim, tip_radius=given.tip_radius
            )
            field = setup.body.far_field.fields[0]  # type: ignore[attr-defined]
            ours = place(full, lifted, field, np.array(field.line))
            theirs = place(full, full.problem.gather(exact, coupled.t), field, np.array(field.line))
            row: Row = {
                "degree": f"P{degree}",
                "core": core,
                "atoms": int(assembly.free.sum()),
                "unknowns": coupled.unknowns,
                "error": error.relative_h1,
                "near": error.tip_h1,
                "energy": 1e3 * error.energy,
                "place": 1e3 * float(np.linalg.norm(ours - theirs)),
            }
            print(row, flush=True)
            rows.append(row)
    return rows


def glide(quick: bool) -> tuple[list[Row], dict[str, list[list[float]]]]:
    """Place of the line along x1 against the shear stress, in both models."""
    most, steps = 0.0135, 4 if quick else 28
    fractions = np.linspace(0, 1, steps)
    extra = [
        "load.strain=null",
        f"load.F=[[1, 0, 0], [0, 1, 0], [0, {most}, 1]]",
        f"load.steps={[round(float(f), 6) for f in fractions]}",
    ]
    setup, assembly = prepare(DECK, changes(18, 60.0, extra))
    field = setup.body.far_field.fields[0]  # type: ignore[attr-defined]
    full = full_atomistic(assembly.problem.kinematics.unknowns.comm, setup.body)
    settings = Settings(tolerance=1e-4)
    z = assembly.problem.kinematics.unknowns.vector()
    x = full.problem.kinematics.unknowns.vector()
    shear = setup.body.C[1, 2, 1, 2] / GPA
    curves: dict[str, list[list[float]]] = {"coupled": [], "full": []}
    start = {name: np.array(field.line) for name in curves}
    for t in fractions:
        t = float(t)
        solve(assembly, setup.case, z, t, settings)
        minimise(full.problem, x, t, full.preconditioner, settings)
        uniform = full.X[:, 1:2] * np.array([0.0, 0.0, most * t])
        states = {"coupled": lift_to(assembly, z, t, full), "full": full.problem.gather(x, t)}
        for name, y in states.items():
            start[name] = place(full, y - uniform, field, start[name])
            curves[name].append([shear * most * t, *map(float, start[name])])
        print(f"{shear * most * t:.3f} GPa", {k: v[-1][1:] for k, v in curves.items()}, flush=True)
    rows: list[Row] = []
    for name, curve in curves.items():
        moved = [point for point in curve if np.hypot(*np.subtract(point[1:], field.line)) > 1.3]
        stays = [point[0] for point in curve if point not in moved]
        rows.append(
            {
                "model": {"coupled": "coupled, core 18 Å", "full": "full atomistic"}[name],
                "stays": max(stays),
                "leaves": moved[0][0] if moved else None,
                "to": f"({moved[0][1]:.2f}, {moved[0][2]:.2f}) Å" if moved else None,
            }
        )
    return rows, curves


def draw(rows: list[Row], curves: dict[str, list[list[float]]]) -> Figure:
    """Error over the size of the core; place of the line over the stress."""
    figure, (left, right) = canvas(9.6, 4.0, columns=2)
    for degree, colour in zip(("P1", "P2"), COLOUR.values(), strict=False):
        mine = [row for row in rows if row["degree"] == degree]
        cores = [float(row["core"]) for row in mine]  # type: ignore[arg-type]
        left.loglog(cores, [row["error"] for row in mine], "o-", color=colour, label=degree)
    left.set_xticks(CORES, [str(core) for core in CORES])
    left.minorticks_off()
    left.set_xlabel("radius of the core [Å]")
    left.set_ylabel("relative error, H1 norm")
    left.set_yticks([0.002, 0.005, 0.01, 0.02, 0.05], ["0.2 %", "0.5 %", "1 %", "2 %", "5 %"])
    left.legend(fontsize=8)
    styles = zip(("o-", "x--"), ("#0072b2", "#d55e00"), strict=True)
    for (name, curve), (style, colour) in zip(curves.items(), styles, strict=True):
        points = np.array(curve)
        right.plot(points[:, 0], points[:, 1], style, color=colour, ms=5, label=name)
    right.set_xlabel("shear stress σ23 at the boundary [GPa]")
    right.set_ylabel("x1 of the line [Å]")
    right.legend(fontsize=8)
    return figure


def main() -> None:
    """Run both and write tables and picture."""
    quick = "--quick" in sys.argv
    moved, curves = glide(quick)
    rows = core_study(quick)
    first = {
        "degree": "elements",
        "core": "core [Å]",
        "atoms": "atoms",
        "unknowns": "unknowns",
        "error": "relative error",
        "near": "error near the line [Å]",
        "energy": "energy [meV]",
        "place": "place [mÅ]",
    }
    second = {
        "model": "model",
        "stays": "stays up to [GPa]",
        "leaves": "has left at [GPa]",
        "to": "to (x1, x2)",
    }
    text = f"{table(rows, first)}\n\n{table(moved, second)}"
    if quick:
        print(text)
    else:
        publish("dislocation", rows, text, draw(rows, curves), glide=curves)


if __name__ == "__main__":
    main()
