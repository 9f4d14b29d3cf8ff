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


@pytest.fixture(scope="module", params=["matching", "free"])
def assembly(model, request):
    body = bodies.perfect(model, np.eye(3), CORE + BLEND + 2.4 * model.reach)
    return bodies.coupled(body, CORE, BLEND, mesh=request.param)


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


def test_the_deferred_correction_finds_the_homogeneous_state(model, assembly):
    if model.layers > 1:
        pytest.skip("its fixed point is tested above; the way there takes a minute with this model")
    here = under(assembly, bodies.deformation(np.random.default_rng(4)))
    exact = bodies.solution_in_closed_form(here)
    z = exact.duplicate()
    z.set(0.0)
    settings = Settings(tolerance=1e-11, max_iterations=100)
    correct(
        here.problem,
        here.force_terms,
        z,
        1.0,
        here.preconditioner,
        settings,
        corrections=25,
        tolerance=1e-11,
    )
    z.axpy(-1.0, exact)
    assert z.norm(LARGEST) < ROUND_OFF * exact.norm(LARGEST)
