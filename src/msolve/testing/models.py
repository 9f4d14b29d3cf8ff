# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A small model to test with."""

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
