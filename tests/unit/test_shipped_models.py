# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The shipped tungsten models agree with their reports, and the reports with the shipped truth."""

import functools
import hashlib
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from msolve.atomistic import cluster_energy
from msolve.crystal import Crystal
from msolve.potentials import load_potential
from msolve.potentials.rest import relaxed_lattice

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]
POTENTIALS = ROOT / "solver_configs" / "potentials"
PACKAGES = {"w_mace": "mace", "w_nequip": "nequip", "w_allegro": "allegro"}
REPORTS = {
    name: json.loads((POTENTIALS / name / "report.json").read_text(encoding="utf-8"))
    for name in PACKAGES
}
SAMPLES = {
    (name, sample["kind"]): sample
    for name, report in REPORTS.items()
    for sample in report["samples"]
}
NEAR = {
    "w_mace": {"elastic": 0.03, "others": 0.05},
    "w_nequip": {"elastic": 0.05, "others": 0.05},
    "w_allegro": {"elastic": 0.05, "others": 0.05},
}
DECKS = {
    "crack": ("mace",),  # the demo
    "crack_nequip": ("nequip",),
    "vacancy_allegro": ("allegro",),
    "vacancy_gap": ("quippy",),
    "vacancy_torchsim": ("torch_sim", "mace"),
    "vacancy_sevennet": ("sevenn",),
    "vacancy_chgnet": ("chgnet",),
    "vacancy_mattersim": ("mattersim",),
}
"""Decks, and the packages that they need."""

SHORTER = {
    # 60 atoms a second: in single precision, and to a larger tolerance
    "vacancy_sevennet": (
        "potential.precision=float32",
        "solver.gradient_tolerance=0.02 eV/angstrom",
    ),
}

each_model = pytest.mark.parametrize("name", PACKAGES)
each_sample = pytest.mark.parametrize(
    ("name", "kind"), [pytest.param(*key, id=" ".join(key)) for key in SAMPLES]
)


def path_of(name):
    return POTENTIALS / name / REPORTS[name]["model"]


@functools.cache
def model_of(name):
    if find_spec(PACKAGES[name]) is None:
        pytest.skip(f"the package {PACKAGES[name]} is not installed")
    return load_potential(path_of(name), REPORTS[name]["potential"]["kind"])


@functools.cache
def eam4():
    return load_potential(POTENTIALS / "w_eam4.eam.fs", "eam")


def evaluate(potential, sample):
    positions = np.array(sample["positions"])
    numbers = np.full(len(positions), 74)
    energy, gradient = cluster_energy(potential, positions, numbers, sample["cell"], [True] * 3)
    return energy, -gradient


@each_model
def test_report_is_about_this_file(name):
    content = path_of(name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == REPORTS[name]["sha256"]
    assert len(content) < 1e6


@each_sample
def test_model_gives_the_reported_energy_and_forces(name, kind):
    sample = SAMPLES[name, kind]
    energy, forces = evaluate(model_of(name), sample)
    # Round-off of float64, summed in another order.
    assert energy == pytest.approx(sample["model"]["energy"], rel=1e-11)
    np.testing.assert_allclose(forces, sample["model"]["forces"], atol=1e-9)


@each_sample
def test_shipped_table_gives_the_labels(name, kind):
    sample = SAMPLES[name, kind]
    energy, forces = evaluate(eam4(), sample)
    # Positions in the report are rounded to 1e-8 Å.
    assert energy == pytest.approx(sample["truth"]["energy"], abs=1e-6)
    np.testing.assert_allclose(forces, sample["truth"]["forces"], atol=1e-5)


@each_sample
def test_model_is_close_to_the_truth_on_cells_that_training_never_saw(name, kind):
    truth, model = SAMPLES[name, kind]["truth"], SAMPLES[name, kind]["model"]
    n_atoms = len(truth["forces"])
    typical = REPORTS[name]["test_errors_rms"][kind]
    bulk = REPORTS[name]["properties"]
    apart = bulk["model"]["E_bulk"] - bulk["truth"]["E_bulk"]
    energy_error = 1e3 * abs((model["energy"] - truth["energy"]) / n_atoms - apart)
    force_error = 1e3 * np.sqrt(np.mean(np.subtract(model["forces"], truth["forces"]) ** 2))
    # One cell may lie above the root mean square over its kind, but not by much.
    assert energy_error < 4 * typical["energy"]
    assert force_error <= 4 * typical["forces"] + 1e-6


@each_model
@pytest.mark.parametrize(
    "quantity",
    ["a0", "C11", "C12", "C44", "gamma100", "gamma110", "E_vacancy", "K_G (110)[001]"],
)
def test_reported_properties_are_near_the_truth(name, quantity):
    model, truth = (REPORTS[name]["properties"][which][quantity] for which in ("model", "truth"))
    kind = "elastic" if quantity.startswith("C") else "others"
    near = 0.002 if quantity == "a0" else NEAR[name][kind]
    assert model == pytest.approx(truth, rel=near)


@each_model
def test_reported_truth_is_that_of_the_potential(name):
    published = {"a0": 3.14339, "E_bulk": -8.9, "C11": 523.0, "C12": 202.2, "C44": 160.9}
    found = {key: REPORTS[name]["properties"]["truth"][key] for key in published}
    assert found == pytest.approx(published, rel=2e-4)


@each_model
def test_single_precision_holds_the_same_cubic_crystal(name):
    start = Crystal.bcc(3.16, 74)
    exact = relaxed_lattice(model_of(name), start)
    kind = REPORTS[name]["potential"]["kind"]
    rough = relaxed_lattice(load_potential(path_of(name), kind, precision="float32"), start)
    np.testing.assert_allclose(rough.cell, exact.cell, rtol=1e-4)
    size = np.abs(rough.cell)
    assert np.ptp(size) < 1e-9 * size.max()


@pytest.mark.slow
@pytest.mark.parametrize("deck", DECKS)
def test_decks_of_models_of_other_packages_run(deck, tmp_path):
    missing = [package for package in DECKS[deck] if find_spec(package) is None]
    if missing:
        pytest.skip(f"the package {missing[0]} is not installed")
    words = [word for change in SHORTER.get(deck, ()) for word in ("--set", change)]
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    told = subprocess.run(
        [sys.executable, "-m", "msolve.cli", str(ROOT / "solver_configs" / f"{deck}.yaml"), *words],
        capture_output=True, text=True, cwd=tmp_path, timeout=1800, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-4000:]
    result = json.loads((tmp_path / "results" / deck / "result.json").read_text())
    assert result["status"] == "converged"
    (step,) = result["steps"]
    assert step["lowest_eigenvalue"] is None or step["lowest_eigenvalue"] > 0
    if result["comparison"] is not None:
        # The core is small where forces reach far, for the comparison's sake.
        bound = {"torchsim": 0.1, "mattersim": 0.1, "chgnet": 0.15}.get(
            deck.partition("_")[2], 0.05
        )
        assert 0 < result["comparison"]["relative_h1"] < bound
        assert 0 < result["comparison"]["tip_h1"] < 0.6 * bound
