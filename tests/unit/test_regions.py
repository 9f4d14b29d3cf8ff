# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Regions: signed distances of shapes, the blending function, whether all fits the domain."""

import numpy as np
import pytest

from msolve.regions import Ball, Box, Regions, Union

CYLINDER = Ball((1.0, -2.0, 0.0), 5.0)
BALL = Ball((1.0, -2.0, 0.5), 5.0, dimension=3)
BOX = Box((-3.0, -2.0, -np.inf), (4.0, 1.0, np.inf))
BLOCK = Box((-3.0, -2.0, -1.0), (4.0, 1.0, 2.0))
SHAPES = [CYLINDER, BALL, BOX, BLOCK, Union((CYLINDER, BOX))]


@pytest.fixture
def X():
    return np.random.default_rng(3).uniform(-8, 8, (8000, 3))


@pytest.mark.parametrize("shape", SHAPES[:4], ids=["cylinder", "ball", "box", "block"])
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
    assert smooth.mean() > 0.99
    distance = shape.distance(X)
    assert distance.min() < -0.5 < 0.5 < distance.max()
    # From outside, walking the distance down the slope ends on the surface.
    out = smooth & (distance > 0)
    assert np.abs(shape.distance(X[out] - distance[out, None] * slope[out])).max() < 1e-4


def test_the_front_does_not_matter_in_quasi_two_dimensions(X):
    moved = X + np.array([0, 0, 7.0])
    assert np.array_equal(CYLINDER.distance(X), CYLINDER.distance(moved))
    assert np.array_equal(BOX.distance(X), BOX.distance(moved))
    assert not np.array_equal(BALL.distance(X), BALL.distance(moved))


@pytest.mark.parametrize("shape", SHAPES, ids=["cylinder", "ball", "box", "block", "union"])
def test_extent_is_the_furthest_point(shape, X):
    counted = X.copy()
    if shape in (CYLINDER, BOX, SHAPES[4]):
        counted[:, 2] = 0
    furthest = np.linalg.norm(counted[shape.distance(X) <= 0], axis=1).max()
    assert furthest <= shape.extent() + 1e-12
    assert furthest > 0.75 * shape.extent()


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
    assert regions.check_fits(60.0, 12.0) == []
    problems = regions.check_fits(40.0, 12.0)
    assert len(problems) == 1
    assert problems[0].startswith("domain.radius = 40 angstrom: core 1")
    assert "58.0 angstrom" in problems[0]


def test_regions_without_a_core_or_with_a_negative_blend_are_refused():
    with pytest.raises(ValueError, match="at least one core"):
        Regions((), 1.0)
    with pytest.raises(ValueError, match="not negative"):
        Regions((CYLINDER,), -1.0)
