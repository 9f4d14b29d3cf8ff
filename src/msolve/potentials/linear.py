# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A potential that is linear in its coefficients and polynomial in the edge vectors, of one element.

The site energy is
    ε = ε₀ + Σ_j φ(x_j) + Σ_nn' c_nn' a_n a_n' + Σ_nn'n" c_nn'n" a_n a_n' a_n" + ... + Σ_lnn' c_lnn' Σ_m A_nlm A_n'lm
with the pair splines in φ and the densities of :mod:`msolve.potentials.linear_basis`.
Strictly local, in float64, with its own first and second derivatives. The coefficients are fitted in
:mod:`msolve.potentials.linear_fit` and kept in a JSON file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from msolve.potentials.edges import Edges
from msolve.potentials.linear_basis import Basis, Dense, Densities, PairSplines, dense, places
from msolve.potentials.protocol import FeatureHalo

Array = NDArray[np.float64]

CHUNK = {"cpu": 8_192, "cuda": 1_000_000}
"""Edges handled at once."""

KEPT = 200_000
"""Edges up to which all that Hessian products need of a state is kept, 1 kB for each; else it is computed anew."""


class _At(NamedTuple):
    """What some sites are made of.

    Attributes:
        phi: Pair function and derivatives by x, each ``(s, j)``.
        g: Radial functions and derivatives by x, each ``(n, s, j)``.
        monomials: Of the components of u, shape ``(m, s, j)``.
        a: Densities, shape ``(s, n)``.
        A: Densities with angles, shape ``(s, n, k)``.
    """

    phi: list[torch.Tensor]
    g: list[torch.Tensor]
    monomials: torch.Tensor
    a: torch.Tensor
    A: torch.Tensor


class _State(NamedTuple):
    """What Hessian products need of some sites.

    Attributes:
        table: Their edges.
        weight: Of the sites, shape ``(s,)``, or none.
        at: See there.
        by_A: Derivatives of the weighted energy by A, shape ``(s, n, k)``.
        by_monomial: By monomials from degree 1 on, shape ``(m - 1, s, j)``.
        along: By x through all that depends on it, shape ``(s, j)``.
        bending: Its derivative by x, the densities held fixed, shape ``(s, j)``.
    """

    table: Dense
    weight: torch.Tensor | None
    at: _At
    by_A: torch.Tensor
    by_monomial: torch.Tensor
    along: torch.Tensor
    bending: torch.Tensor


class LinearModel:
    """See the module; a ``SiteModel`` with ``ClosedForm`` and ``EdgeForm``.

    Args:
        basis: Densities and features.
        number: Atomic number of the element.
        offset: Energy of an atom alone, ε₀ [eV].
        coefficients: One for each feature of the basis [eV].
        name: What to call it.
        device: ``"cpu"`` or ``"cuda:N"``.
    """

    layers = 1
    exchange = False
    gives = frozenset({"energy", "gradient", "site_energy", "hessian_product"})

    def __init__(
        self,
        basis: Basis,
        number: int,
        offset: float,
        coefficients: Array,
        name: str = "linear",
        device: str = "cpu",
    ) -> None:
        self.basis, self.name, self.device = basis, name, device
        self.offset = float(offset)
        self.coefficients: Array = np.array(coefficients, dtype=np.float64)
        self.numbers = frozenset({int(number)})
        self.cutoff = basis.cutoff
        self._densities = Densities(basis, device)
        self._pairs = PairSplines(basis, self.coefficients[: basis.pairs, None], device)
        products, angular = tensors(basis, self.coefficients)
        # Orders without densities are left out.
        self._products = [torch.as_tensor(c, device=device) for c in products if len(c)]
        self._angular = [torch.as_tensor(c, device=device) for c in angular]
        self._places = places(basis)

    @property
    def reach(self) -> float:
        """Distance beyond which no atom changes a site energy [Å]."""
        return self.cutoff

    @property
    def parameters(self) -> Array:
        """The coefficients and, last, ε₀ [eV]."""
        return np.append(self.coefficients, self.offset)

    def with_parameters(self, values: Array, name: str) -> LinearModel:
        """The same basis with other coefficients and ε₀."""
        number, coefficients = min(self.numbers), values[:-1]
        return LinearModel(self.basis, number, values[-1], coefficients, name, self.device)

    def site_energy(
        self,
        vec: torch.Tensor,
        pair: torch.Tensor,
        numbers: torch.Tensor,
        n_owned: int,
        halo: FeatureHalo,
    ) -> torch.Tensor:
        """Energies of the owned sites ``(n_owned,)`` [eV]; arguments as in the protocol."""
        energy = vec.new_full((n_owned,), self.offset)
        for part in _chunks(pair[0]):
            table = dense(vec[part], pair[0, part], self.cutoff)
            energy = energy.index_add(0, table.sites, self._energy(self._at(table, 0))[0])
        return energy

    def edge_slopes(
        self, vec: torch.Tensor, pair: torch.Tensor, numbers: torch.Tensor, n_owned: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Site energies and the derivative of their sum by the edge vectors; see ``EdgeForm``."""
        energy, slopes = vec.new_full((n_owned,), self.offset), torch.zeros_like(vec)
        for edges, table in self._within(vec, pair[0]):
            found, by_u = self._slopes(table, None)
            energy.index_add_(0, table.sites, found)
            slopes[edges] = by_u.flatten(1)[:, table.place].T / self.cutoff
        return energy, slopes

    def edge_products(
        self, vec: torch.Tensor, pair: torch.Tensor, numbers: torch.Tensor, n_owned: int
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Second derivative by the edge vectors, as a function of their change; see ``EdgeForm``."""
        vec = vec.clone()

        def states() -> Iterator[tuple[torch.Tensor, _State]]:
            for edges, table in self._within(vec, pair[0]):
                yield edges, self._state(table, None)

        kept = list(states()) if len(vec) <= KEPT else None

        def product(change: torch.Tensor) -> torch.Tensor:
            out = torch.zeros_like(change)
            for edges, state in kept if kept is not None else states():
                moved = self._product(state, _spread(change[edges], state.table))
                out[edges] = moved.flatten(1)[:, state.table.place].T / self.cutoff**2
            return out

        return product

    def weighted_energy(
        self, positions: torch.Tensor, edges: Edges, weight: torch.Tensor
    ) -> tuple[float, torch.Tensor]:
        """Energy Σ wᵢ εᵢ and gradient in closed form; see ``ClosedForm``."""
        energy = self.offset * float(weight.sum())
        gradient = positions.new_zeros(3, edges.n_local)
        for part, table, w in self._tables(positions, edges, weight):
            found, by_u = self._slopes(table, w)
            energy += float(found @ w)
            _to_atoms(gradient, by_u / self.cutoff, table, edges.pair[1, part])
        return energy, gradient.T

    def linearise(
        self, positions: torch.Tensor, edges: Edges, weight: torch.Tensor
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Hessian of Σ wᵢ εᵢ as a function of a direction; see ``ClosedForm``."""
        # The caller may go on to change its arrays.
        y, factors = positions.clone(), weight.clone()

        def states() -> Iterator[tuple[slice, _State]]:
            for part, table, w in self._tables(y, edges, factors):
                yield part, self._state(table, w)

        kept = list(states()) if edges.pair.shape[1] <= KEPT else None

        def product(direction: torch.Tensor) -> torch.Tensor:
            out = y.new_zeros(3, edges.n_local)
            for part, state in kept if kept is not None else states():
                i, j = edges.pair[:, part]
                change = direction.index_select(0, j) - direction.index_select(0, i)
                moved = self._product(state, _spread(change, state.table))
                _to_atoms(out, moved / self.cutoff**2, state.table, j)
            return out.T

        return product

    def _within(
        self, vec: torch.Tensor, centre: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, Dense]]:
        """Edges shorter than the cutoff, block by block; half of the continuum's shell is longer."""
        near = (vec.square().sum(1) < self.cutoff**2).nonzero()[:, 0]
        for part in _chunks(centre[near]):
            edges = near[part]
            yield edges, dense(vec[edges], centre[edges], self.cutoff)

    def _tables(
        self, positions: torch.Tensor, edges: Edges, weight: torch.Tensor
    ) -> Iterator[tuple[slice, Dense, torch.Tensor]]:
        for part in _chunks(edges.pair[0]):
            i, j = edges.pair[:, part]
            vec = positions.index_select(0, j) - positions.index_select(0, i) + edges.shift[part]
            table = dense(vec, i, self.cutoff)
            yield part, table, weight[table.sites]

    def _at(self, table: Dense, order: int) -> _At:
        densities, n_angular = self._densities, self.basis.n_angular
        g = densities.radial(table.u, order)
        monomials = densities.monomials(table.u)
        phi = [value[0] for value in self._pairs(table.u.square().sum(0), order)]
        # Sums over neighbours of monomials, and only for each site harmonics of them.
        A = _outer(g[0][:n_angular], monomials[1:]) @ densities.table.T
        return _At(phi, g, monomials, g[0].sum(2).T, A)

    def _energy(self, at: _At) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Energies of the sites without ε₀, and their derivatives by a and A."""
        energy = at.phi[0].sum(1)
        by_a = torch.zeros_like(at.a)
        for c in self._products:
            order, part = c.dim(), at.a[:, : len(c)]
            along = (_contracted(c, part) @ part[:, :, None])[:, :, 0]
            energy = energy + (part * along).sum(1)
            by_a[:, : len(c)] += order * along
        by_A = torch.zeros_like(at.A)
        for own, c in zip(self._places, self._angular, strict=True):
            part = at.A[:, : len(c), own]
            along = c @ part
            energy = energy + (part * along).sum((1, 2))
            by_A[:, : len(c), own] = 2 * along
        return energy, by_a, by_A

    def _curved(
        self, at: _At, da: torch.Tensor, dA: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Changes of the derivatives by a and A."""
        by_a, by_A = torch.zeros_like(da), torch.zeros_like(dA)
        for c in self._products:
            order, n = c.dim(), len(c)
            along = _contracted(c, at.a[:, :n]) @ da[:, :n, None]
            by_a[:, :n] += order * (order - 1) * along[:, :, 0]
        for own, c in zip(self._places, self._angular, strict=True):
            by_A[:, : len(c), own] = 2 * (c @ dA[:, : len(c), own])
        return by_a, by_A

    def _slopes(
        self, table: Dense, weight: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Energies ``(s,)`` without ε₀, and derivatives of their weighted sum by u, ``(3, s, j)``."""
        at = self._at(table, 1)
        energy, by_a, by_A = self._energy(at)
        if weight is not None:
            by_a, by_A = by_a * weight[:, None], by_A * weight[:, None, None]
        by_g, by_monomial = self._to_edges(at.g[0], at.monomials, by_a, by_A)
        along = at.phi[1] if weight is None else at.phi[1] * weight[:, None]
        by_u = 2 * table.u * (along + (at.g[1] * by_g).sum(0))
        low = at.monomials[: self._densities.n_low]
        for axis, up in enumerate(self._densities.up):
            by_u[axis] += (low * by_monomial[up]).sum(0)
        return energy, by_u

    def _state(self, table: Dense, weight: torch.Tensor | None) -> _State:
        at = self._at(table, 2)
        _, by_a, by_A = self._energy(at)
        along, bending = at.phi[1], at.phi[2]
        if weight is not None:
            by_a, by_A = by_a * weight[:, None], by_A * weight[:, None, None]
            along, bending = along * weight[:, None], bending * weight[:, None]
        by_g, by_monomial = self._to_edges(at.g[0], at.monomials, by_a, by_A)
        along = along + (at.g[1] * by_g).sum(0)
        bending = bending + (at.g[2] * by_g).sum(0)
        return _State(table, weight, at, by_A, by_monomial, along, bending)

    def _product(self, state: _State, du: torch.Tensor) -> torch.Tensor:
        """Change of the derivatives by u with u, ``(3, s, j)``."""
        table, weight, at, densities = state.table, state.weight, state.at, self._densities
        (g, g1, _), monomials, n = at.g, at.monomials, self.basis.n_angular
        low = monomials[: densities.n_low]
        dx = 2 * (table.u * du).sum(0)
        dg, d_monomials = g1 * dx, torch.zeros_like(monomials)
        for axis, up in enumerate(densities.up):
            d_monomials.index_add_(0, up + 1, low * du[axis])
        da = dg.sum(2).T
        dA = (_outer(dg[:n], monomials[1:]) + _outer(g[:n], d_monomials[1:])) @ densities.table.T
        d_by_a, d_by_A = self._curved(at, da, dA)
        if weight is not None:
            d_by_a, d_by_A = d_by_a * weight[:, None], d_by_A * weight[:, None, None]
        d_by_g, d_by_monomial = self._to_edges(g, monomials, d_by_a, d_by_A)
        more_g, more = self._to_edges(dg, d_monomials, torch.zeros_like(d_by_a), state.by_A)
        d_along = state.bending * dx + (g1 * (d_by_g + more_g)).sum(0)
        out = 2 * du * state.along + 2 * table.u * d_along
        by_monomial, d_by_monomial = state.by_monomial, d_by_monomial + more
        d_low = d_monomials[: densities.n_low]
        for axis, up in enumerate(densities.up):
            out[axis] += (low * d_by_monomial[up] + d_low * by_monomial[up]).sum(0)
        return out

    def _to_edges(
        self, g: torch.Tensor, monomials: torch.Tensor, by_a: torch.Tensor, by_A: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Derivatives by g ``(n, s, j)`` and monomials ``(m - 1, s, j)`` from those by the densities."""
        n, by_sums = by_A.shape[1], by_A @ self._densities.table
        by_g = by_a.T[:, :, None].expand_as(g).clone()
        by_g[:n] += torch.bmm(by_sums, monomials[1:].transpose(0, 1)).transpose(0, 1)
        by_monomial = torch.bmm(by_sums.transpose(1, 2), g[:n].transpose(0, 1)).transpose(0, 1)
        return by_g, by_monomial


def tensors(basis: Basis, coefficients: Array) -> tuple[list[Array], list[Array]]:
    """Coefficients of products of two, three, ... densities, and of each l = 1, 2, ..., as symmetric tensors."""
    n_pairs, n_scalar = basis.pairs, len(basis.scalar_features)
    scalar, rest = np.split(coefficients[n_pairs:], [n_scalar])
    products: list[Array] = [np.zeros((n,) * p) for p, n in enumerate(basis.products, start=2)]
    for chosen, c in zip(basis.scalar_features, scalar, strict=True):
        places = set(permutations(chosen))
        for place in places:
            products[len(chosen) - 2][place] = c / len(places)
    angular: list[Array] = [np.zeros((n, n)) for n in basis.angular]
    for (degree, a, b), c in zip(basis.angular_features, rest, strict=True):
        angular[degree - 1][a, b] += 0.5 * c
        angular[degree - 1][b, a] += 0.5 * c
    return products, angular


def _contracted(c: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """A symmetric tensor of order p over n, times a ``(s, n)`` p - 2 times: ``(s, n, n)``."""
    n, order = len(c), c.dim()
    if order == 2:
        return c.expand(len(a), n, n)
    left = a @ c.reshape(n, -1)
    for _ in range(order - 3):
        left = (a[:, None, :] @ left.view(len(a), n, -1))[:, 0]
    return left.view(len(a), n, n)


def _outer(g: torch.Tensor, monomials: torch.Tensor) -> torch.Tensor:
    """Σ_j g_nj m_kj, shape ``(s, n, k)``, from ``(n, s, j)`` and ``(k, s, j)``."""
    return torch.bmm(g.transpose(0, 1), monomials.permute(1, 2, 0))


def _spread(change: torch.Tensor, table: Dense) -> torch.Tensor:
    """Changes of edge vectors ``(e, 3)`` in the places of a table, ``(3, s, j)``."""
    out = change.new_zeros(3, table.u[0].numel())
    return out.index_copy_(1, table.place, change.T).view_as(table.u)


def _to_atoms(
    out: torch.Tensor, by_vec: torch.Tensor, table: Dense, neighbour: torch.Tensor
) -> None:
    for axis in range(3):
        out[axis].index_add_(0, neighbour, by_vec[axis].flatten()[table.place])
        out[axis].index_add_(0, table.sites, by_vec[axis].sum(1), alpha=-1)


def _chunks(centre: torch.Tensor) -> list[slice]:
    """Runs of edges, ascending by centre, that end where a site ends."""
    size, n = CHUNK[centre.device.type], len(centre)
    if n <= size:
        return [slice(0, n)] if n else []
    ends = torch.unique_consecutive(centre, return_counts=True)[1].cumsum(0).cpu().numpy()
    found, start = [], 0
    while start < n:
        k = max(int(np.searchsorted(ends, start + size, side="right")) - 1, 0)
        stop = int(ends[k]) if ends[k] > start else int(ends[k + 1])
        found.append(slice(start, stop))
        start = stop
    return found
