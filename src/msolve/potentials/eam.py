# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Embedded-atom potential from setfl tables, several species, with closed-form derivatives.

The site energy is half of the pair energy plus the embedding energy,
    εᵢ = ½ Σⱼ φ(rᵢⱼ) + F(ρᵢ),   ρᵢ = Σⱼ f(rᵢⱼ).
Tables are interpolated by C² cubic splines, where LAMMPS has C¹ ones; on the usual fine tables
the two differ by round-off. Files are read in :mod:`msolve.potentials.tables`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from msolve.potentials.edges import Edges
from msolve.potentials.protocol import FeatureHalo
from msolve.potentials.splines import cubic, cubic_curvature, cubic_slope, spline_rows
from msolve.potentials.tables import EAMTables


class _Chunk(NamedTuple):
    """Edges of a run of centres: species, geometry and radial functions there."""

    centre: torch.Tensor
    neighbour: torch.Tensor
    unit: torch.Tensor
    r: torch.Tensor
    row: torch.Tensor
    p: torch.Tensor


class EAM:
    """Embedded-atom site model; see :class:`msolve.potentials.protocol.SiteModel`.

    Beyond the last knot the embedding function goes on linearly, as in LAMMPS.

    Args:
        tables: The tables.
        device: ``"cpu"`` or ``"cuda"``.
    """

    layers = 1
    exchange = False
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
        radial = np.zeros((n, n, self._n_r, 8))  # one row more than intervals: zero, past the end
        radial[:, :, :-1, :4] = spline_rows(tables.density, tables.d_r)
        radial[:, :, :-1, 4:] = spline_rows(tables.r_pair, tables.d_r)
        self._radial = torch.as_tensor(radial.reshape(-1, 8), device=device)
        rows = spline_rows(tables.embedding, tables.d_density)
        self._embedding = torch.as_tensor(rows.reshape(-1, 4), device=device)
        species = np.zeros(max(tables.numbers) + 1, dtype=np.int64)
        species[list(tables.numbers)] = np.arange(n)
        self._species = torch.as_tensor(species, device=device)

    @property
    def reach(self) -> float:
        """Distance beyond which no atom changes a site energy [Å]."""
        return self.cutoff

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
        row, p = self._locate(r.detach(), species[pair[0]], species[pair[1]])
        p = r / self._d_r - p
        density = r.new_zeros(n_owned).index_add(0, pair[0], cubic(row[:, :4], p))
        pairs = r.new_zeros(n_owned).index_add(0, pair[0], cubic(row[:, 4:], p) / r)
        return 0.5 * pairs + self._embed(density, species[:n_owned])[0]

    def weighted_energy(
        self, positions: torch.Tensor, edges: Edges, weight: torch.Tensor
    ) -> tuple[float, torch.Tensor]:
        """Energy Σ wᵢ εᵢ and gradient in closed form.

        Args:
            positions: Local atoms, shape ``(n_local, 3)`` [Å].
            edges: Their edges; longer ones than the cutoff have no effect.
            weight: Factors wᵢ of the owned sites, shape ``(n_owned,)``.

        Returns:
            Energy [eV] and its gradient, shape ``(n_local, 3)`` [eV/Å].
        """
        species = self._species[edges.numbers]
        gradient = positions.new_zeros(3, edges.n_local)
        energy = 0.0
        for span, sites in edges.spans:
            at = self._measure(positions, edges, span, species)
            here, local = weight[sites], at.centre - sites.start
            density_rows, pair_rows = at.row[:, :4], at.row[:, 4:]
            density = _sums(cubic(density_rows, at.p), local, len(here))
            phi = cubic(pair_rows, at.p) / at.r
            embedded, slope, _ = self._embed(density, species[sites])
            energy += float(here @ embedded + 0.5 * (here[local] @ phi))
            phi_slope = (cubic_slope(pair_rows, at.p) / self._d_r - phi) / at.r
            f_slope = cubic_slope(density_rows, at.p) / self._d_r
            tension = (here * slope)[local] * f_slope + 0.5 * here[local] * phi_slope
            _spread(gradient, at, tension[:, None] * at.unit)
        return energy, gradient.T

    def weighted_hessian(
        self, positions: torch.Tensor, edges: Edges, weight: torch.Tensor, direction: torch.Tensor
    ) -> torch.Tensor:
        """Hessian of Σ wᵢ εᵢ times ``direction``; arguments as for :meth:`weighted_energy`.

        Returns:
            The product, shape ``(n_local, 3)`` [eV/Å for a direction in Å].
        """
        species = self._species[edges.numbers]
        product = positions.new_zeros(3, edges.n_local)
        for span, sites in edges.spans:
            at = self._measure(positions, edges, span, species)
            here, local = weight[sites], at.centre - sites.start
            density_rows, pair_rows = at.row[:, :4], at.row[:, 4:]
            change = direction[at.neighbour] - direction[at.centre]
            stretch = (change * at.unit).sum(1)
            density = _sums(cubic(density_rows, at.p), local, len(here))
            f_slope = cubic_slope(density_rows, at.p) / self._d_r
            d_density = _sums(f_slope * stretch, local, len(here))
            _, slope, curvature = self._embed(density, species[sites])
            f_curvature = cubic_curvature(density_rows, at.p) / self._d_r**2
            phi = cubic(pair_rows, at.p) / at.r
            phi_slope = (cubic_slope(pair_rows, at.p) / self._d_r - phi) / at.r
            z_curvature = cubic_curvature(pair_rows, at.p) / self._d_r**2
            phi_curvature = (z_curvature - 2 * phi_slope) / at.r
            half, driven = 0.5 * here[local], (here * slope)[local]
            tension = driven * f_slope + half * phi_slope
            d_tension = (here * curvature * d_density)[local] * f_slope
            d_tension += (driven * f_curvature + half * phi_curvature) * stretch
            turned = change - stretch[:, None] * at.unit
            d_edge = d_tension[:, None] * at.unit + (tension / at.r)[:, None] * turned
            _spread(product, at, d_edge)
        return product.T

    def _measure(
        self, positions: torch.Tensor, edges: Edges, span: slice, species: torch.Tensor
    ) -> _Chunk:
        centre, neighbour = edges.pair[0, span], edges.pair[1, span]
        vec = positions[neighbour] - positions[centre] + edges.shift[span]
        r = vec.square().sum(1).sqrt()
        row, knot = self._locate(r, species[centre], species[neighbour])
        return _Chunk(centre, neighbour, vec / r[:, None], r, row, r / self._d_r - knot)

    def _locate(
        self, r: torch.Tensor, site: torch.Tensor, neighbour: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # The knot goes back as a float64: an int64 tensor in arithmetic with a Python float would
        # become float32 (seen with torch 2.13).
        knot = (r / self._d_r).long().clamp_(max=self._n_r - 2)
        line = torch.where(r < self.cutoff, knot, self._n_r - 1)
        if self._n_species > 1:
            line = line + (site * self._n_species + neighbour) * self._n_r
        return self._radial[line], knot.to(r.dtype)

    def _embed(
        self, density: torch.Tensor, species: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = density / self._d_density
        knot = x.detach().long().clamp(0, self._n_density - 2)
        row = self._embedding[knot + species * (self._n_density - 1)]
        p = x - knot.to(x.dtype)
        inside = p.clamp(max=1.0)
        slope = cubic_slope(row, inside)
        value = cubic(row, inside) + slope * (p - inside)
        curvature = torch.where(p <= 1, cubic_curvature(row, inside), 0.0)
        return value, slope / self._d_density, curvature / self._d_density**2


def _sums(values: torch.Tensor, index: torch.Tensor, n: int) -> torch.Tensor:
    return values.new_zeros(n).index_add_(0, index, values)


def _spread(gradient: torch.Tensor, at: _Chunk, by_edge: torch.Tensor) -> None:
    for axis in range(3):
        column = by_edge[:, axis].contiguous()
        gradient[axis].index_add_(0, at.neighbour, column)
        gradient[axis].index_add_(0, at.centre, column, alpha=-1)
