# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Checks that potentials, laws and terms from elsewhere can be put through, and a small model to test with.

Each check raises ``AssertionError`` with the law that is broken and by how much. Not imported by
the library itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mpi4py import MPI

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msolve.atomistic import AtomisticPatch, find_edges
from msolve.continuum.energy import Material
from msolve.coupling import Contribution, Snapshot, Term
from msolve.potentials.protocol import ForceModel, Potential, SiteModel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Tolerances:
    """Largest relative errors that the checks accept.

    Attributes:
        step: Step of the central differences [Å].
        gradient: Gradient against differences of the energy.
        hessian: Hessian product against differences of the gradient.
        exact: Laws that hold up to round-off.
    """

    step: float = 1e-4
    gradient: float = 1e-6
    hessian: float = 1e-5
    exact: float = 1e-10


def check_potential(
    model: Potential,
    positions: Array,
    numbers: ArrayLike,
    cell: ArrayLike,
    periodic: ArrayLike,
    rng: np.random.Generator,
    tolerances: Tolerances = Tolerances(),
) -> None:
    """Put a potential through the laws that msolve relies on.

    Weighted energies are sums of weighted site energies; the gradient and the Hessian product are
    derivatives; the Hessian is symmetric; moving all atoms together changes nothing; turning an
    open cluster changes no energy; what lies beyond the reach of a site does not change its energy.

    Of a black box: forces are minus the derivative of the energy, shares add up to the energy, moving,
    turning and renumbering the atoms does what it should, nothing is felt beyond the declared ranges, a
    thin periodic cell is as good as several of them together, and a strain of a crystal does the work that its
    virial says.

    Args:
        model: The potential.
        positions: Some atoms, off their equilibrium places, shape ``(n, 3)`` [Å].
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
    n = len(x)
    if isinstance(model, ForceModel):
        _check_forces(model, x, np.asarray(numbers), np.asarray(cell), periodic, rng, tolerances)
        return
    patch = AtomisticPatch(MPI.COMM_SELF, model, numbers, cell, periodic, x, np.ones(n, dtype=bool))
    # Some sites without weight, as in a coupled problem.
    weight = rng.random(n) * (rng.random(n) < 0.7)
    d, other = rng.normal(size=(2, n, 3))
    energy, gradient = patch.evaluate(x, weight)
    product = patch.hessian_product(x, weight, d)
    _same("Σ wᵢ εᵢ", energy, weight @ patch.site_energies(x), tolerances.exact)
    slope = _difference(lambda s: patch.evaluate(x + s * d, weight)[0], tolerances.step)
    _assert(abs(slope) > 1e-8, f"the energy does not change along a random direction: {slope}")
    _same("gradient · direction", float(np.sum(gradient * d)), slope, tolerances.gradient)
    change = _difference(lambda s: patch.evaluate(x + s * d, weight)[1], tolerances.step)
    _same("Hessian product", product, change, tolerances.hessian)
    symmetric = float(np.sum(d * patch.hessian_product(x, weight, other)))
    _same("symmetry of the Hessian", float(np.sum(other * product)), symmetric, tolerances.exact)
    size = float(np.abs(gradient).max())
    _assert(
        float(np.abs(gradient.sum(axis=0)).max()) < n * tolerances.exact * size,
        f"the gradients do not add up to zero: {gradient.sum(axis=0)}",
    )
    _check_open_cluster(model, x, numbers, rng, tolerances)


def check_material(
    law: Material, F: Array, rng: np.random.Generator, tolerances: Tolerances = Tolerances()
) -> None:
    """Put a hyperelastic law through the laws that finite elements rely on.

    Stress and tangent are derivatives, the tangent has the symmetry of second derivatives, and turning the
    body changes no energy and turns the stress.

    Args:
        law: The law.
        F: Some deformation gradients, not all of them that of no deformation, shape ``(n, 3, 3)`` [-].
        rng: Source of directions.
        tolerances: What is accepted; ``step`` counts as a strain here.

    Raises:
        AssertionError: A law is broken.
    """
    W, P = law.energy_density(F)
    A = law.tangent(F)
    G, H = rng.normal(size=(2, *F.shape))
    slope = _difference(lambda s: law.energy_density(F + s * G)[0], tolerances.step)
    _assert(float(np.abs(slope).max()) > 1e-8, "the energy does not change along random directions")
    _same("stress · direction", np.einsum("nij,nij->n", P, G), slope, tolerances.gradient)
    change = _difference(lambda s: law.energy_density(F + s * G)[1], tolerances.step)
    _assert(float(np.abs(change).max()) > 1e-8, "the stress does not change along a direction")
    _same("tangent", np.einsum("nijkl,nkl->nij", A, G), change, tolerances.hessian)
    left = np.einsum("nij,nijkl,nkl->n", H, A, G)
    right = np.einsum("nij,nijkl,nkl->n", G, A, H)
    _same("symmetry of the tangent", left, right, tolerances.exact)
    turn = _rotation(rng)
    turned, stress = law.energy_density(turn @ F)
    _same("energy of the turned body", turned, W, tolerances.exact)
    _same("stress of the turned body", stress, turn @ P, tolerances.exact)


def check_term(
    term: Term,
    at: Snapshot,
    rng: np.random.Generator,
    tolerances: Tolerances = Tolerances(),
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
        slope = _difference(energy, tolerances.step)
        _assert(abs(slope) > 1e-8, f"the energy does not change along a random direction: {slope}")
        _same("gradient · direction", float(gradient(0.0) @ along), slope, tolerances.gradient)
        others = rng.normal(size=at.positions.shape), rng.normal(size=at.nodes.shape)
        other = np.concatenate([part.ravel() for part in others])
        left = float(other @ _flat(product(atoms, nodes), at))
        right = float(along @ _flat(product(*others), at))
        _same("symmetry of the linearisation", left, right, tolerances.exact)
    change = _difference(gradient, tolerances.step)
    _assert(float(np.abs(change).max()) > 1e-8, "the gradient does not change along a direction")
    _same("linearisation", _flat(product(atoms, nodes), at), change, tolerances.hessian)


def _check_open_cluster(
    model: SiteModel, x: Array, numbers: ArrayLike, rng: np.random.Generator, accept: Tolerances
) -> None:
    def sites(at: Array, z: ArrayLike) -> Array:
        every = np.ones(len(at), dtype=bool)
        patch = AtomisticPatch(MPI.COMM_SELF, model, z, np.eye(3), [False] * 3, at, every)
        return patch.site_energies(at)

    before = sites(x, numbers)
    turn = _rotation(rng)
    _same("energies of the turned cluster", sites(x @ turn.T, numbers), before, accept.exact)
    z = np.append(np.asarray(numbers), np.asarray(numbers)[0])
    far = x.max(axis=0) + np.array([1.01 * model.reach, 0.0, 0.0])
    beyond = sites(np.vstack([x, far]), z)[:-1]
    _same("energies with an atom out of reach", beyond, before, accept.exact)
    near = x[0] + 0.5 * model.cutoff * np.array([0.6, 0.0, 0.8])
    within = sites(np.vstack([x, near]), z)[0]
    _assert(abs(within - before[0]) > 1e-10, "an atom at half the cutoff changes no site energy")


def _check_forces(
    model: ForceModel,
    x: Array,
    z: NDArray[np.int64],
    cell: Array,
    periodic: ArrayLike,
    rng: np.random.Generator,
    accept: Tolerances,
) -> None:
    # Sums of n terms as large as the forces, each with the noise that the black box was found to have.
    round_off = max(accept.exact, 100 * model.noise)
    d = rng.normal(size=x.shape)
    here = model.cluster(x, z, cell, periodic)
    slope = _difference(lambda s: model.cluster(x + s * d, z, cell, periodic).energy, accept.step)
    _assert(abs(slope) > 1e-8, f"the energy does not change along a random direction: {slope}")
    _same("gradient · direction", float(np.sum(here.gradient * d)), slope, accept.gradient)
    size = float(np.abs(here.gradient).max())
    _assert(
        float(np.abs(here.gradient.sum(axis=0)).max()) < len(x) * round_off * size,
        f"the forces do not add up to zero: {here.gradient.sum(axis=0)}",
    )
    if here.site_energy is not None:
        _same("sum of the shares", here.site_energy.sum(), here.energy, 1e-7)
    shift = rng.normal(size=3)
    _same("moved", model.cluster(x + shift, z, cell, periodic).gradient, here.gradient, round_off)
    order = rng.permutation(len(x))
    renumbered = model.cluster(x[order], z[order], cell, periodic).gradient
    _same("renumbered", renumbered, here.gradient[order], round_off)
    turn, free = _rotation(rng), [False] * 3
    loose, turned = (model.cluster(at, z, np.eye(3), free) for at in (x, x @ turn.T))
    _same("energy of the turned cluster", turned.energy, loose.energy, round_off)
    _same("forces of the turned cluster", turned.gradient, loose.gradient @ turn.T, round_off)
    _check_ranges(model, x, z, cell, periodic, accept)
    _check_thin_cell(model, x, z, cell, np.asarray(periodic, dtype=bool), round_off)
    if np.all(periodic):
        _check_virial(model, x, z, cell, rng, accept)


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
        _assert(
            len(far) > 0,
            f"no atom is {distance:g} angstrom from the first: give more atoms, or a wider cell",
        )
        _assert(float(np.abs(change).max()) > 1e-4, "pushing an atom changes nothing")
        seen = float(np.abs(change[far]).max())
        _assert(
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
    _same("energy of three cells", three.energy, 3 * one.energy, accept)
    _same("forces in three cells", three.gradient, np.tile(one.gradient, (3, 1)), 10 * accept)


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
    _same("crystal", found.gradient[0], model.cluster(x, z, cell, [True] * 3).gradient, 1e-9)
    slope = _difference(energy, 0.1 * accept.step)
    _same("virial · strain", float(np.sum(found.virial[0] * strain)), slope, 10 * accept.gradient)


def _difference(function: Callable[[float], Any], h: float) -> Any:
    """Central difference of fourth order at 0."""
    near, far = function(h) - function(-h), function(2 * h) - function(-2 * h)
    return (8 * near - far) / (12 * h)


def _same(law: str, found: Any, expected: Any, tolerance: float) -> None:
    scale = max(float(np.abs(expected).max()), 1e-12)
    error = float(np.abs(np.asarray(found) - np.asarray(expected)).max()) / scale
    _assert(error < tolerance, f"{law}: relative error {error:.2e}, accepted {tolerance:.0e}")


def _assert(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _flat(part: Contribution, at: Snapshot) -> Array:
    on_atoms = np.zeros_like(at.positions) if part.on_atoms is None else part.on_atoms
    on_nodes = np.zeros_like(at.nodes) if part.on_nodes is None else part.on_nodes
    return np.concatenate([on_atoms.ravel(), on_nodes.ravel()])


def _rotation(rng: np.random.Generator) -> Array:
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return turn * np.sign(np.linalg.det(turn))


def write_tiny_mace(
    path: str | Path, numbers: tuple[int, ...] = (74,), seed: int = 0, **options: Any
) -> None:
    """Write a small MACE model with random weights: exact arithmetic, no physics.

    Two layers, 8 scalar features, spherical harmonics up to l = 1, cutoff 5 Å.

    Args:
        path: File to write.
        numbers: Atomic numbers it accepts, ascending.
        seed: Seed of the weights.
        options: Arguments of ``mace.modules.ScaleShiftMACE`` that differ from these.

    Raises:
        ImportError: mace-torch is not installed.
    """
    import torch

    from msolve.potentials.mace import quiet_import

    with quiet_import():
        from e3nn import o3
        from mace import modules
    settings: dict[str, Any] = {
        "r_max": 5.0,
        "num_bessel": 6,
        "num_polynomial_cutoff": 5,
        "max_ell": 1,
        "interaction_cls": modules.RealAgnosticResidualInteractionBlock,
        "interaction_cls_first": modules.RealAgnosticResidualInteractionBlock,
        "num_interactions": 2,
        "num_elements": len(numbers),
        "hidden_irreps": o3.Irreps("8x0e"),
        "MLP_irreps": o3.Irreps("8x0e"),
        "atomic_energies": -np.arange(1.0, 1.0 + len(numbers)),
        "avg_num_neighbors": 26.0,
        "atomic_numbers": list(numbers),
        "correlation": 2,
        "gate": torch.nn.functional.silu,
        "radial_MLP": [16, 16],
        "atomic_inter_scale": 5.0,
        "atomic_inter_shift": 0.1,
    }
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(), quiet_import():
            torch.manual_seed(seed)
            torch.save(modules.ScaleShiftMACE(**(settings | options)), path)
    finally:
        torch.set_default_dtype(before)
