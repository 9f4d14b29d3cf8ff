# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What the channels of a learned handshake give one by one, and what further ones would.

First the residual that solved cracks leave on a bench, by layers that are polynomials of the invariants: with the
energy of the surface, with layers that may also depend on the distance from the tip, and with both. Then coupled runs
with the surface alone, the layers alone, and both. Then where atoms stand between the vertices of a mesh: how much a
linear map of second differences, fitted to solved cracks, takes away beyond the recovered lift. Then what forces
within the blend make of the error: on the flanks (the corner), and in the bulk.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import torch
from common import (
    COLOUR,
    DECKS,
    Coupled,
    Reference,
    Row,
    answered,
    canvas,
    error_of,
    prepare,
    publish,
    solve_coupled,
    solve_full,
    table,
)  # fmt: skip
from handshake_cracks import CASES, EXACT, RIM, TIP, TOLERANCE, Held
from handshake_lift import lifts
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from msolve.build import Setup, set_up
from msolve.compare import Norms, lift_to
from msolve.config import HandshakeTraining, load_case, load_handshake_training
from msolve.handshake.flanks import _state
from msolve.handshake.operator import FlankModel, FlankOperator
from msolve.handshake.slab import layers_below
from msolve.io.log import RunLog
from msolve.placement import turned
from msolve.train import handshake as training
from msolve.train.bench import Between, CrackSpecimen
from msolve.train.flanks import Slabs, strained_slabs, under
from msolve.train.specimens import solved_specimens

Array = npt.NDArray[np.float64]

PLANES = ("(110)[001]", "(100)[001]", "(100)[011]")
CUTOFF = 5.5
"""Of the potential [Å]."""

RIDGES = 10.0 ** np.arange(-8, -1)
"""Penalties that the validation chooses from."""

CORES = (1.5, 3.0)


def _case(plane: str) -> Held:
    name = "K = 1.05 K_G" if plane == "(110)[001]" else plane
    return next(held for held in CASES if held.name == name)


class Crack:
    """A crack plane with its solved specimens.

    Args:
        plane: Its name.
        folder: For what is solved.
        count: How many specimens.
    """

    def __init__(self, plane: str, folder: Path, count: int = 20) -> None:
        self.plane, self.held = plane, _case(plane)
        turn = [c for c in self.held.changes if c.startswith("crystal")]
        file = folder / f"{PLANES.index(plane)}.yaml"
        own = f"{self.held.own}, " if self.held.own else ""
        file.write_text(
            f"deck: {DECKS}/crack_eam.yaml\nspecimens: {{{own}count: {count}}}\n"
            f"operator: {{degrees: [1]}}\noutput: {{directory: {file.with_suffix('')}}}\n"
        )
        self.given: HandshakeTraining = load_handshake_training(file)
        radius = f"domain.radius={self.given.specimens.radius} angstrom"
        case = load_case(
            DECKS / "crack_eam.yaml", [*turn, radius, "coupling.handshake={kind: slab}"]
        )
        self.setup: Setup = set_up(case, MPI.COMM_SELF)
        (self.given.output_directory / "specimens").mkdir(parents=True, exist_ok=True)
        with RunLog(0, self.given.output_directory, plane, 1) as log:
            self.cracks = solved_specimens(self.given, self.setup, MPI.COMM_SELF, log)
        self.slabs = strained_slabs(self.setup.body, self.given.specimens.strain, 4)

    def trained(self, slabs: Slabs) -> FlankOperator:
        """The operator that training finds, with what slabs say of the surface."""
        with RunLog(0, self.given.output_directory, self.plane, 1) as log:
            return training._trained(self.given, self.setup, 1, self.cracks, slabs, log)[0]


def residuals(crack: Crack) -> list[Row]:
    """What is left of the slab's residual in training and validation, channel by channel."""
    bench = training._benches(crack.given, crack.setup, 1)[0]
    body, n_test = crack.setup.body, training._kept(crack.given, len(crack.cracks))
    specimens = [
        bench.specimen(one["y"], one["X"], one["t"], under(body, one["shear"]))
        for one in crack.cracks
    ]
    n = len(specimens) - n_test
    limit = np.abs(np.concatenate([one.invariants for one in specimens[:n]])).max(axis=0)
    limit = 1.1 * np.maximum(limit, np.abs(crack.slabs.invariants).max(axis=0))
    limit[limit < 1e-6] = 0.0
    operator = FlankOperator(4, 0, limit)
    rows: list[Row] = []
    for name, surface, decays in (
        ("layers", False, ()),
        ("layers, and by distance from the tip", False, (CUTOFF, 2 * CUTOFF)),
        ("layers and surface", True, ()),
        ("layers and surface, and by distance from the tip", True, (CUTOFF, 2 * CUTOFF)),
    ):
        operator.tension = crack.slabs.tension(operator) * float(surface)
        forms = [one.form(operator) for one in specimens]
        shapes = [_shapes(one, limit, decays) for one in specimens]
        pairs = [
            (A.T @ form.N @ A, A.T @ form.g, form.c) for A, form in zip(shapes, forms, strict=True)
        ]
        left = _best(pairs, n)
        rows.append(
            {
                "plane": crack.plane,
                "channels": name,
                "weights": shapes[0].shape[1],
                "training": float(np.sqrt(left[:n].mean())),
                "validation": float(np.sqrt(left[n:].mean())),
            }
        )
        print(rows[-1], flush=True)
    return rows


def _shapes(one: CrackSpecimen, limit: Array, decays: Sequence[float]) -> Array:
    """Displacements of the layers by unit weights: polynomials of second degree, also times exp(-r/l)."""
    lift = one.lift
    invariants, c, s = (part.numpy() for part in _state(lift.slopes(torch.from_numpy(one.line))))
    known = np.flatnonzero(limit > 0)
    x = invariants[:, known] / limit[known]
    x = x / (1 + x**8) ** 0.125
    terms = [x, *(x[:, [i]] * x[:, [j]] for i, j in
                  itertools.combinations_with_replacement(range(len(known)), 2))]  # fmt: skip
    poly = np.hstack(terms)
    r = np.hypot(one.bench.layers[:, 0], one.bench.layers[:, 1])
    poly = np.hstack([poly, *(np.exp(-r / length)[:, None] * poly for length in decays)])
    poly = lift.fade.numpy()[:, None] * poly
    zero = np.zeros_like(c)
    columns = []
    for axis in ((c, s, zero), (-s, c, zero)):
        for side, layer in itertools.product((0, 1), range(4)):
            own = (lift.side.numpy() == side) & (lift.layer.numpy() == layer)
            w = np.stack(axis, axis=1)[:, :, None] * (own[:, None] * poly)[:, None, :]
            columns.append(w.reshape(-1, poly.shape[1]))
    return np.hstack(columns)


def _best(pairs: list[tuple[Array, Array, float]], n: int) -> Array:
    """Squared residuals under the penalty that does best on the specimens after the first ``n``."""
    N, g = (np.sum([pair[k] for pair in pairs[:n]], axis=0) for k in (0, 1))
    size = 1 / np.sqrt(np.maximum(np.diag(N), 1e-12 * np.diag(N).max()))
    found = []
    for ridge in RIDGES:
        scaled = size[:, None] * N * size + ridge * n * np.eye(len(N))
        theta = -size * np.linalg.solve(scaled, size * g)
        found.append([c + 2 * g @ theta + theta @ N @ theta for N, g, c in pairs])
    every = np.maximum(np.array(found), 0.0)
    return np.asarray(every[every[:, n:].mean(axis=1).argmin()])


def coupled(crack: Crack, folder: Path, radius: float = 90.0) -> list[Row]:
    """Errors of coupled runs with the slab and with each channel."""
    quiet = replace(crack.slabs, energy=0 * crack.slabs.energy)
    both, layers = crack.trained(crack.slabs), crack.trained(quiet)
    surface = FlankOperator(4, 0, both.limit.numpy())
    surface.tension = both.tension
    body, rows = crack.setup.body, []
    assert body.slab is not None
    depths, relaxation = layers_below(body.slab, 4)
    models = {"surface": surface.requires_grad_(False), "layers": layers, "both": both}
    reference: Reference | None = None
    for times in CORES:
        row: Row = {"plane": crack.plane, "core": times}
        for name in ("slab", *models):
            handshake = "{kind: slab, lift: quadratic}"
            if name != "slab":
                file = folder / f"{name}.pt"
                card: dict[str, Any] = {}
                FlankModel(
                    {1: models[name]},
                    body.crystal.rotation,
                    body.half_gap,
                    depths,
                    relaxation,
                    card,
                ).save(file)
                handshake = f"{{kind: learned, lift: quadratic, model: {file}}}"
            found = _solved(crack.held, times, handshake, radius)
            reference = reference or solve_full(found.setup, EXACT, start=found)
            error = error_of(found, reference, RIM, TIP)
            row |= {name: error.total_h1, f"tip_{name}": error.tip_h1}
            if name in ("slab", "both") and times == CORES[0]:
                row |= {f"{key}_{name}": value for key, value in corner(found, reference).items()}
        rows.append(row)
        print(row, flush=True)
    return rows


def _solved(held: Held, times: float, handshake: str, radius: float) -> Coupled:
    given = [
        f"domain.radius={radius} angstrom",
        f"regions.core_radius={times * CUTOFF} angstrom",
        *held.changes,
        f"coupling.handshake={handshake}",
    ]
    return solve_coupled(*prepare(DECKS / "crack_eam.yaml", given), "bgfc_deferred", TOLERANCE)


def corner(found: Coupled, reference: Reference, depth: float = 7.0) -> Row:
    """H1 norms [Å] of what blended forces left at the exact state make, region by region, by the linearised problem."""
    assembly, t, full = found.assembly, found.t, reference.full
    z = interpolant(found, reference)
    problem = assembly.problem.with_terms(assembly.force_terms)
    force = z.duplicate()
    problem.evaluate(z, t, force)
    X, regions = _places(found), found.setup.regions
    beyond = regions.distance(X)
    flank = (X[:, 0] < 0) & (np.abs(X[:, 1]) < found.setup.body.half_gap + depth)
    blend = (beyond > 0) & (beyond <= regions.blend)
    far = beyond > regions.blend
    named = {
        "corner": blend & flank, "blend": blend & ~flank, "flanks": far & flank,
        "bulk": far & ~flank, "all": beyond > -np.inf,
    }  # fmt: skip
    product, norms = problem.linearise(z, t), Norms.of(full, rim=RIM, tip_radius=TIP)
    here = lift_to(assembly, z, t, full)
    row: Row = {"misfit": norms.total(here - full.problem.gather(reference.z, t))}
    for name, own in named.items():
        right = force.duplicate()
        right.array = -(force.array_r.reshape(len(X), -1) * own[:, None]).ravel()
        moved = z + answered(product, assembly.preconditioner, right)
        row[name] = norms.total(lift_to(assembly, moved, t, full) - here)
    return row


def interpolant(found: Coupled, reference: Reference) -> PETSc.Vec:
    """Unknowns that follow the exact atoms: atoms where they are, nodes where what the lift adds makes them agree."""
    assembly, full, t = found.assembly, reference.full, reference.t
    problem, body = assembly.problem, assembly.body
    unknowns, space = problem.kinematics.unknowns, problem.kinematics.space
    assert space is not None
    y, nodes = full.problem.gather(reference.z, t), space.nodes()
    relaxed = turned(body.relaxation(full.X), body.predictor, full.X, t)
    moved = y - full.X - relaxed - body.predictor.displacement(full.X, t)
    between = Between(full.X, nodes)
    which = cKDTree(full.X).query(between.atoms)[1]
    match = cKDTree(full.X).query(assembly.X)[1]
    flanks, z = problem.placement.flanks, unknowns.vector()
    extra = np.zeros_like(y)
    chosen, atoms = np.flatnonzero(unknowns.node >= 0), np.flatnonzero(unknowns.atom >= 0)
    for _ in range(4):
        values = z.array.reshape(-1, unknowns.components).copy()
        of_nodes = between((moved - extra)[which]) - problem.node_base(t)
        values[unknowns.node[chosen]] = of_nodes[chosen]
        off = (y[match] - problem.gather(z, t))[atoms]
        values[unknowns.atom[atoms]] += off
        z.array = values.ravel()
        if flanks is not None:
            lift = flanks.lift(full.X)
            extra[lift.atoms] = lift.at(problem.flank_line(z, t))
    return z


def _places(found: Coupled) -> Array:
    """Where the unknowns rest, shape ``(n, 3)`` [Å]."""
    kinematics = found.assembly.problem.kinematics
    unknowns, space = kinematics.unknowns, kinematics.space
    assert space is not None
    X = np.zeros((unknowns.n_global // unknowns.components, 3))
    nodes = np.flatnonzero(unknowns.node >= 0)
    X[unknowns.node[nodes]] = space.nodes()[nodes]
    atoms = np.flatnonzero(unknowns.atom >= 0)
    X[unknowns.atom[atoms]] = found.assembly.X[atoms]
    return X


def draw(rows: Sequence[Row]) -> Figure:
    """Errors of coupled runs, channel by channel."""
    figure, axes = canvas(9.0, 3.4, columns=len(PLANES))
    names = {"slab": "bqce", "surface": "bgfc_deferred", "layers": "bgfc", "both": "bqcf"}
    for axis, plane in zip(axes, PLANES, strict=True):
        own = [row for row in rows if row["plane"] == plane]
        for place, (name, colour) in enumerate(names.items()):
            at = np.arange(len(own)) + 0.2 * place - 0.3
            heights = [row[name] for row in own]
            axis.bar(at, heights, 0.2, color=COLOUR[colour], label=name)
        axis.set_xticks(np.arange(len(own)), [f"{row['core']:g}" for row in own])
        axis.set(title=plane, xlabel="core / cutoff")
    axes[0].set_ylabel("H1 error [Å]")
    axes[0].legend(fontsize=8)
    return figure


RESIDUALS = {"plane": "crack"} | {
    key: key for key in ("channels", "weights", "training", "validation")
}
COUPLED = {
    "plane": "crack", "core": "core / cutoff", "slab": "slab", "surface": "surface alone", "layers": "layers alone",
    "both": "both", "tip_slab": "tip, slab", "tip_surface": "surface alone", "tip_layers": "layers alone",
    "tip_both": "both",
}  # fmt: skip
LIFTS = {
    "plane": "crack", "mesh": "mesh", "cracks": "cracks", "linear": "linear lift", "recovered": "recovered lift",
    "fitted": "with the map", "share": "of the recovered lift's",
}  # fmt: skip
CORNER = {
    "plane": "crack", "handshake": "handshake", "total": "error", "misfit": "exact nodes, lifted",
    "corner": "by flanks in the blend", "blend": "bulk in the blend", "flanks": "flanks beyond", "bulk": "bulk beyond",
    "all": "all",
}  # fmt: skip


def main() -> None:
    """Run the study and publish it; arguments are crack planes, by default all."""
    planes = sys.argv[1:] or PLANES
    left: list[Row] = []
    runs: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        for plane in planes:
            crack = Crack(plane, Path(name))
            left += residuals(crack)
            runs += coupled(crack, Path(name))
    publish_all(left, runs, [*lifts("(110)[001]"), *lifts("(100)[001]")])


def publish_all(left: list[Row], runs: list[Row], between: list[Row]) -> None:
    """Tables and picture: residuals, coupled runs, lifts, and what forces left in the blend make of the error."""
    corners = [
        {"plane": row["plane"], "handshake": "learned" if kind == "both" else "slab", "total": row[kind],
         **{key: row[f"{key}_{kind}"] for key in ("misfit", "corner", "blend", "flanks", "bulk", "all")}}
        for row in runs if row["core"] == CORES[0] for kind in ("slab", "both")
    ]  # fmt: skip
    text = "\n\n".join(
        [
            table(left, RESIDUALS),
            "What layers, linear and quadratic in the invariants, leave of the slab's residual on the bench of linear "
            "elements.",
            table(runs, COUPLED),
            "H1 errors of coupled runs in Å, R = 90 Å, recovered lift.",
            table(between, LIFTS),
            "H1 misfit in Å of nodes that stand where the exact atoms say, beyond a core of two cutoffs and its blend, "
            "R = 70 Å.",
            table(corners, CORNER),
            "H1 norms in Å, core of 1.5 cutoffs: what forces left at the exact state do to the solution, region by "
            "region.",
        ]
    )
    facts = {"residuals": left, "lifts": between, "corners": corners}
    publish("channels", runs, text, draw(runs), "handshake", **facts)


if __name__ == "__main__":
    main()
