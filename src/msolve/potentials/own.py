# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Site models that users bring, from the name in their input; seen to keep the protocol before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from msolve.errors import CaseError
from msolve.potentials.named import made_by_name
from msolve.potentials.protocol import SiteModel

ATTRIBUTES: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "cutoff": (int, float),
    "reach": (int, float),
    "layers": int,
    "exchange": bool,
    "device": str,
    "numbers": (set, frozenset),
    "gives": (set, frozenset),
}
NEEDS = frozenset({"energy", "gradient", "site_energy", "hessian_product"})

_KINDS: dict[type | tuple[type, ...], str] = {
    str: "a string",
    (int, float): "a number",
    int: "a whole number",
    bool: "True or False",
    (set, frozenset): "a set",
}

_STEP = 1e-4  # [Å]
_SLOPE = 1e-5
"""Accepted difference between the derivative and a difference, of the larger [-]; float32 fails it."""


def own_model(where: str, arguments: Mapping[str, Any], folder: Path = Path()) -> SiteModel:
    """A user's site model by name.

    Args:
        where: ``module:name``, or ``file.py:name`` relative to ``folder``.
        arguments: What it is called with.
        folder: Where relative file names start from.

    Raises:
        CaseError: It cannot be made, or does not keep the protocol; see :func:`problems_of`.
    """
    model = made_by_name(where, arguments, folder, "potential.model")
    found = problems_of(model)
    if found:
        raise CaseError([f"potential.model = {where}: {problem}" for problem in found])
    return model


def problems_of(model: Any) -> list[str]:
    """What is wrong with a site model, as far as a few edges tell; milliseconds. Rank-local.

    Attributes and their types; site energies that are one finite float64 number for each owned atom, have
    a derivative that is theirs, and do not jump where an edge passes the cutoff. The whole law is
    ``msolve.testing.check_potential``.
    """
    problems = [f"has no method {n}" for n in ("site_energy",) if not hasattr(model, n)]
    for name, kind in ATTRIBUTES.items():
        if not isinstance(getattr(model, name, None), kind):
            problems.append(f"its attribute {name} must be {_KINDS[kind]}")
    if problems:
        return problems
    if NEEDS - model.gives:
        problems.append(f"gives must hold {', '.join(sorted(NEEDS - model.gives))} too")
    if not model.cutoff > 0 or model.reach < model.cutoff:
        problems.append("its cutoff must be positive, and its reach no smaller")
    if model.layers > 1 and not model.exchange and model.reach < model.layers * model.cutoff:
        problems.append("its reach must be layers times cutoff")
    return problems or _problems_of_energies(model)


class _NoOthers:
    """All atoms are owned: nothing to exchange."""

    def forward(self, owned: torch.Tensor) -> torch.Tensor:
        return owned


def _problems_of_energies(model: SiteModel) -> list[str]:
    rng = np.random.default_rng(5)
    number = min(model.numbers)
    # Three atoms that see each other, off any symmetry, and one that moves through the cutoff.
    x = torch.tensor(rng.uniform(0.4, 0.55, (4, 1)) * model.cutoff * np.eye(4, 3))
    x[3] = torch.tensor([0.0, 0.0, -0.5 * model.cutoff])
    i, j = np.nonzero(~np.eye(4, dtype=bool))
    pair = torch.tensor(np.stack([i, j]))
    z = torch.full((4,), number, dtype=torch.int64)

    def energies(places: torch.Tensor) -> torch.Tensor:
        vec = places[pair[1]] - places[pair[0]]
        near = vec.norm(dim=1) < model.cutoff
        where = model.device
        return model.site_energy(
            vec[near].to(where), pair[:, near].to(where), z.to(where), 4, _NoOthers()
        )

    try:
        places = x.clone().requires_grad_()
        found = energies(places)
        if tuple(found.shape) != (4,) or found.dtype != torch.float64:
            return [
                f"site_energy returned {tuple(found.shape)} of {found.dtype} for 4 owned atoms; needs "
                "(4,) of torch.float64"
            ]
        if not bool(torch.isfinite(found).all()):
            return ["site_energy is not finite for atoms half a cutoff apart"]
        d = torch.tensor(rng.normal(size=(4, 3)))
        (gradient,) = torch.autograd.grad(found.sum(), places, create_graph=True)
        slope = float((gradient * d).sum())
        ends = [float(energies(x + s * _STEP * d).sum().detach()) for s in (1, -1)]
        torch.autograd.grad((gradient * d).sum(), places)
    except Exception as error:  # a program of the user's may raise anything
        return [f"site_energy: {type(error).__name__}: {error}"]
    difference = (ends[0] - ends[1]) / (2 * _STEP)
    size = max(abs(slope), abs(difference))
    if abs(slope - difference) > _SLOPE * size + 1e-9:
        return [
            f"the derivative of site_energy ({slope:.8g}) is not what differences say ({difference:.8g}); it must be "
            "computed in torch.float64 from vec alone"
        ]
    return []
