# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Linear elasticity of the lattice, as a matrix between atoms: on simplices in the plane, by bonds elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse, spatial

from msolve.crystal import OrientedCrystal, nearest_neighbour_bonds
from msolve.kinematics import Kinematics, clear_of_slits, petsc_matrix, project
from msolve.problem import CoupledProblem

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SAME_SHELL = 0.04
"""Relative difference of lengths within one shell of neighbours."""

SHEAR_OF_A_BOND = 0.05
"""Least transverse constant of a bond over the largest central one: no lattice is then floppy."""


@dataclass(frozen=True)
class Bonds:
    """Springs between near neighbours whose lattice is about as stiff as a crystal, never floppy.

    In space the simplices between the sites of a lattice are degenerate, and in projections of crystals with
    several atoms per cell some atoms are no corner of any. Bonds serve every crystal.

    Attributes:
        lengths: Largest length of each shell, ascending, shape ``(s,)`` [Å].
        central: Constant along the bond, shape ``(s,)`` [eV/Å²].
        transverse: Constant across it, shape ``(s,)`` [eV/Å²].
        period: Period along x3 [Å], or ``None``.
    """

    lengths: Array
    central: Array
    transverse: Array
    period: float | None

    @classmethod
    def fitted(cls, crystal: OrientedCrystal, C: Array, period: float | None) -> Bonds:
        """Constants of the first two shells, by least squares without negative ones.

        Args:
            crystal: Crystal at rest.
            C: Its elastic constants, shape ``(3, 3, 3, 3)`` [eV/Å³].
            period: Period along x3 [Å], or ``None``.

        References:
            Born, Huang, Dynamical Theory of Crystal Lattices (Oxford, 1954), section 3.
        """
        shell = crystal.shell(2.0 * crystal.nearest_neighbour_distance)
        length = np.linalg.norm(shell.vectors, axis=1)
        starts = np.sort(length)
        starts = starts[np.concatenate([[True], np.diff(starts) > SAME_SHELL * starts[:-1]])][:2]
        number = np.searchsorted(starts * (1 - SAME_SHELL / 2), length, side="right") - 1
        kept = length < starts[-1] * (1 + SAME_SHELL)
        r, unit = shell.vectors[kept], shell.vectors[kept] / length[kept, None]
        number = number[kept]
        volume = 2 * crystal.crystal.n_basis * crystal.crystal.atomic_volume
        along = np.einsum("bi,bk,bj,bl->bijkl", unit, unit, r, r) / volume
        across = np.einsum("ik,bj,bl->bijkl", np.eye(3), r, r) / volume - along
        columns = []
        for k in range(len(starts)):
            least = SHEAR_OF_A_BOND * across[number == k].sum(axis=0)
            columns += [along[number == k].sum(axis=0) + least, across[number == k].sum(axis=0)]
        found = optimize.nnls(np.array([c.ravel() for c in columns]).T, C.ravel())[0].reshape(-1, 2)
        central = np.maximum(found[:, 0], SHEAR_OF_A_BOND * found[:, 0].max())
        transverse = SHEAR_OF_A_BOND * central + found[:, 1]
        return cls(starts * (1 + SAME_SHELL), central, transverse, period)

    def stiffness(
        self, problem: CoupledProblem, weight: Array, slits: tuple[tuple[float, float], ...]
    ) -> PETSc.Mat:
        """Matrix between the atoms, each bond weighted by the mean weight of its ends. Collective."""
        X, kinematics = problem.placement.X, problem.kinematics
        # Every rank takes the bonds that touch its atoms and keeps the rows of these: no exchange.
        owned = kinematics.atom_owner == kinematics.unknowns.comm.rank
        return _assembled(kinematics, *self.elements(X, weight, slits, owned))

    def elements(
        self,
        X: Array,
        weight: Array,
        slits: tuple[tuple[float, float], ...],
        wanted: npt.NDArray[np.bool_],
    ) -> tuple[IntArray, Array]:
        """Ends ``(m, 2)`` and matrices ``(m, 2, 3, 2, 3)`` of the bonds that touch wanted atoms. Rank-local."""
        i, j, shift = nearest_neighbour_bonds(X, self.period, float(self.lengths[-1]))
        mean = 0.5 * (weight[i] + weight[j])
        mean[~clear_of_slits(X, np.stack([i, j], axis=1), slits)] = 0.0
        mine = (mean > 0) & (i != j) & (wanted[i] | wanted[j])
        i, j, shift, mean = i[mine], j[mine], shift[mine], mean[mine]
        r = X[j] - X[i] + shift
        length = np.linalg.norm(r, axis=1)
        number = np.searchsorted(self.lengths, length)
        unit = r / length[:, None]
        k = self.transverse[number, None, None] * np.eye(3)
        k = k + (self.central - self.transverse)[number, None, None] * (
            unit[:, :, None] * unit[:, None, :]
        )
        k *= mean[:, None, None]
        signs = np.array([[1.0, -1.0], [-1.0, 1.0]])
        return np.stack([i, j], axis=1), np.einsum("mn,bij->bminj", signs, k)


def lattice_stiffness(
    problem: CoupledProblem,
    crystal: OrientedCrystal,
    C: Array,
    weight: Array,
    gdim: int,
    slits: tuple[tuple[float, float], ...] = (),
) -> PETSc.Mat:
    """Linear elasticity between the atoms, weighted by the mean weight of neighbours. Collective.

    Args:
        problem: Problem whose atoms are meant.
        crystal: Crystal at rest.
        C: Elastic constants, shape ``(3, 3, 3, 3)`` [eV/Å³].
        weight: Weight of each atom, shape ``(n_atoms,)``.
        gdim: 2 for one period along x3, or 3.
        slits: Cracks that nothing may cross.
    """
    if gdim == 2 and crystal.crystal.n_basis == 1:
        return _simplex_stiffness(problem, C, weight, crystal.period, slits)
    bonds = Bonds.fitted(crystal, C, crystal.period if gdim == 2 else None)
    return bonds.stiffness(problem, weight, slits)


def local_stiffness(
    X: Array,
    crystal: OrientedCrystal,
    C: Array,
    gdim: int,
    slits: tuple[tuple[float, float], ...] = (),
) -> sparse.csr_matrix:
    """The same between a few atoms ``(n, 3)``, all of weight one, on one rank; ``(3 n, 3 n)``. Rank-local."""
    n = len(X)
    if gdim == 2 and crystal.crystal.n_basis == 1:
        columns = project(X, 2)
        atoms, K = _simplices(columns.points, np.ones(n), C, crystal.period, slits)
        atoms = columns.atoms[columns.start][atoms]
    else:
        bonds = Bonds.fitted(crystal, C, crystal.period if gdim == 2 else None)
        atoms, K = bonds.elements(X, np.ones(n), slits, np.ones(n, dtype=bool))
    place = 3 * atoms[..., None] + np.arange(3)
    i = np.broadcast_to(place[:, :, :, None, None], K.shape)
    j = np.broadcast_to(place[:, None, None, :, :], K.shape)
    return sparse.coo_matrix((K.ravel(), (i.ravel(), j.ravel())), shape=(3 * n, 3 * n)).tocsr()


def _simplex_stiffness(
    problem: CoupledProblem,
    C: Array,
    weight: Array,
    thickness: float,
    slits: tuple[tuple[float, float], ...],
) -> PETSc.Mat:
    """On the triangles between columns of atoms."""
    kinematics = problem.kinematics
    columns = project(problem.placement.X, 2)
    representative = columns.atoms[columns.start]
    # Every rank computes the simplices that touch its atoms and keeps the rows of these: no exchange.
    own = kinematics.atom_owner[representative] == kinematics.unknowns.comm.rank
    weights = weight[representative]
    simplices, K = _simplices(columns.points, weights, C, thickness, slits, own)
    return _assembled(kinematics, representative[simplices], K)


def _simplices(
    points: Array,
    weight: Array,
    C: Array,
    thickness: float,
    slits: tuple[tuple[float, float], ...],
    wanted: npt.NDArray[np.bool_] | None = None,
) -> tuple[IntArray, Array]:
    """Corners ``(e, 3)`` and matrices ``(e, 3, 3, 3, 3)`` of the triangles with a wanted corner."""
    simplices = spatial.Delaunay(points).simplices
    simplices = simplices[clear_of_slits(points, simplices, slits)]
    mean = weight[simplices].mean(axis=1)
    mine = mean > 0
    if wanted is not None:
        mine &= wanted[simplices].any(axis=1)
    simplices, mean = simplices[mine], mean[mine]
    corner = points[simplices]
    edges = np.swapaxes(corner[:, 1:] - corner[:, :1], 1, 2)
    area = np.abs(np.linalg.det(edges)) / 2
    flat = area < 1e-6 * np.max(area, initial=1.0)
    simplices, mean, edges, area = simplices[~flat], mean[~flat], edges[~flat], area[~flat]
    inner = np.linalg.inv(edges)
    gradients = np.concatenate([-inner.sum(axis=1, keepdims=True), inner], axis=1)
    K = np.einsum(
        "e,emJ,iJkL,enL->emink",
        mean * area * thickness,
        gradients,
        C[:, :2, :, :2],
        gradients,
        optimize=True,
    )
    return simplices, K


def _assembled(kinematics: Kinematics, atoms: IntArray, K: Array) -> PETSc.Mat:
    """Sum of small matrices ``K (n, m, 3, m, 3)`` between groups of atoms ``(n, m)``. Collective."""
    comm, owner = kinematics.unknowns.comm, kinematics.atom_owner
    place = 3 * kinematics.atom_rows()[atoms][..., None] + np.arange(3)
    j = np.broadcast_to(place[:, None, None, :, :], K.shape)
    i = np.broadcast_to(place[:, :, :, None, None], K.shape)
    own = np.broadcast_to((owner[atoms] == comm.rank)[:, :, None, None, None], K.shape)
    local = 3 * len(kinematics.owned_atoms)
    first = int(comm.exscan(local) or 0)
    csr = sparse.coo_matrix(
        (K[own], (i[own] - first, j[own])), shape=(local, 3 * len(owner))
    ).tocsr()
    return petsc_matrix(comm, csr, local, (3, 3))
