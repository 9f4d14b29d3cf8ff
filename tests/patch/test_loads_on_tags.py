# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Loads on the named parts of a mesh: homogeneous states, balance, derivatives, manufactured solutions."""

from __future__ import annotations

from dataclasses import replace

from petsc4py import PETSc

import numpy as np
import pytest
from scipy.optimize import fsolve

import bodies
from msolve.continuum.boundary import body_forces
from msolve.coupling import LoadTerm
from msolve.errors import CaseError
from msolve.loads import Affine, BodyForce, BoundaryLoads, Held, Shift, Traction
from msolve.solvers import Settings, find_root, follow_boundary

LARGEST = PETSc.NormType.NORM_INFINITY
CORE, BLEND = 4.0, 6.0  # [Å]
SIDE = 64.0  # [Å]
PULL = 0.05  # [eV/Å³], 8 GPa
CORNER = np.array([SIDE / 2, SIDE / 2, 0.0])


def roller(on, component, rest=False):
    held = [False] * 3
    held[component] = True
    if rest:
        held[2] = True
    return Held(on, tuple(held), Shift((0.0, 0.0, 0.0)))


PULLED = BoundaryLoads(
    held=(roller("left", 0), roller("bottom", 1, rest=True)),
    traction=(Traction("top", (0.0, PULL, 0.0)),),
)


def uniaxial(law, pull):
    """Deformation gradient under P22 = pull alone, from the Cauchy-Born law by itself."""

    def excess(stretches):
        P = law.energy_density(np.diag([*stretches, 1.0])[None])[1][0]
        return [P[0, 0], P[1, 1] - pull]

    stretches = fsolve(excess, [1.0, 1.0 + 0.3 * pull], xtol=1e-12)
    F = np.diag([*stretches, 1.0])
    P = law.energy_density(F[None])[1][0]
    assert np.abs(P - np.diag([0, pull, P[2, 2]])).max() < 1e-12
    return F


def displacements(assembly, z, t):
    """Displacement of the nodes and of the free atoms."""
    at = assembly.problem.snapshot(z, t)
    local = assembly.problem.patch.local
    free = assembly.free[local]
    return at.nodes, (at.positions - assembly.X[local])[free], assembly.X[local][free]


@pytest.mark.parametrize("degree", [1, 2])
def test_a_free_plate_under_tension_takes_the_homogeneous_state(degree):
    model = bodies.eam4()
    mesh = bodies.plate(SIDE, SIDE, 13, 11)
    here = bodies.loaded_plate(model, mesh, PULLED, core=CORE, blend=BLEND, degree=degree)
    z = here.problem.kinematics.unknowns.vector()
    settings = Settings(tolerance=1e-11, max_iterations=30)
    report = find_root(
        here.problem.with_terms(here.force_terms), z, 1.0, here.preconditioner, settings
    )
    assert report.residual < 1e-10
    F = uniaxial(here.body.material, PULL)
    assert F[1, 1] > 1.01
    space = here.problem.kinematics.space
    nodes, atoms, X = displacements(here, z, 1.0)
    for u, place in ((nodes, space.nodes()), (atoms, X)):
        exact = (place + CORNER) @ (F - np.eye(3)).T
        assert np.abs(u - exact).max() < 1e-8 * np.abs(exact).max()


@pytest.mark.parametrize("degree", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_free_block_under_tension_takes_the_homogeneous_state(degree):
    model = bodies.eam4()
    mesh = bodies.block(40.0, 6)
    loads = BoundaryLoads(
        held=(roller("left", 0), roller("bottom", 1), roller("back", 2)),
        traction=(Traction("top", (0.0, PULL, 0.0)),),
    )
    here = bodies.loaded_plate(model, mesh, loads, core=3.0, blend=3.0, degree=degree)
    z = here.problem.kinematics.unknowns.vector()
    settings = Settings(tolerance=1e-11, max_iterations=30)
    find_root(here.problem.with_terms(here.force_terms), z, 1.0, here.preconditioner, settings)

    def excess(stretches):
        P = here.body.material.energy_density(np.diag(stretches)[None])[1][0]
        return np.diag(P) - [0, PULL, 0]

    F = np.diag(fsolve(excess, [1.0, 1.0 + 0.3 * PULL, 1.0], xtol=1e-12))
    nodes, atoms, X = displacements(here, z, 1.0)
    assert len(atoms) > 50
    for u, place in ((nodes, here.problem.kinematics.space.nodes()), (atoms, X)):
        exact = (place + 20.0) @ (F - np.eye(3)).T
        assert np.abs(u - exact).max() < 1e-8 * np.abs(exact).max()


def test_the_deferred_correction_takes_it_too():
    from msolve.solvers import correct

    mesh = bodies.plate(SIDE, SIDE, 13, 11)
    here = bodies.loaded_plate(bodies.eam4(), mesh, PULLED, core=CORE, blend=BLEND)
    z = here.problem.kinematics.unknowns.vector()
    settings = Settings(tolerance=1e-10, max_iterations=100)
    correct(
        here.problem, here.force_terms, z, 1.0, here.preconditioner, settings,
        corrections=20, tolerance=1e-9,
    )  # fmt: skip
    F = uniaxial(here.body.material, PULL)
    nodes = displacements(here, z, 1.0)[0]
    exact = (here.problem.kinematics.space.nodes() + CORNER) @ (F - np.eye(3)).T
    assert np.abs(nodes - exact).max() < 1e-7 * np.abs(exact).max()


@pytest.mark.parametrize("degree", [1, 2])
def test_dead_loads_add_up_to_what_is_applied(degree):
    loads = BoundaryLoads(
        held=(Held("bottom", (True, True, True), Shift((0.0, 0.0, 0.0))),),
        traction=(Traction("top", (0.01, 0.02, -0.03)), Traction("right", (0.0, 0.0, 0.04))),
        body_force=(BodyForce(None, (1e-4, 0, 0)), BodyForce("upper half", (0, 2e-4, 0))),
    )
    mesh = bodies.plate(SIDE, 0.9 * SIDE, 14, 10)
    here = bodies.loaded_plate(bodies.eam4(), mesh, loads, core=CORE, blend=BLEND, degree=degree)
    period = here.body.crystal.period
    on_top, on_right = SIDE * period, 0.9 * SIDE * period
    volume = 0.9 * SIDE**2 * period
    expected = np.array(
        [
            0.01 * on_top + 1e-4 * volume,
            0.02 * on_top + 2e-4 * volume / 2,
            -0.03 * on_top + 0.04 * on_right,
        ]
    )
    for terms in (here.problem.terms, here.force_terms):
        (term,) = (term for term in terms if isinstance(term, LoadTerm))
        total = term.on_nodes.sum(axis=0) + term.on_atoms.sum(axis=0)
        # Atoms stand for volumes of their own, which fill the core to within a layer of them.
        assert total == pytest.approx(expected, rel=2e-3)
        assert np.abs(term.on_atoms).max() > 0


def test_a_dead_load_is_the_derivative_of_its_energy():
    loads = BoundaryLoads(
        held=PULLED.held,
        traction=PULLED.traction,
        body_force=(BodyForce(None, (1e-3, -2e-3, 0.5e-3)),),
    )
    mesh = bodies.plate(SIDE, SIDE, 8, 8)
    here = bodies.loaded_plate(bodies.eam4(), mesh, loads, core=CORE, blend=BLEND)
    (term,) = (term for term in here.problem.terms if isinstance(term, LoadTerm))
    at = here.problem.snapshot(here.problem.kinematics.unknowns.vector(), 0.7)
    rng = np.random.default_rng(1)
    atoms, nodes = rng.normal(size=at.positions.shape), rng.normal(size=at.nodes.shape)

    def energy(s):
        moved = replace(at, positions=at.positions + s * atoms, nodes=at.nodes + s * nodes)
        return term.evaluate(moved).energy

    part = term.evaluate(at)
    slope = np.sum(part.on_atoms * atoms) + np.sum(part.on_nodes * nodes)
    assert abs(slope) > 0.01
    assert energy(1.0) - energy(-1.0) == pytest.approx(2 * slope, rel=1e-12)
    doubled = term.evaluate(replace(at, load=1.4))
    assert doubled.on_nodes == pytest.approx(2 * part.on_nodes)
    product = term.linearise(at)(atoms, nodes)
    assert not product.on_atoms.any()
    assert not product.on_nodes.any()


def test_held_components_keep_their_values_and_their_gradient_vanishes():
    mesh = bodies.plate(SIDE, SIDE, 8, 8)
    loads = BoundaryLoads(
        held=(
            Held("bottom", (False, True, True), Shift((0.0, 0.3, -0.1))),
            Held("corner", (True, False, False), Shift((0.2, 0.0, 0.0))),
            Held("top", (True, True, True), Affine(np.diag([1.0, 1.02, 1.0]))),
        )
    )
    here = bodies.loaded_plate(bodies.eam4(), mesh, loads, core=CORE, blend=BLEND)
    unknowns = here.problem.kinematics.unknowns
    z, gradient = unknowns.vector(), unknowns.vector()
    z.setRandom()
    z.scale(0.01)
    z.array[unknowns.idle] = 0.0
    at = here.problem.snapshot(z, 0.5)
    space = here.problem.kinematics.space
    bottom, corner, top = (space.node_tags[tag] for tag in ("bottom", "corner", "top"))
    assert at.nodes[bottom, 1] == pytest.approx(0.15)
    assert at.nodes[bottom, 2] == pytest.approx(-0.05)
    assert at.nodes[corner, 0] == pytest.approx(0.1)
    assert np.ptp(at.nodes[bottom, 0]) > 1e-3
    assert at.nodes[top, 1] == pytest.approx(0.01 * SIDE / 2)
    here.problem.with_terms(here.force_terms).evaluate(z, 0.5, gradient)
    assert len(unknowns.idle) == 2 * 8  # the corner is held as a whole
    assert not gradient.array[unknowns.idle].any()


def test_the_start_follows_the_boundary_before_any_element_turns_over():
    mesh = bodies.plate(SIDE, SIDE, 22, 22)
    F = np.array([[1.0, 0.0, 0.0], [0.0, 1.2, 0.0], [0.0, 0.0, 1.0]])
    whole = tuple(
        Held(on, (True, True, True), Affine(F)) for on in ("left", "right", "top", "bottom")
    )
    here = bodies.loaded_plate(
        bodies.eam4(), mesh, BoundaryLoads(held=whole), core=CORE, blend=BLEND
    )
    z = here.problem.kinematics.unknowns.vector()
    # The boundary alone would stretch its first layer of elements more than twofold.
    assert np.abs(here.problem.node_base(1.0)).max() > 2 * SIDE / 22
    for before, t in ((0.0, 1.0), (1.0, 0.25)):
        follow_boundary(here.problem, z, before, t, here.body.C, here.preconditioner)
        nodes, atoms, X = displacements(here, z, t)
        for u, place in ((nodes, here.problem.kinematics.space.nodes()), (atoms, X)):
            exact = t * place @ (F - np.eye(3)).T
            # The blended elasticity has ghost forces in the blend; far below what the boundary moved.
            assert np.abs(u - exact).max() < 0.15 * t * 0.2 * SIDE / 2
        at = here.problem.snapshot(z, t)
        stored = here.problem.stored
        every = np.ones(stored.space.n_cells, dtype=bool)
        assert np.linalg.det(stored.deformation(at.nodes, at.background, every)).min() > 1.0


@pytest.mark.parametrize(
    ("held", "loose"),
    [
        ((), "translation along x1 and translation along x2 and translation along x3"),
        ((roller("left", 0), roller("bottom", 1)), "translation along x3;"),
        (
            (Held("corner", (True, True, True), Shift((0.0, 0.0, 0.0))),),
            "rotation about x3",
        ),
        ((roller("left", 0), roller("left", 2)), "translation along x2;"),
    ],
    ids=["nothing", "front", "corner", "sliding"],
)
def test_motions_that_nothing_holds_are_named(held, loose):
    mesh = bodies.plate(SIDE, SIDE, 6, 6)
    with pytest.raises(CaseError, match=loose):
        bodies.loaded_plate(bodies.eam4(), mesh, BoundaryLoads(held=held), core=CORE, blend=BLEND)


def manufactured(X, size):
    """A smooth displacement, its gradient and its second derivatives at X (n, 3)."""
    amplitude = np.array([0.010, -0.007, 0.0]) * size
    wave = np.array([[1.3, 0.7], [0.6, -1.1], [0.0, 0.0]]) / size * 2.0
    phase = X[:, :2] @ wave.T + np.array([0.3, 1.0, 0.0])
    u = amplitude * np.sin(phase)
    H = np.zeros((len(X), 3, 3))
    H[:, :, :2] = (amplitude * np.cos(phase))[:, :, None] * wave
    G = np.zeros((len(X), 3, 3, 3))
    G[:, :, :2, :2] = -(amplitude * np.sin(phase))[:, :, None, None] * (
        wave[:, :, None] * wave[:, None, :]
    )
    return u, H, G


class Manufactured:
    def __init__(self, size):
        self.size = size

    def displacement(self, X, t):
        return t * manufactured(X, self.size)[0]

    def gradient(self, X, t):
        return t * manufactured(X, self.size)[1]


def body_force_of(law, X, size):
    """-Div P of the manufactured displacement, shape (n, 3) [eV/Å⁴]."""
    _, H, G = manufactured(X, size)
    A = law.tangent(np.eye(3) + H)
    return -np.einsum("niJkL,nkLJ->ni", A, G)


def gradient_error(model, size, n, degree):
    """L2 error of the displacement gradient outside the few atoms, over the norm of the gradient."""
    field = Manufactured(size)
    sides = ("left", "right", "top", "bottom")
    loads = BoundaryLoads(held=tuple(Held(on, (True, True, True), field) for on in sides))
    mesh = bodies.plate(size, size, n, n)
    here = bodies.loaded_plate(model, mesh, loads, core=0.5, blend=0.5, degree=degree)
    space, law = here.problem.kinematics.space, here.body.material
    everywhere = np.ones(space.n_cells, dtype=bool)
    on_nodes = sum(
        body_forces(
            space, everywhere, lambda X, k=k: body_force_of(law, X, size)[:, k], np.eye(3)[k]
        )
        for k in range(2)
    )
    volume = here.body.crystal.crystal.atomic_volume
    on_atoms = (1 - here.beta)[:, None] * volume * body_force_of(law, here.X, size)
    beta = np.where(np.hypot(*space.nodes()[:, :2].T) < 1.0, 0.0, 1.0)
    load = LoadTerm(here.problem.patch, here.X, on_atoms, beta[:, None] * on_nodes)
    problem = here.problem.with_terms((*here.force_terms, load))
    z = problem.kinematics.unknowns.vector()
    follow_boundary(problem, z, 0.0, 1.0, here.body.C, here.preconditioner)
    settings = Settings(tolerance=1e-10, max_iterations=30)
    assert find_root(problem, z, 1.0, here.preconditioner, settings).residual < 1e-9
    X, weight, gradients = space.quadrature(4)
    u = problem.snapshot(z, 1.0).nodes[space.cell_nodes()]
    found = np.einsum("cqnx,cni->cqix", gradients, u)
    exact = manufactured(X.reshape(-1, 3), size)[1].reshape(*X.shape[:2], 3, 3)[..., :2]
    outside = np.hypot(X[..., 0], X[..., 1]) > 0.15 * size
    wrong = np.sum(((found - exact) ** 2).sum(axis=(2, 3)) * weight * outside)
    return np.sqrt(wrong / np.sum((exact**2).sum(axis=(2, 3)) * weight * outside))


@pytest.mark.parametrize(("degree", "rate"), [(1, 1.0), (2, 2.0)])
def test_a_manufactured_solution_is_approached_at_the_rate_of_the_elements(degree, rate):
    size = 48.0
    errors = [gradient_error(bodies.toy(), size, n, degree) for n in (4, 8, 16)]
    slopes = np.diff(np.log(errors)) / np.log(0.5)
    assert errors[0] < 0.5
    assert slopes == pytest.approx([rate, rate], abs=0.2)
