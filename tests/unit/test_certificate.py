# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The assembled Hessian is that of the products, its inertia that of its eigenvalues."""

from pathlib import Path

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import pytest

from msolve.assemble import full_atomistic
from msolve.build import set_up
from msolve.certificate.factor import Factor, dominates
from msolve.certificate.hessian import assembled_hessian, colours
from msolve.certificate.sampled import power_iteration, third_derivative
from msolve.config import load_case

DECKS = Path(__file__).parents[2] / "solver_configs"


def small(deck, *changes):
    """A full atomistic model, and a state near its predictor."""
    setup = set_up(load_case(DECKS / f"{deck}.yaml", changes), MPI.COMM_SELF)
    full = full_atomistic(MPI.COMM_SELF, setup.body)
    w = full.problem.kinematics.unknowns.vector()
    w.array[:] = 0.01 * np.random.default_rng(3).normal(size=len(w.array))
    return full, w, setup.loads[-1]


CASES = {
    "bcc, plane": ("crack_eam", "domain.radius=30 angstrom", "regions.core_radius=4 angstrom"),
    "diamond, plane": ("si_vacancy", "domain.radius=26 angstrom"),
    "bcc, space": ("vacancy_3d", "domain.radius=24 angstrom", "regions.core_radius=3 angstrom"),
}


@pytest.mark.parametrize(
    "case", [*list(CASES)[:2], pytest.param("bcc, space", marks=pytest.mark.slow)]
)
def test_the_assembled_hessian_is_that_of_the_products(case):
    full, w, t = small(*CASES[case])
    H = assembled_hessian(full, w, t)
    v, ours, theirs = w.duplicate(), w.duplicate(), w.duplicate()
    v.array[:] = np.random.default_rng(5).normal(size=len(v.array))
    H.mult(v, ours)
    full.problem.linearise(w, t)(v, theirs)
    assert (ours - theirs).norm() < 1e-12 * theirs.norm()


def test_the_number_of_colours_does_not_grow():
    full, _, _ = small(*CASES["bcc, plane"])
    crystal = full.body.crystal
    bodies = [crystal.sites(None, [(-R, R)] * 2) for R in (40.0, 80.0)]
    few, many = (len(np.unique(colours(crystal, s.positions, 22.0, 2))) for s in bodies)
    assert few == many < 200 < len(bodies[0])


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_pivots_count_negative_eigenvalues(shift):
    rng = np.random.default_rng(1)
    dense = rng.normal(size=(40, 40))
    dense = dense + dense.T + shift * np.eye(40)
    H = PETSc.Mat().createDense((40, 40), array=dense, comm=PETSc.COMM_SELF)
    H.assemble()
    H = H.convert("aij")
    factor = Factor(H)
    assert factor.negative == int((np.linalg.eigvalsh(dense) < 0).sum())
    right = H.createVecLeft()
    right.array[:] = rng.normal(size=40)
    assert np.allclose(dense @ factor.solve(right).array, right.array)


def test_domination_ends_at_the_lowest_eigenvalue():
    full, w, t = small(*CASES["bcc, plane"])
    H, K = assembled_hessian(full, w, t), full.preconditioner.matrix
    a, b = (np.array(m.convert("dense").getDenseArray()) for m in (H.copy(), K.copy()))
    lowest = np.linalg.eigvals(np.linalg.solve(b, a)).real.min()
    assert dominates(H, K, lowest - 1e-3) and not dominates(H, K, lowest + 1e-3)


def test_third_derivatives_are_symmetric_and_the_iteration_climbs():
    full, w, t = small("vacancy", "domain.radius=26 angstrom", "regions.core_radius=4 angstrom")
    H = Factor(assembled_hessian(full, w, t))
    assert H.positive
    u, v, force = (w.duplicate() for _ in range(3))
    rng = np.random.default_rng(2)
    for one in (u, v):
        one.array[:] = rng.normal(size=len(one.array))
    # D³E[v, v, u] from both sides: along v twice, or as a change of ⟨v, H v⟩ along u.
    h = 1e-4
    slopes = []
    for sign in (1, -1):
        full.problem.linearise(w + sign * h * u, t)(v, force)
        slopes.append(force.dot(v))
    bent = third_derivative(full, w, t, v).dot(u)
    assert bent == pytest.approx((slopes[0] - slopes[1]) / (2 * h), rel=0.02)
    found = power_iteration(full, w, t, H.solve, force)
    for _ in range(5):
        v.array[:] = rng.normal(size=len(v.array))
        product = w.duplicate()
        H.matrix.mult(v, product)
        bent = third_derivative(full, w, t, v)
        assert abs(bent.dot(v)) / product.dot(v) ** 1.5 < found
