# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Any model of torch-sim's ``ModelInterface`` as an engine of forces: a batch of periodic systems at a time.

The way in for models whose package, or torch-sim itself, wraps them in that interface (MACE, SevenNet, NequIP,
Allegro, ORB, MatterSim, fairchem). eV and Å on both sides. Tested with torch-sim 0.5.2.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from msolve.errors import CaseError, ConvergenceError, UnsupportedError
from msolve.potentials.blackbox import BlackBox
from msolve.potentials.calculator import box_around
from msolve.potentials.mace_import import quiet_import
from msolve.potentials.named import found_by_name, made_by_name
from msolve.potentials.protocol import ClusterForces
from msolve.potentials.shortage import enough_memory

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

ATOMS = 2000
"""Atoms of small crystals that are handed over at once."""

PRECISIONS = {"float64": torch.float64, "float32": torch.float32}


def torchsim_model(
    where: str,
    arguments: Mapping[str, Any],
    numbers: Sequence[int],
    cutoff: float,
    folder: Path = Path(),
    device: str = "cpu",
    precision: str = "float64",
) -> BlackBox:
    """A model by name.

    Args:
        where: ``module:name``, or ``file.py:name`` relative to ``folder``; the name is that of a class or
            function that returns a ``ModelInterface``.
        arguments: What it is called with; where it takes ``device`` and ``dtype``, these are added.
        numbers: Atomic numbers it is used for.
        cutoff: Half the range of its forces [Å].
        folder: Where relative file names start from.
        device: ``"cpu"`` or ``"cuda:N"``.
        precision: ``"float64"`` or ``"float32"``.

    Raises:
        CaseError: There is no such module, file or name, it does not take the arguments, or what it makes
            is no ``ModelInterface`` that computes forces.
        UnsupportedError: torch-sim is not installed.
    """
    _interface()
    key = "potential.model"
    with quiet_import():
        make = found_by_name(where, folder, key)
    given = dict(arguments)
    with contextlib.suppress(TypeError, ValueError):  # what has no signature is called as it is
        takes = inspect.signature(make).parameters
        ours = {"device": torch.device(device), "dtype": PRECISIONS[precision]}
        given = {name: value for name, value in ours.items() if name in takes} | given
    with quiet_import():
        model = made_by_name(where, given, folder, key)
    return wrap_torchsim(model, where.rpartition(":")[2], numbers, cutoff)


def wrap_torchsim(model: Any, name: str, numbers: Sequence[int], cutoff: float) -> BlackBox:
    """A live model; arguments as for :func:`torchsim_model`."""
    if not isinstance(model, _interface()):
        raise CaseError(
            [
                f"potential.model = {name}: makes a {type(model).__name__}, no ModelInterface of torch-sim"
            ]
        )
    if not model.compute_forces:
        raise CaseError(
            [f"potential.model = {name}: does not compute forces; compute_forces: true"]
        )
    gives = {"energy", "gradient", "site_energy"}
    gives |= {"virial"} if model.compute_stress else set()
    return BlackBox(
        name=name,
        engine=TorchSimEngine(model, name, cutoff),
        numbers=frozenset(numbers),
        cutoff=cutoff,
        reach=2 * cutoff,
        gives=frozenset(gives),
    )


class TorchSimEngine:
    """Forces from a ``ModelInterface``; an ``Engine``.

    Open axes are made periodic with more vacuum than the model sees across: few models know mixed boundaries.

    Args:
        model: The model.
        name: What to call it in messages.
        cutoff: Half the range of its forces [Å].
    """

    def __init__(self, model: Any, name: str, cutoff: float) -> None:
        self.model, self.name, self.cutoff = model, name, cutoff

    def cluster(
        self, positions: Array, numbers: IntArray, cell: Array, periodic: NDArray[np.bool_]
    ) -> ClusterForces:
        """See ``Engine``."""
        box = box_around(positions, cell, periodic, 2 * self.cutoff)
        energy, gradient, shares, _ = self._asked(positions[None], numbers, box[None])
        return ClusterForces(float(energy[0]), gradient[0], None if shares is None else shares[0])

    def crystals(
        self, cells: Array, places: Array, numbers: IntArray
    ) -> tuple[Array, Array, Array | None]:
        """See ``Engine``."""
        energy, gradient = np.empty(len(cells)), np.empty((len(cells), len(numbers), 3))
        virial = np.empty((len(cells), 3, 3)) if self.model.compute_stress else None
        batch = max(1, ATOMS // len(numbers))
        for first in range(0, len(cells), batch):
            part = slice(first, first + batch)
            x = places[part] @ cells[part]
            energy[part], gradient[part], _, stress = self._asked(x, numbers, cells[part])
            if virial is not None:
                volume = np.abs(np.linalg.det(cells[part]))
                virial[part] = stress * volume[:, None, None]
        return energy, gradient, virial

    def _asked(
        self, x: Array, numbers: IntArray, cells: Array
    ) -> tuple[Array, Array, Array | None, Array]:
        """Energies, gradients, shares and stresses of ``q`` systems of the same ``n`` atoms."""
        from torch_sim.state import SimState

        q, n = x.shape[:2]
        to = {"device": self.model.device, "dtype": self.model.dtype}
        state = SimState(
            positions=torch.as_tensor(x.reshape(-1, 3), **to),
            masses=torch.ones(q * n, **to),
            # torch-sim keeps lattice vectors as columns.
            cell=torch.as_tensor(np.ascontiguousarray(np.swapaxes(cells, 1, 2)), **to),
            pbc=True,
            atomic_numbers=torch.as_tensor(np.tile(numbers, q), device=self.model.device),
            system_idx=torch.arange(q, device=self.model.device).repeat_interleave(n),
        )
        try:
            with enough_memory(str(self.model.device), f"{q * n} atoms of {self.name}"):
                found = self.model(state)
        except NotImplementedError as error:
            raise UnsupportedError(f"the model {self.name} cannot do this: {error}") from error
        except (KeyError, ValueError, RuntimeError, IndexError) as error:
            raise ConvergenceError(
                f"the model {self.name} failed: {type(error).__name__}: {error}"
            ) from error
        shares = found.get("energies")
        each = None if shares is None or shares.numel() != q * n else _array(shares).reshape(q, n)
        stress = _array(found["stress"]) if "stress" in found else np.full((q, 3, 3), np.nan)
        return _array(found["energy"]), -_array(found["forces"]).reshape(q, n, 3), each, stress


def _array(values: torch.Tensor) -> Array:
    return values.detach().cpu().numpy().astype(np.float64)


def _interface() -> Any:
    try:
        _start_warp()
        from torch_sim.models.interface import ModelInterface
    except ImportError as error:
        raise UnsupportedError(
            f"potential.kind = torchsim: needs the package torch-sim-atomistic, which cannot be imported ({error}); "
            "install msolve[torchsim]"
        ) from error
    return ModelInterface


def _start_warp() -> None:
    """Start the library under torch-sim's neighbour search without what it writes to the terminal, from C too."""
    if "warp" in sys.modules or find_spec("warp") is None:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept, nowhere = [os.dup(1), os.dup(2)], os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        import warp

        warp.init()
    finally:
        for stream, old in zip((1, 2), kept, strict=True):
            os.dup2(old, stream)
            os.close(old)
        os.close(nowhere)
