# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Certificates near the load at which a crack heals: at the load that was asked for, and with the load as an unknown.

A coupled crack is followed down to loads that the full model does not hold any more; each state is certified both ways.
Then the ends of branches are certified and compared with bisection in the load. About five minutes of one core.
"""

from __future__ import annotations

import dataclasses
import time

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
from common import COLOUR, DECKS, Row, canvas, prepare, publish, table
from matplotlib.figure import Figure

from msolve.assemble import Assembly, full_atomistic
from msolve.build import Setup
from msolve.certificate.algorithm import Effort, certify
from msolve.certificate.border import chosen_border, modes_of
from msolve.certificate.factor import Factor
from msolve.certificate.fold import certify_fold, corrected
from msolve.certificate.hessian import assembled_hessian
from msolve.certificate.modes import bond_laplacian
from msolve.certified import changed_bonds
from msolve.compare import lift_to, unknowns_of
from msolve.errors import ConvergenceError
from msolve.methods import solve
from msolve.solvers import Settings, follow_boundary, minimise

RADIUS = 40.0
"""Of the body that is followed [Å]."""

LOADS = (0.86, 0.84, 0.82, 0.812, 0.81, 0.809, 0.8085, 0.8083, 0.808, 0.8075, 0.807)
"""K over Griffith's."""

BRANCH = np.arange(0.06, -0.12, -0.01)
"""Amplitudes less that of the state at the last but fourth load, at which the branch is drawn [Å]."""

FOLDS = (
    ("heals", 40.0, (0.9, 0.84, 0.82, 0.81), -1.0),
    ("heals", 60.0, (0.9, 0.86, 0.84), -1.0),
    ("tip rearranges", 40.0, (1.0, 0.96, 0.945, 0.94), -1.0),
)
"""What happens at the end of a branch, radius of the body, loads on the way to it, and whether it goes down or up."""

FINEST = 1e-6
"""Step of the load at which bisection ends, over Griffith's."""

EXACT = Settings(tolerance=1e-6, max_iterations=2000)


def deck(radius: float) -> tuple[Setup, Assembly, Assembly]:
    """Case, coupled problem and full model of a crack."""
    changes = [f"domain.radius={radius} angstrom", "regions.core_radius=9 angstrom"]
    setup, assembly = prepare(DECKS / "crack_eam.yaml", [*changes, "regions.blend=6 angstrom"])
    return setup, assembly, full_atomistic(MPI.COMM_WORLD, setup.body)


def followed() -> list[Row]:
    """A row a load: the coupled state, certified at that load and with the load as an unknown."""
    setup, assembly, full = deck(RADIUS)
    assert setup.K_G is not None
    rows: list[Row] = []
    z, before = assembly.problem.kinematics.unknowns.vector(), 0.0
    for load in LOADS:
        t = load * setup.K_G
        follow_boundary(assembly.problem, z, before, t, setup.body.C, assembly.preconditioner)
        solve(assembly, setup.case, z, t, Settings(tolerance=1e-5))
        before = t
        x = unknowns_of(full, lift_to(assembly, z, t, full), t)
        alone, centre = certify(full, x, t, Effort())
        row: Row = {
            "K": load,
            "level": alone.level,
            "number": alone.number if alone.level != "C" else None,
            "softest": alone.eigenvalues[0] if centre is not None else None,
        }
        told = certify_fold(full, x, t, Effort())[0].in_units(1 / setup.K_G, "K_G")
        row |= {
            "fold_level": told.level,
            "fold_number": told.number,
            "fold_softest": told.eigenvalues[0] if told.eigenvalues else None,
            "moved": told.load - load if told.level != "C" else None,
            "half_width": told.half_width,
            "index": told.negative,
            "exists": _exists(full, x, t),
        }
        if told.end is not None:
            row |= {"end_level": told.end.level, "low": told.end.low, "high": told.end.high}
        rows.append(row)
        print(row, flush=True)
    return rows


def _exists(full: Assembly, x: PETSc.Vec, t: float) -> bool:
    """Whether minimisation of the full model from a state stays with the same bonds."""
    end = x.copy()
    minimise(full.problem, end, t, full.preconditioner, EXACT)
    return changed_bonds(full, full.problem.gather(x, t), full.problem.gather(end, t)) == 0


def branch() -> list[Row]:
    """Load and softest eigenvalue of the full model along its branch, around the fold."""
    setup, _, full = deck(RADIUS)
    assert setup.K_G is not None
    x, t = _held(setup, full, (0.9, 0.84, 0.82, 0.81))
    D, H = bond_laplacian(full), assembled_hessian(full, x, t)
    border = chosen_border(full, x, t, H, D)
    near = Factor(border.matrix(full, H))
    at, a, rows = corrected(full, border, x, t, near)[0], 0.0, []
    for amplitude in BRANCH:
        at = corrected(full, border, *at.moved((amplitude - a) * at.phi, 0.0), near)[0]
        a = float(amplitude)
        softest = modes_of(assembled_hessian(full, at.x, at.t), D, 2)[0].value
        rows.append({"amplitude": a, "K": at.t / setup.K_G, "softest": softest})
    return rows


def _held(setup: Setup, full: Assembly, loads: tuple[float, ...]) -> tuple[PETSc.Vec, float]:
    """The full model's state after some loads over Griffith's."""
    assert setup.K_G is not None
    x, t = full.problem.kinematics.unknowns.vector(), 0.0
    for load in loads:
        t = load * setup.K_G
        minimise(full.problem, x, t, full.preconditioner, EXACT)
    return x, t


def ends() -> list[Row]:
    """A row a branch: where it ends, certified, and by bisection in the load."""
    rows: list[Row] = []
    for what, radius, loads, way in FOLDS:
        setup, _, full = deck(radius)
        assert setup.K_G is not None
        x, t = _held(setup, full, loads)
        begin = time.perf_counter()
        told = certify_fold(full, x, t, Effort())[0].in_units(1 / setup.K_G, "K_G")
        seconds = time.perf_counter() - begin
        begin = time.perf_counter()
        last, first = bisected(setup, full, x, loads[-1], way)
        row: Row = {
            "what": what,
            "radius": radius,
            "atoms": int(full.free.sum()),
            "from": loads[-1],
        }
        row |= {"seconds": seconds, "bisection_seconds": time.perf_counter() - begin}
        row |= {"held": last, "gone": first, "obstacle": told.obstacle}
        if told.end is not None:
            row |= dataclasses.asdict(told.end)
            row["width"] = told.end.high - told.end.low
            row["inside"] = min(last, first) <= told.end.high and told.end.low <= max(last, first)
        rows.append(row)
        print(row, flush=True)
    return rows


def bisected(
    setup: Setup, full: Assembly, x: PETSc.Vec, load: float, way: float
) -> tuple[float, float]:
    """The last load at which minimisation keeps the bonds, and the first at which it does not, over Griffith's."""
    assert setup.K_G is not None
    step, gone = 0.002, np.nan
    here = x.copy()
    while step > FINEST:
        tried, t = here.copy(), (load + way * step) * setup.K_G
        try:
            minimise(full.problem, tried, t, full.preconditioner, EXACT)
            old, new = (full.problem.gather(v, t) for v in (here, tried))
            stays = changed_bonds(full, old, new) == 0 and np.abs(new - old).max() < 0.5
        except ConvergenceError:
            stays = False
        if stays:
            here, load = tried, load + way * step
        else:
            gone = load + way * step
            step /= 2
    return load, gone


def draw(rows: list[Row], curve: list[Row]) -> Figure:
    """The branch, and h of both tests."""
    figure, axes = canvas(9.6, 4.0, columns=2)
    low = min(float(row["low"]) for row in rows if row.get("low"))  # type: ignore[arg-type]
    K, softest = (np.array([float(row[k]) for row in curve]) for k in ("K", "softest"))  # type: ignore[arg-type]
    stable = softest > 0
    axes[0].plot(K[stable], softest[stable], "-", color=COLOUR["bgfc_deferred"], label="minima")
    turn = ~stable
    turn[max(int(turn.argmax()) - 1, 0)] = True
    axes[0].plot(K[turn], softest[turn], "--", color=COLOUR["bqce"], label="saddles")
    for level, key, colour, name in (
        ("level", "softest", COLOUR["bqcf"], "certified at the load asked for"),
        ("fold_level", "fold_softest", COLOUR["bgfc"], "certified, load unknown"),
    ):
        found = [row for row in rows if row[level] in ("A", "B") and row.get(key) is not None]
        moved = [float(row["moved"] or 0) if key == "fold_softest" else 0.0 for row in found]  # type: ignore[arg-type]
        x = [float(row["K"]) + m for row, m in zip(found, moved, strict=True)]  # type: ignore[arg-type]
        y = [float(row[key]) for row in found]  # type: ignore[arg-type]
        axes[0].plot(x, y, "o" if key == "softest" else "x", color=colour, label=name)
    axes[0].set_xlim(0.806, 0.822)
    axes[0].set_ylabel("lowest eigenvalue of H against D [eV/Å²]")
    for key, colour, name in (
        ("number", COLOUR["bqcf"], "at the load asked for"),
        ("fold_number", COLOUR["bgfc"], "load unknown"),
    ):
        found = [row for row in rows if row.get(key) is not None]
        x, y = ([float(row[k]) for row in found] for k in ("K", key))  # type: ignore[arg-type]
        axes[1].semilogy(x, y, "o-", color=colour, label=name)
    axes[1].axhline(1.0, color="black", linewidth=0.8)
    axes[1].set_ylabel("h")
    for axis in axes:
        axis.axvline(low, color="grey", linewidth=0.8, linestyle=":")
        axis.set_xlabel("K [K_G]")
        axis.legend()
    return figure


def main() -> None:
    """Run, print, and renew the page."""
    rows, curve, found = followed(), branch(), ends()
    for row in rows:
        row["asked"] = "–" if row["level"] == "C" else f"{row['level']}, h = {row['number']:.2g}"
        row["free"] = row["fold_level"]
        if row["fold_level"] != "C":
            row["free"] = f"{row['fold_level']}, h = {row['fold_number']:.2g}"
            row["at"] = f"{row['K'] + row['moved']:.8f} ± {row['half_width']:.0e}"  # type: ignore[operator]
        row["stays"] = "yes" if row["exists"] else "no"
        row["kind"] = {0: "minimum", 1: "saddle"}.get(row["index"], "–")  # type: ignore[call-overload]
    for row in found:
        if row.get("low") is not None:
            row["limit"] = f"{row['low']:.8f} – {row['high']:.8f}"
        row["bisection"] = f"{row['held']:.6f}, {row['gone']:.6f}"
    text = table(
        rows,
        {
            "K": "K asked for [K_G]",
            "stays": "full model still there",
            "asked": "certified at that K",
            "free": "certified, K unknown",
            "at": "K of that one [K_G]",
            "kind": "it is a",
            "fold_softest": "its lowest eigenvalue [eV/Å²]",
        },
    )
    text += "\n\n" + table(
        found,
        {
            "what": "at the end of the branch the crack",
            "radius": "body [Å]",
            "level": "level",
            "limit": "K there [K_G]",
            "bisection": "bisection: held at, gone at",
            "seconds": "certificate and limit [s]",
            "bisection_seconds": "bisection [s]",
        },
    )
    publish("folds", rows, text, draw(rows, curve), page="guarantees", branch=curve, ends=found)


if __name__ == "__main__":
    main()
