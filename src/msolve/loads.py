# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Load fields: the displacement imposed at the outer boundary and predicted inside.

A load is an analytic displacement field and its gradient, for an amplitude: the K-field of a crack
in any anisotropic crystal (Stroh's sextic formalism), a homogeneous deformation, or nothing. Loads
know the stiffness they were built with, and nothing of meshes, atoms, load steps or solvers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import spatial

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


class Predictor(Protocol):
    """A displacement field known in closed form for each amplitude; rank-local."""

    def displacement(self, X: Array, t: ArrayLike) -> Array:
        """Displacement at ``X`` ``(n, 3)`` [Å] for amplitude ``t``, shape ``(n, 3)`` [Å]."""
        ...

    def gradient(self, X: Array, t: ArrayLike) -> Array:
        """Displacement gradient ``du_i / dX_j``, shape ``(n, 3, 3)`` [-]."""
        ...


@dataclass(frozen=True)
class Zero:
    """No load: the reference crystal itself."""

    def displacement(self, X: Array, t: ArrayLike) -> Array:
        """Zeros, shape ``(n, 3)`` [Å]."""
        return np.zeros((len(X), 3))

    def gradient(self, X: Array, t: ArrayLike) -> Array:
        """Zeros, shape ``(n, 3, 3)`` [-]."""
        return np.zeros((len(X), 3, 3))


@dataclass(frozen=True, eq=False)
class Affine:
    """Homogeneous deformation: ``u = t (F - 1) X``.

    Attributes:
        F: Deformation gradient at amplitude 1, shape ``(3, 3)`` [-].
    """

    F: Array

    def displacement(self, X: Array, t: ArrayLike) -> Array:
        """Displacement, shape ``(n, 3)`` [Å]."""
        return X @ (float(np.asarray(t)) * (self.F - np.eye(3))).T

    def gradient(self, X: Array, t: ArrayLike) -> Array:
        """Its gradient, the same everywhere, shape ``(n, 3, 3)`` [-]."""
        return np.broadcast_to(float(np.asarray(t)) * (self.F - np.eye(3)), (len(X), 3, 3)).copy()


@dataclass(frozen=True)
class Shift:
    """The same displacement everywhere: ``u = t value``.

    Attributes:
        value: Displacement at amplitude 1 [Å].
    """

    value: tuple[float, float, float]

    def displacement(self, X: Array, t: ArrayLike) -> Array:
        """Displacement, shape ``(n, 3)`` [Å]."""
        return np.tile(float(np.asarray(t)) * np.asarray(self.value), (len(X), 1))

    def gradient(self, X: Array, t: ArrayLike) -> Array:
        """Zeros, shape ``(n, 3, 3)`` [-]."""
        return np.zeros((len(X), 3, 3))


@dataclass(frozen=True, eq=False)
class Tabulated:
    """Displacements of given atoms, the same for every amplitude; known nowhere else.

    Attributes:
        at: Their reference positions, shape ``(n, 3)`` [Å].
        value: Displacements, shape ``(n, 3)`` [Å].
    """

    at: Array
    value: Array

    @cached_property
    def _tree(self) -> spatial.cKDTree:
        return spatial.cKDTree(self.at)

    def displacement(self, X: Array, t: ArrayLike) -> Array:
        """That of the nearest of the atoms, shape ``(n, 3)`` [Å]."""
        return self.value[self._tree.query(X)[1]] if len(X) else np.zeros((0, 3))

    def gradient(self, X: Array, t: ArrayLike) -> Array:
        """Zeros: nothing is known of it, shape ``(n, 3, 3)`` [-]."""
        return np.zeros((len(X), 3, 3))


@dataclass(frozen=True)
class Held:
    """Components of the displacement that are prescribed on a named part of the mesh.

    Attributes:
        on: Tag of nodes.
        components: Which components are held.
        field: Their displacement.
    """

    on: str
    components: tuple[bool, bool, bool]
    field: Predictor


@dataclass(frozen=True)
class Traction:
    """Dead load on a named part of the boundary, per reference area.

    Attributes:
        on: Tag of facets.
        value: Force per area at amplitude 1 [eV/Å³].
    """

    on: str
    value: tuple[float, float, float]


@dataclass(frozen=True)
class BodyForce:
    """Dead load in a named part of the body, per reference volume.

    Attributes:
        on: Tag of cells; ``None`` is the whole body.
        value: Force per volume at amplitude 1 [eV/Å⁴].
    """

    on: str | None
    value: tuple[float, float, float]


@dataclass(frozen=True)
class BoundaryLoads:
    """What acts on the named parts of a mesh; all of it grows with the amplitude.

    Attributes:
        held: Prescribed displacements; where two hold the same component of a node, the later counts.
        traction: Dead loads on the boundary; where nothing else is said it is free.
        body_force: Dead loads inside.
    """

    held: tuple[Held, ...] = ()
    traction: tuple[Traction, ...] = ()
    body_force: tuple[BodyForce, ...] = ()

    @property
    def tags(self) -> dict[str, tuple[str, ...]]:
        """Tags that the mesh must have, by what carries them."""
        return {
            "nodes": tuple(dict.fromkeys(one.on for one in self.held)),
            "facets": tuple(dict.fromkeys(one.on for one in self.traction)),
            "cells": tuple(dict.fromkeys(one.on for one in self.body_force if one.on is not None)),
        }


class Facets(Protocol):
    """Facets that know which of them is nearest."""

    def nearest_facet(self, X: Array) -> NDArray[np.int64]:
        """Index of the facet nearest to each point, shape ``(n,)``."""
        ...


@dataclass(frozen=True, eq=False)
class OnOutline:
    """Prescribed displacements of a whole outline, continued beyond it: that of the nearest facet.

    Attributes:
        outline: The facets of the outline.
        fields: Displacements.
        which: Which of them acts on each facet of the outline, shape ``(m,)``.
    """

    outline: Facets
    fields: tuple[Predictor, ...]
    which: NDArray[np.int64]

    def displacement(self, X: Array, t: ArrayLike) -> Array:
        """Displacement, shape ``(n, 3)`` [Å]."""
        out = np.zeros((len(X), 3))
        acting = self.which[self.outline.nearest_facet(X)]
        for k, one in enumerate(self.fields):
            out[acting == k] = one.displacement(X[acting == k], t)
        return out

    def gradient(self, X: Array, t: ArrayLike) -> Array:
        """Its gradient where one facet is nearest, shape ``(n, 3, 3)`` [-]."""
        out = np.zeros((len(X), 3, 3))
        acting = self.which[self.outline.nearest_facet(X)]
        for k, one in enumerate(self.fields):
            out[acting == k] = one.gradient(X[acting == k], t)
        return out


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
