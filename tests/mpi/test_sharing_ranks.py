# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Ranks that measure what their atoms cost share them so that all are busy for equal times; the numbers stay."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.ranks

WORKER = Path(__file__).with_name("sharing_worker.py")
TABLE = Path(__file__).parents[2] / "solver_configs/potentials/w_eam4.eam.fs"


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed")
def test_a_crystal_of_unequal_density(tmp_path):
    found = []
    for n in (1, 3):
        command = ["mpirun", "-n", str(n), sys.executable, str(WORKER), str(tmp_path / f"{n}.npz")]
        done = subprocess.run([*command, str(TABLE)], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        with np.load(tmp_path / f"{n}.npz") as file:
            found.append(dict(file))
    one, three = found
    for key in ("energy", "gradient", "product"):
        assert np.abs(three[key] - one[key]).max() < 1e-12 * np.abs(one[key]).max()
    assert one["seconds"].size == 0
    spread = three["seconds"].max(axis=1) / three["seconds"].mean(axis=1) - 1
    # By the number of atoms the porous half is too cheap. Half is far more than what measuring is unsure by.
    assert spread[0] > 0.15
    assert spread[1:].min() < 0.5 * spread[0]
