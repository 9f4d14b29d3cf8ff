# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The energy of a crack's flanks, and the line of mesh vertices that it pulls on.

A surface under strain has an energy that no layer of bulk beneath it has: its derivative is the surface stress. On a
flat flank under one strain it pulls nowhere but at the ends; where the flank bends, or its strain varies, it is a force
that no position of layers makes. The energy is a sum over edges between vertices, of their strain and
their shear towards the front. So it is objective, and its forces have neither sum nor torque.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from msolve.handshake.flanks import FlankLine
from msolve.handshake.operator import FlankOperator

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FlankEdges:
    """Edges between neighbouring vertices of the flanks, the same on every rank.

    Attributes:
        ends: Places of both ends among the vertices, shape ``(n, 2)``.
        length: At rest, shape ``(n,)`` [Å].
        side: 0 on the upper flank, 1 on the lower, shape ``(n,)``.
        factor: What the energy of each is multiplied with: its area at rest, and a weight, shape ``(n,)`` [Å²].
    """

    ends: IntArray
    length: Array
    side: IntArray
    factor: Array

    @classmethod
    def of(
        cls, line: FlankLine, period: float, weight: Callable[[Array], Array] | None = None
    ) -> FlankEdges:
        """The edges of two flanks; ``weight`` is a function of places ``(n, 3)``, asked halfway along each."""
        first = np.concatenate([np.arange(part.start, part.stop - 1) for part in line.sides])
        ends = np.column_stack([first, first + 1])
        length = line.X[ends[:, 1], 0] - line.X[ends[:, 0], 0]
        factor = period * length
        if weight is not None:
            factor = factor * weight(line.X[ends].mean(axis=1))
        side = (first >= line.sides[1].start).astype(np.int64)
        return cls(ends, length, side, factor)

    def energy(self, operator: FlankOperator, y: torch.Tensor) -> torch.Tensor:
        """The energy [eV] of flanks whose vertices stand at ``y (m, 3)`` [Å]."""
        along = y[self.ends[:, 1]] - y[self.ends[:, 0]]
        t = along / torch.from_numpy(self.length)[:, None]
        strains = torch.stack([((t**2).sum(dim=1) - 1) / 2, t[:, 2] / 2], dim=1)
        density = (operator.of_strains(strains) * operator.tension[self.side]).sum(dim=1)
        return torch.from_numpy(self.factor) @ density

    def evaluate(self, operator: FlankOperator, y: Array) -> tuple[float, Array]:
        """The energy [eV], and its gradient by the vertices ``(m, 3)`` [eV/Å]."""
        at = torch.from_numpy(y).requires_grad_()
        total = self.energy(operator, at)
        (gradient,) = torch.autograd.grad(total, at)
        return float(total.detach()), np.asarray(gradient.numpy())

    def hessian(self, operator: FlankOperator, y: Array) -> Callable[[Array], Array]:
        """The map from a change of the vertices ``(m, 3)`` to that of the gradient."""
        at = torch.from_numpy(y)
        slope = torch.func.grad(lambda line: self.energy(operator, line))

        def product(change: Array) -> Array:
            _, out = torch.func.jvp(slope, (at,), (torch.from_numpy(change),))
            return np.asarray(out.numpy())

        return product
