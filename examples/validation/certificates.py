# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Certificates against true errors: which cases reach which level, and whether every radius holds; and traps.

Each case is solved by its coupling method and certified; then the full atomistic model is solved from there. The traps
are states that are not what was asked for: a saddle, healed and advanced cracks. About half an hour of one core.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import dislocation_cases
import numpy as np
from common import COLOUR, DECKS, Coupled, Row, canvas, prepare, publish, solve_coupled, table
from matplotlib.figure import Figure

from msolve.against import FullModel
from msolve.assemble import Assembly
from msolve.certificate.factor import Factor
from msolve.certificate.hessian import assembled_hessian
from msolve.certificate.modes import bond_laplacian
from msolve.certificate.zone import zone_model
from msolve.certified import Certified, Certifier
from msolve.compare import lift_to, unknowns_of
from msolve.errors import CaseError, ConvergenceError
from msolve.methods import Solved, solve
from msolve.solvers import Settings, find_root, follow_boundary, minimise

TOLERANCE = 1e-5
"""Of the coupled solve [eV/Å]."""

EXACT = Settings(tolerance=1e-9, max_iterations=1000)

POLISH = 3
"""Newton steps at the end of the reference's solution."""

QUICK = (0, 19, 25)
"""Of the cases: a vacancy, a missing atom of the toy potential, a crack."""

NEAR = {"certificate.zone_radius": "9 angstrom", "certificate.look_around": "false"}
"""What is certified of potentials that are too dear for all atoms."""

Case = tuple[str, str, dict[str, str]]


def _core(radius: float, blend: float = 8.0) -> dict[str, str]:
    return {"regions.core_radius": f"{radius} angstrom", "regions.blend": f"{blend} angstrom"}


def cases() -> Iterator[Case]:
    """Name of the kind, deck, and what is changed in it."""
    small = {"domain.radius": "45 angstrom"}
    for radius in (5, 8, 12, 16):
        yield "vacancy, W", "vacancy", small | _core(radius)
        yield "two vacancies, W", "di_vacancy", small | _core(radius)
    for radius in (8, 12):
        yield "vacancy, W, mesh free", "vacancy", small | _core(radius) | {"mesh.kind": "free"}
        yield "vacancy, W, P2", "vacancy", small | _core(radius) | {"mesh.degree": "2"}
    rng = np.random.default_rng(3)
    for _ in range(4):
        far = rng.uniform(-2, 2, 3)
        strain = {
            f"load.strain.{k}": f"{v:.2f} %"
            for k, v in zip(("e11", "e22", "e12"), far, strict=True)
        }
        yield "vacancy, W, random strain", "vacancy", small | _core(8) | strain
    toy = {"domain.radius": "40 angstrom"}
    for width in (3, 6, 12):
        wide = {"regions.cores.0.radius": f"{width} angstrom", "regions.blend": f"{width} angstrom"}
        yield "11 atoms removed, triangular", "micro_crack_triangular", toy | wide
    for positions in ("[[0, 0]]", "[[-0.97 angstrom, 0], [0, 0], [0.97 angstrom, 0]]"):
        for width in (2, 4):
            name = "1 atom" if positions.count("[") == 2 else "3 atoms"
            yield (
                f"{name} removed, triangular",
                "micro_crack_triangular",
                toy
                | {
                    "regions.cores": f"[{{shape: ball, radius: {2 + width} angstrom}}]",
                    "regions.blend": f"{width} angstrom",
                    "defect.positions": positions,
                },
            )
    yield "row of atoms removed, W", "micro_crack", {"domain.radius": "60 angstrom"}
    for K in (0.95, 1.0, 1.05, 1.1, 1.15):
        for radius in (9, 18):
            load = {"load.K": f"{K} K_G", "domain.radius": "60 angstrom"}
            yield "crack, W", "crack_eam", load | _core(radius)
    for radius in (9, 18):
        no_slab = {"coupling.handshake": "{kind: none}", "domain.radius": "60 angstrom"}
        yield "crack, W, no handshake", "crack_eam", no_slab | _core(radius)
    quadratic = {"mesh.degree": "2", "domain.radius": "60 angstrom"}
    yield "crack, W, P2", "crack_eam", quadratic | _core(9)
    zone = {"certificate.zone_radius": "20 angstrom"}
    for radius in (9, 18):
        large = {"domain.radius": "100 angstrom", **zone}
        yield "crack, W, zone of 20 Å", "crack_eam", large | _core(radius)
    linear = {"domain.radius": "34 angstrom"} | _core(6, 6)
    for K in (1.05, 1.1):
        yield "crack, W, linear ACE-like", "crack_linear", linear | {"load.K": f"{K} K_G"}
    vacancy = {"domain.radius": "36 angstrom"} | _core(6, 5)
    fitted = {"potential": "{kind: linear, file: potentials/w_linear/w_linear.linear}"}
    yield "vacancy, W, linear ACE-like", "vacancy", vacancy | fitted
    yield "vacancy, W, MACE, zone of 9 Å", "vacancy", vacancy | NEAR | dislocation_cases.MACE
    for K in (1.0, 1.05, 1.1):
        load = {"load.K": f"{K} K_G", "domain.radius": "50 angstrom"}
        yield "crack, W, MACE, zone of 9 Å", "crack", load | NEAR | _core(5)
    yield "vacancy, Si", "si_vacancy", {"domain.radius": "34 angstrom"}
    for K, radius in ((1.0, 8), (1.0, 12), (1.0, 16), (1.1, 12)):
        load = {"load.K": f"{K} K_G", "domain.radius": "50 angstrom"}
        yield "crack, Si", "si_crack", load | _core(radius)
    for kind, deck, changes in dislocation_cases.cases(45):
        if kind.endswith("MACE"):
            zone = {"certificate.zone_centre": dislocation_cases.AT}
            yield f"{kind}, zone of 9 Å", deck, changes | NEAR | zone
        else:
            yield kind, deck, changes
    yield "vacancy, W, in space", "vacancy_3d", {"domain.radius": "24 angstrom"} | _core(4, 4)


def measure(kind: str, deck: str, changes: dict[str, str]) -> Row:
    """Solve, certify, solve the full model."""
    overrides = {"certificate.corrections": "3", **changes}
    setup, assembly = prepare(DECKS / f"{deck}.yaml", [f"{k}={v}" for k, v in overrides.items()])
    coupled = solve_coupled(setup, assembly, setup.case.coupling.method, TOLERANCE)
    row: Row = {"kind": kind, "deck": deck, "changes": changes}
    return row | certified(coupled)


def certified(coupled: Coupled) -> Row:
    """The certificate of a coupled state, and how far the nearest full solution truly is."""
    model = FullModel(coupled.setup, coupled.assembly)
    certifier = Certifier(coupled.setup, coupled.assembly, model)
    if certifier.why_not is not None:
        raise RuntimeError(certifier.why_not)
    found = certifier(coupled.z, coupled.t)
    assert found is not None
    told = found.certificate
    row: Row = {
        "level": told.level,
        "obstacle": told.obstacle,
        "corrections": told.corrections,
        "negative": told.negative,
        "residual": told.residual,
        "first": told.residuals[0] if told.residuals else None,
        "sampled": told.sampled,
        "lipschitz": told.lipschitz,
        "number": told.number,
        "atoms": told.atoms,
        "softest": told.eigenvalues[0] if told.eigenvalues else None,
        "products": told.products,
        "columns": told.columns,
        "warnings": [] if found.branch is None else found.branch.warnings(),
    }
    return row if told.radius is None else row | _held(coupled, model, found)


def _held(coupled: Coupled, model: FullModel, found: Certified) -> Row:
    """What is certified over what is true."""
    told, t = found.certificate, coupled.t
    full: Assembly
    if told.radius_of_zone is None:
        full = model.assembly
        start = unknowns_of(full, lift_to(coupled.assembly, coupled.z, t, full), t)
    else:
        centre = coupled.setup.case.certificate.zone_centre
        full = zone_model(coupled.assembly, coupled.z, t, centre, told.radius_of_zone)
        start = full.problem.kinematics.unknowns.vector()
        start.set(0.0)
    exact = start.copy()
    report = minimise(full.problem, exact, t, full.preconditioner, EXACT)
    if report.residual > 1e-6:
        raise RuntimeError(f"the full model stopped at {report.residual:.2g}")
    assert found.centre is not None
    H, D = assembled_hessian(full, found.centre, t), bond_laplacian(full)
    # Radii may be smaller than what a minimisation leaves: a few Newton steps from its end, to round-off.
    factor, forces = Factor(H), exact.duplicate()
    for _ in range(POLISH):
        full.problem.evaluate(exact, t, forces)
        exact = exact - factor.solve(forces)
    return {
        "radius": told.radius,
        "radius_over": told.radius / _norm(H, found.centre - exact),
        "bound_over": told.bound / _norm(H, start - exact),
        "bound_h1_over": told.bound_h1 / _norm(D, start - exact),
        "bound_h1": told.bound_h1,
    }


def _norm(matrix: Any, v: Any) -> float:
    out = v.duplicate()
    matrix.mult(v, out)
    return math.sqrt(max(float(v.dot(out)), 1e-300))


TRAPPED = ("domain.radius=60 angstrom", "regions.core_radius=12 angstrom")
HEALED = (
    "domain.radius=40 angstrom",
    "regions.cores.0.radius=14 angstrom",
    "coupling.method=bgfc",
    "certificate={fold: false, look_around: false}",
)
"""The 11 missing atoms, with room for what is left where their rows close up, or where they part further."""

HISTORIES: dict[str, tuple[str, tuple[str, ...], tuple[float, ...]]] = {
    "11 atoms removed: healed, opened from 0.4 of the strain": (
        "micro_crack_triangular",
        HEALED,
        (0.4, 1.0),
    ),
    "11 atoms removed: advanced, 2.0 of the strain, then 1.0": (
        "micro_crack_triangular",
        HEALED,
        (2.0, 1.0),
    ),
    "crack healed: 0.8 K_G, then 1.0": ("crack_eam", TRAPPED, (0.8, 1.0)),
    "crack one spacing ahead: 1.3 K_G, then 1.05": ("crack_eam", TRAPPED, (1.3, 1.05)),
}
"""Ways to another valley than that next to the far field: deck, what is changed in it, loads one after the other."""


def history(name: str) -> Row:
    """The certificate of a state at the end of some loads."""
    deck, changes, loads = HISTORIES[name]
    cracked = deck == "crack_eam"
    given = [f"load.K={loads[-1]} K_G"] if cracked else []
    setup, assembly = prepare(DECKS / f"{deck}.yaml", ["certificate={}", *changes, *given])
    z, before = assembly.problem.kinematics.unknowns.vector(), 0.0
    steps = [setup.loads[-1] * load / loads[-1] for load in loads]
    for t in steps:
        follow_boundary(assembly.problem, z, before, t, setup.body.C, assembly.preconditioner)
        state = solve(assembly, setup.case, z, t, Settings(tolerance=TOLERANCE))
        before = t
    return {"kind": name} | certified(Coupled(setup, assembly, z, before, state))


def newton_alone() -> Row:
    """A root of the forces that is no minimum."""
    changes = [*TRAPPED, "certificate.corrections=3"]
    setup, assembly = prepare(DECKS / "crack_eam.yaml", changes)
    t = setup.loads[-1]
    forces = assembly.problem.with_terms(assembly.force_terms)
    z = assembly.problem.kinematics.unknowns.vector()
    root = find_root(forces, z, t, assembly.preconditioner, Settings(tolerance=1e-6))
    state = Solved(assembly.problem, forces, (root,), root.residual, root.energy, root.converged)
    found = certified(Coupled(setup, assembly, z, t, state))
    return {"kind": "saddle: Newton alone from the K-field, 1.05 K_G"} | found


def traps() -> list[Row]:
    """States that must not be certified as what was asked for, or not without a warning."""
    rows = [newton_alone(), *map(history, HISTORIES)]
    for K in ("1.05", "1.15"):
        changes = [*TRAPPED, "certificate.corrections=3", f"load.K={K} K_G"]
        setup, assembly = prepare(DECKS / "crack_eam.yaml", changes)
        trapped = solve_coupled(setup, assembly, "bgfc_deferred", TOLERANCE)
        name = f"trapped: the crack one atom further on is lower, {K} K_G"
        rows.append({"kind": name} | certified(trapped))
    for row in rows:
        row["said"] = "; ".join([str(row["obstacle"] or ""), *row["warnings"]]).strip("; ")  # type: ignore[misc]
        print({key: row[key] for key in ("kind", "level", "said")}, flush=True)
    return rows


def study(quick: bool = False) -> list[Row]:
    """A row a case."""
    rows: list[Row] = []
    for number, case in enumerate(cases()):
        if quick and number not in QUICK:
            continue
        try:
            rows.append(measure(*case))
        except (CaseError, ConvergenceError, RuntimeError) as error:
            rows.append({"kind": case[0], "deck": case[1], "level": "-", "failed": str(error)})
        print({k: v for k, v in rows[-1].items() if k not in ("changes", "deck")}, flush=True)
    return rows


def by_kind(rows: list[Row]) -> list[Row]:
    """A row a kind of case."""
    out: list[Row] = []
    for kind in dict.fromkeys(str(row["kind"]) for row in rows):
        of = [row for row in rows if row["kind"] == kind]
        levels = [str(row["level"]) for row in of]
        out.append(
            {
                "kind": kind,
                "cases": len(of),
                "levels": ", ".join(f"{levels.count(k)} {k}" for k in sorted(set(levels))),
                "corrections": _span(of, "corrections", "{:.0f}"),
                "number": _span(of, "number", "{:.2g}"),
                "radius_over": _span(of, "radius_over", "{:.3f}"),
                "bound_over": _span(of, "bound_over", "{:.3f}"),
                "bound_h1_over": _span(of, "bound_h1_over", "{:.3f}"),
            }
        )
    return out


def _span(rows: list[Row], key: str, form: str) -> str:
    values = [float(row[key]) for row in rows if row.get(key) is not None]  # type: ignore[arg-type]
    if not values:
        return ""
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} – {high}"


def draw(rows: list[Row]) -> Figure:
    """Certified over true, against h."""
    figure, axes = canvas(9.0, 4.0, columns=2)
    for axis, key, title in zip(
        axes,
        ("radius_over", "bound_over"),
        ("radius over distance of the corrected state", "bound over error of the coupled state"),
        strict=True,
    ):
        for level, colour in (("A", COLOUR["bgfc_deferred"]), ("B", COLOUR["bqcf"])):
            of = [row for row in rows if row["level"] == level and row.get(key)]
            x, y = ([float(row[k]) for row in of] for k in ("number", key))  # type: ignore[arg-type]
            axis.semilogx(x, y, "o", color=colour, label=f"level {level}", alpha=0.7)
        axis.axhline(1.0, color="black", linewidth=0.8)
        axis.set_xlabel("h = 2 L η")
        axis.set_title(title, fontsize=10)
        axis.legend()
    axes[0].set_ylabel("certified over true")
    return figure


def main() -> None:
    """Run the study and publish it."""
    rows = study("--quick" in sys.argv)
    over = [float(row["radius_over"]) for row in rows if row.get("radius_over")]  # type: ignore[arg-type]
    kept = sum(float(row["bound_over"]) >= 1 for row in rows if row.get("bound_over"))  # type: ignore[arg-type]
    levels = [str(row["level"]) for row in rows]
    reached = ", ".join(f"{levels.count(k)} at level {k}" for k in sorted(set(levels)))
    summary = (
        f"{len(rows)} cases, {len(over)} certified, {reached}; median of radius over error "
        f"{np.median(over):.3f}; every bound holds in {kept} of {len(over)}.\n\n"
    )
    columns = {
        "kind": "kind",
        "cases": "cases",
        "levels": "levels",
        "corrections": "corrections",
        "number": "h",
        "radius_over": "radius over true",
        "bound_over": "bound of the coupled error over true",
        "bound_h1_over": "the same in the H1 norm",
    }
    found = traps()
    told = table(found, {"kind": "trap", "level": "level", "said": "what the run says"})
    text = summary + table(by_kind(rows), columns) + "\n\n" + told
    publish("certificates", rows, text, draw(rows), page="guarantees", traps=found)


if __name__ == "__main__":
    main()
