# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Numbers that a run tells of the full atomistic model against those of its solution: energies, K, J, openings.

Each case is solved by its coupling method, asked for its quantities, and then the full atomistic model is solved from
there, to round-off. About five minutes of one core; ``--quick`` takes four cases, ``--rings`` only holds rings around
one crack against each other, and J against energies.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from itertools import pairwise

from mpi4py import MPI

import numpy as np
from common import COLOUR, DECKS, Array, Row, canvas, prepare, publish, solve_coupled, table

from msolve.against import FullModel
from msolve.build import build, set_up
from msolve.compare import lift_to, unknowns_of
from msolve.config import load_case
from msolve.errors import ConvergenceError
from msolve.goals import Goals
from msolve.loads import KField
from msolve.methods import stabilise
from msolve.quantities.corrected import Corrected
from msolve.solvers import Settings, minimise
from msolve.units import J_PER_M2, MPA_SQRT_M

TOLERANCE = 1e-5
"""Of the coupled solve [eV/Å]."""

CRACK = (
    "[{{kind: energy}}, {{name: K, kind: stress_intensity, {ring}}}, {{name: J, kind: energy_release, {ring}}}, "
    "{{name: K_I, kind: stress_intensity, mode: I, {ring}}}, {{kind: opening, behind: 12 angstrom}}, "
    "{{kind: displacement, at: [0 angstrom, 12 angstrom], direction: [0, 1, 0]}}]"
)
POINT = "[{{kind: energy}}, {{kind: displacement, at: [{near} angstrom, 0 angstrom], direction: [1, 0, 0]}}]"

Case = tuple[str, str, dict[str, str]]


def _core(radius: float, blend: float = 8.0) -> dict[str, str]:
    return {"regions.core_radius": f"{radius} angstrom", "regions.blend": f"{blend} angstrom"}


def _crack(radius: float, inner: float, outer: float, **changed: str) -> dict[str, str]:
    asked = CRACK.format(ring=f"inner: {inner} angstrom, outer: {outer} angstrom")
    changed = {key.replace("__", "."): value for key, value in changed.items()}
    return {"domain.radius": f"{radius} angstrom", "quantities": asked} | changed


def _point(near: float, **changed: str) -> dict[str, str]:
    changed = {key.replace("__", "."): value for key, value in changed.items()}
    return {"quantities": POINT.format(near=near)} | changed


def cases() -> Iterator[Case]:
    """Name of the kind, deck, and what is changed in it."""
    for K in (0.95, 1.0, 1.05, 1.1, 1.15):
        for core in (9, 18):
            yield "crack, W", "crack_eam", _crack(80, 25, 60, load__K=f"{K} K_G") | _core(core)
    for K in (0.95, 1.05):
        mixed = _crack(80, 25, 60, load__K=f"{K} K_G", load__mode="[1, 0.2, 0.1]")
        mixed["quantities"] = mixed["quantities"][:-1] + (
            ", {kind: stress_intensity, mode: II, inner: 25 angstrom, outer: 60 angstrom}]"
        )
        yield "crack, W, modes mixed", "crack_eam", mixed | _core(9)
    for core in (9, 18):
        none = {"coupling.handshake": "{kind: none}"}
        yield "crack, W, no handshake", "crack_eam", _crack(80, 25, 60) | none | _core(core)
    quadratic = {"mesh.degree": "2"}
    yield "crack, W, P2", "crack_eam", _crack(80, 25, 60) | quadratic | _core(9)
    for core in (9, 18):
        yield "crack, W, linear potential", "crack_linear", _crack(60, 20, 45) | _core(core)
        yield "crack, W, MACE", "crack", _crack(50, 20, 40) | _core(core)
        yield "crack, Si", "si_crack", _crack(60, 20, 50) | _core(core)
    small = {"domain.radius": "60 angstrom"}
    for core in (5, 8, 12, 18):
        yield "vacancy, W", "vacancy", _point(3.2) | small | _core(core)
        yield "two vacancies, W", "di_vacancy", _point(4.8) | small | _core(core)
    for core in (8, 14):
        free = {"mesh.kind": "free"}
        yield "vacancy, W, mesh free", "vacancy", _point(3.2) | small | _core(core) | free
    mace = {"potential": "{kind: mace, file: potentials/w_mace/w_mace.model}"}
    yield "vacancy, W, MACE", "vacancy", _point(3.2) | small | _core(8) | mace
    for width in (3, 6, 12):
        wide = {"regions.cores.0.radius": f"{width} angstrom", "regions.blend": f"{width} angstrom"}
        yield "11 atoms removed, triangular", "micro_crack_triangular", _point(6.0) | wide
    yield "vacancy, Si", "si_vacancy", _point(2.4)
    ball = {"domain.radius": "30 angstrom"}
    yield "vacancy, W, in space", "vacancy_3d", _point(3.2) | ball | _core(5, 5)


def measure(kind: str, deck: str, changes: dict[str, str]) -> list[Row]:
    """Solve, ask, solve the full model; a row a quantity."""
    overrides = [f"{key}={value}" for key, value in changes.items()]
    setup, assembly = prepare(DECKS / f"{deck}.yaml", overrides)
    coupled = solve_coupled(setup, assembly, setup.case.coupling.method, TOLERANCE)
    z, t = coupled.z, coupled.t
    stabilise(assembly, setup.case, z, t, Settings(tolerance=TOLERANCE), coupled.solved)
    model = FullModel(setup, assembly)
    goals, full = Goals(setup, assembly, model), model.assembly
    found = goals(z, t)
    assert found is not None
    exact = unknowns_of(full, lift_to(assembly, z, t, full), t)
    settings = Settings(tolerance=TOLERANCE / 10)
    report = minimise(full.problem, exact, t, full.preconditioner, settings)
    polished = Corrected.of(full, exact, t)
    if not report.converged or polished is None:
        raise ConvergenceError(f"the full model stopped at {report.residual:.2g}")
    truth = goals.of_full(full, polished.final(), t)
    rows: list[Row] = []
    for name, goal in found.items():
        number, true = goal.number, truth[name].number.value
        row: Row = {"kind": kind, "deck": deck, "changes": ", ".join(overrides), "quantity": name}
        row |= {
            "unit": goal.unit,
            "value": number.value,
            "true": true,
            "error": number.value - true,
        }
        row |= {"expected": number.expected, "adjoint": number.adjoint}
        if number.interval is not None:
            low, high = number.interval
            row |= {"half": (high - low) / 2, "holds": bool(low <= true <= high)}
        rows.append(row)
    return rows


def study(quick: bool = False) -> list[Row]:
    """A row a case and quantity."""
    rows: list[Row] = []
    for number, case in enumerate(cases()):
        if quick and number not in (2, 11, 21, 29):
            continue
        try:
            rows += measure(*case)
        except ConvergenceError as error:
            rows.append({"kind": case[0], "deck": case[1], "failed": str(error)})
        hidden = ("changes", "deck", "unit")
        for row in rows[-7:] if quick else rows[-1:]:
            print({k: v for k, v in row.items() if k not in hidden}, flush=True)
    return rows


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3f}" if high - low < 5e-4 else f"{low:.3f} – {high:.3f}"


def summary(rows: list[Row]) -> list[Row]:
    """By kind of case and quantity: the errors, and what was said of them."""
    told: list[Row] = []
    known = [row for row in rows if "quantity" in row]
    for key in dict.fromkeys((str(row["kind"]), str(row["quantity"])) for row in known):
        mine = [row for row in known if (row["kind"], row["quantity"]) == key]
        error = [float(row["error"]) for row in mine]  # type: ignore[arg-type]
        line: Row = {"kind": key[0], "quantity": key[1], "cases": len(mine)}
        sizes = [abs(e) for e in error]
        line["error"] = (
            f"{min(sizes):.1g}" if len(mine) == 1 else f"{min(sizes):.1g} – {max(sizes):.1g}"
        )
        given = [
            (row, e) for row, e in zip(mine, error, strict=True) if row["expected"] is not None
        ]
        first = [-float(row["adjoint"]) / e for row, e in given]  # type: ignore[arg-type]
        line["first"] = _range(first)
        line["second"] = _range(
            [(float(row["value"]) - float(row["expected"])) / e for row, e in given]  # type: ignore[arg-type]
        )
        halves = [float(row["half"]) / abs(e) for row, e in given if "half" in row]  # type: ignore[arg-type]
        line["half"] = "–" if not halves else f"{min(halves):.1g} – {max(halves):.1g}"
        holds = [row["holds"] for row in mine if "holds" in row]
        line["holds"] = f"{sum(map(bool, holds))} of {len(holds)}"
        line["naive"] = _range([2 * one for one in first]) if key[1] == "energy" else "–"
        told.append(line)
    return told


def draw(rows: list[Row]) -> object:
    """Said against true error, and how wide the interval is and where the truth lies in it."""
    figure, (left, right) = canvas(9.6, 4.2, columns=2)
    known = [row for row in rows if row.get("half") is not None]
    names = ["energy", "K", "K_I", "K_II", "J", "opening", "displacement"]
    colours = [*COLOUR.values(), "#56b4e9"]
    for name, colour in zip(names, colours, strict=False):
        mine = [row for row in known if row["quantity"] == name]

        def of(key: str, mine: list[Row] = mine) -> Array:
            return np.array([float(row[key]) for row in mine])  # type: ignore[arg-type]

        true, said = np.abs(of("error")), np.abs(of("value") - of("expected"))
        off = np.maximum(np.abs(of("expected") - of("true")), 1e-16)
        style = {"ms": 5, "color": colour, "alpha": 0.8}
        left.loglog(true, said, "o", label=name, **style)
        right.loglog(of("half") / true, off / true, "o", **style)
    for axes in (left, right):
        limits = (*axes.get_xlim(), *axes.get_ylim())
        ends = (min(limits), max(limits))
        axes.plot(ends, ends, color="#999999", lw=1, zorder=0)
    left.set_xlabel("true error of the coupled solution")
    left.set_ylabel("said")
    left.set_title("each in its unit", fontsize=9)
    left.legend(fontsize=8)
    right.set_xlabel("half width of the interval / error")
    right.set_ylabel("true less expected / error")
    right.set_title("below the line the truth lies in the interval", fontsize=9)
    return figure


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
    moved = advance()
    page = "howto-quantities"
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
    if "--rings" in sys.argv:
        return
    rows = study("--quick" in sys.argv)
    columns = {
        "kind": "kind",
        "quantity": "quantity",
        "cases": "cases",
        "error": "error of the coupled solution",
        "first": "first order / true",
        "second": "expected / true",
        "half": "half width / error",
        "holds": "interval holds",
        "naive": "weighted by adjoint / true",
    }
    publish("quantities", rows, table(summary(rows), columns), draw(rows), page="guarantees")


if __name__ == "__main__":
    main()
