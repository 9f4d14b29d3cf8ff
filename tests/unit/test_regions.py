# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Regions: signed distances of shapes, the blending function, whether all fits the domain."""

import numpy as np
import pytest

from msolve.regions import Ball, Box, Capsule, Grown, Outline, Polygon, Regions, Union

CYLINDER = Ball((1.0, -2.0, 0.0), 5.0)
BALL = Ball((1.0, -2.0, 0.5), 5.0, dimension=3)
BOX = Box((-3.0, -2.0, -np.inf), (4.0, 1.0, np.inf))
BLOCK = Box((-3.0, -2.0, -1.0), (4.0, 1.0, 2.0))
CAPSULE = Capsule((-3.0, 1.0, 0.0), (2.0, -4.0, 0.0), 2.0)
SAUSAGE = Capsule((-3.0, 1.0, -2.0), (2.0, -4.0, 3.0), 2.0, dimension=3)
ARROW = Polygon(((-6.0, -3.0), (5.0, 0.0), (-6.0, 4.0), (-2.0, 0.5)))  # with a notch
SQUARE_RING = Outline(
    np.array([[-6, -6], [6, -6], [6, 6], [-6, 6], [-2, -1], [3, -1], [3, 2], [-2, 2.0]]),
    np.array([[0, 1], [1, 2], [2, 3], [3, 0], [5, 4], [6, 5], [7, 6], [4, 7]]),
)
TETRAHEDRON = Outline(
    np.array([[-5, -4, -3], [6, -3, -4], [0, 6, -3], [1, 0, 7.0]]),
    np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]),
)
SHAPES = {
    "cylinder": CYLINDER,
    "ball": BALL,
    "box": BOX,
    "block": BLOCK,
    "capsule": CAPSULE,
    "sausage": SAUSAGE,
    "notched polygon": ARROW,
    "square with a hole": SQUARE_RING,
    "tetrahedron": TETRAHEDRON,
    "grown block": Grown(BLOCK, 1.5),
    "union": Union((CYLINDER, BOX)),
}
IN_SPACE = ("ball", "block", "sausage", "tetrahedron", "grown block")


@pytest.fixture
def X():
    return np.random.default_rng(3).uniform(-8, 8, (8000, 3))


@pytest.mark.parametrize("shape", list(SHAPES.values())[:-1], ids=list(SHAPES)[:-1])
def test_distance_is_signed_and_has_slope_one(shape, X):
    step = 1e-6
    slope = np.stack(
        [
            (shape.distance(X + step * e) - shape.distance(X - step * e)) / (2 * step)
            for e in np.eye(3)
        ],
        axis=1,
    )
    smooth = np.abs(np.linalg.norm(slope, axis=1) - 1) < 1e-6
    assert smooth.mean() > 0.98
    distance = shape.distance(X)
    assert distance.min() < -0.5 < 0.5 < distance.max()
    # From outside, walking the distance down the slope ends on the surface.
    out = smooth & (distance > 0)
    assert np.abs(shape.distance(X[out] - distance[out, None] * slope[out])).max() < 1e-4


def test_the_front_does_not_matter_in_quasi_two_dimensions(X):
    moved = X + np.array([0, 0, 7.0])
    for name, shape in SHAPES.items():
        same = np.array_equal(shape.distance(X), shape.distance(moved))
        assert same == (name not in IN_SPACE), name


@pytest.mark.parametrize("name", SHAPES)
def test_extent_is_the_furthest_point(name, X):
    shape, counted = SHAPES[name], X.copy()
    if name not in IN_SPACE:
        counted[:, 2] = 0
    furthest = np.linalg.norm(counted[shape.distance(X) <= 0], axis=1).max()
    assert furthest <= shape.extent() + 1e-12
    assert furthest > 0.75 * shape.extent()


def test_a_polygon_and_its_outline_are_the_same_shape(X):
    corners = np.array(ARROW.corners)
    around = np.column_stack([np.arange(4), (np.arange(4) + 1) % 4])
    outline = Outline(corners, around)
    assert outline.distance(X) == pytest.approx(ARROW.distance(X), abs=1e-12)
    reversed_corners = Polygon(tuple(ARROW.corners[::-1]))
    assert reversed_corners.distance(X) == pytest.approx(ARROW.distance(X), abs=1e-12)


def test_a_finely_divided_boundary_gives_the_same_distance(X):
    fine = SQUARE_RING.points[SQUARE_RING.facets]
    share = np.arange(60) / 60
    points = np.concatenate([a + share[:, None] * (b - a) for a, b in fine])
    following = np.concatenate(
        [60 * np.array([1, 2, 3, 0])[k] + np.zeros(1, int) for k in range(4)]
    )
    facets = np.column_stack([np.arange(480), np.arange(480) + 1])
    facets[59:240:60, 1] = following
    # The edges of the hole run 5-4, 6-5, 7-6, 4-7 and follow each other backwards.
    for k in range(4):
        facets[60 * (4 + k) + 59, 1] = 60 * (4 + (k - 1) % 4)
    outline = Outline(points, facets)
    assert outline.distance(X) == pytest.approx(SQUARE_RING.distance(X), abs=1e-9)


def test_the_surface_of_a_box_of_triangles_is_that_of_the_box(X):
    from scipy.spatial import ConvexHull

    corners = np.array([[x, y, z] for x in (-3, 4) for y in (-2, 1) for z in (-1, 2.0)])
    hull = ConvexHull(corners)
    faces = hull.simplices.copy()
    normal = np.cross(
        corners[faces[:, 1]] - corners[faces[:, 0]], corners[faces[:, 2]] - corners[faces[:, 0]]
    )
    inward = np.sum(normal * hull.equations[:, :3], axis=1) < 0
    faces[inward] = faces[inward, ::-1]
    outline = Outline(corners, faces)
    assert outline.distance(X) == pytest.approx(BLOCK.distance(X), abs=1e-12)
    on_it = outline.surface(0.5)
    assert np.abs(BLOCK.distance(on_it)).max() < 1e-12
    assert len(on_it) > 500


@pytest.mark.parametrize(
    "corners",
    [
        ((0, 0), (1, 0)),
        ((0, 0), (1, 0), (2, 0)),
        ((0, 0), (2, 2), (2, 0), (0, 2)),
        ((0, 0), (4, 0), (4, 2), (2, 0), (0, 2)),
    ],
    ids=["two", "line", "crossing", "touching"],
)
def test_polygons_that_enclose_nothing_or_cross_themselves_are_refused(corners):
    with pytest.raises(ValueError, match="polygon"):
        Polygon(corners)


def test_a_union_is_inside_wherever_a_part_is(X):
    inside = (CYLINDER.distance(X) <= 0) | (BOX.distance(X) <= 0)
    assert np.array_equal(Union((CYLINDER, BOX)).distance(X) <= 0, inside)


def test_beta_is_zero_in_the_cores_one_beyond_and_smooth_between():
    regions = Regions((Ball((0.0, 0, 0), 4.0), Ball((30.0, 0, 0), 2.0)), blend=6.0)
    x1 = np.linspace(0, 15, 3001)
    beta = regions.beta(np.column_stack([x1, 0 * x1, 0 * x1]))
    assert np.all(beta[x1 <= 4] == 0)
    assert np.all(beta[x1 >= 10] == 1)
    assert np.all(np.diff(beta) >= 0)
    assert np.abs(np.diff(beta)).max() < 1.01e-3 + 15 / 3000 * 1.875 / 6
    assert np.interp(7.0, x1, beta) == pytest.approx(0.5)
    between = beta[(beta > 0) & (beta < 1)]
    assert between.min() >= 1e-3
    assert between.max() <= 1 - 1e-3
    assert regions.beta(np.array([[31.0, 0, 0]])) == 0


def test_a_blend_of_no_width_is_sharp():
    regions = Regions((CYLINDER,), blend=0.0)
    X = np.array([[5.9, -2, 0], [6.1, -2, 0]])
    assert regions.beta(X).tolist() == [0, 1]


def test_regions_that_do_not_fit_name_the_radius_that_would_do():
    regions = Regions((Ball((0.0, 0, 0), 18.0), Ball((30.0, 0, 0), 10.0)), blend=6.0)
    assert regions.check_fits(Ball((0.0, 0, 0), 60.0), 12.0) == []
    problems = regions.check_fits(Ball((0.0, 0, 0), 40.0), 12.0)
    assert len(problems) == 1
    assert problems[0].startswith("domain.radius = 40 angstrom: core 1")
    assert "58.0 angstrom" in problems[0]


def test_regions_too_near_the_outline_of_a_mesh_name_the_place_and_the_distance():
    near = Regions((Ball((-4.0, 0, 0), 0.5),), blend=0.5)
    assert near.check_fits(SQUARE_RING, 0.9) == []
    problems = near.check_fits(SQUARE_RING, 1.5)
    assert len(problems) == 1
    assert "core 0 comes within 1.5 angstrom" in problems[0]
    assert "need 2.0 angstrom" in problems[0]
    # A core over the hole has a border on both sides of its own.
    across = Regions((Ball((0.0, 0, 0), 4.0),), blend=0.5)
    assert "within 0.0 angstrom" in across.check_fits(SQUARE_RING, 0.9)[0]


def test_regions_without_a_core_or_with_a_negative_blend_are_refused():
    with pytest.raises(ValueError, match="at least one core"):
        Regions((), 1.0)
    with pytest.raises(ValueError, match="not negative"):
        Regions((CYLINDER,), -1.0)
