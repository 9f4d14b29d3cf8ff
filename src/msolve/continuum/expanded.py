# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A stored energy expanded about a state, with the elastic constants for its second derivative.

    W(F) = W(F₀) + P(F₀) : dF + ½ Rᵀ dF : C : Rᵀ dF,    dF = F - F₀,    F₀ = R U₀.

Energy and stress in the state are the law's own; the curvature is that of the crystal at rest, turned with the state.
Who minimises this, and then expands anew, asks the law once a minimisation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from msolve.continuum.energy import StoredEnergy

Array = npt.NDArray[np.float64]


class ExpandedEnergy:
    """See the module. The law is asked when this is made, and not again.

    Args:
        stored: The stored energy.
        u: The state, corrector at the local nodes, shape ``(n_local_nodes, 3)`` [Å].
        background: ∇u_pred at the quadrature points, shape ``(n_rows, n_q, 3, 3)``, here and in all states asked for.
        weight: Weight of each quadrature point, shape ``(n_rows, n_q)``.
        C: Elastic constants, shape ``(3, 3, 3, 3)`` [eV/Å³].

    Raises:
        ConvergenceError: The state has no energy.
    """

    def __init__(
        self, stored: StoredEnergy, u: Array, background: Array, weight: Array, C: Array
    ) -> None:
        self._stored, self._u, self._weight = stored, u, weight
        self._rows = rows = np.asarray(weight.any(axis=1))
        W, self._P = stored.response(u, background, rows)
        volume = stored.volume[rows] * weight[rows]
        self._energy = float(np.sum(volume * W))
        self._volume = volume
        left, _, right = np.linalg.svd(stored.deformation(u, background, rows))
        self._turn = left @ right
        self._C = C.reshape(9, 9)

    def evaluate(self, u: Array) -> tuple[float, Array]:
        """Energy of this rank's cells [eV] and its gradient by the local nodes, ``(n_local_nodes, 3)`` [eV/Å]."""
        change = self._stored.gradient(u - self._u, self._rows)
        stress = self._stress(change)
        first = np.einsum("cqij,cqij->cq", self._P + 0.5 * stress, change)
        energy = self._energy + float(np.sum(self._volume * first))
        return energy, self._stored.assemble(self._rows, self._P + stress, self._weight)

    def product(self) -> Callable[[Array], Array]:
        """The map direction -> second derivative · direction, both ``(n_local_nodes, 3)``, this rank's share."""

        def product(direction: Array) -> Array:
            stress = self._stress(self._stored.gradient(direction, self._rows))
            return self._stored.assemble(self._rows, stress, self._weight)

        return product

    def _stress(self, change: Array) -> Array:
        """R C : Rᵀ dF, shape ``(n_rows, n_q, 3, 3)`` [eV/Å³]."""
        own = np.swapaxes(self._turn, 2, 3) @ change
        return self._turn @ (own.reshape(-1, 9) @ self._C).reshape(change.shape)
