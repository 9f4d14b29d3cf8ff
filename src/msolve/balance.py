# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How much larger cores, and how much finer a mesh, reach a smaller error at the least cost. Knows no mesh, no input.

The square of the error is a sum over cores and cells, and each term falls with what is spent on it:

    core of size R, made g R:     C g^(-2p),                        a n ((g R + w) / (R + w))²;
    cell cut into y pieces:       M ((m/y)^q - 1) / (m^q - 1),      N y.

p is the rate of the coupling error over the core's size, w how far atoms are evaluated beyond the core, n their number,
worth a unknowns each; q is the degree of the elements, m the pieces as large as the lattice, which leave nothing, N the
unknowns before. Meshes are graded around cores: a core that grows cuts the cells around it as well, into at least
((g R + w) / (R + w))^(2γ) pieces.

Where a given sum costs least all terms have one price λ, the cost of one unit of squared error (Lagrange):
y^(1+q) = λ q M / N m^q / (m^q - 1), and g makes cost + λ C g^(-2p) smallest. λ is found by bisection.

References:
    W. Dörfler, SIAM J. Numer. Anal. 33, 1106 (1996), for meshes alone: equal shares of the error for equal cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

GROWTHS = np.geomspace(1.0, 2.0, 71)
"""Sizes of a core after one round, over that before: rates are trusted over a factor of two."""

SMALLEST = 1.01
"""Fewer pieces of the size of the lattice than this no cell has: it would be one atom's."""

FINEST = 16.0
"""Most pieces into which a cell is cut in one round."""


@dataclass(frozen=True)
class Cores:
    """What cores cost and leave.

    Attributes:
        error: Square of the error that comes from each, in any unit, shape ``(k,)``.
        size: Radius or half width of each, shape ``(k,)`` [Å].
        atoms: Atoms evaluated for each, shape ``(k,)``.
        beyond: How far atoms are evaluated around a core [Å].
        rate: p of the module's text.
    """

    error: Array
    size: Array
    atoms: Array
    beyond: float
    rate: float

    def left(self, growth: Array) -> float:
        """Square of the error with cores ``growth`` times as large, shape ``(k,)``."""
        return float(np.sum(self.error * growth ** (-2 * self.rate)))

    def wider(self, growth: Array) -> Array:
        """How much wider the discs of evaluated atoms get, shape ``(k,)``."""
        return (self.size * growth + self.beyond) / (self.size + self.beyond)

    def last_price(self, atom_cost: float) -> float:
        """Price at which the core with the largest error grows as far as one round lets it; inf without error."""
        k, g = self.error.argmax(), GROWTHS[-1]
        R, w, error = self.size[k], self.beyond, self.error[k]
        slope = 2 * atom_cost * self.atoms[k] * R * (g * R + w) / (R + w) ** 2
        gain = 2 * self.rate * error * g ** (-2 * self.rate - 1)
        return float(slope / gain) if gain > 0 else float("inf")

    def cheapest(self, price: float, atom_cost: float) -> Array:
        """Growth of each at a price of squared error, shape ``(k,)``."""
        wide = (self.size[:, None] * GROWTHS + self.beyond) / (self.size[:, None] + self.beyond)
        cost = atom_cost * self.atoms[:, None] * wide**2
        cost = cost + price * self.error[:, None] * GROWTHS ** (-2 * self.rate)
        return np.asarray(GROWTHS[cost.argmin(axis=1)])


@dataclass(frozen=True)
class Cells:
    """What the cells of a mesh cost and leave.

    Attributes:
        error: Square of the error of each, in the same unit, shape ``(m,)``.
        most: Pieces of the size of the lattice that fit into each, shape ``(m,)``.
        core: The core around which each is graded, shape ``(m,)``.
        unknowns: Unknowns a cell.
        rate: q of the module's text.
        grading: γ of the module's text.
    """

    error: Array
    most: Array
    core: npt.NDArray[np.int64]
    unknowns: float
    rate: float
    grading: float

    def left(self, pieces: Array) -> float:
        """Square of the error with each cell cut into ``pieces``, shape ``(m,)``."""
        most = self._most**self.rate
        less = ((self._most / pieces) ** self.rate - 1) / (most - 1)
        return float(np.sum(self.error * np.maximum(less, 0.0)))

    def cheapest(self, price: float, wider: Array) -> Array:
        """Pieces of each at a price of squared error, if discs of atoms get so much ``wider``, shape ``(m,)``."""
        most = self._most**self.rate
        wanted = price * self.rate * self.error / self.unknowns * most / (most - 1)
        pieces = np.minimum(wanted ** (1 / (1 + self.rate)), np.minimum(self._most, FINEST))
        return np.maximum(pieces, self.by_grading(wider))

    def by_grading(self, wider: Array) -> Array:
        """Pieces that wider discs of atoms alone cut each into, shape ``(m,)``."""
        return np.asarray(wider[self.core] ** (2 * self.grading))

    @property
    def _most(self) -> Array:
        return np.maximum(self.most, SMALLEST)


def balanced(cores: Cores, cells: Cells, left: float, atom_cost: float) -> tuple[Array, Array]:
    """The cheapest growth of cores and pieces of cells that leave no more than a given squared error.

    Args:
        cores: Cores.
        cells: Cells.
        left: Square of the error to be left. Where the largest growth of cores leaves more than half of that, the rest
            is for the next round: the mesh is not asked for more at any price, but at that of the last bit of growth.
        atom_cost: Unknowns that an evaluated atom is worth.

    Returns:
        Growth of each core, shape ``(k,)``, and pieces of each cell, shape ``(m,)``.
    """
    none, whole = np.ones(len(cores.size)), np.ones(len(cells.error))
    before = cores.left(none) + cells.left(whole)
    if before <= left:
        return none, whole
    spent = atom_cost * float(cores.atoms.sum()) + cells.unknowns * len(cells.error)
    low, high = (np.log(spent / before) + shift for shift in (-12.0, 24.0))

    def at(price: float) -> tuple[Array, Array]:
        growth = cores.cheapest(price, atom_cost)
        return growth, cells.cheapest(price, cores.wider(growth))

    for _ in range(60):
        middle = 0.5 * (low + high)
        growth, pieces = at(float(np.exp(middle)))
        reached = cores.left(growth) + cells.left(pieces) <= left
        low, high = (low, middle) if reached else (middle, high)
    price = float(np.exp(high))
    if left < 2 * cores.left(GROWTHS[-1] * none):
        price = min(price, cores.last_price(atom_cost))
    return at(price)
