# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The atomistic engine gives the same numbers on any number of ranks, also with empty ones."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from msolve.testing import write_tiny_mace, write_tiny_nequip, write_tiny_sevennet

pytestmark = pytest.mark.ranks

WORKER = Path(__file__).with_name("engine_ranks_worker.py")
EAM4 = Path(__file__).parents[2] / "solver_configs/potentials/w_eam4.eam.fs"
LINEAR = EAM4.parent / "w_linear/w_linear.linear"
MACE = ("mace", "mace, without exchange", "mace, in batches")
NEQUIP = ("nequip", "nequip, without exchange", "nequip, in batches")
SEVENNET = ("sevennet", "sevennet, without exchange", "sevennet, in batches")
RELATIVE = 1e-12  # sums in another order; anything worse is a wrong halo


def run(n_ranks, models, out):
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed")
    command = ["mpirun", "-n", str(n_ranks), sys.executable, str(WORKER), str(out), *models]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    with np.load(out) as file:
        return dict(file)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """EAM, the linear potential, and those of MACE, NequIP, Allegro and SevenNet that are installed."""
    found = [f"eam={EAM4}", f"linear={LINEAR}"]
    if find_spec("mace") is not None:
        path = tmp_path_factory.mktemp("ranks") / "tiny.model"
        write_tiny_mace(path)
        other = path.with_name("other.model")
        write_tiny_mace(other, seed=1)
        found += [f"{name}={path}" for name in MACE] + [f"committee={path}+{other}"]
    if find_spec("nequip") is not None:
        folder = tmp_path_factory.mktemp("ranks")
        write_tiny_nequip(folder / "nequip.ckpt")
        found += [f"{name}={folder / 'nequip.ckpt'}" for name in NEQUIP]
    if find_spec("allegro") is not None:
        write_tiny_nequip(folder / "allegro.ckpt", allegro=True)
        found.append(f"nequip, Allegro={folder / 'allegro.ckpt'}")
    if find_spec("sevenn") is not None:
        path = tmp_path_factory.mktemp("ranks") / "sevennet.pth"
        write_tiny_sevennet(path)
        found += [f"{name}={path}" for name in SEVENNET]
    return found


@pytest.fixture(scope="module")
def expected(models, tmp_path_factory):
    return run(1, models, tmp_path_factory.mktemp("ranks") / "one.npz")


@pytest.mark.models
@pytest.mark.parametrize(
    "n_ranks",
    [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4, 5, 6, 7, 8))],
)
def test_same_numbers_on_any_number_of_ranks(models, expected, n_ranks, tmp_path):
    found = run(n_ranks, models, tmp_path / "out.npz")
    assert set(found) == set(expected) and len(found) >= 16 * len(models)
    for key, values in found.items():
        scale = np.abs(expected[key]).max()
        assert scale > 1e-2, key
        assert np.abs(values - expected[key]).max() < RELATIVE * scale, key


@pytest.mark.models
@pytest.mark.parametrize("names", [MACE, NEQUIP, SEVENNET], ids=lambda names: names[0])
def test_neither_exchange_nor_batches_change_the_numbers(models, expected, names):
    usual, *others = names
    if not any(key.startswith(f"{usual}, ") for key in expected):
        pytest.skip(f"{usual} is not installed")
    for name in others:
        for key in (key for key in expected if key.startswith(f"{name}, ")):
            same = expected[key.replace(name, usual, 1)]
            assert np.abs(expected[key] - same).max() < RELATIVE * np.abs(same).max(), key
