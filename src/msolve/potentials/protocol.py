# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a potential is to msolve: site energies as a function of edge vectors.

Everything else (weighted energies, gradients, Hessian products, stresses, the Cauchy-Born law) is
derived from that one function elsewhere. This module holds the protocols only, no implementation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from msolve.potentials.edges import Edges


class FeatureHalo(Protocol):
    """Exchange of per-atom features between the layers of a message-passing model."""

    def forward(self, owned: torch.Tensor) -> torch.Tensor:
        """Extend rows of the owned atoms by those of all other local atoms.

        Args:
            owned: Features of the owned atoms, shape ``(n_owned, k)``.

        Returns:
            Features of all local atoms, owned ones first, shape ``(n_local, k)``. Differentiable
            any number of times.

        Note:
            Collective, and so are the backward passes through the result.
        """
        ...


@runtime_checkable
class SiteModel(Protocol):
    """An interatomic potential given by its site energies. The properties may be attributes."""

    @property
    def name(self) -> str:
        """What to call it in messages and outputs."""
        ...

    @property
    def cutoff(self) -> float:
        """Length beyond which an edge has no effect [Å]."""
        ...

    @property
    def layers(self) -> int:
        """Number of message-passing layers, 1 for strictly local models."""
        ...

    @property
    def exchange(self) -> bool:
        """Whether features are exchanged between layers.

        If so, a halo of one cutoff is enough and ``site_energy`` is collective.
        """
        ...

    @property
    def numbers(self) -> frozenset[int]:
        """Atomic numbers it was made for."""
        ...

    @property
    def gives(self) -> frozenset[str]:
        """Subset of ``{"energy", "gradient", "site_energy", "hessian_product"}``."""
        ...

    @property
    def device(self) -> str:
        """Where its tensors live, ``"cpu"`` or ``"cuda:N"``."""
        ...

    @property
    def reach(self) -> float:
        """Distance beyond which no atom changes a site energy, all layers counted [Å]."""
        ...

    def site_energy(
        self,
        vec: torch.Tensor,
        pair: torch.Tensor,
        numbers: torch.Tensor,
        n_owned: int,
        halo: FeatureHalo,
    ) -> torch.Tensor:
        """Energies of the owned sites.

        Args:
            vec: Edge vectors from centre to neighbour, shape ``(e, 3)``, float64 [Å].
            pair: Local indices (centre, neighbour) of each edge, shape ``(2, e)``, int64. Every
                centre is an owned atom and every edge is shorter than ``cutoff``.
            numbers: Atomic numbers of the local atoms, owned ones first, shape ``(n_local,)``.
            n_owned: Number of owned atoms.
            halo: Feature exchange; models without exchange ignore it.

        Returns:
            Site energies, shape ``(n_owned,)``, float64 [eV], twice differentiable in ``vec``.

        Note:
            Collective if ``exchange`` is true.
        """
        ...


@runtime_checkable
class ClosedForm(Protocol):
    """A model that also has its own derivatives: faster than autograd, and tested against it."""

    def weighted_energy(
        self, positions: torch.Tensor, edges: Edges, weight: torch.Tensor
    ) -> tuple[float, torch.Tensor]:
        """Energy Σ wᵢ εᵢ [eV] and its gradient by the positions, shape ``(n_local, 3)`` [eV/Å]."""
        ...

    def linearise(
        self, positions: torch.Tensor, edges: Edges, weight: torch.Tensor
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Hessian of Σ wᵢ εᵢ as a function of a direction ``(n_local, 3)`` [Å]."""
        ...


@runtime_checkable
class EdgeForm(Protocol):
    """A model that differentiates site energies by edge vectors itself: the Cauchy-Born law asks for that.

    Arguments as for :meth:`SiteModel.site_energy`; the sites are independent of each other.
    """

    def edge_slopes(
        self, vec: torch.Tensor, pair: torch.Tensor, numbers: torch.Tensor, n_owned: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Site energies ``(n_owned,)`` [eV], and ∂(Σ εᵢ)/∂vec, shape ``(e, 3)`` [eV/Å]."""
        ...

    def edge_products(
        self, vec: torch.Tensor, pair: torch.Tensor, numbers: torch.Tensor, n_owned: int
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """The map from a change of ``vec`` to that of ∂(Σ εᵢ)/∂vec, both ``(e, 3)``."""
        ...
