# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Errors estimated from a sample of the atoms: against those from all atoms, and what they cost, up to 10¹¹ atoms."""

from __future__ import annotations

import time

import numpy as np
from common import COLOUR, DECKS, Row, canvas, prepare, publish, table
from matplotlib.figure import Figure

from msolve.against import FullModel
from msolve.estimate import Estimate, Sampled
from msolve.methods import Solved, solve
from msolve.solvers import Settings

SEEDS = 5
CASES = {
    "vacancy, W": ("vacancy", ()),
    "crack, W": ("crack_eam", ()),
    "crack, W, larger core": ("crack_eam", ("regions.core_radius=30 angstrom",)),
    "screw dislocation, W": ("screw_dislocation", ()),
    "11 atoms removed, triangular": ("adaptive_micro_crack", ("estimate.kind=hessian",)),
    "crack, W, learned handshake": ("crack_handshake", ()),
    "crack, W, MACE": ("crack", ()),
    "vacancy, W, in space": ("vacancy_3d", ()),
}
COMPARED = (120.0, 200.0, 400.0)
"""Radii of the bodies in which both estimates are made [Å]."""

OTHERS: dict[str, tuple[float | None, ...]] = {
    "11 atoms removed, triangular": (100.0,),
    "crack, W, MACE": (120.0,),
    "vacancy, W, in space": (None,),
}
"""The same where not all of these are wanted; ``None`` is the deck's."""

WHOLE = ("screw dislocation, W",)
"""Cases whose load is all or nothing."""

BEFORE = 0.97
"""Load of the first of two steps over that of the second, whose estimates are compared."""

DEAR = ("crack, W, MACE", "vacancy, W, in space")
LARGE = (1e3, 1e4, 1e5, 5e5)


def sampled(name: str, radius: float | None, seeds: int = SEEDS) -> Row:
    """One case in a body of one radius [Å], by default the deck's: a row with the estimates of several draws."""
    deck, changes = CASES[name]
    more = () if radius is None else (f"domain.radius={radius} angstrom",)
    setup, assembly = prepare(DECKS / f"{deck}.yaml", [*changes, *more])
    z, given = assembly.problem.kinematics.unknowns.vector(), setup.case.compare
    deferred = setup.case.coupling.method == "bgfc_deferred"

    def solved(t: float) -> tuple[Solved, float]:
        begin = time.process_time()
        tolerance = setup.case.solver.gradient_tolerance
        found = solve(assembly, setup.case, z, t, Settings(tolerance=tolerance))
        if not found.converged:
            raise RuntimeError(f"{name} at {radius} angstrom stopped at {found.residual:.2g}")
        return found, time.process_time() - begin

    def estimate(by: Sampled, of: Solved, t: float) -> tuple[Estimate, float]:
        begin = time.process_time()
        minimised = of.energy_problem if deferred else None
        return by(z, t, of.residual_problem, minimised=minimised)[0], time.process_time() - begin

    last = setup.loads[-1]
    steps = [last] if name in WHOLE else [BEFORE * last, last]
    atoms = setup.body.volume / setup.body.crystal.crystal.atomic_volume
    row: Row = {"case": name, "radius": setup.body.radius, "atoms": atoms}
    estimators: list[Sampled] = []
    drawn: list[Estimate] = []
    for k, t in enumerate(steps):
        state, seconds = solved(t)
        spent = []
        for seed in range(seeds):
            begin = time.process_time()
            if k == 0:
                estimators.append(
                    Sampled(
                        assembly,
                        rim=given.rim,
                        tip_radius=given.tip_radius,
                        tiles=setup.case.estimate.tiles,
                        seed=seed,
                    )
                )
            made = time.process_time() - begin
            numbers, took = estimate(estimators[seed], state, t)
            spent.append(made + took)
            if t == last:
                drawn.append(numbers)
        row |= {("solve", "solve_next")[k]: seconds, ("sample", "again")[k]: np.median(spent)}
    full = FullModel(setup, assembly)
    whole = None
    if full.too_large is None:
        begin = time.process_time()
        found = full.estimate(z, last, state)
        row["all"] = time.process_time() - begin
        whole = None if found is None else found[0]
    total = np.array([one.total_h1 for one in drawn])
    energy = np.array([one.energy_norm or one.elasticity_norm for one in drawn])
    told = [one.sampling or {} for one in drawn]
    row |= {
        "visited": float(np.median([one.atoms for one in drawn])),
        "total_h1": float(total.mean()),
        "spread": float(total.std(ddof=1) / total.mean()),
        "told": float(np.mean([one["total_h1_error"] for one in told]) / total.mean()),
        "energy_spread": float(energy.std(ddof=1) / energy.mean()),
        "energy_told": float(np.mean([one["energy_norm_error"] for one in told]) / energy.mean()),
        "kind": drawn[0].kind,
    }
    if whole is not None:
        true = whole.energy_norm if drawn[0].energy_norm is not None else whole.elasticity_norm
        row |= {
            "whole_h1": whole.total_h1,
            "h1": _between(total / whole.total_h1),
            "energy": _between(energy / true),
            "tip": drawn[0].tip_h1 / whole.tip_h1,
            "least_h1": float((total / whole.total_h1).min()),
            "most_h1": float((total / whole.total_h1).max()),
        }
    return row


def _between(values: np.ndarray) -> str:
    return f"{values.min():.3f} – {values.max():.3f}"


def draw(rows: list[Row], large: list[Row]) -> Figure:
    """Ratios of the compared cases, and seconds against the number of atoms."""
    figure, (ratio, cost) = canvas(10.6, 4.2, 2)
    names = list(dict.fromkeys(str(row["case"]) for row in rows))
    for k, row in enumerate(rows):
        low, high = float(row["least_h1"]), float(row["most_h1"])  # type: ignore[arg-type]
        colour = f"C{names.index(str(row['case']))}"
        first = [str(r["case"]) for r in rows].index(str(row["case"])) == k
        ratio.plot(
            [k, k], [low, high], "-", lw=5, color=colour, label=row["case"] if first else None
        )
        ratio.plot(k, 0.5 * (low + high), "o", ms=4, color=colour)
    ratio.axhspan(0.9, 1.1, color="#eeeeee", zorder=0)
    ratio.set_xticks([])
    ratio.set_ylim(0.6, 1.6)
    ratio.set_ylabel("H1 error from a sample / from all atoms")
    ratio.set_title("Five draws of each case")
    ratio.legend(fontsize=7, ncol=2)
    crack = sorted(
        [row for row in (*rows, *large) if row["case"] == "crack, W"], key=lambda r: r["atoms"]
    )
    atoms = [row["atoms"] for row in crack]
    cost.loglog(
        atoms, [row["solve"] for row in crack], "s-", color=COLOUR["bgfc_deferred"], label="solve"
    )
    cost.loglog(
        atoms,
        [row["sample"] for row in crack],
        "o-",
        color=COLOUR["bqcf"],
        label="estimate, sample",
    )
    every = [row for row in crack if "all" in row]
    cost.loglog(
        [row["atoms"] for row in every],
        [row["all"] for row in every],
        "D-",
        color=COLOUR["atomistic"],
        label="estimate, all atoms",
    )
    cost.set_xlabel("atoms of the body")
    cost.set_ylabel("seconds")
    cost.set_title("Crack in W, one core")
    cost.legend()
    return figure


def study(names: tuple[str, ...] = tuple(CASES), seeds: int = SEEDS) -> list[Row]:
    """All bodies in which both estimates are made; two draws where forces are dear."""
    return [
        sampled(name, radius, 2 if name in DEAR else seeds)
        for name in names
        for radius in OTHERS.get(name, COMPARED)
    ]


def main() -> None:
    """Run the whole study and publish it."""
    rows = study()
    large = [sampled("crack, W", radius) for radius in LARGE]
    compared = {
        "case": "case",
        "radius": "radius [Å]",
        "h1": "H1 norm, sample / all",
        "tip": "near the defect",
        "energy": "energy norm, sample / all",
        "spread": "spread of H1, draws",
        "told": "told",
        "visited": "sites visited",
        "atoms": "atoms",
    }
    costs = {
        "case": "case",
        "atoms": "atoms",
        "total_h1": "estimated H1 error [Å]",
        "spread": "spread, draws",
        "told": "told",
        "visited": "sites visited",
        "solve": "solve, first load [s]",
        "sample": "sample [s]",
        "solve_next": "solve, next load [s]",
        "again": "sample [s] ",
        "all": "all atoms [s]",
    }
    of_cost = [row for row in rows if row["case"] in ("crack, W", "crack, W, MACE")] + large
    text = f"{table(rows, compared)}\n\n{table(of_cost, costs)}"
    publish("sampled", rows, text, draw(rows, large), "guarantees", large=large)


if __name__ == "__main__":
    main()
