# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Tiles of a body, strata of tiles, and sums over all tiles from a sample of them.

The body is cut into squares or cubes of a few atoms' width. Strata are rings of doubling radius, the flanks of a crack
in each, and the rim. In each
stratum tiles are drawn by systematic sampling with inclusion probabilities π in proportion to a guess of what they
hold; a sum over all tiles is then estimated without bias by Σ s/π over the sample, whatever the guess was. Strata too
large to be listed are first thinned evenly. All draws are seeded and the same on every rank.

References:
    D. G. Horvitz and D. J. Thompson, J. Am. Stat. Assoc. 47, 663 (1952); W. G. Cochran, Sampling Techniques
    (1977), sections 5, 9A and 12.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from msolve.body import Body
from msolve.regions import Ball, Regions

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LISTED = 4000
"""Tiles of a stratum that are looked at; of more, so many are drawn evenly."""

FLOOR = 0.3
"""Least guess of a tile over the mean of its stratum: no tile is left out for a guess of nothing."""

FEWEST = 4
"""Tiles drawn from a stratum at least."""


@dataclass(frozen=True)
class Stratum:
    """Tiles of one sort.

    Attributes:
        name: ``"ring"``, ``"flank"`` or ``"rim"``.
        inner: Least distance of a tile from the origin [Å].
        outer: Largest one [Å].
        count: Tiles of the stratum.
        centres: Centres of those that are listed, shape ``(m, gdim)`` [Å].
    """

    name: str
    inner: float
    outer: float
    count: float
    centres: Array


@dataclass(frozen=True)
class Draw:
    """Tiles drawn from a stratum.

    Attributes:
        stratum: It.
        chosen: Which of its listed tiles, shape ``(n,)``.
        inclusion: Their inclusion probabilities among the listed ones, shape ``(n,)``.
    """

    stratum: Stratum
    chosen: IntArray
    inclusion: Array

    def total(self, values: Array) -> tuple[float, float]:
        """Estimated sum of a quantity over the stratum, and the variance of that.

        Args:
            values: Of the tiles drawn, shape ``(n,)``.
        """
        if len(values) == 0:
            return 0.0, 0.0
        thinned = self.stratum.count / len(self.stratum.centres)
        shares = values / self.inclusion
        n, listed = len(values), float(shares.sum())
        variance = 0.0
        if n > 1:
            spread = n / (n - 1) * float(((shares - listed / n) ** 2).sum())
            variance = max(1.0 - float(self.inclusion.mean()), 0.0) * spread * thinned**2
        if thinned > 1:
            m = len(self.stratum.centres)
            mean = listed / m
            second = float((values**2 / self.inclusion).sum()) / m
            variance += self.stratum.count**2 * max(second - mean**2, 0.0) / m
        return thinned * listed, variance


def strata(body: Body, zone: Regions, side: float, rng: np.random.Generator) -> list[Stratum]:
    """All tiles that reach beyond the exact zone: rings, flanks of a crack in each ring, rim. Rank-local.

    Args:
        body: What is solved.
        zone: Where every atom is visited.
        side: Width of a tile [Å].
        rng: For the strata that are thinned; the same on every rank.
    """
    begin = max(core.extent() for core in zone.cores) + zone.blend + side
    limits = [0.0, begin]
    last = body.radius + 0.5 * side * np.sqrt(body.gdim)
    # The outermost ring of a round body is its rim; other outlines have no ring of their own.
    end = body.radius - side if isinstance(body.shape, Ball) else last
    while limits[-1] < end:
        doubled = 2 * limits[-1]
        limits.append(end if doubled > 0.7 * end else doubled)
    rings = [(low, high, "ring") for low, high in pairwise(limits)]
    if isinstance(body.shape, Ball):
        rings.append((limits[-1], last, "rim"))
    out = []
    for low, high, name in rings:
        count, centres = _ring(body.gdim, low / side, high / side, rng)
        out.append(_kept(body, zone, side, Stratum(name, low, high, count, side * centres)))
        if body.crack:
            count, centres = _flank(low / side, high / side, rng)
            flank = Stratum("flank", low, high, count, side * centres)
            out.append(_kept(body, zone, side, flank))
    return [stratum for stratum in out if len(stratum.centres)]


def _kept(body: Body, zone: Regions, side: float, given: Stratum) -> Stratum:
    """Those that reach beyond the zone and into the body; away from the flanks unless they are the flanks'."""
    gdim, listed = body.gdim, len(given.centres)
    flat = np.zeros((listed, 3))
    flat[:, :gdim] = given.centres
    diagonal = 0.5 * side * np.sqrt(gdim)
    kept = (zone.distance(flat) > -diagonal) & (body.shape.distance(flat) < diagonal)
    if body.crack and given.name != "flank":
        kept &= ~((flat[:, 0] < 0) & (np.abs(flat[:, 1]) < side))
    count = given.count * float(kept.sum()) / max(listed, 1)
    return replace(given, count=count, centres=given.centres[kept])


def _ring(gdim: int, inner: float, outer: float, rng: np.random.Generator) -> tuple[float, Array]:
    """How many points of half-integers have a distance in [inner, outer), and these or an even draw of them."""
    count = _count(gdim, inner, outer)
    if count <= LISTED or inner == 0.0:
        reach = int(np.ceil(outer)) + 1
        line = np.arange(-reach, reach) + 0.5
        centres = np.stack(np.meshgrid(*[line] * gdim, indexing="ij"), axis=-1).reshape(-1, gdim)
        return count, centres[_between(centres, inner, outer)]
    # Even draws from a ring somewhat wider, which holds the squares around all of them.
    low, high = max(inner - gdim, 0.0) ** gdim, (outer + gdim) ** gdim
    found = np.zeros((0, gdim))
    while len(found) < LISTED:
        way = rng.normal(size=(LISTED, gdim))
        way /= np.linalg.norm(way, axis=1)[:, None]
        radius = rng.uniform(low, high, LISTED) ** (1 / gdim)
        at = np.floor(radius[:, None] * way) + 0.5
        found = np.unique(np.concatenate([found, at[_between(at, inner, outer)]]), axis=0)
    return count, found


def _flank(inner: float, outer: float, rng: np.random.Generator) -> tuple[float, Array]:
    """The same of the two rows beside the half line x1 < 0."""
    first, last = int(np.floor(inner)), int(np.ceil(outer))
    along = np.arange(first, last)
    if len(along) > LISTED // 2:
        along = np.sort(rng.choice(along, LISTED // 2, replace=False))
    row = -(along + 0.5)
    centres = np.concatenate([np.column_stack([row, np.full(len(row), h)]) for h in (0.5, -0.5)])
    inside = _between(centres, inner, outer)
    return (last - first) / max(len(along), 1) * float(inside.sum()), centres[inside]


def _between(centres: Array, inner: float, outer: float) -> npt.NDArray[np.bool_]:
    distance = np.linalg.norm(centres, axis=1)
    return np.asarray((distance >= inner) & (distance < outer))


def _count(gdim: int, inner: float, outer: float) -> float:
    """Tiles of width one with centres (half-integers) at a distance in [inner, outer)."""
    reach = int(np.ceil(outer)) + 1
    line = np.arange(-reach, reach) + 0.5
    across = line**2 if gdim == 2 else (line[:, None] ** 2 + line**2).ravel()

    def inside(radius: float) -> float:
        left = radius**2 - across
        half = np.sqrt(left[left > 0])
        # Half-integers h with |h| < half: 2 ceil(half - 1/2), for every line of tiles.
        return float((2 * np.ceil(half - 0.5)).sum())

    return inside(outer) - inside(inner)


def shared_out(strata: list[Stratum], guesses: list[Array], wanted: int) -> list[int]:
    """How many tiles to draw from each stratum: half of them evenly, half by what the strata are thought to hold."""
    held = np.array([s.count * float(g.mean()) for s, g in zip(strata, guesses, strict=True)])
    share = held / held.sum() if held.sum() > 0 else np.full(len(held), 1 / max(len(held), 1))
    many = np.ceil(0.5 * wanted * (share + 1 / max(len(held), 1)))
    return [max(int(n), FEWEST) for n in many]


def draw(stratum: Stratum, guess: Array, wanted: int, rng: np.random.Generator) -> Draw:
    """Draw tiles by systematic sampling in random order, with probabilities in proportion to a guess.

    Args:
        stratum: What to draw from.
        guess: What each listed tile is thought to hold, not negative, shape ``(m,)``.
        wanted: How many tiles to draw; all, each surely, where there are no more.
        rng: Generator.
    """
    m = len(stratum.centres)
    if wanted >= m:
        return Draw(stratum, np.arange(m), np.ones(m))
    size = np.maximum(guess, FLOOR * float(guess.mean()))
    if not size.sum() > 0:
        size = np.ones(m)
    inclusion = np.zeros(m)
    sure = np.zeros(m, dtype=bool)
    while True:
        inclusion[~sure] = (wanted - sure.sum()) * size[~sure] / size[~sure].sum()
        over = (inclusion >= 1) & ~sure
        if not over.any():
            break
        sure |= over
    inclusion[sure] = 1.0
    order = rng.permutation(m)
    reached = np.cumsum(inclusion[order])
    ticks = rng.uniform() + np.arange(round(float(reached[-1])))
    chosen = order[np.minimum(np.searchsorted(reached, ticks), m - 1)]
    chosen = np.unique(chosen)
    return Draw(stratum, chosen, inclusion[chosen])
