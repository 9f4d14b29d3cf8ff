# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The strain-gradient energy of a learned handshake, fitted to what elements leave out of balance in solved cracks.

Forces are linear in the weights, so that the fit is one least-squares solve. Its norm is the dual one, in which a
residual has the size of the error that it makes. The residual is that of a coupled run: multiplied with the blending
functions of a few cores, with the energy ending where it would end there. The penalty is what the energy does to waves
on the lattice, over the stiffness that the elements have for them; it keeps the sum of both positive.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse, spatial
from scipy.sparse.linalg import splu

from msolve.handshake.closure import (
    BENDS,
    STEPS,
    ClosureModel,
    across,
    columns_lattice,
    held,
    invariants,
    powers,
    rise,
    stencils,
    window,
)
from msolve.handshake.operator import FlankOperator
from msolve.train.bench import Bench, Zones
from msolve.train.flanks import under

Array = npt.NDArray[np.float64]

N_TERMS = {"constant": 1, "linear": 4, "quadratic": 10}
"""Matrices of a polynomial in the three strains."""

UNSEEN = 1e-4
"""Size of a strain, or of a second difference [Å], below which it counts as rounding."""

PENALTIES = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
"""Factors on the penalty that validation chooses from; 1: as heavy as the residual's own matrix."""

FLOOR = 1e-2
"""Penalty on the weights themselves: some have no force on waves, and forces where the energy ends."""

SOFTEST = -0.6
"""How much of the stiffness of the elements for a wave the energy may take away."""

WAVES = 8
"""Waves along each direction of the lattice that the penalty looks at."""

THINNED = 7
"""Of how many sites one is asked for the strain at which waves are looked at."""


class ClosureBench:
    """Sites, rows and norm of the fit.

    Args:
        bench: Elements whose nodes are the atoms.
        zones: Coupled models that the residual is weighted for.
    """

    def __init__(self, bench: Bench, zones: Zones) -> None:
        self.bench = bench
        self.vertices = bench.on_atom
        self.X = X = bench.nodes[self.vertices]
        self.basis = columns_lattice(X[:, :2])
        blank = ClosureModel(self.basis, np.zeros((2, 1, BENDS, BENDS)), np.zeros(3 + BENDS))
        cores, r = zones.cores[:, None], np.hypot(X[:, 0], X[:, 1])
        outer = zones.cores.max() + zones.blend + zones.matched
        points = stencils(X[:, :2], self.basis)
        end = zones.blend + zones.matched - blank.reach
        factor = window(blank, X, r - cores - end, bench.body.half_gap)
        near = (factor > 0).any(axis=0) & (r > zones.cores.min() - blank.reach)
        own = np.flatnonzero(near & (points >= 0).all(axis=1) & ~across(points, X))
        self.points, self.factor = points[own], factor[:, own]
        self.side = (X[own, 1] < 0).astype(np.int64)
        self.rows = np.flatnonzero((r > zones.cores.min()) & (r < outer))
        self.beta = np.repeat(rise(r[self.rows] - cores, 0.0, zones.blend), 3, axis=1)
        self._factorise()
        self._to_rows = self._scatter()

    def _factorise(self) -> None:
        bench = self.bench
        dof = (3 * self.vertices[self.rows][:, None] + np.arange(3)).ravel()
        self._inverse = splu(bench.K[dof][:, dof])

    def _scatter(self) -> sparse.csr_matrix:
        """From the gradients of sites by their stencils to the rows, zone below zone."""
        place = np.full(len(self.X), -1)
        place[self.rows] = np.arange(len(self.rows))
        site, which = np.nonzero(place[self.points] >= 0)
        row = 3 * place[self.points][site, which][:, None] + np.arange(3)
        column = 27 * site[:, None] + 3 * which[:, None] + np.arange(3)
        shape = (3 * len(self.rows), 27 * len(self.points))
        where = (row.ravel(), column.ravel())
        blocks = [sparse.csr_matrix((np.repeat(f[site], 3), where), shape) for f in self.factor]
        return sparse.vstack(blocks).tocsr()

    def specimen(
        self, y: Array, atoms: Array, t: float, shear: float, operator: FlankOperator
    ) -> tuple[Array, Array]:
        """What a solved crack says, arguments as for :meth:`Bench.balance`.

        Returns:
            Places of the atoms, along x3 from where they rest, shape ``(n, 3)`` [Å], and forces of the elements on
            the rows, shape ``(3 n_rows,)`` [eV/Å].
        """
        _, force = self.bench.balance(y, atoms, t, under(self.bench.body, shear), operator)
        # The energy sees atoms where they are, the relaxation of the flanks included; the elements do not.
        own = spatial.cKDTree(atoms[:, :2]).query(self.X[:, :2])[1]
        places = y[own].copy()
        places[:, 2] -= atoms[own, 2]
        return places, force[self.vertices[self.rows]].ravel()

    def seen(self, places: Array) -> Array:
        """Invariants of the sites, shape ``(n_sites, 3 + BENDS)``."""
        at = torch.from_numpy(places[self.points])
        return np.asarray(invariants(at, torch.from_numpy(self.basis)).numpy())

    def design(self, places: Array, limit: Array, n_terms: int) -> Array:
        """Forces of unit weights in each zone, shape ``(n_zones, 3 n_rows, 2 n_terms n_pairs)``."""
        at, basis = torch.from_numpy(places[self.points]), torch.from_numpy(self.basis)
        bound = torch.from_numpy(limit)

        def one(Y: torch.Tensor) -> torch.Tensor:
            return held(invariants(Y[None], basis), bound)[0]

        def factors(E: torch.Tensor) -> torch.Tensor:
            return powers(E[None], n_terms)[0]

        x = held(invariants(at, basis), bound)
        dx = torch.func.vmap(torch.func.jacrev(one))(at).reshape(len(at), 3 + BENDS, 27)
        by_E = torch.func.vmap(torch.func.jacrev(factors))(x[:, :3])
        dm = torch.einsum("nse,nek->nsk", by_E, dx[:, :3]).numpy()
        m, q, dq = powers(x[:, :3], n_terms).numpy(), x[:, 3:].numpy(), dx[:, 3:].numpy()
        pairs = pairs_of(limit)
        out = np.zeros((self._to_rows.shape[0], 2, n_terms, len(pairs)))
        sides = [(self.side == side)[:, None] for side in (0, 1)]
        for c, (i, j) in enumerate(pairs):
            half = 0.5 if i == j else 1.0
            value = half * q[:, i] * q[:, j]
            dvalue = half * (q[:, i, None] * dq[:, j] + q[:, j, None] * dq[:, i])
            for s in range(n_terms):
                force = m[:, s, None] * dvalue + dm[:, s] * value[:, None]
                columns = np.column_stack([(own * force).ravel() for own in sides])
                out[:, :, s, c] = self._to_rows @ columns
        return out.reshape(len(self.factor), 3 * len(self.rows), -1)

    def forms(
        self, places: Array, force: Array, limit: Array, n_terms: int
    ) -> list[tuple[Array, Array]]:
        """Matrix N and vector g of a specimen in each zone: its squared residual is 1 - 2 g·θ + θ·Nθ of the old one."""
        out = []
        for beta, A in zip(self.beta, self.design(places, limit, n_terms), strict=True):
            own, wide = beta * force, beta[:, None] * A
            answer = np.asarray(self._inverse.solve(np.column_stack([own, wide])))
            size = float(own @ answer[:, 0])
            out.append((wide.T @ answer[:, 1:] / size, -(wide.T @ answer[:, 0]) / size))
        return out

    def waves(self, limit: Array) -> Array:
        """What a unit weight of each pair adds to the stiffness for waves, over that of the elements.

        Shape ``(n_waves, n_pairs, 3, 3)``, in a basis in which that of the elements is one.
        """
        body, turn = self.bench.body, 2 * np.pi * (np.arange(WAVES) + 0.5) / WAVES
        volume = abs(float(np.linalg.det(self.basis))) * body.crystal.period
        pairs, out = pairs_of(limit), []
        for wave in itertools.product(turn, turn):
            D = np.linalg.inv(self.basis) @ (np.exp(1j * np.array(wave)) - 1)
            stiff = volume * np.einsum("ijkl,j,l->ik", body.C[:, :2, :, :2], D.conj(), D).real
            size, axes = np.linalg.eigh(0.5 * (stiff + stiff.T))
            root = (axes / np.sqrt(size)) @ axes.T
            bent = np.repeat(-4 * np.sin(0.5 * STEPS @ np.array(wave)) ** 2, 3)
            own = np.zeros((len(pairs), 3, 3))
            for c, (i, j) in enumerate(pairs):
                half = 0.5 if i == j else 1.0
                entry = half * bent[i] * bent[j] / (limit[3 + i] * limit[3 + j])
                own[c, i % 3, j % 3] += entry
                own[c, j % 3, i % 3] += entry
            out.append(root @ own @ root)
        return np.array(out)


def pairs_of(limit: Array) -> list[tuple[int, int]]:
    """Pairs of second differences that occur in training."""
    seen = [int(i) for i in np.flatnonzero(limit[3:] > 0)]
    return list(itertools.combinations_with_replacement(seen, 2))


@dataclass(frozen=True)
class ClosureFit:
    """A fitted energy, and what is left of the residual with it.

    Attributes:
        model: The energy.
        left: Residual over that without the energy, shape ``(n_specimens, n_zones)``.
        softest: Lowest of what it adds to the stiffness for waves, over that of the elements.
    """

    model: ClosureModel
    left: Array
    softest: float


def fit_closure(
    bench: ClosureBench,
    specimens: list[tuple[Array, Array]],
    n_training: int,
    n_terms: int,
    beyond: float,
) -> ClosureFit:
    """Fit the energy to the first specimens; the others choose among penalties that keep waves stiff.

    Args:
        bench: Sites, rows, norm.
        specimens: From :meth:`ClosureBench.specimen`.
        n_training: How many of them are for training.
        n_terms: Matrices of the polynomial in the strain.
        beyond: How far beyond what was met in training the energy is believed.
    """
    seen = [bench.seen(places) for places, _ in specimens]
    limit = beyond * np.abs(np.concatenate(seen[:n_training])).max(axis=0)
    limit[limit < UNSEEN] = 0.0
    forms = [bench.forms(places, force, limit, n_terms) for places, force in specimens]
    return choose(bench, forms, seen, limit, n_training, n_terms)


def choose(
    bench: ClosureBench,
    forms: list[list[tuple[Array, Array]]],
    seen: list[Array],
    limit: Array,
    n_training: int,
    n_terms: int,
) -> ClosureFit:
    """Solve for the weights under each penalty, and take those that keep waves stiff and do best on what was kept."""
    normal = sum((N for one in forms[:n_training] for N, _ in one), np.zeros(()))
    right = sum((g for one in forms[:n_training] for _, g in one), np.zeros(()))
    waves = bench.waves(limit)
    stiff = np.einsum("kpab,kqba->pq", waves, waves)
    stiff += FLOOR * np.trace(stiff) / len(stiff) * np.eye(len(stiff))
    penalty = np.kron(np.eye(2 * n_terms), stiff)
    penalty *= np.trace(normal) / np.trace(penalty)
    strains = np.concatenate([np.zeros((1, 3)), *(E[::THINNED, :3] for E in seen)])
    at = held(torch.from_numpy(np.pad(strains, ((0, 0), (0, BENDS)))), torch.from_numpy(limit))
    factor = powers(at[:, :3], n_terms).numpy()
    found = []
    for share in PENALTIES:
        theta = np.linalg.solve(normal + share * penalty, right)
        parts = np.asarray(theta).reshape(2, n_terms, -1)
        added = np.einsum("es,dsp,kpab->edkab", factor, parts, waves, optimize=True)
        left = [[1 - 2 * g @ theta + theta @ N @ theta for N, g in one] for one in forms]
        model = ClosureModel(bench.basis, _matrices(parts, limit), limit)
        ratios = np.sqrt(np.maximum(left, 0.0))
        found.append(ClosureFit(model, ratios, float(np.linalg.eigvalsh(added).min())))
    stable = [one for one in found if one.softest > SOFTEST] or found[-1:]
    return min(stable, key=lambda one: float((one.left[n_training:] ** 2).mean()))


def _matrices(parts: npt.NDArray[Any], limit: Array) -> Array:
    weights = np.zeros((*parts.shape[:2], BENDS, BENDS))
    for c, (i, j) in enumerate(pairs_of(limit)):
        weights[:, :, i, j] = weights[:, :, j, i] = parts[:, :, c]
    return weights
