# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A learned handshake with random weights is the same function on any number of ranks."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.ranks

WORKER = Path(__file__).with_name("handshake_worker.py")


def run(n_ranks, folder):
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed")
    out = folder / "out.npz"
    command = ["mpirun", "-n", str(n_ranks), sys.executable, str(WORKER), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-5000:]
    with np.load(out) as found:
        return dict(found)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run(1, tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize(
    "n_ranks", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_energy_gradient_and_hessian_products_are_the_same(one, n_ranks, tmp_path):
    found = run(n_ranks, tmp_path)
    assert sorted(found) == sorted(one) and len(one) == 12
    for name, ours in one.items():
        if name.startswith("sum forces"):
            assert np.isnan(ours) and np.isnan(found[name])
        elif name.startswith("sum"):
            assert found[name] == pytest.approx(float(ours), rel=1e-12)
        else:
            assert found[name][:, :4] == pytest.approx(ours[:, :4], abs=1e-9), name
            for columns in (slice(4, 7), slice(7, 10)):
                scale = np.abs(ours[:, columns]).max()
                assert found[name][:, columns] == pytest.approx(
                    ours[:, columns], abs=1e-10 * scale
                ), name
