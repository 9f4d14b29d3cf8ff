# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Stored energy of the mesh: derivatives, stiffness, weights, volume."""

from types import SimpleNamespace

from mpi4py import MPI

import numpy as np
import pytest

import bodies
from msolve.continuum.energy import StoredEnergy
from msolve.continuum.expanded import ExpandedEnergy
from msolve.continuum.space import build_space
from msolve.handshake.slab import half_layers
from msolve.io.meshes import Slit, disc_mesh
from msolve.regions import Ball
from msolve.testing import check_material

THICKNESS = 3.14
GAP = 1.0


@pytest.fixture(scope="module", params=[1, 2], ids=["P1", "P2"])
def disc(request):
    """A small disc of a crystal with smooth derivatives in a state off equilibrium, with a flank, and weights."""
    rng = np.random.default_rng(8)
    mesh = disc_mesh(14.0, spacing=4.0, zones=(Ball((0.0, 0.0, 0.0), 10.0),), slit=Slit(0.0, GAP))
    space = build_space(
        MPI.COMM_SELF, mesh.points, mesh.cells, mesh.node_tags,
        thickness=THICKNESS, degree=request.param,
    )  # fmt: skip
    _, law, C = bodies.bulk(bodies.toy())
    beyond = half_layers(space.cell_vertices(), GAP, 0.0)
    assert len(beyond.cells) > 4
    stored = StoredEnergy(space, law, beyond)
    shape = stored.points.shape[:2]
    weight = rng.uniform(0.2, 1.0, shape) * (rng.random(shape[0]) < 0.8)[:, None]
    return SimpleNamespace(
        space=space,
        stored=stored,
        beyond=beyond,
        C=C,
        weight=weight,
        u=rng.normal(scale=0.03, size=(space.n_local_nodes, 3)),
        background=np.broadcast_to(bodies.deformation(rng) - np.eye(3), (*shape, 3, 3)).copy(),
        direction=rng.normal(size=(space.n_local_nodes, 3)),
    )


def difference(function, h=1e-4):
    return (8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))) / (12 * h)


def test_gradient_is_the_derivative_of_the_energy(disc):
    def energy(s):
        return disc.stored.evaluate(disc.u + s * disc.direction, disc.background, disc.weight)[0]

    _, gradient = disc.stored.evaluate(disc.u, disc.background, disc.weight)
    slope = difference(energy)
    assert abs(slope) > 0.1
    assert np.sum(gradient * disc.direction) == pytest.approx(slope, rel=1e-7)


def test_hessian_product_is_the_derivative_of_the_gradient(disc):
    def gradient(s):
        return disc.stored.evaluate(disc.u + s * disc.direction, disc.background, disc.weight)[1]

    product = disc.stored.linearise(disc.u, disc.background, disc.weight)(disc.direction)
    change = difference(gradient)
    assert np.abs(change).max() > 0.1
    assert np.abs(product - change).max() < 1e-6 * np.abs(change).max()


def test_stiffness_is_the_linearisation_of_the_unstrained_crystal(disc):
    still, none = np.zeros_like(disc.u), np.zeros_like(disc.background)
    product = disc.stored.linearise(still, none, disc.weight)(disc.direction)
    K = disc.stored.stiffness(disc.C, disc.weight)
    v, out = K.createVecs()
    v.array[:] = disc.direction.ravel()
    K.mult(v, out)
    assert np.abs(product).max() > 0.1
    assert np.abs(out.array.reshape(-1, 3) - product).max() < 1e-8 * np.abs(product).max()


def test_energy_of_a_homogeneous_state_is_density_times_weighted_volume(disc):
    F = disc.background[0, 0] + np.eye(3)
    W = disc.stored.material.energy_density(F[None])[0][0]
    vertices = disc.space.cell_vertices()
    area = np.abs(np.linalg.det(vertices[:, 1:] - vertices[:, :1])) / 2
    volume = np.concatenate([area, disc.beyond.volume]) * THICKNESS
    # All points of a cell have the same share of it, for the rules in use.
    expected = W * np.sum(volume * disc.weight.mean(axis=1))
    energy, _ = disc.stored.evaluate(np.zeros_like(disc.u), disc.background, disc.weight)
    assert energy == pytest.approx(expected, rel=1e-12)
    # The same strain by the nodes instead of the background.
    u = disc.space.nodes() @ (F - np.eye(3)).T
    by_nodes, _ = disc.stored.evaluate(u, np.zeros_like(disc.background), disc.weight)
    assert by_nodes == pytest.approx(expected, rel=1e-10)


def test_cells_without_weight_are_left_out(disc):
    weight = disc.weight * (np.arange(len(disc.weight)) % 2)[:, None]
    inside_out = disc.background.copy()
    inside_out[~weight.any(axis=1)] = -5 * np.eye(3)
    expected = disc.stored.evaluate(disc.u, disc.background, weight)
    found = disc.stored.evaluate(disc.u, inside_out, weight)
    assert found[0] == expected[0] != 0
    assert np.array_equal(found[1], expected[1])


def test_the_law_of_the_crystal_is_a_law():
    rng = np.random.default_rng(8)
    F = np.eye(3) + rng.uniform(-0.03, 0.03, size=(4, 3, 3))
    check_material(bodies.bulk(bodies.eam4())[1], F, rng)


def test_a_wrong_stress_is_found():
    law, rng = bodies.bulk(bodies.eam4())[1], np.random.default_rng(6)

    class Wrong:
        tangent = law.tangent

        @staticmethod
        def energy_density(F):
            W, P = law.energy_density(F)
            return W, 1.001 * P

    with pytest.raises(AssertionError, match="stress · direction"):
        check_material(Wrong, np.eye(3) + rng.uniform(-0.03, 0.03, size=(2, 3, 3)), rng)


def test_cells_known_in_a_state_are_not_evaluated_again(disc):
    part = np.where(np.arange(len(disc.weight))[:, None] % 2, disc.weight, 0.0)
    fresh = StoredEnergy(disc.space, disc.stored.material, disc.beyond)
    expected = fresh.evaluate(disc.u, disc.background, disc.weight)
    again = StoredEnergy(disc.space, disc.stored.material, disc.beyond)
    again.evaluate(disc.u + 0.01, disc.background, part)
    again.evaluate(disc.u, disc.background, part)
    clock = again.material.clock
    begin = clock.seconds
    found = again.evaluate(disc.u, disc.background, disc.weight)
    assert clock.seconds > begin
    assert found[0] == pytest.approx(expected[0], rel=1e-13)
    assert np.allclose(found[1], expected[1], rtol=1e-13, atol=1e-14)
    begin = clock.seconds
    again.evaluate(disc.u, disc.background, part)
    assert clock.seconds == begin


def test_an_expansion_is_the_law_where_it_is_made(disc):
    expansion = ExpandedEnergy(disc.stored, disc.u, disc.background, disc.weight, disc.C)
    energy, gradient = disc.stored.evaluate(disc.u, disc.background, disc.weight)
    found, slopes = expansion.evaluate(disc.u)
    assert found == pytest.approx(energy, rel=1e-13)
    assert np.abs(slopes - gradient).max() < 1e-13 * np.abs(gradient).max()


def test_an_expansion_has_one_energy_and_does_not_ask_the_law(disc):
    expansion = ExpandedEnergy(disc.stored, disc.u, disc.background, disc.weight, disc.C)
    asked = disc.stored.material.clock.seconds
    slope = difference(lambda s: expansion.evaluate(disc.u + s * disc.direction)[0])
    gradient = expansion.evaluate(disc.u)[1]
    assert np.sum(gradient * disc.direction) == pytest.approx(slope, rel=1e-8)
    change = difference(lambda s: expansion.evaluate(disc.u + s * disc.direction)[1])
    product = expansion.product()(disc.direction)
    assert np.abs(product).max() > 0.1
    assert np.abs(product - change).max() < 1e-8 * np.abs(change).max()
    assert disc.stored.material.clock.seconds == asked


def test_an_expansion_about_the_crystal_at_rest_is_its_elasticity_however_it_is_turned(disc):
    still, angle = np.zeros_like(disc.u), 0.3
    Q = np.array(
        [[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]]
    )
    turned = np.broadcast_to(Q - np.eye(3), disc.background.shape)
    expansion = ExpandedEnergy(disc.stored, still, turned, disc.weight, disc.C)
    exact = disc.stored.linearise(still, turned, disc.weight)(disc.direction)
    found = expansion.product()(disc.direction)
    assert np.abs(found - exact).max() < 1e-8 * np.abs(exact).max()
