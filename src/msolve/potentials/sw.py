# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Stillinger and Weber's potential: pairs and angles, strictly local, twice differentiable.

Reads the ``.sw`` files of LAMMPS. Derivatives come from automatic differentiation.

References:
    Stillinger, Weber, Phys. Rev. B 31, 5262 (1985).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import NDArray

from msolve.errors import CaseError
from msolve.potentials.protocol import FeatureHalo

Array = NDArray[np.float64]

COLUMNS = ("epsilon", "sigma", "a", "lambda", "gamma", "costheta0", "A", "B", "p", "q", "tol")
"""What stands behind the three elements of an entry, in metal units."""


class StillingerWeber:
    """Site energies ``½ Σ_j φ₂(r_ij) + Σ_{j<k} φ₃(r_ij, r_ik, θ_jik)``.

    Args:
        elements: Symbols of the elements, in the order of the tables.
        parameters: Entry for centre i and neighbours j, k, shape ``(n, n, n, 11)``, see ``COLUMNS``.
        name: What to call it.
        device: ``"cpu"`` or ``"cuda:N"``.
    """

    layers = 1
    exchange = False
    gives = frozenset({"energy", "gradient", "site_energy", "hessian_product"})

    def __init__(
        self, elements: tuple[str, ...], parameters: Array, name: str = "sw", device: str = "cpu"
    ) -> None:
        self.name = name
        self.device = device
        species = np.full(120, -1, dtype=np.int64)
        species[[atomic_numbers[e] for e in elements]] = np.arange(len(elements))
        self.numbers = frozenset(atomic_numbers[e] for e in elements)
        self._species = torch.as_tensor(species, device=device)
        self._table = torch.as_tensor(parameters, dtype=torch.float64, device=device)
        # The pair (i, j) takes its lengths from the entry (i, j, j), also inside an angle.
        pairs = parameters[:, range(len(elements)), range(len(elements))]
        self._pairs = torch.as_tensor(pairs, dtype=torch.float64, device=device)
        self.cutoff = float((pairs[..., 1] * pairs[..., 2]).max())

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
        """See ``SiteModel``."""
        kind = self._species[numbers]
        i, j = kind[pair[0]], kind[pair[1]]
        length = vec.detach().square().sum(1).sqrt()
        end = (self._pairs[..., 1] * self._pairs[..., 2])[i, j]
        # Just below its end an exponential of -1e12 is zero, and so are all its derivatives.
        near = (length < end - 1e-9 * end).nonzero()[:, 0]
        vec, centre, i, j = vec[near], pair[0][near], i[near], j[near]
        r = vec.square().sum(1).sqrt()
        own = self._pairs[i, j]
        epsilon, sigma, a, gamma = own[:, 0], own[:, 1], own[:, 2], own[:, 4]
        A, B, p, q = own[:, 6], own[:, 7], own[:, 8], own[:, 9]
        decay = sigma / (r - a * sigma)
        ratio = sigma / r
        phi2 = A * epsilon * (B * ratio**p - ratio**q) * torch.exp(decay)
        energy = vec.new_zeros(n_owned).index_add(0, centre, 0.5 * phi2)
        one, two = _angles(centre, n_owned)
        unit = vec / r[:, None]
        cosine = (unit[one] * unit[two]).sum(1)
        entry = self._table[i[one], j[one], j[two]]
        screen = torch.exp((gamma * decay)[one] + (gamma * decay)[two])
        phi3 = entry[:, 3] * entry[:, 0] * (cosine - entry[:, 5]).square() * screen
        return energy.index_add(0, centre[one], phi3)


def _angles(centre: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs of edges with the same centre, each once; ``centre`` is ascending."""
    edge = torch.arange(len(centre), device=centre.device)
    end = torch.bincount(centre, minlength=n).cumsum(0)[centre]
    left = end - edge - 1
    one = edge.repeat_interleave(left)
    begin = left.cumsum(0) - left
    return one, one + 1 + torch.arange(len(one), device=centre.device) - begin[one]


def load_sw(path: str | Path, device: str = "cpu") -> StillingerWeber:
    """Read a ``.sw`` file of LAMMPS; its elements are all that occur in it.

    Raises:
        CaseError: The file cannot be read, is no such file, or lacks an entry.
    """
    where = f"potential.file = {path}"
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError([f"{where}: cannot be read: {error}"]) from error
    words = [w for line in text.splitlines() for w in line.split("#")[0].split()]
    size = 3 + len(COLUMNS)
    entries = [words[k : k + size] for k in range(0, len(words), size)]
    if not entries or len(entries[-1]) != size:
        raise CaseError(
            [f"{where}: needs entries of {size} words (three elements, {', '.join(COLUMNS)})"]
        )
    elements = tuple(dict.fromkeys(e for entry in entries for e in entry[:3]))
    table = np.full((len(elements),) * 3 + (len(COLUMNS),), np.nan)
    for entry in entries:
        try:
            place = tuple(elements.index(e) for e in entry[:3])
            table[place] = [float(x) for x in entry[3:]]
        except ValueError as error:
            raise CaseError([f"{where}: bad entry {' '.join(entry)}: {error}"]) from error
    unknown = [e for e in elements if e not in atomic_numbers]
    if unknown:
        raise CaseError([f"{where}: {unknown[0]} is no element"])
    if not np.isfinite(table).all():
        missing = [elements[k] for k in np.argwhere(np.isnan(table))[0][:3]]
        raise CaseError([f"{where}: no finite entry for {' '.join(missing)}"])
    return StillingerWeber(elements, table, Path(path).name, device)
