# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Weighted energies, gradients and Hessian products of any site model, from NumPy to NumPy.

Uses a model's closed form where it has one and automatic differentiation by the edge vectors
otherwise. It makes no list and knows no ranks beyond the exchange object handed in.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from msolve.potentials.edges import Edges, ShortList
from msolve.potentials.exchange import NoExchange
from msolve.potentials.protocol import ClosedForm, EdgeForm, FeatureHalo, RadialForm, SiteModel
from msolve.potentials.shortage import InMemory, in_memory

Array = NDArray[np.float64]

PIECE = 1_000_000
"""Edges whose site energies are computed at once, to bound the memory."""


def weighted_energy(
    model: SiteModel, near: ShortList, positions: Array, weight: Array, halo: FeatureHalo
) -> tuple[float, Array]:
    """Energy Σ wᵢ εᵢ over the owned sites and its gradient.

    Args:
        model: The potential.
        near: Edges of the sites with weight.
        positions: Local atoms, owned ones first, shape ``(n_local, 3)`` [Å].
        weight: Factors of the owned sites, shape ``(n_owned,)`` [-].
        halo: Feature exchange.

    Returns:
        Energy [eV] and its gradient by ``positions``, shape ``(n_local, 3)`` [eV/Å]. With feature
        exchange the gradient is that of all ranks' energies by the vectors of this rank's edges.

    Raises:
        MemoryError: The device's memory is too small, for the smallest batches too.

    Note:
        Collective if the model exchanges features.
    """

    def evaluated() -> tuple[float, Array]:
        y, w = _tensor(model, positions), _tensor(model, weight)
        if isinstance(model, ClosedForm):
            energy, gradient = model.weighted_energy(y, near.at(y), w)
            return energy, gradient.cpu().numpy()
        short = near.at(y).shorter_than(model.cutoff, y)
        vec = short.vectors(y).requires_grad_()
        total = w @ model.site_energy(vec, short.pair, short.numbers, short.n_owned, halo)
        (by_edge,) = torch.autograd.grad(total, vec)
        return float(total.detach()), _to_atoms(by_edge, short).cpu().numpy()

    return in_memory(model, len(weight), halo, evaluated)


def site_energies(model: SiteModel, near: ShortList, positions: Array, halo: FeatureHalo) -> Array:
    """Energies of the owned sites, shape ``(n_owned,)`` [eV].

    Raises:
        MemoryError: As for :func:`weighted_energy`.

    Note:
        Collective if the model exchanges features.
    """

    def evaluated() -> Array:
        y = _tensor(model, positions)
        with torch.no_grad():
            short = near.at(y).shorter_than(model.cutoff, y)
            if model.layers > 1:
                energies = _sites(model, short, y, halo)
            else:
                energies = y.new_zeros(short.n_owned)
                for sites, piece in short.pieces(PIECE):
                    energies[sites] = _sites(model, piece, y, halo)[sites]
        return energies.cpu().numpy()

    return in_memory(model, len(positions), halo, evaluated)


def _sites(model: SiteModel, edges: Edges, y: torch.Tensor, halo: FeatureHalo) -> torch.Tensor:
    return model.site_energy(edges.vectors(y), edges.pair, edges.numbers, edges.n_owned, halo)


class Linearisation:
    """Hessian products of Σ wᵢ εᵢ at one state; arguments as for :func:`weighted_energy`.

    The first-order graph is kept, so that each further direction costs one backward pass.

    Raises:
        MemoryError: As for :func:`weighted_energy`; products raise it too.

    Note:
        Construction and products are collective if the model exchanges features.
    """

    def __init__(
        self, model: SiteModel, near: ShortList, positions: Array, weight: Array, halo: FeatureHalo
    ) -> None:
        def made() -> Callable[[Array], Array]:
            y, w = _tensor(model, positions), _tensor(model, weight)
            if isinstance(model, ClosedForm):
                apply = model.linearise(y, near.at(y), w)
            else:
                apply = _differentiate_twice(model, near, y, w, halo)
            return lambda direction: apply(_tensor(model, direction)).cpu().numpy()

        self._apply = InMemory(model, len(weight), halo, made)

    def product(self, direction: Array) -> Array:
        """Hessian times ``direction``.

        Args:
            direction: Change of all local positions, copies included, ``(n_local, 3)`` [Å].

        Returns:
            This rank's share of the product, shape ``(n_local, 3)`` [eV/Å].
        """
        return self._apply(direction)


def _differentiate_twice(
    model: SiteModel, near: ShortList, y: torch.Tensor, w: torch.Tensor, halo: FeatureHalo
) -> Callable[[torch.Tensor], torch.Tensor]:
    short = near.at(y).shorter_than(model.cutoff, y)
    vec = short.vectors(y).requires_grad_()
    sites = model.site_energy(vec, short.pair, short.numbers, short.n_owned, halo)
    (slope,) = torch.autograd.grad(w @ sites, vec, create_graph=True)

    def product(direction: torch.Tensor) -> torch.Tensor:
        change = direction[short.pair[1]] - direction[short.pair[0]]
        (by_edge,) = torch.autograd.grad(slope, vec, grad_outputs=change, retain_graph=True)
        return _to_atoms(by_edge, short)

    return product


def edge_slopes(
    model: SiteModel,
    vec: torch.Tensor,
    pair: torch.Tensor,
    numbers: torch.Tensor,
    n_sites: int,
    copies: int = 1,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Energies of sites that do not know of each other, and ∂(Σ ε)/∂vec. Rank-local.

    Args:
        model: The potential.
        vec: Edge vectors, shape ``(e, 3)`` [Å].
        pair: Site and neighbour of each edge, shape ``(2, e)``.
        numbers: Atomic numbers of the sites, shape ``(n_sites,)``.
        n_sites: Number of sites.
        copies: Edges that each one stands for; more than one for radial models only.

    Returns:
        Energies ``(n_sites,)`` [eV] and slopes ``(e, 3)`` [eV/Å].

    Raises:
        MemoryError: As for :func:`weighted_energy`.
    """

    def evaluated() -> tuple[torch.Tensor, torch.Tensor]:
        if isinstance(model, RadialForm):
            return model.edge_slopes(vec, pair, numbers, n_sites, copies)
        if isinstance(model, EdgeForm):
            return model.edge_slopes(vec, pair, numbers, n_sites)
        leaf = vec.detach().contiguous().requires_grad_()
        energy = model.site_energy(leaf, pair, numbers, n_sites, NoExchange())
        (slopes,) = torch.autograd.grad(energy.sum(), leaf)
        return energy.detach(), slopes

    return in_memory(model, n_sites, NoExchange(), evaluated)


def edge_products(
    model: SiteModel,
    vec: torch.Tensor,
    pair: torch.Tensor,
    numbers: torch.Tensor,
    n_sites: int,
    copies: int = 1,
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The map from a change of ``vec`` to that of ∂(Σ ε)/∂vec; arguments and errors as for :func:`edge_slopes`."""

    def made() -> Callable[[torch.Tensor], torch.Tensor]:
        if isinstance(model, RadialForm):
            return model.edge_products(vec, pair, numbers, n_sites, copies)
        if isinstance(model, EdgeForm):
            return model.edge_products(vec, pair, numbers, n_sites)
        leaf = vec.detach().contiguous().requires_grad_()
        energy = model.site_energy(leaf, pair, numbers, n_sites, NoExchange())
        (slopes,) = torch.autograd.grad(energy.sum(), leaf, create_graph=True)

        def product(change: torch.Tensor) -> torch.Tensor:
            (moved,) = torch.autograd.grad(slopes, leaf, grad_outputs=change, retain_graph=True)
            return moved

        return product

    return InMemory(model, n_sites, NoExchange(), made)


def _tensor(model: SiteModel, values: Array) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(values, dtype=np.float64), device=model.device)


def _to_atoms(by_edge: torch.Tensor, edges: Edges) -> torch.Tensor:
    out = by_edge.new_zeros(3, edges.n_local)
    for axis in range(3):
        column = by_edge[:, axis].contiguous()
        out[axis].index_add_(0, edges.pair[1], column)
        out[axis].index_add_(0, edges.pair[0], column, alpha=-1)
    return out.T
