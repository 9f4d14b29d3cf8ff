# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What active learning at a crack tip is worth: a model of tungsten that has never seen a tip learns from its own.

``active_learning.yaml`` starts from bulk and surfaces. After each round the model is held against the reference
where it counts: forces on the reference's own tip, the coupled crack it makes itself, Griffith's load, and crack-tip
cells that no training ever saw. The committee's members, trained on resampled cells, tell what is chance.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

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
from msolve.train.clusters import State, states_of
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
    "displacement": "displacement error near the tip, rms [Å]",
    "furthest": "largest [Å]",
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
    given["data"]["cells"] = [UNSEEN]
    (kind,) = training_from_dict(given, folder=shop.given.folder).data.cells
    return [label(shop.reference, shop.maker.make(kind, k, 99)) for k in range(kind.count)]


def study(config: Path) -> list[Row]:
    """Train in rounds and measure after each."""
    given = load_training(config)
    active = given.active
    assert active is not None
    rows: list[Row] = []
    with RunLog(0, given.output_directory, "active learning") as log:
        shop = Workshop(given, log)
        sets: Sets = shop.split(shop.cells())
        case = load_case(given.folder / active.deck)
        truth, stopped = states_of(case, case.potential)
        assert not stopped
        unseen = unseen_cells(shop)
        for k in range(active.rounds + 1):
            folder = shop.folder / "rounds" / str(k)
            model, made, _ = shop.train(sets, folder)
            survey = Survey(shop, active, sets, k, model, shop.section(made, folder))
            clusters = survey.clusters()
            found = survey.row(clusters, 0.0)
            members = survey.committee[1:]
            spread = sorted(tip_error(one, shop.reference, truth) for one in members)
            rms, furthest = displacement_error(survey.states, truth)
            errors = errors_of(model, [*sets.test, *unseen])[0]
            rows.append(
                {
                    "round": k,
                    "cells": len(sets.train),
                    "tip": tip_error(model, shop.reference, truth),
                    "members": f"{spread[0]:.0f} to {spread[-1]:.0f}",
                    "spread": spread,
                    "unseen": errors["unseen"]["forces"],
                    "surface": errors["surface"]["forces"],
                    "displacement": rms,
                    "furthest": furthest,
                    "steps": len(survey.states),
                    "K_G": griffith(model, shop),
                    "doubt": found["doubt_rms"],
                }
            )
            print(rows[-1], flush=True)
            sets = sets._replace(train=[*sets.train, *clusters])
        rows.append({"round": "reference", "K_G": griffith(shop.reference, shop)})
    return rows


def draw(rows: list[Row]) -> Figure:
    """Errors over the rounds."""
    figure, axes = canvas(9.6, 3.8, columns=2)
    rounds = [row for row in rows if row["round"] != "reference"]
    x = np.array([float(row["round"]) for row in rounds])  # type: ignore[arg-type]
    lines = {
        "tip": ("o-", "#0072b2", "the reference's own tip"),
        "unseen": ("s-", "#d55e00", "tip cells never trained on"),
        "surface": ("^--", "#999999", "surfaces"),
    }
    for key, (style, colour, name) in lines.items():
        axes[0].plot(x, [row[key] for row in rounds], style, color=colour, label=name)
    for k, row in enumerate(rounds):
        spread = row["spread"]
        axes[0].plot(
            [x[k]] * len(spread), spread, "_", color="#0072b2", ms=9,  # type: ignore[arg-type]
            label="committee on the reference's tip" if k == 0 else None,
        )  # fmt: skip
    axes[0].set(
        title="Force error, rms [meV/Å]", xlabel="rounds of active learning", ylim=(0, None)
    )
    axes[0].legend(fontsize=8)
    axes[1].plot(x, [row["displacement"] for row in rounds], "o-", color="#0072b2", label="rms")
    axes[1].plot(x, [row["furthest"] for row in rounds], "v--", color="#0072b2", label="largest")
    axes[1].set(
        title=f"Displacement error within {TIP:g} Å of the tip [Å]",
        xlabel="rounds of active learning",
        ylim=(0, None),
    )
    axes[1].legend(fontsize=8)
    for axis in axes:
        axis.set_xticks(x)
    return figure


def main() -> None:
    """Run the study and publish it; another input than the shipped one may be named."""
    rows = study(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "active_learning.yaml")
    publish("active_learning", rows, table(rows, COLUMNS), draw(rows))
    plt.close("all")


if __name__ == "__main__":
    main()
