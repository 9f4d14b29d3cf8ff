# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How far a coupled solution is from that of the full atomistic model, where not all atoms can be visited.

    d = φ + Σ ψ_T,    φ = H⁻¹ r in a richer coupled space,    ψ_T = K_T⁻¹ (f - K φ) in each tile T of the body,

f the forces of the full model on the atoms of a tile in the lifted state, K_T elasticity between them, all others
held. φ is exact near the core and finds what higher elements find outside; what it leaves is short-waved, and local
solves find it. Tiles are as good as countless, so their sums Σ fᵀψ and the bond norm of d beyond the core are those of
a sample, with its standard error. Costs do not grow with the body, but for the logarithm of its radius.

References:
    R. E. Bank and R. K. Smith, SIAM J. Numer. Anal. 30, 921 (1993); D. G. Horvitz and D. J. Thompson,
    J. Am. Stat. Assoc. 47, 663 (1952).
"""

from __future__ import annotations

from dataclasses import dataclass

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.assemble import Assembly
from msolve.compare import Lifting, Norms, bonds
from msolve.estimate.clusters import Clusters
from msolve.estimate.enriched import Enriched
from msolve.estimate.exhaustive import dual_residuals, newton_step, split
from msolve.estimate.numbers import Estimate, Places
from msolve.estimate.tiles import Draw, draw, shared_out, strata
from msolve.estimate.truncation import truncation
from msolve.problem import CoupledProblem

Array = npt.NDArray[np.float64]

SIDE = {2: 4.0, 3: 3.0}
"""Width of a tile over the distance of neighbours, in the plane and in space."""

FORCING = 0.03
"""Residual of the step over that of its start, in the dual norm: an error of 0.1 % in the energy, 1 % near defects."""

SPLIT = 0.03
"""The same for the two parts of the step."""


@dataclass(frozen=True)
class _Sample:
    """Tiles drawn, their atoms, and these in the states of the richer problem."""

    draws: tuple[Draw, ...]
    clusters: Clusters
    lift: Lifting

    def total(self, values: Array) -> tuple[float, float]:
        """Estimated sum over all tiles, and the variance of that."""
        found, variance, first = 0.0, 0.0, 0
        for one in self.draws:
            part = one.total(values[first : first + len(one.chosen)])
            found, variance = found + part[0], variance + part[1]
            first += len(one.chosen)
        return found, variance


class Sampled:
    """Estimates for the states of one coupled problem, by some atoms of its body.

    Args:
        coupled: The problem, with linear elements.
        rim: Width of the ring at the outer boundary that norms leave out [Å].
        tip_radius: Radius of the zone that counts as the defect's own [Å].
        tiles: About how many tiles to visit.
        seed: Of the draw. Tiles are drawn by the first state that is asked for, and kept.

    Attributes:
        X: Places of what is estimated place by place, atoms near the core and nodes elsewhere, ``(n, 3)`` [Å].

    Raises:
        UnsupportedError: The elements are quadratic, or the body is so small that all atoms can be visited.

    Note:
        Construction and calls are collective.
    """

    def __init__(
        self, coupled: Assembly, *, rim: float, tip_radius: float, tiles: int, seed: int = 0
    ) -> None:
        self._coupled, self._rim, self._tiles = coupled, rim, tiles
        self._rng = np.random.default_rng(seed)
        self._enriched = Enriched(coupled)
        rich = self._enriched.rich
        self.X = self._enriched.points
        self._norms = Norms.of(rich, rim=rim, tip_radius=tip_radius)
        pair = np.stack(bonds(rich))
        near = (self._enriched.regions.distance(rich.X) < 0) & rich.free
        self._pair, self._share = pair, 0.5 * near[pair].sum(axis=0)
        self._K = rich.preconditioner.matrix
        self._stiffness = self._K.ptap(self._enriched.space)
        self._sample: _Sample | None = None
        self._before: tuple[PETSc.Vec, PETSc.Vec, PETSc.Vec] | None = None  # r, K⁻¹ r, H⁻¹ r

    def __call__(
        self,
        z: PETSc.Vec,
        t: float,
        solved: CoupledProblem,
        *,
        hessian: bool = True,
        minimised: CoupledProblem | None = None,
    ) -> tuple[Estimate, Places]:
        """Estimate the error of a solution, see :class:`msolve.estimate.Estimator`."""
        enriched, rich = self._enriched, self._enriched.rich
        problem = rich.problem.with_terms(rich.force_terms)
        w = enriched.inject(z, t)
        r, elastic = w.duplicate(), w.duplicate()
        problem.evaluate(w, t, r)
        rich.preconditioner.solve(r, elastic)
        newton = None
        if hessian:
            newton = newton_step(
                enriched.hessian(t), w, r, rich.preconditioner, FORCING, self._start(r, elastic)
            )
        step = elastic if newton is None else newton.step
        self._before = None if newton is None else (r, elastic, newton.step)
        if self._sample is None:
            self._sample = self._drawn(step)
        clusters, lift = self._sample.clusters, self._sample.lift
        forces = clusters.forces(z, t)
        base = lift(w, t)
        rest, far, (rest_error, far_error) = self._sums(forces, lift(w + step, t) - base)
        rest_K, rest_K_error = rest, rest_error
        if newton is not None:
            rest_K, _, (rest_K_error, _) = self._sums(forces, lift(w + elastic, t) - base)
        atoms, _ = enriched.displacement(step)
        stretch = atoms[self._pair[0]] - atoms[self._pair[1]]
        near = float(self._share @ (stretch**2).sum(axis=1))
        elasticity = float(r.dot(elastic))
        work = (elasticity if newton is None else newton.work) + rest
        elasticity += rest_K
        norm, total = float(np.sqrt(work)), float(np.sqrt(near + far))
        parts = split(self._K, enriched.space, self._stiffness, self._coupled, step, SPLIT)
        algebraic, deferred = dual_residuals(self._coupled, z, t, solved, minimised)
        beyond, beyond_kind = truncation(self._coupled, z, t)
        body = self._coupled.body
        numbers = Estimate(
            kind="elasticity" if newton is None else "hessian",
            elasticity_norm=float(np.sqrt(elasticity)),
            energy_norm=None if newton is None else norm,
            energy=0.5 * work,
            total_h1=total,
            tip_h1=self._norms.tip(atoms),
            coupling=parts.coupling,
            discretisation=float(np.hypot(parts.discretisation, np.sqrt(rest))),
            contraction=None,  # another evaluation of the whole richer problem: a third of the cost
            algebraic=algebraic,
            products=0 if newton is None else newton.products,
            atoms=clusters.sites + int(rich.evaluated.sum()),
            deferred=deferred,
            truncation=beyond,
            truncation_kind=beyond_kind,
            standard_error=_of_root(rest_K_error, elasticity),
            sampling={
                "tiles": float(sum(len(one.chosen) for one in self._sample.draws)),
                "represented": body.volume / body.crystal.crystal.atomic_volume,
                "energy_norm_error": _of_root(rest_error, work),
                "total_h1_error": _of_root(far_error, near + far),
            },
        )
        diagonal = self._K.getDiagonal()
        diagonal.sqrtabs()
        diagonal.pointwiseDivide(r, diagonal)
        source = (enriched.on_points(diagonal) ** 2).sum(axis=1)
        return numbers, Places(enriched.on_points(step), source)

    def _start(self, r: PETSc.Vec, elastic: PETSc.Vec) -> PETSc.Vec | None:
        """The elastic step, and for what it has in common with the last one how far that was from the step."""
        if self._before is None:
            return None
        old, before, step = self._before
        out = elastic.copy()
        alike = float(r.dot(before)) / float(old.dot(before))
        out.axpy(alike, step - before)
        return out

    def _sums(self, forces: Array, field: Array) -> tuple[float, float, tuple[float, float]]:
        """Σ fᵀψ, Σ |d|² beyond the core, and their standard errors."""
        assert self._sample is not None
        rest, far = self._sample.clusters.remainders(forces, field)
        (rest_sum, rest_var), (far_sum, far_var) = map(self._sample.total, (rest, far))
        return rest_sum, far_sum, (float(np.sqrt(rest_var)), float(np.sqrt(far_var)))

    def _drawn(self, step: PETSc.Vec) -> _Sample:
        """Tiles, likelier where the step stretches the crystal."""
        enriched, body = self._enriched, self._coupled.body
        side = SIDE[body.gdim] * body.crystal.nearest_neighbour_distance
        found = strata(body, enriched.regions, side, self._rng)
        every = np.concatenate([one.centres for one in found])
        density = enriched.densities(enriched.displacement(step)[1], every)
        ends = np.cumsum([len(one.centres) for one in found])[:-1]
        guesses = np.split(density, ends)
        many = shared_out(found, guesses, self._tiles)
        draws = tuple(
            draw(one, guess, n, self._rng)
            for one, guess, n in zip(found, guesses, many, strict=True)
        )
        centres = np.concatenate([one.stratum.centres[one.chosen] for one in draws])
        clusters = Clusters(self._coupled, enriched.regions, centres, side, self._rim)
        return _Sample(draws, clusters, clusters.lifting(enriched.rich))


def _of_root(error: float, square: float) -> float:
    """Standard error of a root by that of what is under it."""
    return error / (2 * float(np.sqrt(square))) if square > 0 else 0.0
