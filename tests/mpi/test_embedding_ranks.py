# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Atoms in a caller's own form come out the same on any number of ranks."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.ranks

WORKER = Path(__file__).with_name("embedding_worker.py")


def run(n_ranks, folder):
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed")
    out = folder / "out.npz"
    command = ["mpirun", "-n", str(n_ranks), sys.executable, str(WORKER), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-5000:]
    return np.load(out)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run(1, tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize(
    "n_ranks", [pytest.param(2, marks=pytest.mark.slow), 3, pytest.param(4, marks=pytest.mark.slow)]
)
def test_atoms_in_a_form_are_the_same_on_any_number_of_ranks(one, n_ranks, tmp_path):
    found = run(n_ranks, tmp_path)
    assert one["reason"] > 0 and found["reason"] > 0
    assert found["unknowns"] == one["unknowns"]
    assert found["idle"] == one["idle"] > 20
    assert found["size"] == pytest.approx(one["size"], rel=1e-9)
    assert np.abs(found["positions"] - one["positions"]).max() < 1e-7
