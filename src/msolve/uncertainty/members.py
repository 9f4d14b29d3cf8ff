# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Potentials beside the one in use, and what their answers say of its own.

A reference is right where they differ. Members of a committee scatter around their mean, as samples of one
distribution; draws from a distribution of coefficients scatter around the coefficients in use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from msolve.potentials import Potential

Array = npt.NDArray[np.float64]

Sort = Literal["reference", "committee", "pops"]


@dataclass(frozen=True)
class Members:
    """Other potentials.

    Attributes:
        sort: What they are.
        potentials: They; one for a reference.
    """

    sort: Sort
    potentials: tuple[Potential, ...]

    @property
    def signed(self) -> bool:
        """Whether a difference has a sign that means something: the other potential is right."""
        return self.sort == "reference"

    @property
    def share(self) -> float:
        """Weight of each in a mean square: 1 / n, less one degree of freedom where their own mean is the centre."""
        n = len(self.potentials)
        return 1 / (n - 1) if self.sort == "committee" else 1 / n

    def apart(self, answers: Array, own: Array) -> Array:
        """Deviations of the members' answers ``(m, ...)`` from the centre: their mean, or the answer in use."""
        centre = answers.mean(axis=0) if self.sort == "committee" else own
        return np.asarray(answers - centre)
