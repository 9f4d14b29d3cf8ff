# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The learned handshake: how the relaxed layers of a crack flank follow its strain and its curvature.

A slab knows the relaxation of a flat, unstrained surface. That of a flank which is stretched and bent differs; the
difference is a map from five invariants of the deformed flank to a displacement of each of its outermost
layers, in axes that turn with the flank. The map vanishes where the invariants do, and for zero weights.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from msolve.errors import CaseError
from msolve.handshake.closure import ClosureModel

Array = npt.NDArray[np.float64]

INVARIANTS = ("E11", "E13", "k1", "k2", "k3")
"""Strain along the flank, shear towards the front, second derivative of the flank line in its own axes [1/Å]."""

TENSIONS = 5
"""Weights of the energy of a flank's surface, on each side."""

FORMAT = "msolve flank handshake 1"

NEAR = 1e-3
"""Tolerance on lengths [Å] and on directions."""

DIFFERS = 1e-3
"""Largest difference between the relaxed slab of a potential and that of the model's [Å]."""


class FlankOperator(torch.nn.Module):
    """What the flanks do under strain: displacement of their layers, and energy of their surface.

    With x the invariants over their largest values in training, held smoothly between -1 and 1, the layers move by
    A x + B (tanh(C x + c) - tanh(c)). The energy of an area at rest is a polynomial of the first two of x, strain and
    shear: linear (the surface stress) and quadratic. Its weights are no parameters, but what slabs under strain say
    (``tension``). All start at zero.

    Args:
        layers: Layers on each side.
        hidden: Width of the hidden layer; 0 for none.
        limit: Largest invariants in training, shape ``(5,)``; zero for one that did not occur, which is then ignored.
    """

    limit: torch.Tensor
    tension: torch.Tensor

    def __init__(self, layers: int, hidden: int, limit: Array) -> None:
        super().__init__()
        self.layers, self.hidden = layers, hidden
        out, n = 2 * layers * 3, len(INVARIANTS)
        kind = torch.float64
        self.register_buffer("limit", torch.tensor(limit, dtype=kind))
        self.linear = torch.nn.Parameter(torch.zeros(out, n, dtype=kind))
        self.inner = torch.nn.Parameter(torch.zeros(hidden, n, dtype=kind))
        self.offset = torch.nn.Parameter(torch.zeros(hidden, dtype=kind))
        self.outer = torch.nn.Parameter(torch.zeros(out, hidden, dtype=kind))
        self.register_buffer("tension", torch.zeros(2, TENSIONS, dtype=kind))

    def forward(self, invariants: torch.Tensor) -> torch.Tensor:
        """Displacements ``(n, 2, layers, 3)`` [Å], upper flank first, at invariants ``(n, 5)``."""
        x = _held(invariants, self.limit)
        out = x @ self.linear.T
        if self.hidden:
            bent = torch.tanh(x @ self.inner.T + self.offset) - torch.tanh(self.offset)
            out = out + bent @ self.outer.T
        return out.reshape(-1, 2, self.layers, 3)

    def of_strains(self, strains: torch.Tensor) -> torch.Tensor:
        """What the weights ``tension`` [eV/Å²] multiply at strain and shear ``(n, 2)``, shape ``(n, TENSIONS)``."""
        x, s = _held(strains, self.limit[:2]).T
        return torch.stack([x, s, x * x, x * s, s * s], dim=1)


def _held(invariants: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """Invariants over their limits: nearly that up to 0.7, never beyond 1; smooth, as forces are derivatives of it."""
    known = limit > 0
    x = torch.where(known, invariants / torch.where(known, limit, 1.0), 0.0)
    return x / (1 + x**8) ** 0.125


@dataclass(frozen=True)
class FlankModel:
    """Trained operators and the surfaces that they belong to.

    Attributes:
        operators: The map, by the degree of the finite elements beyond the atoms.
        axes: Laboratory axes as rows in the crystal's frame, shape ``(3, 3)``.
        half_gap: Distance of the surface layers from the crack plane [Å].
        depths: Depth of each layer below the surface layer, upper and lower flank, shape ``(2, layers)`` [Å].
        relaxation: What the potential's slab says of those layers, shape ``(2, layers, 3)`` [Å]: by it a run
            recognises the potential.
        card: What is known of the training; JSON-able.
        closures: Strain-gradient energies around the core, by the degree of the elements; none for degrees left out.
    """

    operators: dict[int, FlankOperator]
    axes: Array
    half_gap: float
    depths: Array
    relaxation: Array
    card: dict[str, Any]
    closures: dict[int, ClosureModel] = field(default_factory=dict)

    def limit(self, degree: int) -> Array:
        """Largest invariants in training, shape ``(5,)``."""
        return np.asarray(self.operators[degree].limit.numpy())

    def layer_of(self, X: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Side (0 upper, 1 lower) and layer of each site ``(n, 3)``; layer -1 for sites in none."""
        side = (X[:, 1] < 0).astype(np.int64)
        away = np.abs(np.abs(X[:, 1, None]) - self.half_gap - self.depths[side])
        layer = np.where(away.min(axis=1) < NEAR, away.argmin(axis=1), -1)
        return side, layer

    def save(self, path: Path) -> None:
        """Write the model; raises ``OSError``."""
        buffer = io.BytesIO()
        torch.save(
            {
                "format": FORMAT,
                "operators": {
                    degree: {"hidden": one.hidden, "state": one.state_dict()}
                    for degree, one in self.operators.items()
                },
                "axes": self.axes.tolist(),
                "half_gap": self.half_gap,
                "depths": self.depths.tolist(),
                "relaxation": self.relaxation.tolist(),
                "card": self.card,
                "closure": {
                    degree: {
                        "basis": one.basis.tolist(),
                        "weights": torch.from_numpy(one.weights),
                        "limit": one.limit.tolist(),
                    }
                    for degree, one in self.closures.items()
                },
            },
            buffer,
        )
        path.write_bytes(buffer.getvalue())

    def fits(self, axes: Array, half_gap: float, relaxation: Array, degree: int) -> str | None:
        """Why the model does not belong to a crack, or ``None``.

        Args:
            axes: Laboratory axes as rows in the crystal's frame, shape ``(3, 3)``.
            half_gap: Distance of the surface layers from the crack plane [Å].
            relaxation: Of the model's layers by the slab of the potential in use, shape ``(2, layers, 3)`` [Å].
            degree: Of the finite elements.
        """
        if degree not in self.operators:
            return f"it was trained for elements of degree {sorted(self.operators)}, not {degree}"
        if not np.allclose(axes, self.axes, atol=NEAR):
            return "it was trained for another crack plane or front"
        if abs(half_gap - self.half_gap) > NEAR:
            return (
                f"its layers lie {2 * self.half_gap:.4f} angstrom apart, those of this crystal "
                f"{2 * half_gap:.4f} angstrom"
            )
        off = float(np.abs(relaxation - self.relaxation).max())
        if off > DIFFERS:
            return (
                f"the surfaces of this potential relax otherwise than those of the one it was trained for "
                f"(by {off:.2g} angstrom)"
            )
        return None


def load_flank_model(path: Path, key: str = "coupling.handshake.model") -> FlankModel:
    """Read a model.

    Raises:
        CaseError: The file holds none; names ``key``.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError("another format")
        depths = np.array(content["depths"], dtype=float)
        operators = {}
        for degree, kept in content["operators"].items():
            one = FlankOperator(
                depths.shape[1], int(kept["hidden"]), kept["state"]["limit"].numpy()
            )
            # Models made before there was one have no energy of the surface.
            one.load_state_dict({"tension": one.tension.data, **kept["state"]})
            operators[int(degree)] = one.requires_grad_(False)
        # Models made before there was one have none.
        closures = {
            int(degree): ClosureModel(
                np.array(kept["basis"], dtype=float),
                kept["weights"].numpy(),
                np.array(kept["limit"], dtype=float),
            )
            for degree, kept in content.get("closure", {}).items()
        }
    except Exception as error:  # torch raises what it likes on foreign files
        raise CaseError(
            [f"{key} = {path}: holds no learned handshake; msolve train handshake makes one"]
        ) from error
    return FlankModel(
        operators=operators,
        axes=np.array(content["axes"], dtype=float),
        half_gap=float(content["half_gap"]),
        depths=depths,
        relaxation=np.array(content["relaxation"], dtype=float),
        card=dict(content["card"]),
        closures=closures,
    )
