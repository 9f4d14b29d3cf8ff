# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Gaussian approximation potentials (GAP) by QUIP's own ``gap_fit``, run as a program of its own.

One linear solve: there are no epochs, and validation cells are not used. Tested with quippy-ase 0.10.3.
"""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from importlib.util import find_spec

from ase.data import chemical_symbols
from ase.io import write

from msolve.config import GapTraining
from msolve.errors import CaseError, UnsupportedError
from msolve.io.files import whole
from msolve.potentials.gap import read_gap
from msolve.train.labels import ENERGY, FORCES, STRESS
from msolve.train.trainers import Task, Trained
from msolve.train.trainers.programs import run_program

GIVEN = (
    "atoms_filename", "at_file", "energy_parameter_name", "force_parameter_name", "stress_parameter_name",
    "virial_parameter_name", "gap_file", "gp_file", "sparse_separate_file", "do_copy_atoms_file",
    "do_copy_at_file", "rnd_seed", "config_file",
)  # fmt: skip
"""Arguments that are not the user's."""

NEEDED = ("gap", "default_kernel_regularisation")


def check(given: GapTraining) -> None:
    """Look for what ``gap_fit`` cannot do without, and for the package that it comes with."""
    problems = [f"model.arguments.{k}: is given by msolve" for k in GIVEN if k in given.arguments]
    problems += [
        f"model.arguments.{name}: missing; an argument of gap_fit"
        for name in NEEDED
        if name not in given.arguments
    ]
    if problems:
        raise CaseError(problems)
    if find_spec("quippy") is None:
        raise UnsupportedError(
            "model.kind = gap: needs the package quippy-ase, which is not installed; install msolve[gap]"
        )


def train(given: GapTraining, task: Task) -> Trained:
    """Fit; the model comes as one file, ``NAME.xml``.

    Raises:
        ConvergenceError: ``gap_fit`` gave up.
    """
    shutil.rmtree(task.work, ignore_errors=True)
    task.work.mkdir(parents=True)
    write(task.work / "train.extxyz", list(task.train), format="extxyz")
    elements = dict.fromkeys(chemical_symbols[int(z)] for z in task.crystal.numbers)
    settings = {
        "e0": "{" + ":".join(f"{element}:0.0" for element in elements) + "}",
        **given.arguments,
        "atoms_filename": "train.extxyz",
        "energy_parameter_name": ENERGY,
        "force_parameter_name": FORCES,
        "stress_parameter_name": STRESS,
        "virial_parameter_name": "none",
        "gap_file": "model.xml",
        "sparse_separate_file": "F",
        "do_copy_atoms_file": "F",
        "rnd_seed": task.seed,
    }
    words = [sys.executable, "-c", "from quippy.cli import gap_fit; gap_fit()"]
    words += [f"{name}={value}" for name, value in settings.items()]
    made = task.work / "model.xml"
    task.progress("fit", 0, 1)
    run_program("gap_fit", words, task.work / "gap_fit.log", lambda line: None, made)
    task.progress("fit", 1, 1)
    # The label would be the hour of the fit; without it the same input makes the same file.
    text = made.read_text().replace(read_gap(made).label, f"GAP_{task.name}")
    with whole(task.folder / f"{task.name}.xml") as file:
        file.write_text(text)
    read = read_gap(task.folder / f"{task.name}.xml")
    return Trained(
        {"kind": "gap", "file": f"{task.name}.xml"},
        {
            "parameters": read.parameters,
            "made_with": {"quippy-ase": metadata.version("quippy-ase")},
        },
    )
