# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Solvers: minimum and root are the same state, eigenvalues are those of the dense matrices."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy import linalg

import bodies
from msolve.assemble import full_atomistic
from msolve.errors import ConvergenceError
from msolve.solvers import Settings, correct, find_root, lowest_mode, minimise
from msolve.solvers.nonlinear import with_ghost_force_correction

TIGHT = Settings(tolerance=1e-8)


@pytest.fixture(scope="module")
def vacancy():
    F = [[1.01, 0.005, 0], [0.0, 0.99, 0], [0, 0, 1]]
    body = bodies.perfect(bodies.toy(), F, 24.0, predictor=True, vacancy=True)
    return bodies.coupled(body, 3.0, 6.0, mesh="matching")


@pytest.fixture(scope="module")
def minimum(vacancy):
    z = vacancy.problem.kinematics.unknowns.vector()
    return z, minimise(vacancy.problem, z, 1.0, vacancy.preconditioner, TIGHT)


def test_minimum_and_root_are_the_same_state(vacancy, minimum):
    z, by_energy = minimum
    w = z.duplicate()
    by_force = find_root(vacancy.problem, w, 1.0, vacancy.preconditioner, TIGHT)
    assert by_energy.converged and by_force.converged
    assert np.abs(z.array).max() > 0.005
    assert np.abs(z.array - w.array).max() < 1e-7


def test_minimisation_backs_off_from_states_without_energy(vacancy, minimum):
    problem, M = vacancy.problem, vacancy.preconditioner
    z = minimum[0].duplicate()
    z.array[:] = np.random.default_rng(1).uniform(-0.16, 0.16, len(z.array))
    gradient, step = z.duplicate(), z.duplicate()
    problem.evaluate(z, 1.0, gradient)
    M.apply(gradient, step)
    with pytest.raises(ConvergenceError):
        problem.evaluate(z - step, 1.0, gradient)  # where the first step would lead
    report = minimise(problem, z, 1.0, M, TIGHT)
    assert report.converged
    assert np.abs(z.array - minimum[0].array).max() < 1e-7


def test_reports_tell_what_was_done(vacancy, minimum):
    _, report = minimum
    assert report.label == "minimise" and report.products == 0
    assert report.iterations == len(report.history) - 1 > 3
    assert report.evaluations >= report.iterations
    assert report.history[0] > 1e-3 and report.history[-1] <= TIGHT.tolerance
    assert report.residual <= TIGHT.tolerance
    seen = []
    settings = Settings(tolerance=1e-8, progress=lambda *told: seen.append(told))
    z = vacancy.problem.kinematics.unknowns.vector()
    root = find_root(vacancy.problem, z, 1.0, vacancy.preconditioner, settings)
    assert root.label == "root" and root.products > root.iterations > 1
    assert [told[1] for told in seen] == list(range(root.iterations + 1))
    assert tuple(told[3] for told in seen) == root.history


def test_the_iteration_limit_is_kept_and_told(vacancy):
    z = vacancy.problem.kinematics.unknowns.vector()
    settings = Settings(tolerance=1e-8, max_iterations=2)
    report = minimise(vacancy.problem, z, 1.0, vacancy.preconditioner, settings)
    assert report.iterations == 2 and not report.converged
    assert report.residual > settings.tolerance


def test_a_fixed_point_of_corrections_solves_the_blended_forces(vacancy):
    z = vacancy.problem.kinematics.unknowns.vector()
    settings = Settings(tolerance=1e-7)
    terms = vacancy.force_terms
    problem, reports, residuals = correct(
        vacancy.problem, terms, z, 1.0, vacancy.preconditioner, settings, corrections=12
    )
    assert residuals[-1] <= 1e-7 < residuals[0]
    assert len(residuals) <= len(reports) < 13
    # While another dead load is to follow, a minimisation ends about where that will find it wrong.
    assert reports[0].residual > 1e-5 and reports[0].converged
    assert reports[-1].residual <= 1e-7
    force, gradient = z.duplicate(), z.duplicate()
    blended_force = vacancy.problem.with_terms(terms)
    blended_force.evaluate(z, 1.0, force)
    assert np.abs(force.array).max() <= 1e-7
    problem.evaluate(z, 1.0, gradient)
    assert np.abs(gradient.array).max() <= 1e-7
    w = z.copy()
    assert find_root(blended_force, w, 1.0, vacancy.preconditioner, TIGHT).converged
    assert np.abs(z.array - w.array).max() < 1e-6
    # Without the correction the blended energy ends elsewhere.
    minimise(vacancy.problem, w, 1.0, vacancy.preconditioner, settings)
    assert np.abs(z.array - w.array).max() > 1e-4


def test_the_dead_load_makes_the_gradient_the_blended_force(vacancy, minimum):
    z, _ = minimum
    problem = with_ghost_force_correction(vacancy.problem, vacancy.force_terms, z, 1.0)
    gradient, force = z.duplicate(), z.duplicate()
    problem.evaluate(z, 1.0, gradient)
    vacancy.problem.with_terms(vacancy.force_terms).evaluate(z, 1.0, force)
    assert np.abs(force.array).max() > 1e-4
    assert np.abs(gradient.array - force.array).max() < 1e-12


@pytest.fixture(scope="module")
def tiny():
    """All atoms of a small disc, stretched, with a vacancy; few enough for dense matrices."""
    body = bodies.perfect(
        bodies.toy(), np.diag([1.03, 1.0, 1.0]), 5.0, predictor=True, vacancy=True
    )
    assembly = full_atomistic(MPI.COMM_SELF, body)
    z = assembly.problem.kinematics.unknowns.vector()
    minimise(assembly.problem, z, 1.0, assembly.preconditioner, TIGHT)
    return assembly, z


def dense(apply, z):
    columns = []
    for k in range(z.getSize()):
        v, out = z.duplicate(), z.duplicate()
        v.set(0.0)
        v.setValue(k, 1.0)
        v.assemble()
        apply(v, out)
        columns.append(out.array.copy())
    return np.array(columns).T


def test_the_lowest_mode_is_that_of_the_dense_problem(tiny):
    assembly, z = tiny
    H = dense(assembly.problem.linearise(z, 1.0), z)
    M = dense(lambda v, out: assembly.preconditioner.matrix.mult(v, out), z)
    assert 50 < len(H) < 300
    assert np.abs(H - H.T).max() < 1e-10 * np.abs(H).max()
    expected = linalg.eigh(H, M, eigvals_only=True)
    found, mode = lowest_mode(assembly.problem, z, 1.0, assembly.preconditioner, tolerance=1e-6)
    assert found == pytest.approx(expected[0], rel=1e-8)
    v = mode.array
    assert np.linalg.norm(H @ v - found * M @ v) < 1e-4 * np.linalg.norm(H @ v)


def test_the_preconditioner_solves_its_own_matrix(vacancy):
    r = vacancy.problem.kinematics.unknowns.vector()
    r.array[:] = np.random.default_rng(14).normal(size=r.getLocalSize())
    out, back = r.duplicate(), r.duplicate()
    vacancy.preconditioner.apply(r, out)
    vacancy.preconditioner.matrix.mult(out, back)
    assert np.abs(back.array - r.array).max() < 1e-9


def test_errors_inside_a_solver_come_out_as_themselves(vacancy):
    z = vacancy.problem.kinematics.unknowns.vector()
    z.set(1e3)
    with pytest.raises(ConvergenceError):
        minimise(vacancy.problem, z, 1e3, vacancy.preconditioner, TIGHT)
