# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Checks of black boxes, which give forces only."""

from __future__ import annotations

from mpi4py import MPI

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.atomistic import ForcePatch, find_edges
from msolve.potentials.protocol import ForceModel
from msolve.testing.measures import Tolerances, difference, require, rotation, same

Array = NDArray[np.float64]


def check_forces(
    model: ForceModel,
    x: Array,
    z: NDArray[np.int64],
    cell: Array,
    periodic: ArrayLike,
    rng: np.random.Generator,
    accept: Tolerances,
) -> None:
    """Put a black box through its laws; arguments as for ``check_potential``."""
    # Sums of n terms as large as the forces, each with the noise that the black box was found to have.
    round_off = max(accept.exact, 100 * model.noise)
    d = rng.normal(size=x.shape)
    here = model.cluster(x, z, cell, periodic)
    slope = difference(lambda s: model.cluster(x + s * d, z, cell, periodic).energy, accept.step)
    require(abs(slope) > 1e-8, f"the energy does not change along a random direction: {slope}")
    same("gradient · direction", float(np.sum(here.gradient * d)), slope, accept.gradient)
    size = float(np.abs(here.gradient).max())
    require(
        float(np.abs(here.gradient.sum(axis=0)).max()) < len(x) * round_off * size,
        f"the forces do not add up to zero: {here.gradient.sum(axis=0)}",
    )
    if here.site_energy is not None:
        same("sum of the shares", here.site_energy.sum(), here.energy, 1e-7)
    shift = rng.normal(size=3)
    same("moved", model.cluster(x + shift, z, cell, periodic).gradient, here.gradient, round_off)
    order = rng.permutation(len(x))
    renumbered = model.cluster(x[order], z[order], cell, periodic).gradient
    same("renumbered", renumbered, here.gradient[order], round_off)
    turn, free = rotation(rng), [False] * 3
    loose, turned = (model.cluster(at, z, np.eye(3), free) for at in (x, x @ turn.T))
    same("energy of the turned cluster", turned.energy, loose.energy, round_off)
    same("forces of the turned cluster", turned.gradient, loose.gradient @ turn.T, round_off)
    _check_ranges(model, x, z, cell, periodic, accept)
    _check_products(model, x, z, cell, periodic, rng, accept)
    _check_thin_cell(model, x, z, cell, np.asarray(periodic, dtype=bool), round_off)
    if np.all(periodic):
        _check_virial(model, x, z, cell, rng, accept)


def _check_products(
    model: ForceModel,
    x: Array,
    z: NDArray[np.int64],
    cell: Array,
    periodic: ArrayLike,
    rng: np.random.Generator,
    accept: Tolerances,
) -> None:
    """Hessian products as runs take them, by two forces, against differences of higher order; their symmetry."""
    patch = ForcePatch(MPI.COMM_SELF, model, z, cell, periodic, x, np.ones(len(x), dtype=bool))
    every, (d, other) = np.ones(len(x)), rng.normal(size=(2, *x.shape))
    product = patch.hessian_product(x, every, d)
    change = difference(
        lambda s: model.cluster(x + s * d, z, cell, periodic).gradient, max(accept.step, patch.step)
    )
    same("Hessian product", product, change, accept.hessian)
    symmetric = float(np.sum(d * patch.hessian_product(x, every, other)))
    same(
        "symmetry of the Hessian product", float(np.sum(other * product)), symmetric, accept.hessian
    )


def _check_ranges(
    model: ForceModel,
    x: Array,
    z: NDArray[np.int64],
    cell: Array,
    periodic: ArrayLike,
    accept: Tolerances,
) -> None:
    pushed = x.copy()
    pushed[0] += 0.03
    before, after = (model.cluster(at, z, cell, periodic) for at in (x, pushed))
    first = np.arange(len(x)) == 0

    def unfelt(change: Array, distance: float, what: str) -> None:
        near = find_edges(x, cell, periodic, distance + 0.06, first)[0][1]
        far = np.setdiff1d(np.arange(1, len(x)), near)
        require(
            len(far) > 0,
            f"no atom is {distance:g} angstrom from the first: give more atoms, or a wider cell",
        )
        require(float(np.abs(change).max()) > 1e-4, "pushing an atom changes nothing")
        seen = float(np.abs(change[far]).max())
        require(
            seen < max(1e-8, 20 * model.noise),
            f"{what} beyond {distance:g} angstrom of a moved atom changes by {seen:.1e}",
        )

    unfelt(after.gradient - before.gradient, 2 * model.cutoff, "a force")
    if before.site_energy is not None and after.site_energy is not None:
        unfelt(after.site_energy - before.site_energy, model.reach, "a share of the energy")


def _check_thin_cell(
    model: ForceModel,
    x: Array,
    z: NDArray[np.int64],
    cell: Array,
    periodic: NDArray[np.bool_],
    accept: float,
) -> None:
    if not periodic.any():
        return
    axis = int(np.flatnonzero(periodic)[-1])
    thick = cell.copy()
    thick[axis] *= 3
    copies = np.vstack([x + k * cell[axis] for k in range(3)])
    one = model.cluster(x, z, cell, periodic)
    three = model.cluster(copies, np.tile(z, 3), thick, periodic)
    same("energy of three cells", three.energy, 3 * one.energy, accept)
    same("forces in three cells", three.gradient, np.tile(one.gradient, (3, 1)), 10 * accept)


def _check_virial(
    model: ForceModel,
    x: Array,
    z: NDArray[np.int64],
    cell: Array,
    rng: np.random.Generator,
    accept: Tolerances,
) -> None:
    places = (x @ np.linalg.inv(cell))[None]
    strain = rng.normal(size=(3, 3))
    strain += strain.T

    def energy(s: float) -> float:
        return float(model.crystals((cell @ (np.eye(3) + s * strain))[None], places, z).energy[0])

    found = model.crystals(cell[None], places, z)
    same("crystal", found.gradient[0], model.cluster(x, z, cell, [True] * 3).gradient, 1e-9)
    slope = difference(energy, 0.1 * accept.step)
    same("virial · strain", float(np.sum(found.virial[0] * strain)), slope, 10 * accept.gradient)
