# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A learned strain-gradient energy: what the Cauchy-Born law and its elements miss where strain varies quickly.

It is a sum over columns of atoms. With q the second differences of their positions along four lattice directions,
turned back by the local rotation, and E the local strain in the plane, a site has the energy

    ½ q · B(E) q,     B(E) = B₀ + Σ E_i B_i + ... symmetric.

So its forces vanish at every homogeneous state, whatever the weights B; it does not notice rigid motions; and B = 0 is
no energy at all. It knows the lattice only: where the mesh has other nodes than atoms, it is not asked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy import spatial

from msolve.errors import UnsupportedError

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

STEPS = np.array([[1, 0], [0, 1], [1, 1], [1, -1]])
"""Directions of second differences, in basis vectors of the columns' lattice."""

BENDS = 3 * len(STEPS)
"""Components of the second differences of a site."""

SAME = 1e-3
"""Distance below which two columns are the same [Å]."""

FLANK = (0.7, 1.4)
"""Depths below the flanks of a crack between which the energy sets in, over the reach of a stencil."""

TAPER = 1.6
"""Width over which it ends where the mesh has other nodes than atoms, over the reach of a stencil."""

COUNTS = 0.1
"""Weight from which on a site is asked whether it is within the range of training."""

NAMES = (
    "E11", "E22", "E12",
    *(f"second difference {a}{b}, x{c}" for a, b in STEPS.tolist() for c in (1, 2, 3)),
)  # fmt: skip
"""Names of the invariants."""


@dataclass(frozen=True)
class ClosureModel:
    """Weights of the strain-gradient energy, and the lattice that they belong to.

    Attributes:
        basis: Basis vectors of the columns' lattice as rows, shape ``(2, 2)`` [Å].
        weights: Matrices B of the terms of the polynomial in the strain, for sites above and below the crack plane,
            shape ``(2, n_terms, BENDS, BENDS)`` [eV]; strains and differences are counted over their limits.
        limit: Largest strains (3), then largest second differences (direction by direction) [Å] in training; zero for
            one that did not occur, which is then ignored. Shape ``(3 + BENDS,)``.
    """

    basis: Array
    weights: Array
    limit: Array

    @property
    def reach(self) -> float:
        """Distance of the furthest column that a site sees [Å]."""
        return float(np.linalg.norm(STEPS @ self.basis, axis=1).max())


def invariants(Y: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Strain in the plane and turned second differences at sites, shape ``(n, 3 + BENDS)``.

    Args:
        Y: Positions of each site and of its neighbours, first those along each direction, then against it;
            shape ``(n, 9, 3)`` [Å].
        basis: Basis of the lattice as rows, shape ``(2, 2)`` [Å].
    """
    m = len(STEPS)
    ahead, behind = Y[:, 1 : m + 1], Y[:, m + 1 :]
    q = ahead + behind - 2 * Y[:, :1]
    F = torch.einsum("nkc,dk->ncd", 0.5 * (ahead[:, :2] - behind[:, :2]), torch.linalg.inv(basis))
    c, s = F[:, 0, 0] + F[:, 1, 1], F[:, 1, 0] - F[:, 0, 1]
    length = torch.sqrt(c**2 + s**2)
    c, s = (c / length)[:, None], (s / length)[:, None]
    own = (c * q[:, :, 0] + s * q[:, :, 1], c * q[:, :, 1] - s * q[:, :, 0], q[:, :, 2])
    C = torch.einsum("nci,ncj->nij", F, F)
    E = torch.stack([(C[:, 0, 0] - 1) / 2, (C[:, 1, 1] - 1) / 2, C[:, 0, 1] / 2], dim=1)
    return torch.cat([E, torch.stack(own, dim=2).flatten(1)], dim=1)


def held(found: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """Invariants over their limits, smoothly between -1 and 1; zero where there is no limit."""
    known = limit > 0
    x = torch.where(known, found / torch.where(known, limit, 1.0), 0.0)
    return x / (1 + x**8) ** 0.125


def powers(E: torch.Tensor, n_terms: int) -> torch.Tensor:
    """Products of strains ``(n, 3)``: one, the strains, their products two by two, ...; shape ``(n, n_terms)``."""
    out, degree = [torch.ones_like(E[:, 0])], 1
    while len(out) < n_terms:
        for which in itertools.combinations_with_replacement(range(3), degree):
            out.append(E[:, list(which)].prod(dim=1))
        degree += 1
    return torch.stack(out, dim=1)


def site_energies(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """½ q · B(E) q of sites with held invariants ``(n, 3 + BENDS)``, under weights ``(n, n_terms, BENDS, BENDS)``."""
    q, factor = x[:, 3:], powers(x[:, :3], weights.shape[1])
    return 0.5 * torch.einsum("ns,nsij,ni,nj->n", factor, weights, q, q)


@dataclass(frozen=True)
class ClosureSites:
    """Sites with their neighbours among some points, and what their energies are multiplied with.

    Attributes:
        model: The energy.
        points: Places of each site and its neighbours among the points, shape ``(n, 9)``.
        height: Where these rest along x3, shape ``(n, 9)`` [Å]: of a column the points hold any one image.
        factor: Shape ``(n,)``.
        side: 0 above the crack plane, 1 below it, shape ``(n,)``.
    """

    model: ClosureModel
    points: IntArray
    height: Array
    factor: Array
    side: IntArray

    def energy(self, y: Array) -> tuple[float, Array]:
        """The energy [eV] at points ``(n_points, 3)`` [Å], and its gradient, same shape [eV/Å]."""
        at = torch.from_numpy(y).requires_grad_()
        total = self._total(at)
        (gradient,) = torch.autograd.grad(total, at)
        return float(total.detach()), np.asarray(gradient.numpy())

    def hessian(self, y: Array) -> Callable[[Array], Array]:
        """The map from a change of the points ``(n_points, 3)`` to that of the gradient."""
        at = torch.from_numpy(y)
        slope = torch.func.grad(self._total)

        def product(change: Array) -> Array:
            _, out = torch.func.jvp(slope, (at,), (torch.from_numpy(change),))
            return np.asarray(out.numpy())

        return product

    def among(self, local: IntArray, n_owned: int) -> ClosureSites:
        """The sites that are owned points, by places among the local ones.

        Args:
            local: Which points are held here, owned ones first, shape ``(n_local,)``.
            n_owned: How many of them are owned.
        """
        n = int(max(local.max(initial=-1), self.points.max(initial=-1))) + 1
        place = np.full(n, -1, dtype=np.int64)
        place[local] = np.arange(len(local))
        points = place[self.points]
        mine = (points[:, 0] >= 0) & (points[:, 0] < n_owned)
        if (points[mine] < 0).any():
            raise UnsupportedError(
                "the potential reaches less far than the strain-gradient energy of the learned handshake sees; "
                "one rank would do, or another handshake"
            )
        return replace(
            self,
            points=points[mine],
            height=self.height[mine],
            factor=self.factor[mine],
            side=self.side[mine],
        )

    def invariants(self, y: Array) -> Array:
        """Strains and second differences of the sites, shape ``(n, 3 + BENDS)``."""
        return np.asarray(self._invariants(torch.from_numpy(y)).numpy())

    def _invariants(self, y: torch.Tensor) -> torch.Tensor:
        near = y[torch.from_numpy(self.points)]
        flat = torch.zeros_like(near)
        flat[:, :, 2] = torch.from_numpy(self.height)
        return invariants(near - flat, torch.from_numpy(self.model.basis))

    def _total(self, y: torch.Tensor) -> torch.Tensor:
        x = held(self._invariants(y), torch.from_numpy(self.model.limit))
        weights = torch.from_numpy(self.model.weights[self.side])
        return (torch.from_numpy(self.factor) * site_energies(x, weights)).sum()


def around_cores(
    model: ClosureModel,
    X: Array,
    beta: Array,
    distance: Array,
    on_lattice: npt.NDArray[np.bool_],
    half_gap: float,
) -> tuple[ClosureSites, ClosureSites]:
    """Sites of a crack's coupled model: those of its blended energy, and those of the force on atoms with β > 0.

    There are none where the mesh has other nodes than atoms already within the blend.

    Args:
        model: The energy.
        X: Reference positions of all atoms, shape ``(n, 3)`` [Å].
        beta: β at each, shape ``(n,)``.
        distance: Distance of each from the cores, negative inside, shape ``(n,)`` [Å].
        on_lattice: Which atoms are unknowns, or stand on nodes of the mesh, shape ``(n,)``.
        half_gap: Distance of the surface layers from the crack plane [Å].
    """
    points = stencils(X[:, :2], model.basis)
    known = points >= 0
    whole = (known & on_lattice[points]).all(axis=1)
    end = float(distance[~whole & (distance > 0)].min(initial=np.inf))
    factor = window(model, X, distance - end, half_gap) * (whole & ~across(points, X))
    if end < distance[beta < 1].max(initial=-np.inf):
        # Where the lattice ends within the blend the energy would end too steeply: measured, it does harm there.
        factor[:] = 0.0
    touched = (known & (beta[points] > 0)).any(axis=1)
    side = (X[:, 1] < 0).astype(np.int64)

    def those(weight: Array) -> ClosureSites:
        kept = np.flatnonzero(weight > 0)
        return ClosureSites(model, points[kept], X[points[kept], 2], weight[kept], side[kept])

    return those(beta * factor), those(touched * factor)


def across(points: IntArray, X: Array) -> npt.NDArray[np.bool_]:
    """Which sites, by their stencils ``(n, 9)`` among points ``X``, see both sides of a crack along x1 < 0, x2 = 0."""
    near = X[points]
    both = (near[:, :, 1].min(axis=1) < 0) & (near[:, :, 1].max(axis=1) > 0)
    return np.asarray(both & (near[:, :, 0].min(axis=1) < 0))


def window(model: ClosureModel, X: Array, beyond: Array, half_gap: float) -> Array:
    """What the energy of each site is multiplied with: it sets in below the flanks and ends where the lattice does.

    Args:
        model: The energy.
        X: Reference positions, shape ``(n, 3)`` [Å].
        beyond: How far each lies beyond the end, shape ``(n,)`` [Å].
        half_gap: Distance of the surface layers from the crack plane [Å].
    """
    reach = model.reach
    below = rise(depth_of(X, half_gap), FLANK[0] * reach, FLANK[1] * reach)
    return np.asarray(below * (1 - rise(beyond, -TAPER * reach, 0.0)))


def columns_lattice(columns: Array) -> Array:
    """Shortest basis of the lattice that columns ``(n, 2)`` [Å] form, as rows; the first is the one nearest to x1."""
    middle = np.argmin(np.linalg.norm(columns - columns.mean(axis=0), axis=1))
    d = columns - columns[middle]
    d = d[(d[:, 0] > SAME) | ((np.abs(d[:, 0]) <= SAME) & (d[:, 1] > SAME))]
    keys = d[:, 1], np.abs(d[:, 1]), np.linalg.norm(d, axis=1)
    d = d[np.lexsort([key.round(3) for key in keys])]
    area = np.abs(d[:, 0] * d[0, 1] - d[:, 1] * d[0, 0])
    return np.array([d[0], d[area > SAME][0]])


def stencils(columns: Array, basis: Array) -> IntArray:
    """Each column ``(n, 2)`` and its neighbours as in :func:`invariants`, shape ``(n, 9)``; -1 where one is missing."""
    tree = spatial.cKDTree(columns)
    steps = STEPS @ basis
    out: list[IntArray] = [np.arange(len(columns))]
    for d in (*steps, *-steps):
        away, which = tree.query(columns + d, distance_upper_bound=SAME)
        out.append(np.where(np.isfinite(away), which, -1).astype(np.int64))
    return np.column_stack(out)


def rise(x: Array, low: float, high: float) -> Array:
    """Smoothly from 0 below ``low`` to 1 above ``high``, with two continuous derivatives."""
    s = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(s**3 * (10 - 15 * s + 6 * s**2))


def depth_of(X: Array, half_gap: float) -> Array:
    """Distance of sites ``(n, 3)`` from the flanks of a crack along x1 < 0, x2 = 0 [Å]."""
    return np.asarray(np.hypot(np.maximum(X[:, 0], 0.0), X[:, 1]) - half_gap)
