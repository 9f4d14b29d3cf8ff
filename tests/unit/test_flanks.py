# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The learned handshake, whatever its weights: derivatives, objectivity, no net force, the slab at zero weights."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import bodies
from msolve.compare import carried_over, lift_to, unknowns_of
from msolve.errors import CaseError
from msolve.handshake.flanks import FlankState
from msolve.handshake.operator import load_flank_model

SIZES = (0.01, 0.05, 0.2)
"""Weights of the size of [Å]: displacements at the largest invariants."""


@cache
def cracked(degree=1):
    body = bodies.cracked(bodies.eam4(), 34.0)
    return body, bodies.coupled(body, 6.0, 6.0, mesh="matching", degree=degree)


@cache
def learned(size, degree=1):
    body = cracked(degree)[0]
    body = replace(body, learned=bodies.random_flanks(body, size))
    return body, bodies.coupled(body, 6.0, 6.0, mesh="matching", degree=degree)


@pytest.mark.parametrize("size", SIZES)
def test_gradient_is_the_derivative_of_the_energy(size):
    body, assembly = learned(size)
    problem, t, z = assembly.problem, bodies.griffith_load(body), bodies.random_state(assembly)
    gradient, way = z.duplicate(), bodies.random_state(assembly, 2, 1.0)
    problem.evaluate(z, t, gradient)
    found = bodies.slope(problem, z, t, way)
    assert found == pytest.approx(gradient.dot(way), rel=2e-6)


@pytest.mark.parametrize(("size", "degree"), [*((size, 1) for size in SIZES), (0.2, 2)])
def test_hessian_product_is_the_derivative_of_the_gradient_and_symmetric(size, degree):
    body, assembly = learned(size, degree)
    problem, t, z = assembly.problem, bodies.griffith_load(body), bodies.random_state(assembly)
    one, other = bodies.random_state(assembly, 2, 1.0), bodies.random_state(assembly, 3, 1.0)
    product, swapped = z.duplicate(), z.duplicate()
    linear = problem.linearise(z, t)
    linear(one, product)
    linear(other, swapped)
    assert product.dot(other) == pytest.approx(swapped.dot(one), rel=1e-9)
    ends, h = [], 1e-5
    for s in (h, -h):
        ends.append(z.duplicate())
        problem.evaluate(z + s * one, t, ends[-1])
    change = (ends[0] - ends[1]) / (2 * h)
    assert (change - product).norm() < 1e-5 * product.norm()


@pytest.mark.parametrize("size", SIZES)
def test_blended_forces_have_their_own_derivative(size):
    body, assembly = learned(size)
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


@pytest.mark.parametrize("size", SIZES)
def test_the_layers_turn_and_move_with_the_flanks(size):
    body, assembly = learned(size)
    flanks = assembly.problem.placement.flanks
    lift = flanks.lift(assembly.X)
    line = assembly.problem.flank_line(bodies.random_state(assembly), bodies.griffith_load(body))
    moved = lift.at(line)
    assert np.abs(moved).max() > 0.1 * size
    c, s = np.cos(0.7), np.sin(0.7)
    Q = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    turned = lift.at(line @ Q.T + np.array([3.0, -2.0, 1.0]))
    assert turned == pytest.approx(moved @ Q.T, abs=1e-12 * max(1.0, size))


def test_a_solution_carried_over_to_its_own_problem_is_itself():
    body, assembly = learned(0.01)
    z, t = bodies.random_state(assembly, size=1e-3), bodies.griffith_load(body)
    again = carried_over(assembly, z, t, assembly)
    assert (again - z).norm() < 0.01 * z.norm()
    forgetful = unknowns_of(assembly, lift_to(assembly, z, t, assembly), t)
    assert (forgetful - z).norm() > 0.2 * z.norm()


@pytest.mark.parametrize("size", SIZES)
def test_no_net_force_and_no_torque(size):
    body, assembly = learned(size)
    line = assembly.problem.flank_line(bodies.random_state(assembly), bodies.griffith_load(body))
    flanks = assembly.problem.placement.flanks
    lift = flanks.lift(assembly.X)
    on_atoms = np.random.default_rng(5).normal(size=assembly.X.shape)
    force = on_atoms[lift.atoms]
    on_nodes = np.zeros_like(assembly.problem.kinematics.space.nodes())
    FlankState(lift, flanks.line, line).back(on_atoms, on_nodes)
    on_line = flanks.line.gather(on_nodes)
    assert np.abs(on_line).max() > 0.01 * size
    assert on_line.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-10)
    # A turn of the flanks turns the layers: its work is that of the forces on what the model added.
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    work = np.sum(on_line * (line @ turn.T))
    assert work == pytest.approx(np.sum(force * (lift.at(line) @ turn.T)), rel=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_an_affine_body_feels_its_strain_only(size):
    _, assembly = learned(size)
    flanks = assembly.problem.placement.flanks
    lift, line = flanks.lift(assembly.X), flanks.line
    F = np.eye(3) + np.array([[0.01, 0.002, 0], [0.004, -0.01, 0], [0.006, 0, 0]])
    C = F.T @ F
    found = lift.invariants(line.X @ F.T)
    expected = [(C[0, 0] - 1) / 2, C[0, 2] / 2 + 0.0, 0, 0, 0]
    assert found == pytest.approx(np.tile(expected, (len(found), 1)), abs=1e-10)
    assert lift.at(line.X) == pytest.approx(np.zeros((len(lift.atoms), 3)), abs=1e-11)


@pytest.mark.parametrize("degree", [1, 2])
def test_zero_weights_are_the_slab_handshake(degree):
    body, classical = cracked(degree)
    none = replace(body, learned=bodies.random_flanks(body, 0.0))
    assembly = bodies.coupled(none, 6.0, 6.0, mesh="matching", degree=degree)
    z, t = bodies.random_state(classical), bodies.griffith_load(body)
    ours, theirs = z.duplicate(), z.duplicate()
    E = assembly.problem.evaluate(z, t, ours)
    assert E == pytest.approx(classical.problem.evaluate(z, t, theirs), rel=1e-14)
    assert (ours - theirs).norm() <= 1e-12 * theirs.norm()


def test_the_lifted_state_is_that_of_the_problem():
    body, assembly = learned(0.05)
    from mpi4py import MPI

    from msolve.assemble import full_atomistic

    z, t = bodies.random_state(assembly), bodies.griffith_load(body)
    full = full_atomistic(MPI.COMM_SELF, replace(body, learned=None))
    lifted = lift_to(assembly, z, t, full)
    free = assembly.X[assembly.free]
    where = np.argmin(((full.X[None] - free[:, None]) ** 2).sum(axis=2), axis=1)
    assert lifted[where] == pytest.approx(assembly.problem.gather(z, t)[assembly.free], abs=1e-10)
    at = assembly.problem.snapshot(z, t)
    assert at.positions == pytest.approx(
        assembly.problem.gather(z, t)[assembly.problem.patch.local], abs=1e-12
    )


def test_models_are_kept_in_files(tmp_path):
    body = cracked()[0]
    model = bodies.random_flanks(body, 0.1)
    model.save(tmp_path / "w.pt")
    again = load_flank_model(tmp_path / "w.pt")
    x = torch.from_numpy(np.random.default_rng(0).normal(scale=0.004, size=(5, 5)))
    for degree in (1, 2):
        assert torch.equal(again.operators[degree](x), model.operators[degree](x))
    assert again.fits(body.crystal.rotation, body.half_gap, model.relaxation, 2) is None
    assert "degree" in again.fits(body.crystal.rotation, body.half_gap, model.relaxation, 3)
    assert "plane" in again.fits(np.eye(3), body.half_gap, model.relaxation, 1)
    assert "apart" in again.fits(body.crystal.rotation, 1.2, model.relaxation, 1)
    assert "relax" in again.fits(body.crystal.rotation, body.half_gap, model.relaxation + 0.1, 1)


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "w.pt").write_text("no model")
    with pytest.raises(CaseError, match=r"coupling.handshake.model = .*w.pt: holds no learned"):
        load_flank_model(tmp_path / "w.pt")
