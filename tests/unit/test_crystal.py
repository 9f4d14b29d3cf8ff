# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Crystals: every site exactly once, layers, the plane that cleaves, neighbour shells, bonds."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from msolve.crystal import Crystal, nearest_neighbour_bonds, projected_points
from msolve.errors import CaseError

A_W = 3.14339

ORIENTED = {
    "bcc (110)[001]": Crystal.bcc(A_W, 74).oriented([1, -1, 0], [1, 1, 0], [0, 0, 1]),
    "bcc (100)[001]": Crystal.bcc(A_W, 74).oriented([1, 0, 0], [0, 1, 0], [0, 0, 1]),
    "bcc (100)[011]": Crystal.bcc(A_W, 74).oriented([0, -1, 1], [1, 0, 0], [0, 1, 1]),
    "bcc (112)[1-10]": Crystal.bcc(A_W, 74).oriented([1, 1, -1], [1, 1, 2], [1, -1, 0]),
    "fcc (111)[1-10]": Crystal.fcc(4.03, 13).oriented([1, 1, -2], [1, 1, 1], [1, -1, 0]),
    "diamond (111)[1-10]": Crystal.diamond(5.43, 14).oriented([1, 1, -2], [1, 1, 1], [1, -1, 0]),
    "hcp basal": Crystal.hcp(3.2, 5.2, 12).oriented([1, 0, 0], [0, 0, 1], [-1, -2, 0]),
    "hcp prismatic": Crystal.hcp(3.2, 5.2, 12).oriented([1, 0, 0], [1, 2, 0], [0, 0, 1]),
    "triangular": Crystal.triangular(1.0, 10.0).oriented([1, 0, 0], [1, 2, 0], [0, 0, 1]),
    "rock salt": Crystal.from_cell(
        5.6 * np.eye(3),
        [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]  # noqa: RUF005
        + [[0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [0.5, 0.5, 0.5]],
        [11] * 4 + [17] * 4,
    ).oriented([1, 0, 0], [0, 1, 0], [0, 0, 1]),
    "orthorhombic": Crystal.from_cell(
        np.diag([3.0, 4.0, 5.0]), [[0, 0, 0], [0.1, 0.2, 0.4]], [8, 9]
    ).oriented([0, 0, 1], [1, 0, 0], [0, 1, 0]),
    "monoclinic, x2 no lattice direction": Crystal.from_cell(
        [[3.0, 0, 0], [0.7, 4.0, 0], [0, 0, 5.0]], [[0, 0, 0]], 8
    ).oriented([1, 0, 0], None, [0, 0, 1]),
}
EVERY = pytest.mark.parametrize("crystal", ORIENTED.values(), ids=ORIENTED.keys())


@EVERY
def test_axes_are_a_rotation_and_lie_along_lattice_vectors(crystal):
    assert crystal.rotation @ crystal.rotation.T == pytest.approx(np.eye(3), abs=1e-14)
    assert np.linalg.det(crystal.rotation) == pytest.approx(1)
    along = np.vstack([crystal.step1, crystal.step3]) @ crystal.cell
    lengths = np.array([crystal.periods[0], crystal.period])
    assert along == pytest.approx(lengths[:, None] * np.eye(3)[[0, 2]], abs=1e-12)
    assert np.gcd.reduce(crystal.step3) == 1


@EVERY
def test_sites_fill_space_exactly_once(crystal):
    """Number density of whole periods is exact, and all images of the block are distinct."""
    # Layers repeat along x2 also where x2 is no lattice direction, only shifted.
    size = np.array([4 * crystal.periods[0], 4 * crystal.layers_along_x2()[1], crystal.period])
    # Off the lattice, so that no atom lies on the closed bounds.
    sites = crystal.sites(None, [(0, size[0]), (0, size[1])], origin=[0.0123, 0.0234, 0.7])
    assert len(sites) * crystal.crystal.atomic_volume == pytest.approx(size.prod(), rel=1e-12)
    images = np.concatenate([sites.positions + k * size[2] * np.eye(3)[2] for k in (-1, 0, 1)])
    assert not cKDTree(images).query_pairs(0.5 * crystal.nearest_neighbour_distance)


@EVERY
def test_every_site_sees_the_neighbours_of_the_shell(crystal):
    radius = 1.01 * crystal.nearest_neighbour_distance
    half = 3 * radius
    sites = crystal.sites(None, [(-half, half)] * 2, origin=[0.1, 0.2, 0.3])
    assert np.all((sites.positions[:, 2] >= 0) & (sites.positions[:, 2] < crystal.period))
    i, j, shift = nearest_neighbour_bonds(sites.positions, crystal.period, radius)
    vector = sites.positions[j] - sites.positions[i] + shift
    shell = crystal.shell(radius)
    inner = np.flatnonzero(np.abs(sites.positions[:, :2]).max(axis=1) < half - radius)
    for site in inner[:6]:
        found = np.vstack([vector[i == site], -vector[j == site]])
        expected = shell.vectors[shell.centre == sites.basis_index[site]]
        assert len(found) == len(expected)
        assert cKDTree(found).query(expected)[0].max() < 1e-10


@EVERY
def test_the_origin_moves_the_crystal_and_nothing_else(crystal):
    bounds = [(-9.0, 9.0), (-8.0, 8.0)]
    lattice_vector = np.array([1, -2, 1]) @ crystal.cell
    here = crystal.sites(None, bounds, origin=[0.1, 0.2, 0.3]).positions
    there = crystal.sites(None, bounds, origin=np.add(lattice_vector, [0.1, 0.2, 0.3])).positions
    assert len(here) == len(there)
    period = np.array([1e3, 1e3, crystal.period])
    apart = (here[:, None] - there[None] + period / 2) % period - period / 2
    assert np.linalg.norm(apart, axis=2).min(axis=1).max() < 1e-9


@EVERY
def test_cleavage_puts_the_plane_midway_between_layers_and_the_tip_between_columns(crystal):
    cleavage = crystal.cleavage()
    half = 2 * (crystal.periods[0] + cleavage.half_gap)
    X = crystal.sites(None, [(-half, half)] * 2, cleavage.origin).positions
    assert np.abs(X[:, 1]).min() == pytest.approx(cleavage.half_gap)
    assert X[X[:, 1] > 0, 1].min() == pytest.approx(-X[X[:, 1] < 0, 1].max())
    surface = X[np.abs(X[:, 1]) < cleavage.half_gap + 1e-6, 0]
    assert surface[surface > 0].min() == pytest.approx(-surface[surface < 0].max())
    offsets, repeat = crystal.layers_along_x2()
    assert 2 * cleavage.half_gap == pytest.approx(np.diff([*offsets, offsets[0] + repeat]).max())


def test_bcc_110_surface_layers_lie_at_a_quarter_of_the_face_diagonal():
    crystal = ORIENTED["bcc (110)[001]"]
    assert crystal.cleavage().half_gap == pytest.approx(A_W / (2 * np.sqrt(2)))
    assert crystal.period == pytest.approx(A_W)
    assert crystal.nearest_neighbour_distance == pytest.approx(A_W * np.sqrt(3) / 2)
    points, column = projected_points(
        crystal.sites(None, [(-9, 9)] * 2, crystal.cleavage().origin).positions
    )
    assert cKDTree(points).query(points, 2)[0][:, 1] == pytest.approx(A_W / np.sqrt(2))
    assert np.array_equal(np.unique(column), np.arange(len(points)))


def test_diamond_cleaves_between_the_shuffle_planes():
    _, repeat = ORIENTED["diamond (111)[1-10]"].layers_along_x2()
    assert repeat == pytest.approx(5.43 / np.sqrt(3))
    assert 2 * ORIENTED["diamond (111)[1-10]"].cleavage().half_gap == pytest.approx(0.75 * repeat)


def test_columns_that_atoms_share_are_one_point():
    crystal = ORIENTED["rock salt"]
    sites = crystal.sites(None, [(-9, 9)] * 2)
    points, column = projected_points(sites.positions)
    assert len(points) * 2 == len(sites)
    assert points[column] == pytest.approx(sites.positions[:, :2])


def test_shell_of_bcc_has_its_coordination_numbers():
    shell = ORIENTED["bcc (110)[001]"].shell(1.45 * A_W)
    length = np.linalg.norm(shell.vectors, axis=1) / A_W
    assert np.all(np.diff(length) > -1e-9)
    assert np.unique(np.round(length, 6), return_counts=True)[1].tolist() == [8, 6, 12]
    assert shell.vectors.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)


def test_a_block_in_space_is_not_wrapped():
    crystal = ORIENTED["diamond (111)[1-10]"]
    plane, origin = [(0, 20), (0, 15)], [0.1, 0.2, 0.3]
    one_period = crystal.sites(None, plane, origin)
    block = crystal.sites(None, [*plane, (-2 * crystal.period, 2 * crystal.period)], origin)
    assert len(block) == 4 * len(one_period)
    assert not cKDTree(block.positions).query_pairs(0.9 * crystal.nearest_neighbour_distance)
    upper = crystal.sites(lambda X: X[:, 2] > 0, [*plane, (-9, 2 * crystal.period)], origin)
    assert len(upper) == 2 * len(one_period)


@pytest.mark.parametrize(
    ("basis", "n_basis"),
    [
        ([[0, 0, 0], [0.5, 0.5, 0.5]], 1),
        ([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], 1),
        ([[0.2, 0.1, 0], [0.2, 0.1, 0.25], [0.2, 0.1, 0.5], [0.2, 0.1, 0.75]], 1),
        ([[0, 0, 0], [0.25, 0.25, 0.25], [0.5, 0.5, 0], [0.75, 0.75, 0.25]], 2),
    ],
)
def test_any_cell_is_reduced_to_a_primitive_one(basis, n_basis):
    crystal = Crystal.from_cell(3 * np.eye(3), basis, 6)
    assert crystal.n_basis == n_basis
    assert crystal.atomic_volume == pytest.approx(27 / len(basis))
    assert np.linalg.det(crystal.cell) > 0


def test_an_ordered_alloy_is_not_taken_for_its_parent_lattice():
    assert Crystal.from_cell(3 * np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.5]], [26, 13]).n_basis == 2


def test_named_and_given_bcc_are_the_same_crystal():
    given = Crystal.from_cell(A_W * np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.5]], 74)
    sites = given.oriented([1, -1, 0], [1, 1, 0], [0, 0, 1]).sites(
        None, [(-9, 9)] * 2, [0.1, 0.2, 0]
    )
    named = ORIENTED["bcc (110)[001]"].sites(None, [(-9, 9)] * 2, [0.1, 0.2, 0])
    assert len(sites) == len(named)
    assert cKDTree(named.positions).query(sites.positions)[0].max() < 1e-9


def test_scaling_scales_every_length():
    crystal = ORIENTED["hcp basal"]
    larger = crystal.scaled(1.01)
    assert np.array(larger.periods) == pytest.approx(1.01 * np.array(crystal.periods))
    assert larger.crystal.stretched(np.eye(3) / 1.01).cell == pytest.approx(crystal.crystal.cell)


@pytest.mark.parametrize(
    ("crystal", "directions", "wording"),
    [
        (
            Crystal.bcc(3.0, 74),
            ([1, 0, 0], [1, 1, 0], [0, 0, 1]),
            "x2 = [1, 1, 0]: stands at 45.00",
        ),
        (Crystal.hcp(3.2, 5.2, 12), ([1, 0, 0], [0, 1, 0], [0, 0, 1]), "stands at 120.00 degrees"),
        (Crystal.bcc(3.0, 74), ([1, 0, 0], [0, 1, 0], [0, 0, -1]), "left-handed; [0, 0, 1]"),
        (
            Crystal.bcc(3.0, 74),
            ([0, 0, 0], [0, 1, 0], [0, 0, 1]),
            "x1 = [0, 0, 0]: needs three integers",
        ),
        (
            Crystal.bcc(3.0, 74),
            ([1, 0.5, 0], [0, 1, 0], [0, 0, 1]),
            "x1 = [1, 0.5, 0]: needs three",
        ),
    ],
)
def test_unusable_orientations_are_explained(crystal, directions, wording):
    with pytest.raises(CaseError) as error:
        crystal.oriented(*directions)
    assert wording in str(error.value)


@pytest.mark.parametrize(
    ("cell", "basis", "wording"),
    [
        (np.ones((3, 3)), [[0, 0, 0]], "has no volume"),
        (np.eye(3), [[0, 0, 0], [1, 0, 0]], "two atoms lie on the same place"),
    ],
)
def test_unusable_cells_are_explained(cell, basis, wording):
    with pytest.raises(CaseError, match=wording):
        Crystal.from_cell(cell, basis, 1)


def test_bonds_reach_across_the_period_and_back_to_the_same_atom():
    positions = np.array([[0.0, 0, 0.1], [0.0, 0, 1.9]])
    i, j, shift = nearest_neighbour_bonds(positions, 2.0, 0.5)
    assert (i.tolist(), j.tolist(), shift[:, 2].tolist()) == ([1], [0], [2.0])
    i, j, shift = nearest_neighbour_bonds(positions[:1], 2.0, 4.5)
    assert (i.tolist(), j.tolist(), shift[:, 2].tolist()) == ([0, 0], [0, 0], [2.0, 4.0])
    i, j, _ = nearest_neighbour_bonds(positions, None, 2.0)
    assert (i.tolist(), j.tolist()) == ([0], [1])
