# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Weighted energies, gradients and Hessian products of any site model, from NumPy to NumPy.

Uses a model's closed form where it has one and automatic differentiation by the edge vectors
otherwise. It makes no list and knows no ranks beyond the exchange object handed in.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from msolve.potentials.edges import Edges
from msolve.potentials.protocol import ClosedForm, FeatureHalo, SiteModel

Array = NDArray[np.float64]


def weighted_energy(
    model: SiteModel, edges: Edges, positions: Array, weight: Array, halo: FeatureHalo
) -> tuple[float, Array]:
    """Energy Σ wᵢ εᵢ over the owned sites and its gradient.

    Args:
        model: The potential.
        edges: Edges of the sites with weight; edges longer than the cutoff are allowed.
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
        energy, gradient = model.weighted_energy(y, edges, w)
        return energy, gradient.cpu().numpy()
    short = edges.shorter_than(model.cutoff, y)
    vec = short.vectors(y).requires_grad_()
    total = w @ model.site_energy(vec, short.pair, short.numbers, short.n_owned, halo)
    (by_edge,) = torch.autograd.grad(total, vec)
    return float(total.detach()), _to_atoms(by_edge, short)


def site_energies(model: SiteModel, edges: Edges, positions: Array, halo: FeatureHalo) -> Array:
    """Energies of the owned sites, shape ``(n_owned,)`` [eV].

    Note:
        Collective if the model exchanges features.
    """
    y = _tensor(model, positions)
    with torch.no_grad():
        short = edges.shorter_than(model.cutoff, y)
        energies = model.site_energy(
            short.vectors(y), short.pair, short.numbers, short.n_owned, halo
        )
    return energies.cpu().numpy()


class Linearisation:
    """Hessian products of Σ wᵢ εᵢ at one state; arguments as for :func:`weighted_energy`.

    The first-order graph is kept, so that each further direction costs one backward pass.

    Note:
        Construction and products are collective if the model exchanges features.
    """

    def __init__(
        self, model: SiteModel, edges: Edges, positions: Array, weight: Array, halo: FeatureHalo
    ) -> None:
        self._model = model
        self._y, self._w = _tensor(model, positions), _tensor(model, weight)
        self._edges = edges.shorter_than(model.cutoff, self._y)
        if not isinstance(model, ClosedForm):
            short = self._edges
            self._vec = short.vectors(self._y).requires_grad_()
            sites = model.site_energy(self._vec, short.pair, short.numbers, short.n_owned, halo)
            (self._by_edge,) = torch.autograd.grad(self._w @ sites, self._vec, create_graph=True)

    def product(self, direction: Array) -> Array:
        """Hessian times ``direction``.

        Args:
            direction: Change of all local positions, copies included, ``(n_local, 3)`` [Å].

        Returns:
            This rank's share of the product, shape ``(n_local, 3)`` [eV/Å].
        """
        d = _tensor(self._model, direction)
        if isinstance(self._model, ClosedForm):
            return self._model.weighted_hessian(self._y, self._edges, self._w, d).cpu().numpy()
        pair = self._edges.pair
        (by_edge,) = torch.autograd.grad(
            self._by_edge, self._vec, grad_outputs=d[pair[1]] - d[pair[0]], retain_graph=True
        )
        return _to_atoms(by_edge, self._edges)


def _tensor(model: SiteModel, values: Array) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(values, dtype=np.float64), device=model.device)


def _to_atoms(by_edge: torch.Tensor, edges: Edges) -> Array:
    gradient = by_edge.new_zeros(3, edges.n_local)
    for axis in range(3):
        column = by_edge[:, axis].contiguous()
        gradient[axis].index_add_(0, edges.pair[1], column)
        gradient[axis].index_add_(0, edges.pair[0], column, alpha=-1)
    return gradient.T.cpu().numpy()
