# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Small models to test with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def write_tiny_mace(
    path: str | Path, numbers: tuple[int, ...] = (74,), seed: int = 0, **options: Any
) -> None:
    """Write a small MACE model with random weights: exact arithmetic, no physics.

    Two layers, 8 scalar features, spherical harmonics up to l = 1, cutoff 5 Å.

    Args:
        path: File to write.
        numbers: Atomic numbers it accepts, ascending.
        seed: Seed of the weights.
        options: Arguments of ``mace.modules.ScaleShiftMACE`` that differ from these.

    Raises:
        ImportError: mace-torch is not installed.
    """
    import torch

    from msolve.potentials.mace_import import quiet_import

    with quiet_import():
        from e3nn import o3
        from mace import modules
    settings: dict[str, Any] = {
        "r_max": 5.0,
        "num_bessel": 6,
        "num_polynomial_cutoff": 5,
        "max_ell": 1,
        "interaction_cls": modules.RealAgnosticResidualInteractionBlock,
        "interaction_cls_first": modules.RealAgnosticResidualInteractionBlock,
        "num_interactions": 2,
        "num_elements": len(numbers),
        "hidden_irreps": o3.Irreps("8x0e"),
        "MLP_irreps": o3.Irreps("8x0e"),
        "atomic_energies": -np.arange(1.0, 1.0 + len(numbers)),
        "avg_num_neighbors": 26.0,
        "atomic_numbers": list(numbers),
        "correlation": 2,
        "gate": torch.nn.functional.silu,
        "radial_MLP": [16, 16],
        "atomic_inter_scale": 5.0,
        "atomic_inter_shift": 0.1,
    }
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(), quiet_import():
            torch.manual_seed(seed)
            torch.save(modules.ScaleShiftMACE(**(settings | options)), path)
    finally:
        torch.set_default_dtype(before)


def write_tiny_nequip(
    path: str | Path,
    numbers: tuple[int, ...] = (74,),
    seed: int = 0,
    allegro: bool = False,
    **options: Any,
) -> None:
    """Write a checkpoint of a small NequIP or Allegro model with random weights: exact arithmetic, no physics.

    NequIP: two layers, 4 scalars and 4 vectors; Allegro: one layer, 8 scalars, 2 tensors up to l = 1. Cutoff 5 Å.

    Args:
        path: File to write, named ``*.ckpt``.
        numbers: Atomic numbers it accepts.
        seed: Seed of the weights.
        allegro: Allegro in place of NequIP.
        options: Arguments of ``nequip.model.NequIPGNNModel`` or ``allegro.model.AllegroModel`` that differ from
            these.

    Raises:
        ImportError: nequip, or nequip-allegro for Allegro, is not installed.
    """
    from ase.data import chemical_symbols

    types = [chemical_symbols[z] for z in numbers]
    settings: dict[str, Any] = {
        "seed": seed,
        "model_dtype": "float64",
        "type_names": types,
        "r_max": 5.0,
        "l_max": 1,
        "parity": False,
        "avg_num_neighbors": 26.0,
        "per_type_energy_scales": 5.0,
        "per_type_energy_shifts": {name: -1.0 - k for k, name in enumerate(types)},
    }
    if allegro:
        settings |= {
            "_target_": "allegro.model.AllegroModel",
            "num_layers": 1,
            "num_scalar_features": 8,
            "num_tensor_features": 2,
            "scalar_embed_mlp_hidden_layers_width": 8,
            "allegro_mlp_hidden_layers_width": 8,
            "readout_mlp_hidden_layers_width": 8,
            "radial_chemical_embed": {
                "_target_": "allegro.nn.TwoBodyBesselScalarEmbed",
                "num_bessels": 6,
            },
        }
    else:
        settings |= {
            "_target_": "nequip.model.NequIPGNNModel",
            "num_layers": 2,
            "num_features": 4,
            "num_bessels": 6,
            "radial_mlp_width": 8,
        }
    _write_checkpoint(path, settings | options)


def _write_checkpoint(path: str | Path, settings: dict[str, Any]) -> None:
    """Write what nequip's trainer would before its first step."""
    import torch

    from msolve.potentials.undisturbed import undisturbed

    with undisturbed():
        import lightning
        from nequip.train import NequIPLightningModule
        from nequip.utils.global_state import set_global_state

        set_global_state()
        training = {"_target_": "nequip.train.NequIPLightningModule", "model": settings}
        module = NequIPLightningModule(
            model=settings,
            num_datasets={"train": 1, "val": 0, "test": 0},
            info_dict={"versions": {}, "training_module": training},
        )
        content = {
            "pytorch-lightning_version": lightning.__version__,
            "state_dict": module.state_dict(),
            "hyper_parameters": dict(module.hparams),
        }
        torch.save(content, path)


def write_tiny_sevennet(
    path: str | Path, numbers: tuple[int, ...] = (74,), seed: int = 0, **options: Any
) -> None:
    """Write a checkpoint of a small SevenNet model with random weights: exact arithmetic, no physics.

    Two layers, 4 scalars and 4 vectors, cutoff 5 Å.

    Args:
        path: File to write.
        numbers: Atomic numbers it accepts.
        seed: Seed of the weights.
        options: Settings of ``sevenn`` that differ from these.

    Raises:
        ImportError: sevenn is not installed.
    """
    import torch
    from ase.data import chemical_symbols

    from msolve.potentials.undisturbed import undisturbed

    with undisturbed():
        import sevenn
        from sevenn._const import DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG
        from sevenn.model_build import build_E3_equivariant_model

        config = {
            **DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG,
            "version": sevenn.__version__,
            "cutoff": 5.0,
            "channel": 4,
            "is_parity": False,
            "num_convolution_layer": 2,
            "weight_nn_hidden_neurons": [8],
            "conv_denominator": 26.0,
            "shift": [-1.0 - k for k in range(len(numbers))],
            "scale": [5.0] * len(numbers),
            "chemical_species": [chemical_symbols[z] for z in numbers],
            "_number_of_species": len(numbers),
            "_type_map": {z: k for k, z in enumerate(numbers)},
        } | options
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(seed)
        weights = build_E3_equivariant_model(dict(config)).state_dict()
        torch.save({"config": config, "model_state_dict": weights}, path)
