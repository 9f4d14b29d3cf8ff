# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What active learning at a crack tip is worth: a model of tungsten that has never seen a tip learns from its own.

``active_learning.yaml`` starts from bulk and surfaces. After each round the model is held against the reference
where it counts: forces on the reference's own tip, the coupled crack it makes itself, Griffith's load, and crack-tip
cells that no training ever saw. The committee's members, trained on resampled cells, tell what is chance. A second
run that picks core atoms at random instead of the doubtful ones tells what the committee is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from mpi4py import MPI

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from ase import Atoms
from common import HERE, Row, canvas, publish, table
from matplotlib.figure import Figure
from scipy import spatial

from msolve.assemble import full_atomistic
from msolve.build import set_up
from msolve.compare import unknowns_of
from msolve.config import AnyPotential, Case, load_case, load_training, training_from_dict
from msolve.io.log import RunLog
from msolve.potentials import Potential
from msolve.properties import bulk_properties, griffith_K, surface_energy
from msolve.solvers import Settings, minimise
from msolve.train.active import Survey
from msolve.train.clusters import State, flagged, states_of
from msolve.train.comparison import errors_of
from msolve.train.labels import label
from msolve.train.workshop import Sets, Workshop
from msolve.units import MPA_SQRT_M

Array = npt.NDArray[np.float64]

TIP = 9.0
"""Radius of what counts as the tip [Å]."""

PLANE, FRONT = (1, 1, 0), (0, 0, 1)
UNSEEN = {"kind": "crack_tip", "name": "unseen", "count": 30, "plane": PLANE, "front": FRONT}

COLUMNS = {
    "round": "rounds",
    "cells": "cells",
    "tip": "force error on the reference's tip [meV/Å]",
    "members": "the same, committee",
    "unseen": "force error on unseen tip cells [meV/Å]",
    "surface": "force error on surface cells [meV/Å]",
    "solved": "load steps solved",
    "near": "displacement error near the tip on the reference's branch, rms [Å]",
    "own": "the same, coupled run from the K-field [Å]",
    "K_G": "K_G [MPa√m]",
    "doubt": "doubt [meV/Å]",
}


def tip_error(model: Potential, reference: Potential, states: Sequence[State]) -> float:
    """Root-mean-square error of the force components near the tip, in states of the reference [meV/Å]."""
    wrong = []
    for state in states:
        near = state.core & (np.hypot(state.X[:, 0], state.X[:, 1]) < TIP)
        wrong.append((state.forces(model) - state.forces(reference))[near])
    return 1e3 * float(np.sqrt(np.mean(np.concatenate(wrong) ** 2)))


@dataclass(frozen=True, eq=False)
class Crack:
    """Equilibria of the full atomistic crack, one for each load.

    Attributes:
        X: Lattice sites, shape ``(n, 3)`` [Å].
        u: Displacements at each load, shape ``(n, 3)`` [Å].
        a0: Period along the front [Å].
    """

    X: Array
    u: list[Array]
    a0: float


def crack_of(case: Case, potential: AnyPotential, start: Crack | None = None) -> Crack:
    """Relax the full atomistic crack of a case with a potential, from the K-field or near another crack.

    Near another one the two are compared on one branch: at the same bonds broken. A state that is none is
    left out with all that follow.
    """
    setup = set_up(case.model_copy(update={"potential": potential}), MPI.COMM_SELF)
    full = full_atomistic(MPI.COMM_SELF, setup.body)
    a0, problem, found = setup.body.crystal.period, full.problem, list[Array]()
    for k, t in enumerate(setup.loads):
        z = problem.kinematics.unknowns.vector()
        if start is not None and k < len(start.u):
            scale = a0 / start.a0
            distance, match = spatial.cKDTree(scale * start.X).query(full.X)
            y = full.X + scale * start.u[k][match]
            # Atoms of one crystal that the other, a hair larger or smaller, does not hold: at the rim.
            y[distance > 0.1] = problem.gather(z, t)[distance > 0.1]
            z = unknowns_of(full, y, t)
        report = minimise(problem, z, t, full.preconditioner, Settings(tolerance=1e-4))
        if not report.converged:
            break
        found.append(problem.gather(z, t) - full.X)
    return Crack(full.X, found, a0)


def displacement_error(ours: Crack, theirs: Crack) -> list[tuple[float, float]]:
    """Difference of the displacements near the tip at each K / K_G: root mean square and largest [Å]."""
    scale = theirs.a0 / ours.a0
    near = np.hypot(ours.X[:, 0], ours.X[:, 1]) < TIP
    distance, match = spatial.cKDTree(theirs.X).query(scale * ours.X[near])
    assert distance.max() < 0.05
    errors = []
    for mine, other in zip(ours.u, theirs.u, strict=False):
        apart = np.linalg.norm(scale * mine[near] - other[match], axis=1)
        errors.append((float(np.sqrt(np.mean(apart**2))), float(apart.max())))
    return errors


def own_error(ours: Sequence[State], theirs: Sequence[State]) -> list[float]:
    """The same between coupled runs from the K-field, which may end on different branches: root mean square [Å]."""
    errors = []
    for mine, other in zip(ours, theirs, strict=False):
        scale = float(other.period or 1.0) / float(mine.period or 1.0)
        near = np.hypot(mine.X[:, 0], mine.X[:, 1]) < TIP
        distance, match = spatial.cKDTree(other.X).query(scale * mine.X[near])
        assert distance.max() < 0.05
        u = scale * (mine.positions - mine.X)[near] - (other.positions - other.X)[match]
        errors.append(float(np.sqrt(np.mean(np.linalg.norm(u, axis=1) ** 2))))
    return errors


def griffith(model: Potential, shop: Workshop) -> float:
    """Griffith's load [MPa√m]."""
    crystal = bulk_properties(model, shop.crystal).crystal
    energy = surface_energy(model, crystal, PLANE)
    return griffith_K(model, crystal, PLANE, FRONT, energy) / MPA_SQRT_M


def unseen_cells(shop: Workshop) -> list[Atoms]:
    """Labelled crack-tip cells for tests only."""
    given = shop.given.to_dict()
    given["data"]["cells"].append(UNSEEN)
    kind = training_from_dict(given, folder=shop.given.folder).data.cells[-1]
    return [label(shop.reference, shop.maker.make(kind, k, 99)) for k in range(kind.count)]


def at_random(state: State, doubt: Array, count: int, apart: float) -> npt.NDArray[np.int64]:
    """In place of ``flagged``: core atoms in any order."""
    rng = np.random.default_rng(len(state.X) + count)
    return flagged(state, rng.uniform(size=len(doubt)), count, apart)


def study(config: Path, changes: Sequence[str] = ()) -> list[Row]:
    """Train in rounds and measure after each."""
    given = load_training(config, changes)
    active = given.active
    assert active is not None
    rows: list[Row] = []
    with RunLog(0, given.output_directory, "active learning") as log:
        shop = Workshop(given, log)
        sets: Sets = shop.split(shop.cells())
        case = load_case(given.folder / active.deck)
        truth = states_of(case, case.potential)
        assert not truth.why
        crack = crack_of(case, case.potential)
        unseen = unseen_cells(shop)
        for k in range(active.rounds + 1):
            folder = shop.folder / "rounds" / str(k)
            model, made, _ = shop.train(sets, folder)
            survey = Survey(shop, active, sets, k, model, shop.section(made, folder))
            clusters = survey.clusters()
            row = measure(shop, survey, model, truth.states, [*sets.test, *unseen])
            near = displacement_error(crack_of(case, survey.section, crack), crack)
            told = ", ".join(f"{rms:.3f}" for rms, _ in near) or None
            rows.append(
                {"round": k, "cells": len(sets.train), **row, "near": told, "by_load": near}
            )
            rows[-1]["doubt"] = survey.row(clusters, 0.0)["doubt_rms"]
            print(rows[-1], flush=True)
            sets = sets._replace(train=[*sets.train, *clusters])
        rows.append({"round": "reference", "K_G": griffith(shop.reference, shop)})
    return rows


def measure(
    shop: Workshop,
    survey: Survey,
    model: Potential,
    truth: Sequence[State],
    cells: Sequence[Atoms],
) -> Row:
    """A model against the reference at the tip, and on labelled cells."""
    spread = sorted(tip_error(one, shop.reference, truth) for one in survey.committee[1:])
    errors = errors_of(model, cells)[0]
    return {
        "tip": tip_error(model, shop.reference, truth),
        "members": f"{spread[0]:.0f} to {spread[-1]:.0f}",
        "spread": spread,
        "unseen": errors["unseen"]["forces"],
        "surface": errors["surface"]["forces"],
        "solved": f"{survey.run.solved} of {len(truth)}",
        "own": ", ".join(
            f"{rms:.3f}" for rms in own_error(survey.run.states[: survey.run.solved], truth)
        )
        or None,
        "K_G": griffith(model, shop),
    }


def draw(rows: list[Row], control: list[Row]) -> Figure:
    """Errors over the rounds."""
    figure, axes = canvas(9.6, 3.8, columns=2)
    x = np.arange(len(rows) - 1)
    chosen = (
        (rows, "unseen", "s-", "#d55e00", "tip cells never trained on"),
        (rows, "tip", "o-", "#0072b2", "the reference's own tip"),
        (control, "tip", "o:", "#56b4e9", "the same, atoms picked at random"),
        (rows, "surface", "^--", "#999999", "surfaces"),
    )
    for found, key, style, colour, name in chosen:
        values = [row[key] for row in found[:-1]]
        axes[0].plot(x, values, style, color=colour, label=name)  # type: ignore[arg-type]
    axes[0].set(title="Force error, rms [meV/Å]", xlabel="rounds of active learning")
    axes[0].set_ylim(0, None)
    axes[0].legend(fontsize=8)
    axes[0].set_xticks(x)
    load = np.array([0.80, 0.95, 1.10])
    lines_by_load = [
        (rows[0], "s-", "#999999", "no tips learned"),
        (rows[1], "v-", "#56b4e9", "after 1 round"),
        (rows[2], "o-", "#0072b2", "after 2 rounds"),
        (rows[3], "D-", "#d55e00", "after 3 rounds"),
        (control[3], "D:", "#e69f00", "the same, atoms at random"),
    ]
    for row, style, colour, name in lines_by_load:
        by_load: list[tuple[float, float]] = row["by_load"]  # type: ignore[assignment]
        errors = [rms for rms, _ in by_load]
        axes[1].plot(load[: len(errors)], errors, style, color=colour, label=name)
    axes[1].set(xlabel="K / K_G", ylim=(0, None), xticks=load)
    axes[1].set_title(f"Displacement error within {TIP:g} Å of the tip, rms [Å]")
    axes[1].legend(fontsize=8)
    return figure


def main() -> None:
    """Run the study and its control, and publish them."""
    config = HERE / "active_learning.yaml"
    rows = study(config, ["output.directory=results/active_learning"])
    with patch("msolve.train.active.flagged", at_random):
        control = study(config, ["output.directory=results/active_learning_control"])
    text = (
        f"{table(rows, COLUMNS)}\n\nWith core atoms picked at random:\n\n{table(control, COLUMNS)}"
    )
    publish("active_learning", rows, text, draw(rows, control), control=control)
    plt.close("all")


if __name__ == "__main__":
    main()
