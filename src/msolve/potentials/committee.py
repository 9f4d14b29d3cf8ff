# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Several models of one material as one potential: their mean, and how far they are apart.

The spread of the members' forces estimates how little the data say of a place; it is no bound, and members that
share a mistake do not show it.

References:
    H. S. Seung, M. Opper and H. Sompolinsky, Query by committee, COLT (1992).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from msolve.errors import UnsupportedError
from msolve.potentials.protocol import FeatureHalo, SiteModel


class Committee:
    """Mean of several site models; see :class:`msolve.potentials.protocol.SiteModel`.

    Args:
        members: At least two models with the same cutoff, number of layers, elements and device.

    Raises:
        UnsupportedError: They differ in one of these.
    """

    gives = frozenset({"energy", "gradient", "site_energy", "hessian_product"})

    def __init__(self, members: Sequence[SiteModel]) -> None:
        first = members[0]
        for name in ("cutoff", "layers", "exchange", "numbers", "device"):
            found = {getattr(member, name) for member in members}
            if len(found) > 1:
                told = ", ".join(f"{m.name}: {getattr(m, name)}" for m in members)
                raise UnsupportedError(
                    f"the members of a committee must have the same {name}, so that they see the same atoms; "
                    f"here {told}"
                )
        self.members = tuple(members)
        self.name = "committee of " + ", ".join(member.name for member in members)
        self.cutoff = first.cutoff
        self.layers = first.layers
        self.exchange = first.exchange
        self.numbers = first.numbers
        self.device = first.device
        self.reach = max(member.reach for member in members)

    @property
    def batch(self) -> int:
        """Sites that the members compute at once; 0 if one of them knows no batches. Set: the same for all."""
        return min(getattr(member, "batch", 0) for member in self.members)

    @batch.setter
    def batch(self, size: int) -> None:
        for member in self.members:
            member.batch = size  # type: ignore[attr-defined]

    def site_energy(
        self,
        vec: torch.Tensor,
        pair: torch.Tensor,
        numbers: torch.Tensor,
        n_owned: int,
        halo: FeatureHalo,
    ) -> torch.Tensor:
        """Mean energies of the owned sites ``(n_owned,)`` [eV]; arguments as in the protocol."""
        found = [m.site_energy(vec, pair, numbers, n_owned, halo) for m in self.members]
        return torch.stack(found).mean(0)
