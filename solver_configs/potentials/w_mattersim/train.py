# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Makes a small MatterSim model of tungsten by mattersim's own trainer, from the cells that w_mace was trained on.

``msolve train potential solver_configs/potentials/w_mace/train.yaml`` labels the cells within half a minute, into
``results/w_mace/cells``; then, some ten minutes of one core,

    MSOLVE_MODELS=mattersim environment/run python solver_configs/potentials/w_mattersim/train.py results/w_mace/cells

renews ``w_mattersim.pth`` and ``report.json`` beside this file. The weights of MatterSim's own models are on a project
page; what a package without them can show is that the architecture runs.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import warnings
from pathlib import Path

import ase
import ase.io
import numpy as np
import torch
from ase.units import GPa
from mattersim.datasets.utils.build import build_dataloader
from mattersim.forcefield.m3gnet.m3gnet import M3Gnet
from mattersim.forcefield.m3gnet.scaling import AtomScaling
from mattersim.forcefield.potential import Potential
from numpy.typing import NDArray

HERE = Path(__file__).parent
SEED = 2013
NETWORK = {
    "num_blocks": 2, "units": 16, "max_l": 2, "max_n": 3, "cutoff": 5.0, "threebody_cutoff": 4.0, "max_z": 74,
}  # fmt: skip
TRAINING = {
    "epochs": 50, "early_stop_patience": 50, "include_forces": True, "include_stresses": True,
    "force_loss_ratio": 1.0, "stress_loss_ratio": 0.1, "save_checkpoint": True, "ckpt_interval": 1000,
}  # fmt: skip

Labels = tuple[list[float], list[NDArray[np.float64]], list[NDArray[np.float64]]]


def labels(cells: list[ase.Atoms]) -> Labels:
    """Energies [eV], forces [eV/Å] and stresses [GPa]."""
    return (
        [float(one.info["REF_energy"]) for one in cells],
        [one.arrays["REF_forces"] for one in cells],
        [np.reshape(one.info["REF_stress"], (3, 3)) / GPa for one in cells],
    )


def trained(cells: list[ase.Atoms], validation: list[ase.Atoms], folder: str) -> None:
    """Let mattersim's trainer leave its best model in a folder."""
    batches = {
        "batch_size": 8,
        "cutoff": NETWORK["cutoff"],
        "threebody_cutoff": NETWORK["threebody_cutoff"],
    }
    energies, forces, _ = labels(cells)
    network = M3Gnet(device="cpu", **NETWORK)
    scaling = {
        "scale_key": "per_species_forces_rms",
        "shift_key": "per_species_energy_mean_linear_reg",
    }
    network.set_normalizer(
        AtomScaling(
            cells, energies, forces, verbose=False, device="cpu", max_z=NETWORK["max_z"], **scaling
        )
    )
    Potential(network, lr=0.01, step_size=1, gamma=0.94, device="cpu").train_model(
        build_dataloader(cells, *labels(cells), shuffle=True, **batches),
        build_dataloader(validation, *labels(validation), **batches),
        loss=torch.nn.HuberLoss(delta=0.01),
        save_path=folder,
        **TRAINING,
    )


def errors(cells: list[ase.Atoms]) -> dict[str, float]:
    """Root mean square errors of the shipped file, as decks use it, on cells that it was not trained on."""
    sys.path.insert(0, str(HERE))
    from in_double import mattersim

    from msolve.potentials.torchsim import wrap_torchsim

    model = wrap_torchsim(mattersim(HERE / "w_mattersim.pth"), "w_mattersim", [74], 10.0)
    energy, force = [], []
    for one, expected, forces in zip(cells, *labels(cells)[:2], strict=True):
        found = model.cluster(one.positions, one.numbers, one.cell.array, one.pbc)
        energy.append((found.energy - expected) / len(one))
        force.append((found.gradient + forces).ravel())
    return {
        "energy [meV/atom]": 1e3 * float(np.sqrt(np.mean(np.square(energy)))),
        "forces [meV/Å]": 1e3 * float(np.sqrt(np.mean(np.concatenate(force) ** 2))),
    }


def main(folder: str) -> None:
    """Train on 80 % of the cells of a folder, choose by 10 %, report on 10 %."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    random.seed(SEED)
    files = sorted(Path(folder).glob("*.extxyz"))
    cells = [one for file in files for one in ase.io.read(file, ":")]
    order = np.random.default_rng(SEED).permutation(len(cells))
    test, validation, rest = np.split(order, [len(cells) // 10, len(cells) // 5])
    with tempfile.TemporaryDirectory() as scratch:
        trained([cells[k] for k in rest], [cells[k] for k in validation], scratch)
        best = torch.load(Path(scratch) / "best_model.pth", weights_only=False)
    keep = ("model_name", "model_args", "model")
    torch.save({key: best[key] for key in keep}, HERE / "w_mattersim.pth")
    report = {
        "cells": len(rest),
        "test cells": len(test),
        "errors": errors([cells[k] for k in test]),
    }
    (HERE / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    print(report)


if __name__ == "__main__":
    main(sys.argv[1])
