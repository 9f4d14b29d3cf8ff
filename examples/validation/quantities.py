# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Numbers that a run tells of the full atomistic model against those of its solution: energies, K, J, openings.

Each case is solved by its coupling method, asked for its quantities with and without a certificate, and then the full
atomistic model is solved from there, to round-off. About twenty minutes of one core; ``--quick`` takes four cases.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import dislocation_cases
import numpy as np
from common import COLOUR, DECKS, Array, Row, canvas, prepare, publish, solve_coupled, table

from msolve.against import FullModel
from msolve.certified import Certifier
from msolve.compare import lift_to, unknowns_of
from msolve.errors import ConvergenceError
from msolve.goals import Goals
from msolve.methods import stabilise
from msolve.quantities.corrected import Corrected
from msolve.solvers import Settings, minimise

TOLERANCE = 1e-5
"""Of the coupled solve [eV/Å]."""

CRACK = (
    "[{{kind: energy}}, {{name: K, kind: stress_intensity, {ring}}}, {{name: J, kind: energy_release, {ring}}}, "
    "{{name: K_I, kind: stress_intensity, mode: I, {ring}}}, {{kind: opening, behind: 12 angstrom}}, "
    "{{kind: displacement, at: [0 angstrom, 12 angstrom], direction: [0, 1, 0]}}]"
)
POINT = "[{{kind: energy}}, {{kind: displacement, at: [{near} angstrom, 0 angstrom], direction: [1, 0, 0]}}]"
POLISH = 2
"""Pairs of Newton steps at the end of the reference's solution: certified intervals may be as narrow as 1e-12 Å."""

LEAST = 1e-13
"""Of what is off over the error, in the picture."""

CERTIFY = {"certificate": "{look_around: false}"}
MACE = dislocation_cases.MACE

Case = tuple[str, str, dict[str, str]]


def _core(radius: float, blend: float = 8.0) -> dict[str, str]:
    return {"regions.core_radius": f"{radius} angstrom", "regions.blend": f"{blend} angstrom"}


def _crack(radius: float, inner: float, outer: float, **changed: str) -> dict[str, str]:
    asked = CRACK.format(ring=f"inner: {inner} angstrom, outer: {outer} angstrom")
    changed = {key.replace("__", "."): value for key, value in changed.items()}
    return {"domain.radius": f"{radius} angstrom", "quantities": asked} | changed


def _point(near: float, radius: float) -> dict[str, str]:
    return {"quantities": POINT.format(near=near), "domain.radius": f"{radius} angstrom"}


def cracks() -> Iterator[Case]:
    """Sharp cracks: name of the kind, deck, and what is changed in it."""
    for K in (0.95, 1.0, 1.05, 1.1, 1.15, 1.2):
        for core in (9, 18):
            load = _crack(60, 20, 45, load__K=f"{K} K_G") | _core(core)
            yield "crack, W", "crack_eam", load | CERTIFY
    for K in (0.95, 1.05):
        mixed = _crack(60, 20, 45, load__K=f"{K} K_G", load__mode="[1, 0.2, 0.1]")
        mixed["quantities"] = mixed["quantities"][:-1] + (
            ", {kind: stress_intensity, mode: II, inner: 20 angstrom, outer: 45 angstrom}]"
        )
        yield "crack, W, modes mixed", "crack_eam", mixed | _core(9) | CERTIFY
    plain = _crack(60, 20, 45) | CERTIFY
    for core in (9, 18):
        none = {"coupling.handshake": "{kind: none}", "certificate.corrections": "6"}
        yield "crack, W, no handshake", "crack_eam", plain | none | _core(core)
        yield "crack, W, P2", "crack_eam", plain | {"mesh.degree": "2"} | _core(core)
    yield "crack, W, linear potential", "crack_linear", _crack(50, 16, 36) | _core(9)
    small = _crack(34, 10, 28) | _core(6, 6) | CERTIFY
    yield "crack, W, linear potential", "crack_linear", small
    yield "crack, W, MACE", "crack", _crack(50, 20, 40) | _core(9)
    for core in (9, 14):
        yield "crack, Si", "si_crack", _crack(50, 16, 40) | _core(core) | CERTIFY


def defects() -> Iterator[Case]:
    """Vacancies and short cracks."""
    one, two = _point(3.2, 45) | CERTIFY, _point(4.8, 45) | CERTIFY
    for core in (5, 8, 12, 16):
        yield "vacancy, W", "vacancy", one | _core(core)
        yield "two vacancies, W", "di_vacancy", two | _core(core)
    for core in (8, 12):
        yield "vacancy, W, mesh free", "vacancy", one | {"mesh.kind": "free"} | _core(core)
        yield "vacancy, W, P2", "vacancy", one | {"mesh.degree": "2"} | _core(core)
    rng = np.random.default_rng(3)
    for _ in range(4):
        strain = {
            f"load.strain.{k}": f"{v:.2f} %"
            for k, v in zip(("e11", "e22", "e12"), rng.uniform(-2, 2, 3), strict=True)
        }
        yield "vacancy, W, random strain", "vacancy", one | _core(8) | strain
    yield "vacancy, W, MACE", "vacancy", _point(3.2, 45) | _core(8) | MACE
    for width in (3, 6, 12):
        wide = {"regions.cores.0.radius": f"{width} angstrom", "regions.blend": f"{width} angstrom"}
        row = _point(6.0, 40) | CERTIFY | wide
        yield "11 atoms removed, triangular", "micro_crack_triangular", row
    for near, name, positions in (
        (1.0, "1 atom", "[[0, 0]]"),
        (2.0, "3 atoms", "[[-0.97 angstrom, 0], [0, 0], [0.97 angstrom, 0]]"),
    ):
        for width in (2, 4):
            changed = {
                "regions.cores": f"[{{shape: ball, radius: {2 + width} angstrom}}]",
                "regions.blend": f"{width} angstrom",
                "defect.positions": positions,
            }
            toy = _point(near, 40) | CERTIFY | changed
            yield f"{name} removed, triangular", "micro_crack_triangular", toy
    yield "row of atoms removed, W", "micro_crack", _point(9.0, 60) | CERTIFY
    yield "vacancy, Si", "si_vacancy", _point(2.4, 34) | CERTIFY
    yield "vacancy, W, in space", "vacancy_3d", _point(3.2, 26) | _core(5, 5)


def dislocations() -> Iterator[Case]:
    """Screw dislocations: the atom told of lies beside the line, and moves along it."""
    asked = POINT.format(near=3.2).replace("[1, 0, 0]", "[0, 0, 1]")
    for kind, deck, changes in dislocation_cases.cases(45):
        sure = {} if kind.endswith("MACE") else CERTIFY
        yield kind, deck, changes | {"quantities": asked} | sure


def cases() -> Iterator[Case]:
    """All of them."""
    yield from cracks()
    yield from defects()
    yield from dislocations()


def measure(kind: str, deck: str, changes: dict[str, str]) -> list[Row]:
    """Solve, ask, solve the full model; a row a quantity."""
    overrides = [f"{key}={value}" for key, value in changes.items()]
    setup, assembly = prepare(DECKS / f"{deck}.yaml", overrides)
    coupled = solve_coupled(setup, assembly, setup.case.coupling.method, TOLERANCE)
    z, t = coupled.z, coupled.t
    stabilise(assembly, setup.case, z, t, Settings(tolerance=TOLERANCE), coupled.solved)
    model = FullModel(setup, assembly)
    goals, full = Goals(setup, assembly, model), model.assembly
    estimated = goals(z, t)
    assert estimated is not None
    sure = Certifier(setup, assembly, model)(z, t)
    ball = None if sure is None else sure.ball
    certified = None if ball is None else goals(z, t, ball)
    exact = unknowns_of(full, lift_to(assembly, z, t, full), t)
    settings = Settings(tolerance=TOLERANCE / 10)
    report = minimise(full.problem, exact, t, full.preconditioner, settings)
    for _ in range(POLISH):
        polished = Corrected.of(full, exact, t)
        if not report.converged or polished is None:
            raise ConvergenceError(f"the full model stopped at {report.residual:.2g}")
        exact = polished.final()
    truth = goals.of_full(full, exact, t)
    rows: list[Row] = []
    for name, goal in estimated.items():
        number, true = goal.number, truth[name].number.value
        row: Row = {"kind": kind, "deck": deck, "changes": ", ".join(overrides), "quantity": name}
        row |= {
            "unit": goal.unit,
            "value": number.value,
            "true": true,
            "error": number.value - true,
            "expected": number.expected,
            "adjoint": number.adjoint,
            "level": None if sure is None else sure.certificate.level,
            "obstacle": None if sure is None else sure.certificate.obstacle,
        }
        row |= _held("", number.interval, true)
        if certified is not None:
            row |= _held("certified ", certified[name].number.interval, true)
        rows.append(row)
    return rows


def _held(key: str, interval: tuple[float, float] | None, true: float) -> Row:
    """Half width of an interval, and whether it holds the truth."""
    if interval is None:
        return {}
    low, high = interval
    middle = (low + high) / 2
    return {
        f"{key}half": (high - low) / 2,
        f"{key}off": abs(middle - true),
        f"{key}holds": bool(low <= true <= high),
    }


def study(quick: bool = False) -> list[Row]:
    """A row a case and quantity."""
    rows: list[Row] = []
    for number, case in enumerate(cases()):
        if quick and number not in (2, 14, 23, 41):
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
    return " – ".join(dict.fromkeys(f"{value:.3f}" for value in (min(values), max(values))))


GROUPS = {
    "crack, W, no handshake": "crack, W, no handshake",
    "crack, W, linear potential": "crack, other potentials",
    "crack, W, MACE": "crack, other potentials",
    "crack, Si": "crack, other potentials",
    "crack": "crack, W",
    "vacancy": "vacancies",
    "two vacancies": "vacancies",
    "screw": "screw dislocation, W",
    "": "atoms in a row removed",
}
"""Kinds of cases that share a row of the table, by how their names begin."""


def _group(kind: str) -> str:
    return next(told for start, told in GROUPS.items() if kind.startswith(start))


def summary(rows: list[Row]) -> list[Row]:
    """By group of cases and quantity: the errors, and what was said of them."""
    told: list[Row] = []
    known = [row for row in rows if "quantity" in row]
    for key in dict.fromkeys((_group(str(row["kind"])), str(row["quantity"])) for row in known):
        mine = [row for row in known if (_group(str(row["kind"])), row["quantity"]) == key]
        given = [row for row in mine if row["expected"] is not None]
        first = [-_of(row, "adjoint") / _of(row, "error") for row in given]
        line: Row = {"kind": key[0], "quantity": key[1], "cases": len(mine)}
        line["error"] = _span([abs(_of(row, "error")) for row in mine])
        line["first"] = _range(first)
        line["second"] = _range(
            [(_of(row, "value") - _of(row, "expected")) / _of(row, "error") for row in given]
        )
        for name in ("", "certified "):
            held = [row for row in mine if f"{name}half" in row]
            line[f"{name}half"] = _span(
                [_of(row, f"{name}half") / abs(_of(row, "error")) for row in held]
            )
            line[f"{name}holds"] = (
                f"{sum(bool(row[f'{name}holds']) for row in held)} of {len(held)}"
            )
        line["naive"] = _range([2 * one for one in first]) if key[1] == "energy" else "–"
        told.append(line)
    return told


def _of(row: Row, key: str) -> float:
    return float(row[key])  # type: ignore[arg-type]


def _span(values: list[float]) -> str:
    ends = [min(values), max(values)] if values else []
    told = [f"{value:.0f}" if value >= 10 else f"{value:.1g}" for value in ends]
    return " – ".join(dict.fromkeys(told)) or "–"


def draw(rows: list[Row]) -> object:
    """Said against true error, and how wide intervals are and where the truth lies in them."""
    figure, (left, right) = canvas(9.6, 4.4, columns=2)
    known = [row for row in rows if row.get("half") is not None]
    names = ["energy", "K", "K_I", "K_II", "J", "opening", "displacement"]
    colours = [*COLOUR.values(), "#56b4e9"]
    for name, colour in zip(names, colours, strict=False):
        mine = [row for row in known if row["quantity"] == name]
        sure = [row for row in mine if "certified half" in row]
        style = {"ms": 5, "color": colour, "alpha": 0.8, "ls": "none"}
        said = _column(mine, "value") - _column(mine, "expected")
        error = np.abs(_column(mine, "error"))
        left.loglog(error, np.abs(said), marker="o", label=name, **style)
        left.loglog(error, np.abs(_column(mine, "adjoint")), marker="o", mfc="none", **style)
        for key, cases, marker in (("", mine, "o"), ("certified ", sure, "x")):
            true = np.abs(_column(cases, "error"))
            half, off = _column(cases, f"{key}half"), _column(cases, f"{key}off")
            right.loglog(half / true, np.maximum(off / true, LEAST), marker=marker, **style)
    for axes in (left, right):
        limits = (*axes.get_xlim(), *axes.get_ylim())
        ends = (min(limits), max(limits))
        axes.plot(ends, ends, color="#999999", lw=1, zorder=0)
    left.set_xlabel("true error of the coupled solution")
    left.set_ylabel("said")
    left.set_title("each in its unit; open: first order, by the adjoint alone", fontsize=9)
    left.legend(fontsize=8)
    right.set_xlabel("half width of the interval / error")
    right.set_ylabel("truth off its middle / error")
    right.set_title("dots: estimated, crosses: certified; held below the line", fontsize=9)
    return figure


def _column(rows: list[Row], key: str) -> Array:
    return np.array([_of(row, key) for row in rows])


def main() -> None:
    """Measure and publish."""
    rows = study("--quick" in sys.argv)
    columns = {
        "kind": "kind",
        "quantity": "quantity",
        "cases": "cases",
        "error": "error of the coupled solution",
        "first": "first order / true",
        "second": "expected / true",
        "half": "half width / error",
        "holds": "holds",
        "certified half": "certified half width / error",
        "certified holds": "holds",
        "naive": "weighted by adjoint / true",
    }
    publish("quantities", rows, table(summary(rows), columns), draw(rows), page="guarantees")


if __name__ == "__main__":
    main()
