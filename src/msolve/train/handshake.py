# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""``msolve train handshake``: a learned handshake for the flanks of a crack, and what it is worth.

Specimens that are solved stay in the output folder: the same command goes on after an interruption, on any number of
ranks.
"""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

from mpi4py import MPI

import numpy as np
import torch
from numpy.typing import NDArray

from msolve.build import MATCHING_LAYERS, Setup, set_up
from msolve.config import HandshakeTraining, load_case
from msolve.given import potential_sha256
from msolve.handshake.closure import NAMES
from msolve.handshake.operator import INVARIANTS, FlankModel, FlankOperator
from msolve.handshake.slab import layers_below
from msolve.io.files import output_error, write_whole
from msolve.io.log import RunLog
from msolve.parallel import all_or_none
from msolve.train.bench import RIM, Bench, Zones
from msolve.train.closure import N_TERMS, ClosureBench, ClosureFit, fit_closure
from msolve.train.flanks import (
    Loss,
    Slabs,
    strained_slabs,
    under,
    usable,
)
from msolve.train.pictures import draw_handshake
from msolve.train.specimens import solved_specimens

Array = NDArray[np.float64]

BEYOND = 1.1
"""How far beyond what was met in training an operator is believed."""

UNSEEN = 1e-6
"""Size of an invariant below which it counts as rounding."""

STALE = 60
"""Iterations without a better validation after which training ends."""

STEPS = 10
"""Iterations between two validations."""

CORES = (1.5, 2.0, 3.0, 4.0)
"""Radii of the cores that residuals are weighted for, over the cutoff of the potential."""

EDGES = (0.8, 1.6)
"""Shortest and longest edges of meshes drawn at random, in nearest-neighbour distances."""

BLEND = 1.5
"""Width of their blending zones where the deck has none, over the cutoff of the potential."""


def train_handshake(given: HandshakeTraining, comm: MPI.Comm = MPI.COMM_SELF) -> Path:
    """Learn the handshake of a crack's flanks and report on it. Collective.

    Args:
        given: The input.
        comm: Ranks that share the specimens; the first one learns from them.

    Returns:
        Folder with ``NAME.pt``, ``report.json``, a picture, and the specimens.

    Raises:
        CaseError: The deck is not one of a crack that can be learned.
        ConvergenceError: Too few specimens have an equilibrium.
        OutputError: Something cannot be written.
    """
    folder = given.output_directory
    with all_or_none(comm, "making the output folder"):
        try:
            (folder / "specimens").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(folder, error) from error
    title = f"msolve: training of the handshake {given.name}, output in {folder}"
    with RunLog(comm.rank, folder, title, comm.size) as log:
        begin = time.perf_counter()
        with (
            log.phase("crystal and potential"),
            all_or_none(comm, "preparing the crystal and its potential"),
        ):
            setup = _setup(given)
            usable(setup.body)
        with log.phase("cracks, fully atomistic"):
            cracks = solved_specimens(given, setup, comm, log)
        with all_or_none(comm, "learning"):
            if comm.rank == 0:
                _learn(given, setup, cracks, log, begin)
    return folder


def _learn(
    given: HandshakeTraining,
    setup: Setup,
    cracks: list[dict[str, Any]],
    log: RunLog,
    begin: float,
) -> None:
    """From solved cracks to files. Rank-local."""
    folder = given.output_directory
    with log.phase("slabs under strain"):
        slabs = strained_slabs(setup.body, given.specimens.strain, given.operator.layers)
    with log.phase("training"):
        operators: dict[int, FlankOperator] = {}
        rows: list[dict[str, Any]] = []
        for degree in given.operator.degrees:
            operators[degree], found = _trained(given, setup, degree, cracks, slabs, log)
            rows += found
    closures: dict[int, ClosureFit] = {}
    if given.operator.closure != "none" and 1 in operators:
        with log.phase("strain-gradient energy"):
            fitted = _closure(given, setup, operators[1], cracks, log)
            if fitted is not None:
                closures[1] = fitted
    with log.phase("report"):
        report = _report(given, setup, operators, closures, rows, time.perf_counter() - begin)
        depths, relaxation = layers_below(setup.body.slab, given.operator.layers)  # type: ignore[arg-type]
        body = setup.body
        FlankModel(
            operators,
            body.crystal.rotation,
            body.half_gap,
            depths,
            relaxation,
            report,
            {degree: one.model for degree, one in closures.items()},
        ).save(folder / f"{given.name}.pt")
        text = json.dumps({**report, "specimens": rows}, indent=1, ensure_ascii=False) + "\n"
        write_whole(folder / "report.json", text.encode())
        draw_handshake(folder / "residuals.png", rows)
    for degree, kept in report["residual"].items():
        log.say(
            f"degree {degree}: residual on the layers {kept['training']:.2f} of the slab handshake's in training, "
            f"{kept['validation']:.2f} on {kept['kept']} specimens kept for validation"
        )
    for degree, kept in report["closure"].items():
        log.say(
            f"degree {degree}: residual around cores {kept['training']:.2f} of that without strain-gradient "
            f"energy in training, {kept['validation']:.2f} on the specimens kept for validation"
        )
    log.check()


def _setup(given: HandshakeTraining) -> Setup:
    path = given.folder / given.deck
    radius = f"domain.radius={given.specimens.radius} angstrom"
    handshake = "coupling.handshake={kind: slab}"
    return set_up(load_case(path, [radius, handshake]), MPI.COMM_SELF)


def _trained(
    given: HandshakeTraining,
    setup: Setup,
    degree: int,
    cracks: list[dict[str, Any]],
    slabs: Slabs,
    log: RunLog,
) -> tuple[FlankOperator, list[dict[str, Any]]]:
    """The operator with the best validation, and a row for each specimen."""
    body = setup.body
    benches = _benches(given, setup, degree)
    n_test = _kept(given, len(cracks))
    training, kept = (
        [
            bench.specimen(one["y"], one["X"], one["t"], under(body, one["shear"]))
            for one in part
            for bench in benches
        ]
        for part in (cracks[:-n_test], cracks[-n_test:])
    )
    seen = np.concatenate([one.invariants for one in training] + [slabs.invariants])
    limit = BEYOND * np.abs(seen).max(axis=0)
    limit[limit < UNSEEN] = 0.0
    operator = FlankOperator(given.operator.layers, given.operator.hidden, limit)
    rng = np.random.default_rng([given.seed, degree])
    for weight in (operator.inner, operator.offset):
        weight.data = torch.from_numpy(rng.normal(size=tuple(weight.shape)))
    operator.tension = slabs.tension(operator)
    loss, check = Loss(training, slabs, operator), Loss(kept, None, operator)
    best = _descend(given, operator, loss, check, log, degree)
    rows = []
    for part, name, chosen in (
        (loss, "training", cracks[:-n_test]),
        (check, "validation", cracks[-n_test:]),
    ):
        left = part.residuals(best).detach().clamp(min=0).sqrt().numpy()
        which = [(one, bench) for one in chosen for bench in benches]
        for (one, bench), share, size in zip(which, left, part.before, strict=True):
            rows.append(
                {
                    "degree": degree,
                    "use": name,
                    "K": one["K"],
                    "shear": one["shear"],
                    "edges": bench.edges,
                    "slab": float(size),
                    "learned": float(share * size),
                }
            )
    return best, rows


def _benches(given: HandshakeTraining, setup: Setup, degree: int) -> list[Bench]:
    """The mesh whose nodes are the atoms, and meshes that ignore them, of random edges."""
    # Quadratic elements are linear in a run's blend, not on the bench: weighted for such runs they lose.
    body, zones = setup.body, _zones(setup) if degree == 1 else None
    near = body.crystal.nearest_neighbour_distance
    drawn = np.random.default_rng([given.seed, 1]).uniform(*EDGES, given.specimens.meshes)
    edges = [None, *(float(near * one) for one in drawn)]
    return [Bench(body, degree, given.operator.layers, zones, one) for one in edges]


def _zones(setup: Setup) -> Zones:
    """Coupled models that fit into the specimens; the smallest core at least."""
    body, near = setup.body, setup.body.crystal.nearest_neighbour_distance
    regions, cutoff = setup.case.regions, setup.body.model.cutoff
    blend = BLEND * cutoff if regions is None else regions.blend
    matched = MATCHING_LAYERS[1] * near
    cores = np.array(CORES) * cutoff
    fit = cores + blend + matched < body.radius - RIM * near
    return Zones(cores[: max(1, int(fit.sum()))], blend, matched)


def _closure(
    given: HandshakeTraining,
    setup: Setup,
    operator: FlankOperator,
    cracks: list[dict[str, Any]],
    log: RunLog,
) -> ClosureFit | None:
    """The strain-gradient energy for linear elements, on top of the trained flanks."""
    zones = _zones(setup)
    if zones.blend == 0:
        log.say("no strain-gradient energy: the deck has no blend")
        return None
    bench = ClosureBench(Bench(setup.body, 1, given.operator.layers, zones), zones)
    specimens = [
        bench.specimen(one["y"], one["X"], one["t"], one["shear"], operator) for one in cracks
    ]
    n_training = len(specimens) - _kept(given, len(specimens))
    return fit_closure(bench, specimens, n_training, N_TERMS[given.operator.closure], BEYOND)


def _kept(given: HandshakeTraining, count: int) -> int:
    return max(1, round(given.specimens.test * count))


def _descend(
    given: HandshakeTraining,
    operator: FlankOperator,
    loss: Loss,
    check: Loss,
    log: RunLog,
    degree: int,
) -> FlankOperator:
    """L-BFGS from zero output; the weights with the best validation."""
    descent = torch.optim.LBFGS(
        operator.parameters(),
        max_iter=STEPS,
        history_size=50,
        tolerance_grad=1e-12,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        descent.zero_grad()
        value: torch.Tensor = loss(operator)
        value.backward()
        return value

    best, lowest, since = copy.deepcopy(operator), float("inf"), 0
    for iteration in range(0, given.operator.iterations, STEPS):
        descent.step(closure)
        with torch.no_grad():
            now = float(check(operator))
        if now < lowest * (1 - 1e-4):
            best, lowest, since = copy.deepcopy(operator), now, 0
        else:
            since += STEPS
        log.counted(f"iterations, degree {degree}", iteration + STEPS, given.operator.iterations)
        if since >= STALE:
            break
    return best.requires_grad_(False)


def _report(
    given: HandshakeTraining,
    setup: Setup,
    operators: dict[int, FlankOperator],
    closures: dict[int, ClosureFit],
    rows: list[dict[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    case = setup.case
    residual = {}
    for degree in operators:
        parts = {}
        for use in ("training", "validation"):
            own = [r for r in rows if r["degree"] == degree and r["use"] == use]
            parts[use] = float(np.sqrt(np.mean([(r["learned"] / r["slab"]) ** 2 for r in own])))
        parts["kept"] = sum(r["degree"] == degree and r["use"] == "validation" for r in rows)
        residual[str(degree)] = parts
    limits = {
        str(degree): dict(zip(INVARIANTS, one.limit.tolist(), strict=True))
        for degree, one in operators.items()
    }
    closure = {}
    for degree, fit in closures.items():
        n = len(fit.left) - _kept(given, len(fit.left))
        closure[str(degree)] = {
            "training": float(np.sqrt((fit.left[:n] ** 2).mean())),
            "validation": float(np.sqrt((fit.left[n:] ** 2).mean())),
            "softest": fit.softest,
            "limits": {name: float(x) for name, x in zip(NAMES, fit.model.limit, strict=True)},
        }
    return {
        "name": given.name,
        "structure": case.crystal.structure,
        "element": case.crystal.element,
        "orientation": case.crystal.orientation.model_dump(mode="json"),
        "lattice_constant": float(np.linalg.norm(setup.body.crystal.crystal.axes[0])),
        "potential": case.potential.kind,
        "potential_sha256": potential_sha256(case),
        "K": list(given.specimens.K),
        "shear": given.specimens.shear,
        "radius": given.specimens.radius,
        "seed": given.seed,
        "limits": limits,
        "residual": residual,
        "closure": closure,
        "seconds": seconds,
    }
