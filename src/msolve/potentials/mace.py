# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""MACE models of mace-torch as site models, with a halo of one cutoff.

The layers of the model are called one by one, with edges of the owned atoms only, and our own
feature exchange between them. Neither the model's LAMMPS hook nor its own forces are used: the
hook's exchange is not twice differentiable. Tested with mace-torch 0.3.16.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import logging
import os
import pickle
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from msolve.errors import CaseError, UnsupportedError
from msolve.potentials.protocol import FeatureHalo

SORTS = ("MACE", "ScaleShiftMACE")


class MACE:
    """MACE site model; see :class:`msolve.potentials.protocol.SiteModel`.

    Args:
        module: A ``MACE`` or ``ScaleShiftMACE`` module of mace-torch with one head. It is converted
            to float64 and moved to the device in place.
        name: What to call it.
        device: Device of torch, ``"cpu"`` or ``"cuda:N"``.

    Raises:
        UnsupportedError: The module is of another sort, has several heads, or needs inputs other
            than positions and elements.
    """

    exchange = True
    gives = frozenset({"energy", "gradient", "site_energy", "hessian_product"})

    def __init__(self, module: torch.nn.Module, name: str = "MACE", device: str = "cpu") -> None:
        _check_sort(module, name)
        net: Any = module.to(device=device, dtype=torch.float64).eval().requires_grad_(False)
        elements = [int(z) for z in net.atomic_numbers]
        species = torch.full((max(elements) + 1,), -1, dtype=torch.int64)
        species[elements] = torch.arange(len(elements))
        self.name = name
        self.device = device
        self.cutoff = float(net.r_max)
        self.layers = int(net.num_interactions)
        self.numbers = frozenset(elements)
        self._net = net
        self._species = species.to(device)
        self._first_element = elements[0]

    @property
    def reach(self) -> float:
        """Distance beyond which no atom changes a site energy, all layers counted [Å]."""
        return self.cutoff * self.layers

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
            Collective, as are all backward passes.
        """
        if len(vec) == 0:
            vec, pair, numbers = self._with_bystander(vec, pair, numbers)
        with _as_written(vec.device):
            return self._layers_in_turn(vec, pair, numbers, n_owned, halo)

    def _layers_in_turn(
        self,
        vec: torch.Tensor,
        pair: torch.Tensor,
        numbers: torch.Tensor,
        n_owned: int,
        halo: FeatureHalo,
    ) -> torch.Tensor:
        net = self._net
        # At least one row throughout, because e3nn cannot reshape tensors without rows.
        n_rows = max(n_owned, 1)
        elements = torch.nn.functional.one_hot(self._species[numbers], len(self.numbers))
        elements = elements.to(vec.dtype)
        # mace sums messages at edge_index[1], and its vectors point there.
        edge_index = pair.flip(0)
        directions = net.spherical_harmonics(-vec)
        length = vec.square().sum(1, keepdim=True).sqrt()
        radial, cutoff = net.radial_embedding(length, elements, edge_index, net.atomic_numbers)
        head = torch.zeros(n_rows, dtype=torch.int64, device=vec.device)
        features = net.node_embedding(elements)
        by_layer: list[torch.Tensor] = []
        for interaction, product in zip(net.interactions, net.products, strict=True):
            if by_layer:
                features = _with_rows(halo.forward(features[:n_owned]), len(numbers))
            message, skip = interaction(
                node_attrs=elements,
                node_feats=features,
                edge_attrs=directions,
                edge_feats=radial,
                edge_index=edge_index,
                cutoff=cutoff,
                first_layer=not by_layer,
            )
            features = product(
                node_feats=message[:n_rows],
                sc=None if skip is None else skip[:n_rows],
                node_attrs=elements[:n_rows],
            )
            by_layer.append(features)
        read = by_layer[-1:] if len(net.readouts) == 1 else by_layer
        parts = [
            readout(layer, head).reshape(-1)
            for readout, layer in zip(net.readouts, read, strict=True)
        ]
        if hasattr(net, "pair_repulsion_fn"):
            repulsion = net.pair_repulsion_fn(length, elements, edge_index, net.atomic_numbers)
            parts.append(repulsion[:n_rows])
        energy = torch.stack(parts).sum(0)
        if hasattr(net, "scale_shift"):
            energy = net.scale_shift(energy, head)
        isolated = net.atomic_energies_fn(elements[:n_rows]).reshape(-1)
        return (isolated + energy)[:n_owned]

    def _with_bystander(
        self, vec: torch.Tensor, pair: torch.Tensor, numbers: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Add an atom that only sees itself, so that a rank without edges builds the same graph."""
        last = len(numbers)
        apart = vec.new_tensor([[0.5 * self.cutoff, 0.0, 0.0]])
        return (
            torch.cat([vec, apart]),
            torch.cat([pair, pair.new_tensor([[last], [last]])], dim=1),
            torch.cat([numbers, numbers.new_tensor([self._first_element])]),
        )


def load_mace(path: str | Path, device: str = "cpu") -> MACE:
    """Load a model file written by mace-torch.

    Args:
        path: The file, as saved by its trainer (``*.model``).
        device: Device of torch, ``"cpu"`` or ``"cuda:N"``.

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
            _import_modules()  # the pickle refers to them
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
    return MACE(module, file.name, device)


def _check_sort(module: torch.nn.Module, name: str) -> None:
    sort = getattr(module, "original_name", type(module).__name__)
    if isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedError(
            f"{name} is a compiled {sort}; give the model file it was made from instead"
        )
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


def _with_rows(rows: torch.Tensor, n: int) -> torch.Tensor:
    missing = n - len(rows)
    if missing == 0:
        return rows
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])


def _as_written(device: torch.device) -> AbstractContextManager[None]:
    """Keep torch from optimising e3nn's scripts anew for each shape: half a second, no gain on a CPU (torch 2.6)."""
    if device.type != "cpu":
        return nullcontext()
    context: AbstractContextManager[None] = torch.jit.optimized_execution(False)
    return context


def _import_modules() -> None:
    """Import ``mace.modules``, without the training program that its utilities bring along.

    ``mace.tools`` imports the trainer (torchmetrics, pandas, matplotlib), and that torch's compiler: two thirds of
    the time. Here it runs when somebody asks for what only it has.
    """
    spec = importlib.util.find_spec("mace.tools")
    if spec is None or "mace.tools" in sys.modules:
        importlib.import_module("mace.modules")
        return
    tools = importlib.util.module_from_spec(spec)
    tools.__class__ = _Tools
    sys.modules["mace.tools"] = sys.modules["mace"].tools = tools  # type: ignore[attr-defined]
    compiler = "torch._dynamo"
    if compiler not in sys.modules:
        sys.modules[compiler] = None  # type: ignore[assignment]  # mace does without
    try:
        importlib.import_module("mace.modules")
    finally:
        if sys.modules.get(compiler, tools) is None:
            del sys.modules[compiler]


class _Tools(ModuleType):
    """The package ``mace.tools`` before its own code has run."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        small = importlib.import_module("mace.tools.torch_tools")  # all that mace.modules asks for
        if hasattr(small, name):
            return getattr(small, name)
        self.__class__ = ModuleType  # type: ignore[assignment]
        assert self.__spec__ is not None and self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


@contextmanager
def quiet_import() -> Iterator[None]:
    """Import mace and e3nn, and read their pickles, without a change to the process.

    e3nn 0.4.4 needs torch's safe loading switched off by an environment variable, which mace sets
    for good; both log to the root logger, which would install a handler there; mace prints.
    """
    variable = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    root, silent = logging.getLogger(), logging.NullHandler()
    root.addHandler(silent)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(silent)
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before
