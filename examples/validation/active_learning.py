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
from pathlib import Path
from unittest.mock import patch

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from ase import Atoms
from common import HERE, Row, canvas, publish, table
from matplotlib.figure import Figure
from scipy import spatial

from msolve.config import load_case, load_training, training_from_dict
from msolve.io.log import RunLog
from msolve.potentials import Potential
from msolve.properties import bulk_properties, griffith_K, surface_energy
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
    "displacement": "displacement error near the tip at each, rms [Å]",
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


def displacement_error(ours: Sequence[State], theirs: Sequence[State]) -> tuple[float, float]:
    """Difference of the displacements near the tip at equal K / K_G: root mean square and largest [Å]."""
    apart = []
    for mine, other in zip(ours, theirs, strict=False):
        scale = float(other.period or 1.0) / float(mine.period or 1.0)
        tree = spatial.cKDTree(other.X)
        near = mine.core & (np.hypot(mine.X[:, 0], mine.X[:, 1]) < TIP)
        distance, match = tree.query(scale * mine.X[near])
        assert distance.max() < 0.05
        u = scale * (mine.positions - mine.X)[near] - (other.positions - other.X)[match]
        apart.append(np.linalg.norm(u, axis=1))
    every = np.concatenate(apart)
    return float(np.sqrt(np.mean(every**2))), float(every.max())


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
        unseen = unseen_cells(shop)
        for k in range(active.rounds + 1):
            folder = shop.folder / "rounds" / str(k)
            model, made, _ = shop.train(sets, folder)
            survey = Survey(shop, active, sets, k, model, shop.section(made, folder))
            clusters = survey.clusters()
            row = measure(shop, survey, model, truth.states, [*sets.test, *unseen])
            rows.append({"round": k, "cells": len(sets.train), **row})
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
    solved = survey.run.solved
    by_load = [
        displacement_error(survey.run.states[n : n + 1], truth[n : n + 1]) for n in range(solved)
    ]
    return {
        "tip": tip_error(model, shop.reference, truth),
        "members": f"{spread[0]:.0f} to {spread[-1]:.0f}",
        "spread": spread,
        "unseen": errors["unseen"]["forces"],
        "surface": errors["surface"]["forces"],
        "solved": f"{solved} of {len(truth)}",
        "displacement": ", ".join(f"{rms:.3f}" for rms, _ in by_load) or None,
        "by_load": by_load,
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
    looks = {1: ("v", "#56b4e9"), 2: ("o", "#0072b2"), 3: ("D", "#d55e00")}
    for found, line, what in ((rows, "-", ""), (control, ":", ", at random")):
        for k, (marker, colour) in looks.items():
            by_load: list[tuple[float, float]] = found[k]["by_load"]  # type: ignore[assignment]
            errors = [rms for rms, _ in by_load]
            label = f"after {k} round{'s' if k > 1 else ''}{what}"
            axes[1].plot(load[: len(errors)], errors, marker + line, color=colour, label=label)
    axes[1].set(yscale="log", xlabel="K / K_G", ylim=(0.01, 1.0), xticks=load)
    axes[1].set_yticks([0.01, 0.1, 1.0], ["0.01", "0.1", "1"])
    axes[1].set_title(f"Displacement error within {TIP:g} Å of the tip, rms [Å]")
    axes[1].legend(fontsize=8, ncols=2, loc="upper center")
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
