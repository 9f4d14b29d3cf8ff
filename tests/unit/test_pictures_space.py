# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Bodies in space are cut where they should be, seen from where the page says, and never cost a run."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread
from scipy.spatial import Delaunay

from msolve.io.pictures import AtomsView, MeshView, RenderError, picture_comparison, space
from msolve.io.pictures.space import Cut, picture_domain, render
from msolve.regions import Ball, Regions

REGIONS = Regions((Ball((0.0, 0.0, 0.0), 6.0, 3),), 4.0)
CUT = Cut(2, 0.0)
PLACES = np.array([[0.0, 0.0, 0.0], [4.0, -3.0, -1.0]])
RED, GREEN, BLUE = (200, 60, 40), (40, 190, 60), (40, 60, 190)


@pytest.fixture(scope="module")
def ball():
    side = np.arange(-20.0, 20.1, 4.0)
    points = np.stack(np.meshgrid(side, side, side), -1).reshape(-1, 3)
    points = points[np.linalg.norm(points, axis=1) < 20.1]
    return points, Delaunay(points).simplices.astype(np.int64)


@pytest.fixture(scope="module")
def image(ball):
    """A red body, cut and with a bowl around a blue and a green atom; skips where nothing renders."""
    points, cells = ball
    _, up, towards = CUT.camera()
    scene = {
        "size": np.array([200, 200]), "centre": np.zeros((1, 3)), "towards": towards, "up": up,
        "half": np.array([25.0]), "edge": np.zeros(1), "radius": np.array(1.5),
        "shade": np.array(1.0), "positions": PLACES,
        "atom_rgb": np.array([BLUE, GREEN], dtype=np.uint8), "points": points, "cells": cells,
        "cell_rgb": np.tile(np.array(RED, dtype=np.uint8), (len(cells), 1)),
        "depth": CUT.depth(points) - 1e-3, "away": np.linalg.norm(points, axis=1) - 8.0,
    }  # fmt: skip
    try:
        return render(scene)[0].astype(int)
    except RenderError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_camera_is_a_rotation_that_looks_at_the_cut(axis):
    camera = Cut(axis, 0.0).camera()
    assert camera @ camera.T == pytest.approx(np.eye(3))
    assert np.linalg.det(camera) == pytest.approx(1)
    assert camera[2, axis] > 0.7
    assert all(camera[row, k] > 0.7 for row, k in enumerate(Cut(axis, 0.0).plane))


def test_a_cut_passes_through_defects_and_opens_flat_holes():
    none, x3 = np.zeros((0, 3)), np.eye(3)[2:]
    assert Cut.through(np.array([[1.0, 2, 3]]), none) == Cut(2, 3.0)
    assert Cut.through(np.array([[1.0, 2, 3], [1, 5, 6]]), none) == Cut(0, 1.0)
    assert Cut.through(np.array([[1.0, 2, 3]]), 2 * x3).axis != 2
    assert Cut.through(np.array([[1.0, 2, 3]]), np.eye(3)[1:2]) == Cut(2, 3.0)


def test_atoms_are_seen_where_the_page_has_them(image):
    red, green, blue = np.moveaxis(image, -1, 0)
    for place, shown in zip(PLACES, (blue > red + 30, green > red + 30), strict=True):
        shown &= image.min(axis=-1) < 150
        row, column = np.argwhere(shown).mean(0)
        seen = 0.25 * np.array([column - 99.5, 99.5 - row])
        assert seen == pytest.approx(CUT.camera()[:2] @ place, abs=0.3)
        # As large as it should be: the area of a disc of radius 1.5.
        assert np.count_nonzero(shown) * 0.25**2 == pytest.approx(np.pi * 1.5**2, rel=0.15)


def test_a_cut_shows_its_colours_as_they_are_and_the_bowl_around_the_atoms(image):
    def pixel(x):
        right, up = CUT.camera()[:2] @ np.array(x)
        return image[round(99.5 - up / 0.25), round(99.5 + right / 0.25)]

    for x in ((13.0, 0, 0), (-13.0, 3, 0), (0, -13.0, 0)):
        assert pixel(x) == pytest.approx(RED, abs=1)
    # The wall of the bowl is lit and so differs from the cut.
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    wall = [pixel((7.0 * np.cos(a), 7.0 * np.sin(a), 0)) for a in turn]
    assert np.mean(np.abs(np.array(wall) - RED).max(axis=1) > 3) > 0.8


def test_pictures(image, ball, tmp_path, monkeypatch):
    monkeypatch.setattr(space, "PIXELS_PER_INCH", 50)
    points, cells = ball
    mesh = MeshView(points, cells, 0.01 * points, points[cells].mean(1)[:, 0])
    near = points[np.linalg.norm(points, axis=1) < 14]
    atoms = AtomsView(near, np.digitize(np.linalg.norm(near, axis=1), [6.0, 10.0]), near[:, 1], 3.5)
    picture_domain(
        tmp_path / "domain.png", mesh, atoms, reference=near, regions=REGIONS, cut=Cut(2, 0.0),
        label="σ [GPa]", title="Ball",
    )  # fmt: skip
    picture_comparison(
        tmp_path / "comparison.png", points, 1e-3 * np.exp(-np.linalg.norm(points, axis=1) / 5),
        regions=REGIONS, counted=np.ones(len(points), dtype=bool), spacing=4.0, title="Error",
        summary="0.04 Å", cut=Cut(0, 0.0),
    )  # fmt: skip
    for name in ("domain.png", "comparison.png"):
        drawn = imread(tmp_path / name)[::5, ::5, :3]
        assert len(np.unique((drawn * 255).astype(int).reshape(-1, 3), axis=0)) > 200


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise ImportError('no such thing')", "PyVista failed: ImportError: no such thing"),
        ("import os; os.abort()", "VTK crashed.*libegl1"),
    ],
)
def test_without_a_renderer_there_is_an_error_and_no_file(module, said, tmp_path, monkeypatch):
    (tmp_path / "pyvista.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    X = np.random.default_rng(0).uniform(-9, 9, (50, 3))
    with pytest.raises(RenderError, match=said):
        picture_comparison(
            tmp_path / "e.png", X, np.ones(50), regions=REGIONS, counted=np.ones(50, dtype=bool),
            spacing=3.0, title="", summary="", cut=Cut(2, 0.0),
        )  # fmt: skip
    assert not list(tmp_path.glob("*.png"))


def test_nothing_of_it_is_imported_before_it_is_drawn():
    asked = "import sys, msolve.io.pictures as p; print(p.__name__ + '.space' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
