# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The patch test: a homogeneous deformation is an equilibrium of every method but plain energy blending.

The unknowns are the displacements themselves (no predictor), so that atoms, mesh and both lifts take part.
"""

from dataclasses import replace
from importlib.util import find_spec

from petsc4py import PETSc

import numpy as np
import pytest

import bodies
from msolve.loads import Affine
from msolve.potentials import load_potential
from msolve.solvers import Settings, correct
from msolve.testing import write_tiny_mace

LARGEST = PETSc.NormType.NORM_INFINITY
ROUND_OFF = 1e-10  # relative
CORE, BLEND = 4.0, 6.0  # [Å]


@pytest.fixture(scope="module", params=["eam", "mace"])
def model(request):
    if request.param == "eam":
        return bodies.eam4()
    if find_spec("mace") is None:
        pytest.skip("mace-torch is not installed")
    return load_potential(bodies.EAM4.parent / "w_mace" / "w_mace.model", "mace")


LIFTS = {"matching": ("matching", False), "free": ("free", False), "recovered": ("free", True)}


@pytest.fixture(scope="module", params=LIFTS)
def assembly(model, request):
    body = bodies.perfect(model, np.eye(3), CORE + BLEND + 2.4 * model.reach)
    mesh, recovery = LIFTS[request.param]
    return bodies.coupled(body, CORE, BLEND, mesh=mesh, recovery=recovery)


def under(assembly, F):
    """The same lifts and terms under another far field."""
    problem = assembly.problem
    placement = replace(problem.placement, far_field=Affine(F))
    return replace(assembly, problem=replace(problem, placement=placement, _cache={}))


def residual(problem, z):
    gradient = z.duplicate()
    problem.evaluate(z, 1.0, gradient)
    return gradient.norm(LARGEST)


def test_homogeneous_states_are_in_equilibrium(assembly):
    rng = np.random.default_rng(3)
    for _ in range(10):
        here = under(assembly, bodies.deformation(rng))
        z = bodies.solution_in_closed_form(here)
        blended_force = residual(here.problem.with_terms(here.force_terms), z)
        ghost_force = residual(here.problem, z)
        # Plain blending must fail, or this test could not.
        assert ghost_force > 1e-3
        assert blended_force < ROUND_OFF * ghost_force


def error_of_correction(assembly, z, exact, tolerance):
    """Relative error of the displacement after deferred corrections from ``z``."""
    settings = Settings(tolerance=tolerance, max_iterations=100)
    correct(
        assembly.problem,
        assembly.force_terms,
        z,
        1.0,
        assembly.preconditioner,
        settings,
        corrections=25,
        tolerance=1e-12,
    )
    z.axpy(-1.0, exact)
    return z.norm(LARGEST) / exact.norm(LARGEST)


@pytest.mark.parametrize("mesh", ["matching", "free"])
def test_the_deferred_correction_finds_the_homogeneous_state(mesh):
    model = bodies.eam4()
    F = bodies.deformation(np.random.default_rng(4))
    body = bodies.perfect(model, F, CORE + BLEND + 2.4 * model.reach)
    here = bodies.coupled(body, CORE, BLEND, mesh=mesh)
    exact = bodies.solution_in_closed_form(here)
    z = exact.duplicate()
    z.set(0.0)
    assert error_of_correction(here, z, exact, 1e-11) < ROUND_OFF


@pytest.mark.parametrize("mesh", ["matching", pytest.param("free", marks=pytest.mark.slow)])
def test_the_deferred_correction_returns_to_the_homogeneous_state_with_mace(mesh, tmp_path):
    pytest.importorskip("mace", reason="mace-torch is not installed")
    # Random weights, of which this seed's crystal is stable: cheap, and as exact as trained ones.
    write_tiny_mace(tmp_path / "tiny.model", seed=1)
    model = load_potential(tmp_path / "tiny.model", "mace")
    F = bodies.deformation(np.random.default_rng(4))
    here = bodies.coupled(bodies.perfect(model, F, 8.0 + 2.3 * model.reach), 4.0, 4.0, mesh=mesh)
    exact = bodies.solution_in_closed_form(here)
    z = exact.copy()
    z.array[:] += np.random.default_rng(5).normal(scale=0.01, size=z.getLocalSize())
    assert error_of_correction(here, z, exact, 1e-7) < ROUND_OFF


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["matching", "free"])
@pytest.mark.parametrize("kind", ["eam", "mace"])
def test_the_deferred_correction_returns_to_ten_homogeneous_states(kind, mesh, tmp_path):
    model, core, blend = bodies.eam4(), CORE, BLEND
    if kind == "mace":
        pytest.importorskip("mace", reason="mace-torch is not installed")
        write_tiny_mace(tmp_path / "tiny.model", seed=1)
        model, core, blend = load_potential(tmp_path / "tiny.model", "mace"), 4.0, 4.0
    body = bodies.perfect(model, np.eye(3), core + blend + 2.4 * model.reach)
    assembly = bodies.coupled(body, core, blend, mesh=mesh)
    rng = np.random.default_rng(6)
    for _ in range(10):
        here = under(assembly, bodies.deformation(rng))
        exact = bodies.solution_in_closed_form(here)
        z = exact.copy()
        z.array[:] += rng.normal(scale=0.01, size=z.getLocalSize())
        assert error_of_correction(here, z, exact, 1e-9) < ROUND_OFF
