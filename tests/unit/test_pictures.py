# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Pictures are made, hold more than one colour, and leave matplotlib as they found it."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread
from scipy.spatial import Delaunay

from msolve.io.pictures import (
    AtomsView,
    MeshView,
    Opening,
    picture_budget,
    picture_comparison,
    picture_convergence,
    picture_domain,
    picture_tip,
)
from msolve.io.pictures.canvas import balanced, rounded_up
from msolve.regions import Ball, Regions


@pytest.fixture(scope="module")
def views():
    side = np.arange(-20.0, 20.1, 4.0)
    points = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    cells = Delaunay(points).simplices.astype(np.int64)
    mesh = MeshView(points, cells, 0.01 * points, points[cells].mean(1)[:, 0])
    near = points[np.hypot(*points.T) < 12]
    region = np.clip((np.hypot(*near.T) / 5).astype(int), 0, 2)
    return mesh, AtomsView(np.c_[near, 0 * near[:, 0]], region, near[:, 1], 3.0)


def assert_picture(path):
    image = imread(path)
    assert image.shape[0] > 500 and image.shape[1] > 500
    assert len(np.unique((image[::7, ::7, :3] * 255).astype(int).reshape(-1, 3), axis=0)) > 20


def test_domain(views, tmp_path):
    mesh, atoms = views
    picture_domain(tmp_path / "sub" / "domain.png", mesh, atoms, label="σ [GPa]", title="1 K_G")
    assert_picture(tmp_path / "sub" / "domain.png")


@pytest.mark.parametrize("reference", [True, False])
def test_tip(views, tmp_path, reference):
    mesh, atoms = views
    x = np.linspace(-10, 10, 9)
    opening = Opening(x, np.maximum(-x, 0), np.maximum(-x, 0.1), -x if reference else None)
    picture_tip(
        tmp_path / "tip.png",
        mesh if reference else None,
        atoms,
        opening,
        half_width=10,
        label="σ [GPa]",
        title="Tip",
    )
    assert_picture(tmp_path / "tip.png")


def test_convergence_and_comparison(tmp_path):
    histories = {"minimise": [1.0, 0.1, 1e-3], "root": [1e-2, 1e-5], "nothing": []}
    picture_convergence(
        tmp_path / "c.png", histories, tolerance=1e-4, title="Convergence", apart={"full": [1, 0.1]}
    )
    assert_picture(tmp_path / "c.png")
    X = np.random.default_rng(0).uniform(-30, 30, (400, 3))
    picture_comparison(
        tmp_path / "e.png",
        X,
        1e-3 * np.exp(-np.hypot(X[:, 0], X[:, 1]) / 10),
        regions=Regions((Ball((0.0, 0.0, 0.0), 9.0),), 6.0),
        counted=np.hypot(X[:, 0], X[:, 1]) < 25,
        spacing=2.7,
        title="Error",
        summary="0.04 Å",
    )
    assert_picture(tmp_path / "e.png")


def test_an_error_of_zero_can_be_drawn(tmp_path):
    X = np.random.default_rng(0).uniform(-30, 30, (50, 3))
    picture_comparison(
        tmp_path / "e.png", X, np.zeros(50), regions=Regions((Ball((0.0, 0.0, 0.0), 9.0),), 0.0),
        counted=np.ones(50, dtype=bool), spacing=2.7,
        title="No error", summary="0",
    )  # fmt: skip
    assert (tmp_path / "e.png").is_file()


def test_matplotlib_is_left_alone(views, tmp_path):
    before = dict(mpl.rcParams)
    picture_convergence(tmp_path / "c.png", {"a": [1, 0.1]}, tolerance=0.1, title="x")
    assert dict(mpl.rcParams) == before


def test_colour_scales_are_symmetric_and_round():
    norm = balanced(np.array([-1.0, 2.0, 17.0]), share=1.0)
    assert (norm.vmin, norm.vmax) == (-20.0, 20.0)
    rounded = [rounded_up(x) for x in (0.0, 0.12, 9.1, 31.0)]
    assert rounded == pytest.approx([1.0, 0.15, 10.0, 40.0])


def test_the_budget_stacks_what_adds_up(tmp_path, monkeypatch):
    """Coupling and mesh share the height that belongs to both by their squares; the others stand on top."""
    drawn = []
    bar = mpl.axes.Axes.bar
    monkeypatch.setattr(
        mpl.axes.Axes,
        "bar",
        lambda self, *a, **k: drawn.append((a[1], a[3].copy())) or bar(self, *a, **k),
    )
    rows = [
        {
            "coupling": 3.0,
            "discretisation": 4.0,
            "algebraic": 0.5,
            "deferred": None,
            "truncation": 1.0,
        },
        {
            "coupling": 0.6,
            "discretisation": 0.8,
            "algebraic": 0.1,
            "deferred": 0.2,
            "truncation": 0.0,
        },
    ]
    panels = {"load": [("1", rows[0])], "round of the refinement": [("0", rows[0]), ("1", rows[1])]}
    picture_budget(tmp_path / "budget.png", panels, title="a budget")
    assert_picture(tmp_path / "budget.png")
    heights, below = zip(*drawn[3:], strict=True)
    assert np.allclose(np.sum(heights[:2], axis=0), [5.0, 1.0])
    assert np.allclose(heights[0], [9 / 5, 0.36]) and np.allclose(below[-1], [5.5, 1.1])
