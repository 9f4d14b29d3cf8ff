# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Terms: derivatives, objectivity, the dead load."""

from dataclasses import replace

import numpy as np
import pytest

import bodies
from msolve.coupling import Snapshot
from msolve.errors import ConvergenceError
from msolve.placement import turned
from msolve.testing import check_term


@pytest.fixture(scope="module", params=[1, 2], ids=["P1", "P2"])
def vacancy(request):
    """A vacancy strained by its predictor, in a crystal of which all derivatives are smooth."""
    F = bodies.deformation(np.random.default_rng(7), 0.02)
    body = bodies.perfect(bodies.toy(), F, 20.0, predictor=True, vacancy=True)
    return bodies.coupled(body, 3.0, 3.0, degree=request.param)


@pytest.fixture(scope="module")
def state(vacancy):
    """Atoms and nodes off equilibrium."""
    rng = np.random.default_rng(8)
    at = vacancy.problem.snapshot(vacancy.problem.kinematics.unknowns.vector(), 1.0)
    return replace(
        at,
        positions=at.positions + rng.normal(scale=0.02, size=at.positions.shape),
        nodes=at.nodes + rng.normal(scale=0.02, size=at.nodes.shape),
    )


def terms(assembly):
    """Every kind of term: blended energy and blended force, of atoms and of the mesh."""
    energy, force = assembly.problem.terms, assembly.force_terms
    assert [t.conservative for t in (*energy, *force)] == [True, True, False, False]
    return (*energy, *force)


@pytest.mark.parametrize("which", range(4))
def test_terms_keep_their_laws(vacancy, state, which):
    check_term(terms(vacancy)[which], state, np.random.default_rng(9))


@pytest.mark.parametrize("which", [0, 1])
def test_a_gradient_of_another_energy_is_found(vacancy, state, which):
    term = terms(vacancy)[which]

    class Wrong:
        conservative = True
        linearise = term.linearise

        @staticmethod
        def evaluate(at):
            part = term.evaluate(at)
            return replace(part, energy=1.0001 * part.energy)

    with pytest.raises(AssertionError, match="gradient · direction"):
        check_term(Wrong, state, np.random.default_rng(9))


def test_turning_everything_keeps_energies_and_turns_gradients(vacancy, state):
    angle = 0.3
    # About the front: along it the crystal is periodic.
    Q = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turned_state = Snapshot(
        positions=state.positions @ Q.T,
        # u -> Q (X + u_pred + u) - X, of which the predictor has Q (X + u_pred) - X.
        nodes=state.nodes @ Q.T,
        background=Q @ (state.background + np.eye(3)) - np.eye(3),
    )
    for term in terms(vacancy):
        before, after = term.evaluate(state), term.evaluate(turned_state)
        assert after.energy == pytest.approx(before.energy, rel=1e-11)
        for name in ("on_atoms", "on_nodes"):
            old, new = getattr(before, name), getattr(after, name)
            if old is None:
                assert new is None
                continue
            assert np.abs(old).max() > 0.01
            assert np.abs(new - old @ Q.T).max() < 1e-9 * np.abs(old).max()


def test_a_turned_predictor_turns_the_relaxation():
    class Turn:
        Q = np.linalg.qr(np.random.default_rng(10).normal(size=(3, 3)))[0]
        Q *= np.sign(np.linalg.det(Q))

        def gradient(self, X, t):
            # A stretch on top of the rotation changes nothing.
            return np.broadcast_to(self.Q @ np.diag([1.1, 0.9, 1.0]) - np.eye(3), (len(X), 3, 3))

    relaxation = np.zeros((5, 3))
    relaxation[1:] = np.random.default_rng(11).normal(size=(4, 3))
    found = turned(relaxation, Turn(), np.zeros((5, 3)), 1.0)
    assert np.abs(found - relaxation @ Turn.Q.T).max() < 1e-14
    assert np.abs(found - relaxation).max() > 0.1


def test_a_dead_load_is_linear_in_the_unknowns(vacancy):
    problem = vacancy.problem
    z = problem.kinematics.unknowns.vector()
    rng = np.random.default_rng(12)
    z.array[:] = rng.normal(scale=0.01, size=z.getLocalSize())
    load = z.duplicate()
    load.array[:] = rng.normal(size=z.getLocalSize())
    with_load = problem.with_terms(problem.terms, load)
    g, h = z.duplicate(), z.duplicate()
    plain, loaded = problem.evaluate(z, 1.0, g), with_load.evaluate(z, 1.0, h)
    assert abs(load.dot(z)) > 1e-3
    assert plain - loaded == pytest.approx(load.dot(z), rel=1e-9)
    assert np.abs(g.array - h.array - load.array).max() < 1e-12
    # It has no stiffness.
    problem.linearise(z, 1.0)(load, g)
    with_load.linearise(z, 1.0)(load, h)
    assert np.array_equal(g.array, h.array)


def test_the_gradient_by_the_unknowns_is_the_derivative_of_the_energy(vacancy):
    problem = vacancy.problem
    z = problem.kinematics.unknowns.vector()
    rng = np.random.default_rng(13)
    z.array[:] = rng.normal(scale=0.01, size=z.getLocalSize())
    v, g = z.duplicate(), z.duplicate()
    v.array[:] = rng.normal(size=z.getLocalSize())

    def energy(s):
        moved = z.copy()
        moved.axpy(s, v)
        return problem.evaluate(moved, 1.0, g)

    h = 1e-4
    slope = (8 * (energy(h) - energy(-h)) - (energy(2 * h) - energy(-2 * h))) / (12 * h)
    problem.evaluate(z, 1.0, g)
    assert abs(slope) > 0.1
    assert g.dot(v) == pytest.approx(slope, rel=1e-6)


def test_the_same_state_is_not_evaluated_twice(vacancy):
    problem = vacancy.problem
    z = problem.kinematics.unknowns.vector()
    z.array = np.random.default_rng(3).normal(scale=0.01, size=z.getLocalSize())
    load = z.duplicate()
    load.array = np.random.default_rng(5).normal(size=z.getLocalSize())
    loaded = problem.with_terms(problem.terms, load)
    first, again, other = z.duplicate(), z.duplicate(), z.duplicate()
    energy = problem.evaluate(z, 1.0, first)
    spent = vacancy.potential_seconds()
    with_load = loaded.evaluate(z, 1.0, again)
    assert vacancy.potential_seconds() == spent
    assert with_load == pytest.approx(energy - load.dot(z), rel=1e-14)
    assert np.array_equal(again.array, first.array - load.array)
    # Other terms, or another state, are other questions.
    problem.with_terms(vacancy.force_terms).evaluate(z, 1.0, other)
    assert np.abs(other.array - first.array).max() > 1e-6
    z.array[0] += 1e-3
    assert problem.evaluate(z, 1.0, other) != energy
    assert vacancy.potential_seconds()["atoms"] > spent["atoms"]


@pytest.mark.parametrize("far", [1e6, np.nan, np.inf])
def test_atoms_out_of_the_body_have_no_energy(vacancy, far):
    problem = vacancy.problem
    z = problem.kinematics.unknowns.vector()
    z.array[0] = far
    with pytest.raises(ConvergenceError, match="out of the body"):
        problem.evaluate(z, 1.0, z.duplicate())
