# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a crack tip feels, from the displacements of the atoms in a ring around it.

Contour integrals in the form of a domain: a test field q is 1 inside the ring and 0 outside. The displacement u is
linear on the triangles between neighbouring columns of atoms, W and P are the potential's own Cauchy-Born law:

    J = ∫ (P_iJ u_i,1 - W δ_1J) q,_J dA

is the energy that the tip sets free per area of advance, the same for every ring. With linear elasticity and
the field a of another crack,

    I(u, a) = ∫ (C∇u_iJ a_i,1 + C∇a_iJ u_i,1 - C∇a:∇u δ_1J) q,_J dA = kᵀ L⁻¹ k_a

gives each stress intensity alone, as a linear function of u. The relaxation of the flanks is no strain
of the crack's field: u leaves it out.

References:
    F. Z. Li, C. F. Shih, A. Needleman, Eng. Fract. Mech. 21, 405 (1985): domain integrals.
    J. F. Yau, S. S. Wang, H. T. Corten, J. Appl. Mech. 47, 335 (1980): interaction integrals.
    T. C. T. Ting, Anisotropic Elasticity (Oxford, 1996), section 11.4: k and L.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.assemble import Assembly
from msolve.body import Body
from msolve.continuum.energy import Material
from msolve.continuum.pooled import PooledLaw
from msolve.errors import CaseError
from msolve.handshake.slab import half_layers
from msolve.kinematics import clear_of_slits, project
from msolve.loads import KField
from msolve.parallel import all_or_none
from msolve.quantities.functionals import Linear

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

STRETCH = 1.001
"""Of the lattice normal to the cut, for the triangulation only."""

LAYERS = 4
"""Layers of atoms that a ring must be wide, at least."""


def check_ring(body: Body, inner: float, outer: float) -> None:
    """Refuse a ring [Å] that does not fit into a body, or holds too few atoms; raises ``CaseError``."""
    least = LAYERS * body.crystal.nearest_neighbour_distance
    if outer > body.radius:
        raise CaseError(
            [
                f"outer = {outer:g} angstrom: reaches beyond the body, whose radius is {body.radius:g} angstrom; "
                "must not be larger"
            ]
        )
    if outer - inner < least:
        raise CaseError(
            [
                f"outer = {outer:g} angstrom: must be {inner + least:.1f} angstrom or more, {LAYERS} distances of "
                "neighbours beyond inner"
            ]
        )


@dataclass(frozen=True, eq=False)
class Ring:
    """The triangles between columns of atoms where q changes, and what is linear on them.

    Attributes:
        corners: Atom that stands for the column at each corner, shape ``(m, 3)``.
        gradients: Gradients of the three hat functions, shape ``(m, 3, 2)`` [1/Å].
        area: Shape ``(m,)`` [Å²].
        slope: Gradient of q, shape ``(m, 2)`` [1/Å].
    """

    corners: IntArray
    gradients: Array
    area: Array
    slope: Array

    @classmethod
    def around(cls, full: Assembly, inner: float, outer: float) -> Ring:
        """The ring between two radii [Å] around the end of the cut.

        Raises:
            CaseError: It does not fit into the body, or holds too few atoms.
        """
        body, X = full.body, full.X
        check_ring(body, inner, outer)
        # One sublattice holds the whole strain; how the others shift inside, the law knows.
        near = np.linalg.norm(X[:, :2], axis=1) < outer + 2 * body.crystal.sublattice_spacing
        first = np.flatnonzero((body.sites(2 * body.margin).basis_index == 0) & near)
        columns = project(X[first], 2)
        # Of the two diagonals of a square take the one along the flanks: the other would cross the cut.
        triangles = spatial.Delaunay(columns.points * (1.0, STRETCH)).simplices
        kept = clear_of_slits(columns.points, triangles, body.slits)
        away = np.linalg.norm(columns.points, axis=1)
        s = np.clip((away - inner) / (outer - inner), 0.0, 1.0)
        q = 1 - s**2 * (3 - 2 * s)
        kept &= np.ptp(q[triangles], axis=1) > 0
        triangles = triangles[kept]
        place = columns.points[triangles]
        edges = np.swapaxes(place[:, 1:] - place[:, :1], 1, 2)
        area = np.abs(np.linalg.det(edges)) / 2
        # Between rows of atoms just outside the body there may be triangles without any area.
        flat = area < 1e-6 * area.max(initial=0.0)
        triangles, place = triangles[~flat], place[~flat]
        edges, area = edges[~flat], area[~flat]
        inverse = np.linalg.inv(edges)
        hats = np.concatenate([-inverse.sum(axis=1, keepdims=True), inverse], axis=1)
        slope = np.einsum("mc,mcJ->mJ", q[triangles], hats)
        if body.crack:
            # The flanks stand for half a layer more than lies between the atoms.
            beyond = half_layers(place, body.half_gap, 0.0)
            np.add.at(area, beyond.cells, beyond.volume)
        return cls(first[columns.atoms[columns.start]][triangles], hats, area, slope)

    def share(self, comm: MPI.Comm) -> Ring:
        """This rank's part of the triangles."""
        mine = np.array_split(np.arange(len(self.area)), comm.size)[comm.rank]
        return Ring(self.corners[mine], self.gradients[mine], self.area[mine], self.slope[mine])

    def gradient(self, u: Array) -> Array:
        """Gradient of a field of the atoms ``(n, 3)``, shape ``(m, 3, 3)`` [-]; its third column is zero."""
        out = np.zeros((len(self.area), 3, 3))
        out[:, :, :2] = np.einsum("mci,mcJ->miJ", u[self.corners], self.gradients)
        return out

    def pushed(self, by_gradient: Array, n: int) -> Array:
        """The transpose of :meth:`gradient`: from ``(m, 3, 3)`` to ``(n, 3)``."""
        parts = np.einsum("miJ,mcJ->mci", by_gradient[:, :, :2], self.gradients).reshape(-1, 3)
        atom = self.corners.ravel()
        return np.column_stack([np.bincount(atom, parts[:, i], n) for i in range(3)])


def stress_intensity(full: Assembly, rest: Array, mode: int, inner: float, outer: float) -> Linear:
    """K_I, K_II or K_III (``mode`` 0, 1, 2) by the interaction integral [eV/Å^2.5]. Rank-local.

    Args:
        full: Full atomistic model of a body with a crack.
        rest: Its atoms where K is zero, flanks relaxed, shape ``(n, 3)`` [Å].
        mode: Which of the three.
        inner: Radius inside which q is 1 [Å].
        outer: Radius beyond which q is 0 [Å].

    Raises:
        CaseError: The ring does not fit into the body.
    """
    ring, C = Ring.around(full, inner, outer), full.body.C
    field = KField(C)
    # k = (K_II, K_I, K_III); the auxiliary field with k_a = L e takes one component out of kᵀ L⁻¹ k_a.
    place = (1, 0, 2)[mode]
    k = np.linalg.solve(field.compliance(), np.eye(3)[place])
    a = ring.gradient(field.displacement(full.X, k[[1, 0, 2]]))
    stress = np.einsum("ijkl,mkl->mij", C, a)
    q = np.concatenate([ring.slope, np.zeros((len(ring.area), 1))], axis=1)
    by_gradient = np.einsum("mi,mJ,iJkL->mkL", a[:, :, 0], q, C, optimize=True)
    by_gradient[:, :, 0] += np.einsum("miJ,mJ->mi", stress, q)
    by_gradient -= q[:, 0, None, None] * stress
    return Linear(ring.pushed(ring.area[:, None, None] * by_gradient, len(rest)), rest)


@dataclass(frozen=True, eq=False)
class EnergyRelease:
    """J by the Cauchy-Born law of the potential [eV/Å²].

    Attributes:
        ring: This rank's triangles.
        law: The law.
        rest: Atoms where the crack's field is zero, flanks relaxed, shape ``(n, 3)`` [Å].
        none: Energy density of the crystal at rest [eV/Å³].
        comm: Ranks that share the triangles.
    """

    ring: Ring
    law: Material
    rest: Array
    none: float
    comm: MPI.Comm

    @classmethod
    def of(cls, full: Assembly, rest: Array, inner: float, outer: float) -> EnergyRelease:
        """Of a body with a crack; arguments as for :func:`stress_intensity`. Collective."""
        comm, body = full.problem.kinematics.unknowns.comm, full.body
        ring = Ring.around(full, inner, outer).share(comm)
        law = body.material if body.pools is None else PooledLaw(body.material, body.pools.comm)
        return cls(ring, law, rest, float(law.energy_density(np.eye(3)[None])[0][0]), comm)

    @property
    def linear(self) -> bool:
        """Never."""
        return False

    def value(self, y: Array) -> float:
        """See ``Functional``; raises ``ConvergenceError`` on every rank where the law has no energy."""
        G = self.ring.gradient(y - self.rest)
        with all_or_none(self.comm, "evaluating the energy release rate"):
            W, P = self.law.energy_density(np.eye(3) + G)
        q = self.ring.slope
        part = np.einsum("miJ,mi,mJ->m", P[:, :, :2], G[:, :, 0], q) - (W - self.none) * q[:, 0]
        return float(self.comm.allreduce(float(self.ring.area @ part)))

    def slope(self, y: Array) -> Array:
        """See ``Functional``; raises as :meth:`value`."""
        G, q = self.ring.gradient(y - self.rest), self.ring.slope
        F = np.eye(3) + G
        with all_or_none(self.comm, "evaluating the energy release rate"):
            P, A = self.law.energy_density(F)[1], self.law.tangent(F)
        by_gradient = np.einsum("miJkL,mi,mJ->mkL", A[:, :, :2], G[:, :, 0], q, optimize=True)
        by_gradient[:, :, 0] += np.einsum("miJ,mJ->mi", P[:, :, :2], q)
        by_gradient -= q[:, 0, None, None] * P
        share = self.ring.pushed(self.ring.area[:, None, None] * by_gradient, len(y))
        out = np.empty_like(share)
        self.comm.Allreduce(share, out)
        return out


@dataclass(frozen=True, eq=False)
class Equivalent:
    """The K_I that releases as much energy as J: the root of 2 J over the compliance [eV/Å^2.5].

    Attributes:
        release: J.
        compliance: (L⁻¹)₂₂ [Å³/eV].
    """

    release: EnergyRelease
    compliance: float

    @property
    def linear(self) -> bool:
        """Never."""
        return False

    def value(self, y: Array) -> float:
        """See ``Functional``; negative where J is."""
        J = self.release.value(y)
        return float(np.sign(J) * np.sqrt(2 * abs(J) / self.compliance))

    def slope(self, y: Array) -> Array:
        """See ``Functional``."""
        return np.asarray(self.release.slope(y) / (self.compliance * abs(self.value(y))))
