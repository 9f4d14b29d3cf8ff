# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""MACE models of mace-torch as site models, with a halo of one cutoff.

The layers of the model are called one by one, with edges of the owned atoms only, and our own
feature exchange between them. Neither the model's LAMMPS hook nor its own forces are used: the
hook's exchange is not twice differentiable. Models compiled to TorchScript have the same layers, which
torch differentiates twice as it does eager ones. Tested with mace-torch 0.3.16.
"""

from __future__ import annotations

import copy
import pickle
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from msolve.errors import CaseError, UnsupportedError
from msolve.potentials.batches import BATCH, Batch, with_rows
from msolve.potentials.mace_import import import_modules, quiet_import
from msolve.potentials.protocol import FeatureHalo
from msolve.potentials.recompute import recomputed
from msolve.potentials.staged import LayeredModel

SORTS = ("MACE", "ScaleShiftMACE")


class Seen(NamedTuple):
    """Edges as every layer sees them: ends, spherical harmonics, radial functions and cutoff."""

    edge_index: torch.Tensor
    directions: torch.Tensor
    radial: torch.Tensor
    cutoff: torch.Tensor | None


class MACE(LayeredModel):
    """MACE site model; see :class:`msolve.potentials.staged.LayeredModel`.

    Args:
        module: A ``MACE`` or ``ScaleShiftMACE`` module of mace-torch with one head, eager or compiled, or a
            compiled one wrapped for LAMMPS. It is converted and moved to the device in place.
        name: What to call it.
        device: Device of torch, ``"cpu"`` or ``"cuda:N"``.
        dtype: Precision of the network. Positions, edge vectors and sums are in float64 all the same.

    Raises:
        UnsupportedError: The module is of another sort, has several heads, or needs inputs other
            than positions and elements.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        name: str = "MACE",
        device: str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        module = _unwrapped(module)
        _check_sort(module, name)
        net: Any = module.to(device=device, dtype=dtype).eval()
        for weights in net.parameters():  # compiled modules cannot be told as a whole
            weights.requires_grad_(False)
        super().__init__(
            name=name,
            device=device,
            dtype=dtype,
            cutoff=float(net.r_max),
            elements=[int(z) for z in net.atomic_numbers],
            layers=int(net.num_interactions),
            batch=BATCH[torch.device(device).type],
        )
        self._net = net
        # Compiled lists of modules have no items and no length.
        self._interactions, self._products, self._readouts = (
            tuple(part.children()) for part in (net.interactions, net.products, net.readouts)
        )

    @property
    def parameters(self) -> NDArray[np.float64]:
        """Weights of the linear layers that end each readout: the energy is linear in them.

        Raises:
            UnsupportedError: A readout ends otherwise.
        """
        weights = [layer.weight for layer in self._last_layers()]
        return np.concatenate([w.detach().cpu().numpy().astype(float).ravel() for w in weights])

    def with_parameters(self, values: NDArray[np.float64], name: str) -> MACE:
        """The same network with other weights in these layers; all else is shared, not copied."""
        other, start = copy.copy(self), 0
        other._readouts = copy.deepcopy(self._readouts)
        for layer in other._last_layers():
            weight = layer.weight
            part = torch.as_tensor(values[start : start + weight.numel()])
            weight.data.copy_(part.reshape(weight.shape))
            start += weight.numel()
        other.name = name
        return other

    def _last_layers(self) -> list[Any]:
        layers = [getattr(one, "linear_2", getattr(one, "linear", None)) for one in self._readouts]
        if any(not hasattr(layer, "weight") for layer in layers):
            raise UnsupportedError(f"{self.name} has readouts whose last layer is not known here")
        return layers

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
            Collective with ``exchange``, as are all backward passes.
        """
        types = self._species[numbers]
        if len(vec) == 0:
            vec, pair, types = self._with_bystander(vec, pair, types)
        with as_written(vec.device):
            return self._layers_in_turn(vec.to(self.dtype), pair, types, n_owned, halo)

    def _layers_in_turn(
        self,
        vec: torch.Tensor,
        pair: torch.Tensor,
        types: torch.Tensor,
        n_owned: int,
        halo: FeatureHalo,
    ) -> torch.Tensor:
        net = self._net
        # At least one row throughout, because e3nn cannot reshape tensors without rows.
        n_rows = max(n_owned, 1)
        elements = torch.nn.functional.one_hot(types, len(self.numbers))
        elements = elements.to(vec.dtype)
        batches = [Batch.whole(pair, n_rows, len(types))]
        if n_rows > self.batch:
            batches = Batch.cut(pair, n_rows, self.batch)
        features = net.node_embedding(elements)
        # What no layer changes is computed once; batches compute it again rather than keep it.
        seen = self._seen(batches[0], vec, elements) if len(batches) == 1 else None
        by_layer: list[torch.Tensor] = []
        for layer in range(self.layers):
            if by_layer:
                features = with_rows(halo.forward(features[:n_owned]), len(types))
            features = self._layer(layer, features, vec, elements, batches, seen)
            by_layer.append(features)
        head = torch.zeros(n_rows, dtype=torch.int64, device=vec.device)
        read = by_layer[-1:] if len(self._readouts) == 1 else by_layer
        parts = [
            readout(features, head).reshape(-1)
            for readout, features in zip(self._readouts, read, strict=True)
        ]
        if hasattr(net, "pair_repulsion_fn"):
            length = vec.square().sum(1, keepdim=True).sqrt()
            index = pair.flip(0)
            repulsion = net.pair_repulsion_fn(length, elements, index, net.atomic_numbers)
            parts.append(repulsion[:n_rows])
        energy = torch.stack(parts).sum(0)
        if hasattr(net, "scale_shift"):
            energy = net.scale_shift(energy, head)
        isolated = net.atomic_energies_fn(elements[:n_rows]).reshape(-1)
        return (isolated.to(torch.float64) + energy.to(torch.float64))[:n_owned]

    def _layer(
        self,
        layer: int,
        features: torch.Tensor,
        vec: torch.Tensor,
        elements: torch.Tensor,
        batches: list[Batch],
        seen: Seen | None,
    ) -> torch.Tensor:
        """Features of all sites after a layer, from those of all local atoms before it."""
        if seen is not None:
            return self._sites(layer, batches[0], features, elements, seen)
        parts = [
            recomputed(
                partial(self._batch, layer, batch),
                features.index_select(0, batch.rows),
                vec[batch.edges],
                elements.index_select(0, batch.rows),
            )
            for batch in batches
        ]
        return torch.cat(parts)

    def _seen(self, batch: Batch, vec: torch.Tensor, elements: torch.Tensor) -> Seen:
        net = self._net
        # mace sums messages at edge_index[1], and its vectors point there.
        edge_index = batch.pair.flip(0)
        directions = net.spherical_harmonics(-vec)
        length = vec.square().sum(1, keepdim=True).sqrt()
        radial, cutoff = net.radial_embedding(length, elements, edge_index, net.atomic_numbers)
        return Seen(edge_index, directions, radial, cutoff)

    def _batch(
        self,
        layer: int,
        batch: Batch,
        features: torch.Tensor,
        vec: torch.Tensor,
        elements: torch.Tensor,
    ) -> torch.Tensor:
        seen = self._seen(batch, vec, elements)
        return self._sites(layer, batch, features, elements, seen)

    def _sites(
        self,
        layer: int,
        batch: Batch,
        features: torch.Tensor,
        elements: torch.Tensor,
        seen: Seen,
    ) -> torch.Tensor:
        message, skip = self._interactions[layer](
            node_attrs=elements,
            node_feats=features,
            edge_attrs=seen.directions,
            edge_feats=seen.radial,
            edge_index=seen.edge_index,
            cutoff=seen.cutoff,
            first_layer=layer == 0,
        )
        found: torch.Tensor = self._products[layer](
            node_feats=message[: batch.n_sites],
            sc=None if skip is None else skip[: batch.n_sites],
            node_attrs=elements[: batch.n_sites],
        )
        return found


def load_mace(path: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float64) -> MACE:
    """Load a model file written by mace-torch.

    Args:
        path: The file, as saved by its trainer (``*.model``, ``*_compiled.model``) or by
            ``mace_create_lammps_model`` (``*-lammps.pt``).
        device: Device of torch, ``"cpu"`` or ``"cuda:N"``.
        dtype: Precision of the network.

    Raises:
        CaseError: The file cannot be read or holds no model.
        UnsupportedError: mace-torch is missing, or the model is of a sort that cannot be used.

    Warning:
        The file is a pickle: loading it runs code that it contains.
    """
    file = Path(path)
    if not file.is_file():
        raise CaseError(["cannot be read: no such file"], source=str(file))
    with quiet_import():
        try:
            import_modules()  # the pickle refers to them
        except ImportError as error:
            raise UnsupportedError(
                f"potential.kind = mace: needs the package mace-torch, which cannot be imported "
                f"({error}); install msolve[mace]"
            ) from error
        try:
            module = torch.load(file, map_location="cpu", weights_only=False)
        except (
            pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError,
            AttributeError, ImportError, ValueError, TypeError,
        ) as error:  # fmt: skip
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CaseError(
                [
                    f"is no model file of mace-torch, or of another version ({reason}); give the .model file that its "
                    "trainer wrote"
                ],
                source=str(file),
            ) from error
    if not isinstance(module, torch.nn.Module):
        raise CaseError(
            [f"holds a {type(module).__name__}, not a model; give the .model file of the trainer"],
            source=str(file),
        )
    return MACE(module, file.name, device, dtype)


def _sort(module: torch.nn.Module) -> str:
    return str(getattr(module, "original_name", type(module).__name__))


def _unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """The model inside what ``mace_create_lammps_model`` makes."""
    return module.model if _sort(module) == "LAMMPS_MACE" else module


def _check_sort(module: torch.nn.Module, name: str) -> None:
    sort = _sort(module)
    if sort not in SORTS:
        raise UnsupportedError(
            f"{name} is a {sort}; of mace's models {' and '.join(SORTS)} can be used"
        )
    heads = list(getattr(module, "heads", None) or ["Default"])
    if len(heads) > 1:
        raise UnsupportedError(
            f"{name} has the heads {', '.join(heads)}; take one out with mace_select_head first"
        )
    if hasattr(module, "joint_embedding"):
        raise UnsupportedError(
            f"{name} needs inputs other than positions and elements (charge, spin, ...); "
            "train it without them"
        )


def as_written(device: torch.device) -> AbstractContextManager[None]:
    """Keep torch from optimising e3nn's scripts anew for each shape: half a second, no gain on a CPU (torch 2.6)."""
    if device.type != "cpu":
        return nullcontext()
    context: AbstractContextManager[None] = torch.jit.optimized_execution(False)
    return context
