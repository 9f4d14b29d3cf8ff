# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Displacement fields known in closed form, and what acts on the named parts of a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import spatial

Array = NDArray[np.float64]


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
