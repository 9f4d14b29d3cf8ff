# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""MACE models by mace-torch's own trainer, run as a program of its own.

It sets torch's default precision, its random numbers and the root logger: all that stays in its process. It
goes on from its checkpoints. Tested with mace-torch 0.3.16.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from ase.io import write

from msolve.config import MaceTraining
from msolve.errors import CaseError, ConvergenceError, UnsupportedError
from msolve.io.files import whole, write_whole
from msolve.potentials.mace_import import quiet_import
from msolve.train.labels import ENERGY, FORCES, STRESS
from msolve.train.trainers import Task, Trained
from msolve.train.trainers.programs import run_program

GIVEN = (
    "name", "seed", "work_dir", "train_file", "valid_file", "energy_key", "forces_key", "stress_key", "plot",
    "restart_latest",
)  # fmt: skip
"""Arguments that are not the user's."""

_EPOCH = re.compile(r"Epoch (\d+):")


def check(given: MaceTraining) -> None:
    """Let the trainer's own parser read the arguments of each stage."""
    try:
        with quiet_import():
            from mace import tools
    except ImportError as error:
        raise UnsupportedError(
            f"model.kind = mace: needs the package mace-torch, which cannot be imported ({error}); "
            "install msolve[mace]"
        ) from error
    problems: list[str] = []
    for k, settings in enumerate(_stages(given)):
        parser = tools.build_default_arg_parser()
        key = "model.arguments" if k == 0 else f"model.later_stages.{k - 1}"
        problems += [f"{key}.{name}: is given by msolve" for name in GIVEN if name in settings]
        parser.error = _raise
        try:
            parser.parse_args(["--name=x", *_words(settings)])
        except _RefusedError as error:
            problems.append(f"{key}: mace_run_train refuses it: {error}")
        except (argparse.ArgumentTypeError, ValueError) as error:
            problems.append(f"{key}: mace_run_train refuses it: {error}")
        if "max_num_epochs" not in settings:
            problems.append(f"{key}.max_num_epochs: missing; the number of epochs")
    if problems:
        raise CaseError(dict.fromkeys(problems))


def train(given: MaceTraining, task: Task) -> Trained:
    """Train in stages; the model comes in float64 on the CPU as ``NAME.model``.

    Raises:
        ConvergenceError: The trainer gave up.
    """
    import mace

    if not task.validation:
        raise CaseError(
            ["data.validation: leaves no cell; mace-torch needs some to choose its best state by"]
        )
    progress = _begun(task)
    for k, settings in enumerate(_stages(given)):
        if k <= progress["done"]:
            continue
        if k > progress["begun"]:
            if k > 0:
                _forget_moments(task.work, float(settings.get("lr", 0.01)))
            progress = _note(task, begun=k, done=k - 1)
        again = k > 0 or any((task.work / "checkpoints").glob("*.pt"))
        _run(settings | ({"restart_latest": True} if again else {}), task, k, len(_stages(given)))
        progress = _note(task, begun=k, done=k)
    with quiet_import():
        trained = torch.load(task.work / "model.model", map_location="cpu", weights_only=False)
        model = _in_float64(trained)
        if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            raise ConvergenceError("the trained model holds numbers that are not finite; lower lr")
        with whole(task.folder / f"{task.name}.model") as file:
            torch.save(model, file)
    return Trained(
        {"kind": "mace", "file": f"{task.name}.model"},
        {
            "parameters": sum(p.numel() for p in model.parameters()),
            "made_with": {"mace-torch": mace.__version__, "torch": torch.__version__},
        },
    )


class _RefusedError(Exception):
    pass


def _raise(message: str) -> NoReturn:
    raise _RefusedError(message)


def _stages(given: MaceTraining) -> list[dict[str, Any]]:
    return [given.arguments, *(given.arguments | stage for stage in given.later_stages)]


def _words(settings: Mapping[str, Any]) -> list[str]:
    return [f"--{k}" if value is True else f"--{k}={value}" for k, value in settings.items()]


def _begun(task: Task) -> dict[str, int]:
    """How far an earlier run came; whatever has another origin is removed."""
    note = task.work / "stages.json"
    if note.is_file():
        state = json.loads(note.read_text())
        if state.pop("origin") == task.origin:
            return {str(k): int(v) for k, v in state.items()}
    shutil.rmtree(task.work, ignore_errors=True)
    task.work.mkdir(parents=True)
    for name, cells in (("train", task.train), ("validation", task.validation)):
        write(task.work / f"{name}.extxyz", list(cells), format="extxyz")
    return _note(task, begun=-1, done=-1)


def _note(task: Task, **state: int) -> dict[str, int]:
    text = json.dumps({"origin": task.origin, **state})
    write_whole(task.work / "stages.json", text.encode())
    return state


def _run(settings: Mapping[str, Any], task: Task, stage: int, stages: int) -> None:
    work, last = task.work, int(settings["max_num_epochs"])
    words = [sys.executable, "-m", "mace.cli.run_train", "--name=model", f"--work_dir={work}"]
    words += [f"--train_file={work}/train.extxyz", f"--valid_file={work}/validation.extxyz"]
    keys = {"energy": ENERGY, "forces": FORCES, "stress": STRESS}
    words += [f"--{name}_key={key}" for name, key in keys.items()]
    words += [f"--seed={task.seed}", "--device=cpu", "--plot=False", "--save_cpu"]
    words += ["--error_table=PerAtomRMSEstressvirials", *_words(settings)]
    what = f"training, stage {stage + 1} of {stages}"

    def told(line: str) -> None:
        epoch = _EPOCH.search(line)
        if epoch:
            task.progress(what, int(epoch[1]) + 1, last)

    run_program("mace_run_train", words, work / f"stage_{stage}.log", told, work / "model.model")


def _forget_moments(work: Path, rate: float) -> None:
    """Clear Adam's moments in the trainer's checkpoint and set the learning rate to go on with.

    Otherwise the first stage's largest gradients would keep Adam's steps (amsgrad) tiny.
    """
    path = max((work / "checkpoints").glob("*.pt"), key=lambda file: file.stat().st_mtime)
    with quiet_import():
        checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    checkpoint["optimizer"]["state"] = {}
    for group in checkpoint["optimizer"]["param_groups"]:
        group["lr"] = group["initial_lr"] = rate
    with whole(path) as file:
        torch.save(checkpoint, file)


def _in_float64(trained: torch.nn.Module) -> torch.nn.Module:
    """Rebuild a model in float64 and copy its parameters.

    Casting would keep coupling coefficients that were rounded to float32, and with them a rotational
    invariance of only seven digits; building anew computes them in float64.
    """
    from mace.tools.scripts_utils import extract_config_mace_model

    configuration = extract_config_mace_model(trained)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        rebuilt: Any = type(trained)(**configuration)
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        theirs = dict(trained.named_parameters())
        for name, parameter in rebuilt.named_parameters():
            parameter.copy_(theirs.pop(name))
        if theirs:
            raise RuntimeError(f"parameters without a place: {sorted(theirs)}")
        if hasattr(rebuilt, "scale_shift"):
            source: Any = trained
            for block in ("scale", "shift"):
                getattr(rebuilt.scale_shift, block).copy_(getattr(source.scale_shift, block))
    model: torch.nn.Module = rebuilt.requires_grad_(False).eval()
    return model
