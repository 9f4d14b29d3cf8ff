# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What an estimate says: numbers of the whole body, and what is expected of each atom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """Estimated distance of a coupled solution from the nearest one of the full atomistic model.

    Energy norms are in √eV, for one period along the front: half their square is an energy.

    Attributes:
        kind: ``"hessian"``, or ``"elasticity"`` if only that was asked for or the Hessian has a negative direction.
        elasticity_norm: √⟨r, K⁻¹ r⟩ [√eV].
        energy_norm: √⟨r, H⁻¹ r⟩ from below, as conjugate gradients reached it [√eV]; ``None`` without Hessian.
        energy: Energy above that of the solution, ½⟨r, d⟩ [eV].
        total_h1: Norm of d over the bonds inside the rim, as in comparisons [Å].
        tip_h1: The same near the defect [Å].
        coupling: Elastic energy norm of the part of d that the coupled space holds: blending, Cauchy-Born law,
            handshake [√eV]; ``None`` where the space is not known.
        discretisation: That of the part that no solution in that space could avoid [√eV]. The squares of the two
            add up to that of d.
        contraction: What is left of the forces' dual norm when the error expected is taken off, √⟨r', K⁻¹ r'⟩ over
            ``elasticity_norm``: the smaller, the closer the estimate is to the error. It holds ``FORCING`` and what the
            forces' curvature does. ``None`` without Hessian; inf where that state has no energy.
        algebraic: Dual norm of the residual that the solver left, in elasticity of the coupled model [√eV].
        products: Hessian products.
        atoms: Atoms whose forces were computed.
        elasticity_bounds: Bounds of √⟨r, K⁻¹ r⟩ from both sides [√eV]: a vector and its residual prove them where
            conjugate gradients solved K. Equal where K was factorised; ``None`` where no bound of K's eigenvalues
            was found.
        energy_bounds: ``energy_norm``, and an upper end of it from the residual of conjugate gradients over an
            *estimated* stability constant [√eV]; ``None`` without Hessian.
        deferred: Dual norm of the last change of the dead load, for ``bgfc_deferred`` [√eV]; else ``None``.
        truncation: Elastic energy norm of what the displacement would still be beyond the outer boundary, by the decay
            towards it [√eV]; 0 where the user's body is the reference. No part of the other numbers.
        truncation_kind: ``"extrapolated"``, or ``"body"``: the body is what it is.
        standard_error: Standard error of ``elasticity_norm`` where sites were sampled [√eV]; ``None`` where all were
            visited.
        sampling: What was visited, see ``docs/outputs.md``; ``None`` where all sites were.
        law: Dual norm, in elasticity of the coupled model, of the forces that a law in the place of the potential's own
            gets wrong [√eV]; a part of ``coupling``. ``None`` where the law is the potential's own.
    """

    kind: str
    elasticity_norm: float
    energy_norm: float | None
    energy: float
    total_h1: float
    tip_h1: float
    coupling: float | None
    discretisation: float | None
    contraction: float | None
    algebraic: float
    products: int
    atoms: int
    elasticity_bounds: tuple[float, float] | None = None
    energy_bounds: tuple[float, float] | None = None
    deferred: float | None = None
    truncation: float = 0.0
    truncation_kind: str = "body"
    standard_error: float | None = None
    sampling: dict[str, float] | None = None
    law: float | None = None


class Places(NamedTuple):
    """What is expected of each atom of the full model, or of those that were visited; the same on every rank.

    Attributes:
        error: Lifted minus exact position, shape ``(n, 3)`` [Å].
        source: Where the error comes from, shape ``(n,)``: square of the force on each atom over the stiffness that
            holds it [eV]; for one number (``goals.goal_places``) its share in that number's error, in its unit. An
            error spreads from there through the whole body.
        parts: Squares of the H1 norm over bonds inside the rim, half of each bond at either end: of what the coupled
            space holds of the error, and of the rest, which no solution on that mesh can avoid; ``(n, 2)`` [Å²].
            Summed over all atoms they add up to about ``total_h1``², because the rest varies fast. ``None`` where not
            all atoms were visited.
    """

    error: Array
    source: Array
    parts: Array | None = None
