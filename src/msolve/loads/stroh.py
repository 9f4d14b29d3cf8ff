# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Stroh's formalism for plane problems of anisotropic elasticity, and stiffness tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.errors import UnsupportedError

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

# Degenerate stiffnesses (isotropic ones above all) have no complete set of Stroh eigenvectors.
# Changing C1111 by this fraction of the largest constant splits the eigenvalues by about its root.
# Measured on the isotropic crack field: a smooth error of 3 SPLITTING, and
# noise of 1e-15 / √SPLITTING in displacements, far below what their differences have to resolve.
SPLITTING = 1e-8
# Condition of the matrix of unit traction eigenvectors from which on a stiffness counts as
# degenerate.
DEGENERATE = 1e5
# Constants below this fraction of the largest one are zero.
NEGLIGIBLE = 1e-9


@dataclass(frozen=True, eq=False)
class Stroh:
    """Eigen-solutions of plane problems in an anisotropic solid: ``u = a f(x1 + p x2)``.

    Attributes:
        p: The three eigenvalues with positive imaginary part, shape ``(3,)`` [-].
        A: Displacement eigenvectors as columns, shape ``(3, 3)`` [-].
        B: Traction (stress function) eigenvectors as columns, shape ``(3, 3)`` [eV/Å³].
    """

    p: ComplexArray
    A: ComplexArray
    B: ComplexArray


def stroh(C: Array) -> Stroh:
    """Solve Stroh's sextic eigenvalue problem for the plane (x1, x2).

    With Q_ik = C_i1k1, R_ik = C_i1k2, T_ik = C_i2k2 the eigenpairs of
        N = [[-T⁻¹ Rᵀ, T⁻¹], [R T⁻¹ Rᵀ - Q, -R T⁻¹]]
    are p and (a, b). Only combinations ``A f(p) B⁻¹`` have a meaning; they do not depend on how the
    eigenvectors are scaled. A degenerate stiffness is split as told at ``SPLITTING``. A planar
    model, which has no stiffness along x3 at all, is given an uncoupled one, so that its in-plane
    field comes out; its K_III means nothing.

    Args:
        C: Stiffness in laboratory axes, shape ``(3, 3, 3, 3)`` [eV/Å³].

    Raises:
        UnsupportedError: The stiffness is not positive, so that some plane wave is unstable.

    References:
        T. C. T. Ting, Anisotropic Elasticity (Oxford, 1996), sections 5.3 to 5.5.
    """
    C = _with_stiffness_along_front(C)
    solution = _eigen_solutions(C)
    if np.linalg.cond(solution.B / np.linalg.norm(solution.B, axis=0)) > DEGENERATE:
        split = C.copy()
        split[0, 0, 0, 0] += SPLITTING * np.abs(C).max()
        solution = _eigen_solutions(split)
    return solution


def _with_stiffness_along_front(C: Array) -> Array:
    scale = np.abs(C).max()
    if max(np.abs(np.take(C, 2, axis=axis)).max() for axis in range(4)) > NEGLIGIBLE * scale:
        return C
    completed = C.copy()
    for i in (0, 1):
        for place in ((i, 2, i, 2), (2, i, i, 2), (i, 2, 2, i), (2, i, 2, i)):
            completed[place] = scale
    return completed


def _eigen_solutions(C: Array) -> Stroh:
    Q, R, T = C[:, 0, :, 0], C[:, 0, :, 1], C[:, 1, :, 1]
    scale = float(np.abs(C).max())
    if np.linalg.eigvalsh((T + T.T) / 2).min() < NEGLIGIBLE * scale:
        raise UnsupportedError(
            "the elastic constants are not positive: the crystal is unstable against shear or "
            "stretch normal to the crack plane; a K-field needs a stable crystal"
        )
    T_inv = np.linalg.inv(T)
    # In units of `scale` both halves of the eigenvectors are of order one.
    N = np.block([[-T_inv @ R.T, scale * T_inv], [(R @ T_inv @ R.T - Q) / scale, -R @ T_inv]])
    p, vectors = (x.astype(np.complex128) for x in np.linalg.eig(N))
    chosen = np.flatnonzero(p.imag > 0)
    if len(chosen) != 3 or np.abs(p.imag).min() < 1e-6:
        raise UnsupportedError(
            "the elastic constants are not elliptic: a wave in the plane normal to the front is "
            "unstable; a K-field needs a stable crystal"
        )
    chosen = chosen[np.lexsort((p[chosen].real, p[chosen].imag))]
    return Stroh(p[chosen], vectors[:3, chosen], scale * vectors[3:, chosen])


def stiffness_from_voigt(C: ArrayLike, rotation: Array | None = None) -> Array:
    """Fourth-rank stiffness from a symmetric Voigt matrix (order 11, 22, 33, 23, 13, 12).

    Args:
        C: Voigt matrix in crystal axes, shape ``(6, 6)`` [eV/Å³].
        rotation: Laboratory axes as rows in the crystal frame, shape ``(3, 3)``.

    Returns:
        Stiffness in laboratory axes, shape ``(3, 3, 3, 3)`` [eV/Å³].
    """
    voigt = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    tensor = np.asarray(C, dtype=float)[voigt[:, :, None, None], voigt[None, None, :, :]]
    if rotation is None:
        return tensor
    return np.einsum("ia,jb,kc,ld,abcd->ijkl", *(rotation,) * 4, tensor, optimize=True)


def cubic_stiffness(C11: float, C12: float, C44: float, rotation: Array | None = None) -> Array:
    """Stiffness of a cubic crystal in laboratory axes, shape ``(3, 3, 3, 3)`` [eV/Å³].

    The constants refer to the cube; ``rotation`` has the laboratory axes as rows in its frame.
    """
    voigt = np.diag([C11 - C12] * 3 + [C44] * 3)
    voigt[:3, :3] += C12
    return stiffness_from_voigt(voigt, rotation)
