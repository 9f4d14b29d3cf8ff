# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The linear potential: its formula by plain sums, its derivatives, its fit, its file; the model that is shipped."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from scipy.special import eval_chebyt, eval_legendre

from msolve.atomistic import cluster_energy, find_edges
from msolve.config import training_from_dict
from msolve.crystal import Crystal
from msolve.errors import CaseError, UnsupportedError
from msolve.info import about
from msolve.potentials import ClosedForm, linear, load_potential
from msolve.potentials.bulk import BulkCell
from msolve.potentials.edges import Edges
from msolve.potentials.engine import edge_products, edge_slopes
from msolve.potentials.exchange import NoExchange
from msolve.potentials.linear import LinearModel
from msolve.potentials.linear_basis import Basis
from msolve.potentials.linear_file import linear_text
from msolve.potentials.linear_fit import FitCell, design, fit_linear
from msolve.potentials.protocol import EdgeForm
from msolve.testing import check_potential
from msolve.train import train_potential

POTENTIALS = Path(__file__).parents[2] / "solver_configs" / "potentials"
SHIPPED = POTENTIALS / "w_linear" / "w_linear.linear"
REPORT = json.loads((POTENTIALS / "w_linear" / "report.json").read_text())
SAMPLES = {sample["kind"]: sample for sample in REPORT["samples"]}

BASES = {
    "usual": Basis(5.0, 1.8, 20, (4, 3, 2), (3, 2, 2)),
    "pairs only": Basis(4.2, 1.5, 20, (), ()),
    "one density": Basis(4.2, 1.5, 20, (1,), ()),
    "angles only": Basis(4.2, 1.5, 20, (), (0, 2)),
    "products only": Basis(4.2, 1.5, 20, (2, 0, 0, 2), ()),
}


def model_of(name, seed=0):
    basis = BASES[name]
    coefficients = np.random.default_rng(seed).normal(size=basis.n_features)
    return LinearModel(basis, 74, -2.0, coefficients)


def block(shape, rng, rattle=0.08):
    corner = np.stack(np.meshgrid(*map(range, shape), indexing="ij"), -1).reshape(-1, 3)
    x = 3.16 * np.concatenate([corner, corner + 0.5])
    return x + rattle * rng.normal(size=x.shape), 3.16 * np.diag(shape).astype(float)


def edges_of(x, cell, periodic, cutoff):
    pair, shift = find_edges(x, cell, periodic, cutoff, np.ones(len(x), dtype=bool))
    return x[pair[1]] - x[pair[0]] + shift, pair


def by_plain_sums(model, vec):
    """Energy of one site from its formula: Chebyshev's and Legendre's polynomials, splines, double sums."""
    basis, c = model.basis, iter(model.coefficients)
    r = np.linalg.norm(vec, axis=1)
    x = (r / basis.cutoff) ** 2
    steps = np.arange(-4, basis.pairs + 1)
    knots = (basis.start + steps * basis.spacing) ** 2 / basis.cutoff**2
    energy = model.offset
    for k in range(basis.pairs):
        one = BSpline.basis_element(knots[k : k + 6], extrapolate=False)
        energy += next(c) * np.nansum(one(x))
    g = [(1 - x) ** 4 * eval_chebyt(n, 2 * x - 1) for n in range(basis.n_radial)]
    for chosen in basis.scalar_features:
        energy += next(c) * np.prod([g[n].sum() for n in chosen])
    cosine = np.clip(vec @ vec.T / np.outer(r, r), -1, 1)
    for degree, a, b in basis.angular_features:
        p = (np.outer(r, r) / basis.cutoff**2) ** degree * eval_legendre(degree, cosine)
        energy += next(c) * (g[a] @ p @ g[b])
    return energy


@pytest.mark.parametrize("name", BASES)
def test_site_energies_follow_the_formula(name):
    model = model_of(name)
    x, cell = block((2, 1, 1), np.random.default_rng(1))
    vec, pair = edges_of(x, cell, [True, True, False], model.cutoff)
    found = model.site_energy(
        torch.as_tensor(vec), torch.as_tensor(pair), torch.full((4,), 74), 4, NoExchange()
    )
    expected = [by_plain_sums(model, vec[pair[0] == i]) for i in range(4)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("name", BASES)
def test_laws(name):
    rng = np.random.default_rng(2)
    x, cell = block((3, 2, 2), rng)
    check_potential(model_of(name), x, np.full(len(x), 74), cell, [True, False, True], rng)


@pytest.mark.parametrize(
    ("shape", "periodic"), [((2, 2, 1), (1, 1, 1)), ((2, 2, 3), (1, 1, 0)), ((3, 3, 2), (0, 0, 0))]
)
def test_the_shipped_model_keeps_the_laws_in_bulk_slab_and_cluster(shape, periodic):
    rng = np.random.default_rng(3)
    x, cell = block(shape, rng)
    model = load_potential(SHIPPED, "linear")
    check_potential(model, x, np.full(len(x), 74), cell, np.array(periodic, dtype=bool), rng)


@pytest.mark.parametrize(("chunk", "kept"), [(40, 0), (40, 100_000), (100_000, 100_000)])
@pytest.mark.parametrize("name", ["usual", "pairs only"])
def test_closed_forms_are_the_derivatives_by_autograd(name, chunk, kept, monkeypatch):
    monkeypatch.setitem(linear.CHUNK, "cpu", chunk)
    monkeypatch.setattr(linear, "KEPT", kept)
    model = model_of(name)
    assert isinstance(model, ClosedForm) and isinstance(model, EdgeForm)
    rng = np.random.default_rng(4)
    x, cell = block((2, 2, 1), rng)
    vec, pair = (torch.as_tensor(v) for v in edges_of(x, cell, [True, True, False], model.cutoff))
    # The last atom is without edges.
    numbers, n = torch.full((9,), 74), 9
    leaf = vec.clone().requires_grad_()
    sites = model.site_energy(leaf, pair, numbers, n, NoExchange())
    (slopes,) = torch.autograd.grad(sites.sum(), leaf, create_graph=True)
    d = torch.as_tensor(rng.normal(size=vec.shape))
    (products,) = torch.autograd.grad(slopes, leaf, grad_outputs=d)
    energy, closed = edge_slopes(model, vec, pair, numbers, n)
    assert energy[-1] == model.offset
    torch.testing.assert_close(energy, sites.detach(), rtol=1e-13, atol=0)
    torch.testing.assert_close(
        closed, slopes.detach(), rtol=0, atol=1e-13 * float(slopes.abs().max())
    )
    found = edge_products(model, vec, pair, numbers, n)(d)
    torch.testing.assert_close(found, products, rtol=0, atol=1e-13 * float(products.abs().max()))


@pytest.mark.parametrize("kept", [0, 100_000])
def test_a_linearisation_belongs_to_the_state_it_was_made_at(kept, monkeypatch):
    monkeypatch.setattr(linear, "KEPT", kept)
    model, rng = model_of("usual"), np.random.default_rng(10)
    x, cell = block((2, 2, 1), rng)
    pair, shift = find_edges(x, cell, [True] * 3, model.cutoff, np.ones(len(x), dtype=bool))
    edges = Edges.from_numpy(pair, shift, np.full(len(x), 74), len(x))
    y, w = torch.as_tensor(x), torch.as_tensor(rng.random(len(x)))
    d = torch.as_tensor(rng.normal(size=x.shape))
    product = model.linearise(y, edges, w)
    before = product(d)
    steps = [model.weighted_energy(y + s * 1e-5 * d, edges, w)[1] for s in (1, -1)]
    torch.testing.assert_close(before, (steps[0] - steps[1]) / 2e-5, rtol=1e-6, atol=1e-5)
    y += 0.1
    y[0] += 0.2
    w *= 2
    torch.testing.assert_close(product(d), before, rtol=0, atol=0)


def test_three_derivatives_are_continuous_at_knots_and_cutoff():
    """Third differences along a line of a pair, over spacings and the cutoff, never jump."""
    model = model_of("usual")
    r = np.linspace(2.0, 5.2, 20_001)
    vec = torch.zeros(2 * len(r), 3, dtype=torch.float64)
    vec[::2, 0] = torch.as_tensor(r)
    vec[1::2, 1] = 2.5
    centre = torch.arange(len(r)).repeat_interleave(2)
    pair = torch.stack([centre, centre])
    numbers = torch.full((len(r),), 74)
    d = torch.zeros_like(vec)
    d[::2, 0] = 1.0
    curvature = edge_products(model, vec, pair, numbers, len(r))(d)[::2, 0].numpy()
    third = np.diff(curvature) / np.diff(r)
    assert np.abs(np.diff(third)).max() < 0.02 * np.abs(third).max()
    assert np.all(curvature[r > 5.0] == 0)
    assert np.abs(third[r[1:] > 4.999]).max() < 0.002 * np.abs(third).max()


def labelled_cells(model, count, rng, weights=(1.0, 1.0, 1.0), rattle=0.35):
    """Rattled cells of several densities with what a linear model says of them."""
    cells = []
    for k in range(count):
        x, cell = block((2, 2, 1) if k % 3 else (2, 1, 1), rng, rattle)
        if k % 4 == 0:
            cell[2, 2] += 6.0
        scale = rng.uniform(0.85, 1.15)
        x, cell = scale * x, scale * cell
        vec, pair = edges_of(x, cell, [True] * 3, model.cutoff)
        found = design(model.basis, vec, pair, len(x))
        c, volume = model.coefficients, abs(np.linalg.det(cell))
        energy = found.energy @ c + len(x) * model.offset
        stress = found.virial @ c / volume
        cells.append(FitCell(vec, pair, volume, energy, -found.gradient @ c, stress, weights))
    return cells


def test_features_of_a_cell_are_what_the_model_sums():
    model, rng = model_of("usual"), np.random.default_rng(5)
    (cell,) = labelled_cells(model, 1, rng)
    energy, slopes = edge_slopes(
        model, torch.as_tensor(cell.vec), torch.as_tensor(cell.pair), torch.full((4,), 74), 4
    )
    assert cell.energy == pytest.approx(float(energy.sum()), rel=1e-12)
    forces = np.zeros((4, 3))
    np.add.at(forces, cell.pair[0], slopes.numpy())
    np.add.at(forces, cell.pair[1], -slopes.numpy())
    np.testing.assert_allclose(cell.forces, forces, atol=1e-11 * np.abs(forces).max())
    stress = slopes.numpy().T @ cell.vec / cell.volume
    np.testing.assert_allclose(cell.stress, stress, atol=1e-11 * np.abs(stress).max())


@pytest.mark.parametrize("offset", [None, -2.0])
def test_a_fit_recovers_the_model_that_labelled_the_cells(offset):
    rng = np.random.default_rng(6)
    model = LinearModel(BASES["usual"], 74, -2.0, rng.normal(size=BASES["usual"].n_features))
    cells = labelled_cells(model, 40, rng, weights=(10.0, 1.0, 3.0))
    found = fit_linear(model.basis, 74, cells, ridge=1e-14, offset=offset)
    assert found.offset == pytest.approx(-2.0, abs=1e-5)
    for cell in labelled_cells(model, 5, rng):
        own = design(model.basis, cell.vec, cell.pair, len(cell.forces))
        mine = -own.gradient @ found.coefficients
        np.testing.assert_allclose(mine, cell.forces, atol=1e-5 * np.abs(cell.forces).max())


def test_where_no_pair_is_so_short_the_pair_function_goes_on_straight():
    basis = Basis(4.2, 1.0, 32, (), ())
    truth = LinearModel(basis, 74, 0.0, 30.0 * np.exp(-0.2 * np.arange(32)))
    cells = labelled_cells(truth, 30, np.random.default_rng(7), rattle=0.05)
    shortest = min(float(np.linalg.norm(cell.vec, axis=1).min()) for cell in cells)
    found = fit_linear(basis, 74, cells, ridge=1e-6, offset=0.0)
    # Knots below the shortest pair, a spline's width away from it.
    below = int((shortest - basis.start) / basis.spacing) - 4
    assert below > 4
    bend = np.abs(np.diff(found.coefficients[:below], 2)).max()
    assert bend < 1e-6 * np.abs(np.diff(found.coefficients[:below])).min()
    assert (np.diff(found.coefficients[:below]) < 0).all()


def test_bad_labels_are_named():
    model, rng = model_of("usual"), np.random.default_rng(8)
    cells = labelled_cells(model, 2, rng)
    with pytest.raises(CaseError, match="no labelled cells with weight"):
        fit_linear(model.basis, 74, labelled_cells(model, 2, rng, weights=(0, 0, 0)), 1e-6)
    cells[0].forces[0, 0] = np.nan
    with pytest.raises(CaseError, match="not finite"):
        fit_linear(model.basis, 74, cells, 1e-6)
    with pytest.raises(CaseError, match=r"determine \d+ of \d+ coefficients only"):
        fit_linear(model.basis, 74, cells[1:], 1e-300)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "w.linear"
    path.write_text(linear_text(model_of("usual")))
    return path


def test_a_file_holds_the_model_to_the_last_digit(file):
    model, again = model_of("usual"), load_potential(file, "linear")
    assert again.basis == model.basis and again.offset == model.offset
    np.testing.assert_array_equal(again.coefficients, model.coefficients)
    assert linear_text(again) == file.read_text()
    assert about(file).kind == "linear potential"


BROKEN = {
    "empty": (lambda text: "", "not valid JSON"),
    "truncated": (lambda text: text[: len(text) // 2], "not valid JSON"),
    "binary": (lambda text: "\x00\x01\x02", "not valid JSON"),
    "another JSON": (lambda text: "[1, 2]", "its format is not"),
    "another format": (lambda text: text.replace("msolve linear", "other"), "its format is not"),
    "a later version": (lambda text: text.replace('"version": 1', '"version": 2'), "version 2"),
    "no element": (lambda text: text.replace('"W"', '"Xx"'), "element: should be"),
    "number as text": (lambda text: text.replace("5.0,", '"5.0",'), "cutoff: should be"),
    "cutoff of no length": (lambda text: text.replace("5.0,", "-5.0,"), "cutoff: should be"),
    "start beyond": (lambda text: text.replace('"start": 1.8', '"start": 6.0'), "start: 6"),
    "start too short": (lambda text: text.replace('"start": 1.8', '"start": 0.2'), "start: 0.2"),
    "half a density": (lambda text: text.replace("[4, 3, 2]", "[4, 3.5]"), "products: should be"),
    "huge": (lambda text: text.replace("[3, 2, 2]", "[1000000000]"), "angular: should be"),
    "too many": (lambda text: text.replace("[4, 3, 2]", "[900, 900]"), "coefficients: there are"),
    "not a number": (lambda text: text.replace("\n ]", ",\n  NaN\n ]"), "coefficients: should be"),
    "infinite": (lambda text: text.replace("\n ]", ",\n  1e999\n ]"), "coefficients: should be"),
    "one too many": (lambda text: text.replace("\n ]", ",\n  1.0\n ]"), "coefficients: there are"),
    "no offset": (lambda text: text.replace('"offset"', '"of"'), "offset: should be"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_files_are_input_errors(how, file):
    change, message = BROKEN[how]
    text = file.read_text()
    assert change(text) != text
    file.write_text(change(text))
    with pytest.raises(CaseError, match=message) as caught:
        load_potential(file, "linear")
    assert caught.value.source == str(file)


def test_files_that_cannot_be_read_are_input_errors(tmp_path):
    with pytest.raises(CaseError, match="cannot be read"):
        load_potential(tmp_path / "missing.linear", "linear")
    with pytest.raises(CaseError, match="cannot be read"):
        load_potential(tmp_path, "linear")


def test_other_elements_are_refused_by_name():
    crystal = Crystal.bcc(3.0, 23).oriented([1, 0, 0], [0, 1, 0], [0, 0, 1])
    with pytest.raises(UnsupportedError, match=r"atomic numbers \[74\].*holds \[23\]"):
        BulkCell(load_potential(SHIPPED, "linear"), crystal)


RECIPE = {
    "name": "tiny",
    "crystal": {"structure": "bcc", "element": "W"},
    "reference": {"kind": "eam", "file": str(POTENTIALS / "w_eam4.eam.fs")},
    "data": {
        "test": 0.2,
        "validation": 0.0,
        "cells": [
            {"kind": "strained", "count": 20, "strain": "2 %"},
            {"kind": "rattled", "count": 10},
        ],
    },
    "model": {
        "kind": "linear",
        "cutoff": "5 angstrom",
        "pairs": 40,
        "products": [3],
        "angular": [2],
        "kind_weights": {"strained": 5.0},
    },
    "report": {"vacancy": 0, "phonons": 0},
}


def test_training_fits_and_reports(tmp_path):
    given = training_from_dict({**RECIPE, "output": {"directory": str(tmp_path)}})
    train_potential(given)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["parameters"] == 40 + 6 + 3
    assert report["properties"]["model"]["C11"] == pytest.approx(523, rel=0.1)
    again = load_potential(tmp_path / "tiny.linear", "linear")
    assert report["sha256"] == hashlib.sha256((tmp_path / "tiny.linear").read_bytes()).hexdigest()
    assert again.offset != 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": "6 angstrom"}, r"model.start = 6: must lie between"),
        ({"pairs": 5}, r"model.start = 1: splines 0.8 angstrom apart"),
    ],
)
def test_settings_that_cannot_be_are_named(change, message, tmp_path):
    given = training_from_dict(
        {
            **RECIPE,
            "model": {**RECIPE["model"], **change},
            "output": {"directory": str(tmp_path)},
        }
    )
    with pytest.raises(CaseError, match=message):
        train_potential(given)


def test_the_report_is_about_the_shipped_file():
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() == REPORT["sha256"]
    assert SHIPPED.stat().st_size < 10_000


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_shipped_model_gives_the_reported_energy_and_forces(kind):
    sample = SAMPLES[kind]
    x = np.array(sample["positions"])
    model = load_potential(SHIPPED, "linear")
    energy, gradient = cluster_energy(model, x, np.full(len(x), 74), sample["cell"], [True] * 3)
    assert energy == pytest.approx(sample["model"]["energy"], rel=1e-11)
    np.testing.assert_allclose(-gradient, sample["model"]["forces"], atol=1e-9)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("a0", 0.001)]
    + [
        (name, 0.01)
        for name in ("C11", "C12", "C44", "gamma100", "gamma110", "E_vacancy", "K_G (110)[001]")
    ],
)
def test_reported_properties_are_near_the_truth(name, tolerance):
    model, truth = (REPORT["properties"][which][name] for which in ("model", "truth"))
    assert model == pytest.approx(truth, rel=tolerance)


def test_reported_errors_are_small():
    errors = REPORT["test_errors_rms"]["all"]
    assert errors["energy"] < 1.5 and errors["forces"] < 22.0
