# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The lifts: adjoint, exact on affine fields, closed to what lies across a crack."""

from mpi4py import MPI

import numpy as np
import pytest

import bodies
from msolve.kinematics import build_kinematics, clear_of_slits
from msolve.regions import Ball, Regions

REGIONS = Regions((Ball((0.0, 0.0, 0.0), 3.0),), 3.0)


@pytest.fixture(scope="module", params=["free", "matching"])
def crack(request):
    return bodies.coupled(bodies.cracked(bodies.eam4(), 30.0), 4.0, 6.0, mesh=request.param)


@pytest.fixture(scope="module", params=[("free", 1), ("free", 2), ("matching", 1)])
def flat(request):
    F = [[1.02, 0.01, 0], [-0.02, 0.99, 0], [0, 0, 1]]
    mesh, degree = request.param
    return bodies.coupled(bodies.perfect(bodies.toy(), F, 24.0), 3.0, 3.0, mesh=mesh, degree=degree)


@pytest.mark.parametrize("lift", ["atoms", "nodes", "ghosts"])
def test_lifts_are_adjoint(crack, lift):
    kinematics = crack.problem.kinematics
    some = np.arange(len(kinematics.atom_owner))[::-3].copy()
    L = kinematics.atoms_of(some) if lift == "ghosts" else getattr(kinematics, lift)
    rng = np.random.default_rng(1)
    z, a = L.createVecRight(), L.createVecLeft()
    z.array[:] = rng.normal(size=z.getLocalSize())
    a.array[:] = rng.normal(size=a.getLocalSize())
    Lz, La = a.duplicate(), z.duplicate()
    L.mult(z, Lz)
    L.multTranspose(a, La)
    assert Lz.norm() > 1
    assert abs(Lz.dot(a) - z.dot(La)) < 1e-12 * Lz.norm() * a.norm()


def test_rows_of_any_atoms_are_those_of_the_lift(crack):
    problem = crack.problem
    kinematics, z = problem.kinematics, problem.kinematics.unknowns.vector()
    z.array[:] = np.random.default_rng(2).normal(size=z.getLocalSize())
    chosen = np.random.default_rng(3).permutation(len(crack.X))[:50]
    rows = kinematics.atoms_of(chosen)
    some = rows.createVecLeft()
    rows.mult(z, some)
    every = kinematics.atoms.createVecLeft()
    kinematics.atoms.mult(z, every)
    assert np.array_equal(some.array.reshape(-1, 3), every.array.reshape(-1, 3)[chosen])


def test_affine_fields_are_lifted_exactly(flat):
    problem, place = flat.problem, flat.problem.placement
    at = problem.snapshot(bodies.solution_in_closed_form(flat), 1.0)
    F = flat.body.far_field.F
    X = place.X[problem.patch.local]
    held = ~place.loose[problem.patch.local]
    assert np.count_nonzero(held & ~flat.free[problem.patch.local]) > 20
    assert np.abs(at.positions - X @ F.T).max() < 1e-12
    nodes = problem.kinematics.space.nodes()
    assert np.abs(at.nodes - nodes @ (F - np.eye(3)).T).max() < 1e-12


def test_some_nodes_follow_atoms_and_all_other_atoms_follow_nodes(flat):
    kinematics = flat.problem.kinematics
    unknowns = kinematics.unknowns
    tied = unknowns.node < 0
    tied[flat.problem.placement.prescribed] = False
    assert np.count_nonzero(tied) > 10
    distance = np.hypot(*kinematics.space.nodes()[:, :2].T)
    assert (distance[tied] < 6.0).all()
    assert ((unknowns.atom >= 0) == flat.free).all()


def test_nothing_interpolates_across_the_crack(crack):
    kinematics = crack.problem.kinematics
    unknowns, X = kinematics.unknowns, crack.X
    nodes = kinematics.space.nodes()
    opened = np.zeros((unknowns.n_blocks, 3))
    for number, where in ((unknowns.atom, X), (unknowns.node, nodes)):
        known = number >= 0
        opened[number[known], 1] = np.sign(where[known, 1])
    z = unknowns.vector()
    z.array[:] = opened.ravel()
    for lift, where, skip in (
        (kinematics.atoms, X, crack.problem.placement.loose),
        (
            kinematics.nodes,
            nodes,
            np.isin(np.arange(len(nodes)), crack.problem.placement.prescribed),
        ),
    ):
        moved = lift.createVecLeft()
        lift.mult(z, moved)
        behind = (where[:, 0] < -1.0) & ~skip
        # Neighbours of the prescribed rim mix in its zeros; near the core there are none.
        behind &= np.hypot(where[:, 0], where[:, 1]) < 18.0
        assert np.count_nonzero(behind & (where[:, 1] < 0)) > 10
        expected = np.sign(where[behind, 1])
        assert np.abs(moved.array.reshape(-1, 3)[behind, 1] - expected).max() < 1e-12


def test_simplices_that_reach_across_a_crack_are_dropped():
    points = np.array([[-3.0, -1], [-2, 1], [-1, -1], [-1, 2], [-3, 2], [1, 1], [1, -1], [2, 1]])
    simplices = np.array([[0, 1, 2], [1, 3, 4], [2, 5, 6], [5, 6, 7]])
    kept = clear_of_slits(points, simplices, ((0.0, 0.0),))
    # Across; above; across behind the tip with one corner; across ahead of the tip.
    assert kept.tolist() == [False, True, False, True]
    assert clear_of_slits(points, simplices, ((-5.0, 0.0),)).all()
    assert clear_of_slits(points, simplices, ()).all()


def test_a_held_component_follows_no_unknown_and_the_others_do(flat):
    problem = flat.problem
    before = problem.kinematics
    place, space = problem.placement, before.space
    nodes = space.nodes()
    far = nodes[:, 0] > 0.5 * nodes[:, 0].max()
    far[place.prescribed] = False
    held = np.zeros((len(nodes), 3), dtype=bool)
    held[far, 1] = True
    assert np.count_nonzero(far) > 3
    kinematics = build_kinematics(
        MPI.COMM_SELF,
        flat.X,
        flat.free,
        before.atom_owner,
        space,
        prescribed=place.prescribed,
        held=held,
        beta=REGIONS.beta(nodes),
        components=2,
    )
    unknowns = kinematics.unknowns
    assert unknowns.n_global == before.unknowns.n_global
    assert len(unknowns.idle) == np.count_nonzero(far)
    z = unknowns.vector()
    z.array[:] = np.random.default_rng(5).normal(size=z.getLocalSize())
    v = kinematics.nodes.createVecLeft()
    kinematics.nodes.mult(z, v)
    moved = v.array.reshape(-1, 3)
    assert (moved[held] == 0).all()
    assert (moved[far, 0] != 0).all()
    # Nothing but the springs sees the idle unknowns.
    alone = unknowns.vector()
    alone.array[unknowns.idle] = 1.0
    for lift in (kinematics.nodes, kinematics.nodes_owned, kinematics.atoms):
        out = lift.createVecLeft()
        lift.mult(alone, out)
        assert out.norm() == 0
    springs = unknowns.springs()
    springs.mult(z, alone)
    assert alone.norm() == pytest.approx(np.linalg.norm(z.array[unknowns.idle]))
    assert before.unknowns.springs() is None
