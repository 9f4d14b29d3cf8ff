# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A MatterSim model behind torch-sim's ModelInterface in double precision (mattersim 1.2.3, torch-sim 0.5.2)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch


def mattersim(file: str | Path, device: str | torch.device = "cpu") -> Any:
    """The model of a checkpoint of mattersim's trainer.

    The package makes its graphs in single precision and converts to it within the network, and in that no lattice comes
    to rest to the digits that a run asks for.
    """
    from mattersim.datasets.utils.convertor import GraphConvertor
    from mattersim.forcefield.potential import Potential, batch_to_dict
    from torch_sim.models import mattersim as wrapper

    class InDouble(GraphConvertor):
        def convert(self, atoms: Any, *labels: Any, **known: Any) -> Any:
            graph = super().convert(atoms, *labels, **known)  # and wraps the atoms into their cell
            graph.atom_pos = torch.tensor(atoms.positions)
            graph.pbc_offsets = graph.pbc_offsets.double()
            graph.cell = torch.tensor(atoms.cell.array)[None]
            return graph

    class Model(wrapper.MatterSimModel):
        def forward(self, state: Any) -> Any:
            with patch.object(torch.Tensor, "float", torch.Tensor.double):
                return super().forward(state)

    # torch-sim does not say where to, and then it is the first GPU.
    wrapper.batch_to_dict = partial(batch_to_dict, device=str(device))
    net = Potential.from_checkpoint(str(file), load_training_state=False, device=str(device))
    model = Model(net, device=device, dtype=torch.float64)
    old = model.convertor
    model.convertor = InDouble(old.model_type, old.twobody_cutoff, True, old.threebody_cutoff)
    return model
