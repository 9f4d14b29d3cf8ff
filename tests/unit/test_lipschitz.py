# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Bounds of the Hessian's change: above everything that can be found, for tables and for the linear potential."""

from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest

import bodies
from msolve.assemble import full_atomistic
from msolve.build import set_up
from msolve.certificate.algorithm import Effort, certify
from msolve.certificate.bounds import has_bound, lipschitz_bound
from msolve.certificate.factor import Factor
from msolve.certificate.hessian import assembled_hessian
from msolve.certificate.sampled import loaded_atom, power_iteration, third_derivative
from msolve.config import load_case
from msolve.potentials.eam_bounds import EAMBounds, Span
from msolve.potentials.splines import cubic
from msolve.solvers import Settings, minimise

DECKS = Path(__file__).parents[2] / "solver_configs"

RADIUS = 1e-3


def relaxed(deck, *changes):
    """A full atomistic model in its minimum, and its Hessian."""
    setup = set_up(load_case(DECKS / f"{deck}.yaml", changes), MPI.COMM_SELF)
    full = full_atomistic(MPI.COMM_SELF, setup.body)
    x, t = full.problem.kinematics.unknowns.vector(), setup.loads[-1]
    x.set(0.0)
    minimise(full.problem, x, t, full.preconditioner, Settings(tolerance=1e-7))
    return full, x, t, Factor(assembled_hessian(full, x, t))


@pytest.fixture(scope="module")
def crack():
    return relaxed("crack_eam", "domain.radius=30 angstrom", "regions.core_radius=4 angstrom")


@pytest.fixture(scope="module")
def learned():
    changes = ("domain.radius=26 angstrom", "regions.core_radius=4 angstrom")
    full, x, t, H = relaxed("vacancy", *changes, "regions.blend=4 angstrom", LINEAR)
    return full, x, t, H


LINEAR = "potential={kind: linear, file: potentials/w_linear/w_linear.linear}"


def norm(H, v):
    product = v.duplicate()
    H.matrix.mult(v, product)
    return float(v.dot(product)) ** 0.5


def directions(full, H):
    """Random ones, and the pulls on single atoms near the defect, which strain single bonds most."""
    rng, out = np.random.default_rng(4), []
    near = np.argsort(np.linalg.norm(full.X[:, :2], axis=1) + 1e9 * ~full.free)
    for k in range(4):
        v = full.problem.kinematics.unknowns.vector()
        v.array[:] = rng.normal(size=len(v.array))
        out += [v, H.solve(v), H.solve(loaded_atom(full, int(near[k]), k % 2))]
    return [v * (1 / norm(H, v)) for v in out]


def test_the_bound_is_above_all_that_is_found(crack):
    full, x, t, H = crack
    found = lipschitz_bound(full, x, t, H.matrix, RADIUS)
    sampled = max(power_iteration(full, x, t, H.solve, force) for force in directions(full, H))
    assert sampled < found.value < 200 * sampled
    for v in directions(full, H):
        assert abs(third_derivative(full, x, t, v).dot(v)) < found.value


def test_the_bound_holds_for_changes_of_the_hessian_in_the_ball(crack):
    full, x, t, H = crack
    bound = lipschitz_bound(full, x, t, H.matrix, RADIUS).value
    largest, all_of = 0.0, directions(full, H)
    for w in all_of[::2]:
        there = full.problem.linearise(x + RADIUS * w, t)
        for v in all_of:
            product, before = v.duplicate(), v.duplicate()
            there(v, product)
            H.matrix.mult(v, before)
            largest = max(largest, abs((product - before).dot(v)) / RADIUS)
    assert 0.01 * bound / 200 < largest < bound


def test_the_bound_grows_with_the_ball_and_ends(crack):
    full, x, t, H = crack
    values = [lipschitz_bound(full, x, t, H.matrix, radius).value for radius in (0.0, 1e-3, 1e-2)]
    assert values == sorted(values)
    assert lipschitz_bound(full, x, t, H.matrix, 10.0) is None


@pytest.mark.slow
def test_the_linear_potential_has_one_too(learned):
    full, x, t, H = learned
    found = lipschitz_bound(full, x, t, H.matrix, 1e-5)
    for v in directions(full, H):
        assert abs(third_derivative(full, x, t, v).dot(v)) < found.value
    start = x.copy()
    start.array[:] += 1e-3 * np.random.default_rng(1).normal(size=len(start.array))
    told, _ = certify(full, start, t, Effort())
    assert told.level == "A" and told.bound >= norm(H, start - x) * (1 - 1e-6)


def test_potentials_without_a_bound_have_none():
    full = full_atomistic(MPI.COMM_SELF, bodies.perfect(bodies.toy(), np.eye(3), 6.0))
    assert not has_bound(full)


def test_ranges_hold_all_values(crack):
    model = crack[0].body.model
    ranges = EAMBounds(model)
    assert ranges.smooth_end
    radial, embedding, d_r, d_density = model.polynomials()
    rng = np.random.default_rng(2)
    low = rng.uniform(2.2, 5.4, 40)
    high = np.minimum(low + 10 ** rng.uniform(-6, -1, 40), 5.49)
    zeros = np.zeros(40, dtype=np.int64)
    found = ranges.radial(zeros, zeros, Span(low, high))
    r = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, 50)
    f, z = (derivatives(block, d_r, r) for block in (radial[:4, 0], radial[-4:, 0]))
    pair_third = z[3] / r - 3 * z[2] / r**2 + 6 * z[1] / r**3 - 6 * z[0] / r**4
    pair_bend = z[2] / r**2 - 3 * z[1] / r**3 + 3 * z[0] / r**4
    bend = f[2] / r - f[1] / r**2
    values = (pair_third, pair_bend, f[0], f[1], f[1] / r, f[2], f[3], bend)
    for name, value, window in zip(found._fields, values, found, strict=True):
        slack = 1e-12 * np.abs(value).max()
        assert (value.min(1) >= window.low - slack).all(), name
        assert (value.max(1) <= window.high + slack).all(), name
        # Nor are they much wider than they must be, where windows are wide enough to tell.
        if name in ("density", "slope"):
            wide = np.ptp(value, axis=1) > 1e-3 * np.abs(value).max()
            assert ((window.high - window.low)[wide] < 1.5 * np.ptp(value, axis=1)[wide]).all()
    rho = np.linspace(0.2, 0.9, 40) * ranges.most
    F = ranges.embedding(zeros, Span(rho, rho + 0.01))
    inside = rho[:, None] + np.linspace(0, 0.01, 20)
    for value, window in zip(derivatives(embedding[:, 0], d_density, inside)[1:], F, strict=True):
        slack = 1e-12 * np.abs(value).max()
        assert (value.min(1) >= window.low - slack).all()
        assert (value.max(1) <= window.high + slack).all()


def derivatives(local, spacing, r):
    """Value and three derivatives of the cubics at ``r``."""
    knot = (r / spacing).astype(int)
    a, p = local[:, knot], r / spacing - knot
    return (
        cubic(a, p),
        (a[1] + 2 * a[2] * p + 3 * a[3] * p**2) / spacing,
        (2 * a[2] + 6 * a[3] * p) / spacing**2,
        6 * a[3] / spacing**3,
    )
