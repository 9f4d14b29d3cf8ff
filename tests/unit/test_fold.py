# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The bordered system and what it certifies: a fold of a few atoms at a crack tip, beside dense algebra."""

from dataclasses import replace
from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest

from msolve.assemble import full_atomistic
from msolve.build import set_up
from msolve.certificate import fold
from msolve.certificate.algorithm import Effort, certify
from msolve.certificate.border import UNDRIVEN, Bordered, chosen_border, held_motion, held_pull
from msolve.certificate.bounds import Motion, lipschitz_bound
from msolve.certificate.factor import Factor
from msolve.certificate.fold import certify_fold, corrected
from msolve.certificate.hessian import assembled_hessian
from msolve.certificate.modes import bond_laplacian
from msolve.certificate.sampled import loaded_atom, power_iteration_moving
from msolve.compare import from_atoms, on_atoms, unknowns_of
from msolve.config import load_case
from msolve.regions import Ball
from msolve.solvers import Settings, minimise

DECKS = Path(__file__).parents[2] / "solver_configs"

CRACK = ("domain.radius=40 angstrom", "regions.core_radius=6 angstrom", "regions.blend=6 angstrom")


def tip(radius, *loads):
    """The atoms around a crack tip, all others held by the K-field, after some loads over Griffith's."""
    setup = set_up(load_case(DECKS / "crack_eam.yaml", CRACK), MPI.COMM_SELF)
    body = setup.body if radius is None else replace(setup.body, shape=Ball((0, 0, 0), radius, 2))
    full = full_atomistic(MPI.COMM_SELF, body)
    x = full.problem.kinematics.unknowns.vector()
    for load in loads:
        t = load * setup.K_G
        minimise(full.problem, x, t, full.preconditioner, Settings(tolerance=1e-7))
    return full, x, t


@pytest.fixture(scope="module")
def few():
    """16 free atoms just above the load at which a bond across the crack closes."""
    return tip(5.0, 0.9, 0.8, 0.75, 0.73, 0.72)


@pytest.fixture(scope="module")
def system(few):
    full, x, t = few
    H, D = assembled_hessian(full, x, t), bond_laplacian(full)
    border = chosen_border(full, x, t, H, D)
    factor = Factor(border.matrix(full, H))
    return Bordered.at(full, border, x, t, factor.solve), H, factor


def exact(at, amplitude=0.0):
    """The equilibrium that has the amplitude of a state, or another one: dense Newton in positions and load."""
    full, c = at.full, at.border.c.array.copy()
    y, t = full.problem.gather(at.x, at.t), at.t
    y = y + amplitude * on_atoms(full, at.phi)
    r = at.x.duplicate()
    for _ in range(12):
        x = unknowns_of(full, y, t)
        full.problem.evaluate(x, t, r)
        step = 1e-5 * t
        sides = []
        for sign in (1, -1):
            full.problem.evaluate(
                unknowns_of(full, y, t + sign * step), t + sign * step, out := r.duplicate()
            )
            sides.append(out.array.copy())
        slope = (sides[0] - sides[1]) / (2 * step)
        matrix = assembled_hessian(full, x, t).convert("dense")  # owns the array
        H = matrix.getDenseArray().copy()
        whole = np.block([[H, slope[:, None]], [c[None], np.zeros((1, 1))]])
        change = np.linalg.solve(whole, np.append(-r.array, 0.0))
        moved = x.duplicate()
        moved.array[:] = change[:-1]
        y, t = y + on_atoms(full, moved), t + change[-1]
    return y, t


def test_the_load_pulls_as_differences_say(system):
    at, _, _ = system
    full, y, step = at.full, at.full.problem.gather(at.x, at.t), 1e-4
    pull = held_pull(full, at.x, at.t, held_motion(full, at.x, at.t))
    sides = []
    for sign in (1, -1):
        t = at.t + sign * step
        full.problem.evaluate(unknowns_of(full, y, t), t, out := at.x.duplicate())
        sides.append(out)
    slope = (sides[0] - sides[1]) * (1 / (2 * step))
    assert pull.norm() > 1 and (slope - pull).norm() < 1e-5 * pull.norm()


def test_the_bordered_system_is_inverted(system):
    at, H, factor = system
    r = at.x.duplicate()
    r.array[:] = np.random.default_rng(0).normal(size=len(r.array))
    v, mu, norm = at.inverse(r)
    product = r.duplicate()
    H.mult(v, product)
    along = from_atoms(at.full, at.full.problem.forces_along(at.x, at.t)(at.velocity))
    assert (product + mu * along - r).norm() < 1e-10 * r.norm()
    assert abs(at.border.c.dot(v)) < 1e-12
    assert norm == pytest.approx(np.sqrt(v.dot(product) + (at.weight * mu) ** 2), rel=1e-9)
    # Block diagonal: the load acts along c alone, and k is what holds the amplitude.
    assert (along - at.push * at.border.c).norm() < 1e-10 * along.norm()
    H.mult(at.phi, product)
    assert at.phi.dot(product) == pytest.approx(at.stiffness, rel=1e-9)
    assert factor.positive and at.push < 0


@pytest.mark.parametrize("close", [3e-3, 1e-5])
def test_the_radius_bounds_the_distance_of_the_equilibrium(few, close):
    full, x, t = few
    start = x.copy()
    start.array[:] += 2e-4 * np.random.default_rng(1).normal(size=len(x.array))
    told, at = certify_fold(full, start, t, Effort(), close)
    assert told.level == "A" and told.number <= 1 and told.negative == 0
    y, load = exact(at)
    mu = load - at.t
    v = from_atoms(full, y - full.problem.gather(at.x, at.t) - mu * at.velocity)
    product = v.duplicate()
    at.border.matrix(full, assembled_hessian(full, at.x, at.t)).mult(v, product)
    distance = np.sqrt(v.dot(product) + (at.weight * mu) ** 2)
    assert distance <= told.radius <= 1.2 * distance + 1e-8
    assert abs(mu) <= told.half_width
    D = bond_laplacian(full)
    apart = from_atoms(full, y - full.problem.gather(at.x, at.t))
    D.mult(apart, product)
    assert np.sqrt(apart.dot(product)) <= told.radius_h1
    if close > 1e-4:
        assert told.radius > 1e-6


def test_the_end_of_the_branch_lies_where_it_is_said_to(few, system):
    full, x, t = few
    told, at = certify_fold(full, x, t, Effort())
    end = told.end
    assert end.level == "A" and not end.highest and 0 < end.high - end.low < 1e-5 * t
    loads = [exact(at, end.amplitude + more)[1] for more in (-0.01, 0.0, 0.01)]
    assert end.low <= loads[1] <= end.high
    assert min(loads[0], loads[2]) > end.high + 1e-6
    assert "certified, level A" in told.lines()[1]


def test_beyond_the_end_the_equilibrium_is_a_saddle(few, system):
    full, x, t = few
    state, _, factor = system
    step = (certify_fold(full, x, t, Effort())[0].end.amplitude - 0.01) / 4
    for _ in range(4):
        state = corrected(full, state.border, *state.moved(step * state.phi, 0.0), factor)[0]
    told, _ = certify_fold(full, state.x, state.t, Effort())
    assert told.level == "A" and told.negative == 1 and told.stiffness < 0
    assert "a saddle" in told.lines()[0] and "nothing is said of that one" in told.statement()


def test_the_bound_covers_what_moving_atoms_beyond_do(system):
    at, _, factor = system
    full = at.full
    bound = lipschitz_bound(
        full, at.x, at.t, factor.matrix, 1e-6, Motion(at.velocity, at.weight)
    ).value
    none = at.x.duplicate()
    none.set(0.0)
    starts = [(at.border.c, 0.0), (none, at.weight), (loaded_atom(full, 0, 0), 1.0)]
    sampled = [
        power_iteration_moving(full, at.x, at.t, at.solve, at.velocity, at.weight, start)
        for start in starts
    ]
    assert 0 < max(sampled) < bound < 1000 * max(sampled)


def test_without_a_bound_it_is_level_b(few, monkeypatch):
    monkeypatch.setattr(fold, "has_bound", lambda full: False)
    full, x, t = few
    told, _ = certify_fold(full, x, t, Effort())
    assert told.level == "B" and "sampled" in told.statement() and told.end.level == "B"


def test_where_a_symmetry_breaks_there_is_no_border():
    setup = set_up(
        load_case(
            DECKS / "vacancy.yaml", ("domain.radius=26 angstrom", "regions.core_radius=4 angstrom")
        ),
        MPI.COMM_SELF,
    )
    full = full_atomistic(MPI.COMM_SELF, setup.body)
    x = full.problem.kinematics.unknowns.vector()
    told, at = certify_fold(full, x, 0.0, Effort())
    assert told.level == "C" and at is None and told.obstacle == UNDRIVEN


@pytest.mark.slow
def test_where_the_load_alone_certifies_nothing_the_border_does():
    """A crack a millionth of K_G above the load at which it heals, from a state off by 0.03 Å along the mode."""
    full, x, t = tip(None, 0.9, 0.84, 0.82, 0.81)
    healing, _ = certify_fold(full, x, t, Effort())
    end = healing.end
    assert end.level == "A" and not end.highest and end.high < t
    D, H = bond_laplacian(full), assembled_hessian(full, x, t)
    border = chosen_border(full, x, t, H, D)
    near = Factor(border.matrix(full, H))
    at = corrected(full, border, x, t, near)[0]
    x, t = at.moved((end.amplitude + 0.001) * at.phi, end.high - at.t)
    state = corrected(full, border, x, t, near)[0]
    assert 0 < state.t - end.high < 1e-5 * t
    start = state.moved(0.03 * state.phi, 0.0)[0]
    alone, _ = certify(full, start, state.t, Effort())
    assert alone.level == "C"
    told, _ = certify_fold(full, start, state.t, Effort())
    assert told.level == "A" and 0 < told.load - state.t < 5e-3 * t
    assert told.end.low == pytest.approx(end.low, abs=1e-6)
