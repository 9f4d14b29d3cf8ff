# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Where the learned handshake ends: where its error sits, loads beyond its training, loads at which the crack moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
from common import (
    DECKS,
    Coupled,
    Reference,
    Row,
    error_of,
    prepare,
    solve_coupled,
    solve_full,
)
from handshake_cracks import EXACT, FACE_100, FACE_100_011, MODEL, RIM, TIP, TOLERANCE, guarded

from msolve.against import FullModel
from msolve.assemble import Assembly, full_atomistic
from msolve.build import Setup, set_up
from msolve.compare import bonds, lift_to
from msolve.config import load_case
from msolve.errors import ConvergenceError
from msolve.guarded import judge, without
from msolve.methods import solve
from msolve.solvers import Settings, minimise
from msolve.train.bench import Bench
from msolve.train.flanks import solved_crack, tip_moved, under

CUTOFF = 5.5
"""Of the embedded-atom potential [Å]."""

DECK = DECKS / "crack_eam.yaml"

PARTS = {
    "case": "crack",
    "degree": "degree",
    "core": "core / cutoff",
    "handshake": "handshake",
    "flank9": "flanks, 9 to 20 Å",
    "flank20": "20 to 40 Å",
    "flank40": "beyond",
    "bulk9": "bulk, 9 to 20 Å",
    "bulk20": "20 to 40 Å",
    "bulk40": "beyond",
}

OUTSIDE = (
    ("K = 0.85 K_G", ("load.K=0.85 K_G",)),
    ("K = 1.20 K_G", ("load.K=1.2 K_G",)),
    ("K = 1.30 K_G", ("load.K=1.3 K_G",)),
    ("K_II = 0.15 K_I", ("load.K=1.0 K_G", "load.mode=[1, 0.15, 0]")),
    ("K_II = 0.2 K_I", ("load.K=1.0 K_G", "load.mode=[1, 0.2, 0]")),
    ("K_II = -0.2 K_I", ("load.K=1.0 K_G", "load.mode=[1, -0.2, 0]")),
    ("K_II = 0.3 K_I", ("load.K=1.0 K_G", "load.mode=[1, 0.3, 0]")),
    ("K_III = 0.1 K_I", ("load.K=1.0 K_G", "load.mode=[1, 0, 0.1]")),
)
"""Loads beyond those that the shipped model was trained on: 0.9 to 1.15 K_G, K_II up to 0.12 K_I, no K_III."""


def _handshake(kind: str, model: Path) -> str:
    more = f", model: {model}" if kind == "learned" else ""
    return f"coupling.handshake={{kind: {kind}, lift: quadratic{more}}}"


def where(case: str, changes: list[str], model: Path, radius: float = 90.0) -> list[Row]:
    """Where the error sits: H1 norms over bonds of flanks and bulk, by their distance from the tip."""
    rows: list[Row] = []
    for degree, times in ((1, 1.5), (1, 3.0), (2, 1.5), (2, 3.0)):
        if degree == 2 and model != MODEL:  # trained for linear elements
            continue
        reference: Reference | None = None
        for kind in ("slab", "learned"):
            given = [
                f"domain.radius={radius} angstrom",
                f"regions.core_radius={times * CUTOFF} angstrom",
                f"mesh.degree={degree}",
                *changes,
                _handshake(kind, model),
            ]
            coupled = solve_coupled(*prepare(DECK, given), "bgfc_deferred", TOLERANCE)
            reference = reference or solve_full(coupled.setup, EXACT, start=coupled)
            row: Row = {"case": case, "degree": degree, "core": times, "handshake": kind}
            rows.append(row | rings(coupled, reference))
            print(rows[-1], flush=True)
    return rows


def rings(coupled: Coupled, reference: Reference, depth: float = 7.0) -> Row:
    """H1 error over bonds of the outer ``depth`` [Å] of the flanks, and of the others, ring by ring around the tip."""
    full, t = reference.full, coupled.t
    e = lift_to(coupled.assembly, coupled.z, t, full) - full.problem.gather(reference.z, t)
    return split_by_rings(coupled.setup, full, e, depth)


def split_by_rings(setup: Setup, full: Assembly, e: np.ndarray, depth: float) -> Row:
    """The same of any field ``(n, 3)`` [Å] on the atoms."""
    i, j = bonds(full)
    inside = setup.body.shape.distance(full.X) < -RIM
    i, j = i[inside[i] & inside[j]], j[inside[i] & inside[j]]
    square, middle = ((e[i] - e[j]) ** 2).sum(axis=1), 0.5 * (full.X[i] + full.X[j])
    r = np.hypot(middle[:, 0], middle[:, 1])
    flank = (middle[:, 0] < 0) & (np.abs(middle[:, 1]) - setup.body.half_gap < depth)
    row: Row = {}
    for name, own in (("flank", flank), ("bulk", ~flank)):
        for low, high in ((TIP, 20.0), (20.0, 40.0), (40.0, np.inf)):
            chosen = own & (r >= low) & (r < high)
            row[f"{name}{low:g}"] = float(np.sqrt(square[chosen].sum()))
    return row


def pulls(radius: float = 70.0, layers: int = 4) -> list[Row]:
    """What elements on the atoms pull the layers of the flanks with where the atoms stand as the full model has them.

    Root mean squares over atoms between 12 and 35 Å behind the tip, per area of the flank: of each layer, and of what
    is left of their sum over the layers above each other.
    """
    rows: list[Row] = []
    for plane, changes, K in (
        ("(110)[001]", [], 1.05),
        ("(100)[001]", [FACE_100], 1.03),
        ("(100)[011]", [FACE_100_011], 1.0),
    ):
        case = load_case(DECK, [f"domain.radius={radius} angstrom", *changes])
        setup = set_up(case, MPI.COMM_SELF)
        assert setup.K_G is not None
        body, t = setup.body, K * setup.K_G
        bench = Bench(body, 1, layers, None)
        y, X = solved_crack(body, t, 0.0)
        force = bench.balance(y, X, t, under(body, 0.0))[1][bench.counted]
        at = bench.nodes[bench.counted]
        side, layer = bench.blank.layer_of(at)
        area = _spacing(at[(side == 0) & (layer == 0), 0]) * body.crystal.period
        row: Row = {"plane": plane}
        behind, total = np.linspace(-35.0, -12.0, 24), np.zeros((24, 2, 2))
        for n in range(layers):
            square = 0.0
            for s in (0, 1):
                own = np.flatnonzero((side == s) & (layer == n))
                own = own[np.argsort(at[own, 0])]
                pull = force[own, :2] / area
                along = np.column_stack([np.interp(behind, at[own, 0], one) for one in pull.T])
                total[:, s] += along
                square += float((along**2).sum(axis=1).mean()) / 2
            row[f"layer{n}"] = np.sqrt(square)
        row["net"] = float(np.sqrt((total**2).sum(axis=2).mean()))
        rows.append(row)
        print(row, flush=True)
    return rows


def _spacing(x: np.ndarray) -> float:
    return float(np.diff(np.sort(x)).min())


def outside(times: float = 2.0, radius: float = 90.0) -> list[Row]:
    """Loads beyond those of training: what the guard says, and what the handshakes make of them."""
    rows: list[Row] = []
    for name, changes in OUTSIDE:
        found: dict[str, Coupled] = {}
        reference: Reference | None = None
        row: Row = {"case": name, "core": times}
        try:
            for kind in ("slab", "learned"):
                given = [
                    f"domain.radius={radius} angstrom",
                    f"regions.core_radius={times * CUTOFF} angstrom",
                    *changes,
                    _handshake(kind, MODEL),
                ]
                found[kind] = solve_coupled(*prepare(DECK, given), "bgfc_deferred", TOLERANCE)
                reference = reference or solve_full(found[kind].setup, EXACT, start=found[kind])
                error = error_of(found[kind], reference, RIM, TIP)
                row |= {kind: error.total_h1, f"tip_{kind}": error.tip_h1}
        except (ConvergenceError, RuntimeError) as error:
            rows.append(row | {"kept": "no equilibrium", "why": str(error)})
            continue
        row["kept"] = "yes" if guarded(found["learned"], reference) else "no"
        row["gain"] = float(row["slab"]) / float(row["learned"])  # type: ignore[arg-type]
        rows.append(row)
        print(row, flush=True)
    return rows


def trapping(
    plane: str,
    changes: list[str],
    model: Path,
    start: float,
    core: float = 1.5 * CUTOFF,
    radius: float = 60.0,
) -> list[Row]:
    """Loads between which the lattice holds the crack where it is, for the full model and the coupled ones.

    From ``start`` [K_G] the load moves in steps of 4 % until the tip does, each step from the state before; the step
    is halved four times. The guard is asked after each, as in a run; from where it rejects the model on, the slab
    goes on.
    """
    rows: list[Row] = []
    for kind in ("atomistic", "slab", "learned"):
        given = [
            f"domain.radius={radius} angstrom",
            f"regions.core_radius={core} angstrom",
            *changes,
            f"load.K={start} K_G",
            _handshake("slab" if kind == "atomistic" else kind, model),
        ]
        setup, assembly = prepare(DECK, given)
        full = full_atomistic(MPI.COMM_WORLD, replace(setup.body, learned=None))
        row: Row = {"plane": plane, "model": kind, "core": core}
        for name, way in (("lower", -1.0), ("upper", 1.0)):
            path = _Path(setup, full if kind == "atomistic" else assembly, full)
            row[name] = path.last(start, way)
            row[f"rejected_{name}"] = path.rejected
        rows.append(row)
        print(row, flush=True)
    return rows


class _Path:
    """A crack under a load that goes one way."""

    def __init__(self, setup: Setup, model: Assembly, full: Assembly) -> None:
        self.setup, self.model, self.full = setup, model, full
        self.rejected: float | None = None

    def last(self, K: float, way: float) -> float:
        """Last load over K_G at which the crack stays."""
        assert self.setup.K_G is not None
        step, z = 0.04, self.model.problem.kinematics.unknowns.vector()
        begun = self._tip(z, K)
        while step > 0.002 and 0.6 < K < 1.6:
            tried, before = z.copy(), (self.setup, self.model, self.rejected)
            tip = self._tip(tried, K + way * step)
            if abs(tip - begun) < 0.5 * self.setup.body.crystal.nearest_neighbour_distance:
                K, z = K + way * step, tried
            else:
                step /= 2
                self.setup, self.model, self.rejected = before
        return K

    def _tip(self, z: PETSc.Vec, K: float) -> float:
        """Where the last broken bond is once ``z`` is in equilibrium [Å]; infinite where there is none."""
        assert self.setup.K_G is not None
        t, full, settings = K * self.setup.K_G, self.full, Settings(tolerance=1e-4)
        try:
            if self.model is full:
                minimise(full.problem, z, t, full.preconditioner, settings)
                y = full.problem.gather(z, t)
            else:
                solved = solve(self.model, self.setup.case, z, t, settings)
                if self.model.body.learned is not None:
                    beside = FullModel(self.setup, self.model, full)
                    found = beside.estimate(z, t, solved)
                    numbers = None if found is None else found[0]
                    kept = judge(self.setup, self.model, beside, z, t, numbers, settings).kept
                    if not kept:
                        self.rejected = K
                        self.setup, self.model = without(self.setup, self.model)
                        solve(self.model, self.setup.case, z, t, settings)
                y = lift_to(self.model, z, t, full)
        except ConvergenceError:
            return float("inf")
        return tip_moved(full.X, y, self.setup.body)
