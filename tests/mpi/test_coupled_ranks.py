# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A whole coupled run gives the same answer on any number of ranks."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest

DECK = Path(__file__).parents[2] / "solver_configs" / "crack_eam.yaml"
SMALL = {
    "domain.radius": "34 angstrom",
    "regions.core_radius": "6 angstrom",
    "regions.blend": "6 angstrom",
    "solver.gradient_tolerance": "1e-8 eV/angstrom",
    "coupling.correction_tolerance": "1e-7 eV/angstrom",
    "output.pictures": "false",
    "output.fields": "false",
}
ENERGY = 1e-9  # relative
DISPLACEMENT = 1e-7  # [Å]; files hold positions to 1e-9


def run(n_ranks, folder):
    """Energy [eV], positions [Å] and the rest of a small crack's result."""
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed")
    changes = [f"--set={key}={value}" for key, value in SMALL.items()]
    command = [
        "mpirun",
        "-n",
        str(n_ranks),
        sys.executable,
        "-m",
        "msolve.cli",
        str(DECK),
        *changes,
    ]
    command.append(f"--set=output.directory={folder}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    result = json.loads((folder / "result.json").read_text())
    assert result["ranks"] == n_ranks
    return result, ase.io.read(folder / "atoms.extxyz").get_positions()


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run(1, tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize("n_ranks", [2, 3, 4])
def test_a_crack_is_the_same_on_any_number_of_ranks(one, n_ranks, tmp_path):
    result, positions = run(n_ranks, tmp_path)
    step, expected = result["steps"][0], one[0]["steps"][0]
    assert step["unknowns"] == expected["unknowns"]
    assert step["energy"] == pytest.approx(expected["energy"], rel=ENERGY)
    assert np.abs(positions - one[1]).max() < DISPLACEMENT
    assert step["lowest_eigenvalue"] == pytest.approx(expected["lowest_eigenvalue"], rel=1e-6)
    error, exact = result["comparison"], one[0]["comparison"]
    assert error["total_h1"] == pytest.approx(exact["total_h1"], rel=1e-6)
