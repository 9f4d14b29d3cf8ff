# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Training: cells and labels obey their laws, nothing is computed twice, a report on the reference shows no error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read, write
from ase.phonons import Phonons

from bodies import EAM4, eam4, silicon
from msolve.atomistic import cluster_energy
from msolve.config import load_case, training_from_dict
from msolve.crystal import Crystal
from msolve.errors import CaseError, ConvergenceError
from msolve.info import about
from msolve.potentials import load_potential
from msolve.potentials.rest import relaxed_lattice
from msolve.properties import phonon_frequencies
from msolve.train import train_potential
from msolve.train.cells import Maker
from msolve.train.clusters import State, cut_out, disagreement, flagged, states_of
from msolve.train.comparison import path_of_waves
from msolve.train.labels import ENERGY, FORCES, KIND, STRESS, evaluate, label, labelled

RECIPE = {
    "name": "tiny",
    "seed": 4,
    "crystal": {"structure": "bcc", "element": "W"},
    "reference": {"kind": "eam", "file": str(EAM4)},
    "data": {
        "test": 0.5,
        "validation": 0.0,
        "cells": [
            {"kind": "strained", "count": 4, "strain": "2 %"},
            {"kind": "volume", "count": 2},
            {"kind": "rattled", "count": 2},
            {"kind": "vacancy", "count": 4, "cubes": 2},
            {"kind": "surface", "count": 6, "planes": [[1, 0, 0], [1, 1, 1]]},
            {"kind": "opened", "count": 2, "planes": [[1, 1, 0]]},
            {"kind": "crack_tip", "count": 4, "plane": [1, 1, 0], "front": [0, 0, 1]},
        ],
    },
    "model": {"kind": "existing", "potential": {"kind": "eam", "file": str(EAM4)}},
    "report": {"vacancy": 2, "phonons": 2},
}
KINDS = training_from_dict(RECIPE).data.cells


@pytest.fixture(scope="module")
def tungsten():
    return Maker(relaxed_lattice(eam4(), Crystal.bcc(3.15, 74)), eam4(), 12.0)


@pytest.fixture(scope="module")
def diamond():
    return Maker(relaxed_lattice(silicon(), Crystal.diamond(5.4, 14)), silicon(), 12.0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_cell_follows_from_seed_name_and_number(kind, tungsten):
    cell = tungsten.make(kind, 1, seed=3)
    again = Maker(tungsten.crystal, tungsten.reference, 12.0).make(kind, 1, seed=3)
    np.testing.assert_array_equal(cell.positions, again.positions)
    assert cell.info[KIND] == kind.kind
    for other in (tungsten.make(kind, 2, seed=3), tungsten.make(kind, 1, seed=4)):
        differs = len(other) != len(cell) or np.abs(other.positions - cell.positions).max() > 1e-4
        assert differs or np.abs(other.cell.array - cell.cell.array).max() > 1e-4


@pytest.mark.parametrize("crystal", ["tungsten", "diamond"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_labels_are_derivatives_of_the_energy(kind, crystal, request):
    maker = request.getfixturevalue(crystal)
    atoms = label(maker.reference, maker.make(kind, 0, seed=1))
    rng, h = np.random.default_rng(0), 1e-4
    move, strain = rng.normal(size=atoms.positions.shape), rng.normal(size=(3, 3))
    strain += strain.T

    def energy(t, s):
        changed = atoms.copy()
        changed.positions += t * move
        changed.set_cell(changed.cell.array @ (np.eye(3) + s * strain), scale_atoms=True)
        return evaluate(maker.reference, changed).energy

    power = (energy(h, 0) - energy(-h, 0)) / (2 * h)
    assert -np.sum(atoms.arrays[FORCES] * move) == pytest.approx(power, rel=2e-4, abs=2e-5)
    work = (energy(0, h) - energy(0, -h)) / (2 * h)
    stress = atoms.info[STRESS].reshape(3, 3)
    assert atoms.get_volume() * np.sum(stress * strain) == pytest.approx(work, rel=2e-3, abs=2e-4)


def test_kinds_are_what_they_say(tungsten):
    perfect = evaluate(eam4(), tungsten.make(KINDS[0].model_copy(update={"strain": 0.0}), 0, 1))
    assert perfect.energy / 2 == pytest.approx(-8.9, abs=1e-4)
    assert np.abs(perfect.virial).max() < 1e-5
    by_kind = {kind.kind: kind for kind in KINDS}
    assert [len(tungsten.make(by_kind["vacancy"], k, 1)) for k in range(3)] == [14, 15, 15]
    slab = tungsten.make(by_kind["surface"], 0, 1)
    heights = np.sort(slab.positions[:, 1])
    gap = slab.cell[1, 1] - (heights[-1] - heights[0])
    assert gap > 12.0
    assert np.diff(heights).max() < 2.5  # no other gap
    tip = tungsten.make(by_kind["crack_tip"].model_copy(update={"K": (1.0, 1.0)}), 0, 1)
    x, y, _ = (tip.positions - tip.positions.mean(axis=0)).T
    behind, ahead = (np.diff(np.sort(y[mask])).max() for mask in (x < -6, x > 6))
    # At 7 Å behind the tip the flanks stand 1.2 Å further apart than layers 2.2 Å; ahead they are layers.
    assert behind > 2.9
    assert ahead < 2.5


def test_labelled_cells_are_computed_once(tmp_path, tungsten):
    path, made = tmp_path / "kind.extxyz", []

    def make(index):
        made.append(index)
        if len(made) == 4:
            raise KeyboardInterrupt
        return label(eam4(), tungsten.make(KINDS[2], index, seed=1))

    with pytest.raises(KeyboardInterrupt):
        labelled(path, "here", 5, make)
    with path.open("a") as file:
        file.write("16\nLattice=")  # a cell that was being written
    cells = labelled(path, "here", 5, make)
    assert made == [0, 1, 2, 3, 3, 4]
    again = labelled(path, "here", 5, make)
    assert len(made) == 6
    for one, other in zip(cells, again, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.arrays[FORCES], other.arrays[FORCES])
        assert one.info[ENERGY] == other.info[ENERGY]
    fresh = label(eam4(), tungsten.make(KINDS[2], 3, seed=1))
    np.testing.assert_allclose(cells[3].arrays[FORCES], fresh.arrays[FORCES], atol=1e-7)
    assert len(read(path, ":")) == 5  # as other programs see it
    assert len(labelled(path, "here", 2, make)) == 2
    assert len(labelled(path, "here", 6, make)) == 6
    assert made[6:] == [5]  # more of them cost only the new ones
    labelled(path, "elsewhere", 2, make)
    assert made[7:] == [0, 1]


class Ours(Calculator):
    implemented_properties = ("energy", "forces")

    def __init__(self, model):
        super().__init__()
        self.model = model

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energy, gradient = cluster_energy(
            self.model, atoms.positions, atoms.numbers, atoms.cell.array, atoms.pbc
        )
        self.results = {"energy": energy, "forces": -gradient}


@pytest.mark.parametrize("crystal", ["tungsten", "diamond"])
def test_phonons_are_those_of_ase(crystal, request, tmp_path, monkeypatch):
    from ase import units

    monkeypatch.chdir(tmp_path)
    maker = request.getfixturevalue(crystal)
    lattice, a = maker.crystal, maker.crystal.axes[0, 0]
    waves, corners = path_of_waves("bcc" if lattice.n_basis == 1 else "diamond", 2)
    assert corners[0] == (0, "Γ")
    ours = phonon_frequencies(maker.reference, lattice, waves, 2)
    # A supercell of primitive cells large enough for all forces: frequencies are those of the crystal itself,
    # ours those of a cell of 2 cubes; the same where the wave fits both.
    primitive = Atoms(
        numbers=lattice.numbers, cell=lattice.cell, scaled_positions=lattice.basis, pbc=True
    )
    phonons = Phonons(primitive, Ours(maker.reference), supercell=(6, 6, 6), delta=1e-3)
    phonons.run()
    phonons.read(acoustic=False)
    theirs = phonons.band_structure(waves / a @ lattice.cell.T, verbose=False)
    in_thz = np.sort(np.real(theirs), axis=1) * 1e-12 * units._e / units._hplanck
    assert np.abs(ours[0, :3]).max() < 2e-3  # translations cost nothing
    np.testing.assert_allclose(ours[1:], in_thz[1:], atol=5e-3)
    assert ours[corners[1][0]].min() > 3.0  # the zone boundary


def test_waves_that_do_not_fit_are_refused(tungsten):
    with pytest.raises(ValueError, match="multiples of 1/2"):
        phonon_frequencies(eam4(), tungsten.crystal, [[0.3, 0, 0]], 2)


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    output = {"directory": str(folder / "out")}
    train_potential(training_from_dict(RECIPE | {"output": output}))
    return folder / "out", json.loads((folder / "out/report.json").read_text())


def test_the_reference_has_no_error_against_itself(reported):
    folder, report = reported
    assert report["sets"]["train"]["cells"] + report["sets"]["test"]["cells"] == 24
    rows = report["test_errors_rms"]
    assert list(rows) == [*(kind["kind"] for kind in RECIPE["data"]["cells"]), "all"]
    for row in rows.values():
        assert max(row[key] for key in ("energy", "forces", "stress")) < 1e-3  # digits in the files
    assert report["properties"]["model"] == pytest.approx(report["properties"]["truth"], rel=1e-9)
    assert report["phonons"]["error_rms"] < 1e-6
    assert report["properties"]["truth"]["C11"] == pytest.approx(523.0, rel=1e-3)  # published
    text = (folder / "report.md").read_text()
    assert "| C44 | 160.8" in text
    for picture in ("parity.png", "phonons.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")


def test_going_on_computes_no_label(reported, monkeypatch):
    folder, report = reported

    def never(*arguments):
        raise AssertionError("computed twice")

    for name in ("workshop.label", "workshop.relaxed_lattice", "cells.surface_energy"):
        monkeypatch.setattr(f"msolve.train.{name}", never)
    train_potential(training_from_dict(RECIPE | {"output": {"directory": str(folder)}}))
    again = json.loads((folder / "report.json").read_text())
    assert again["test_errors_rms"] == report["test_errors_rms"]
    changed = training_from_dict(RECIPE | {"output": {"directory": str(folder)}, "seed": 5})
    with pytest.raises(AssertionError, match="computed twice"):
        train_potential(changed)


def test_a_reference_for_another_element(tmp_path):
    changed = RECIPE | {
        "crystal": {"structure": "fcc", "element": "Cu"},
        "output": {"directory": str(tmp_path)},
    }
    with pytest.raises(CaseError, match=r"crystal\.element = Cu"):
        train_potential(training_from_dict(changed))


CRACK = """
crystal: {structure: bcc, element: W, orientation: {x1: [1, -1, 0], x2: [1, 1, 0], x3: [0, 0, 1]}}
potential: {kind: toy}
domain: {radius: 40 angstrom}
regions: {core_radius: 7 angstrom, blend: 6 angstrom}
defect: {kind: crack}
load: {kind: k_field, K: [0.9 K_G, 1.0 K_G]}
"""


@pytest.mark.slow
def test_a_committee_of_references_has_no_doubt_and_its_clusters_no_error(tmp_path, monkeypatch):
    (tmp_path / "crack.yaml").write_text(CRACK)
    output, report = {"directory": str(tmp_path / "out")}, {"vacancy": 0, "phonons": 0}
    active = {"deck": "crack.yaml", "rounds": 1, "committee": 1, "atoms": 3}
    cells = [{"kind": "strained", "count": 4, "strain": "2 %"}]
    changed = {"active": active, "output": output, "report": report, "data": {"cells": cells}}
    train_potential(training_from_dict(RECIPE | changed, folder=tmp_path))
    rows = json.loads((tmp_path / "out/report.json").read_text())["active"]
    assert [(row["cells"], row["clusters"]) for row in rows] == [(3, 4), (7, 4)]
    for row in rows:
        assert row["loads"] == pytest.approx([0.9, 1.0])
        assert row["solved"] == 2
        assert np.hypot(*np.array(row["places"])[:, :2].T).max() < 7.0  # in the core
        assert row["doubt_max"] < 1e-9
        assert row["error_max"] < 1e-3
    clusters = read(tmp_path / "out/cells/active_0.extxyz", ":")

    def never(*arguments):
        raise AssertionError("computed twice")

    monkeypatch.setattr("msolve.train.active.states_of", never)
    train_potential(training_from_dict(RECIPE | changed, folder=tmp_path))  # goes on
    again = json.loads((tmp_path / "out/report.json").read_text())["active"]
    assert [row["doubt_rms"] for row in again] == [row["doubt_rms"] for row in rows]
    assert clusters[0].cell[2, 2] == pytest.approx(3.1434, abs=1e-3)  # one period along [001]
    for cluster in clusters:
        x, y = cluster.positions[:, :2].T
        assert np.ptp(x) < 18.5 and np.ptp(y) < 18.5 and min(np.ptp(x), np.ptp(y)) > 12
        assert 0.3 < cluster.arrays["inner"].mean() < 0.6  # (6/9)² of a full disc


def test_a_run_ends_where_the_committee_doubts(tmp_path):
    (tmp_path / "crack.yaml").write_text(CRACK)
    case, section = load_case(tmp_path / "crack.yaml"), training_from_dict(RECIPE).reference
    seen = []

    def doubtful(state):
        seen.append(state)
        return len(seen) == 3

    states, solved, why = states_of(case, section, doubtful)
    assert solved == 0
    assert "doubt" in why
    assert len(seen) == 3
    np.testing.assert_array_equal(states[-1].positions, seen[-1].positions)
    assert seen[-1].load == pytest.approx(0.9)


def scattered(n=300):
    rng = np.random.default_rng(5)
    X = rng.uniform(-15, 15, (n, 3))
    X[:, 2] = rng.uniform(0, 3, n)
    core = np.hypot(X[:, 0], X[:, 1]) < 8
    return State(1.0, X, X, np.full(n, 74), core, 3.0)


def test_the_most_doubtful_core_atoms_are_chosen():
    state = scattered()
    doubt = np.random.default_rng(1).uniform(size=len(state.X))
    chosen = flagged(state, doubt, 6, 2.0)
    assert state.core[chosen].all()
    assert chosen[0] == np.flatnonzero(state.core)[np.argmax(doubt[state.core])]
    assert (np.diff(doubt[chosen]) < 0).all()
    between = state.X[chosen, None, :2] - state.X[None, chosen, :2]
    assert np.linalg.norm(between, axis=2)[~np.eye(6, dtype=bool)].min() >= 2.0
    np.testing.assert_array_equal(flagged(state, doubt, 3, 2.0), chosen[:3])
    assert len(flagged(state, doubt, 1000, 0.0)) == state.core.sum()


def test_a_cluster_holds_what_an_atom_sees():
    lattice = relaxed_lattice(eam4(), Crystal.bcc(3.15, 74))
    sites = lattice.oriented((1, -1, 0), (1, 1, 0), (0, 0, 1)).sites(None, [(-22, 22)] * 2)
    rng = np.random.default_rng(2)
    moved = sites.positions + rng.normal(0, 0.05, sites.positions.shape)
    atom = int(np.argmin(np.hypot(*moved[:, :2].T)))
    n, a = len(moved), lattice.axes[0, 0]
    state = State(1.0, sites.positions, moved, sites.numbers, np.ones(n, dtype=bool), a)
    # The force on an atom knows of others within twice the cutoff, the shell lies beyond.
    cluster = cut_out(state, atom, 15.0, 3.5, 0.1, 12.0, rng)
    middle = int(np.argmin(np.linalg.norm(cluster.positions - cluster.cell.diagonal() / 2, axis=1)))
    force = -evaluate(eam4(), cluster).gradient[middle]
    np.testing.assert_allclose(force, state.forces(eam4())[atom], atol=1e-10)
    assert np.abs(force).max() > 0.1
    assert cluster.arrays["inner"][middle]


class Pulled:
    """A model's forces and a known one more on one atom."""

    def __init__(self, atom, force):
        self.atom, self.force = atom, np.array(force)


def test_doubt_is_the_deviation_from_the_mean(monkeypatch):
    state = scattered(50)

    def forces(self, model):
        out = np.ones((50, 3))
        out[model.atom] += model.force
        return out

    monkeypatch.setattr(State, "forces", forces)
    doubt = disagreement(
        state, [Pulled(3, [2.0, 0, 0]), Pulled(3, [0, 0, 0]), Pulled(7, [0, 0, 0])]
    )
    assert np.flatnonzero(doubt) == [3]
    assert doubt[3] == pytest.approx(np.std([2.0, 0.0, 0.0]))


@pytest.mark.slow
def test_black_boxes_and_fcc(tmp_path):
    emt = {"kind": "ase", "calculator": "ase.calculators.emt:EMT", "cutoff": "6 angstrom"}
    cells = [
        {"kind": "rattled", "count": 2, "cubes": 1},
        {"kind": "surface", "count": 2, "planes": [[1, 1, 1]], "thickness": ["5 angstrom"] * 2},
    ]
    changed = {
        "crystal": {"structure": "fcc", "element": "Cu"},
        "reference": emt,
        "data": {"cells": cells, "test": 0.5, "validation": 0},
        "model": {"kind": "existing", "potential": emt},
        "report": {"vacancy": 0, "phonons": 2},
        "output": {"directory": str(tmp_path)},
    }
    train_potential(training_from_dict(RECIPE | changed))
    report = json.loads((tmp_path / "report.json").read_text())
    errors = report["test_errors_rms"]["all"]
    assert max(errors["energy"], errors["forces"], errors["stress"]) < 1e-3
    assert report["properties"]["truth"]["a0"] == pytest.approx(3.59, abs=0.01)
    assert report["phonons"]["error_rms"] < 1e-6
    assert [name for _, name in report["phonons"]["corners"]] == ["Γ", "X", "X", "Γ", "L"]
    one, same = (
        report["phonons"]["truth"][k] for k, name in report["phonons"]["corners"] if name == "X"
    )
    np.testing.assert_allclose(one, same, atol=2e-3)
    slab = read(tmp_path / "cells/surface.extxyz", "0")
    assert slab.info["REF_energy"] / len(slab) > 0.05  # EMT counts from the crystal


def test_no_cells_to_test_on(tmp_path):
    data = {"cells": [{"kind": "strained", "count": 2, "strain": "2 %"}]}
    changed = RECIPE | {"data": data, "output": {"directory": str(tmp_path)}}
    with pytest.raises(CaseError, match=r"data\.test = 0\.2: leaves no cell"):
        train_potential(training_from_dict(changed))


def mace_recipe(folder, **changes):
    arguments = {
        "model": "ScaleShiftMACE", "r_max": 4.0, "num_radial_basis": 4, "radial_MLP": "[8]",
        "num_interactions": 1, "hidden_irreps": "4x0e", "MLP_irreps": "4x0e", "max_ell": 1,
        "correlation": 1, "E0s": "{74: 0.0}", "loss": "stress", "batch_size": 4, "lr": 0.02,
        "valid_batch_size": 4, "max_num_epochs": 2, "default_dtype": "float32",
    }  # fmt: skip
    model = {
        "kind": "mace",
        "arguments": arguments | changes,
        "later_stages": [{"max_num_epochs": 4, "lr": 0.001}],
    }
    data = RECIPE["data"] | {"test": 0.25, "validation": 0.25}
    report = {"vacancy": 0, "phonons": 0}
    output = {"directory": str(folder)}
    return RECIPE | {"model": model, "data": data, "report": report, "output": output}


def test_cells_from_a_file_are_labelled(tmp_path):
    rng = np.random.default_rng(3)
    dimer = Atoms("W2", [[0, 0, 0], [0, 0, 2.4]])
    bulk = Atoms("W2", [[0, 0, 0], [1.55, 1.6, 1.6]], cell=[3.2, 3.15, 3.15], pbc=True)
    write(tmp_path / "mine.extxyz", [dimer, bulk, bulk * (2, 1, 1), dimer])
    kinds = [{"kind": "from_file", "file": "mine.extxyz", "name": "mine"}]
    changed = {
        "data": {"cells": kinds, "test": 0.5, "validation": 0.0},
        "report": {"vacancy": 0, "phonons": 0},
        "output": {"directory": str(tmp_path / "out")},
    }
    train_potential(training_from_dict(RECIPE | changed, folder=tmp_path))
    cells = read(tmp_path / "out/cells/mine.extxyz", ":")
    assert [len(atoms) for atoms in cells] == [2, 2, 4, 2]
    box = np.diag([1.0, 1, 1])
    alone = cluster_energy(eam4(), dimer.positions, dimer.numbers, box, [False] * 3)
    assert cells[0].info[ENERGY] == pytest.approx(alone[0], abs=1e-9)
    assert cells[0].cell[2, 2] == pytest.approx(2.4 + 12.0)
    assert cells[2].info[ENERGY] == pytest.approx(2 * cells[1].info[ENERGY], abs=1e-9)
    write(tmp_path / "mine.extxyz", [Atoms("Cu", [rng.uniform(size=3)])])
    with pytest.raises(CaseError, match=r"cell 1 holds the atomic numbers \[29\]"):
        train_potential(training_from_dict(RECIPE | changed, folder=tmp_path))


def test_msolve_info_tells_of_a_training(reported, tmp_path):
    folder, _ = reported
    rows = about(folder).rows
    assert (rows["model"], rows["crystal"]) == ("w_eam4.eam.fs", "bcc W")
    deck = tmp_path / "train.yaml"
    deck.write_text(json.dumps(RECIPE))
    told = about(deck)
    assert told.kind.startswith("input of a training")
    assert told.rows["cells"] == "24 of 7 kinds"


def test_arguments_that_mace_does_not_know(tmp_path):
    pytest.importorskip("mace", reason="mace-torch is not installed")
    with pytest.raises(CaseError, match=r"(?s)model\.arguments: mace_run_train.*\n.*stages\.0"):
        train_potential(training_from_dict(mace_recipe(tmp_path, colour="red")))
    with pytest.raises(CaseError, match=r"model\.arguments\.seed: is given by msolve"):
        train_potential(training_from_dict(mace_recipe(tmp_path, seed=3)))
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_mace_is_trained_in_stages_and_goes_on_after_a_kill(tmp_path, monkeypatch):
    pytest.importorskip("mace", reason="mace-torch is not installed")
    out, deck = tmp_path / "out", tmp_path / "deck.yaml"
    monkeypatch.chdir(tmp_path)
    deck.write_text(json.dumps(mace_recipe("out")))
    source = str(Path(__file__).parents[2] / "src")
    command = [sys.executable, "-m", "msolve.cli", "train", "potential", str(deck)]
    program = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": source}, stderr=subprocess.PIPE, text=True
    )
    stages, deadline = out / "work/stages.json", time.monotonic() + 120
    while not (stages.is_file() and json.loads(stages.read_text())["begun"] == 1):
        assert program.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    program.send_signal(signal.SIGTERM)
    assert program.communicate(timeout=30)[1].count("goes on") == 1
    assert program.returncode == 128 + signal.SIGTERM
    first_stage = (out / "work/stage_0.log").read_bytes()
    labels = (out / "cells/rattled.extxyz").stat().st_mtime_ns

    try:
        train_potential(training_from_dict(json.loads(deck.read_text())))
    except ConvergenceError as error:  # so few epochs need not give a crystal
        assert "no stress-free lattice" in str(error) or "no minimum" in str(error)
    assert (out / "work/stage_0.log").read_bytes() == first_stage
    assert (out / "cells/rattled.extxyz").stat().st_mtime_ns >= labels
    assert json.loads(stages.read_text())["done"] == 1
    assert (out / "tiny.model").stat().st_size > 10_000


def nequip_recipe(folder, **changes):
    network = {
        "_target_": "nequip.model.NequIPGNNModel", "r_max": 4.0, "num_layers": 2, "l_max": 1,
        "num_features": 4, "num_bessels": 4, "radial_mlp_width": 8,
        "avg_num_neighbors": "${training_data_stats:num_neighbors_mean}",
        "per_type_energy_scales": "${training_data_stats:forces_rms}",
        "per_type_energy_shifts": {"W": 0.0},
    }  # fmt: skip
    training = {
        "_target_": "nequip.train.EMALightningModule",
        "loss": {
            "_target_": "nequip.train.EnergyForceStressLoss",
            "coeffs": {"total_energy": 1, "forces": 1, "stress": 1},
        },
        "val_metrics": {
            "_target_": "nequip.train.EnergyForceStressMetrics",
            "coeffs": {"forces_rmse": 1},
        },
        "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.01},
        "model": network | changes,
    }
    config = {"trainer": {"max_epochs": 40}, "training_module": training}
    return mace_recipe(folder) | {"model": {"kind": "nequip", "config": config}}


def test_what_a_configuration_of_nequip_must_hold(tmp_path):
    recipe = nequip_recipe(tmp_path, r_max=None, _target_=None)
    recipe["model"]["config"] |= {"run": ["test"], "trainer": {}}
    with pytest.raises(CaseError) as refused:
        train_potential(training_from_dict(recipe))
    told = str(refused.value)
    for key in (
        "run: is given",
        "model._target_: missing",
        "model.r_max: missing",
        "max_epochs: m",
    ):
        assert key in told
    assert not any(tmp_path.iterdir())


@pytest.mark.models
@pytest.mark.slow
def test_nequip_is_trained_and_goes_on_after_a_kill(tmp_path, monkeypatch):
    pytest.importorskip("nequip", reason="nequip is not installed")
    out, deck = tmp_path / "out", tmp_path / "deck.yaml"
    deck.write_text(json.dumps(nequip_recipe("out")))  # from where the command runs
    monkeypatch.chdir(tmp_path)
    source = str(Path(__file__).parents[2] / "src")
    command = [sys.executable, "-m", "msolve.cli", "train", "potential", str(deck)]
    program = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": source}, stderr=subprocess.PIPE, text=True
    )
    last, deadline = out / "work/last.ckpt", time.monotonic() + 120
    while not last.is_file():
        assert program.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    program.send_signal(signal.SIGTERM)
    assert program.communicate(timeout=30)[1].count("goes on") == 1
    assert program.returncode == 128 + signal.SIGTERM
    assert not (out / "tiny.ckpt").exists()

    try:
        train_potential(training_from_dict(json.loads(deck.read_text())))
    except ConvergenceError as error:  # so few epochs need not give a crystal
        assert "no stress-free lattice" in str(error) or "no minimum" in str(error)
    said = (out / "work/said.log").read_text().splitlines()
    epochs = [int(line.split("Epoch ")[1].split(",")[0]) for line in said if "Epoch " in line]
    assert epochs.count(0) == 1 and epochs[-1] == 39
    content = (out / "tiny.ckpt").read_bytes()
    assert len(content) > 10_000 and str(tmp_path).encode() not in content
    assert {74} == load_potential(out / "tiny.ckpt", "nequip").numbers
