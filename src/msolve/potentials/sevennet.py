# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""SevenNet models of the package sevenn as site models, with a halo of one cutoff.

The parts of the model are called one by one with edges of the owned atoms only and our own feature exchange
between its layers, below sevenn's hook for LAMMPS, which works in float32 and whose exchange is not twice
differentiable. The package brings trained models of 89 elements, which are found by name. Tested with sevenn 0.13.0.
"""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from msolve.errors import CaseError, UnsupportedError
from msolve.potentials.loading import BROUGHT
from msolve.potentials.mace import as_written
from msolve.potentials.protocol import FeatureHalo
from msolve.potentials.staged import Data, StagedModel
from msolve.potentials.undisturbed import undisturbed

BATCH = {"cpu": 64, "cuda": 1024}
"""Sites computed at once: 8 megabytes each with 7net-0."""

EMBEDDING = "OnehotEmbedding"
DERIVED = frozenset({"AtomReduce", "ForceStressOutput", "ForceStressOutputFromEdge"})
"""Parts after the site energies."""
LOCAL = frozenset(
    {
        "EdgeEmbedding", EMBEDDING, "IrrepsLinear", "FCN_e3nn", "SelfConnectionIntro", "SelfConnectionLinearIntro",
        "SelfConnectionOutro", "IrrepsConvolution", "EquivariantGate", "Rescale", "SpeciesWiseRescale",
    }
)  # fmt: skip
"""Parts that only look at an atom, its own edges and the features at their ends."""
FEATURES, ENERGY = "x", "atomic_energy"


class SevenNet(StagedModel):
    """SevenNet site model; see :class:`msolve.potentials.staged.StagedModel`.

    Weights and coupling coefficients of a model trained in float32 stay rounded to that, so its energies are
    invariant under rotation only to such a rounding.

    Args:
        module: An ``AtomGraphSequential`` of sevenn. It is converted and moved to the device in place.
        name: What to call it.
        device: Device of torch, ``"cpu"`` or ``"cuda:N"``.
        dtype: Precision of the network. Edge vectors and sums over atoms are in float64 all the same.

    Raises:
        UnsupportedError: The model has parts that are not known here, or holds several fidelities.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        name: str = "SevenNet",
        device: str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        net: Any = module
        parts = _parts(net, name)
        elements = sorted(net.type_map, key=net.type_map.get)
        net.set_is_batch_data(False)
        net.to(device=device, dtype=dtype).eval().requires_grad_(False)
        # What describes atoms and edges; then a stage for each layer, cut before its first part.
        first = [k for k, (key, _) in enumerate(parts) if key.endswith("_self_connection_intro")]
        self._edges = [part for _, part in parts[: first[0]]]
        cuts = [*first, len(parts)]
        stages = [[part for _, part in parts[a:b]] for a, b in pairwise(cuts)]
        super().__init__(
            name=name,
            device=device,
            dtype=dtype,
            cutoff=float(net.cutoff),
            elements=elements,
            stages=stages,
            features=FEATURES,
            energy=ENERGY,
            batch=BATCH[torch.device(device).type],
        )

    def site_energy(
        self,
        vec: torch.Tensor,
        pair: torch.Tensor,
        numbers: torch.Tensor,
        n_owned: int,
        halo: FeatureHalo,
    ) -> torch.Tensor:
        """Energies of the owned sites ``(n_owned,)`` [eV]; arguments as in the protocol.

        Note:
            Collective for a model of several layers, as are then all backward passes.
        """
        with as_written(vec.device):
            return super().site_energy(vec, pair, numbers, n_owned, halo)

    def _described(self, vec: torch.Tensor, pair: torch.Tensor, types: torch.Tensor) -> Data:
        data = {"edge_vec": vec.to(self.dtype), "edge_index": pair, FEATURES: types}
        for part in self._edges:
            data = part(data)
            if _sort(part) == EMBEDDING:  # which is in float32 whatever the network
                ones = data[FEATURES].to(self.dtype)
                data |= {FEATURES: ones, "node_attr": ones}
        return data


def load_sevennet(
    path: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float64
) -> SevenNet:
    """Load a checkpoint of sevenn's trainer (``*.pth``), or a model that the package brings along.

    Args:
        path: The file, or a name among ``loading.BROUGHT``.
        device: Device of torch, ``"cpu"`` or ``"cuda:N"``.
        dtype: Precision of the network.

    Raises:
        CaseError: The file cannot be read or holds no model.
        UnsupportedError: sevenn is missing, or the model is of a sort that cannot be used.

    Warning:
        The file is a pickle: loading it runs code that it contains.
    """
    file = Path(path)
    brought = file.name in BROUGHT and not file.exists()
    if not brought and not file.is_file():
        raise CaseError(["cannot be read: no such file"], source=str(file))
    with undisturbed():
        try:
            from sevenn.checkpoint import SevenNetCheckpoint
            from sevenn.util import pretrained_name_to_path
        except ImportError as error:
            raise UnsupportedError(
                f"potential.kind = sevennet: needs the package sevenn, which cannot be imported ({error}); "
                "install msolve[sevennet], in an environment of its own (MSOLVE_MODELS=nequip environment/run ...)"
            ) from error
        if brought:
            file = Path(pretrained_name_to_path(file.name))
        try:
            checkpoint = SevenNetCheckpoint(file)
            # It compares coupling coefficients that it builds anew with the stored ones, in the default precision.
            stored = {weights.dtype for weights in checkpoint.model_state_dict.values()}
            torch.set_default_dtype(torch.float64 if torch.float64 in stored else torch.float32)
            module = checkpoint.build_model()
        except (
            pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, AttributeError, ImportError,
            ValueError, TypeError, AssertionError,
        ) as error:  # fmt: skip
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CaseError(
                [
                    f"is no checkpoint of sevenn, or of another version ({reason}); give the .pth file that its "
                    "trainer wrote"
                ],
                source=str(file),
            ) from error
    return SevenNet(module, Path(path).name, device, dtype)


def _sort(part: torch.nn.Module) -> str:
    return type(part).__name__


def _parts(net: Any, name: str) -> list[tuple[str, torch.nn.Module]]:
    """The parts of a model that lead to site energies, by name and in order."""
    if net.modal_map:
        raise UnsupportedError(
            f"{name} holds several fidelities ({', '.join(net.modal_map)}), of which none can be chosen here; "
            "take a model of one"
        )
    parts = [(key, part) for key, part in net.named_children() if _sort(part) not in DERIVED]
    unknown = sorted({_sort(part) for _, part in parts} - LOCAL)
    if unknown:
        raise UnsupportedError(
            f"{name} has the parts {', '.join(unknown)}, of which it is not known here how far they reach; "
            "models as sevenn builds them by default can be used"
        )
    return parts
