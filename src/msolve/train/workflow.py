# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""``msolve train potential``: cells, labels, training, report; what an earlier run left is used again."""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from pydantic import TypeAdapter

from msolve.config import AnyPotential, Training
from msolve.crystal import Crystal
from msolve.errors import CaseError, ConvergenceError, UnsupportedError
from msolve.given import cubic_crystal, given_potential
from msolve.io.files import output_error, write_whole
from msolve.io.log import RunLog
from msolve.potentials import Potential, SiteModel
from msolve.potentials.blackbox import BlackBox, examined
from msolve.potentials.rest import relaxed_lattice
from msolve.train.cells import Maker
from msolve.train.comparison import (
    errors_of,
    path_of_waves,
    phonons_of,
    properties_of,
    samples_of,
    speed_of,
)
from msolve.train.labels import fingerprint, label, labelled
from msolve.train.report import write_report
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
        self.folder = given.output_directory
        self.origin = fingerprint(
            given.crystal.model_dump(mode="json"), identity(given.reference, given.folder)
        )
        with log.phase("reference"):
            self.kept = Kept(self.folder / "reference.json", self.origin)
            self.reference, self.crystal = self._reference()
        self.maker = Maker(self.crystal, self.reference, given.data.vacuum)
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
                model = examined(model, relaxed_lattice(model, start))

        def edge() -> float:
            return float(np.linalg.norm(relaxed_lattice(model, start).axes[0]))

        a0 = self.kept.get("lattice_constant", edge)
        return model, cubic_crystal(given.structure, number, a0)

    def cells(self) -> list[list[Atoms]]:
        """The labelled cells, kind by kind."""
        given, total = self.given.data, sum(one.count for one in self.given.data.cells)
        before, found = 0, []
        with self.log.phase("labelled cells"):
            for kind in given.cells:

                def make(index: int, kind: Any = kind) -> Atoms:
                    return label(self.reference, self.maker.make(kind, index, self.given.seed))

                def each(index: int, kind: Any = kind, before: int = before) -> None:
                    self.log.counted(kind.label, before + index + 1, total)

                recipe = kind.model_dump(mode="json", exclude={"count"})
                origin = fingerprint(self.origin, self.given.seed, given.vacuum, recipe)
                path = self.folder / "cells" / f"{kind.label}.extxyz"
                found.append(labelled(path, origin, kind.count, make, each))
                before += kind.count
        return found

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
        if not sets.train:
            raise CaseError(["data.cells: none is left to train on; more of them would do"])
        return sets

    def train(self, sets: Sets) -> tuple[Potential, Trained, float]:
        """The trained potential, what the trainer says of it, and how long it took [s]."""
        given = self.given
        section = given.model.model_dump(mode="json")
        texts = [atoms.info["made_from"] for part in sets[:2] for atoms in part]
        origin = fingerprint(section, given.seed, given.name, texts)
        task = Task(
            name=given.name,
            seed=given.seed,
            folder=self.folder,
            source=given.folder,
            crystal=self.crystal,
            train=sets.train,
            validation=sets.validation,
            origin=origin,
            progress=self.log.counted,
        )
        kept = Kept(self.folder / "trained.json", origin)

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
        return self.load(made), made, done["seconds"]

    def load(self, made: Trained) -> Potential:
        """The potential that a trainer left."""
        adapter: TypeAdapter[AnyPotential] = TypeAdapter(AnyPotential)
        section = adapter.validate_python(made.potential, context={"folder": self.folder})
        with in_section("model"):
            model = given_potential(section, [self.given.crystal.element], self.folder)
            return examined(model, self.crystal) if isinstance(model, BlackBox) else model


def train_potential(given: Training) -> Path:
    """Make a potential and report on it. Rank-local.

    Args:
        given: The input.

    Returns:
        Folder with the model, ``report.json``, ``report.md`` and pictures.

    Raises:
        CaseError: The input does not fit reference or trainer.
        UnsupportedError: A package is missing.
        ConvergenceError: The trainer failed, or the model holds no crystal.
        OutputError: Something cannot be written.
    """
    trainer(given.model.kind).check(given.model)
    folder = given.output_directory
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    title = f"msolve: training of {given.name}, output in {folder}"
    with RunLog(0, folder, title) as log:
        shop = Workshop(given, log)
        sets = shop.split(shop.cells())
        model, made, seconds = shop.train(sets)
        with log.phase("report"):
            report_on(shop, sets, model, made, seconds)
        log.say(f"report: {folder / 'report.md'}")
        log.check()
    return folder


def report_on(
    shop: Workshop, sets: Sets, model: Potential, made: Trained, seconds: float
) -> dict[str, Any]:
    """Compare the model with its reference and write the report; returns it."""
    given, notes = shop.given, list[str]()
    wanted = given.report
    errors, pairs = errors_of(
        model, sets.test, lambda n: shop.log.counted("test cells", n, len(sets.test))
    )
    key = fingerprint(wanted.model_dump(mode="json"))
    truth = shop.kept.get(
        f"properties {key}",
        lambda: properties_of(shop.reference, shop.crystal, wanted, notes.append),
    )
    ours = properties_of(model, shop.crystal, wanted, notes.append)
    file = shop.folder / str(made.potential.get("file", ""))
    content = file.read_bytes() if file.is_file() else b""
    report = {
        "model": Path(made.potential["file"]).name if content else model.name,
        "reference": shop.reference.name,
        "potential": made.potential,
        "sha256": hashlib.sha256(content).hexdigest() if content else None,
        "bytes": len(content),
        **made.facts,
        "input": given.to_dict(),
        "sets": {
            name: {"cells": len(cells), "atoms": sum(map(len, cells))}
            for name, cells in sets._asdict().items()
        },
        "seconds": {
            "labelled cells": round(shop.log.seconds["labelled cells"], 2),
            "training": round(seconds, 2),
        },
        "test_errors_rms": errors,
        "properties": {"model": ours, "truth": truth},
        "phonons": _phonons(shop, model, notes),
        "atoms_per_second": {
            "model": speed_of(model, shop.crystal),
            # A black box may take hours for so many atoms.
            "reference": speed_of(shop.reference, shop.crystal)
            if isinstance(shop.reference, SiteModel)
            else None,
        },
        "samples": samples_of(model, sets.test),
        "notes": notes,
    }
    write_report(shop.folder, report, pairs)
    return report


def _phonons(shop: Workshop, model: Potential, notes: list[str]) -> dict[str, Any] | None:
    cubes, structure = shop.given.report.phonons, shop.given.crystal.structure
    if not cubes:
        return None
    waves, corners = path_of_waves(structure, cubes)

    def of(one: Potential) -> list[list[float]] | None:
        try:
            found = phonons_of(one, shop.crystal, structure, cubes)
        except (ConvergenceError, UnsupportedError) as error:
            notes.append(f"phonons with {one.name}: {error}")
            return None
        return [[float(x) for x in row] for row in found]

    truth = shop.kept.get(f"phonons {cubes}", lambda: of(shop.reference))
    ours = of(model)
    error = None
    if truth is not None and ours is not None:
        error = float(np.sqrt(np.mean((np.array(ours) - np.array(truth)) ** 2)))
    return {
        "cubes": cubes,
        "waves": waves.tolist(),
        "corners": corners,
        "truth": truth,
        "model": ours,
        "error_rms": error,
    }


def identity(section: AnyPotential, folder: Path) -> dict[str, Any]:
    """A potential's section with the content of its file, for fingerprints."""
    told: dict[str, Any] = section.model_dump(mode="json")
    if told.get("file"):
        told["sha256"] = hashlib.sha256((folder / told["file"]).read_bytes()).hexdigest()
    return told


@contextmanager
def in_section(name: str) -> Iterator[None]:
    """Let messages about a potential name the section that it is given in."""
    try:
        yield
    except CaseError as error:
        told = [
            f"{name}.{problem.removeprefix('potential.')}"
            if problem.startswith("potential.")
            else problem
            for problem in error.problems
        ]
        raise CaseError(told, error.source) from error
    except UnsupportedError as error:
        if not str(error).startswith("potential."):
            raise
        raise UnsupportedError(f"{name}.{str(error).removeprefix('potential.')}") from error
