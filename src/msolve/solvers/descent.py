# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Descent by forces alone: for models that have no energy, or none that is known.

Steps are those of a preconditioned L-BFGS. What a line search would ask of the energy is asked of its
change along the step, the work of the forces, which the slopes at both ends tell by the trapezoidal rule.
Such a descent ends in minima, where Newton's method on the same forces would take the nearest saddle.
"""

from __future__ import annotations

import time
from collections import deque

from petsc4py import PETSc

import numpy as np

from msolve.problem import CoupledProblem
from msolve.solvers.context import Counted
from msolve.solvers.preconditioner import Preconditioner
from msolve.solvers.settings import Report, Settings

LONGEST = 0.3
"""Largest change of an unknown in one step [Å]."""

MEMORY = 20
"""Pairs of steps and changes of the gradient that are kept."""

_OVERSHOT = 0.5  # slope at the end over the slope at the start, from which a step is shortened
_MOST_CUTS = 12


def descend(
    problem: CoupledProblem,
    z: PETSc.Vec,
    t: float,
    preconditioner: Preconditioner,
    settings: Settings,
) -> Report:
    """Follow the forces downhill from ``z``, in place, until they vanish. Collective.

    Each step does work: the trapezoidal rule finds at least a quarter of what the slope at its start
    promises. An early end is told by ``Report.converged``.

    Raises:
        ConvergenceError: The start has no forces: something is not finite, or an element is inside out.
    """
    begin = time.perf_counter()
    work = Counted(problem, t)
    history: list[float] = []
    pairs: deque[tuple[PETSc.Vec, PETSc.Vec, float]] = deque(maxlen=MEMORY)
    g, p, tried, g_tried = z.duplicate(), z.duplicate(), z.duplicate(), z.duplicate()
    work.function(None, z, g)
    while True:
        history.append(g.norm(PETSc.NormType.NORM_INFINITY))
        if settings.progress:
            settings.progress("descend", len(history) - 1, float("nan"), history[-1])
        if history[-1] <= settings.tolerance or len(history) > settings.max_iterations:
            break
        if settings.watch:
            settings.watch(z)
        slope = _direction(pairs, preconditioner, g, p)
        if slope >= 0 and pairs:
            pairs.clear()
            slope = _direction(pairs, preconditioner, g, p)
        length = min(1.0, LONGEST / p.norm(PETSc.NormType.NORM_INFINITY))
        for _ in range(_MOST_CUTS):
            z.copy(tried)
            tried.axpy(length, p)
            work.function(None, tried, g_tried)
            end = g_tried.dot(p)
            if end <= _OVERSHOT * abs(slope):
                break
            secant = slope / (slope - end) if np.isfinite(end) else 0.0
            length *= min(0.7, max(0.1, secant))
        else:
            if not pairs:
                break
            # The memory may be of another place; the plain preconditioned step still has to be tried.
            pairs.clear()
            continue
        _remember(pairs, z, tried, g, g_tried)
        tried.copy(z)
        g_tried.copy(g)
    return Report(
        "descend",
        len(history) - 1,
        work.evaluations,
        0,
        history[-1],
        float("nan"),
        history[-1] <= settings.tolerance,
        tuple(history),
        time.perf_counter() - begin,
    )


def work_between(
    problem: CoupledProblem, start: PETSc.Vec, end: PETSc.Vec, t: float, points: int = 8
) -> float:
    """Work against the forces on the straight way from one state to another [eV]. Collective.

    The difference of their energies where there is one; by Gauss's rule.
    """
    nodes, weights = np.polynomial.legendre.leggauss(points)
    way = end.copy()
    way.axpy(-1.0, start)
    here, g = start.duplicate(), start.duplicate()
    total = 0.0
    for x, w in zip(0.5 * (nodes + 1), 0.5 * weights, strict=True):
        start.copy(here)
        here.axpy(float(x), way)
        problem.evaluate(here, t, g)
        total += float(w) * g.dot(way)
    return total


def _direction(
    pairs: deque[tuple[PETSc.Vec, PETSc.Vec, float]],
    preconditioner: Preconditioner,
    g: PETSc.Vec,
    p: PETSc.Vec,
) -> float:
    """Put -H g into ``p``, H by the two loops of L-BFGS round the preconditioner; returns p · g."""
    q = g.copy()
    factors = []
    for s, y, inverse in reversed(pairs):
        factor = inverse * s.dot(q)
        q.axpy(-factor, y)
        factors.append(factor)
    preconditioner.apply(q, p)
    for (s, y, inverse), factor in zip(pairs, reversed(factors), strict=True):
        p.axpy(factor - inverse * y.dot(p), s)
    p.scale(-1.0)
    return float(p.dot(g))


def _remember(
    pairs: deque[tuple[PETSc.Vec, PETSc.Vec, float]],
    z: PETSc.Vec,
    tried: PETSc.Vec,
    g: PETSc.Vec,
    g_tried: PETSc.Vec,
) -> None:
    s, y = tried.copy(), g_tried.copy()
    s.axpy(-1.0, z)
    y.axpy(-1.0, g)
    curvature = s.dot(y)
    # Where the forces soften along a step, the pair would make the next direction point uphill.
    if curvature > 1e-10 * s.norm() * y.norm():
        pairs.append((s, y, 1.0 / curvature))
