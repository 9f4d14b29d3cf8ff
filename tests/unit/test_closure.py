# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The strain-gradient energy, whatever its weights: patch test, objectivity, net force, derivatives, zero weights."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import bodies
from msolve.coupling import ClosureTerm
from msolve.guarded import classical
from msolve.handshake.closure import (
    ClosureSites,
    across,
    columns_lattice,
    stencils,
)
from msolve.handshake.operator import FlankModel, FlankOperator, load_flank_model
from msolve.handshake.slab import layers_below

SIZES = (0.01, 0.1, 1.0)
"""Weights [eV] at the largest second differences."""


def patch_of(size, n=7):
    """Sites of a piece of an oblique lattice, and their places at rest."""
    basis = np.array([[2.2, 0.1], [-0.3, 2.5]])
    X = np.zeros((n * n, 3))
    X[:, :2] = np.array([(i, j) for i in range(n) for j in range(n)]) @ basis
    points = stencils(X[:, :2], basis)
    points = points[(points >= 0).all(axis=1)]
    rng = np.random.default_rng(3)
    factor, side = rng.uniform(0.2, 1.0, len(points)), rng.integers(0, 2, len(points))
    return ClosureSites(bodies.random_closure(basis, size), points, X[points, 2], factor, side), X


def bent(X, seed=4):
    return X + 0.03 * np.random.default_rng(seed).normal(size=X.shape)


@pytest.mark.parametrize("size", SIZES)
def test_every_homogeneous_state_is_without_force(size):
    sites, X = patch_of(size)
    rng = np.random.default_rng(5)
    assert np.abs(sites.energy(bent(X))[1]).max() > 0.1 * size
    for _ in range(3):
        F = np.eye(3) + 0.05 * rng.normal(size=(3, 3))
        energy, gradient = sites.energy(X @ F.T + rng.normal(size=3))
        assert energy == pytest.approx(0.0, abs=1e-20)
        assert np.abs(gradient).max() < 1e-10


@pytest.mark.parametrize("size", SIZES)
def test_rigid_motions_change_nothing_but_the_direction_of_forces(size):
    sites, X = patch_of(size)
    c, s = np.cos(0.9), np.sin(0.9)
    Q = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    energy, gradient = sites.energy(bent(X))
    turned, other = sites.energy(bent(X) @ Q.T + [3.0, -2.0, 1.0])
    assert turned == pytest.approx(energy, rel=1e-11)
    assert other == pytest.approx(gradient @ Q.T, abs=1e-10 * np.abs(gradient).max())


@pytest.mark.parametrize("size", SIZES)
def test_no_net_force_and_no_torque(size):
    sites, X = patch_of(size)
    y = bent(X)
    gradient = sites.energy(y)[1]
    largest = np.abs(gradient).max()
    assert gradient.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-11 * largest)
    torque = np.sum(y[:, 0] * gradient[:, 1] - y[:, 1] * gradient[:, 0])
    assert torque == pytest.approx(0.0, abs=1e-9 * largest)


@pytest.mark.parametrize("size", SIZES)
def test_derivatives_belong_together(size):
    sites, X = patch_of(size)
    y, h = bent(X), 1e-6
    one, other = np.random.default_rng(6).normal(size=(2, *X.shape))
    gradient, product = sites.energy(y)[1], sites.hessian(y)
    slope = (sites.energy(y + h * one)[0] - sites.energy(y - h * one)[0]) / (2 * h)
    assert slope == pytest.approx(np.sum(gradient * one), rel=1e-5)
    change = (sites.energy(y + h * one)[1] - sites.energy(y - h * one)[1]) / (2 * h)
    assert change == pytest.approx(product(one), abs=1e-5 * np.abs(change).max())
    assert np.sum(product(one) * other) == pytest.approx(np.sum(product(other) * one), rel=1e-9)


def test_the_shortest_basis_of_columns():
    basis = np.array([[2.0, 0.0], [1.0, 2.5]])
    columns = np.array([(i, j) for i in range(-4, 5) for j in range(-4, 5)]) @ basis
    found = columns_lattice(columns)
    assert found[0] == pytest.approx(basis[0])
    assert abs(np.linalg.det(found)) == pytest.approx(5.0)


@cache
def cracked(size):
    body = bodies.cracked(bodies.eam4(), 40.0)
    depths, relaxation = layers_below(body.slab, 4)
    operators = {1: FlankOperator(4, 0, np.ones(5)).requires_grad_(False)}
    model = FlankModel(operators, body.crystal.rotation, body.half_gap, depths, relaxation, {})
    if size is not None:
        closure = bodies.random_closure(bodies.columns_basis(body), size)
        model = replace(model, closures={1: closure})
    body = replace(body, learned=model)
    return body, bodies.coupled(body, 8.0, 8.0, mesh="matching", degree=1)


def terms_of(terms):
    return [term for term in terms if isinstance(term, ClosureTerm)]


def test_sites_lie_around_the_core_and_off_the_flanks():
    _, assembly = cracked(0.1)
    (energy,), (force,) = terms_of(assembly.problem.terms), terms_of(assembly.force_terms)
    assert 20 < len(energy.sites.points) < len(force.sites.points)
    X = assembly.X
    for sites in (energy.sites, force.sites):
        assert not across(sites.points, X).any()
        assert np.hypot(*X[sites.points[:, 0], :2].T).max() < 8.0 + 8.0 + 6.0
        assert ((sites.factor > 0) & (sites.factor <= 1)).all()


@pytest.mark.parametrize("size", SIZES)
def test_gradient_of_the_coupled_energy_is_its_derivative(size):
    body, assembly = cracked(size)
    problem, t, z = assembly.problem, bodies.griffith_load(body), bodies.random_state(assembly)
    gradient, way = z.duplicate(), bodies.random_state(assembly, 2, 1.0)
    problem.evaluate(z, t, gradient)
    found = bodies.slope(problem, z, t, way)
    assert found == pytest.approx(gradient.dot(way), rel=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_blended_forces_have_their_own_derivative(size):
    body, assembly = cracked(size)
    problem = assembly.problem.with_terms(assembly.force_terms)
    t, z, way = (
        bodies.griffith_load(body),
        bodies.random_state(assembly),
        bodies.random_state(assembly, 2, 1.0),
    )
    product, ends, h = z.duplicate(), [], 1e-5
    problem.linearise(z, t)(way, product)
    for s in (h, -h):
        ends.append(z.duplicate())
        problem.evaluate(z + s * way, t, ends[-1])
    change = (ends[0] - ends[1]) / (2 * h)
    assert (change - product).norm() < 1e-5 * product.norm()


def test_zero_weights_and_a_rejected_model_are_the_handshake_without():
    body, without = cracked(None)
    _, zero = cracked(0.0)
    _, given = cracked(0.1)
    t, z = bodies.griffith_load(body), bodies.random_state(without)
    for terms in ("terms", "force_terms"):
        found = []
        for assembly in (without, zero, given):
            of = assembly.problem.terms if terms == "terms" else assembly.force_terms
            found.append(z.duplicate())
            assembly.problem.with_terms(of).evaluate(z, t, found[-1])
        assert (found[1] - found[0]).norm() < 1e-12 * found[0].norm()
        assert (found[2] - found[0]).norm() > 1e-6 * found[0].norm()
        of = given.problem.terms if terms == "terms" else given.force_terms
        given.problem.with_terms(classical(of)).evaluate(z, t, found[2])
        assert (found[2] - found[0]).norm() < 1e-12 * found[0].norm()


def test_a_model_remembers_its_energy(tmp_path):
    model = cracked(0.1)[0].learned
    model.save(tmp_path / "one.pt")
    found = load_flank_model(tmp_path / "one.pt").closures[1]
    assert found.weights == pytest.approx(model.closures[1].weights)
    assert found.limit == pytest.approx(bodies.CLOSURE_LIMIT)
    assert found.basis == pytest.approx(model.closures[1].basis)
