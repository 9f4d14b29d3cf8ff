# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""From a kind and a file to a site model. Packages a potential needs are imported on demand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msolve.errors import CaseError, UnsupportedError
from msolve.potentials.protocol import SiteModel

BROUGHT = ("7net-0", "7net-0_22may2024", "7net-l3i5")
"""Names of trained models that the package sevenn brings along; it would fetch any other from the net."""


def load_potential(
    path_or_name: str | Path,
    kind: str,
    device: str = "cpu",
    local_rank: int = 0,
    precision: str = "float64",
) -> SiteModel:
    """Load a potential.

    Args:
        path_or_name: File of the potential; not used by the kind ``"toy"``.
        kind: ``"eam"`` (eam.alloy or eam.fs table), ``"linear"`` (file of msolve's linear potential),
            ``"mace"`` (model file of mace-torch), ``"nequip"`` (package or checkpoint of nequip, NequIP or
            Allegro), ``"sevennet"`` (checkpoint of sevenn, or a name among :data:`BROUGHT`), ``"sw"``
            (Stillinger-Weber file of LAMMPS) or ``"toy"``.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"`` (CUDA where there is a device).
        local_rank: Number of this rank on its node; the ranks of a node take its CUDA devices in
            turn.
        precision: ``"float64"`` or, for neural networks, ``"float32"``: that of the network alone.

    Returns:
        The potential.

    Raises:
        CaseError: The kind or the precision is not known, or the file cannot be read or is of another kind.
        UnsupportedError: The device or an optional package is missing, or the model is of a sort
            that cannot be used.

    Warning:
        Model files of MACE, NequIP and SevenNet are pickles: loading one runs code that it contains. Load only
        files that you trust.
    """
    plain: dict[str, Callable[[str | Path, str], SiteModel]] = {
        "eam": _load_eam,
        "linear": _load_linear,
        "sw": _load_sw,
        "toy": _load_toy,
    }
    networks: dict[str, Callable[[str | Path, str, str], SiteModel]] = {
        "mace": _load_mace,
        "nequip": _load_nequip,
        "sevennet": _load_sevennet,
    }
    kinds = sorted({**plain, **networks})
    if kind not in kinds:
        raise CaseError(
            [f"potential.kind = {kind}: no such kind; one of {', '.join(kinds)} would do"]
        )
    if precision not in ("float64", "float32"):
        raise CaseError([f"potential.precision = {precision}: float64 or float32 would do"])
    if precision != "float64" and kind in plain:
        raise UnsupportedError(
            f"potential.precision = {precision}: the kind {kind} is evaluated in float64 only; leave it out"
        )
    where = pick_device(device, local_rank)

    from msolve.potentials.shortage import enough_memory  # imports torch

    with enough_memory(where, f"the potential {path_or_name}"):
        if kind in plain:
            return plain[kind](path_or_name, where)
        return networks[kind](path_or_name, where, precision)


def pick_device(device: str, local_rank: int = 0) -> str:
    """Turn what the user asked for into a device of torch.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        local_rank: Number of this rank on its node.

    Returns:
        ``"cpu"``, or ``"cuda:N"`` with N counted round the devices of the node.

    Raises:
        CaseError: There is no such kind of device.
        UnsupportedError: CUDA is asked for, and torch finds none.
    """
    import torch

    if device not in ("cpu", "cuda", "auto"):
        raise CaseError([f"potential.device = {device}: one of cpu, cuda, auto would do"])
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UnsupportedError("potential.device = cuda: torch finds no CUDA device here; use cpu")
    if device == "cpu" or not available:
        return "cpu"
    return f"cuda:{local_rank % torch.cuda.device_count()}"


def _load_eam(path: str | Path, device: str) -> SiteModel:
    from msolve.potentials.eam import EAM
    from msolve.potentials.tables import read_eam

    return EAM(read_eam(path), device)


def _load_linear(path: str | Path, device: str) -> SiteModel:
    from msolve.potentials.linear_file import read_linear

    return read_linear(path, device)


def _load_mace(path: str | Path, device: str, precision: str) -> SiteModel:
    import torch

    from msolve.potentials.mace import load_mace

    return load_mace(path, device, getattr(torch, precision))


def _load_nequip(path: str | Path, device: str, precision: str) -> SiteModel:
    import torch

    from msolve.potentials.nequip import load_nequip

    return load_nequip(path, device, getattr(torch, precision))


def _load_sevennet(path: str | Path, device: str, precision: str) -> SiteModel:
    import torch

    from msolve.potentials.sevennet import load_sevennet

    return load_sevennet(path, device, getattr(torch, precision))


def _load_sw(path: str | Path, device: str) -> SiteModel:
    from msolve.potentials.sw import load_sw

    return load_sw(path, device)


def _load_toy(path: str | Path, device: str) -> SiteModel:
    from msolve.potentials.toy import toy_eam

    return toy_eam(device=device)
