# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Models behind QUIP and torch-sim give the same forces on any number of ranks."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.ranks

WORKER = Path(__file__).with_name("black_box_worker.py")
RELATIVE = {"gap": 1e-9, "torchsim": 1e-12}
"""Of the largest force; the coefficients of a GAP are large and cancel, which costs digits."""

PACKAGE = {"gap": "quippy", "torchsim": "torch_sim"}


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed")
@pytest.mark.parametrize("kind", PACKAGE)
def test_same_forces_on_any_number_of_ranks(kind, tmp_path):
    if find_spec(PACKAGE[kind]) is None or find_spec("mace") is None:
        pytest.skip(f"{PACKAGE[kind]} is not installed")
    found = []
    for n in (1, 2, 3, 4, 8):
        command = ["mpirun", "-n", str(n), sys.executable, str(WORKER), str(tmp_path / f"{n}.npz")]
        done = subprocess.run([*command, kind], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        with np.load(tmp_path / f"{n}.npz") as file:
            found.append(dict(file))
    one, *others = found
    scale = np.abs(one["gradient"]).max()
    assert scale > 0.5
    for other in others:
        assert other["owned"].min() > 5 and other["owned"].sum() == one["owned"].sum()
        assert np.abs(other["gradient"] - one["gradient"]).max() < RELATIVE[kind] * scale
        assert np.isnan(one["energy"]) or np.isclose(other["energy"], one["energy"], rtol=1e-10)
