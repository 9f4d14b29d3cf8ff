# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Models behind QUIP and torch-sim give the same forces and products on any number of ranks."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.ranks

WORKER = Path(__file__).with_name("black_box_worker.py")
FORCES = {"gap": 1e-9, "torchsim": 1e-12}
"""Of the largest force; the coefficients of a GAP are large and cancel, which costs digits."""

PRODUCTS = {"gap": 1e-9, "torchsim": 1e-10}
"""Of the largest; differences of forces see little of what is rounded alike on every rank."""

PACKAGE = {"gap": "quippy", "torchsim": "torch_sim"}


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed")
@pytest.mark.parametrize("kind", PACKAGE)
def test_same_forces_on_any_number_of_ranks(kind, tmp_path):
    if find_spec(PACKAGE[kind]) is None or find_spec("mace") is None:
        pytest.skip(f"{PACKAGE[kind]} is not installed")
    found = []
    for n in range(1, 9):
        command = ["mpirun", "-n", str(n), sys.executable, str(WORKER), str(tmp_path / f"{n}.npz")]
        done = subprocess.run([*command, kind], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        with np.load(tmp_path / f"{n}.npz") as file:
            found.append(dict(file))
    one, *others = found
    for body in ("bar", "cluster", "crystal"):
        of = {key: np.abs(one[f"{body}: {key}"]).max() for key in ("gradient", "product")}
        assert of["gradient"] > 0.5 and of["product"] > 10
        for other in others:
            away = {
                key: np.abs(other[f"{body}: {key}"] - one[f"{body}: {key}"]).max() for key in of
            }
            told = f"{body}, {len(other['bar: owned'])} ranks: {away} of {of}"
            assert away["gradient"] < FORCES[kind] * of["gradient"], told
            assert away["product"] < PRODUCTS[kind] * of["product"], told
            energy, expected = other[f"{body}: energy"], one[f"{body}: energy"]
            assert np.isnan(expected) or np.isclose(energy, expected, rtol=1e-10), told
            owned = other[f"{body}: owned"]
            assert owned.min() > 1 and owned.sum() == one[f"{body}: owned"].sum()
