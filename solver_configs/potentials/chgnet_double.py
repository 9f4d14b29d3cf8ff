# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""CHGNet, whose package brings a trained model along, as an ASE calculator in double precision (chgnet 0.4.2)."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import torch


def chgnet() -> Any:
    """The model in double precision, but for the part that only counts elements.

    As its package runs it, in single precision, no lattice comes to rest to the digits that a run asks for.
    """
    from chgnet.graph import converter, crystalgraph
    from chgnet.model import model
    from chgnet.model.dynamics import CHGNetCalculator

    for module in (converter, crystalgraph, model):
        module.TORCH_DTYPE = torch.float64
    with contextlib.redirect_stdout(io.StringIO()):
        net = model.CHGNet.load(verbose=False, use_device="cpu").double()
        net.composition_model.float()
        return CHGNetCalculator(net, use_device="cpu", return_site_energies=True)
