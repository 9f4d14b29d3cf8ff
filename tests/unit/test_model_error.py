# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The potential's own error: differences between potentials, what follows from them, calibration, draws."""

import json
import re
from dataclasses import replace

from mpi4py import MPI

import numpy as np
import pytest
from ase.build import bulk

from bodies import EAM4, eam4, perfect, smooth
from msolve.assemble import full_atomistic
from msolve.atomistic import cluster_energy
from msolve.compare import Norms
from msolve.config import load_case, training_from_dict
from msolve.errors import CaseError
from msolve.info import about
from msolve.io.result import model_error_told
from msolve.potentials import load_potential
from msolve.potentials.linear import LinearModel
from msolve.potentials.linear_file import linear_text
from msolve.potentials.linear_fit import FitCell, design, weighted_rows, with_penalty
from msolve.potentials.pops import (
    Normal,
    Parametric,
    drawn_model,
    pops,
    read_draws,
    write_draws,
)
from msolve.quantities.functionals import displacement
from msolve.run import run_case
from msolve.solvers import Settings, minimise
from msolve.testing import write_tiny_mace
from msolve.train import train_potential
from msolve.train.draws import of_network
from msolve.train.labels import evaluate, label
from msolve.uncertainty import Beside, LabelledCell, Members, calibrate
from msolve.uncertainty.calibration import quantile, read_cells
from msolve.uncertainty.differences import with_model

FOLDER = EAM4.parent / "w_linear"
TIGHT = Settings(tolerance=1e-8, max_iterations=200)
WIDTHS = {"rim": 4.0, "tip_radius": 6.0}
RADIUS = 16.0


@pytest.fixture(scope="module")
def full():
    F = np.diag([1.01, 1.0, 1.0])
    body = perfect(smooth(), F, RADIUS, predictor=True, vacancy=True)
    return full_atomistic(MPI.COMM_SELF, body)


@pytest.fixture(scope="module")
def state(full):
    """Some state that is no equilibrium."""
    w = full.problem.kinematics.unknowns.vector()
    w.array[:] = np.random.default_rng(3).normal(0.0, 0.03, w.getLocalSize())
    return w


@pytest.fixture(scope="module")
def draws():
    return read_draws(FOLDER / "w_linear.draws", smooth())


def number(full):
    return {"u": displacement(full.body, full.X, (3.2, 0.0, 0.0), (1.0, 0.0, 0.0))}


def ask(full, members, w, near=None):
    beside = Beside(full, members, near, **WIDTHS)
    return beside, beside(w, 1.0, number(beside.whole))


def changed(model, change, scale=1.0):
    return drawn_model(model, scale * np.asarray(change), 0)


def change_from(model, one):
    return one.parameters - model.parameters


def change_of(one):
    return change_from(smooth(), one)


def test_a_reference_that_is_the_potential_finds_nothing(full, state):
    same = load_potential(FOLDER / "w_linear.linear", "linear")
    _, found = ask(full, Members("reference", (same,)), state)
    assert found.rms_force == found.elasticity_norm == found.total_h1 == found.tip_h1 == 0
    assert found.energy.change == found.quantities["u"].change == found.products == 0
    assert found.atoms == full.free.sum()


def test_differences_grow_with_the_change_of_the_coefficients(full, state, draws):
    small, large = (
        ask(full, Members("reference", (changed(smooth(), change_of(draws[0]), s),)), state)[1]
        for s in (0.01, -0.02)
    )
    assert small.rms_force > 1e-6
    for key in ("rms_force", "largest_force", "elasticity_norm", "total_h1", "tip_h1"):
        assert getattr(large, key) == pytest.approx(2 * getattr(small, key), rel=1e-8), key
    # The energy has a part of second order: what relaxes with one potential and with the other.
    first = [one.energy.change + 0.5 * one.energy_norm**2 for one in (small, large)]
    assert first[1] == pytest.approx(-2 * first[0], rel=1e-6)
    assert large.quantities["u"].change == pytest.approx(
        -2 * small.quantities["u"].change, rel=1e-6
    )


def test_the_solution_does_change_by_what_is_said(full, draws):
    beside = Beside(
        full, Members("reference", (changed(smooth(), change_of(draws[1]), 0.02),)), None, **WIDTHS
    )
    ours = full.problem.kinematics.unknowns.vector()
    assert minimise(full.problem, ours, 1.0, full.preconditioner, TIGHT).converged
    other = with_model(full, beside.members.potentials[0], full.evaluated)
    theirs = ours.copy()
    assert minimise(other, theirs, 1.0, full.preconditioner, TIGHT).converged
    found = beside(ours, 1.0, number(full))
    y, truth = full.problem.gather(ours, 1.0), full.problem.gather(theirs, 1.0)
    norms = Norms.of(full, **WIDTHS)
    assert found.kind == "hessian"
    assert found.total_h1 == pytest.approx(norms.total(truth - y), rel=0.02)
    assert found.tip_h1 == pytest.approx(norms.tip(truth - y), rel=0.02)
    u = number(full)["u"]
    assert found.quantities["u"].change == pytest.approx(u.value(truth) - u.value(y), rel=0.02)
    g = ours.duplicate()
    energy = other.evaluate(theirs, 1.0, g) - beside.perfect[1]
    energy -= full.problem.evaluate(ours, 1.0, g) - beside.perfect[0]
    assert found.energy.change == pytest.approx(energy, rel=0.02)


def test_roles_can_be_swapped_also_where_one_sees_further(full, state):
    own = smooth()
    basis = replace(own.basis, cutoff=6.2)
    longer = LinearModel(basis, 74, own.offset, own.coefficients, "longer")
    beside, found = ask(full, Members("reference", (longer,)), state)
    assert longer.reach > own.reach and len(beside.whole.X) > len(full.X)
    turned = full_atomistic(MPI.COMM_SELF, replace(full.body, model=longer))
    w = turned.problem.kinematics.unknowns.vector()
    w.array[:] = state.array
    _, back = ask(turned, Members("reference", (own,)), w)
    assert found.rms_force > 0.01
    assert back.rms_force == pytest.approx(found.rms_force, rel=1e-9)
    assert back.elasticity_norm == pytest.approx(found.elasticity_norm, rel=1e-9)


def test_a_committee_is_apart_around_its_mean(full, state, draws):
    one, other = smooth(), draws[0]
    _, alone = ask(full, Members("pops", (other,)), state)
    _, pair = ask(full, Members("committee", (one, other)), state)
    # Each is half the difference from the mean, and there is one degree of freedom.
    assert pair.rms_force == pytest.approx(alone.rms_force / np.sqrt(2), rel=1e-9)
    assert pair.elasticity_norm == pytest.approx(alone.elasticity_norm / np.sqrt(2), rel=1e-9)
    assert pair.total_h1 == pytest.approx(alone.total_h1 / np.sqrt(2), rel=1e-2)
    assert pair.energy.change is None
    assert pair.energy.size == pytest.approx(alone.energy.size / np.sqrt(2), rel=1e-9)
    size = alone.quantities["u"].size / np.sqrt(2)
    assert pair.quantities["u"].size == pytest.approx(size, rel=1e-2)


def test_principal_combinations_hold_what_all_members_do(full, state, draws):
    few = draws[:5]
    _, found = ask(full, Members("pops", few), state)
    each = [ask(full, Members("reference", (one,)), state)[1] for one in few]
    for key, rel in (("rms_force", 1e-9), ("elasticity_norm", 1e-9), ("total_h1", 0.02)):
        mean = np.sqrt(np.mean([getattr(one, key) ** 2 for one in each]))
        assert getattr(found, key) == pytest.approx(mean, rel=rel), key
    mean = np.sqrt(np.mean([one.quantities["u"].change ** 2 for one in each]))
    assert found.quantities["u"].size == pytest.approx(mean, rel=0.05)
    assert found.products <= sum(one.products for one in each)


def test_only_what_is_near_counts_where_that_is_asked(full, state):
    members = Members("reference", (eam4(),))
    _, every = ask(full, members, state)

    def within(radius):
        return lambda X: np.hypot(X[:, 0], X[:, 1]) < radius

    _, near = ask(full, members, state, within(6.0))
    _, far = ask(full, members, state, within(2 * RADIUS))
    assert near.atoms == (np.hypot(full.X[:, 0], full.X[:, 1]) < 6.0).sum() < every.atoms
    assert near.elasticity_norm < every.elasticity_norm
    assert far.rms_force == pytest.approx(every.rms_force, rel=1e-12)
    assert far.energy.change == pytest.approx(every.energy.change, rel=1e-9)


def test_the_quantile_is_that_of_split_conformal_prediction():
    values = np.arange(1.0, 100.0)
    assert quantile(values, 0.9) == 90.0
    assert quantile(values, 0.95) == 95.0
    assert quantile(values[:3], 0.95) == np.inf
    rng, covered = np.random.default_rng(0), []
    for _ in range(400):
        factor = quantile(np.abs(rng.normal(size=50)), 0.8)
        covered.append(np.mean(np.abs(rng.normal(size=200)) <= factor))
    assert np.mean(covered) == pytest.approx(0.8, abs=0.015)


def test_a_factor_undoes_the_scale_of_the_spread(draws):
    cells = read_cells(FOLDER / "w_linear.test.extxyz", frozenset({74}))[100:116]
    few = draws[:4]
    wide = tuple(changed(smooth(), change_of(one), 3.0) for one in few)
    one = calibrate(MPI.COMM_SELF, smooth(), Members("pops", few), cells, 0.8)
    other = calibrate(MPI.COMM_SELF, smooth(), Members("pops", wide), cells, 0.8)
    assert other.forces == pytest.approx(one.forces / 3, rel=1e-4)
    assert other.energy == pytest.approx(one.energy / 3, rel=1e-4)
    assert other.covered_forces == one.covered_forces and one.cells == 16
    assert 0.5 < one.covered_forces <= 1


def test_labels_by_the_model_itself_need_no_factor(draws):
    cells = read_cells(FOLDER / "w_linear.test.extxyz", frozenset({74}))[100:104]
    own = []
    for cell in cells:
        energy, gradient = cluster_energy(smooth(), *cell[:4])
        own.append(cell._replace(forces=-gradient, energy=energy))
    assert isinstance(own[0], LabelledCell)
    found = calibrate(MPI.COMM_SELF, smooth(), Members("pops", draws[:3]), own, 0.5)
    assert found.forces < 1e-6 and found.covered_forces == 1


def toy_cells(model, error, n=6):
    """Small clusters labelled by the model, with an error on the forces."""
    rng, cells = np.random.default_rng(5), []
    for _ in range(n):
        x = rng.uniform(0.0, 6.0, (7, 3))
        i, j = np.array([(a, b) for a in range(7) for b in range(7) if a != b]).T
        vec = x[j] - x[i]
        kept = np.linalg.norm(vec, axis=1) < model.cutoff
        vec, pair = vec[kept], np.stack([i[kept], j[kept]])
        found = design(model.basis, vec, pair, 7)
        cells.append(
            FitCell(
                vec=vec,
                pair=pair,
                volume=100.0,
                energy=float(found.energy @ model.coefficients) + 7 * model.offset,
                forces=-found.gradient @ model.coefficients + error * rng.normal(size=(7, 3)),
                stress=found.virial @ model.coefficients / 100.0,
                weights=(1.0, 1.0, 1.0),
            )
        )
    return cells


def normal(model, error):
    rows = [weighted_rows(model.basis, cell, model.offset) for cell in toy_cells(model, error)]
    every = np.concatenate(rows)
    matrix = every[:, : model.basis.n_features]
    penalty = with_penalty(matrix, len(matrix), 1e-3, model.basis)[len(matrix) :]
    return Normal(matrix, every[:, -1] - matrix @ model.coefficients, penalty)


def test_pointwise_changes_make_each_row_right_and_scale_with_the_errors():
    small, large = (normal(smooth(), error) for error in (0.1, 0.2))
    assert np.allclose(large.residuals, 2 * small.residuals, atol=1e-6)
    leverage = (small.rows**2).sum(axis=1)
    assert leverage.max() <= 1 + 1e-9
    k = int(np.argmax(leverage))
    change = small.rows[k] * small.residuals[k] / leverage[k]
    assert small.rows[k] @ change == pytest.approx(small.residuals[k], rel=1e-12)
    one, two = (pops(n, 5, np.random.default_rng(2)) for n in (small, large))
    assert one.shape == (5, len(smooth().coefficients))
    assert np.allclose(two, 2 * one, atol=1e-6 * np.abs(one).max())
    none = pops(normal(smooth(), 0.0), 3, np.random.default_rng(2))
    assert np.abs(none).max() < 1e-6 * np.abs(one).max()


def test_the_energy_is_linear_in_the_last_layers_of_mace(tmp_path):
    pytest.importorskip("mace", reason="mace-torch is not installed")
    write_tiny_mace(tmp_path / "tiny.model")
    model = load_potential(tmp_path / "tiny.model", "mace")
    atoms = bulk("W", cubic=True)
    atoms.rattle(0.1, seed=1)
    c, rng = len(model.parameters), np.random.default_rng(0)
    assert isinstance(model, Parametric) and c > 4

    def at(values):
        found = evaluate(model.with_parameters(values, "other"), atoms)
        return np.append(found.gradient, found.energy)

    before = evaluate(model, atoms)
    one, two = rng.normal(size=(2, c))
    assert np.allclose(at(model.parameters)[:-1], before.gradient.ravel(), atol=1e-12)
    assert np.allclose(at(one + 2 * two), at(one) + 2 * (at(two) - at(0 * two)), atol=1e-8)
    # Other weights are those of the copy alone.
    assert np.array_equal(evaluate(model, atoms).gradient, before.gradient)
    label(model, atoms)
    found = of_network(model, [atoms])
    assert np.abs(found.residuals).max() < 1e-8 and found.rows.shape == (1 + 3 * 2 + 9, c)


def test_draws_are_read_as_they_were_written(tmp_path):
    model = smooth()
    changes = np.random.default_rng(0).normal(size=(3, len(model.coefficients) + 1))
    file = tmp_path / "w.draws"
    file.write_text(write_draws(model, changes))
    found = read_draws(file, model)
    assert np.allclose([change_of(one) for one in found], changes, rtol=1e-8, atol=1e-8)
    content = json.loads(file.read_text())
    for key, value, said in (
        ("format", "x", "format"),
        ("version", 9, "version 9"),
        ("of", "0", "not of w_linear"),
        ("changes", [[1.0]], "lists of"),
        ("changes", "x", "lists of"),
    ):
        file.write_text(json.dumps(content | {key: value}))
        with pytest.raises(CaseError, match=said):
            read_draws(file, model)


def test_cells_without_labels_are_refused(tmp_path):
    file = tmp_path / "cells.extxyz"
    lines = (FOLDER / "w_linear.test.extxyz").read_text().splitlines()
    first = lines[: int(lines[0]) + 2]
    file.write_text("\n".join(first) + "\n")
    with pytest.raises(CaseError, match="one half calibrates"):
        read_cells(file, frozenset({74}))
    file.write_text("\n".join(first + first).replace("REF_forces", "forces") + "\n")
    with pytest.raises(CaseError, match="no column REF_forces"):
        read_cells(file, frozenset({74}))
    with pytest.raises(CaseError, match="atomic numbers"):
        read_cells(FOLDER / "w_linear.test.extxyz", frozenset({13}))


DECK = f"""
crystal: {{structure: bcc, element: W, orientation: {{x1: [1, 0, 0], x2: [0, 1, 0], x3: [0, 0, 1]}}}}
potential: {{kind: linear, file: {FOLDER}/w_linear.linear}}
domain: {{radius: 24 angstrom}}
regions: {{core_radius: 4 angstrom, blend: 4 angstrom}}
defect: {{kind: vacancy}}
load: {{kind: affine, strain: {{e11: 1 %}}}}
solver: {{stability: false}}
quantities: [{{name: u, kind: displacement, at: [3.2 angstrom, 0 angstrom], direction: [1, 0, 0]}}]
output: {{pictures: false, fields: false, atoms: false}}
"""


def test_a_run_tells_it_in_its_result_and_its_log(tmp_path, draws):
    (tmp_path / "other.linear").write_text(linear_text(draws[0]))
    (tmp_path / "deck.yaml").write_text(DECK)
    found = {}
    for kind, given in {
        "committee": "files: [other.linear]",
        "reference": "potential: {kind: linear, file: other.linear}, within: 12 angstrom",
    }.items():
        out = tmp_path / kind
        changes = [f"model_error={{kind: {kind}, {given}}}", f"output.directory={out}"]
        run_case(load_case(tmp_path / "deck.yaml", changes), MPI.COMM_WORLD)
        found[kind] = json.loads((out / "result.json").read_text())["steps"][0]["model_error"]
        line = model_error_told(found[kind])
        assert line in (out / "msolve.log").read_text().replace("\n", " ")
        assert line in " ".join(about(out).rows.values())
    one, two = found["committee"], found["reference"]
    assert (one["kind"], one["potentials"], one["calibration"]) == ("committee", 2, None)
    assert one["quantities"]["u"]["change"] is None and one["quantities"]["u"]["unit"] == "angstrom"
    size = abs(two["quantities"]["u"]["change"]) / np.sqrt(2)
    assert two["atoms"] < one["atoms"]
    assert one["quantities"]["u"]["size"] == pytest.approx(size, rel=0.1)


def test_a_training_draws_and_keeps_its_test_cells(tmp_path):
    given = {
        "name": "w",
        "crystal": {"structure": "bcc", "element": "W"},
        "reference": {"kind": "eam", "file": str(EAM4)},
        "data": {
            "test": 0.3,
            "validation": 0.0,
            "cells": [
                {"kind": "strained", "count": 12, "strain": "5 %"},
                {"kind": "rattled", "count": 8},
            ],
        },
        "model": {
            "kind": "linear",
            "cutoff": "5 angstrom",
            "pairs": 25,
            "products": [2],
            "angular": [2],
        },
        "draws": 3,
        "report": {"vacancy": 0, "phonons": 0},
        "output": {"directory": str(tmp_path)},
    }
    train_potential(training_from_dict(given))
    model = load_potential(tmp_path / "w.linear", "linear")
    drawn = read_draws(tmp_path / "w.draws", model)
    # The energy of an atom alone was fitted too, so it is drawn too.
    assert len(drawn) == 3 and all(change_from(model, one)[-1] != 0 for one in drawn)
    cells = read_cells(tmp_path / "w.test.extxyz", model.numbers)
    assert len(cells) == 6
    found = calibrate(MPI.COMM_SELF, model, Members("pops", drawn), cells, 0.6)
    assert 0.01 < found.forces < 10
    for changes in ({"draws": 1}, {"model": {"kind": "existing", "potential": given["reference"]}}):
        with pytest.raises(CaseError, match="draws = "):
            training_from_dict(given | changes)


def test_the_sections_of_the_howto_are_right(tmp_path):
    page = (EAM4.parents[2] / "docs/howto-model-error.md").read_text(encoding="utf-8")
    sections = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    names = ("w_eam4.eam.fs", "w_2.model", "w_3.model", "w_4.model", "w.draws", "clusters.extxyz")
    for name in names:
        (tmp_path / name).touch()
    kinds = []
    for section in sections:
        (tmp_path / "deck.yaml").write_text(DECK + section)
        kinds.append(load_case(tmp_path / "deck.yaml").model_error.kind)
    assert kinds == ["reference", "committee", "pops"]
