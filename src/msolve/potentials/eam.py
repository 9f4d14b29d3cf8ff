# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Embedded-atom potential from setfl tables, several species, with closed-form derivatives.

The site energy is half of the pair energy plus the embedding energy,
    εᵢ = ½ Σⱼ φ(rᵢⱼ) + F(ρᵢ),   ρᵢ = Σⱼ f(rᵢⱼ).
Tables are interpolated by C² cubic splines, where LAMMPS has C¹ ones; on the usual fine tables
the two differ by round-off. Files are read in :mod:`msolve.potentials.tables`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from msolve.potentials.edges import Edges, HalfEdges
from msolve.potentials.protocol import FeatureHalo
from msolve.potentials.splines import cubic, cubic_curvature, cubic_slope, spline_coefficients
from msolve.potentials.tables import EAMTables


class _Chunk(NamedTuple):
    """A run of edges: both ends, unit vector (3, e), length, place in its interval, coefficients.

    ``at_centre`` and ``at_neighbour`` are those of the density that each end feels.
    """

    i: torch.Tensor
    j: torch.Tensor
    unit: torch.Tensor
    r: torch.Tensor
    p: torch.Tensor
    at_centre: torch.Tensor
    at_neighbour: torch.Tensor
    pair: torch.Tensor


class EAM:
    """Embedded-atom site model; see :class:`msolve.potentials.protocol.SiteModel`.

    Beyond the last knot the embedding function goes on linearly, as in LAMMPS.

    Args:
        tables: The tables.
        device: Device of torch, ``"cpu"`` or ``"cuda:N"``.
    """

    layers = 1
    exchange = False
    radial: Literal[True] = True
    gives = frozenset({"energy", "gradient", "site_energy", "hessian_product"})

    def __init__(self, tables: EAMTables, device: str = "cpu") -> None:
        n = len(tables.numbers)
        self.name = tables.name
        self.numbers = frozenset(tables.numbers)
        self.device = device
        self._n_species = n
        self._n_r = tables.density.shape[-1]
        self._n_density = tables.embedding.shape[-1]
        self._d_r = tables.d_r
        self._d_density = tables.d_density
        self.cutoff = min(tables.cutoff, self._n_r * tables.d_r)
        density = spline_coefficients(tables.density, tables.d_r)
        # Blocks of four: the density at the centre, that at the neighbour, and r φ. With one
        # species the first two are the same and stored once.
        blocks = [density] if n == 1 else [density, density.swapaxes(1, 2)]
        blocks.append(spline_coefficients(tables.r_pair, tables.d_r))
        radial = np.zeros((4 * len(blocks), n, n, self._n_r))  # the last place, past the end, is 0
        radial[..., :-1] = np.concatenate(blocks)
        self._radial = torch.as_tensor(radial.reshape(len(radial), -1), device=device)
        embedding = spline_coefficients(tables.embedding, tables.d_density)
        self._embedding = torch.as_tensor(embedding.reshape(4, -1), device=device)
        species = np.zeros(max(tables.numbers) + 1, dtype=np.int64)
        species[list(tables.numbers)] = np.arange(n)
        self._species = torch.as_tensor(species, device=device)

    @property
    def reach(self) -> float:
        """Distance beyond which no atom changes a site energy [Å]."""
        return self.cutoff

    @property
    def n_species(self) -> int:
        """Number of species."""
        return self._n_species

    def species(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Place of each atomic number ``(n,)`` among the species."""
        found: NDArray[np.int64] = self._species.cpu().numpy()[numbers]
        return found

    def polynomials(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
        """The cubics of the tables, in powers of the place within an interval.

        Returns:
            ``(radial, embedding, d_r, d_density)``: ``radial (4 k, tables, n)`` holds the density at the centre first
            and r φ last, for each pair of species; ``embedding (4, species, m)``; the spacings of the knots.
        """
        radial = self._radial.cpu().numpy().reshape(len(self._radial), -1, self._n_r)[..., :-1]
        embedding = self._embedding.cpu().numpy().reshape(4, self._n_species, -1)
        return radial, embedding, self._d_r, self._d_density

    def site_energy(
        self,
        vec: torch.Tensor,
        pair: torch.Tensor,
        numbers: torch.Tensor,
        n_owned: int,
        halo: FeatureHalo,
    ) -> torch.Tensor:
        """Energies of the owned sites ``(n_owned,)`` [eV]; arguments as in the protocol."""
        species = self._species[numbers]
        r = vec.square().sum(1).sqrt()
        c, knot = self._locate(r.detach(), species[pair[0]], species[pair[1]])
        p = r / self._d_r - knot
        density = r.new_zeros(n_owned).index_add(0, pair[0], cubic(c[:4], p))
        pairs = r.new_zeros(n_owned).index_add(0, pair[0], cubic(c[-4:], p) / r)
        return 0.5 * pairs + self._embed(density, species[:n_owned])[0]

    def edge_slopes(
        self,
        vec: torch.Tensor,
        pair: torch.Tensor,
        numbers: torch.Tensor,
        n_owned: int,
        copies: int = 1,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Site energies and the derivative of their sum by the edge vectors; see ``RadialForm``."""
        at, species = self._on_edges(vec, pair, numbers)
        none = at.r.new_zeros(n_owned)
        density = none.index_add(0, at.i, cubic(at.at_centre, at.p), alpha=copies)
        phi = cubic(at.pair, at.p) / at.r
        embedded, slope, _ = self._embed(density, species[:n_owned])
        energy = none.index_add(0, at.i, phi, alpha=0.5 * copies) + embedded
        tension = 0.5 * (cubic_slope(at.pair, at.p) / self._d_r - phi) / at.r
        tension += slope[at.i] * cubic_slope(at.at_centre, at.p) / self._d_r
        tension *= copies
        return energy, (tension * at.unit).T

    def edge_products(
        self,
        vec: torch.Tensor,
        pair: torch.Tensor,
        numbers: torch.Tensor,
        n_owned: int,
        copies: int = 1,
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Second derivative by the edge vectors, as a function of their change; see ``RadialForm``."""
        at, species = self._on_edges(vec, pair, numbers)
        none = at.r.new_zeros(n_owned)
        density = none.index_add(0, at.i, cubic(at.at_centre, at.p), alpha=copies)
        _, slope, curvature = self._embed(density, species[:n_owned])
        f_slope, _ = self._slopes(at, mutual=False)
        stiff, tension = self._edge_stiffness(at, False, torch.ones_like(density), slope)
        turn = tension / at.r

        def product(change: torch.Tensor) -> torch.Tensor:
            moved = change.T
            stretch = (moved * at.unit).sum(0)
            d_density = none.index_add(0, at.i, f_slope * stretch, alpha=copies)
            d_tension = (stiff - turn) * stretch + (curvature * d_density)[at.i] * f_slope
            return copies * (d_tension * at.unit + turn * moved).T

        return product

    def weighted_energy(
        self, positions: torch.Tensor, edges: Edges, weight: torch.Tensor
    ) -> tuple[float, torch.Tensor]:
        """Energy Σ wᵢ εᵢ and gradient in closed form.

        Args:
            positions: Local atoms, shape ``(n_local, 3)`` [Å].
            edges: Their edges; longer ones than the cutoff have no effect.
            weight: Factors wᵢ of the owned sites, shape ``(n_owned,)``; a site without edges here
                must have no weight, or no neighbours.

        Returns:
            Energy [eV] and its gradient, shape ``(n_local, 3)`` [eV/Å].
        """
        species, half, w = self._prepare(positions, edges, weight)
        y = positions.T.contiguous()
        density, pair_energy = torch.zeros_like(w), 0.0
        stored = []
        for span, mutual in half.chunks():
            at = self._measure(y, half, span, species)
            share = 0.5 * (w[at.i] + w[at.j] if mutual else w[at.i])
            phi = cubic(at.pair, at.p) / at.r
            pair_energy += float(share @ phi)
            density.index_add_(0, at.i, cubic(at.at_centre, at.p))
            if mutual:
                density.index_add_(0, at.j, cubic(at.at_neighbour, at.p))
            phi_slope = (cubic_slope(at.pair, at.p) / self._d_r - phi) / at.r
            stored.append((at.i, at.j, at.unit, share * phi_slope, *self._slopes(at, mutual)))
        embedded, slope, _ = self._embed(density, species)
        driven = w * slope
        gradient = torch.zeros_like(y)
        for i, j, unit, tension, f_centre, f_neighbour in stored:
            tension = tension + driven[i] * f_centre
            if f_neighbour is not None:
                tension += driven[j] * f_neighbour
            _spread(gradient, i, j, tension * unit)
        return pair_energy + float(w @ embedded), gradient.T

    def linearise(
        self, positions: torch.Tensor, edges: Edges, weight: torch.Tensor
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Hessian of Σ wᵢ εᵢ; arguments as for :meth:`weighted_energy`.

        Returns:
            A function from a direction ``(n_local, 3)`` [Å] to its product with the Hessian,
            ``(n_local, 3)`` [eV/Å].
        """
        species, half, w = self._prepare(positions, edges, weight)
        y = positions.T.contiguous()
        density = torch.zeros_like(w)
        for span, mutual in half.chunks():
            at = self._measure(y, half, span, species)
            density.index_add_(0, at.i, cubic(at.at_centre, at.p))
            if mutual:
                density.index_add_(0, at.j, cubic(at.at_neighbour, at.p))
        _, slope, curvature = self._embed(density, species)
        driven = w * slope
        stored = []
        for span, mutual in half.chunks():
            at = self._measure(y, half, span, species)
            f_centre, f_neighbour = self._slopes(at, mutual)
            stiff, tension = self._edge_stiffness(at, mutual, w, driven)
            stored.append((at.i, at.j, at.unit, stiff, tension / at.r, f_centre, f_neighbour))

        def product(direction: torch.Tensor) -> torch.Tensor:
            d = direction.T.contiguous()
            changes, d_density = [], torch.zeros_like(w)
            for i, j, unit, _, _, f_centre, f_neighbour in stored:
                change = _columns(d, j) - _columns(d, i)
                stretch = (change * unit).sum(0)
                changes.append((change, stretch))
                d_density.index_add_(0, i, f_centre * stretch)
                if f_neighbour is not None:
                    d_density.index_add_(0, j, f_neighbour * stretch)
            d_driven = w * curvature * d_density
            out = torch.zeros_like(d)
            for edge, (change, stretch) in zip(stored, changes, strict=True):
                i, j, unit, stiff, turn, f_centre, f_neighbour = edge
                d_tension = (stiff - turn) * stretch + d_driven[i] * f_centre
                if f_neighbour is not None:
                    d_tension += d_driven[j] * f_neighbour
                _spread(out, i, j, d_tension * unit + turn * change)
            return out.T

        return product

    def _prepare(
        self, positions: torch.Tensor, edges: Edges, weight: torch.Tensor
    ) -> tuple[torch.Tensor, HalfEdges, torch.Tensor]:
        """Species and weights of all local atoms; copies have no weight of their own here."""
        w = positions.new_zeros(edges.n_local)
        w[: edges.n_owned] = weight
        return self._species[edges.numbers], edges.halved, w

    def _measure(
        self, y: torch.Tensor, half: HalfEdges, span: slice, species: torch.Tensor
    ) -> _Chunk:
        i, j = half.centre[span], half.neighbour[span]
        vec = _columns(y, j) - _columns(y, i) + half.shift[:, span]
        return self._along(vec, i, j, species)

    def _on_edges(
        self, vec: torch.Tensor, pair: torch.Tensor, numbers: torch.Tensor
    ) -> tuple[_Chunk, torch.Tensor]:
        species = self._species[numbers]
        return self._along(vec.T.contiguous(), pair[0], pair[1], species), species

    def _along(
        self, vec: torch.Tensor, i: torch.Tensor, j: torch.Tensor, species: torch.Tensor
    ) -> _Chunk:
        r = vec.square().sum(0).sqrt()
        c, knot = self._locate(r, species[i], species[j])
        at_neighbour = c[4:8] if self._n_species > 1 else c[:4]
        return _Chunk(i, j, vec / r, r, r / self._d_r - knot, c[:4], at_neighbour, c[-4:])

    def _slopes(self, at: _Chunk, mutual: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
        f_centre = cubic_slope(at.at_centre, at.p) / self._d_r
        if not mutual:
            return f_centre, None
        if self._n_species == 1:
            return f_centre, f_centre
        return f_centre, cubic_slope(at.at_neighbour, at.p) / self._d_r

    def _edge_stiffness(
        self, at: _Chunk, mutual: bool, w: torch.Tensor, driven: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Second and first derivative of the energy by an edge's length, densities held fixed."""
        phi = cubic(at.pair, at.p) / at.r
        phi_slope = (cubic_slope(at.pair, at.p) / self._d_r - phi) / at.r
        phi_curvature = (cubic_curvature(at.pair, at.p) / self._d_r**2 - 2 * phi_slope) / at.r
        share = 0.5 * (w[at.i] + w[at.j] if mutual else w[at.i])
        stiff = share * phi_curvature
        stiff += driven[at.i] * cubic_curvature(at.at_centre, at.p) / self._d_r**2
        f_centre, f_neighbour = self._slopes(at, mutual)
        tension = share * phi_slope + driven[at.i] * f_centre
        if f_neighbour is not None:
            stiff += driven[at.j] * cubic_curvature(at.at_neighbour, at.p) / self._d_r**2
            tension += driven[at.j] * f_neighbour
        return stiff, tension

    def _locate(
        self, r: torch.Tensor, site: torch.Tensor, neighbour: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # The knot goes back as a float64: an int64 tensor in arithmetic with a Python float would
        # become float32 (seen with torch 2.13).
        knot = (r / self._d_r).long().clamp_(max=self._n_r - 2)
        place = torch.where(r < self.cutoff, knot, self._n_r - 1)
        if self._n_species > 1:
            place = place + (site * self._n_species + neighbour) * self._n_r
        return _columns(self._radial, place), knot.to(r.dtype)

    def _embed(
        self, density: torch.Tensor, species: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = density / self._d_density
        knot = x.detach().long().clamp(0, self._n_density - 2)
        c = _columns(self._embedding, knot + species * (self._n_density - 1))
        p = x - knot.to(x.dtype)
        inside = p.clamp(max=1.0)
        slope = cubic_slope(c, inside)
        value = cubic(c, inside) + slope * (p - inside)
        curvature = torch.where(p <= 1, cubic_curvature(c, inside), 0.0)
        return value, slope / self._d_density, curvature / self._d_density**2


def _columns(table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    # Three times as fast as index_select along the last axis (torch 2.6, CPU).
    return torch.gather(table, 1, index.expand(len(table), -1))


def _spread(out: torch.Tensor, i: torch.Tensor, j: torch.Tensor, by_edge: torch.Tensor) -> None:
    for axis in range(3):
        out[axis].index_add_(0, j, by_edge[axis])
        out[axis].index_add_(0, i, by_edge[axis], alpha=-1)
