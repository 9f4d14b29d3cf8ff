# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Make the tungsten MACE model: generate cells, label them with EAM4, train, and report.

Everything follows from ``recipe.yaml`` and its seed. Training is mace-torch's own; this script
only feeds it and writes the result in float64. Run it in an environment with mace-torch,
matscipy, and LAMMPS with KIM and OpenKIM's models (about ten minutes of one core)::

    OMP_NUM_THREADS=1 python3 train.py [--recipe recipe.yaml] [--work DIR]

It replaces ``w_mace.model``, ``report.json``, ``report.md`` and ``parity.png`` beside itself.
"""

import argparse
import logging
import shutil
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from ase import Atoms
from ase.io import write
from cells import generate
from report import write_report
from truth import Truth

HERE = Path(__file__).resolve().parent
SETS = ("train", "validation", "test")


def label(atoms: Atoms, truth: Truth) -> Atoms:
    """Attach the truth's energy [eV], forces [eV/Å] and stress [eV/Å³] under mace's keys."""
    energy, forces, stress = truth.evaluate(atoms)
    atoms.info["REF_energy"] = energy
    atoms.info["REF_stress"] = stress.ravel()
    atoms.arrays["REF_forces"] = forces
    return atoms


def make_sets(recipe: dict, truth: Truth) -> dict[str, list[Atoms]]:
    """Generate, label and split the cells of a recipe; whole cells, each kind alike."""
    rng = np.random.default_rng(recipe["seed"])
    cells = [label(atoms, truth) for atoms in generate(recipe["cells"], truth, rng)]
    sets: dict[str, list[Atoms]] = {name: [] for name in SETS}
    for kind in recipe["cells"]:
        members = [atoms for atoms in cells if atoms.info["config_type"] == kind]
        order = rng.permutation(len(members))
        n_test = round(recipe["split"]["test"] * len(members))
        n_held = n_test + round(recipe["split"]["validation"] * len(members))
        for position, index in enumerate(order):
            name = "test" if position < n_test else "validation" if position < n_held else "train"
            sets[name].append(members[index])
    return sets


def train(recipe: dict, sets: dict[str, list[Atoms]], work: Path) -> torch.nn.Module:
    """Train by mace-torch in stages in ``work``; the model comes in float64 on the CPU."""
    for name, cells in sets.items():
        write(work / f"{name}.extxyz", cells, format="extxyz")
    shutil.rmtree(work / "checkpoints", ignore_errors=True)
    run_trainer(recipe["mace"], recipe["seed"], work)
    for stage in recipe["later_stages"]:
        settings = recipe["mace"] | stage | {"restart_latest": True}
        forget_moments(work, settings["lr"])
        run_trainer(settings, recipe["seed"], work)
    return in_float64(torch.load(work / "w.model", map_location="cpu", weights_only=False))


def run_trainer(settings: dict, seed: int, work: Path) -> None:
    """Run mace-torch's trainer in this process; it leaves ``w.model`` in ``work``."""
    from mace import tools
    from mace.cli.run_train import run

    arguments = ["--name=w", f"--work_dir={work}", f"--seed={seed}", "--device=cpu"]
    arguments += [f"--train_file={work}/train.extxyz", f"--valid_file={work}/validation.extxyz"]
    arguments += [f"--{k}_key=REF_{k}" for k in ("energy", "forces", "stress")]
    arguments += ["--plot=False", "--save_cpu", "--error_table=PerAtomRMSEstressvirials"]
    for key, value in settings.items():
        arguments += [f"--{key}"] if value is True else [f"--{key}={value}"]
    run(tools.build_default_arg_parser().parse_args(arguments))


def forget_moments(work: Path, rate: float) -> None:
    """Clear Adam's moments in the trainer's checkpoint and set the learning rate to resume with."""
    (path,) = (work / "checkpoints").glob("*.pt")
    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    checkpoint["optimizer"]["state"] = {}
    for group in checkpoint["optimizer"]["param_groups"]:
        group["lr"] = group["initial_lr"] = rate
    torch.save(checkpoint, path)


def in_float64(trained: torch.nn.Module) -> torch.nn.Module:
    """Rebuild a model in float64 and copy its parameters.

    Casting would keep coupling coefficients that were rounded to float32, and with them a
    rotational invariance of only seven digits; building anew computes them in float64.
    """
    from mace.tools.scripts_utils import extract_config_mace_model

    configuration = extract_config_mace_model(trained)
    torch.set_default_dtype(torch.float64)
    rebuilt = type(trained)(**configuration)
    with torch.no_grad():
        theirs = dict(trained.named_parameters())
        for name, parameter in rebuilt.named_parameters():
            parameter.copy_(theirs.pop(name))
        if theirs:
            raise RuntimeError(f"parameters without a place: {sorted(theirs)}")
        for block in ("scale", "shift"):
            getattr(rebuilt.scale_shift, block).copy_(getattr(trained.scale_shift, block))
    return rebuilt.requires_grad_(False).eval()


def main() -> None:
    """Generate, label, train, save and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=HERE / "recipe.yaml")
    parser.add_argument("--work", type=Path, default=Path("w_mace_training"))
    parser.add_argument("--output", type=Path, default=HERE)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = yaml.safe_load(options.recipe.read_text())
    torch.set_num_threads(1)

    start = time.process_time()
    truth = Truth()
    sets = make_sets(recipe, truth)
    generated = time.process_time()
    model = train(recipe, sets, options.work.resolve())
    trained = time.process_time()
    path = options.output / "w_mace.model"
    torch.save(model, path)
    seconds = {"data": generated - start, "training": trained - generated}
    counts = {name: {"cells": len(s), "atoms": sum(map(len, s))} for name, s in sets.items()}
    write_report(options.output, recipe, path, sets["test"], truth, counts, seconds)


if __name__ == "__main__":
    main()
