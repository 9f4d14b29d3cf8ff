# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a lattice of two atoms per cell does at long waves beyond its Cauchy-Born law, from its force constants.

With u the mean of the sublattices and q the second's displacement less the first's, a wave of wave vector k has the
energy density ½ (C k² + D k⁴ + ...) |u|², once q is in balance, and q = i (P k - T k³ + ...) u. C and P are the elastic
constants and the inner shifts that Cauchy-Born has. D is the energy of strain gradients, T a shift by third gradients:
the first terms that it leaves out. Odd powers in between vanish by inversion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from msolve.atomistic.relaxation import energy_of
from msolve.body import Body
from msolve.continuum.space import DisplacementSpace
from msolve.placement import Displacement

Array = npt.NDArray[np.float64]

STEP = 1e-4
"""Displacement that force constants are differences over [Å]."""

LENGTHS = (0.05, 0.1, 0.15, 0.2, 0.25)
"""Of the wave vectors that the powers are fitted to [1/Å]."""


@dataclass(frozen=True)
class LongWaves:
    """Coefficients of the powers of k in the plane, k1ⁿ first, in laboratory axes.

    Attributes:
        C: Of k², shape ``(3, 3, 3)`` [eV/Å³].
        D: Of k⁴, shape ``(5, 3, 3)`` [eV/Å].
        T: Of the third derivatives of u in q, shape ``(4, 3, 3)`` [Å³].
    """

    C: Array
    D: Array
    T: Array

    @classmethod
    def of(cls, body: Body) -> LongWaves:
        """Those of a crack's crystal at rest."""
        constants = _force_constants(body)
        angles = np.linspace(0, np.pi, 24, endpoint=False)
        k = np.concatenate([m * np.column_stack([np.cos(angles), np.sin(angles)]) for m in LENGTHS])
        energy, shift = _balanced(constants, k)
        volume = 2 * body.crystal.crystal.atomic_volume
        even = _fitted(k, energy.real, (2, 4, 6, 8))
        odd = _fitted(k, shift.imag, (1, 3, 5, 7))
        return cls(even[0] / volume, even[1] / volume, -odd[1])

    def shift(self, field: Displacement, X: Array, t: float, step: float = 0.02) -> Array:
        """T applied to the third derivatives of a field at ``X (n, 3)``, shape ``(n, 3)`` [Å]."""
        at = field.gradient(X, t)
        second = []
        for d in (0, 1):
            e = step * np.eye(3)[d]
            second.append((field.gradient(X + e, t) - 2 * at + field.gradient(X - e, t)) / step**2)
        third = [second[0][:, :, 0], second[0][:, :, 1], second[1][:, :, 0], second[1][:, :, 1]]
        return np.einsum("mij,mnj->ni", self.T, np.array(third))

    def force(self, space: DisplacementSpace, u: Array, weight: Array) -> Array:
        """Gradient of ∫ ½ w D(∇∇u) by the nodes, ``(n, 3)`` [eV/Å]; derivatives are fitted to vertices around.

        Args:
            space: Linear elements, on one rank.
            u: Displacement of the nodes, shape ``(n, 3)`` [Å].
            weight: Weight of each cell, shape ``(n_cells,)``.
        """
        cells = space.cell_nodes()
        X = space.nodes()[:, :2][cells]
        area = 0.5 * np.abs(np.linalg.det(X[:, 1:] - X[:, :1])) * space.thickness
        rows = np.repeat(np.arange(len(cells)), 3)
        third = np.full(cells.size, 1 / 3)
        mean = sparse.csr_matrix((third, (rows, cells.ravel())), (len(cells), len(u)))
        second = [mean @ one for one in _second_derivatives(space)]
        H = np.stack([one @ u for one in second])
        # k1² k2² is as well u,11 u,22 as u,12 u,12; the two differ at boundaries only.
        pairs = np.zeros((3, 3, 3, 3))
        pairs[0, 0], pairs[2, 2], pairs[1, 1] = self.D[0], self.D[4], 0.5 * self.D[2]
        pairs[0, 1] = pairs[1, 0] = 0.5 * self.D[1]
        pairs[1, 2] = pairs[2, 1] = 0.5 * self.D[3]
        pairs[0, 2] = pairs[2, 0] = 0.25 * self.D[2]
        stress = np.einsum("abij,bcj,c->aci", pairs, H, area * weight)
        return np.asarray(sum(one.T @ s for one, s in zip(second, stress, strict=True)))


def _force_constants(body: Body) -> list[tuple[int, int, Array, Array, Array]]:
    """``(sublattice, component, sublattices, distances, gradients)`` of the atoms that one displaced atom pulls at."""
    slab, crystal = body.slab, body.crystal
    assert slab is not None
    times = [int(np.ceil(4.1 * body.model.reach / p)) for p in slab.period]
    box = np.array([times[0] * slab.period[0], slab.thickness, times[1] * slab.period[1]])

    def inside(X: Array) -> npt.NDArray[np.bool_]:
        return np.asarray(((X[:, :2] >= 0) & (X[:, :2] < box[:2])).all(axis=1))

    # Off the sites, so that none lies on the border of the box.
    sites = crystal.sites(inside, [(-1.0, box[0] + 1), (-1.0, box[1] + 1)], np.full(3, 0.1))
    along = np.arange(times[1])[:, None, None] * [0, 0, slab.period[1]]
    X = (sites.positions + along).reshape(-1, 3)
    basis = np.tile(sites.basis_index, times[1])
    numbers = np.full(len(X), crystal.crystal.numbers[0])
    energy = energy_of(body.model, X, numbers, np.diag(box), np.ones(3, dtype=bool))
    out = []
    for b in (0, 1):
        own = np.flatnonzero(basis == b)[0]
        away = X - X[own]
        away -= box * np.round(away / box)
        for c in range(3):
            moved = np.zeros_like(X)
            moved[own, c] = STEP
            pull = (energy(X + moved)[1] - energy(X - moved)[1]) / (2 * STEP)
            kept = np.abs(pull).max(axis=1) > 1e-8
            out.append((b, c, basis[kept], away[kept], pull[kept]))
    return out


def _balanced(
    constants: list[tuple[int, int, Array, Array, Array]], k: Array
) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.complex128]]:
    """Stiffness of the mean for waves ``(n, 2)``, and the map from it to the sublattices' difference, ``(n, 3, 3)``."""
    M = np.zeros((len(k), 2, 3, 2, 3), dtype=complex)
    for b, c, other, away, pull in constants:
        phase = np.exp(1j * k @ away[:, :2].T)
        for o in (0, 1):
            M[:, b, c, o] += phase[:, other == o] @ pull[other == o]
    # The first sublattice moves by u - q/2, the second by u + q/2.
    sign = np.array([-0.5, 0.5])
    uu = M.sum(axis=(1, 3))
    uq = np.einsum("nbcod,o->ncd", M, sign)
    qu = np.einsum("nbcod,b->ncd", M, sign)
    qq = np.einsum("nbcod,b,o->ncd", M, sign, sign)
    answer = -np.linalg.solve(qq, qu)
    return uu + uq @ answer, answer


def _fitted(k: Array, values: Array, degrees: tuple[int, ...]) -> list[Array]:
    """Coefficients of homogeneous polynomials in the wave vectors ``(n, 2)`` for values ``(n, 3, 3)``."""
    parts = [
        np.stack([k[:, 0] ** (n - j) * k[:, 1] ** j for j in range(n + 1)], 1) for n in degrees
    ]
    matrix = np.hstack(parts)
    size = np.linalg.norm(matrix, axis=0)
    found = np.linalg.lstsq(matrix / size, values.reshape(len(k), 9), rcond=None)[0] / size[:, None]
    ends = np.cumsum([p.shape[1] for p in parts])
    return [part.reshape(-1, 3, 3) for part in np.split(found, ends[:-1])]


def _second_derivatives(space: DisplacementSpace) -> tuple[sparse.csr_matrix, ...]:
    """u,11, u,12 and u,22 at the vertices, of quadratic polynomials fitted to those two cells around."""
    cells, X = space.cell_nodes(), space.nodes()[:, :2]
    rows = np.repeat(np.arange(len(cells)), 3)
    incident = sparse.csr_matrix((np.ones(cells.size), (rows, cells.ravel())), (len(cells), len(X)))
    beside = incident.T @ incident
    around = (beside @ beside).tocsr()
    count = np.diff(around.indptr)
    slot = np.arange(count.max()) < count[:, None]
    patch = np.repeat(np.arange(len(X))[:, None], count.max(), axis=1)
    patch[slot] = around.indices
    d = X[patch] - X[:, None]
    size = np.linalg.norm(d, axis=2).max(axis=1)
    d /= size[:, None, None]
    powers = [np.ones(slot.shape), d[..., 0], d[..., 1]]
    powers += [d[..., 0] ** 2, d[..., 0] * d[..., 1], d[..., 1] ** 2]
    weight = slot / (1 + 4 * (d**2).sum(axis=2))
    fit = np.linalg.pinv(np.stack(powers, axis=2) * weight[..., None]) * weight[:, None, :]
    place = np.repeat(np.arange(len(X)), count)
    out = []
    for row, factor in ((3, 2.0), (4, 1.0), (5, 2.0)):
        values = (factor * fit[:, row] / size[:, None] ** 2)[slot]
        out.append(sparse.csr_matrix((values, (place, patch[slot])), around.shape))
    return tuple(out)
