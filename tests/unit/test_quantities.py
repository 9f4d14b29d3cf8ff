# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Quantities of interest: slopes by differences, K out of a K-field, rings that agree, estimates against the truth."""

from dataclasses import replace

from mpi4py import MPI

import numpy as np
import pytest

import bodies
from msolve.assemble import full_atomistic
from msolve.compare import Norms, lift_to, unknowns_of
from msolve.errors import CaseError
from msolve.loads import KField
from msolve.placement import turned
from msolve.quantities.contour import EnergyRelease, Equivalent, stress_intensity
from msolve.quantities.corrected import Corrected, Linearised, energy_number, number
from msolve.quantities.enclosed import Ball, approach, enclose, enclose_energy
from msolve.quantities.functionals import displacement, opening
from msolve.solvers import Settings, correct, minimise

TIGHT = Settings(tolerance=1e-8)


def whole(body):
    return full_atomistic(MPI.COMM_SELF, body)


def rest_of(full, t):
    """Its atoms where a crack's field is zero."""
    body = full.body
    return full.X + turned(body.relaxation(full.X), body.predictor, full.X, t)


@pytest.fixture(scope="module")
def crack():
    """A small crack in tungsten, its coupled solution at Griffith's load lifted, and the full model's."""
    body = bodies.cracked(bodies.eam4(), 44.0)
    K = body.far_field.griffith_K(body.slab.surface_energy)
    coupled = bodies.coupled(body, 8.0, 8.0, mesh="matching")
    z = coupled.problem.kinematics.unknowns.vector()
    M, forces = coupled.preconditioner, coupled.force_terms
    correct(coupled.problem, forces, z, K, M, TIGHT, corrections=20, tolerance=1e-7)
    full = whole(body)
    start = unknowns_of(full, lift_to(coupled, z, K, full), K)
    exact = start.copy()
    assert minimise(full.problem, exact, K, full.preconditioner, TIGHT).converged
    last = Linearised(full, exact, K, 1e-6)
    return full, K, start, exact - last.newton(last.forces)[0]


@pytest.fixture(scope="module")
def numbers(crack):
    full, K, *_ = crack
    rest = rest_of(full, K)
    release = EnergyRelease.of(full, rest, 12.0, 36.0)
    compliance = KField(full.body.C).compliance()[1, 1]
    return {
        "J": release,
        "K": Equivalent(release, compliance),
        "K_I": stress_intensity(full, rest, 0, 12.0, 36.0),
        "opening": opening(full.body, full.X, 10.0),
        "displacement": displacement(full.body, full.X, (0.0, 20.0, 0.0), (0.0, 2.0, 0.0)),
    }


def bonds_of(full):
    return Norms.of(full, rim=0.0, tip_radius=9.0).inside


def differs(functional, y, h):
    v = np.random.default_rng(1).normal(size=y.shape)
    slope = (functional.value(y + h * v) - functional.value(y - h * v)) / (2 * h)
    assert slope != 0
    return abs(np.vdot(functional.slope(y), v) / slope - 1)


@pytest.mark.parametrize("name", ["K_I", "opening", "displacement"])
def test_linear_slopes_are_those_of_differences(crack, numbers, name):
    full, K, start, _ = crack
    assert differs(numbers[name], full.problem.gather(start, K), 1e-2) < 1e-9


def test_slopes_of_J_are_those_of_differences():
    """Of a potential without knots, whose differences converge."""
    body = bodies.cracked(bodies.smooth(), 36.0, handshake=False)
    full = whole(body)
    y = full.X + body.far_field.displacement(full.X, 0.9)
    release = EnergyRelease.of(full, full.X, 12.0, 30.0)
    for functional in (release, Equivalent(release, KField(body.C).compliance()[1, 1])):
        errors = [differs(functional, y, h) for h in (4e-4, 2e-4)]
        assert errors[0] < 2e-4 and errors[1] == pytest.approx(errors[0] / 4, rel=0.15)


@pytest.mark.parametrize("model", [bodies.eam4, bodies.silicon])
def test_each_K_is_found_in_its_field(model):
    body = bodies.cracked(model(), 50.0) if model is bodies.eam4 else _silicon()
    full, field = whole(body), KField(body.C)
    asked = np.array([1.0, 0.4, 0.3]) * 0.01
    y = full.X + field.displacement(full.X, asked)
    for inner, outer in ((12.0, 30.0), (20.0, 44.0)):
        found = [stress_intensity(full, full.X, m, inner, outer).value(y) for m in range(3)]
        assert found == pytest.approx(asked, abs=0.01 * asked.min())
        J = EnergyRelease.of(full, full.X, inner, outer).value(y)
        assert J == pytest.approx(field.energy_release_rate(asked), rel=0.01)


def _silicon():
    axes = ((1, -1, 0), (1, 1, 0), (0, 0, 1))
    crystal, _, C = bodies.bulk(bodies.silicon(), axes)
    cleavage = crystal.cleavage()
    body = bodies.perfect(bodies.silicon(), np.eye(3), 50.0, axes=axes)
    return replace(body, origin=cleavage.origin, C=C, crack=True, half_gap=cleavage.half_gap)


def test_J_is_the_same_in_every_ring_of_a_solution(crack):
    full, K, _, exact = crack
    y, rest = full.problem.gather(exact, K), rest_of(full, K)
    found = [EnergyRelease.of(full, rest, a, b).value(y) for a, b in ((8, 24), (14, 30), (20, 40))]
    assert np.ptp(found) < 0.006 * found[0]
    # A held rim does not let the crack open as far as in a large body, nor much less.
    assert found[0] == pytest.approx(full.body.far_field.energy_release_rate(K), rel=0.03)
    linear = [stress_intensity(full, rest, 0, a, b).value(y) for a, b in ((8, 24), (20, 40))]
    assert np.ptp(linear) < 0.06 * K  # as far as linear elasticity goes


def test_J_is_what_energies_say_of_an_advance(crack):
    """Of two equilibria a bond apart: what the body loses pays for the surface, less J."""
    full, K, _, exact = crack
    body = full.body
    advance = body.crystal.crystal.axes[0][0] / np.sqrt(2)
    ahead = replace(body.far_field, tip=(advance, 0.0)).displacement(full.X, K)
    moved = unknowns_of(full, full.X + ahead, K)
    assert minimise(full.problem, moved, K, full.preconditioner, TIGHT).converged
    g, energies, J = exact.duplicate(), [], []
    for state in (exact, moved):
        energies.append(full.problem.evaluate(state, K, g))
        release = EnergyRelease.of(full, rest_of(full, K), 20.0, 42.0)
        J.append(release.value(full.problem.gather(state, K)))
    lost = (energies[0] - energies[1]) / (advance * body.period)
    assert J[0] - J[1] > 0.05 * J[0]
    assert np.mean(J) == pytest.approx(2 * body.slab.surface_energy + lost, rel=3e-3)


def test_the_full_model_is_where_it_is_said_to_be(crack, numbers):
    full, K, start, exact = crack
    steps = Corrected.of(full, start, K)
    assert 0.001 < steps.contraction < 0.1 and steps.products < 60
    truth = full.problem.gather(exact, K)
    for name, functional in numbers.items():
        found, true = number(functional, steps, bonds_of(full)), functional.value(truth)
        error = found.value - true
        assert abs(error) > 1e-5, name
        assert found.value - found.expected == pytest.approx(error, rel=1e-3), name
        assert -found.adjoint == pytest.approx(error, rel=0.1), name
        assert found.interval[0] < true < found.interval[1], name
        assert found.interval[1] - found.interval[0] < 0.8 * abs(error), name
        assert found.source.sum() > abs(error), name


def test_energies_are_not_weighted_by_adjoints(crack):
    full, K, start, exact = crack
    g = exact.duplicate()
    true = full.problem.evaluate(exact, K, g)
    steps = Corrected.of(full, start, K)
    found = energy_number(steps, 0.0)
    error = found.value - true
    assert error > 1e-4
    assert found.value - found.expected == pytest.approx(error, rel=1e-3)
    assert -found.adjoint == pytest.approx(error, rel=0.05)
    assert found.interval[0] < true < found.interval[1]
    # What weighting the forces by the adjoint of the energy would say: twice as much.
    naive = float(steps.start.forces.dot(steps.steps[0]))
    assert naive == pytest.approx(2 * error, rel=0.05)


def test_sources_lie_where_the_core_ends(crack, numbers):
    full, K, start, _ = crack
    source = number(numbers["K"], Corrected.of(full, start, K), bonds_of(full)).source
    away = np.linalg.norm(full.X[:, :2], axis=1)
    assert source[away < 3].sum() < 0.01 * source.sum()


def test_a_state_with_a_negative_direction_has_no_estimate():
    full = whole(bodies.perfect(bodies.toy(), np.eye(3), 9.0, vacancy=True))
    far = full.problem.kinematics.unknowns.vector()
    far.array[:] = np.random.default_rng(0).uniform(-0.12, 0.12, far.getLocalSize())
    assert Corrected.of(full, far, 1.0) is None


def test_places_outside_are_refused(crack):
    full = crack[0]
    rest = full.X
    for wrong in (
        lambda: stress_intensity(full, rest, 0, 12.0, 60.0),
        lambda: stress_intensity(full, rest, 0, 12.0, 14.0),
        lambda: opening(full.body, full.X, 50.0),
        lambda: displacement(full.body, full.X, (0.0, 50.0, 0.0), (1.0, 0.0, 0.0)),
    ):
        with pytest.raises(CaseError):
            wrong()


def test_the_flanks_are_faced_atoms(crack):
    full = crack[0]
    upper, lower = np.flatnonzero(opening(full.body, full.X, 10.0).weights[:, 1])
    assert full.X[upper, 0] == pytest.approx(full.X[lower, 0], abs=3.2)
    assert abs(full.X[upper, 1]) == pytest.approx(full.body.half_gap, abs=1e-6)


def ball_around(full, t, x):
    """A ball that holds the solution, by Newton and Kantorovich's theorem with a sampled Lipschitz constant."""
    base = Linearised(full, x, t, 1e-10)
    _, eta = base.newton(base.forces)
    rng, g, L = np.random.default_rng(0), [x.duplicate(), x.duplicate()], 0.0
    for _ in range(2):
        v = x.duplicate()
        v.array[:] = rng.normal(size=v.getLocalSize())
        v, norm = base.newton(v)
        for _ in range(4):
            h = 1e-2 / abs(v).max()[1]
            for sign, out in ((1, g[0]), (-1, g[1])):
                full.problem.evaluate(x + sign * h * v, t, out)
            # D³E[v, v] by a second difference.
            third = (g[0] + g[1] - 2 * base.forces) / h**2
            v, following = base.newton(third)
            L, norm = max(L, following / norm**2), following
    L *= 2
    assert 2 * L * eta < 1
    return Ball(x, (1 - np.sqrt(1 - 2 * L * eta)) / L, L, base.solve)


@pytest.mark.slow
def test_a_ball_that_holds_the_solution_encloses_its_numbers(crack, numbers):
    full, K, start, exact = crack
    base = Linearised(full, start, K)
    x = start - base.newton(base.forces)[0]
    ball = ball_around(full, K, x)
    e, out = exact - x, x.duplicate()
    full.problem.linearise(x, K)(e, out)
    assert 1e-5 < np.sqrt(e.dot(out)) < ball.radius < 0.1
    truth, rest = full.problem.gather(exact, K), approach(full, K, ball)
    for name, functional in numbers.items():
        low, high = enclose(functional, full, K, ball, rest)
        assert low < functional.value(truth) < high, name
        before = abs(functional.value(full.problem.gather(start, K)) - functional.value(truth))
        assert high - low < before, name
    low, high = enclose_energy(full, ball, rest)
    true = full.problem.evaluate(exact, K, out)
    assert low < true < high and high - low < 1e-4
