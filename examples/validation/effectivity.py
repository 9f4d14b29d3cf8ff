# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Estimated errors against true ones: vacancies, short cracks, cracks, several potentials, meshes, elements and cores.

Each case is solved by its coupling method, its error estimated, and then the full atomistic model is solved from
there. About ten minutes of one core.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import dislocation_cases
import numpy as np
from common import COLOUR, DECKS, Row, canvas, prepare, publish, solve_coupled, table

from msolve.assemble import full_atomistic
from msolve.compare import compare, lift_to, unknowns_of
from msolve.errors import ConvergenceError
from msolve.estimate import Estimator
from msolve.methods import stabilise
from msolve.solvers import Settings, minimise

TOLERANCE = 1e-5
"""Of the coupled solve [eV/Å]."""

Case = tuple[str, str, dict[str, str]]


def _core(radius: float, blend: float = 8.0) -> dict[str, str]:
    return {"regions.core_radius": f"{radius} angstrom", "regions.blend": f"{blend} angstrom"}


def cases() -> Iterator[Case]:
    """Name of the kind, deck, and what is changed in it."""
    small = {"domain.radius": "60 angstrom"}
    for radius in (5, 8, 12, 18):
        yield "vacancy, W", "vacancy", small | _core(radius)
        yield "two vacancies, W", "di_vacancy", small | _core(radius)
    for radius in (8, 14):
        free = {"mesh.kind": "free"}
        yield "vacancy, W, mesh free", "vacancy", small | _core(radius) | free
        yield "vacancy, W, P2", "vacancy", small | _core(radius) | {"mesh.degree": "2"}
    rng = np.random.default_rng(3)
    for _ in range(4):
        far = rng.uniform(-2, 2, 3)
        strain = {
            f"load.strain.{k}": f"{v:.2f} %"
            for k, v in zip(("e11", "e22", "e12"), far, strict=True)
        }
        yield "vacancy, W, random strain", "vacancy", small | _core(8) | strain
    for width in (3, 6, 12):
        wide = {"regions.cores.0.radius": f"{width} angstrom", "regions.blend": f"{width} angstrom"}
        yield "11 atoms removed, triangular", "micro_crack_triangular", wide
    for positions in ("[[0, 0]]", "[[-0.97 angstrom, 0], [0, 0], [0.97 angstrom, 0]]"):
        for width in (2, 4):
            changed = {
                "regions.cores": f"[{{shape: ball, radius: {2 + width} angstrom}}]",
                "regions.blend": f"{width} angstrom",
                "defect.positions": positions,
            }
            name = "1 atom" if positions.count("[") == 2 else "3 atoms"
            yield f"{name} removed, triangular", "micro_crack_triangular", changed
    yield "row of atoms removed, W", "micro_crack", {}
    for K in (0.95, 1.0, 1.05, 1.1, 1.15):
        for radius in (9, 18):
            load = {"load.K": f"{K} K_G", "domain.radius": "80 angstrom"}
            yield "crack, W", "crack_eam", load | _core(radius)
    for radius in (9, 18):
        no_slab = {"coupling.handshake": "{kind: none}", "domain.radius": "80 angstrom"}
        yield "crack, W, no handshake", "crack_eam", no_slab | _core(radius)
    quadratic = {"mesh.degree": "2", "domain.radius": "80 angstrom"}
    yield "crack, W, P2", "crack_eam", quadratic | _core(9)
    for radius in (9, 18):
        yield "crack, W, MACE", "crack", {"domain.radius": "60 angstrom"} | _core(radius)
    yield (
        "vacancy, W, MACE",
        "vacancy",
        small | _core(8) | {"potential": "{kind: mace, file: potentials/w_mace/w_mace.model}"},
    )
    yield "vacancy, Si", "si_vacancy", {}
    for radius in (8, 12, 16):
        yield "crack, Si", "si_crack", {"domain.radius": "80 angstrom"} | _core(radius)
    yield "vacancy, W, in space", "vacancy_3d", {"domain.radius": "30 angstrom"} | _core(5, 5)
    yield from dislocation_cases.cases()


def measure(kind: str, deck: str, changes: dict[str, str]) -> Row:
    """Solve, estimate, solve the full model."""
    overrides = [f"{key}={value}" for key, value in changes.items()]
    row: Row = {"kind": kind, "deck": deck, "changes": ", ".join(overrides)}
    setup, assembly = prepare(DECKS / f"{deck}.yaml", overrides)
    coupled = solve_coupled(setup, assembly, setup.case.coupling.method, TOLERANCE)
    settings = Settings(tolerance=TOLERANCE)
    solved, eigenvalue = stabilise(
        assembly, setup.case, coupled.z, coupled.t, settings, coupled.solved
    )
    given = setup.case.compare
    full = full_atomistic(assembly.problem.kinematics.unknowns.comm, setup.body)
    estimator = Estimator(assembly, full, rim=given.rim, tip_radius=given.tip_radius)
    found, _ = estimator(coupled.z, coupled.t, solved.residual_problem)
    lifted = lift_to(assembly, coupled.z, coupled.t, full)
    start = unknowns_of(full, lifted, coupled.t)
    exact = start.copy()
    report = minimise(
        full.problem, exact, coupled.t, full.preconditioner, Settings(tolerance=TOLERANCE / 10)
    )
    if not report.converged:
        raise RuntimeError(f"{deck}, {overrides}: the full model stopped at {report.residual:.2g}")
    true, _ = compare(full, lifted, exact, coupled.t, rim=given.rim, tip_radius=given.tip_radius)
    e, Ke, He = start - exact, start.duplicate(), start.duplicate()
    full.preconditioner.matrix.mult(e, Ke)
    full.problem.linearise(start, coupled.t)(e, He)
    elastic, hessian = float(e.dot(Ke)) ** 0.5, max(float(e.dot(He)), 0.0) ** 0.5
    return row | {
        "atoms": int(full.free.sum()),
        "unknowns": coupled.unknowns,
        "eigenvalue": eigenvalue,
        "error": true.total_h1,
        "h1": found.total_h1 / true.total_h1,
        "tip": found.tip_h1 / true.tip_h1,
        "energy": found.energy / true.energy,
        "elasticity_norm": found.elasticity_norm / elastic,
        "energy_norm": None if found.energy_norm is None else found.energy_norm / hessian,
        "contraction": found.contraction,
        "estimate_kind": found.kind,
        "products": found.products,
    }


def study(quick: bool = False) -> list[Row]:
    """A row a case."""
    rows: list[Row] = []
    for number, case in enumerate(cases()):
        if quick and number not in (0, 1, 8):
            continue
        try:
            rows.append(measure(*case))
        except ConvergenceError as error:
            rows.append({"kind": case[0], "deck": case[1], "failed": str(error)})
        print({k: v for k, v in rows[-1].items() if k != "changes"}, flush=True)
    return rows


def summary(rows: list[Row]) -> list[Row]:
    """By kind: number of cases and range of each ratio."""
    told: list[Row] = []
    for kind in dict.fromkeys(str(row["kind"]) for row in rows):
        mine = [row for row in rows if row["kind"] == kind and "h1" in row]
        line: Row = {"kind": kind, "cases": len(mine)}
        for key in ("h1", "tip", "energy", "energy_norm", "elasticity_norm", "contraction"):
            values = [float(row[key]) for row in mine if row[key] is not None]  # type: ignore[arg-type]
            few = f"{min(values):.3f}" if values and max(values) - min(values) < 5e-4 else None
            line[key] = few or (f"{min(values):.3f} – {max(values):.3f}" if values else None)
        told.append(line)
    return told


def draw(rows: list[Row]) -> object:
    """Estimated against true norm, and the ratios."""
    figure, (left, right) = canvas(9.6, 4.2, columns=2)
    known = [row for row in rows if "h1" in row]
    kinds = list(dict.fromkeys(str(row["kind"]).split(",")[0] for row in known))
    colours = [*COLOUR.values(), "#56b4e9", "#882255"]
    for number, kind in enumerate(kinds):
        mine = [row for row in known if str(row["kind"]).split(",")[0] == kind]
        error = [float(row["error"]) for row in mine]  # type: ignore[arg-type]
        ratio = [float(row["h1"]) for row in mine]  # type: ignore[arg-type]
        colour = colours[number % len(colours)]
        left.loglog(error, np.multiply(error, ratio), "o", color=colour, alpha=0.7, label=kind)
        elastic = [float(row["elasticity_norm"]) for row in mine]  # type: ignore[arg-type]
        right.semilogx(error, ratio, "o", color=colour, alpha=0.8)
        right.semilogx(error, elastic, "x", color=colour, alpha=0.8)
    ends = np.array(left.get_xlim())
    left.plot(ends, ends, color="#999999", lw=1, zorder=0)
    left.set_xlabel("true error, H1 norm [Å]")
    left.set_ylabel("estimated [Å]")
    left.legend(fontsize=8)
    right.axhline(1, color="#999999", lw=1, zorder=0)
    right.set_xlabel("true error, H1 norm [Å]")
    right.set_ylabel("estimated / true")
    right.set_title("dots: H1 norm by the Hessian; crosses: elasticity", fontsize=9)
    return figure


def main() -> None:
    """Measure and publish."""
    rows = study("--quick" in sys.argv)
    columns = {
        "kind": "kind",
        "cases": "cases",
        "h1": "H1 norm",
        "tip": "near the defect",
        "energy": "energy",
        "energy_norm": "energy norm",
        "elasticity_norm": "elasticity alone",
        "contraction": "contraction",
    }
    publish("effectivity", rows, table(summary(rows), columns), draw(rows), page="guarantees")


if __name__ == "__main__":
    main()
