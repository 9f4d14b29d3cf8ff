# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The shipped tungsten model agrees with its report, and the report with the shipped truth."""

import functools
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from msolve.atomistic import cluster_energy
from msolve.potentials import load_potential
from msolve.potentials.mace_import import quiet_import

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]

with quiet_import():
    pytest.importorskip("mace.modules", reason="mace-torch is not installed")

POTENTIALS = Path(__file__).parents[2] / "solver_configs" / "potentials"
REPORT = json.loads((POTENTIALS / "w_mace" / "report.json").read_text())
MODEL = POTENTIALS / "w_mace" / "w_mace.model"
SAMPLES = {sample["kind"]: sample for sample in REPORT["samples"]}


@functools.cache
def mace():
    return load_potential(MODEL, "mace")


@functools.cache
def eam4():
    return load_potential(POTENTIALS / "w_eam4.eam.fs", "eam")


def evaluate(potential, sample):
    positions = np.array(sample["positions"])
    numbers = np.full(len(positions), 74)
    energy, gradient = cluster_energy(potential, positions, numbers, sample["cell"], [True] * 3)
    return energy, -gradient


def test_report_is_about_this_file():
    assert hashlib.sha256(MODEL.read_bytes()).hexdigest() == REPORT["sha256"]


@pytest.mark.parametrize("kind", SAMPLES)
def test_model_gives_the_reported_energy_and_forces(kind):
    sample = SAMPLES[kind]
    energy, forces = evaluate(mace(), sample)
    # Round-off of float64, summed in another order.
    assert energy == pytest.approx(sample["model"]["energy"], rel=1e-11)
    np.testing.assert_allclose(forces, sample["model"]["forces"], atol=1e-9)


@pytest.mark.parametrize("kind", SAMPLES)
def test_shipped_table_gives_the_labels(kind):
    sample = SAMPLES[kind]
    energy, forces = evaluate(eam4(), sample)
    # Positions in the report are rounded to 1e-8 Å.
    assert energy == pytest.approx(sample["truth"]["energy"], abs=1e-6)
    np.testing.assert_allclose(forces, sample["truth"]["forces"], atol=1e-5)


@pytest.mark.parametrize("kind", SAMPLES)
def test_model_is_close_to_the_truth_on_cells_that_training_never_saw(kind):
    truth, model = SAMPLES[kind]["truth"], SAMPLES[kind]["model"]
    n_atoms = len(truth["forces"])
    typical = REPORT["test_errors_rms"][kind]
    energy_error = 1e3 * abs(model["energy"] - truth["energy"]) / n_atoms
    force_error = 1e3 * np.sqrt(np.mean(np.subtract(model["forces"], truth["forces"]) ** 2))
    # One cell may lie above the root mean square over its kind, but not by much.
    assert energy_error < 4 * typical["energy"]
    assert force_error <= 4 * typical["forces"] + 1e-6


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("a0", 0.002)]
    + [(name, 0.03) for name in ("C11", "C12", "C44")]
    + [(name, 0.05) for name in ("gamma100", "gamma110", "E_vacancy", "K_G (110)[001]")],
)
def test_reported_properties_are_near_the_truth(name, tolerance):
    model, truth = (REPORT["properties"][which][name] for which in ("model", "truth"))
    assert model == pytest.approx(truth, rel=tolerance)


def test_reported_truth_is_that_of_the_potential():
    published = {"a0": 3.14339, "E_bulk": -8.9, "C11": 523.0, "C12": 202.2, "C44": 160.9}
    found = {name: REPORT["properties"]["truth"][name] for name in published}
    assert found == pytest.approx(published, rel=2e-4)
