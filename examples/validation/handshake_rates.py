# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How fast errors fall with the core whatever a learned handshake holds: the crack at K = 1.05 K_G, random weights.

The range of the shipped model, its weights replaced by random ones of a given size, the guard left out. Also told: how
far the flank of the solved state has turned from where the predictor turns the slab's relaxation.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from common import (
    COLOUR,
    DECKS,
    DOCS,
    Reference,
    Row,
    as_row,
    canvas,
    error_of,
    prepare,
    publish,
    slope,
    solve_coupled,
    solve_full,
    table,
)
from matplotlib.figure import Figure

from msolve.assemble import Assembly
from msolve.build import Setup, build, build_mesh
from msolve.errors import ConvergenceError
from msolve.guarded import without
from msolve.handshake.operator import FlankModel
from msolve.placement import turned

TOLERANCE, RIM, TIP = 1e-6, 8.0, 9.0  # [eV/Å], [Å], [Å]
CUTOFF = 5.5
"""Of the potential [Å]."""

MODEL = DECKS / "potentials/w_handshake/w_handshake.pt"
CORES = (1.5, 2.0, 3.0, 4.0)
WEIGHTS = ((0.01, 0), (0.01, 1), (0.05, 0))
"""Sizes of random weights [Å], displacements of the layers at the largest invariants of the shipped model's training;
and seeds."""

DEAR, LARGEST = 0.05, 3.0
"""Weights of that size take solvers so long that larger cores are left out, in cutoffs."""


def at_random(model: FlankModel, size: float, seed: int) -> FlankModel:
    """The model with random weights in place of its own."""
    rng = np.random.default_rng(seed)
    operators = {}
    for degree, one in model.operators.items():
        other = type(one)(one.layers, one.hidden, one.limit.numpy())
        for weight in other.parameters():
            weight.data = size * torch.from_numpy(rng.normal(size=tuple(weight.shape)))
        operators[degree] = other.requires_grad_(False)
    return replace(model, operators=operators)


def study(
    radius: float = 90.0,
    cores: Sequence[float] = CORES,
    weights: Sequence[tuple[float, int]] = WEIGHTS,
) -> list[Row]:
    """A row for each core and each set of weights: slab, trained, and random ones."""
    rows: list[Row] = []
    reference: Reference | None = None
    for times in cores:
        setup, trained = prepare(
            DECKS / "crack_handshake.yaml",
            [
                f"domain.radius={radius} angstrom",
                f"regions.core_radius={times * CUTOFF} angstrom",
                "load.K=1.05 K_G",
            ],
        )
        learned = setup.body.learned
        assert learned is not None
        models: list[tuple[str, float, int, FlankModel | None]] = [
            ("slab", 0.0, 0, None),
            ("trained", 0.0, 0, learned),
        ]
        models += [
            ("random", size, seed, at_random(learned, size, seed))
            for size, seed in weights
            if size < DEAR or times <= LARGEST
        ]
        for name, size, seed, model in models:
            row: Row = {"core": times, "handshake": name, "size": size, "seed": seed}
            here, assembly = _with(setup, trained, model)
            try:
                coupled = solve_coupled(here, assembly, "bgfc_deferred", TOLERANCE)
            except (ConvergenceError, RuntimeError) as error:
                rows.append({**row, "failed": str(error)})
                print(rows[-1], flush=True)
                continue
            if reference is None:
                reference = solve_full(setup, TOLERANCE, start=coupled)
            row |= as_row(error_of(coupled, reference, RIM, TIP))
            row["iterations"] = sum(report.iterations for report in coupled.solved.reports)
            if name == "slab":
                row |= turning(trained, coupled.z, coupled.t)
            rows.append(row)
            print(row, flush=True)
    return rows


def _with(setup: Setup, trained: Assembly, model: FlankModel | None) -> tuple[Setup, Assembly]:
    if model is None:
        return without(setup, trained)
    if model is setup.body.learned:
        return setup, trained
    here = replace(setup, body=replace(setup.body, learned=model))
    comm = trained.problem.kinematics.unknowns.comm
    return here, build(here, build_mesh(here, comm), comm)


def turning(assembly: Assembly, z: object, t: float) -> Row:
    """Angle from the predictor's rotation to the flank of a state, and what that moves the outermost layers by.

    Args:
        assembly: With a learned handshake, whose flank is looked at beyond core and taper.
        z: Unknowns.
        t: Load.
    """
    flanks, problem = assembly.problem.placement.flanks, assembly.problem
    assert flanks is not None
    X = assembly.X[(assembly.beta > 0) & (assembly.X[:, 0] < -flanks.taper)]
    lift = flanks.lift(X)
    line = problem.flank_line(z, t)  # type: ignore[arg-type]
    tangent = (lift.first.numpy()[:, :, None] * line[lift.nodes.numpy()]).sum(axis=1)
    X = X[lift.atoms]
    F = np.eye(3) + problem.placement.predictor.gradient(X, t)
    predicted = np.arctan2(F[:, 1, 0] - F[:, 0, 1], F[:, 0, 0] + F[:, 1, 1])
    angle = np.angle(np.exp(1j * (np.arctan2(tangent[:, 1], tangent[:, 0]) - predicted)))
    relaxation = turned(assembly.body.relaxation(X), problem.placement.predictor, X, t)
    off = 2 * np.abs(np.sin(angle / 2)) * np.hypot(relaxation[:, 0], relaxation[:, 1])
    return {
        "angle": float(np.degrees(np.abs(angle).max())),
        "off": float(off.max()),
        "off_norm": float(np.sqrt((off**2).sum())),
    }


def rates(rows: Sequence[Row]) -> list[Row]:
    """A row for each set of weights: its errors by core, exponent, and largest error over that of the slab."""
    out: list[Row] = []
    slab = {r["core"]: float(r["total_h1"]) for r in rows if r["handshake"] == "slab"}  # type: ignore[arg-type]
    for key in dict.fromkeys((r["handshake"], r["size"], r["seed"]) for r in rows):
        own = [r for r in rows if (r["handshake"], r["size"], r["seed"]) == key]
        row: Row = {"handshake": key[0], "size": key[1] if key[0] == "random" else "-"}
        row |= {f"{core:g}": "-" for core in slab}
        row |= {f"{r['core']:g}": r.get("total_h1", "no solution") for r in own}
        solved = [r for r in own if "total_h1" in r]
        cores, errors = ([float(r[k]) for r in solved] for k in ("core", "total_h1"))  # type: ignore[arg-type]
        row["rate"] = slope(cores, errors)
        row["worse"] = max(e / slab[c] for c, e in zip(cores, errors, strict=True))
        out.append(row)
    return out


def draw(rows: Sequence[Row]) -> Figure:
    """Errors over the core radius."""
    figure, (axis,) = canvas(5.5, 4.0, columns=1)
    style = {"slab": (COLOUR["bgfc"], "^"), "trained": (COLOUR["bqcf"], "o")}
    for key in dict.fromkeys((r["handshake"], r["size"], r["seed"]) for r in rows):
        own = [r for r in rows if (r["handshake"], r["size"], r["seed"]) == key and "total_h1" in r]
        grey = "#777777" if float(str(key[1])) >= DEAR else "#aaaaaa"
        colour, marker = style.get(str(key[0]), (grey, "."))
        label = None if key[2] else (f"random, {key[1]} Å" if key[0] == "random" else str(key[0]))
        axis.loglog(
            [r["core"] for r in own],
            [r["total_h1"] for r in own],
            marker + ("--" if key[0] == "random" else "-"),
            color=colour,
            label=label,
        )
    axis.set_xticks([1.5, 2, 3, 4], ["1.5", "2", "3", "4"])
    axis.minorticks_off()
    axis.set(xlabel="core radius over the cutoff", ylabel="H1 error [Å]")
    axis.legend(loc="lower left")
    return figure


def main() -> None:
    """Run the study and publish it."""
    kept = DOCS / "figures" / "handshake_rates.json"
    rows = json.loads(kept.read_text())["rows"] if "redraw" in sys.argv[1:] else study()
    cores = dict.fromkeys(f"{r['core']:g}" for r in rows)
    columns = {"handshake": "weights", "size": "size [Å]", **{c: f"{c} cutoffs" for c in cores}}
    columns |= {"rate": "exponent", "worse": "largest, over the slab's"}
    text = (
        table(rates(rows), columns)
        + "\n\nH1 errors in Å, K = 1.05 K_G, R = 90 Å, recovered lift.\n\n"
    )
    text += table(
        [r for r in rows if "angle" in r],
        {
            "core": "core / cutoff",
            "angle": "largest angle [°]",
            "off": "moves an atom by [Å]",
            "off_norm": "root of the sum of squares [Å]",
            "total_h1": "H1 error of the slab [Å]",
        },
    )
    text += (
        "\n\nHow far the flank of the state with the slab has turned from where the predictor turns its relaxation, "
        "over the outermost four layers beyond core and taper."
    )
    publish("rates", rows, text, draw(rows), page="handshake")


if __name__ == "__main__":
    main()
