# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""NequIP and Allegro models by nequip's own trainer, run as a program of its own.

It seeds every generator and sets torch's default precision: all that stays in its process. It goes on from its
last checkpoint. Tested with nequip 0.19.1 and nequip-allegro 0.8.3.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml
from ase.data import chemical_symbols
from ase.io import write

from msolve.config import NequipTraining
from msolve.errors import CaseError, ConvergenceError, UnsupportedError
from msolve.io.files import whole, write_whole
from msolve.potentials.nequip import load_nequip
from msolve.potentials.undisturbed import undisturbed
from msolve.train.labels import ENERGY, FORCES, STRESS
from msolve.train.trainers import Task, Trained
from msolve.train.trainers.programs import run_program

_EPOCH = re.compile(r"Epoch (\d+), global step")
OURS = ("run", "data", "hydra", "ckpt_path")
LAST, BEST = "last.ckpt", "best.ckpt"


def check(given: NequipTraining) -> None:
    """Look for what nequip's configuration must hold, and for the packages that its model is from."""
    config, problems = given.config, list[str]()
    problems += [f"model.config.{key}: is given by msolve" for key in OURS if key in config]
    network = _at(config, "training_module.model")
    target = str(network.get("_target_") or "")
    if not target:
        problems.append(
            "model.config.training_module.model._target_: missing; nequip.model.NequIPGNNModel or "
            "allegro.model.AllegroModel would do"
        )
    for key, section, entry, words in (
        ("training_module.model", network, "r_max", "the cutoff, a number [Å]"),
        ("trainer", _at(config, "trainer"), "max_epochs", "the number of epochs"),
    ):
        if not isinstance(section.get(entry), int | float):
            problems.append(f"model.config.{key}.{entry}: missing; {words}")
    if problems:
        raise CaseError(problems)
    try:
        with undisturbed():
            import nequip.train  # noqa: F401

            if target.startswith("allegro."):
                import allegro.model  # noqa: F401
    except ImportError as error:
        raise UnsupportedError(
            f"model.kind = nequip: needs the packages nequip and nequip-allegro, which cannot be imported ({error}); "
            "install msolve[nequip], in an environment of its own (MSOLVE_MODELS=nequip environment/run ...)"
        ) from error


def train(given: NequipTraining, task: Task) -> Trained:
    """Train; the state that is best on the validation cells comes as the checkpoint ``NAME.ckpt``.

    Raises:
        ConvergenceError: The trainer gave up.
    """
    if not task.validation:
        raise CaseError(
            ["data.validation: leaves no cell; nequip needs some to choose its best state by"]
        )
    again = _begun(task)
    config = _configuration(given, task)
    (task.work / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    _run(task, int(config["trainer"]["max_epochs"]), again)
    path = task.folder / f"{task.name}.ckpt"
    _write_model(task.work / BEST, path)
    model = load_nequip(path)
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
        raise ConvergenceError("the trained model holds numbers that are not finite; lower lr")
    packages = ("nequip", "nequip-allegro", "torch")
    return Trained(
        {"kind": "nequip", "file": path.name},
        {
            "parameters": sum(p.numel() for p in model.parameters()),
            "made_with": {name: metadata.version(name) for name in packages},
        },
    )


def _at(config: Mapping[str, Any], path: str) -> dict[str, Any]:
    here: Any = config
    for key in path.split("."):
        here = here.get(key, {}) if isinstance(here, Mapping) else {}
    return dict(here) if isinstance(here, Mapping) else {}


def _begun(task: Task) -> bool:
    """Whether an earlier run left a checkpoint; whatever has another origin is removed."""
    note = task.work / "origin.json"
    if note.is_file() and json.loads(note.read_text()) == task.origin:
        return (task.work / LAST).is_file()
    shutil.rmtree(task.work, ignore_errors=True)
    task.work.mkdir(parents=True)
    for name, cells in (("train", task.train), ("validation", task.validation)):
        write(task.work / f"{name}.extxyz", list(cells), format="extxyz")
    write_whole(note, json.dumps(task.origin).encode())
    return False


def _configuration(given: NequipTraining, task: Task) -> dict[str, Any]:
    """The whole configuration for nequip: what is given, and what follows from the task. Paths from ``task.work``."""
    config = copy.deepcopy(given.config)
    types = sorted({chemical_symbols[z] for atoms in task.train for z in atoms.numbers})
    training, trainer = config["training_module"], config["trainer"]
    training["model"] = {
        "model_dtype": "float64",
        **training["model"],
        "seed": task.seed,
        "type_names": types,
    }
    keep = {
        "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
        "dirpath": ".",
        "filename": Path(BEST).stem,
        "monitor": "val0_epoch/weighted_sum",
        "save_last": True,
        "enable_version_counter": False,
        "verbose": True,  # tells of each epoch
    }
    config["trainer"] = {
        "_target_": "lightning.Trainer",
        "accelerator": "cpu",
        "logger": False,
        **trainer,
        "enable_progress_bar": False,
        "default_root_dir": ".",
        "callbacks": [*trainer.get("callbacks", []), keep],
    }
    loader = {"_target_": "torch.utils.data.DataLoader", "num_workers": 0}
    config["data"] = {
        "_target_": "nequip.data.datamodule.ASEDataModule",
        "seed": task.seed,
        "train_file_path": "train.extxyz",
        "val_file_path": "validation.extxyz",
        "key_mapping": {ENERGY: "total_energy", FORCES: "forces", STRESS: "stress"},
        "include_keys": [ENERGY, FORCES, STRESS],
        "transforms": [
            {
                "_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper",
                "model_type_names": types,
            },
            {
                "_target_": "nequip.data.transforms.NeighborListTransform",
                "r_max": training["model"]["r_max"],
            },
        ],
        "train_dataloader": {**loader, "batch_size": given.batch_size, "shuffle": True},
        "val_dataloader": {**loader, "batch_size": 4 * given.batch_size},
        "stats_manager": {
            "_target_": "nequip.data.CommonDataStatisticsManager",
            "type_names": types,
            "dataloader_kwargs": {"batch_size": 4 * given.batch_size},
        },
    }
    config |= {"run": ["train"], "hydra": {"run": {"dir": "."}, "output_subdir": None}}
    return config


def _run(task: Task, epochs: int, again: bool) -> None:
    words = [sys.executable, "-m", "nequip.scripts.train", "-cp", str(task.work.resolve())]
    words += ["-cn", "config", *([f"++ckpt_path={LAST}"] if again else [])]

    def told(line: str) -> None:
        epoch = _EPOCH.search(line)
        if epoch:
            task.progress("training", int(epoch[1]) + 1, epochs)

    run_program("nequip-train", words, task.work / "said.log", told, task.work / BEST)


def _write_model(checkpoint: Path, path: Path) -> None:
    """What loading a checkpoint needs, without the optimiser's state and the paths of this machine."""
    found = torch.load(checkpoint, map_location="cpu", weights_only=False)
    settings = found["hyper_parameters"]
    info = {key: settings["info_dict"][key] for key in ("versions", "training_module")}
    content = {
        "pytorch-lightning_version": found["pytorch-lightning_version"],
        "state_dict": found["state_dict"],
        "hyper_parameters": {**settings, "info_dict": info},
    }
    with whole(path) as file:
        torch.save(content, file)
