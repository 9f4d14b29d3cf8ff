# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Networks that go over the edges layer by layer, and those of them whose parts are called in turn.

What NequIP, Allegro and SevenNet models have in common: each part takes a dictionary of tensors and adds
to it. It knows no package; which parts there are and where they are cut is the adapters' affair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch

from msolve.potentials.batches import Batch, with_rows
from msolve.potentials.protocol import FeatureHalo
from msolve.potentials.recompute import recomputed

Data: TypeAlias = dict[str, torch.Tensor]
Part: TypeAlias = Callable[[Data], Data]


class LayeredModel:
    """What site models of networks have in common; see :class:`msolve.potentials.protocol.SiteModel`.

    Args:
        name: What to call it.
        device: Device of torch, where the network is.
        dtype: Precision of the network. Edge vectors and sums over atoms are in float64 all the same.
        cutoff: Length beyond which an edge has no effect [Å].
        elements: Atomic numbers in the order of the network's types.
        layers: How often features of neighbours are looked at.
        batch: Sites that are computed at once, when there are more than that; bounds the memory.

    Attributes:
        exchange: Whether features go from rank to rank between layers. If not, ranks compute the features
            of copies again: more work, no messages.
        batch: As given.
    """

    gives = frozenset({"energy", "gradient", "site_energy", "hessian_product"})

    def __init__(
        self,
        *,
        name: str,
        device: str,
        dtype: torch.dtype,
        cutoff: float,
        elements: Sequence[int],
        layers: int,
        batch: int,
    ) -> None:
        self.name = name
        self.device = device
        self.dtype = dtype
        self.cutoff = cutoff
        self.layers = layers
        self.exchange = layers > 1
        self.batch = batch
        self.numbers = frozenset(int(z) for z in elements)
        self._species = types_of_elements(elements).to(device)

    @property
    def reach(self) -> float:
        """Distance beyond which no atom changes a site energy, all layers counted [Å]."""
        return self.cutoff * self.layers

    def _with_bystander(
        self, vec: torch.Tensor, pair: torch.Tensor, types: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Add an atom that only sees itself, so that a rank without edges builds the same graph."""
        last = len(types)
        apart = vec.new_tensor([[0.5 * self.cutoff, 0.0, 0.0]])
        return (
            torch.cat([vec, apart]),
            torch.cat([pair, pair.new_tensor([[last], [last]])], dim=1),
            torch.cat([types, types.new_zeros(1)]),
        )


class StagedModel(LayeredModel, ABC):
    """Site model of a network in stages.

    Args:
        stages: Parts of each stage; features of copies are fetched before every stage but the first.
        features: Key of the features of the atoms.
        energy: Key of the site energies, after the last stage.
        known: What else :class:`LayeredModel` takes.
    """

    def __init__(
        self, *, stages: Sequence[Sequence[Any]], features: str, energy: str, **known: Any
    ) -> None:
        super().__init__(layers=len(stages), **known)
        self._stages, self._features, self._energy = stages, features, energy

    def site_energy(
        self,
        vec: torch.Tensor,
        pair: torch.Tensor,
        numbers: torch.Tensor,
        n_owned: int,
        halo: FeatureHalo,
    ) -> torch.Tensor:
        """Energies of the owned sites ``(n_owned,)`` [eV]; arguments as in the protocol.

        Note:
            Collective for a model of several layers, as are then all backward passes.
        """
        types = self._species[numbers]
        if len(vec) == 0:
            vec, pair, types = self._with_bystander(vec, pair, types)
        batches = None if n_owned <= self.batch else Batch.cut(pair, n_owned, self.batch)
        data = self._described(vec, pair, types) if batches is None else {}
        features = vec.new_zeros((len(types), 0), dtype=self.dtype)
        for k in range(len(self._stages)):
            if k:
                features = with_rows(halo.forward(features[:n_owned]), len(types))
            if batches is None:
                features = self._stage(k, data, features, n_owned)
                continue
            parts = [
                recomputed(
                    partial(self._sites, k, one, types.index_select(0, one.rows)),
                    features.index_select(0, one.rows),
                    vec[one.edges],
                )
                for one in batches
            ]
            features = torch.cat(parts)
        return features.to(torch.float64).reshape(-1)

    @abstractmethod
    def _described(self, vec: torch.Tensor, pair: torch.Tensor, types: torch.Tensor) -> Data:
        """From edge vectors, pairs and types to what all stages look at."""

    def _sites(
        self, k: int, batch: Batch, types: torch.Tensor, features: torch.Tensor, vec: torch.Tensor
    ) -> torch.Tensor:
        return self._stage(k, self._described(vec, batch.pair, types), features, batch.n_sites)

    def _stage(self, k: int, data: Data, features: torch.Tensor, n_sites: int) -> torch.Tensor:
        """Features of some sites after a stage, or in the end their energies."""
        if k:
            data[self._features] = features
        for part in self._stages[k]:
            data = part(data)
        last = k == len(self._stages) - 1
        return data[self._energy if last else self._features][:n_sites]


def types_of_elements(elements: Sequence[int]) -> torch.Tensor:
    """Type of each atomic number: its place among ``elements``, -1 for those that are not."""
    types = torch.full((max(elements) + 1,), -1, dtype=torch.int64)
    types[list(elements)] = torch.arange(len(elements))
    return types
