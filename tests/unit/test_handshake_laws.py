# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a coupled crack keeps whatever the weights of its learned handshake: patch test, rigid motions, net force."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

import bodies
from msolve.coupling import ClosureTerm, TensionTerm
from msolve.loads import Affine, Zero

SIZES = (0.01, 0.05, 0.2)
"""Weights of the flanks [Å] and of the strain-gradient energy [eV]."""

RADIUS, CORE, BLEND = 56.0, 7.0, 6.0

TURN = np.array([[np.cos(0.4), -np.sin(0.4), 0], [np.sin(0.4), np.cos(0.4), 0], [0, 0, 1]])
MOVED = np.array([3.0, -2.0, 1.0])


@dataclass(frozen=True)
class Carried:
    """A field, then a rigid motion."""

    field: object

    def displacement(self, X, t):
        return (X + self.field.displacement(X, t)) @ TURN.T + MOVED - X

    def gradient(self, X, t):
        return TURN @ (np.eye(3) + self.field.gradient(X, t)) - np.eye(3)


@cache
def assembled(size, *, relaxed=True):
    """A crack in its K-field; ``None`` for the slab handshake; without the slab's relaxation if so asked."""
    body = bodies.cracked(bodies.eam4(), RADIUS)
    if not relaxed:
        flat = replace(body.slab, relaxation=np.zeros_like(body.slab.relaxation))
        body = replace(body, slab=flat)
    if size is not None:
        body = bodies.with_random_handshake(body, size, degrees=(1,))
    return bodies.coupled(body, CORE, BLEND, mesh="matching")


def under(assembly, predictor, far_field):
    """The same problem with other fields."""
    place = replace(assembly.problem.placement, predictor=predictor, far_field=far_field)
    return replace(assembly.problem, placement=place, _cache={})


def noise(assembly):
    shape = (assembly.problem.kinematics.unknowns.n_blocks, 3)
    return 0.02 * np.random.default_rng(1).normal(size=shape)


def evaluated(problem, displacement, t, terms=None):
    """Energy, and gradient of the blocks, where these have moved so far."""
    z = problem.kinematics.unknowns.vector()
    z.array = displacement.ravel()
    gradient = z.duplicate()
    energy = problem.with_terms(terms or problem.terms).evaluate(z, t, gradient)
    return energy, gradient.array.reshape(-1, 3).copy()


@pytest.mark.parametrize("size", SIZES)
def test_away_from_the_flanks_a_homogeneous_state_is_without_force(size):
    """Blended forces: exactly those without the model, and none, further than forces reach from all that it moves."""
    found, t = {}, 1.0
    F = np.eye(3) + np.array([[0.01, 0.002, 0], [0.004, 0.008, 0], [0.006, -0.003, 0]])
    for which in (size, None):
        assembly = assembled(which, relaxed=False)
        problem = under(assembly, Affine(F), Affine(F))
        _, found[which] = evaluated(problem, 0 * noise(assembly), t, assembly.force_terms)
    X = bodies.block_places(assembly)[0]
    learned = assembled(size, relaxed=False)
    lift = learned.problem.placement.flanks.lift(learned.X)
    moved = learned.X[lift.atoms]
    assert (moved[:, 0] < 0).all()
    depth = np.abs(moved[:, 1]).max()
    reach = 2 * assembly.body.model.reach  # of forces: sites feel their neighbours' neighbours
    away = np.hypot(np.maximum(X[:, 0], 0), np.maximum(np.abs(X[:, 1]) - depth, 0)) > reach
    assert away.sum() > 100
    scale = np.abs(found[None]).max()
    assert np.abs(found[size] - found[None]).max() > 1e-3 * size * scale
    assert np.abs(found[size][away]).max() < 1e-10 * scale
    assert np.abs((found[size] - found[None])[away]).max() < 1e-10 * scale


@pytest.mark.parametrize("size", SIZES)
def test_no_net_force_in_the_energy(size):
    """Held nodes, which the surface beyond the last free one pulls at, included."""
    totals = []
    for which in (size, None):
        assembly = assembled(which)
        problem, t = assembly.problem, bodies.griffith_load(assembly.body)
        _, gradient = evaluated(problem, noise(assembly), t)
        totals.append(gradient.sum(axis=0))
        z = problem.kinematics.unknowns.vector()
        z.array = noise(assembly).ravel()
        held = problem.placement.prescribed
        for term in problem.terms:
            if isinstance(term, TensionTerm):
                totals[-1] += term.evaluate(problem.snapshot(z, t)).on_nodes[held].sum(axis=0)
    assert np.abs(totals[0] - totals[1]).max() < 1e-10 * np.abs(gradient).max()


@pytest.mark.parametrize("size", SIZES)
def test_a_rigid_motion_of_the_predictor_turns_all_forces(size):
    assembly = assembled(size)
    field, t, z = assembly.body.predictor, bodies.griffith_load(assembly.body), noise(assembly)
    there = under(assembly, Carried(field), Carried(field))
    for terms in (None, assembly.force_terms):
        energy, gradient = evaluated(assembly.problem, z, t, terms)
        turned, other = evaluated(there, z @ TURN.T, t, terms)
        if terms is None:
            assert turned == pytest.approx(energy, rel=1e-11)
        assert other == pytest.approx(gradient @ TURN.T, abs=1e-9 * np.abs(gradient).max())


@pytest.mark.parametrize("size", SIZES)
def test_a_rigid_motion_of_the_unknowns_turns_all_forces_but_what_the_slab_moves(size):
    """All that the model adds follows the unknowns; the slab's relaxation, left out here, follows the predictor."""
    assembly = assembled(size, relaxed=False)
    field, t = assembly.body.far_field, bodies.griffith_load(assembly.body)
    X = bodies.block_places(assembly)[0]
    here = under(assembly, Zero(), field)
    there = under(assembly, Zero(), Carried(field))
    u = field.displacement(X, t) + noise(assembly)
    energy, gradient = evaluated(here, u, t)
    turned, other = evaluated(there, (X + u) @ TURN.T + MOVED - X, t)
    assert turned == pytest.approx(energy, rel=1e-11)
    assert other == pytest.approx(gradient @ TURN.T, abs=1e-8 * np.abs(gradient).max())


def test_all_channels_are_in_the_problem():
    assembly = assembled(SIZES[0])
    assert assembly.problem.placement.flanks is not None
    for kind in (ClosureTerm, TensionTerm):
        for terms in (assembly.problem.terms, assembly.force_terms):
            assert any(isinstance(term, kind) for term in terms)
