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
        out[near] = fade(X[near], tip, taper)[:, None] * self.relaxation[match]
        return out


def fade(X: Array, tip: float, taper: float) -> Array:
    """Factor on the relaxation of sites ``(n, 3)`` that lets it fade in behind a tip, shape ``(n,)``."""
    s = np.clip((tip - X[:, 0]) / taper, 0, 1)
    return np.asarray(s**3 * (10 - 15 * s + 6 * s**2))


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


def layers_below(slab: Slab, n: int) -> tuple[Array, Array]:
    """The outermost layers of both flanks of a crack: the lower surface of the slab and its upper one.

    Args:
        slab: Relaxed slab.
        n: Layers on each side.

    Returns:
        ``(depths, relaxation)``: below the surface layer ``(2, n)`` [Å], upper flank first, and what each layer is
        displaced by, ``(2, n, 3)`` [Å].

    Raises:
        CaseError: Atoms of one layer relax differently; no displacement of the layer describes that.
    """
    depths, relaxation = [], []
    for side in (1.0, -1.0):
        plane = slab.half_gap if side > 0 else slab.thickness - slab.half_gap
        depth = side * (slab.reference[:, 1] - plane)
        levels = np.unique(depth.round(4))[:n]
        rows = []
        for level in levels:
            u = slab.relaxation[np.abs(depth - level) < 1e-3]
            if np.abs(u - u[0]).max() > 1e-4:
                raise CaseError(
                    [
                        "crystal.orientation: the atoms of one layer of the flank relax differently; a learned "
                        "handshake moves layers as a whole. kind: slab would do"
                    ]
                )
            rows.append(u.mean(axis=0))
        depths.append(levels)
        relaxation.append(rows)
    return np.array(depths), np.array(relaxation)


@dataclass(frozen=True)
class HalfLayers:
    """The material between the outermost atoms of a flank and the crack plane, which no mesh cell covers.

    Attributes:
        cells: Mesh cell that each piece belongs to, shape ``(k,)``.
        corners: Corners of its facet on the flank, shape ``(k, gdim, gdim)`` [Å].
        half_gap: Thickness, the distance from the surface layer to the crack plane [Å].
    """

    cells: npt.NDArray[np.int64]
    corners: Array
    half_gap: float

    @property
    def volume(self) -> Array:
        """Volume of each piece per unit length along the front in the plane, shape ``(k,)`` [Å² or Å³]."""
        edges = self.corners[:, 1:] - self.corners[:, :1]
        gram = np.linalg.det(edges @ np.swapaxes(edges, 1, 2))
        simplices = 1 if self.corners.shape[2] == 2 else 2
        return np.asarray(self.half_gap * np.sqrt(np.abs(gram)) / simplices)

    def points(self, n: int) -> Array:
        """``n`` points of equal weight halfway through each piece, shape ``(k, n, 3)`` [Å].

        On an edge 1 or 3 (exact to third order), on a triangle 1 or 4 (the centroids of its four parts).
        """
        gdim = self.corners.shape[2]
        shares: Array
        if n == 1:
            shares = np.full((1, gdim), 1 / gdim)
        elif gdim == 2:
            s = 0.5 + np.sqrt(0.125) * np.array([-1.0, 0.0, 1.0])
            shares = np.column_stack([1 - s, s])
        else:
            shares = (np.vstack([np.eye(3), np.zeros((1, 3))]) + 1) / np.array([[4], [4], [4], [3]])
        assert len(shares) == n
        X = np.zeros((len(self.cells), n, 3))
        X[..., :gdim] = shares @ self.corners
        X[..., 1] -= np.sign(X[..., 1]) * self.half_gap / 2
        return X


def half_layers(vertices: Array, half_gap: float, tip: float) -> HalfLayers:
    """The half layers beyond the flanks of a crack along x1 < ``tip``, x2 = 0.

    Args:
        vertices: Vertices of the mesh cells, shape ``(n_cells, gdim + 1, gdim)`` [Å].
        half_gap: Distance from the crack plane to the surface layer, half the missing layer's spacing [Å].
        tip: x1 of the tip; only behind it is there a flank [Å].
    """
    gdim = vertices.shape[2]
    found, corners = [], []
    for side in (1.0, -1.0):  # the end of a blunt slit has corners on both
        on_flank = (np.abs(vertices[..., 1] - side * half_gap) < 1e-6) & (
            vertices[..., 0] < tip + 1e-6
        )
        for k in range(gdim + 1):
            facet = [v for v in range(gdim + 1) if v != k]  # opposite to vertex k
            cells = np.flatnonzero(on_flank[:, facet].all(axis=1))
            found.append(cells)
            corners.append(vertices[cells][:, facet])
    return HalfLayers(np.concatenate(found), np.concatenate(corners), half_gap)
