# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""``msolve train potential``: cells, labels, training, report; what an earlier run left is used again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from msolve.config import ExistingModel, Training
from msolve.errors import ConvergenceError, UnsupportedError
from msolve.io.files import output_error, write_whole
from msolve.io.log import RunLog
from msolve.potentials import Potential, SiteModel
from msolve.potentials.pops import write_draws
from msolve.train.active import learn
from msolve.train.comparison import (
    errors_of,
    path_of_waves,
    phonons_of,
    properties_of,
    samples_of,
    speed_of,
)
from msolve.train.draws import draw
from msolve.train.labels import fingerprint, write_cells
from msolve.train.report import write_report
from msolve.train.trainers import Trained, trainer
from msolve.train.workshop import Sets, Workshop


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
        sets, rounds = shop.split(shop.cells()), list[dict[str, Any]]()
        if given.active is None:
            model, made, seconds = shop.train(sets)
        else:
            sets, model, made, seconds, rounds = learn(shop, given.active, sets)
        if given.draws:
            with log.phase("draws"):
                drawn, changes = draw(
                    model, given.model, sets.train, given.draws, given.seed, log.counted
                )
                file = shop.folder / f"{given.name}.draws"
                write_whole(file, write_draws(drawn, changes).encode())
        with log.phase("report"):
            report_on(shop, sets, model, made, seconds, rounds)
        log.say(f"report: {folder / 'report.md'}")
        log.check()
    return folder


def report_on(
    shop: Workshop,
    sets: Sets,
    model: Potential,
    made: Trained,
    seconds: float,
    rounds: list[dict[str, Any]],
) -> dict[str, Any]:
    """Compare the model with its reference and write the report; returns it."""
    given, notes = shop.given, list[str]()
    wanted = given.report
    key = fingerprint(wanted.model_dump(mode="json"))
    truth = shop.kept.get(
        f"properties {key}",
        lambda: properties_of(shop.reference, shop.crystal, wanted, notes.append),
    )
    ours = properties_of(model, shop.crystal, wanted, notes.append)
    zero = 0.0
    if isinstance(given.model, ExistingModel):
        zero = float(ours["E_bulk"] or 0.0) - float(truth["E_bulk"] or 0.0)
        notes.append(
            f"energies are compared from the crystal at rest: {zero:.6g} eV per atom apart"
        )
    errors, pairs = errors_of(
        model, sets.test, lambda n: shop.log.counted("test cells", n, len(sets.test)), zero
    )
    file = shop.folder / str(made.potential.get("file", ""))
    content = file.read_bytes() if file.is_file() else b""
    named = {"file": file.name} if content else {}
    report = {
        "model": file.name if content else model.name,
        "reference": shop.reference.name,
        "potential": made.potential | named,
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
        "active": rounds,
        "samples": samples_of(model, sets.test),
        "notes": notes,
    }
    write_report(shop.folder, report, pairs)
    write_cells(shop.folder / f"{given.name}.test.extxyz", sets.test)
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
