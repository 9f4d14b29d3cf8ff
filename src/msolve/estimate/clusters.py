# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Forces of the full model on the atoms of some tiles, and what a displacement leaves of them there.

Each tile brings the atoms within two reaches of the potential, at their lifted positions. The clusters of all tiles are
set down apart from each other and evaluated in one batch; the lattice between them is never made.
"""

from __future__ import annotations

from dataclasses import dataclass

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse, spatial

from msolve.assemble import Assembly, share_sites
from msolve.compare import SAME, Lifting
from msolve.crystal import Sites, nearest_neighbour_bonds
from msolve.kinematics.slaving import clear_of_slits
from msolve.regions import Regions
from msolve.solvers.lattice import local_stiffness

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

OFF = 1.234e-5
"""Shift of tiles against the origin [Å], so that no atom lies on the border of two."""


@dataclass(frozen=True)
class _Local:
    """One tile: elasticity of its atoms, all others held, and the bonds that touch it.

    ``atoms`` are those of its cluster, ``own`` those of the tile among them; ``share`` is how much of a bond is the
    tile's: a half for each end.
    """

    atoms: IntArray
    own: IntArray
    rows: sparse.csr_matrix
    factor: tuple[Array, bool]
    bonds: IntArray
    share: Array


class Clusters:
    """The atoms of some tiles, and what surrounds them.

    Args:
        coupled: The coupled problem.
        zone: What lies in these cores is not the tiles'.
        centres: Centres of the tiles, shape ``(m, gdim)`` [Å].
        side: Width of a tile [Å].
        rim: Width of the ring at the outer boundary that norms leave out [Å].

    Attributes:
        X: Reference positions of all atoms, cluster after cluster, shape ``(n, 3)`` [Å].
        tile: Whether an atom is a free one of the tile itself, shape ``(n,)``, bool.
        sites: Sites that are evaluated.

    Note:
        Construction and all methods are collective.
    """

    def __init__(
        self, coupled: Assembly, zone: Regions, centres: Array, side: float, rim: float
    ) -> None:
        self._coupled, self._comm = coupled, coupled.problem.kinematics.unknowns.comm
        self._m, self._components = len(centres), coupled.problem.kinematics.unknowns.components
        body, gdim = coupled.body, coupled.body.gdim
        parts = [_cluster(coupled, centre, side) for centre in centres]
        self.X = np.concatenate([part.positions for part in parts])
        numbers = np.concatenate([part.numbers for part in parts])
        basis = np.concatenate([part.basis_index for part in parts])
        sizes = [len(part) for part in parts]
        self._cluster = np.repeat(np.arange(self._m), sizes)
        self._start = np.cumsum([0, *sizes])
        self._body = body.shape.distance(self.X) < 0
        apart = np.abs(self.X[:, :gdim] - centres[self._cluster] - OFF)
        self.tile = (apart < 0.5 * side).all(axis=1) & self._body & (zone.distance(self.X) >= 0)
        per_side = int(np.ceil(self._m ** (1 / gdim)))
        self._place = np.stack(np.unravel_index(np.arange(self._m), (per_side,) * gdim), axis=1)
        self._centres = centres
        sites = Sites(self._apart(self.X), numbers, basis)
        needed = np.zeros(len(self.X), dtype=bool)
        for mine in self._slices():
            own = self.X[mine][self.tile[mine]]
            if len(own):
                tree = spatial.cKDTree(own[:, :gdim])
                needed[mine] = tree.query(self.X[mine, :gdim])[0] < body.margin
        self.sites = int(needed.sum())
        self._weight = needed.astype(np.float64)
        self._patch = share_sites(self._comm, body, sites, needed)
        self._inner = (
            body.inner_shifts(sites) if coupled.problem.placement.inner is not None else None
        )
        self._lift = self.lifting(coupled)
        turn = range(self._comm.rank, self._m, self._comm.size)
        self._local = {k: self._elasticity(k, rim) for k in turn if self._own(k).any()}

    def lifting(self, coupled: Assembly) -> Lifting:
        """Where these atoms are in the states of a coupled problem of the same body."""
        return Lifting(coupled, self.X, self._body, self._inner)

    def _slices(self) -> list[slice]:
        return [slice(a, b) for a, b in zip(self._start[:-1], self._start[1:], strict=True)]

    def _own(self, k: int) -> BoolArray:
        return self.tile[self._start[k] : self._start[k + 1]]

    def forces(self, z: PETSc.Vec, t: float) -> Array:
        """Gradient of the full model's energy by all atoms; right for those of tiles, ``(n, 3)`` [eV/Å].

        Raises:
            ConvergenceError: A cluster has no energy.
        """
        y = self._apart(self._lift(z, t))
        patch = self._patch
        if patch.version == 0 or patch.needs_rebuild(y[patch.local]):
            patch.rebuild(y)
        _, part = patch.evaluate(y[patch.local], self._weight)
        own, out = np.zeros_like(y), np.empty_like(y)
        own[patch.local] = part
        self._comm.Allreduce(own, out)
        return out

    def _apart(self, y: Array) -> Array:
        """Positions with the clusters on a grid around the origin: coordinates stay small and digits are not lost."""
        gdim, out = self._place.shape[1], y.copy()
        for x_tip, x_plane in self._coupled.body.slits:
            # Flanks that are out of each other's reach feel nothing of each other: brought nearer, the grid is narrow.
            upper = self.X[:, 1] > x_plane
            opening = self._mean(out[:, 1] - self.X[:, 1], upper)
            opening -= self._mean(out[:, 1] - self.X[:, 1], ~upper)
            ahead = np.bincount(self._cluster[self.X[:, 0] > x_tip], minlength=self._m) > 0
            too_far = np.maximum(opening - 2 * self._coupled.body.margin, 0.0)
            out[upper, 1] -= np.where(ahead, 0.0, too_far)[self._cluster[upper]]
        every = np.ones(len(y), dtype=bool)
        moved = [self._mean(out[:, k] - self.X[:, k], every) for k in range(3)]
        out -= np.column_stack(moved)[self._cluster]
        out[:, :gdim] -= self._centres[self._cluster]
        reach = float(np.abs(out[:, :gdim]).max(initial=0.0)) + self._coupled.body.margin
        out[:, :gdim] += 2 * reach * self._place[self._cluster]
        return out

    def _mean(self, values: Array, of: BoolArray) -> Array:
        """Mean over some atoms of each cluster, 0 without any, shape ``(m,)``."""
        which = self._cluster[of]
        count = np.bincount(which, minlength=self._m)
        return np.bincount(which, values[of], minlength=self._m) / np.maximum(count, 1)

    def _elasticity(self, k: int, rim: float) -> _Local:
        body, c = self._coupled.body, self._components
        atoms, own = np.arange(self._start[k], self._start[k + 1]), np.flatnonzero(self._own(k))
        X = self.X[atoms]
        K = local_stiffness(X, body.crystal, body.C, body.gdim, body.slits)
        part = np.arange(c)
        every = (3 * np.arange(len(atoms))[:, None] + part).ravel()
        rows = K[(3 * own[:, None] + part).ravel()][:, every]
        factor = linalg.cho_factor(rows[:, (c * own[:, None] + part).ravel()].toarray())
        near = 1.05 * body.crystal.nearest_neighbour_distance
        i, j, _ = nearest_neighbour_bonds(X, body.period, near)
        inside = body.shape.distance(X) < -rim
        tile = self._own(k)
        pair = np.stack([i, j])
        share = 0.5 * tile[pair].sum(axis=0) * inside[pair].all(axis=0)
        share *= clear_of_slits(X, pair.T, body.slits)
        return _Local(atoms, own, rows, factor, pair, share)

    def remainders(self, forces: Array, field: Array) -> tuple[Array, Array]:
        """What a displacement leaves of the forces in each tile, and the bond norm of it and of what is left.

        With ρ = r - K φ on the atoms of a tile and K_t the elasticity between them, all others held, these are
        ρᵀ K_t⁻¹ ρ and the square of the bond norm of φ + K_t⁻¹ ρ.

        Args:
            forces: From :meth:`forces`.
            field: φ at all atoms, shape ``(n, 3)`` [Å].

        Returns:
            Shapes ``(m,)`` [eV] and ``(m,)`` [Å²].
        """
        c = self._components
        own, out = np.zeros((2, self._m)), np.empty((2, self._m))
        for k, local in self._local.items():
            phi = field[local.atoms]
            left = forces[local.atoms][local.own, :c].ravel() - local.rows @ phi[:, :c].ravel()
            e = linalg.cho_solve(local.factor, left)
            own[0, k] = left @ e
            moved = phi.copy()
            moved[local.own, :c] += e.reshape(-1, c)
            stretch = moved[local.bonds[0]] - moved[local.bonds[1]]
            own[1, k] = local.share @ (stretch**2).sum(axis=1)
        self._comm.Allreduce(own, out)
        return out[0], out[1]


def _cluster(coupled: Assembly, centre: Array, side: float) -> Sites:
    """Atoms within two reaches of a tile."""
    body = coupled.body
    reach = 0.5 * side + 2 * body.margin
    box = np.stack([centre + OFF - reach, centre + OFF + reach], axis=1)
    every = body.crystal.sites(None, box, body.origin)
    X = every.positions
    there = body.shape.distance(X) < 2 * body.margin
    for void in body.voids:
        there &= void.distance(X) > 0
    if len(body.vacancies) and len(X):
        # The site nearest to each vacancy is missing; it is nearest among these if it is one of these.
        distance, gone = spatial.cKDTree(X).query(body.vacancies)
        there[gone[distance < body.crystal.nearest_neighbour_distance / 2 + SAME]] = False
    return every.select(there)
