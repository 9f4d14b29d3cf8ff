# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Coefficients of the linear potential from energies, forces and stresses: one least-squares solve.

The derivatives of all features of a site by its edge vectors come from formulas, a few matrix products for
each block of sites.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from msolve.errors import CaseError
from msolve.potentials.linear import LinearModel
from msolve.potentials.linear_basis import Basis, Densities, PairSplines, dense, places

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

BLOCK = 2_048
"""Edges whose features are differentiated at once."""

BATCH = 4_096
"""Rows that are folded into the triangle at once."""


@dataclass(frozen=True, eq=False)
class FitCell:
    """A labelled cell.

    Attributes:
        vec: Edge vectors shorter than the cutoff, ascending by centre, shape ``(e, 3)`` [Å].
        pair: Centre and neighbour of each, shape ``(2, e)``.
        volume: Of the cell [Å³].
        energy: Of the cell [eV].
        forces: Shape ``(n, 3)`` [eV/Å].
        stress: Positive in tension, shape ``(3, 3)`` [eV/Å³].
        weights: Of the energy of an atom [1/eV], a force component [Å/eV], a stress component [Å³/eV].
    """

    vec: Array
    pair: IntArray
    volume: float
    energy: float
    forces: Array
    stress: Array
    weights: tuple[float, float, float]


class Design(NamedTuple):
    """What the features of a cell add up to; ``f`` features in all.

    Attributes:
        energy: Shape ``(f,)``.
        gradient: Derivatives by the positions, shape ``(n, 3, f)`` [1/Å].
        virial: Derivatives by a strain, shape ``(3, 3, f)``.
    """

    energy: Array
    gradient: Array
    virial: Array


def design(basis: Basis, vec: Array, pair: IntArray, n_atoms: int) -> Design:
    """Features of a cell and their derivatives; arguments as for :class:`FitCell`. Rank-local."""
    densities, splines = Densities(basis), PairSplines(basis, np.eye(basis.pairs))
    cutoff, n_features = basis.cutoff, basis.n_features
    energy = torch.zeros(n_features, dtype=torch.float64)
    gradient = torch.zeros(n_atoms, 3, n_features, dtype=torch.float64)
    virial = torch.zeros(3, 3, n_features, dtype=torch.float64)
    ends = np.searchsorted(pair[0], np.arange(n_atoms + 1))
    start = 0
    while start < n_atoms:
        stop = max(start + 1, int(np.searchsorted(ends, ends[start] + BLOCK, side="right")) - 1)
        part = slice(int(ends[start]), int(ends[stop]))
        start = stop
        if part.start == part.stop:
            continue
        edges = torch.as_tensor(np.ascontiguousarray(vec[part]))
        i, j = torch.as_tensor(np.ascontiguousarray(pair[:, part]))
        table = dense(edges, i, cutoff)
        features, by_u = _features(densities, splines, table.u)
        by_vec = by_u.flatten(0, 1)[table.place] / cutoff
        energy += features.sum(0)
        gradient.index_add_(0, j, by_vec)
        gradient.index_add_(0, i, by_vec, alpha=-1)
        virial += torch.einsum("ea,ebf->abf", edges, by_vec)
    return Design(energy.numpy(), gradient.numpy(), virial.numpy())


def fit_linear(
    basis: Basis,
    number: int,
    cells: Iterable[FitCell],
    ridge: float,
    offset: float | None = None,
    name: str = "linear",
) -> LinearModel:
    """Fit the coefficients.

    Minimises the mean of (weight · error)² over all energies of an atom, force and stress components, plus
    ridge² Σ (c_f s_f)² over the features of densities, where s_f is the root mean square of a feature's weighted
    column, plus the same of the second differences of the pair splines' coefficients with the mean s_f of these.
    So φ goes on straight where no pair is that short.

    Args:
        basis: Pair functions, densities and products.
        number: Atomic number of the element.
        cells: Labelled cells.
        ridge: Strength of the penalty [-].
        offset: Energy of an atom alone [eV]; fitted if not given.
        name: What to call the model.

    Raises:
        CaseError: A label is not finite, or the rows do not determine the coefficients.
    """
    triangle: Array = np.zeros((0, basis.n_features + 2))
    count = 0
    for rows in _in_batches(weighted_rows(basis, cell, offset) for cell in cells):
        # Rows are folded into a triangle as they come, so memory does not grow with the cells.
        triangle = cast(Array, np.linalg.qr(np.vstack([triangle, rows]), mode="r"))
        count += len(rows)
    if not count:
        raise CaseError(["no labelled cells with weight to fit the coefficients to"])
    if not np.isfinite(triangle).all():
        raise CaseError(["a label of the training cells is not finite"])
    # A column of the offset that is given stays out.
    columns = [*range(basis.n_features), *([basis.n_features] if offset is None else [])]
    found = _solve(triangle[:, columns], triangle[:, -1], count, ridge, basis)
    fitted = float(found[-1]) if offset is None else offset
    return LinearModel(basis, number, fitted, found[: basis.n_features], name)


def weighted_rows(basis: Basis, cell: FitCell, offset: float | None) -> Array:
    """Weighted rows of a cell: features, the offset's column, the label."""
    n = len(cell.forces)
    found = design(basis, cell.vec, cell.pair, n)
    known = n * (offset or 0.0)
    parts = (
        (found.energy[None] / n, 1.0, (cell.energy - known) / n),
        (-found.gradient.reshape(3 * n, -1), 0.0, cell.forces.ravel()),
        (found.virial.reshape(9, -1) / cell.volume, 0.0, cell.stress.ravel()),
    )
    rows = [
        weight * np.column_stack([matrix, *np.broadcast_arrays(constant, label)])
        for weight, (matrix, constant, label) in zip(
            cell.weights, ((m, c, np.atleast_1d(b)) for m, c, b in parts), strict=True
        )
        if weight != 0
    ]
    return np.concatenate(rows) if rows else np.zeros((0, basis.n_features + 2))


def _in_batches(parts: Iterable[Array]) -> Iterator[Array]:
    held: list[Array] = []
    for part in parts:
        held.append(part)
        if sum(map(len, held)) > BATCH:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _solve(matrix: Array, target: Array, count: int, ridge: float, basis: Basis) -> Array:
    """Least squares with the penalty; the rows stand for ``count`` others."""
    whole = with_penalty(matrix, count, ridge, basis)
    unit = np.sqrt((whole**2).sum(axis=0))
    unit[unit == 0] = 1.0
    right = np.concatenate([target, np.zeros(basis.n_features)])
    found, _, rank, _ = np.linalg.lstsq(whole / unit, right, rcond=1e-14)
    if rank < matrix.shape[1]:
        raise CaseError(
            [
                f"the training cells determine {rank} of {matrix.shape[1]} coefficients only; more cells, fewer "
                "features, or a larger ridge would do"
            ]
        )
    return np.asarray(found / unit)


def with_penalty(matrix: Array, count: int, ridge: float, basis: Basis) -> Array:
    """Rows that stand for ``count`` others, and below them those of the penalty."""
    n, f = basis.pairs, basis.n_features
    scale = np.sqrt((matrix**2).sum(axis=0) / count)
    penalty = np.zeros((f, matrix.shape[1]))
    penalty[range(n, f), range(n, f)] = scale[n:f]
    mean = np.sqrt((scale[:n] ** 2).mean())
    for k in range(n - 2):
        penalty[k, k : k + 3] = mean * np.array([1.0, -2.0, 1.0])
    return np.vstack([matrix, ridge * np.sqrt(count) * penalty])


def _features(
    densities: Densities, splines: PairSplines, u: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of sites ``(s, f)`` and their derivatives by u, ``(s, j, 3, f)``."""
    basis = densities.basis
    g, g1 = densities.radial(u, 1)
    phi, phi1 = splines(u.square().sum(0), 1)
    scalar, by_a = _products(basis, g.sum(2).T)
    by_x = torch.cat([phi1.permute(1, 2, 0), torch.einsum("sfn,nsj->sjf", by_a, g1)], 2)
    columns = [phi.sum(2).T, scalar]
    slopes = [2 * u.permute(1, 2, 0)[..., None] * by_x[:, :, None]]
    for values, by_u in _powers_of_angles(densities, u, g, g1):
        columns.append(values)
        slopes.append(by_u)
    return torch.cat(columns, 1), torch.cat(slopes, 3)


def _products(basis: Basis, a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Products of densities ``(s, f)`` and their derivatives by the densities ``(s, f, n)``."""
    counts = np.zeros((len(basis.scalar_features), a.shape[1]), dtype=np.int64)
    for f, chosen in enumerate(basis.scalar_features):
        np.add.at(counts[f], list(chosen), 1)
    exponents = torch.as_tensor(counts)

    def product(powers: torch.Tensor) -> torch.Tensor:
        return (a[:, None, :] ** powers).prod(2)

    slopes = a.new_zeros(len(a), *counts.shape)
    for n in range(a.shape[1]):
        left = exponents.clone()
        left[:, n] = (left[:, n] - 1).clamp(min=0)
        slopes[:, :, n] = exponents[:, n] * product(left)
    return product(exponents), slopes


def _powers_of_angles(
    densities: Densities, u: torch.Tensor, g: torch.Tensor, g1: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Σ_m A_nlm A_n'lm and derivatives by u, for each l: ``(s, f)`` and ``(s, j, 3, f)``."""
    monomials = densities.monomials(u)
    every = densities.harmonics(monomials)
    every_slope = densities.harmonic_slopes(monomials)
    found = []
    for own, n in zip(places(densities.basis), densities.basis.angular, strict=True):
        Y, dY = every[own], every_slope[:, own]
        A = torch.einsum("nsj,msj->snm", g[:n], Y)
        along = torch.einsum("snm,msj->nsj", A, Y)
        turned = torch.einsum("snm,dmsj->dnsj", A, dY)
        # By g of the first and Y of the first; the second density by symmetry.
        change = 2 * torch.einsum("dsj,nsj,ksj->sjdnk", u, g1[:n], along)
        change += torch.einsum("nsj,dksj->sjdnk", g[:n], turned)
        change = change + change.transpose(3, 4)
        one, two = torch.triu_indices(n, n)
        values = torch.einsum("snm,skm->snk", A, A)
        found.append((values[:, one, two], change[..., one, two]))
    return found
