# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Diamond and hcp in the coupled model: patch test, derivatives through the inner shifts, what they are good for."""

from dataclasses import replace

from petsc4py import PETSc

import numpy as np
import pytest

import bodies
from msolve.loads import Affine
from msolve.potentials.bulk import BulkCell
from msolve.problem import CoupledProblem
from msolve.solvers import Settings, find_root

LARGEST = PETSc.NormType.NORM_INFINITY
ROUND_OFF = 1e-10  # relative
CORE, BLEND = 4.0, 6.0  # [Å]
SHEAR = np.array([[1.0, 0.02, 0.0], [0.015, 1.01, 0.0], [0.01, -0.02, 1.0]])


CASES = [
    ("silicon", "matching"),
    ("silicon", "free"),
    ("silicon", "recovered"),
    ("magnesium", "free"),
    pytest.param(("magnesium", "matching"), marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def assembly(request):
    name, mesh = request.param
    model = getattr(bodies, name)()
    wider = 4.0 if name == "silicon" else 0.0  # rows of a mesh on one of its sublattices are wide
    body = bodies.perfect(model, np.eye(3), CORE + BLEND + 2.4 * model.reach + wider)
    recovery = mesh == "recovered"
    return bodies.coupled(body, CORE, BLEND, mesh="free" if recovery else mesh, recovery=recovery)


def under(assembly, F, *, predicted=False):
    """The same lifts and terms under another far field."""
    problem, far = assembly.problem, Affine(F)
    placement = replace(problem.placement, far_field=far)
    if predicted:
        placement = replace(placement, predictor=far)
    return replace(assembly, problem=replace(problem, placement=placement, _cache={}))


def residual(problem, z):
    gradient = z.duplicate()
    problem.evaluate(z, 1.0, gradient)
    return gradient.norm(LARGEST)


@pytest.mark.parametrize("predicted", [False, True])
def test_homogeneous_states_are_in_equilibrium(assembly, predicted):
    rng = np.random.default_rng(3)
    for F in [SHEAR, *(bodies.deformation(rng, 0.02) for _ in range(2))]:
        here = under(assembly, F, predicted=predicted)
        z = bodies.solution_in_closed_form(here)
        blended_force = residual(here.problem.with_terms(here.force_terms), z)
        ghost_force = residual(here.problem, z)
        assert ghost_force > 1e-3
        # Shifts come to rest within 1e-10 eV/Å, round-off of the ghost force itself is smaller.
        assert blended_force < max(ROUND_OFF * ghost_force, 5e-10)


@pytest.mark.parametrize("name", ["silicon", "magnesium"])
def test_without_inner_shifts_the_patch_test_fails(name):
    model = getattr(bodies, name)()
    body = bodies.perfect(model, SHEAR, CORE + BLEND + 2.4 * model.reach, predictor=True)
    frozen = replace(body, material=BulkCell(model, body.crystal, relaxed=False))
    residuals = []
    for given in (body, frozen):
        here = bodies.coupled(given, CORE, BLEND)
        z = here.problem.kinematics.unknowns.vector()
        residuals.append(residual(here.problem.with_terms(here.force_terms), z))
    assert residuals[1] > 1e-2 > 1e7 * residuals[0]


def test_newton_finds_the_homogeneous_state():
    model = bodies.silicon()
    body = bodies.perfect(model, SHEAR, CORE + BLEND + 2.4 * model.reach)
    here = bodies.coupled(body, CORE, BLEND)
    exact = bodies.solution_in_closed_form(here)
    z = exact.duplicate()
    z.set(0.0)
    blended_force = here.problem.with_terms(here.force_terms)
    report = find_root(blended_force, z, 1.0, here.preconditioner, Settings(tolerance=1e-8))
    assert report.converged and report.iterations < 12
    z.axpy(-1.0, exact)
    assert z.norm(LARGEST) < 1e-7


@pytest.mark.parametrize("terms", ["energy", "force"])
def test_gradient_and_hessian_see_the_shifts(assembly, terms):
    here = under(assembly, SHEAR, predicted=True)
    problem = here.problem
    if terms == "force":
        problem = problem.with_terms(here.force_terms)
    z = problem.kinematics.unknowns.vector()
    rng = np.random.default_rng(5)
    z.array[:] = rng.normal(scale=0.01, size=z.getLocalSize())
    v, out = z.duplicate(), z.duplicate()
    v.array[:] = rng.normal(size=z.getLocalSize())
    problem.linearise(z, 1.0)(v, out)
    # Third derivatives of magnesium's tables jump, and the shifts' curvature holds them.
    assert derivative(problem, z, v, out) < (2e-5 if here.body.model is bodies.silicon() else 5e-2)
    if terms == "energy":
        g = z.duplicate()
        problem.evaluate(z, 1.0, g)
        slope = difference(lambda z: problem.evaluate(z, 1.0, g.duplicate()), z, v, 1e-5)
        assert slope == pytest.approx(g.dot(v), rel=1e-5)


def difference(function, z, v, h):
    ends = []
    for sign in (1, -1):
        moved = z.copy()
        moved.axpy(sign * h, v)
        ends.append(function(moved))
    return (ends[0] - ends[1]) / (2 * h)


def derivative(problem: CoupledProblem, z, v, product, h=1e-5):
    """Relative error of a Hessian product against central differences of the gradient."""

    def gradient(z):
        g = z.duplicate()
        problem.evaluate(z, 1.0, g)
        return g.array.copy()

    by_differences = difference(gradient, z, v, h)
    return np.abs(by_differences - product.array).max() / np.abs(product.array).max()


def test_the_pad_has_the_inversion_of_the_crystal():
    """Inversion about the middle of a bond swaps the sublattices: a field and its mirror image give mirror images."""
    model = bodies.silicon()
    body = bodies.perfect(model, np.eye(3), CORE + BLEND + 6 * model.reach)
    here = bodies.coupled(body, CORE, BLEND, recovery=True)
    kinematics, X = here.problem.kinematics, here.X
    space, unknowns = kinematics.space, kinematics.unknowns
    r = np.hypot(X[:, 0], X[:, 1])
    # Nodes nearer to the core follow atoms, linearly.
    pad = np.flatnonzero((r > CORE + BLEND + 4.0) & (r < CORE + BLEND + 2 * model.reach))
    middle = pad[np.abs(r[pad] - r[pad].mean()).argmin()]
    centre = 0.5 * (X[middle] + X[np.linalg.norm(X - X[middle], axis=1).argsort()[1]])
    H = 4e-4 * np.random.default_rng(2).normal(size=(3, 2, 2))

    def lifted(sign):
        """Places of all atoms where the mesh has a field that is quadratic around the centre."""
        z = unknowns.vector()
        known = unknowns.node[: space.n_local_nodes] >= 0
        places = np.zeros((unknowns.n_blocks, 3))
        places[unknowns.atom[here.free]] = X[here.free]
        places[unknowns.node[known]] = space.nodes()[known]
        d = (places - centre)[:, :2]
        z.array[:] = sign * np.einsum("cij,ni,nj->nc", H, d, d).ravel()
        return here.problem.gather(z, 0.0)

    once, mirrored = lifted(1.0), lifted(-1.0)
    image = 2 * centre - X[pad]
    image[:, 2] -= body.period * np.round((image[:, 2] - X[pad, 2]) / body.period)
    gap = X[None, pad] - image[:, None]
    gap[..., 2] -= body.period * np.round(gap[..., 2] / body.period)
    distance = np.linalg.norm(gap, axis=2)
    both = np.flatnonzero(distance.min(axis=1) < 1e-6)
    assert len(both) >= 6
    partner = pad[distance.argmin(axis=1)[both]]
    moved = (once - X)[pad[both]]
    assert np.abs(moved).max() > 5e-3
    np.testing.assert_allclose((mirrored - X)[partner], -moved, atol=2e-3 * np.abs(moved).max())
