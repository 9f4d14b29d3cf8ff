# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Named parts of a mesh in the plane and in space: tags, nodal forces, rigid motions, straight edges."""

from __future__ import annotations

from mpi4py import MPI

import numpy as np
import pytest
from scipy.spatial import Delaunay

import bodies
from msolve.continuum.boundary import (
    body_forces,
    held_components,
    points_in,
    tagged_cells,
    traction_forces,
    unheld_motions,
)
from msolve.continuum.space import build_space
from msolve.io.meshes import MeshData
from msolve.io.meshes.data import boundary_facets, positively_oriented
from msolve.loads import Held, Shift


def box(n=2):
    """A box of tetrahedra, 2 x 3 x 1, its lower and upper face named."""
    line = np.linspace(0, 1, n + 1)
    points = np.stack(np.meshgrid(2 * line, 3 * line, line), axis=-1).reshape(-1, 3)
    jolt = np.random.default_rng(0).normal(scale=1e-5, size=points.shape)
    cells = Delaunay(points + jolt).simplices.astype(np.int64)
    corner = points[cells]
    volume = np.abs(np.linalg.det(corner[:, 1:] - corner[:, :1]))
    cells = positively_oriented(points, cells[volume > 1e-6])
    facets = boundary_facets(cells)
    named = {
        name: facets[(np.abs(points[facets, 2] - height) < 1e-9).all(axis=1)]
        for name, height in (("down", 0.0), ("up", 1.0))
    }
    nodes = {name: np.unique(part) for name, part in named.items()}
    left = np.flatnonzero(points[cells].mean(axis=1)[:, 0] < 1)
    return MeshData(points, cells, nodes, named, {"left half": left})


def space_of(mesh, degree, thickness=1.0):
    return build_space(
        MPI.COMM_SELF, mesh.points, mesh.cells, mesh.node_tags, mesh.facet_tags,
        thickness=thickness, degree=degree,
    )  # fmt: skip


@pytest.mark.parametrize("degree", [1, 2])
def test_an_inner_edge_between_two_corners_of_the_boundary_carries_no_tag(degree):
    mesh = bodies.plate(2.0, 2.0, 1, 1)
    edge = np.concatenate(list(mesh.facet_tags.values()))
    whole = MeshData(mesh.points, mesh.cells, {"outer": np.arange(4)}, {"outer": edge})
    space = space_of(whole, degree)
    tagged = space.nodes()[space.node_tags["outer"]]
    assert len(tagged) == 4 * degree
    assert np.abs(tagged).max(axis=1) == pytest.approx(1)
    assert space.n_local_nodes == (9 if degree == 2 else 4)


@pytest.mark.parametrize("degree", [1, 2])
def test_nodes_inside_the_edges_of_a_tagged_face_carry_its_tag(degree):
    space = space_of(box(), degree)
    X = space.nodes()
    assert set(space.node_tags["up"]) == set(np.flatnonzero(np.abs(X[:, 2] - 1) < 1e-9))


@pytest.mark.parametrize("degree", [1, 2])
def test_a_traction_gives_its_force_and_its_moment(degree):
    value = np.array([0.3, -0.2, 0.5])
    for mesh, on, thickness, size, middle in (
        (bodies.plate(4.0, 3.0, 3, 2), "top", 2.5, 10.0, [0, 1.5, 0]),
        (box(), "up", 1.0, 6.0, [1, 1.5, 1]),
    ):
        space = space_of(mesh, degree, thickness)
        force = traction_forces(space, mesh.facet_tags[on], value)
        assert force.sum(axis=0) == pytest.approx(size * value)
        moment = np.cross(space.nodes(), force).sum(axis=0)
        assert moment == pytest.approx(np.cross(middle, size * value))
        elsewhere = np.setdiff1d(np.arange(len(force)), space.node_tags[on])
        assert np.abs(force[elsewhere]).max(initial=0.0) < 1e-14


@pytest.mark.parametrize("degree", [1, 2])
def test_a_body_force_acts_in_its_cells_with_its_weight(degree):
    mesh, value = box(), np.array([0.0, 0.1, 0.4])
    space = space_of(mesh, degree)
    cells = tagged_cells(space, mesh.cell_tags, "left half")
    assert 0 < cells.sum() < space.n_cells
    force = body_forces(space, cells, lambda X: X[:, 2], value)
    corner = mesh.points[mesh.cells[mesh.cell_tags["left half"]]]
    volume = np.abs(np.linalg.det(corner[:, 1:] - corner[:, :1])) / 6
    expected = np.sum(volume * corner.mean(axis=1)[:, 2])
    assert force.sum(axis=0) == pytest.approx(expected * value)
    everywhere = tagged_cells(space, mesh.cell_tags, None)
    assert body_forces(space, everywhere, lambda X: np.ones(len(X)), value).sum(axis=0) == (
        pytest.approx(6 * value)
    )


def test_points_know_the_part_they_lie_in():
    mesh = bodies.plate(4.0, 4.0, 6, 6)
    space = space_of(mesh, 1)
    X = np.random.default_rng(4).uniform(-1.9, 1.9, (200, 3))
    upper = points_in(space, tagged_cells(space, mesh.cell_tags, "upper half"), X)
    assert np.array_equal(upper, X[:, 1] > 0)


def test_rigid_motions_in_space():
    space = space_of(box(), 1)
    nothing = np.zeros((space.n_local_nodes, 3), dtype=bool)
    assert len(unheld_motions(space, nothing, 3)) == 6
    zero = Shift((0.0, 0.0, 0.0))
    down = held_components(space, (Held("down", (False, False, True), zero),))
    assert unheld_motions(space, down, 3) == [
        "translation along x1",
        "translation along x2",
        "rotation about x3",
    ]
    assert unheld_motions(space, held_components(space, (Held("up", (True,) * 3, zero),)), 3) == []


def test_between_atoms_quadratic_elements_are_as_linear_ones():
    """Blended forces of the mesh on atoms whose elements all lie between atoms do not depend on the degree."""
    body = bodies.perfect(bodies.eam4(), np.eye(3), 60.0)
    moved = np.random.default_rng(3).normal(scale=0.03, size=(10_000, 3))
    forces, slaved = [], []
    for degree in (1, 2):
        here = bodies.coupled(body, 8.0, 8.0, mesh="matching", degree=degree)
        kinematics = here.problem.kinematics
        z, out = kinematics.unknowns.vector(), kinematics.unknowns.vector()
        free = np.flatnonzero(kinematics.unknowns.atom >= 0)
        block = kinematics.unknowns.atom[free]
        z.array.reshape(-1, 3)[block] = moved[free]
        here.problem.with_terms((here.force_terms[1],)).evaluate(z, 0.0, out)
        forces.append(out.array.reshape(-1, 3)[block].copy())
        slaved.append(len(kinematics.straight))
    deep = np.hypot(*here.X[free, :2].T) < 11.0
    assert slaved[0] == 0
    assert slaved[1] > 300
    assert forces[1][deep] == pytest.approx(forces[0][deep], abs=1e-12)
    assert np.abs(forces[0][deep]).max() > 0.01
