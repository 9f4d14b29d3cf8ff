# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Weighted energies, gradients and Hessian products of any site model, from NumPy to NumPy.

Uses a model's closed form where it has one and automatic differentiation by the edge vectors
otherwise. It makes no list and knows no ranks beyond the exchange object handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from msolve.potentials.edges import Edges, ShortList
from msolve.potentials.exchange import NoExchange, RankExchange
from msolve.potentials.protocol import ClosedForm, EdgeForm, FeatureHalo, SiteModel

Array = NDArray[np.float64]
T = TypeVar("T")

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

    Note:
        Collective if the model exchanges features.
    """
    y, w = _tensor(model, positions), _tensor(model, weight)
    if isinstance(model, ClosedForm):
        energy, gradient = model.weighted_energy(y, near.at(y), w)
        return energy, gradient.cpu().numpy()
    short = near.at(y).shorter_than(model.cutoff, y)

    def differentiated() -> tuple[float, Array]:
        vec = short.vectors(y).requires_grad_()
        total = w @ model.site_energy(vec, short.pair, short.numbers, short.n_owned, halo)
        (by_edge,) = torch.autograd.grad(total, vec)
        return float(total.detach()), _to_atoms(by_edge, short).cpu().numpy()

    return in_memory(model, short.n_owned, halo, differentiated)


def site_energies(model: SiteModel, near: ShortList, positions: Array, halo: FeatureHalo) -> Array:
    """Energies of the owned sites, shape ``(n_owned,)`` [eV].

    Note:
        Collective if the model exchanges features.
    """
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


def _sites(model: SiteModel, edges: Edges, y: torch.Tensor, halo: FeatureHalo) -> torch.Tensor:
    return model.site_energy(edges.vectors(y), edges.pair, edges.numbers, edges.n_owned, halo)


class Linearisation:
    """Hessian products of Σ wᵢ εᵢ at one state; arguments as for :func:`weighted_energy`.

    The first-order graph is kept, so that each further direction costs one backward pass.

    Note:
        Construction and products are collective if the model exchanges features.
    """

    def __init__(
        self, model: SiteModel, near: ShortList, positions: Array, weight: Array, halo: FeatureHalo
    ) -> None:
        self._model = model
        y, w = _tensor(model, positions), _tensor(model, weight)
        if isinstance(model, ClosedForm):
            self._apply = model.linearise(y, near.at(y), w)
        else:
            self._apply = in_memory(
                model, len(w), halo, lambda: _differentiate_twice(model, near, y, w, halo)
            )

    def product(self, direction: Array) -> Array:
        """Hessian times ``direction``.

        Args:
            direction: Change of all local positions, copies included, ``(n_local, 3)`` [Å].

        Returns:
            This rank's share of the product, shape ``(n_local, 3)`` [eV/Å].
        """
        return self._apply(_tensor(self._model, direction)).cpu().numpy()


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


def in_memory(model: SiteModel, n_sites: int, halo: FeatureHalo, call: Callable[[], T]) -> T:
    """Do something with a model; where the device's memory is too small, in smaller batches.

    Args:
        model: The potential; batches are those of its attribute ``batch``, if it has one.
        n_sites: Sites that are computed.
        halo: Feature exchange: in the middle of one between ranks there is no second try.
        call: What to do.

    Raises:
        MemoryError: There are no smaller batches.
    """
    while True:
        try:
            return call()
        except torch.OutOfMemoryError as error:
            smaller = min(getattr(model, "batch", 0), n_sites) // 2
            if smaller < 1 or (isinstance(halo, RankExchange) and halo.halo.comm.size > 1):
                raise MemoryError(
                    f"the memory of {model.device} is too small for {n_sites} atoms of {model.name}"
                ) from error
        model.batch = smaller  # type: ignore[attr-defined]
        if model.device != "cpu":
            torch.cuda.empty_cache()


def edge_slopes(
    model: SiteModel, vec: torch.Tensor, pair: torch.Tensor, numbers: torch.Tensor, n_sites: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Energies of sites that do not know of each other, and ∂(Σ ε)/∂vec. Rank-local.

    Args:
        model: The potential.
        vec: Edge vectors, shape ``(e, 3)`` [Å].
        pair: Site and neighbour of each edge, shape ``(2, e)``.
        numbers: Atomic numbers of the sites, shape ``(n_sites,)``.
        n_sites: Number of sites.

    Returns:
        Energies ``(n_sites,)`` [eV] and slopes ``(e, 3)`` [eV/Å].
    """
    if isinstance(model, EdgeForm):
        return model.edge_slopes(vec, pair, numbers, n_sites)
    leaf = vec.contiguous().requires_grad_()
    energy = model.site_energy(leaf, pair, numbers, n_sites, NoExchange())
    (slopes,) = torch.autograd.grad(energy.sum(), leaf)
    return energy.detach(), slopes


def edge_products(
    model: SiteModel, vec: torch.Tensor, pair: torch.Tensor, numbers: torch.Tensor, n_sites: int
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The map from a change of ``vec`` to that of ∂(Σ ε)/∂vec; arguments as for :func:`edge_slopes`."""
    if isinstance(model, EdgeForm):
        return model.edge_products(vec, pair, numbers, n_sites)
    leaf = vec.contiguous().requires_grad_()
    energy = model.site_energy(leaf, pair, numbers, n_sites, NoExchange())
    (slopes,) = torch.autograd.grad(energy.sum(), leaf, create_graph=True)

    def product(change: torch.Tensor) -> torch.Tensor:
        (moved,) = torch.autograd.grad(slopes, leaf, grad_outputs=change, retain_graph=True)
        return moved

    return product


def _tensor(model: SiteModel, values: Array) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(values, dtype=np.float64), device=model.device)


def _to_atoms(by_edge: torch.Tensor, edges: Edges) -> torch.Tensor:
    out = by_edge.new_zeros(3, edges.n_local)
    for axis in range(3):
        column = by_edge[:, axis].contiguous()
        out[axis].index_add_(0, edges.pair[1], column)
        out[axis].index_add_(0, edges.pair[0], column, alpha=-1)
    return out.T
