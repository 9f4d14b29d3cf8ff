# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The classical handshake at crack flanks, computed from the potential by relaxing a slab.

Finite elements know neither that a free surface relaxes nor that material reaches half a layer beyond the
outermost atoms. A slab cut along the crack plane gives both, and the surface energy. Atoms near a flank get
the slab's relaxation; mesh nodes never see it, because unknowns are counted from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.atomistic import cluster_energy, relax_atoms
from msolve.crystal import OrientedCrystal
from msolve.errors import CaseError
from msolve.potentials import Potential

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Slab:
    """A relaxed slab between two free surfaces normal to x2.

    Attributes:
        surface_energy: Energy of one relaxed surface, mean of the two [eV/Å²].
        period: Periods along x1 and x3 [Å].
        reference: Unrelaxed atoms of one period, x2 = 0 in the gap below the lower surface's layer, ``(n, 3)`` [Å].
        relaxation: Displacement of each of them, zero in the middle of the slab, ``(n, 3)`` [Å].
        thickness: Distance between the two gaps [Å].
        half_gap: Distance from a cleavage plane to the surface layer [Å].
    """

    surface_energy: float
    period: tuple[float, float]
    reference: Array
    relaxation: Array
    thickness: float
    half_gap: float

    def profile(self, X: Array, tip: float, taper: float) -> Array:
        """Relaxation of the atoms on both sides of a crack along x1 < tip, x2 = 0.

        Args:
            X: Lattice sites, shape ``(n, 3)`` [Å]; ``x2 = 0`` is the cleavage plane.
            tip: x1 of the crack tip [Å].
            taper: Length over which the relaxation fades in behind the tip [Å].

        Returns:
            Displacement, shape ``(n, 3)`` [Å].

        Raises:
            CaseError: A site near the flank is not one of the slab's lattice.
        """
        out = np.zeros_like(X)
        near = np.flatnonzero((np.abs(X[:, 1]) < self.thickness / 2) & (X[:, 0] < tip))
        if len(near) == 0:
            return out
        at = X[near].copy()
        # The half-crystal above the crack lies over the slab's lower surface, the one below under its upper.
        at[:, 1] = np.where(at[:, 1] > 0, at[:, 1], at[:, 1] + self.thickness)
        p1, p3 = self.period
        box = np.array([p1, 10 * self.thickness, p3])
        known = np.mod(self.reference + 1e-6, box)
        distance, match = spatial.cKDTree(known, boxsize=box).query(np.mod(at + 1e-6, box))
        if distance.max() > 1e-3:
            raise CaseError(
                [
                    "handshake.kind = slab: the atoms at the flank are not sites of the cleaved crystal "
                    f"(off by {distance.max():.3g} angstrom); use kind: none"
                ]
            )
        s = np.clip((tip - X[near, 0]) / taper, 0, 1)
        out[near] = (s**3 * (10 - 15 * s + 6 * s**2))[:, None] * self.relaxation[match]
        return out


def relax_slab(model: Potential, crystal: OrientedCrystal, origin: Array, depth: float) -> Slab:
    """Cut a slab along x2 = 0 and relax it. Rank-local: each rank gets the same slab.

    Args:
        model: Potential.
        crystal: Stress-free crystal in its orientation.
        origin: Offset of the lattice that puts ``x2 = 0`` into the cleavage gap, shape ``(3,)`` [Å].
        depth: Smallest depth of each half of the slab [Å]; a few times the reach of the potential.

    Raises:
        CaseError: The orientation has no period along x1, or none along x2.
        ConvergenceError: The relaxation did not converge.
    """
    p1, p2, p3 = crystal.periods
    if p2 is None:
        raise CaseError(
            [
                "crystal.orientation.x2: the crack plane's normal must be a lattice direction for a slab handshake"
            ]
        )
    thickness = p2 * np.ceil(2 * depth / p2)
    # Half-open in x1 and x3, between two gaps in x2.
    sites = crystal.sites(
        lambda X: X[:, 0] < p1 - 1e-6, [(0.0, p1), (1e-6, thickness - 1e-6)], origin
    )
    X = sites.positions
    gap = 2 * float(X[:, 1].min())
    cell = np.diag([p1, thickness, p3])
    bulk = cluster_energy(model, X, sites.numbers, cell, np.array([True, True, True]))[0]

    rest = relax_atoms(
        model, X, sites.numbers, cell, np.array([True, False, True]), "the slab for the handshake"
    )
    u = rest.displacement
    middle = np.abs(X[:, 1] - thickness / 2) < 0.15 * thickness
    return Slab(
        surface_energy=(rest.energy - bulk) / (2 * p1 * p3),
        period=(p1, p3),
        reference=X,
        relaxation=u - u[middle].mean(axis=0),
        thickness=float(thickness),
        half_gap=gap / 2,
    )


def half_layer_factor(
    vertices: Array, cell_volume: Array, half_gap: float, tip: float, thickness: float
) -> Array:
    """Factor on the volume of each mesh cell that makes up for the half layer beyond a flank.

    A flank cell of volume V with a flank facet of area A stands for V + half_gap * A.

    Args:
        vertices: Vertices of the cells, shape ``(n_cells, gdim + 1, gdim)`` [Å].
        cell_volume: Volume of each, shape ``(n_cells,)`` [Å³].
        half_gap: Distance from the crack plane to the surface layer, half the missing layer's spacing [Å].
        tip: x1 of the tip; only behind it is there a flank [Å].
        thickness: Length along the front, in 2-D [Å].

    Returns:
        Shape ``(n_cells,)``; 1 away from the flanks.
    """
    factor = np.ones(len(vertices))
    gdim = vertices.shape[2]
    on_flank = (np.abs(np.abs(vertices[..., 1]) - half_gap) < 1e-6) & (
        vertices[..., 0] < tip + 1e-6
    )
    for k in range(gdim + 1):
        # Facet opposite to vertex k.
        facet = [v for v in range(gdim + 1) if v != k]
        cells = np.flatnonzero(on_flank[:, facet].all(axis=1))
        corners = vertices[cells][:, facet]
        edges = corners[:, 1:] - corners[:, :1]
        area = np.sqrt(np.abs(np.linalg.det(edges @ np.swapaxes(edges, 1, 2)))) / (
            1 if gdim == 2 else 2
        )
        factor[cells] += half_gap * area * (thickness if gdim == 2 else 1.0) / cell_volume[cells]
    return factor
