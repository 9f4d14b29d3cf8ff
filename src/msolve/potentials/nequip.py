# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""NequIP and Allegro models of the packages nequip and allegro as site models.

The parts of the model are called one by one with edges of the owned atoms only. NequIP's layers
exchange features over a halo of one cutoff, below nequip's own hook for LAMMPS, whose exchange is
not twice differentiable; Allegro is strictly local. Tested with nequip 0.19.1 and nequip-allegro 0.8.3.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from msolve.errors import CaseError, UnsupportedError
from msolve.potentials.batches import BATCH
from msolve.potentials.staged import Data, StagedModel
from msolve.potentials.undisturbed import undisturbed

COMPILED = (".nequip.pt2", ".nequip.pth", ".pt2", ".pth")
LAYER = "ConvNetLayer"
"""The part that passes messages; features are exchanged before each but the first."""
LOCAL = frozenset(
    {
        "NodeTypeEmbed", "SphericalHarmonicEdgeAttrs", "EdgeLengthNormalizer",
        "BesselEdgeLengthEncoding", "AddRadialCutoffToData", "ApplyFactor", "ScalarMLP",
        "AtomwiseLinear", "PerTypeScaleShift", "ZBL", "LennardJones", "SimpleLennardJones",
        "ProductTypeEmbedding", "TwoBodySplineScalarEmbed", "TwoBodySphericalHarmonicTensorEmbed",
        "Allegro_Module", "EdgewiseReduce",
    }
)  # fmt: skip
"""Parts that only look at an atom and its own edges."""
FEATURES, ENERGY = "node_features", "atomic_energy"


class NequIP(StagedModel):
    """NequIP or Allegro site model; see :class:`msolve.potentials.staged.StagedModel`.

    Weights and coupling coefficients of a model trained in float32 stay rounded to that, so its energies are
    invariant under rotation only to such a rounding.

    Args:
        module: A ``GraphModel`` of nequip. It is converted and moved to the device in place.
        name: What to call it.
        device: Device of torch, ``"cpu"`` or ``"cuda:N"``.
        dtype: Precision of the network. Edge vectors and sums over atoms are in float64 all the same.

    Raises:
        UnsupportedError: The model has parts or inputs that are not known here, or its types are no elements.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        name: str = "NequIP",
        device: str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        net: Any = module
        parts = _parts(net, name)
        layers = [k for k, part in enumerate(parts) if _sort(part) == LAYER]
        self._net = net
        # What describes atoms and edges; then what comes of them, cut where features are exchanged.
        self._edges = parts[: layers[0]] if layers else parts
        cuts = [*layers, len(parts)]
        stages = [parts[a:b] for a, b in pairwise(cuts)] or [[]]
        elements = _elements(list(net.type_names), name)
        _in_precision(net.to(device=device).eval().requires_grad_(False), dtype)
        super().__init__(
            name=name,
            device=device,
            dtype=dtype,
            cutoff=float(net.metadata["r_max"]),
            elements=elements,
            stages=stages,
            features=FEATURES,
            energy=ENERGY,
            batch=BATCH[torch.device(device).type],
        )

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The trained parameters."""
        parameters: Iterator[torch.nn.Parameter] = self._net.parameters()
        return parameters

    def _described(self, vec: torch.Tensor, pair: torch.Tensor, types: torch.Tensor) -> Data:
        data = {
            "pos": vec.new_zeros(len(types), 3),  # only its length is looked at
            "edge_vectors": vec.contiguous(),
            "edge_index": pair.contiguous(),  # nequip takes views of both
            "atom_types": types,
        }
        for part in self._edges:
            data = part(data)
        return data


def load_nequip(
    path: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float64
) -> NequIP:
    """Load a packaged model (``*.nequip.zip``) or a checkpoint (``*.ckpt``) by nequip's own loader.

    Args:
        path: The file.
        device: Device of torch, ``"cpu"`` or ``"cuda:N"``.
        dtype: Precision of the network.

    Raises:
        CaseError: The file cannot be read or holds no model.
        UnsupportedError: nequip is missing, the file holds a compiled model, several models, or one of a sort
            that cannot be used.

    Warning:
        Both sorts of file are pickles: loading one runs code that it contains.
    """
    file = Path(path)
    if not file.is_file():
        raise CaseError(["cannot be read: no such file"], source=str(file))
    if file.name.endswith(COMPILED):
        raise UnsupportedError(
            f"{file.name} is a compiled model, whose site energies cannot be differentiated and whose layers cannot "
            "exchange features between ranks; give the .nequip.zip package or the .ckpt checkpoint it was made from, "
            "or run it as a black box: kind: torchsim (docs/howto-potential.md)"
        )
    if not file.name.endswith((".nequip.zip", ".ckpt")):
        raise CaseError(
            [
                "is named neither *.nequip.zip nor *.ckpt; give the package or checkpoint of nequip under such a name"
            ],
            source=str(file),
        )
    with undisturbed():
        models = _load(file)
    if len(models) > 1:
        raise UnsupportedError(
            f"{file.name} holds the models {', '.join(models)}; package one of them by itself"
        )
    (module,) = models.values()
    return NequIP(module, file.name, device, dtype)


def _load(file: Path) -> dict[str, torch.nn.Module]:
    try:
        from nequip.model.saved_models import load_saved_model
        from nequip.utils.global_state import set_global_state
    except ImportError as error:
        raise UnsupportedError(
            f"potential.kind = nequip: needs the package nequip, which cannot be imported ({error}); "
            "install msolve[nequip], in an environment of its own (MSOLVE_MODELS=nequip environment/run ...)"
        ) from error
    from hydra.errors import HydraException

    set_global_state()
    try:
        return dict(load_saved_model(file, model_key=None).items())
    except (
        pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, AttributeError, ImportError,
        ValueError, TypeError, AssertionError, HydraException,
    ) as error:  # fmt: skip
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CaseError(
            [
                f"is no model file of nequip, or of another version ({reason}); give the .nequip.zip package or the "
                ".ckpt checkpoint of its trainer"
            ],
            source=str(file),
        ) from error


def _sort(part: torch.nn.Module) -> str:
    # by name, because a package brings its own copy of each class
    return type(part).__name__


def _parts(net: Any, name: str) -> list[torch.nn.Module]:
    """The parts of a model that lead to site energies, in order."""
    energy = getattr(net.model, "func", net.model)  # without the layer that takes derivatives
    parts: list[torch.nn.Module] = []

    def add(part: Any) -> None:
        if _sort(part) == "SequentialGraphNetwork":
            for child in part:
                add(child)
        elif not (_sort(part) == "AtomwiseReduce" and part.out_field == "total_energy"):
            parts.append(part)

    add(energy)
    unknown = sorted({_sort(part) for part in parts} - LOCAL - {LAYER})
    if unknown:
        raise UnsupportedError(
            f"{name} has the parts {', '.join(unknown)}, of which it is not known here how far they reach; "
            "NequIP and Allegro models as built by nequip and allegro can be used"
        )
    if any(getattr(part, "do_categorical_graph_field_embed", False) for part in parts):
        raise UnsupportedError(
            f"{name} needs inputs other than positions and elements (charge, spin, ...); train it without them"
        )
    return parts


def _elements(types: list[str], name: str) -> list[int]:
    from ase.data import atomic_numbers

    strange = [word for word in types if atomic_numbers.get(word, 0) == 0]
    if strange:
        raise UnsupportedError(
            f"{name} has the types {', '.join(strange)}, which are no chemical symbols; train it with elements as types"
        )
    return [atomic_numbers[word] for word in types]


def _in_precision(net: torch.nn.Module, dtype: torch.dtype) -> None:
    """Convert weights, and what the parts remember of the precision they were made in."""
    net.to(dtype)
    for part in net.modules():
        if _sort(part) == "PerTypeScaleShift":
            part.double()  # always in float64, whatever the network
            continue
        for key, value in vars(part).items():
            if isinstance(value, torch.dtype):
                setattr(part, key, dtype)
