# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A handshake is learned from small cracks, halves the error of a coupled one, and is guarded."""

import json
from dataclasses import replace
from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest
from scipy import spatial

import bodies
from msolve.config import load_case, load_handshake_training
from msolve.errors import CaseError
from msolve.handshake.operator import load_flank_model
from msolve.run import run_case
from msolve.train import train_handshake
from msolve.train.bench import Bench
from msolve.train.flanks import solved_crack, strained_slabs, under

DECKS = Path(__file__).parents[2] / "solver_configs"
MODEL = DECKS / "potentials/w_handshake/w_handshake.pt"
SMALL = [
    "domain.radius=60 angstrom",
    "regions.core_radius=11 angstrom",
    "load.K=1.06 K_G",
    "output.pictures=false",
    "output.fields=false",
    "solver.stability=false",
]


def learned(folder, *changes):
    """Result of a small crack with the shipped model."""
    given = [*SMALL, f"output.directory={folder}", *changes]
    run_case(load_case(DECKS / "crack_handshake.yaml", given), MPI.COMM_SELF)
    return json.loads((folder / "result.json").read_text())


def slab(folder, *changes):
    return learned(folder, "coupling.handshake={kind: slab, lift: quadratic}", *changes)


def test_training_on_few_cracks_finds_most_of_the_residual(tmp_path):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(
        f"deck: {DECKS}/crack_eam.yaml\n"
        "specimens: {count: 4, radius: 48 angstrom, K: [1.0, 1.1], shear: 0.05}\n"
        "operator: {layers: 3, hidden: 2, degrees: [1], iterations: 60, closure: linear}\n"
    )
    given = load_handshake_training(recipe, [f"output.directory={tmp_path / 'out'}"])
    folder = train_handshake(given)
    report = json.loads((folder / "report.json").read_text())
    assert report["residual"]["1"]["validation"] < 0.3
    assert report["closure"]["1"]["validation"] < 1
    assert (folder / "residuals.png").stat().st_size > 10_000
    model = load_flank_model(folder / "small.pt")
    assert model.depths.shape == (2, 3) and sorted(model.operators) == [1] == sorted(model.closures)
    # The same command goes on with the specimens that are there, and finds the same.
    files = sorted((folder / "specimens").glob("*.npz"))
    before = [file.stat().st_mtime_ns for file in files]
    assert len(files) == 4
    train_handshake(given)
    assert [file.stat().st_mtime_ns for file in files] == before
    again = json.loads((folder / "report.json").read_text())
    assert again["residual"] == report["residual"]


@pytest.mark.parametrize("edges", [None, 3.3])
def test_unlayered_flanks_are_in_balance_in_the_bench(edges):
    """Nothing is out of balance in a body at rest under a slab's relaxation: no load, no force, no invariants."""
    body = under(bodies.cracked(bodies.eam4(), 48.0), 0.0)
    bench = Bench(body, 1, 3, edges)
    atoms = body.sites(0.0).positions
    specimen = bench.specimen(atoms + body.relaxation(atoms), atoms, 0.0, body)
    assert np.abs(specimen.force).max() < 1e-10
    assert np.abs(specimen.lift.invariants(specimen.line)).max() < 1e-10


def test_a_displacement_of_the_layers_is_answered_by_their_stiffness():
    """On any mesh: the forces change by K P w as the layers move by w, and the squared residual as the loss has it."""
    body = under(bodies.cracked(bodies.eam4(), 48.0), 0.0)
    atoms = body.sites(0.0).positions
    rest = atoms + body.relaxation(atoms)
    for edges in (None, 3.3):
        bench = Bench(body, 1, 3, edges)
        layers = bench.specimen(rest, atoms, 0.0, body).lift.atoms
        at = bench.layers[layers]
        w = 1e-4 * np.column_stack([np.sin(at[:, 0] / 5), np.cos(at[:, 0] / 7), 0 * at[:, 0]])
        w[np.abs(at[:, 0] + 20.0) > 4.0] = 0.0
        moved = rest.copy()
        own = spatial.cKDTree(atoms[:, :2]).query(at[:, :2])[1]
        moved[own] += w
        found = bench.specimen(moved, atoms, 0.0, body)
        wanted = (bench.stiffness @ w.ravel()).reshape(-1, 3)
        # Nodes beyond the ends of what is learned from follow a little, and do not count.
        assert found.force == pytest.approx(wanted, abs=0.06 * np.abs(wanted).max())
        assert found.before == pytest.approx(w.ravel() @ wanted.ravel(), rel=0.06)


def test_strained_slabs_are_linear_at_first_and_mirrored():
    body = bodies.cracked(bodies.eam4(), 30.0)
    invariants, found = strained_slabs(body, 0.01, 3)
    assert np.abs(found).max() > 1e-3
    rest = np.flatnonzero(~invariants.any(axis=1))
    assert np.abs(found[rest]).max() < 1e-5
    ends = found[[0, 4]]  # -1 % and 1 % along x1
    assert ends[0] == pytest.approx(-ends[1], abs=0.2 * np.abs(ends).max())
    assert found[:, 0, :, 1] == pytest.approx(-found[:, 1, :, 1], abs=1e-5)


def test_the_shipped_model_halves_the_error(tmp_path):
    with_it = learned(tmp_path / "learned")
    without = slab(tmp_path / "slab")
    step = with_it["steps"][0]
    assert step["handshake"]["kept"] and step["handshake"]["reach"] < 1
    errors = [result["comparison"]["total_h1"] for result in (with_it, without)]
    assert errors[0] < 0.67 * errors[1]
    # What the guard compared is what they are.
    assert step["handshake"]["learned"] == pytest.approx(errors[0], rel=0.1)
    assert step["handshake"]["slab"] == pytest.approx(errors[1], rel=0.1)


def test_beyond_its_training_the_slab_takes_over(tmp_path):
    changes = ["load.mode=[1, 0.3, 0]", "load.K=[0.9 K_G, 0.95 K_G]"]
    rejected = learned(tmp_path / "learned", *changes)
    expected = slab(tmp_path / "slab", *changes)
    for ours, theirs in zip(rejected["steps"], expected["steps"], strict=True):
        assert not ours["handshake"]["kept"]
        assert ours["energy"] == pytest.approx(theirs["energy"], rel=1e-6)
    assert rejected["steps"][0]["handshake"]["reach"] > 1
    assert "learned handshake rejected" in (tmp_path / "learned/msolve.log").read_text()
    assert rejected["comparison"]["total_h1"] == pytest.approx(
        expected["comparison"]["total_h1"], rel=0.01
    )


def test_a_bad_model_is_rejected_by_the_estimate(tmp_path):
    model, factor = load_flank_model(MODEL), -2.0
    for one in model.operators.values():
        one.linear.data *= factor
        one.outer.data *= factor
    replace(model, card={}).save(tmp_path / "bad.pt")
    changes = [f"coupling.handshake.model={tmp_path / 'bad.pt'}"]
    rejected, expected = learned(tmp_path / "bad", *changes), slab(tmp_path / "slab")
    verdict = rejected["steps"][0]["handshake"]
    assert not verdict["kept"] and verdict["reach"] < 1
    assert verdict["learned"] > 1.5 * verdict["slab"]
    assert rejected["comparison"]["total_h1"] == pytest.approx(
        expected["comparison"]["total_h1"], rel=0.01
    )
    taken = learned(tmp_path / "taken", *changes, "coupling.handshake.guard=range")
    assert taken["comparison"]["total_h1"] > 1.5 * expected["comparison"]["total_h1"]


def test_models_of_other_cracks_are_refused(tmp_path):
    turned = "crystal.orientation={x1: [0, 1, 0], x2: [1, 0, 0], x3: [0, 0, -1]}"
    with pytest.raises(CaseError, match="another crack plane or front"):
        learned(tmp_path, turned)
    with pytest.raises(CaseError, match=r"potentials/w_linear.*|apart|relax otherwise"):
        learned(tmp_path, "potential={kind: linear, file: potentials/w_linear/w_linear.linear}")


def test_a_deck_without_a_crack_is_refused(tmp_path):
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(f"deck: {DECKS}/vacancy.yaml\n")
    given = load_handshake_training(recipe, [f"output.directory={tmp_path / 'out'}"])
    with pytest.raises(CaseError, match="deck: has no crack"):
        train_handshake(given)


def test_a_crack_that_runs_is_no_specimen():
    body = bodies.cracked(bodies.eam4(), 36.0)
    K = body.far_field.griffith_K(body.slab.surface_energy)
    y, X = solved_crack(body, 1.05 * K, 0.0)
    assert y.shape == X.shape
    from msolve.errors import ConvergenceError

    with pytest.raises(ConvergenceError, match=r"ran|healed|stopped"):
        solved_crack(body, 1.7 * K, 0.0)
