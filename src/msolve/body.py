# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What is solved: crystal, potential, defect, load and domain, whatever the way it is solved."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.continuum.energy import Material
from msolve.crystal import OrientedCrystal, Sites
from msolve.errors import CaseError
from msolve.handshake.operator import FlankModel
from msolve.handshake.shifts import InnerShifts, ShiftLaw
from msolve.handshake.slab import Slab
from msolve.loads import BoundaryLoads
from msolve.parallel import Pools
from msolve.placement import Displacement
from msolve.potentials import Potential
from msolve.regions import Shape

Array = npt.NDArray[np.float64]

STRETCH = 1.1
"""How far apart atoms in reach of each other may lie in the reference crystal, over the reach."""


@dataclass(frozen=True)
class Body:
    """What is solved.

    Attributes:
        crystal: Stress-free crystal in its orientation.
        origin: Laboratory position of the lattice point 0, shape ``(3,)`` [Å].
        model: Potential.
        material: Cauchy-Born law of the same potential.
        C: Elastic constants in laboratory axes, shape ``(3, 3, 3, 3)`` [eV/Å³].
        far_field: Displacement imposed at the outer boundary.
        predictor: Displacement that the unknowns correct; the far field itself, or zero.
        shape: What is solved: a disc or ball around the origin, or the outline of a mesh.
        vacancies: Sites to leave out, shape ``(n, 3)`` [Å]; the nearest site to each is taken.
        voids: Shapes without atoms.
        crack: Whether the body is cut along x1 < 0, x2 = 0.
        half_gap: Distance from the crack plane to the layers beside it [Å].
        slab: Slab handshake for the flanks, or ``None``.
        learned: Learned handshake on top of the slab, or ``None``.
        components: Displacement components, 2 for purely planar crystals.
        gdim: Dimension of the mesh: 2, periodic along the front, or 3.
        loads: What acts on the named parts of the mesh, instead of the far field on its outer boundary.
        pools: Ranks that evaluate the potential for others; every rank does for itself by default.
        lines: Where dislocations along x3 cross the plane, shape ``(n, 3)`` [Å].
    """

    crystal: OrientedCrystal
    origin: Array
    model: Potential
    material: Material
    C: Array
    far_field: Displacement
    predictor: Displacement
    shape: Shape
    vacancies: Array
    crack: bool = False
    half_gap: float = 0.0
    slab: Slab | None = None
    learned: FlankModel | None = None
    components: int = 3
    gdim: int = 2
    loads: BoundaryLoads | None = None
    voids: tuple[Shape, ...] = ()
    pools: Pools | None = None
    lines: Array = field(default_factory=lambda: np.zeros((0, 3)))

    @property
    def defects(self) -> Array:
        """Around what norms count as near the defect: vacancies, dislocations, or the origin, ``(n, 3)`` [Å]."""
        found = np.concatenate([self.vacancies, self.lines])
        return found if len(found) else np.zeros((1, 3))

    @property
    def radius(self) -> float:
        """Distance of the furthest point of the body from the origin [Å]."""
        return self.shape.extent()

    @property
    def volume(self) -> float:
        """That of the disc, one period thick, or ball around the body [Å³]."""
        if self.period is None:
            return 4 / 3 * float(np.pi) * self.radius**3
        return float(np.pi) * self.radius**2 * self.period

    @property
    def period(self) -> float | None:
        """Period along the front x3 [Å]; ``None`` in space."""
        return self.crystal.period if self.gdim == 2 else None

    @property
    def slits(self) -> tuple[tuple[float, float], ...]:
        """Cracks as (x1 of the tip, x2 of the plane) [Å]."""
        return ((0.0, 0.0),) if self.crack else ()

    @property
    def margin(self) -> float:
        """Distance in the reference crystal beyond which no atom enters a site's energy [Å]."""
        return STRETCH * self.model.reach

    def sites(self, beyond: float, reach: float = np.inf) -> Sites:
        """Atoms of the body and within ``beyond`` [Å] of it, in the plane one period along the front.

        Those with a coordinate above ``reach`` [Å] are left out.
        """
        reach = min(self.radius + beyond, reach)
        # A vacancy beyond may be nearest to a site within: look for sites a little further.
        near = self.crystal.nearest_neighbour_distance
        wide = reach + 2 * near
        every = self.crystal.sites(
            lambda X: self.shape.distance(X) < beyond, [(-wide, wide)] * self.gdim, self.origin
        )
        for void in self.voids:
            every = every.select(void.distance(every.positions) > 0)
        seen = np.abs(self.vacancies[:, : self.gdim]).max(axis=1, initial=0.0) <= reach + near
        every = without(every, self.vacancies[seen], self.crystal, "defect.positions")
        return every.select(
            np.abs(every.positions[:, : self.gdim]).max(axis=1, initial=0.0) <= reach
        )

    def beside_missing(self, X: Array, within: float) -> npt.NDArray[np.bool_]:
        """Places ``(n, 3)`` this close to a missing site [Å]; in the plane, to its column."""
        found = np.zeros(len(X), dtype=bool)
        if len(self.vacancies):
            tree = spatial.cKDTree(self.vacancies[:, : self.gdim])
            found |= tree.query(X[:, : self.gdim])[0] < within
        for void in self.voids:
            found |= void.distance(X) < within
        return found

    def relaxation(self, X: Array) -> Array:
        """Surface relaxation of the flanks, shape ``(n, 3)`` [Å]."""
        if self.slab is None:
            return np.zeros_like(X)
        return self.slab.profile(X, tip=0.0, taper=self.taper)

    @property
    def taper(self) -> float:
        """Length over which the relaxation of the flanks fades in behind the tip [Å]."""
        return 3 * self.crystal.nearest_neighbour_distance

    def inner_shifts(self, atoms: Sites) -> InnerShifts | None:
        """How the sublattices of some atoms of the body shift, if there are several and the law knows."""
        if self.crystal.crystal.n_basis == 1 or not isinstance(self.material, ShiftLaw):
            return None
        return InnerShifts(self.material, atoms.basis_index)

    @property
    def cell(self) -> Array:
        """Box whose third axis is the period along the front, if there is one; the others are open."""
        return np.diag([1.0, 1.0, self.period or 1.0])


def without(every: Sites, vacancies: Array, crystal: OrientedCrystal, key: str) -> Sites:
    """Sites less the one nearest to each vacancy ``(n, 3)`` [Å].

    Raises:
        CaseError: No site is near a vacancy; names ``key``.
    """
    if len(vacancies) == 0:
        return every
    distance, gone = spatial.cKDTree(every.positions).query(vacancies)
    far = distance > crystal.nearest_neighbour_distance
    if far.any():
        raise CaseError([f"{key}: {vacancies[far][0].tolist()}: no site of the crystal is near"])
    if len(np.unique(gone)) < len(gone):
        twice = np.flatnonzero(np.bincount(gone) > 1)[0]
        at = every.positions[twice].round(2).tolist()
        raise CaseError([f"{key}: two points take the same atom, that at {at}"])
    keep = np.ones(len(every), dtype=bool)
    keep[gone] = False
    return every.select(keep)
