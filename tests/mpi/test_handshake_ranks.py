# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A learned handshake is the same function on any number of ranks, and they share the specimens of its training."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from msolve.config import load_handshake_training
from msolve.handshake.operator import load_flank_model
from msolve.train import train_handshake

pytestmark = pytest.mark.ranks

DECKS = Path(__file__).parents[2] / "solver_configs"
WORKER = Path(__file__).with_name("handshake_worker.py")


def run(n_ranks, *command):
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed")
    every = ["mpirun", "-n", str(n_ranks), sys.executable, *map(str, command)]
    done = subprocess.run(every, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-5000:]


@pytest.mark.parametrize(
    "n_ranks", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_energy_gradient_and_hessian_products_are_the_same(n_ranks, tmp_path):
    out = tmp_path / "out.npz"
    run(n_ranks, WORKER, out)
    with np.load(out) as kept:
        found = dict(kept)
    assert len(found) == 12
    for name, (one, several) in found.items():
        if name.startswith("sum, forces"):
            assert np.isnan(one) and np.isnan(several)
        elif name.startswith("sum"):
            assert several == pytest.approx(one, rel=1e-12), name
        else:
            assert several[:, :4] == pytest.approx(one[:, :4], abs=1e-9), name
            for columns in (slice(4, 7), slice(7, 10)):
                scale = np.abs(one[:, columns]).max()
                off = np.abs(several[:, columns] - one[:, columns]).max()
                assert off < 1e-10 * scale, name


def test_training_on_few_cracks_finds_most_of_the_residual(tmp_path):
    """Specimens are solved on two ranks; one rank goes on with them."""
    recipe = tmp_path / "small.yaml"
    recipe.write_text(
        f"deck: {DECKS}/crack_eam.yaml\n"
        "specimens: {count: 4, radius: 48 angstrom, K: [1.0, 1.1], shear: 0.05}\n"
        "operator: {layers: 3, hidden: 2, degrees: [1], iterations: 60, closure: linear}\n"
    )
    out = f"output.directory={tmp_path / 'out'}"
    run(2, "-m", "msolve.cli", "train", "handshake", recipe, f"--set={out}")
    given = load_handshake_training(recipe, [out])
    folder = given.output_directory
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
