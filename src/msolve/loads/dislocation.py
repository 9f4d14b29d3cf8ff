# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The field of a straight dislocation, and several fields at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.loads.fields import Predictor
from msolve.loads.stroh import Stroh, stroh

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Volterra:
    """Field of a straight dislocation along x3 in any anisotropic solid, the same for every amplitude.

        u = Re[ A diag(ln ζ_α) c ],   ζ_α = x1 + p_α x2,   Re(2πi A c) = b,   Re(2πi B c) = 0

    With A, B, p of Stroh's formalism: going round the line from x1 to x2 the displacement grows by the Burgers
    vector b, and no force acts on the line. It jumps by b across x2 = 0 behind the line (x1 < 0); the gradient
    does not. A jump by a period along x3 leaves a crystal whole.

    Attributes:
        C: Stiffness in laboratory axes, shape ``(3, 3, 3, 3)`` [eV/Å³].
        burgers: Burgers vector, shape ``(3,)`` [Å].
        line: Place of the line (x1, x2) [Å].
        solution: Stroh's eigen-solutions of ``C``.

    References:
        A. N. Stroh, Philos. Mag. 3, 625 (1958); T. C. T. Ting, Anisotropic Elasticity (Oxford, 1996), section 8.3.
    """

    C: Array
    burgers: tuple[float, float, float]
    line: tuple[float, float] = (0.0, 0.0)
    solution: Stroh = field(init=False, repr=False)
    amplitudes: ComplexArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Solve the eigenvalue problem and for the amplitudes once."""
        solution = stroh(self.C)
        # Six real equations for 2πi c; tractions in units of the stiffness.
        scale = float(np.abs(self.C).max())
        both = np.vstack([solution.A, solution.B / scale])
        found = np.linalg.solve(np.hstack([both.real, -both.imag]), np.r_[self.burgers, 0, 0, 0])
        object.__setattr__(self, "solution", solution)
        object.__setattr__(self, "amplitudes", (found[:3] + 1j * found[3:]) / (2j * np.pi))

    def displacement(self, X: Array, t: ArrayLike) -> Array:
        """Displacement at ``X`` ``(n, 3)`` [Å], shape ``(n, 3)`` [Å].

        Raises:
            ValueError: A point lies on the line.
        """
        logarithm = np.log(self._zeta(X))
        return np.einsum("na,ia,a->ni", logarithm, self.solution.A, self.amplitudes).real

    def gradient(self, X: Array, t: ArrayLike) -> Array:
        """Displacement gradient ``du_i / dX_j``, shape ``(n, 3, 3)`` [-]; its third column is zero.

        Raises:
            ValueError: A point lies on the line, where the gradient is infinite.
        """
        slope = self.amplitudes / self._zeta(X)
        along_x1 = np.einsum("na,ia->ni", slope, self.solution.A).real
        along_x2 = np.einsum("na,a,ia->ni", slope, self.solution.p, self.solution.A).real
        return np.stack([along_x1, along_x2, np.zeros_like(along_x1)], axis=2)

    def energy_factor(self) -> float:
        """Elastic energy per length between radii r and R, over ln(R / r) [eV/Å]."""
        # Half the work of the tractions on the cut, which fall off as 1 / r.
        traction = (self.solution.B @ self.amplitudes).real
        return 0.5 * abs(float(np.dot(self.burgers, traction)))

    def _zeta(self, X: Array) -> ComplexArray:
        # Adding zero turns -0.0 into 0.0, which decides the side of the cut.
        x1, x2 = X[:, 0] - self.line[0], X[:, 1] - self.line[1] + 0.0
        zeta = x1[:, None] + self.solution.p * x2[:, None]
        if np.any(zeta == 0):
            raise ValueError("the field of a dislocation is infinite on its line")
        return zeta


@dataclass(frozen=True, eq=False)
class Together:
    """The sum of several fields.

    Attributes:
        fields: They.
    """

    fields: tuple[Predictor, ...]

    def displacement(self, X: Array, t: ArrayLike) -> Array:
        """Displacement, shape ``(n, 3)`` [Å]."""
        return np.asarray(sum(one.displacement(X, t) for one in self.fields))

    def gradient(self, X: Array, t: ArrayLike) -> Array:
        """Its gradient, shape ``(n, 3, 3)`` [-]."""
        return np.asarray(sum(one.gradient(X, t) for one in self.fields))
