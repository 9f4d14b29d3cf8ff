# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a potential is to msolve: site energies as a function of edge vectors, or a black box of forces.

From site energies everything else (weighted energies, gradients, Hessian products, stresses, the
Cauchy-Born law) is derived elsewhere. A black box only gives the forces on a cluster of atoms.
This module holds the protocols, no implementation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

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


@runtime_checkable
class RadialForm(Protocol):
    """As :class:`EdgeForm`, of a model whose sites know nothing of their edges but the lengths.

    Each edge given may stand for several of its length: ``copies`` of them.
    """

    radial: Literal[True]

    def edge_slopes(
        self,
        vec: torch.Tensor,
        pair: torch.Tensor,
        numbers: torch.Tensor,
        n_owned: int,
        copies: int = 1,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See :class:`EdgeForm`."""
        ...

    def edge_products(
        self,
        vec: torch.Tensor,
        pair: torch.Tensor,
        numbers: torch.Tensor,
        n_owned: int,
        copies: int = 1,
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """See :class:`EdgeForm`."""
        ...


class ClusterForces(NamedTuple):
    """What a black box says of some atoms.

    Attributes:
        energy: Energy of all of them [eV].
        gradient: Its derivative by the positions, minus the forces, shape ``(n, 3)`` [eV/Å].
        site_energy: Shares of the atoms in the energy, shape ``(n,)`` [eV]; ``None`` where not given.
    """

    energy: float
    gradient: Array
    site_energy: Array | None


class CrystalForces(NamedTuple):
    """What a black box says of some deformed states of one periodic crystal, ``b`` atoms to a cell.

    Attributes:
        energy: Energy of one cell, shape ``(q,)`` [eV].
        gradient: Derivative by the positions of the atoms, shape ``(q, b, 3)`` [eV/Å].
        virial: Derivative by a strain that moves cell and atoms, shape ``(q, 3, 3)`` [eV].
    """

    energy: Array
    gradient: Array
    virial: Array


@runtime_checkable
class ForceModel(Protocol):
    """A potential known by the forces it gives only. The properties may be attributes."""

    @property
    def name(self) -> str:
        """What to call it in messages and outputs."""
        ...

    @property
    def cutoff(self) -> float:
        """Half the distance beyond which one atom's place has no effect on another's force [Å]."""
        ...

    @property
    def reach(self) -> float:
        """Distance beyond which one atom's place has no effect on another's share of the energy [Å].

        Where no shares are given, the cutoff.
        """
        ...

    @property
    def layers(self) -> int:
        """Always 1: what happens inside is not seen."""
        ...

    @property
    def exchange(self) -> bool:
        """Always false."""
        ...

    @property
    def numbers(self) -> frozenset[int]:
        """Atomic numbers it is used for."""
        ...

    @property
    def gives(self) -> frozenset[str]:
        """Subset of ``{"energy", "gradient", "site_energy", "virial"}``."""
        ...

    @property
    def device(self) -> str:
        """``"cpu"``; where the black box computes is its own affair."""
        ...

    @property
    def noise(self) -> float:
        """Round-off of a component of a force [eV/Å]."""
        ...

    def cluster(
        self, positions: Array, numbers: ArrayLike, cell: ArrayLike, periodic: ArrayLike
    ) -> ClusterForces:
        """Energy and gradient of some atoms.

        Args:
            positions: Atoms, wrapped into the cell or not, shape ``(n, 3)`` [Å].
            numbers: Atomic numbers, shape ``(n,)``.
            cell: Lattice vectors as rows, shape ``(3, 3)`` [Å]; rows of open axes are not used.
            periodic: Which axes are periodic, shape ``(3,)``. Cells thinner than the cutoff are
                allowed.

        Raises:
            ConvergenceError: Something is not finite, or the black box gave up.

        Note:
            Rank-local: makes no MPI call on a communicator of more than this rank.
        """
        ...

    def crystals(self, cells: Array, places: Array, numbers: ArrayLike) -> CrystalForces:
        """Energy and its derivatives for some states of one periodic crystal.

        Args:
            cells: Lattice vectors as rows, shape ``(q, 3, 3)`` [Å].
            places: Fractional coordinates of the atoms, shape ``(q, b, 3)``.
            numbers: Atomic numbers, shape ``(b,)``.

        Raises:
            ConvergenceError: As for :meth:`cluster`.

        Note:
            Rank-local.
        """
        ...


Potential: TypeAlias = SiteModel | ForceModel
"""Either sort; which one, ``isinstance`` tells."""
