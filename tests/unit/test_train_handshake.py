# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A handshake is learned from small cracks, halves the error of a coupled one, and is guarded."""

import json
from dataclasses import replace
from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest
import torch
from scipy import spatial

import bodies
from msolve.build import set_up
from msolve.config import load_case, load_handshake_training
from msolve.errors import CaseError
from msolve.given import learned_handshake
from msolve.guarded import Verdict
from msolve.handshake.operator import load_flank_model
from msolve.run import run_case
from msolve.train import train_handshake
from msolve.train.bench import Bench, Zones
from msolve.train.flanks import solved_crack, strained_slabs, under
from msolve.train.specimens import drawn

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


ZONES = Zones(np.array([8.25, 11.0]), 8.0, 5.5)


@pytest.mark.parametrize("edges", [None, 3.3])
def test_unlayered_flanks_are_in_balance_in_the_bench(edges):
    """Nothing is out of balance in a body at rest under a slab's relaxation: no load, no force, no invariants."""
    body = under(bodies.cracked(bodies.eam4(), 48.0), 0.0)
    bench = Bench(body, 1, 3, ZONES, edges)
    atoms = body.sites(0.0).positions
    specimen = bench.specimen(atoms + body.relaxation(atoms), atoms, 0.0, body)
    assert np.abs(specimen.gradient).max() < 1e-10
    assert np.abs(specimen.invariants).max() < 1e-10
    # The surface of a straight flank at rest pulls at its ends alone.
    operator = bodies.random_flanks(body, 0.1).operators[1]
    assert np.abs(bench.pull(operator, specimen.line)).max() < 1e-10
    bent = specimen.line + np.outer(np.sin(specimen.line[:, 0] / 9.0), [0.0, 1.0, 0.0])
    assert np.abs(bench.pull(operator, bent)).max() > 1e-3


def test_a_displacement_of_the_layers_is_answered_by_their_stiffness():
    """On any mesh: the forces change by K P w as the layers move by w, and the squared residual as the loss has it."""
    body = under(bodies.cracked(bodies.eam4(), 48.0), 0.0)
    atoms = body.sites(0.0).positions
    rest = atoms + body.relaxation(atoms)
    for edges in (None, 3.3):
        bench = Bench(body, 1, 3, ZONES, edges)
        at = bench.layers
        w = 1e-4 * np.column_stack([np.sin(at[:, 0] / 5), np.cos(at[:, 0] / 7), 0 * at[:, 0]])
        w[np.abs(at[:, 0] + 18.0) > 4.0] = 0.0
        moved = rest.copy()
        own = spatial.cKDTree(atoms[:, :2]).query(at[:, :2])[1]
        moved[own] += w
        found = bench.specimen(moved, atoms, 0.0, body)
        wanted = (bench.stiffness @ w.ravel()).reshape(-1, 3)
        assert found.gradient == pytest.approx(wanted, abs=0.06 * np.abs(wanted).max())
        form, x = found.form(bodies.random_flanks(body, 0.0).operators[1]), w.ravel()
        assert form.c == pytest.approx(1.0, rel=1e-12)
        # Moved by w the layers leave nothing; by half of it, a quarter; the other way, four times as much.
        for share, left in ((1.0, 0.0), (0.5, 0.25), (-1.0, 4.0)):
            squared = form.c + 2 * share * form.g @ x + share**2 * x @ form.N @ x
            assert squared == pytest.approx(left, abs=0.08)


def test_strained_slabs_are_linear_at_first_and_mirrored():
    body = bodies.cracked(bodies.eam4(), 30.0)
    slabs = strained_slabs(body, 0.01, 3)
    found = slabs.displacements
    assert np.abs(found).max() > 1e-3
    assert not slabs.invariants[0].any() and np.abs(found[0]).max() < 1e-5
    ends = found[[1, 4]]  # -1 % and 1 % along x1
    assert ends[0] == pytest.approx(-ends[1], abs=0.2 * np.abs(ends).max())
    assert found[:, 0, :, 1] == pytest.approx(-found[:, 1, :, 1], abs=1e-5)


def test_the_energy_of_the_surface_is_that_of_strained_slabs():
    """Its slope, the surface stress, is that of the slabs' energies; their shear has no sign."""
    body = bodies.cracked(bodies.eam4(), 30.0)
    slabs = strained_slabs(body, 0.01, 3)
    operator = bodies.random_flanks(body, 0.0).operators[1]
    operator.tension = slabs.tension(operator)
    told = (
        operator.of_strains(torch.from_numpy(slabs.invariants[:, :2])) @ operator.tension[0]
    ).numpy()
    assert told == pytest.approx(slabs.energy, abs=0.02 * np.abs(slabs.energy).max())
    stress = (slabs.energy[3] - slabs.energy[2]) / 0.01
    assert float(operator.tension[0, 0] / operator.limit[0]) == pytest.approx(stress, rel=0.05)
    assert abs(float(operator.tension[0, 1])) < 1e-6


def test_the_shipped_model_halves_the_error(tmp_path):
    result = learned(tmp_path / "learned")
    verdict, error = result["steps"][0]["handshake"], result["comparison"]["total_h1"]
    assert verdict["kept"] and verdict["reach"] < 1
    assert error < 0.67 * verdict["slab"]
    assert verdict["learned"] == pytest.approx(error, rel=0.1)


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
    # Where nothing can be compared, nothing is believed that the user does not ask for.
    alone = learned(tmp_path / "alone", "estimate.kind=none", "compare.atomistic=false")
    verdict = alone["steps"][0]["handshake"]
    assert not verdict["kept"] and verdict["reach"] is None
    assert verdict["obstacle"] == "estimate.kind is none"
    assert alone["steps"][0]["energy"] == pytest.approx(expected["steps"][0]["energy"], rel=1e-6)


def test_each_load_step_is_judged_in_all_and_near_the_tip(tmp_path):
    """Below K_G a small core gains in all and loses at the tip; what the slab was said to have it has."""
    changes = ["regions.core_radius=8.25 angstrom", "load.K=[1.05 K_G, 0.95 K_G]"]
    found = learned(tmp_path / "learned", *changes)
    first, second = (step["handshake"] for step in found["steps"])
    assert first["kept"] and first["learned_tip"] < first["slab_tip"]
    assert not second["kept"] and second["reach"] < 1
    assert second["learned"] < second["slab"] and second["learned_tip"] > 1.01 * second["slab_tip"]
    for ours, theirs in (("total_h1", "slab"), ("tip_h1", "slab_tip")):
        assert found["comparison"][ours] == pytest.approx(second[theirs], rel=0.1)


@pytest.mark.slow
def test_refinement_asks_the_guard_where_it_would_end(tmp_path):
    changes = [
        "regions.core_radius=8.25 angstrom",
        "load.K=0.95 K_G",
        "adaptivity.total_h1=1 angstrom",
    ]
    result = learned(tmp_path / "refined", *changes)
    assert [row["how"] for row in result["adaptivity"]["rounds"]] == ["start", "slab handshake"]
    verdict = result["steps"][0]["handshake"]
    assert not verdict["kept"] and verdict["learned_tip"] > 1.01 * verdict["slab_tip"]
    estimate = result["steps"][0]["estimate"]
    assert estimate["total_h1"] == pytest.approx(verdict["slab"], rel=0.01)


def test_what_the_guard_says():
    found = Verdict(True, 0.5, "the flanks' k1", learned=0.01, learned_tip=0.002)
    assert found.line() == "learned handshake kept: at 0.5 of its range (the flanks' k1)"
    alone = replace(found, obstacle="the slab handshake has no solution near it")
    assert alone.line().endswith("; not compared: the slab handshake has no solution near it")
    worse = replace(found, kept=False, slab=0.02, slab_tip=0.001)
    assert "the estimate does not prefer it; estimated error 0.01 Å with it, 0.02 Å" in worse.line()
    unseen = Verdict(False, float("inf"), "the flanks' E13")
    assert "E13 is never met in its training" in unseen.line() and unseen.told()["reach"] is None
    blind = Verdict(False, float("nan"), "", obstacle="estimate.kind is none")
    assert "cannot be compared with the slab (estimate.kind is none; guard: range" in blind.line()


def test_models_of_other_cracks_are_refused(tmp_path):
    turned = "crystal.orientation={x1: [0, 1, 0], x2: [1, 0, 0], x3: [0, 0, -1]}"
    with pytest.raises(CaseError, match="another crack plane or front"):
        learned(tmp_path, turned)
    with pytest.raises(CaseError, match=r"potentials/w_linear.*|apart|relax otherwise"):
        learned(tmp_path, "potential={kind: linear, file: potentials/w_linear/w_linear.linear}")


def test_specimens_and_models_know_the_file_of_their_potential(tmp_path, caplog):
    """Another file with the same numbers: other specimens, and a warning."""
    text = (DECKS / "potentials/w_eam4.eam.fs").read_text()
    (tmp_path / "other.eam.fs").write_text("another comment" + text[text.index("\n") :])
    recipe = tmp_path / "few.yaml"
    recipe.write_text(f"deck: {DECKS}/crack_eam.yaml\nspecimens: {{count: 3}}\n")
    given = load_handshake_training(recipe, [f"output.directory={tmp_path / 'out'}"])
    same = load_case(DECKS / "crack_handshake.yaml", SMALL)
    other = load_case(
        DECKS / "crack_handshake.yaml", [*SMALL, f"potential.file={tmp_path / 'other.eam.fs'}"]
    )
    setup = set_up(same, MPI.COMM_SELF)
    names = [
        {one.file.name for one in drawn(given, replace(setup, case=case))} for case in (same, other)
    ]
    assert len(names[0]) == len(names[1]) == 3 and not names[0] & names[1]
    for case, warned in ((same, False), (other, True)):
        caplog.clear()
        assert learned_handshake(case, setup.body.crystal, setup.body.slab) is not None
        assert ("another file of a potential" in caplog.text) is warned


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
