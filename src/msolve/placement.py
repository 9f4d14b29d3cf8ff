# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Where atoms and nodes stand before anything is solved: reference, predictor, relaxed surfaces, inner shifts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from msolve.handshake.flanks import Flanks
from msolve.handshake.shifts import InnerShifts

Array = npt.NDArray[np.float64]


GENTLE = 0.05
"""Strain below which free atoms start from relaxed shifts, not from those of first order [-]."""


class Displacement(Protocol):
    """A displacement field known in closed form; ``t`` is the load parameter."""

    def displacement(self, X: Array, t: float) -> Array:
        """Displacement at ``X (n, 3)``, shape ``(n, 3)`` [Å]."""
        ...

    def gradient(self, X: Array, t: float) -> Array:
        """Displacement gradient at ``X (n, 3)``, shape ``(n, 3, 3)`` [-]."""
        ...


@dataclass(frozen=True)
class Placement:
    """Where atoms and nodes stand when the unknowns are zero: reference + predictor + surface relaxation.

    Attributes:
        X: Reference positions of all atoms, shape ``(n, 3)`` [Å].
        predictor: Field that the unknowns correct.
        far_field: Field imposed on prescribed nodes and on atoms that nothing else moves.
        relaxation: Surface relaxation added to each atom, shape ``(n, 3)`` [Å]; nodes never see it.
        loose: Atoms that neither are unknowns nor lie in the mesh, shape ``(n,)``, bool.
        prescribed: Local nodes with a prescribed corrector.
        boundary: Corrector of the local nodes at zero unknowns, ``(n_local, 3)`` [Å], as a function of the load;
            ``None`` takes that of the prescribed nodes from the far field.
        inner: Inner shifts of a crystal of several atoms per cell; ``None`` for one.
        free: Atoms that are unknowns, shape ``(n,)``, bool; needed with ``inner``.
        flanks: What a learned handshake adds to the relaxation as the flanks deform.
    """

    X: Array
    predictor: Displacement
    far_field: Displacement
    relaxation: Array
    loose: npt.NDArray[np.bool_]
    prescribed: npt.NDArray[np.int64]
    boundary: Callable[[float], Array] | None = None
    inner: InnerShifts | None = None
    free: npt.NDArray[np.bool_] | None = None
    flanks: Flanks | None = None

    def resting_shifts(self, t: float) -> Array:
        """Inner shifts of all atoms that the mesh does not carry, shape ``(n, 3)`` [Å].

        Free atoms only start from theirs; those beyond the mesh keep what the far field asks for.
        """
        out = np.zeros_like(self.X)
        if self.inner is not None and self.free is not None:
            free, loose = np.flatnonzero(self.free), np.flatnonzero(self.loose & ~self.free)
            gradient = self.predictor.gradient(self.X[free], t)
            out[free] = self.inner.nearly(gradient, free)
            strain = gradient + np.swapaxes(gradient, 1, 2) + np.swapaxes(gradient, 1, 2) @ gradient
            gentle = np.abs(strain).max(axis=(1, 2)) < 2 * GENTLE
            out[free[gentle]] = self.inner.at(gradient[gentle], free[gentle])
            out[loose] = self.inner.at(self.far_field.gradient(self.X[loose], t), loose)
        return out


def turned(relaxation: Array, predictor: Displacement, X: Array, t: float) -> Array:
    """Surface relaxation turned with the flank that it belongs to, shape ``(n, 3)`` [Å].

    The rotation is that of I + ∇u_pred. An opened crack turns its flanks by several degrees; without this the
    relaxation keeps the direction of the uncracked crystal and shears the outermost layers.
    """
    out = relaxation.copy()
    moved = np.flatnonzero(relaxation.any(axis=1))
    left, _, right = np.linalg.svd(np.eye(3) + predictor.gradient(X[moved], t))
    out[moved] = np.einsum("nij,njk,nk->ni", left, right, relaxation[moved])
    return out
