# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""In space: patch test on tetrahedra, derivatives, preconditioners, holes; the same code as in the plane."""

from dataclasses import replace

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import pytest

import bodies
from msolve.assemble import couple, full_atomistic
from msolve.io.meshes import ball_mesh, mesh_quality
from msolve.loads import Affine, Zero
from msolve.regions import Ball, Disc, Regions
from msolve.solvers import Settings, find_root, minimise
from msolve.solvers import preconditioner as elasticity
from msolve.testing.measures import difference

LARGEST = PETSc.NormType.NORM_INFINITY
STRAIN = np.array([[1.01, 0.004, -0.003], [0.002, 0.995, 0.006], [0.0, -0.005, 1.008]])


def ball(model, radius, *, predictor=True, **changes):
    far = Affine(STRAIN)
    body = bodies.perfect(model, np.eye(3), radius)
    return replace(
        body,
        gdim=3,
        shape=Ball((0.0, 0.0, 0.0), radius, 3),
        far_field=far,
        predictor=far if predictor else Zero(),
        **changes,
    )


def coupled(body, core, blend, *, degree=1, comm=MPI.COMM_SELF):
    near = body.crystal.nearest_neighbour_distance
    mesh = ball_mesh(
        body.radius, spacing=1.2 * near, zones=[(np.zeros(3), core + blend + near)], growth=1.5
    )
    regions = Regions((Ball((0.0, 0.0, 0.0), core, 3),), blend)
    return couple(comm, body, regions, mesh, degree=degree)


def residual(problem, z):
    gradient = z.duplicate()
    problem.evaluate(z, 1.0, gradient)
    return gradient.norm(LARGEST)


@pytest.fixture(scope="module", params=[1, 2], ids=["linear", "quadratic"])
def perfect(request):
    model = bodies.eam4()
    body = ball(model, 8.0 + 2.3 * model.reach, predictor=False)
    return coupled(body, 3.0, 4.0, degree=request.param)


def test_homogeneous_states_are_in_equilibrium(perfect):
    z = bodies.solution_in_closed_form(perfect)
    ghost_force = residual(perfect.problem, z)
    assert ghost_force > 1e-3
    assert residual(perfect.problem.with_terms(perfect.force_terms), z) < 1e-10 * ghost_force


@pytest.mark.parametrize("degree", [1, 2])
def test_gradient_and_hessian_are_derivatives(degree):
    # Not the table: its curvature has kinks at 100 000 knots, which differences over 1e-5 Å see.
    model = bodies.smooth()
    body = ball(model, 5.0 + 2.3 * model.reach, predictor=False)
    small = coupled(body, 2.0, 3.0, degree=degree)
    problem = small.problem
    rng = np.random.default_rng(0)
    z = bodies.solution_in_closed_form(small)
    z.array[:] += rng.normal(scale=0.01, size=z.getLocalSize())
    v, out, g = z.duplicate(), z.duplicate(), z.duplicate()
    v.array[:] = rng.normal(size=z.getLocalSize())
    problem.evaluate(z, 1.0, g)
    problem.linearise(z, 1.0)(v, out)

    def along(s):
        force = z.duplicate()
        energy = problem.evaluate(z + s * v, 1.0, force)
        return np.append(force.array, energy)

    by_differences = difference(along, 3e-5)
    assert by_differences[-1] == pytest.approx(g.dot(v), rel=1e-6)
    assert np.abs(by_differences[:-1] - out.array).max() < 1e-5 * np.abs(out.array).max()


@pytest.mark.parametrize("degree", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_multigrid_gives_the_solution_of_the_factorisation(degree, monkeypatch):
    model = bodies.eam4()
    body = ball(model, 8.0 + 2.3 * model.reach, vacancies=np.zeros((1, 3)))
    solutions, steps = [], []
    for largest in (10**9, 0):
        monkeypatch.setitem(elasticity.LARGEST_FACTORISED, 3, largest)
        here = coupled(body, 4.0, 4.0, degree=degree)
        z = here.problem.kinematics.unknowns.vector()
        forces = here.problem.with_terms(here.force_terms)
        report = find_root(forces, z, 1.0, here.preconditioner, Settings(tolerance=1e-7))
        assert report.converged
        solutions.append(z.array.copy())
        steps.append(report.products)
    assert np.abs(solutions[0]).max() > 0.02
    assert np.abs(solutions[0] - solutions[1]).max() < 1e-6
    assert steps[1] < 3 * steps[0]


def test_holes_have_no_atoms():
    model = bodies.eam4()
    penny = Disc((0.0, 0.0, 0.0), 6.0, 2.0, (0.0, 1.0, 0.0))
    whole = full_atomistic(MPI.COMM_SELF, ball(model, 12.0))
    cut = full_atomistic(MPI.COMM_SELF, ball(model, 12.0, voids=(penny,)))
    gone = int(whole.free.sum() - cut.free.sum())
    # One layer of (100), an atom for each a^2.
    assert gone == pytest.approx(np.pi * 6.0**2 / 3.143**2, abs=3)
    assert (penny.distance(cut.X) > 0).all()
    z = cut.problem.kinematics.unknowns.vector()
    report = minimise(cut.problem, z, 1.0, cut.preconditioner, Settings(tolerance=1e-4))
    assert report.converged and report.iterations < 60


def test_balls_are_graded_and_named():
    mesh = ball_mesh(30.0, spacing=3.0, zones=[(np.array([4.0, 0, 0]), 6.0)], growth=1.0)
    quality = mesh_quality(mesh)
    assert quality.smallest_volume > 0 and quality.smallest_angle > 10
    r = np.linalg.norm(mesh.points, axis=1)
    assert np.abs(r[mesh.node_tags["outer"]] - 30).max() < 1e-6
    assert (r < 30 + 1e-6).all() and np.count_nonzero(r > 30 - 1e-6) == len(mesh.node_tags["outer"])
    centre = mesh.points[mesh.cells].mean(axis=1)
    away = np.linalg.norm(centre - [4, 0, 0], axis=1)
    corner = mesh.points[mesh.cells]
    edges = [
        np.linalg.norm(corner[:, a] - corner[:, b], axis=1) for a in range(4) for b in range(a)
    ]
    wanted = 3.0 * np.maximum(away / 6, 1)
    for zone in (away < 6, (away > 8) & (away < 20)):
        assert (np.mean(edges, axis=0) / wanted)[zone].mean() == pytest.approx(1.0, rel=0.15)
    coarse = ball_mesh(30.0, spacing=3.0, zones=[(np.zeros(3), 6.0)], growth=0.0, coarseness=2.0)
    assert mesh_quality(coarse).smallest_angle > 10
    corner = coarse.points[coarse.cells]
    far = np.linalg.norm(corner.mean(axis=1), axis=1) > 14
    edges = [
        np.linalg.norm(corner[far, a] - corner[far, b], axis=1) for a in range(4) for b in range(a)
    ]
    assert np.mean(edges) == pytest.approx(6.0, rel=0.15)
    with pytest.raises(ValueError, match="reach the boundary"):
        ball_mesh(10.0, spacing=3.0, zones=[(np.zeros(3), 9.0)])
