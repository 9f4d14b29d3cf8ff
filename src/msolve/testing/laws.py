# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Checks of potentials, material laws and terms against the laws that msolve relies on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mpi4py import MPI

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.atomistic import AtomisticPatch
from msolve.continuum.energy import Material
from msolve.coupling import Contribution, Snapshot, Term
from msolve.potentials.protocol import ForceModel, Potential, SiteModel
from msolve.testing.forces import check_forces
from msolve.testing.measures import USUAL, Tolerances, difference, require, rotation, same

Array = NDArray[np.float64]


def check_potential(
    model: Potential,
    positions: Array,
    numbers: ArrayLike,
    cell: ArrayLike,
    periodic: ArrayLike,
    rng: np.random.Generator,
    tolerances: Tolerances = USUAL,
) -> None:
    """Put a potential through the laws that msolve relies on.

    Renumbering the atoms renumbers what is found. Weighted energies are sums of weighted site energies; the
    gradient and the Hessian product are derivatives; the Hessian is symmetric; moving all atoms together
    changes nothing; turning an open cluster changes no energy; an atom that moves beyond the reach of a site
    does not change its energy; a neighbour that passes the cutoff makes no jump.

    Of a black box: forces are minus the derivative of the energy, shares add up to the energy, moving,
    turning and renumbering the atoms does what it should, Hessian products by differences of forces are those of
    finer differences and symmetric within the tolerance for them, nothing is felt beyond the declared ranges, a
    thin periodic cell is as good as several of them together, and a strain of a crystal does the work that its
    virial says.

    Args:
        model: The potential.
        positions: Some atoms, off their equilibrium places, of which two are further apart than the declared
            reach, shape ``(n, 3)`` [Å].
        numbers: Atomic numbers, shape ``(n,)``.
        cell: Lattice vectors as rows, shape ``(3, 3)`` [Å].
        periodic: Which axes are periodic, shape ``(3,)``.
        rng: Source of weights and directions.
        tolerances: What is accepted.

    Raises:
        AssertionError: A law is broken.

    Note:
        Serial.
    """
    x = np.asarray(positions, dtype=np.float64)
    n, z = len(x), np.asarray(numbers)
    if isinstance(model, ForceModel):
        check_forces(model, x, z, np.asarray(cell), periodic, rng, tolerances)
        return
    # First, because a wrong range or a jump at the cutoff would show as a wrong derivative.
    _check_open_cluster(model, x, numbers, rng, tolerances)
    patch = AtomisticPatch(MPI.COMM_SELF, model, numbers, cell, periodic, x, np.ones(n, dtype=bool))
    # Some sites without weight, as in a coupled problem.
    weight = rng.random(n) * (rng.random(n) < 0.7)
    d, other = rng.normal(size=(2, n, 3))
    energy, gradient = patch.evaluate(x, weight)
    product = patch.hessian_product(x, weight, d)
    same("Σ wᵢ εᵢ", energy, weight @ patch.site_energies(x), tolerances.exact)
    slope = difference(lambda s: patch.evaluate(x + s * d, weight)[0], tolerances.step)
    require(abs(slope) > 1e-8, f"the energy does not change along a random direction: {slope}")
    same("gradient · direction", float(np.sum(gradient * d)), slope, tolerances.gradient)
    change = difference(lambda s: patch.evaluate(x + s * d, weight)[1], tolerances.step)
    same("Hessian product", product, change, tolerances.hessian)
    symmetric = float(np.sum(d * patch.hessian_product(x, weight, other)))
    same("symmetry of the Hessian", float(np.sum(other * product)), symmetric, tolerances.exact)
    order = rng.permutation(n)
    other_patch = AtomisticPatch(
        MPI.COMM_SELF, model, z[order], cell, periodic, x[order], np.ones(n, dtype=bool)
    )
    renumbered = other_patch.evaluate(x[order], weight[order])[1]
    same("renumbered", renumbered, gradient[order], tolerances.exact)
    size = float(np.abs(gradient).max())
    require(
        float(np.abs(gradient.sum(axis=0)).max()) < n * tolerances.exact * size,
        f"the gradients do not add up to zero: {gradient.sum(axis=0)}",
    )


def check_material(
    law: Material,
    F: Array,
    rng: np.random.Generator,
    tolerances: Tolerances = USUAL,
    *,
    C: Array | None = None,
) -> None:
    """Put a hyperelastic law through the laws that finite elements rely on.

    Stress and tangent are derivatives, the tangent has the symmetry of second derivatives, turning the
    body changes no energy and turns the stress, and the undeformed body is free of stress.

    Args:
        law: The law.
        F: Some deformation gradients, not all of them that of no deformation, shape ``(n, 3, 3)`` [-].
        rng: Source of directions.
        tolerances: What is accepted; ``step`` counts as a strain here.
        C: Elastic constants that the law should have, those of the potential whose atoms it is to meet,
            shape ``(3, 3, 3, 3)`` [eV/Å³]; any by default.

    Raises:
        AssertionError: A law is broken.
    """
    W, P = law.energy_density(F)
    A = law.tangent(F)
    G, H = rng.normal(size=(2, *F.shape))
    slope = difference(lambda s: law.energy_density(F + s * G)[0], tolerances.step)
    require(float(np.abs(slope).max()) > 1e-8, "the energy does not change along random directions")
    same("stress · direction", np.einsum("nij,nij->n", P, G), slope, tolerances.gradient)
    change = difference(lambda s: law.energy_density(F + s * G)[1], tolerances.step)
    require(float(np.abs(change).max()) > 1e-8, "the stress does not change along a direction")
    same("tangent", np.einsum("nijkl,nkl->nij", A, G), change, tolerances.hessian)
    left = np.einsum("nij,nijkl,nkl->n", H, A, G)
    right = np.einsum("nij,nijkl,nkl->n", G, A, H)
    same("symmetry of the tangent", left, right, tolerances.exact)
    turn = rotation(rng)
    turned, stress = law.energy_density(turn @ F)
    same("energy of the turned body", turned, W, tolerances.exact)
    same("stress of the turned body", stress, turn @ P, tolerances.exact)
    _check_rest(law, tolerances, C)


def _check_rest(law: Material, accept: Tolerances, C: Array | None) -> None:
    undeformed = np.eye(3)[None]
    stiffness = law.tangent(undeformed)[0]
    strain = float(np.abs(law.energy_density(undeformed)[1]).max() / np.abs(stiffness).max())
    require(
        strain < accept.rest,
        f"the undeformed body is under stress, as if strained by {strain:.1e}: not the lattice at rest",
    )
    if C is not None:
        same("elastic constants", stiffness, C, accept.rest)


def check_term(
    term: Term,
    at: Snapshot,
    rng: np.random.Generator,
    tolerances: Tolerances = USUAL,
) -> None:
    """Put a term of a coupling method through the laws that solvers rely on.

    The gradient of a conservative term is the derivative of its energy, and its linearisation is symmetric;
    that of every term is the derivative of what it evaluates to.

    Args:
        term: The term.
        at: A state off equilibrium.
        rng: Source of directions.
        tolerances: What is accepted.

    Raises:
        AssertionError: A law is broken.

    Note:
        Serial: on one rank the local shares are the whole.
    """
    atoms, nodes = rng.normal(size=at.positions.shape), rng.normal(size=at.nodes.shape)

    def moved(s: float) -> Snapshot:
        return replace(at, positions=at.positions + s * atoms, nodes=at.nodes + s * nodes)

    def energy(s: float) -> float:
        return term.evaluate(moved(s)).energy

    def gradient(s: float) -> Array:
        return _flat(term.evaluate(moved(s)), at)

    along = np.concatenate([atoms.ravel(), nodes.ravel()])
    product = term.linearise(at)
    if term.conservative:
        slope = difference(energy, tolerances.step)
        require(abs(slope) > 1e-8, f"the energy does not change along a random direction: {slope}")
        same("gradient · direction", float(gradient(0.0) @ along), slope, tolerances.gradient)
        others = rng.normal(size=at.positions.shape), rng.normal(size=at.nodes.shape)
        other = np.concatenate([part.ravel() for part in others])
        left = float(other @ _flat(product(atoms, nodes), at))
        right = float(along @ _flat(product(*others), at))
        same("symmetry of the linearisation", left, right, tolerances.exact)
    change = difference(gradient, tolerances.step)
    require(float(np.abs(change).max()) > 1e-8, "the gradient does not change along a direction")
    same("linearisation", _flat(product(atoms, nodes), at), change, tolerances.hessian)


def _check_open_cluster(
    model: SiteModel, x: Array, numbers: ArrayLike, rng: np.random.Generator, accept: Tolerances
) -> None:
    def sites(at: Array, z: ArrayLike) -> Array:
        every = np.ones(len(at), dtype=bool)
        patch = AtomisticPatch(MPI.COMM_SELF, model, z, np.eye(3), [False] * 3, at, every)
        return patch.site_energies(at)

    before = sites(x, numbers)
    turn = rotation(rng)
    same("energies of the turned cluster", sites(x @ turn.T, numbers), before, accept.exact)
    _check_reach(model, sites, x, numbers, before, accept)
    z = np.append(np.asarray(numbers), np.asarray(numbers)[0])

    def with_one(distance: float) -> Array:
        return sites(np.vstack([x, x[0] + distance * _emptiest(x, model.cutoff, rng)]), z)[:-1]

    near, within, beyond = (with_one(f * model.cutoff) for f in (0.5, 1 - 1e-6, 1 + 1e-6))
    require(abs(near[0] - before[0]) > 1e-10, "an atom at half the cutoff changes no site energy")
    jump = abs(float(within[0] - beyond[0]))
    require(
        jump < accept.jump, f"a neighbour that passes the cutoff makes a site jump by {jump:.1e} eV"
    )


def _check_reach(
    model: SiteModel,
    sites: Callable[[Array, ArrayLike], Array],
    x: Array,
    numbers: ArrayLike,
    before: Array,
    accept: Tolerances,
) -> None:
    """Push the atom that has most others around it just out of reach: those must not feel it."""
    distance = np.linalg.norm(x[:, None] - x[None], axis=2)
    outside = distance > 1.01 * model.reach
    require(
        bool(outside.any()),
        f"no two atoms are {model.reach:g} angstrom apart, the declared reach: give a longer cluster",
    )
    pushed = int(np.argmax((outside & (distance < 1.5 * model.reach)).sum(axis=1)))
    there = x.copy()
    there[pushed] += 0.1 * model.cutoff * np.array([0.02, 0.03, 0.01])
    change = np.abs(sites(there, numbers) - before)
    require(float(change.max()) > 1e-10, "pushing an atom changes no site energy")
    furthest = float(distance[pushed][change > accept.exact * np.abs(before).max()].max())
    require(
        furthest <= 1.01 * model.reach,
        f"a site {furthest:.2f} angstrom from a moved atom feels it; the declared reach is {model.reach:g}",
    )


def _emptiest(x: Array, distance: float, rng: np.random.Generator) -> Array:
    """The direction of some in which a point at this distance from the first atom is furthest from all others."""
    directions = rng.normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    points = x[0] + distance * directions
    clear = np.linalg.norm(points[:, None] - x[None], axis=2).min(axis=1)
    return np.asarray(directions[np.argmax(clear)])


def _flat(part: Contribution, at: Snapshot) -> Array:
    on_atoms = np.zeros_like(at.positions) if part.on_atoms is None else part.on_atoms
    on_nodes = np.zeros_like(at.nodes) if part.on_nodes is None else part.on_nodes
    return np.concatenate([on_atoms.ravel(), on_nodes.ravel()])
