# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Embedded-atom models given by formulas, and the toy model used on the triangular lattice.

Differentiated by autograd; meant for tests, teaching and two-dimensional benchmarks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from msolve.potentials.protocol import FeatureHalo

Function = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class AnalyticEAM:
    """Embedded-atom site model of one species from smooth functions, switched off at a cutoff.

    The site energy is εᵢ = ½ Σⱼ s φ(r) + F(Σⱼ s f(r)), where s falls from 1 at ``switch_from`` to 0
    at ``cutoff`` as a quintic polynomial.

    Attributes:
        name: What to call it.
        pair: φ(r) [eV], r in Å.
        density: f(r) [-].
        embedding: F(ρ) [eV].
        switch_from: Distance where switching off begins [Å].
        cutoff: Distance where it ends [Å].
        number: Atomic number of the species.
        device: Device of torch, ``"cpu"`` or ``"cuda:N"``.
    """

    name: str
    pair: Function
    density: Function
    embedding: Function
    switch_from: float
    cutoff: float
    number: int = 1
    device: str = "cpu"
    layers: int = 1
    exchange: bool = False
    gives: frozenset[str] = frozenset({"energy", "gradient", "site_energy", "hessian_product"})

    @property
    def numbers(self) -> frozenset[int]:
        """Atomic numbers it was made for."""
        return frozenset({self.number})

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
        r = vec.square().sum(1).sqrt()
        t = ((r - self.switch_from) / (self.cutoff - self.switch_from)).clamp(0.0, 1.0)
        switch = 1 - t**3 * (10 - 15 * t + 6 * t**2)
        zero = r.new_zeros(n_owned)
        density = zero.index_add(0, pair[0], switch * self.density(r))
        pairs = zero.index_add(0, pair[0], switch * self.pair(r))
        return 0.5 * pairs + self.embedding(density)


def toy_eam(a: float = 4.0, b: float = 3.0, c: float = 10.0, device: str = "cpu") -> AnalyticEAM:
    """Morse pairs with a quartic embedding energy, nearest-neighbour distance near 1 Å.

    With φ(r) = e^(-2a(r-1)) - 2 e^(-a(r-1)), f(r) = e^(-b r) and F(ρ) = c [(ρ-ρ₀)² + (ρ-ρ₀)⁴],
    where ρ₀ = 6 e^(-0.9 b), cut off smoothly after the third shell of the triangular lattice.

    Args:
        a: Steepness of the pair function [1/Å].
        b: Decay of the density [1/Å].
        c: Strength of the embedding [eV].
        device: Device of torch, ``"cpu"`` or ``"cuda:N"``.
    """
    rest = 6 * math.exp(-0.9 * b)

    def embedding(density: torch.Tensor) -> torch.Tensor:
        return c * ((density - rest) ** 2 + (density - rest) ** 4)

    return AnalyticEAM(
        name=f"toy EAM (a={a:g}, b={b:g}, c={c:g})",
        pair=lambda r: torch.exp(-2 * a * (r - 1)) - 2 * torch.exp(-a * (r - 1)),
        density=lambda r: torch.exp(-b * r),
        embedding=embedding,
        switch_from=2.1,
        cutoff=2.5,
        device=device,
    )
