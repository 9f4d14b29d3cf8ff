# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What can be trained: one module for each kind of section ``model``.

To add one:

1. Its section: a class beside ``MaceTraining`` in ``msolve.config.trainers``, with its own ``kind``, and one of
   ``AnyTraining``. Regenerate the input reference.
2. Its module here, with two functions. ``check(given)`` raises ``CaseError`` or ``UnsupportedError`` before
   anything is computed: wrong settings, a package that is missing (name the extra). ``train(given, task)``
   trains on ``task.train`` and ``task.validation``, leaves its files in ``task.folder`` and returns
   :class:`Trained`, whose ``potential`` is the section by which a deck loads the model. The report is made
   with what that loads. Go on where an interrupted run stopped, if the package can.
3. Its line in ``TRAINERS``.

A cell is an ``ase.Atoms``, periodic along all axes, with the labels that ``msolve.train.labels`` names.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from ase import Atoms

from msolve.crystal import Crystal

TRAINERS = {
    "existing": "msolve.train.trainers.existing",
    "gap": "msolve.train.trainers.gap",
    "linear": "msolve.train.trainers.linear",
    "mace": "msolve.train.trainers.mace",
    "nequip": "msolve.train.trainers.nequip",
}


@dataclass(frozen=True)
class Task:
    """What a trainer works on.

    Attributes:
        name: Of the model; its files are called after it.
        seed: Of all random numbers.
        folder: For the model's files, ready; what need not be kept goes into ``work`` inside.
        source: Folder that relative names of the input start from.
        crystal: The reference's crystal at rest.
        train: Labelled cells to train on.
        validation: Labelled cells to choose the best state by; may be empty.
        origin: Fingerprint of cells, section and seed: work of another origin is of no use.
        progress: Told (what, done, of how many).
    """

    name: str
    seed: int
    folder: Path
    source: Path
    crystal: Crystal
    train: Sequence[Atoms]
    validation: Sequence[Atoms]
    origin: str
    progress: Callable[[str, int, int], None]

    @property
    def work(self) -> Path:
        """Folder for what the trainer does not leave behind as its model."""
        return self.folder / "work"


class Trained(NamedTuple):
    """What a trainer returns; JSON-able.

    Attributes:
        potential: Section ``potential`` of a deck that loads the model, its files relative to the folder.
        facts: For the report: number of parameters, versions of packages.
    """

    potential: dict[str, Any]
    facts: dict[str, Any]


class Trainer(Protocol):
    """A module of this package."""

    def check(self, given: Any) -> None:
        """Raise what can be known to be wrong before anything is computed."""
        ...

    def train(self, given: Any, task: Task) -> Trained:
        """Train a model."""
        ...


def trainer(kind: str) -> Trainer:
    """The trainer of a kind of section ``model``."""
    return cast(Trainer, importlib.import_module(TRAINERS[kind]))
