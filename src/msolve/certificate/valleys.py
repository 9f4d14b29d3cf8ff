# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Looking around a minimum of the full model for states of lower energy.

A certificate says that a solution is close; not that it is the one that was wanted. A crack may stand one atom further
on, or be healed, at a lower energy. Along each of the softest modes, to both sides, energies are looked at in steps;
where they come down again, a minimisation follows. A crack is also moved by one spacing of its atoms, forth and back:
every atom takes the displacement that belongs to the place so much behind or before. What is found is a fact, what is
not found may still be there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from petsc4py import PETSc

import numpy as np
from scipy import spatial

from msolve.assemble import Assembly
from msolve.certificate.modes import Mode
from msolve.certificate.sampled import largest_displacement
from msolve.compare import SAME, unknowns_of
from msolve.errors import ConvergenceError
from msolve.solvers import Settings, minimise

SIZES = (0.25, 0.5, 1.0, 1.5, 2.0)
"""Largest displacement of an atom, one step after the other [Å]."""

LOOKED_AT = 2
"""Modes, from the softest."""

LOWER = 1e-3
"""Difference in energy that counts [eV]."""

ROUGH = Settings(tolerance=1e-3, max_iterations=100)
"""Of minimisations that only have to tell one valley from another."""


@dataclass(frozen=True)
class Valley:
    """Another state of the full model, of lower energy.

    Attributes:
        energy: Its energy less that of the state looked from, negative [eV].
        moved: Largest displacement component between the two [Å].
        state: Its unknowns.
    """

    energy: float
    moved: float
    state: PETSc.Vec


def lower_valley(
    full: Assembly,
    x: PETSc.Vec,
    t: float,
    modes: Iterable[Mode],
    spacing: float | None = None,
    settings: Settings = ROUGH,
) -> Valley | None:
    """The lowest state that is found, if it is lower than ``x``. Collective.

    Args:
        full: The full atomistic model.
        x: A minimum.
        t: Load parameter.
        modes: Directions to look along.
        spacing: Distance by which a crack is moved along x1 [Å]; ``None`` where there is none.
        settings: Of minimisations.
    """
    begin = full.problem.evaluate(x, t, x.duplicate())
    starts = [
        _beyond(full, x, t, begin, mode.vector, sign)
        for mode in list(modes)[:LOOKED_AT]
        for sign in (1.0, -1.0)
    ]
    if spacing is not None:
        starts += [moved_along(full, x, t, spacing), moved_along(full, x, t, -spacing)]
    best: Valley | None = None
    for start in starts:
        if start is None:
            continue
        try:
            report = minimise(full.problem, start, t, full.preconditioner, settings)
        except ConvergenceError:
            continue
        found = Valley(report.energy - begin, largest_displacement(full, start - x), start)
        if found.energy < -LOWER and (best is None or found.energy < best.energy):
            best = found
    return best


def moved_along(full: Assembly, x: PETSc.Vec, t: float, by: float) -> PETSc.Vec:
    """The state whose displacements are those of ``x``, moved along x1 by a distance [Å]. Collective."""
    X, y = full.X, full.problem.gather(x, t)
    held = full.problem.gather(x, t)
    free = np.flatnonzero(full.free)
    from_ = X[free] - by * np.eye(3)[0]
    # In the plane: the lattice may repeat along x1 only together with a step along the front.
    away, nearest = spatial.cKDTree(X[:, : full.body.gdim]).query(from_[:, : full.body.gdim])
    known = away < SAME
    held[free[known]] = X[free[known]] + (y - X)[nearest[known]]
    return unknowns_of(full, held, t)


def _beyond(
    full: Assembly, x: PETSc.Vec, t: float, begin: float, mode: PETSc.Vec, sign: float
) -> PETSc.Vec | None:
    """The first state along a mode whose energy is below that before it; ``None`` if energies only rise."""
    scale = sign / max(largest_displacement(full, mode), 1e-300)
    before, out = begin, x.duplicate()
    for size in SIZES:
        at = x.copy()
        at.axpy(scale * size, mode)
        try:
            energy = full.problem.evaluate(at, t, out)
        except ConvergenceError:
            return None
        if not np.isfinite(energy):
            return None
        if energy < before:
            return at
        before = energy
    return None
