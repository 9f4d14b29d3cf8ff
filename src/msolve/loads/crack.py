# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The K-field: the asymptotic field of a crack."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.loads.stroh import Stroh, stroh

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class KField:
    """Asymptotic field of a crack with free flanks along x1 < tip, in any anisotropic solid.

        u = √(2/π) Re[ A diag(√ζ_α) B⁻¹ ] k,   ζ_α = x1 + p_α x2,   k = (K_II, K_I, K_III)

    so that ahead of the tip the tractions on the crack plane are σ_i2 = k_i / √(2πr): σ_22 = K_I /
    √(2πr). Generalised plane strain: three displacement components, nothing depends on x3. Points
    with x2 = tip behind the tip belong to the upper flank.

    Amplitudes are a number that multiplies ``mode``, or (K_I, K_II, K_III) themselves, in eV/Å^2.5
    (1 MPa√m = 0.624151 eV/Å^2.5).

    Attributes:
        C: Stiffness in laboratory axes, shape ``(3, 3, 3, 3)`` [eV/Å³].
        tip: Place of the tip (x1, x2) [Å].
        mode: K_I, K_II, K_III at amplitude one [-].
        solution: Stroh's eigen-solutions of ``C``.
    """

    C: Array
    tip: tuple[float, float] = (0.0, 0.0)
    mode: tuple[float, float, float] = (1.0, 0.0, 0.0)
    solution: Stroh = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Solve the eigenvalue problem once."""
        object.__setattr__(self, "solution", stroh(self.C))

    def displacement(self, X: Array, t: ArrayLike) -> Array:
        """Displacement at ``X`` ``(n, 3)`` [Å] for stress intensity ``t``, ``(n, 3)`` [Å]."""
        mixed, root = self._amplitudes(t), np.sqrt(self._zeta(X))
        return np.einsum("na,ia,a->ni", root, self.solution.A, mixed).real

    def gradient(self, X: Array, t: ArrayLike) -> Array:
        """Displacement gradient ``du_i / dX_j``, shape ``(n, 3, 3)`` [-]; its third column is zero.

        Raises:
            ValueError: A point lies on the tip, where the gradient is infinite.
        """
        zeta = self._zeta(X)
        if np.any(zeta == 0):
            raise ValueError("the gradient of the K-field is infinite at the crack tip")
        slope = self._amplitudes(t) / (2 * np.sqrt(zeta))
        along_x1 = np.einsum("na,ia->ni", slope, self.solution.A).real
        along_x2 = np.einsum("na,a,ia->ni", slope, self.solution.p, self.solution.A).real
        return np.stack([along_x1, along_x2, np.zeros_like(along_x1)], axis=2)

    def compliance(self) -> Array:
        """Re(i A B⁻¹), the inverse of Barnett and Lothe's L: positive, ``(3, 3)`` [Å³/eV]."""
        Y = (1j * self.solution.A @ np.linalg.inv(self.solution.B)).real
        return (Y + Y.T) / 2

    def energy_release_rate(self, K: ArrayLike) -> float:
        """Energy per area of crack advance along x1, G = ½ kᵀ L⁻¹ k [eV/Å²]."""
        k = self._tractions(K)
        return 0.5 * float(k @ self.compliance() @ k)

    def griffith_K(self, surface_energy: float) -> float:
        """K_I [eV/Å^2.5] at which G pays for two surfaces: G = 2γ, γ in eV/Å²."""
        return float(np.sqrt(4 * surface_energy / self.compliance()[1, 1]))

    def _amplitudes(self, K: ArrayLike) -> ComplexArray:
        k = self._tractions(K).astype(complex)
        return np.sqrt(2 / np.pi) * np.linalg.solve(self.solution.B, k)

    def _tractions(self, K: ArrayLike) -> Array:
        """An amplitude as the vector of tractions (K_II, K_I, K_III)."""
        given = np.atleast_1d(np.asarray(K, dtype=float))
        if given.shape == (1,):
            given = given * np.asarray(self.mode)
        if given.shape != (3,):
            raise ValueError(f"K is one number or (K_I, K_II, K_III), got {len(given)} values")
        return given[[1, 0, 2]]

    def _zeta(self, X: Array) -> ComplexArray:
        # Adding zero turns -0.0 into 0.0, which decides the side of the branch cut.
        x1, x2 = X[:, 0] - self.tip[0], X[:, 1] - self.tip[1] + 0.0
        return x1[:, None] + self.solution.p * x2[:, None]
