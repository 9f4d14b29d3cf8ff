# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A user's mesh against what a case wants of it: names, which parts are held as a whole, sizes."""

from __future__ import annotations

import numpy as np
import pytest

import bodies
from msolve.io.meshes import held_facets, missing_tags, size_warnings, with_outer
from msolve.loads import Affine, BodyForce, BoundaryLoads, Held, OnOutline, Shift, Traction
from msolve.regions import Ball, Regions

PLATE = bodies.plate(40.0, 30.0, 8, 6)
NOWHERE = Shift((0.0, 0.0, 0.0))
WHOLE, SLIDING = (True, True, True), (False, True, True)


def test_a_mesh_without_outer_gets_its_whole_boundary():
    mesh = with_outer(PLATE)
    assert len(mesh.facet_tags["outer"]) == 2 * (8 + 6)
    outer = mesh.points[mesh.node_tags["outer"]]
    assert len(outer) == 2 * (8 + 6)
    assert np.maximum(np.abs(outer[:, 0]) / 20, np.abs(outer[:, 1]) / 15) == pytest.approx(1)
    assert with_outer(mesh) is mesh


def test_names_that_the_mesh_lacks_are_told_with_those_it_has():
    loads = BoundaryLoads(
        held=(Held("lft", WHOLE, NOWHERE), Held("corner", WHOLE, NOWHERE)),
        traction=(Traction("corner", (0, 0, 1)),),
        body_force=(BodyForce("grain", (0, 0, 1)), BodyForce(None, (0, 0, 1))),
    )
    problems = missing_tags(PLATE, loads)
    assert len(problems) == 3
    assert problems[0].startswith("load.displacement: on = lft: the mesh has no physical group of")
    assert "(found: bottom, corner, left, right, top)" in problems[0]
    # Points carry displacements, but no tractions.
    assert problems[1].startswith("load.traction: on = corner")
    assert problems[2].endswith("(found: upper half)")


def test_facets_know_the_last_entry_that_holds_them_as_a_whole():
    loads = BoundaryLoads(
        held=(
            Held("left", WHOLE, NOWHERE),
            Held("top", SLIDING, NOWHERE),
            Held("left", WHOLE, Affine(np.eye(3))),
            Held("corner", WHOLE, NOWHERE),
        )
    )
    which = held_facets(PLATE, loads)
    middle = PLATE.outline().points[PLATE.outline().facets].mean(axis=1)
    assert np.all(which[middle[:, 0] < -19.9] == 2)
    assert np.all(which[middle[:, 0] > -19.9] == -1)


def test_the_field_of_an_outline_is_that_of_its_nearest_facet():
    outline = PLATE.outline()
    middle = outline.points[outline.facets].mean(axis=1)
    stretch = Affine(np.diag([1.0, 1.1, 1.0]))
    field = OnOutline(
        outline, (Shift((1.0, 2.0, 3.0)), stretch), (middle[:, 0] > -19.9).astype(int)
    )
    X = np.array([[-25.0, 0.0, 1.0], [25.0, 4.0, 1.0], [0.0, 18.0, 0.0]])
    u = field.displacement(X, 0.5)
    assert u == pytest.approx(np.array([[0.5, 1.0, 1.5], [0, 0.2, 0], [0, 0.9, 0]]))
    H = field.gradient(X, 0.5)
    assert H[:, 1, 1] == pytest.approx([0, 0.05, 0.05])


@pytest.mark.parametrize(
    ("cells", "wording"),
    [
        (4, "more than the blending zone is wide"),
        (16, None),
        (80, "shorter than half the distance of atoms"),
    ],
)
def test_unusual_sizes_around_the_cores_are_told(cells, wording):
    mesh = bodies.plate(40.0, 40.0, cells, cells)
    told = size_warnings(mesh, Regions((Ball((0.0, 0.0, 0.0), 8.0),), 5.0), 2.7)
    assert len(told) == (wording is not None)
    assert wording is None or wording in told[0]
