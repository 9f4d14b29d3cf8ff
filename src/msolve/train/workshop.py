# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The workshop of one training: reference, labelled cells, trained models; what was computed once is kept."""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from pydantic import TypeAdapter

from msolve.config import AnyCells, AnyPotential, FileCells, Training
from msolve.crystal import Crystal
from msolve.errors import CaseError, ConvergenceError
from msolve.given import cubic_crystal, given_potential, in_section
from msolve.io.files import write_whole
from msolve.io.log import RunLog
from msolve.potentials import Potential
from msolve.potentials.blackbox import BlackBox, examined, with_noise
from msolve.potentials.rest import relaxed_lattice
from msolve.train.cells import Maker, from_file
from msolve.train.labels import KIND, ORIGIN, fingerprint, label, labelled
from msolve.train.trainers import Task, Trained, trainer

T = TypeVar("T")


class Sets(NamedTuple):
    """Labelled cells, each in one of three."""

    train: list[Atoms]
    validation: list[Atoms]
    test: list[Atoms]


@dataclass
class Kept:
    """Values that are computed once and kept in a JSON file.

    Attributes:
        path: The file.
        origin: Fingerprint of what they follow from; values of another origin are forgotten.
    """

    path: Path
    origin: str
    _values: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read what is there."""
        if self.path.is_file():
            kept = json.loads(self.path.read_text())
            if kept.pop("origin", None) == self.origin:
                self._values = kept

    def get(self, name: str, compute: Callable[[], T]) -> T:
        """The JSON-able value of a name, computed if it is not there."""
        if name not in self._values:
            self._values[name] = compute()
            text = json.dumps({"origin": self.origin, **self._values}, indent=1)
            write_whole(self.path, (text + "\n").encode())
        value: T = self._values[name]
        return value


class Workshop:
    """Reference, crystal and labelled cells of one training.

    Args:
        given: The input.
        log: Shows what goes on.

    Attributes:
        reference: Reference potential.
        crystal: Its crystal at rest.
        kept: Values of the reference.
    """

    def __init__(self, given: Training, log: RunLog) -> None:
        self.given, self.log = given, log
        self.folder = given.output_directory.resolve()  # trainers run in folders of their own
        self.origin = fingerprint(
            given.crystal.model_dump(mode="json"), identity(given.reference, given.folder)
        )
        with log.phase("reference"):
            self.kept = Kept(self.folder / "reference.json", self.origin)
            self.reference, self.crystal = self._reference()
        self.maker = Maker(self.crystal, self.reference, given.data.vacuum, self.kept.get)
        if self.reference.cutoff > given.data.vacuum:
            raise CaseError(
                [
                    f"data.vacuum = {given.data.vacuum:g} angstrom: the reference reaches {self.reference.cutoff:g} "
                    "angstrom; must not be smaller"
                ]
            )

    def _reference(self) -> tuple[Potential, Crystal]:
        given = self.given.crystal
        number = atomic_numbers[given.element]
        a = given.lattice_constant if isinstance(given.lattice_constant, float) else None
        start = cubic_crystal(given.structure, number, a)
        with in_section("reference"):
            model = given_potential(self.given.reference, [given.element], self.given.folder)
            if number not in model.numbers:
                raise CaseError(
                    [f"crystal.element = {given.element}: {model.name} was not made for it"]
                )
            if isinstance(model, BlackBox):
                model = self._known(model, start)

        def edge() -> float:
            return float(np.linalg.norm(relaxed_lattice(model, start).axes[0]))

        a0 = self.kept.get("lattice_constant", edge)
        return model, cubic_crystal(given.structure, number, a0)

    def _known(self, declared: BlackBox, start: Crystal) -> BlackBox:
        """A black box with what was measured of it, which is done once."""

        def measured() -> dict[str, Any]:
            found = examined(declared, relaxed_lattice(with_noise(declared, start), start))
            told = {"cutoff": found.cutoff, "reach": found.reach, "noise": found.noise}
            return told | {"gives": sorted(found.gives)}

        told = dict(self.kept.get("black box", measured))
        return replace(declared, gives=frozenset(told.pop("gives")), **told)

    def cells(self) -> list[list[Atoms]]:
        """The labelled cells, kind by kind."""
        kinds = [self._recipe(kind) for kind in self.given.data.cells]
        total, before, found = sum(count for count, _, _ in kinds), 0, []
        with self.log.phase("labelled cells"):
            for kind, (count, recipe, make) in zip(self.given.data.cells, kinds, strict=True):

                def labelled_cell(index: int, kind: Any = kind, make: Any = make) -> Atoms:
                    try:
                        return label(self.reference, make(index))
                    except ConvergenceError as error:
                        error.add_note(f"while making cell {index + 1} of {kind.label}")
                        raise

                def each(index: int, kind: Any = kind, before: int = before) -> None:
                    self.log.counted(kind.label, before + index + 1, total)

                origin = fingerprint(self.origin, self.given.seed, self.given.data.vacuum, recipe)
                path = self.folder / "cells" / f"{kind.label}.extxyz"
                found.append(labelled(path, origin, count, labelled_cell, each))
                before += count
        return found

    def _recipe(self, kind: AnyCells) -> tuple[int, dict[str, Any], Callable[[int], Atoms]]:
        """How many cells of a kind, what they follow from, and the maker of one of them."""
        recipe: dict[str, Any] = kind.model_dump(mode="json", exclude={"count"})
        if not isinstance(kind, FileCells):
            return kind.count, recipe, lambda index: self.maker.make(kind, index, self.given.seed)
        file = self.given.folder / kind.file
        cells = from_file(file, self.reference.numbers, self.given.data.vacuum)
        recipe["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()

        def make(index: int) -> Atoms:
            atoms = cells[index]
            atoms.info[KIND] = kind.label
            atoms.pbc = True
            return atoms

        return len(cells), recipe, make

    def split(self, kinds: list[list[Atoms]]) -> Sets:
        """Cells shared out at random, each kind alike."""
        data, sets = self.given.data, Sets([], [], [])
        for kind, cells in zip(data.cells, kinds, strict=True):
            rng = np.random.default_rng([self.given.seed, zlib.crc32(kind.label.encode())])
            n_test = round(data.test * len(cells))
            n_held = n_test + round(data.validation * len(cells))
            for place, index in enumerate(rng.permutation(len(cells))):
                chosen = (
                    sets.test
                    if place < n_test
                    else sets.validation
                    if place < n_held
                    else sets.train
                )
                chosen.append(cells[index])
        problems = []
        if not sets.train:
            problems.append("data.cells: none is left to train on; more of them would do")
        if not sets.test:
            problems.append(
                f"data.test = {data.test:g}: leaves no cell for the report; more cells, or a larger share, would do"
            )
        if problems:
            raise CaseError(problems)
        return sets

    def training_origin(self, sets: Sets) -> str:
        """Fingerprint of what is trained and on what."""
        section = self.given.model.model_dump(mode="json")
        texts = [(atoms.info[KIND], atoms.info[ORIGIN]) for part in sets[:2] for atoms in part]
        return fingerprint(section, self.given.seed, self.given.name, texts)

    def train(
        self, sets: Sets, folder: Path | None = None, member: int = 0
    ) -> tuple[Potential, Trained, float]:
        """Train a model, unless it is there.

        Args:
            sets: Labelled cells.
            folder: For its files, by default the main one.
            member: 0 for the model itself; others are of a committee and differ by their seed.

        Returns:
            The potential, what the trainer says of it, with absolute names, and how long it took [s].
        """
        given, folder = self.given, folder or self.folder
        folder.mkdir(parents=True, exist_ok=True)
        task = Task(
            name=given.name,
            seed=given.seed + member,
            folder=folder,
            source=given.folder,
            crystal=self.crystal,
            train=sets.train,
            validation=sets.validation,
            origin=fingerprint(self.training_origin(sets), member),
            progress=self.log.counted,
        )
        kept = Kept(folder / "trained.json", task.origin)

        def run() -> dict[str, Any]:
            begin = time.perf_counter()
            made = trainer(given.model.kind).train(given.model, task)
            return {
                "potential": made.potential,
                "facts": made.facts,
                "seconds": time.perf_counter() - begin,
            }

        with self.log.phase("training"):
            done = kept.get("trained", run)
        made = Trained(done["potential"], done["facts"])
        return self.load(made, folder), made, done["seconds"]

    def committee(self, sets: Sets, k: int, size: int) -> list[Potential]:
        """Models of other seeds, each trained on cells drawn from the training cells with replacement."""
        members = []
        for member in range(1, size + 1):
            rng = np.random.default_rng([self.given.seed, k, member])
            drawn = [sets.train[i] for i in rng.integers(0, len(sets.train), len(sets.train))]
            folder = self.folder / "rounds" / str(k) / f"member_{member}"
            members.append(self.train(sets._replace(train=drawn), folder, member)[0])
        return members

    def section(self, made: Trained, folder: Path) -> AnyPotential:
        """Section ``potential`` of a deck anywhere that loads what a trainer left in a folder."""
        adapter: TypeAdapter[AnyPotential] = TypeAdapter(AnyPotential)
        told = dict(made.potential)
        if told.get("file"):
            told["file"] = str((folder / told["file"]).resolve())
        section: AnyPotential = adapter.validate_python(told, context={"folder": folder})
        return section

    def load(self, made: Trained, folder: Path) -> Potential:
        """The potential that a trainer left in a folder."""
        with in_section("model"):
            section = self.section(made, folder)
            model = given_potential(section, [self.given.crystal.element], folder)
            return examined(model, self.crystal) if isinstance(model, BlackBox) else model


def identity(section: AnyPotential, folder: Path) -> dict[str, Any]:
    """A potential's section with the content of its file, for fingerprints."""
    told: dict[str, Any] = section.model_dump(mode="json")
    if told.get("file"):
        told["sha256"] = hashlib.sha256((folder / told["file"]).read_bytes()).hexdigest()
    return told
