# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Active learning: what a committee disagrees on in the state of a coupled run is labelled and learned.

A round trains the model and a committee of further ones on resampled cells, runs the deck with the model, cuts
clusters around the atoms of most disagreement out of its states, and lets the reference label them. After the
last round one more state is looked at, which nothing is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from msolve.config import Active, AnyPotential, load_case
from msolve.errors import ConvergenceError
from msolve.potentials import Potential
from msolve.train.clusters import Run, State, cut_out, disagreement, flagged, states_of
from msolve.train.labels import FORCES, KIND, evaluate, fingerprint, label, labelled
from msolve.train.trainers import Trained
from msolve.train.workshop import Kept, Sets, Workshop

CLUSTERS = "active"
"""The kind that tables call the clusters."""


def learn(
    shop: Workshop, given: Active, sets: Sets
) -> tuple[Sets, Potential, Trained, float, list[dict[str, Any]]]:
    """Train in rounds.

    Args:
        shop: Reference and folder.
        given: Section ``active``.
        sets: Labelled cells to begin with.

    Returns:
        All cells, the last model, what its trainer says, how long that took [s], and a row for each round.

    Raises:
        ConvergenceError: No load step of the deck can be solved with a model.
    """
    rows: list[dict[str, Any]] = []
    for k in range(given.rounds + 1):
        last = k == given.rounds
        folder = shop.folder if last else shop.folder / "rounds" / str(k)
        model, made, seconds = shop.train(sets, folder)
        with shop.log.phase(f"round {k}"):
            survey = Survey(shop, given, sets, k, model, shop.section(made, folder))
            clusters = survey.clusters()
            rows.append(survey.row(clusters, seconds))
        shop.log.say(_told(rows[-1]))
        if not last:
            sets = sets._replace(train=[*sets.train, *clusters])
    return sets, model, made, seconds, rows


class Survey:
    """What one model makes of the deck, and where its committee doubts it.

    Args:
        shop: Reference and folder.
        given: Section ``active``.
        sets: Cells that the model was trained on.
        k: Number of the round.
        model: The model.
        section: The same, as a section of a deck.
    """

    def __init__(
        self,
        shop: Workshop,
        given: Active,
        sets: Sets,
        k: int,
        model: Potential,
        section: AnyPotential,
    ) -> None:
        self.shop, self.given, self.sets, self.k = shop, given, sets, k
        self.model, self.section = model, section
        deck = shop.given.folder / given.deck
        self._case = load_case(deck)
        self._origin = fingerprint(
            shop.training_origin(sets), given.model_dump(mode="json"), self._case.to_dict()
        )
        self._kept = Kept(shop.folder / "rounds" / f"{k}.json", self._origin)

    @cached_property
    def run(self) -> Run:
        """What the deck did."""
        run = states_of(self._case, self.section, self._doubtful)
        if run.why:
            self.shop.log.say(
                f"round {self.k}: the deck ended in load step {run.solved + 1}: {run.why}"
            )
        if not run.states:
            raise ConvergenceError(f"active.deck: no load step could be solved: {run.why}")
        return run

    @cached_property
    def committee(self) -> list[Potential]:
        """The model and the further ones."""
        return [self.model, *self.shop.committee(self.sets, self.k, self.given.committee)]

    def _doubtful(self, state: State) -> bool:
        return bool(disagreement(state, self.committee)[state.core].max() > self.given.doubt)

    @cached_property
    def _doubts(self) -> list[NDArray[np.float64]]:
        return [disagreement(state, self.committee) for state in self.run.states]

    @cached_property
    def _chosen(self) -> list[tuple[State, int]]:
        count = -(-self.given.atoms // len(self.run.states))
        return [
            (state, int(atom))
            for state, doubt in zip(self.run.states, self._doubts, strict=True)
            for atom in flagged(state, doubt, count, self.given.apart)
        ]

    def _make(self, index: int) -> Atoms:
        state, atom = self._chosen[index]
        rng = np.random.default_rng([self.shop.given.seed, self.k, index])
        given = self.given
        vacuum = self.shop.given.data.vacuum
        cluster = cut_out(state, atom, given.radius, given.shell, given.rattle, vacuum, rng)
        cluster.info[KIND] = CLUSTERS
        return label(self.shop.reference, cluster)

    def _facts(self) -> dict[str, Any]:
        core = [
            doubt[state.core] for state, doubt in zip(self.run.states, self._doubts, strict=True)
        ]
        return {
            "clusters": len(self._chosen),
            "places": [state.X[atom].round(3).tolist() for state, atom in self._chosen],
            "solved": self.run.solved,
            "loads": [state.load for state in self.run.states],
            "doubt_rms": _rms(np.concatenate(core)),
            "doubt_max": float(np.concatenate(core).max()),
        }

    def clusters(self) -> list[Atoms]:
        """The clusters, labelled; kept, as all cells."""
        count = self._kept.get("facts", self._facts)["clusters"]
        path = self.shop.folder / "cells" / f"{CLUSTERS}_{self.k}.extxyz"
        told = lambda index: self.shop.log.counted("clusters", index + 1, count)  # noqa: E731
        return labelled(path, self._origin, count, self._make, told)

    def row(self, clusters: Sequence[Atoms], seconds: float) -> dict[str, Any]:
        """The round in numbers; forces in meV/Å, errors over the inner atoms of the clusters."""
        facts = self._kept.get("facts", self._facts)
        wrong = [
            np.linalg.norm(
                (-evaluate(self.model, atoms).gradient - atoms.arrays[FORCES])[
                    atoms.arrays["inner"]
                ],
                axis=1,
            )
            for atoms in clusters
        ]
        return {
            "round": self.k,
            "cells": len(self.sets.train),
            "seconds": round(seconds, 2),
            **facts,
            "doubt_rms": 1e3 * facts["doubt_rms"],
            "doubt_max": 1e3 * facts["doubt_max"],
            "error_rms": 1e3 * _rms(np.concatenate(wrong)),
            "error_max": 1e3 * float(np.concatenate(wrong).max()),
        }


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _told(row: dict[str, Any]) -> str:
    return (
        f"round {row['round']}: trained on {row['cells']} cells; forces near the defect differ within the committee by "
        f"{row['doubt_rms']:.0f} meV/Å, from the reference by {row['error_rms']:.0f} meV/Å"
    )
