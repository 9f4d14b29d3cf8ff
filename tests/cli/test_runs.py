# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Whole runs through the command: a tiny crack with all its output, and what happens if it fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest

from msolve.config import case_from_dict

ROOT = Path(__file__).parents[2]
DECKS = ROOT / "solver_configs"
TINY = (
    "domain.radius=30 angstrom",
    "regions.core_radius=6 angstrom",
    "regions.blend=5 angstrom",
)


def run(folder: Path, deck: str, *changes: str, ranks: int = 1, verb: str = ""):
    """Run a shipped deck with changes; output goes below ``folder``."""
    start = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    words = [verb] if verb else []
    for change in changes:
        words += ["--set", change]
    return subprocess.run(
        [*start, sys.executable, "-m", "msolve.cli", *words, str(DECKS / f"{deck}.yaml")],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )


@pytest.fixture(scope="module")
def crack(tmp_path_factory):
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed")
    folder = tmp_path_factory.mktemp("crack")
    told = run(folder, "crack_eam", *TINY, "name=tiny", ranks=2)
    assert told.returncode == 0, told.stderr[-4000:]
    return folder / "results" / "tiny", told


def test_a_run_tells_its_table_once(crack):
    _, told = crack
    assert told.stdout.count("lowest λ   tip x1") == 1
    assert told.stdout.count("1.05 K_G") == 1
    assert "Traceback" not in told.stderr


def test_the_result_is_whole_and_right(crack):
    folder, _ = crack
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "converged"
    assert result["ranks"] == 2
    assert result["material"]["lattice_constant"] == pytest.approx(3.14339, abs=1e-4)
    (step,) = result["steps"]
    assert step["load"] == pytest.approx(1.05)
    assert step["load_unit"] == "K_G"
    assert step["residual_norm"] <= 1e-4
    assert step["lowest_eigenvalue"] > 0
    assert abs(step["tip_position"][0]) < 5
    assert 0 < step["free_atoms"] < step["evaluated_atoms"]
    assert step["unknowns"] > 3 * step["free_atoms"]
    # A core of two lattice constants is too small to be good; the sign of life is that the error
    # is a few per cent of the corrector, not of the order of one.
    assert 0 < result["comparison"]["relative_h1"] < 0.2
    assert case_from_dict(result["case"], folder=DECKS).name == "tiny"


def test_every_file_that_the_result_names_is_there(crack):
    folder, _ = crack
    files = json.loads((folder / "result.json").read_text())["files"]
    assert {"fields.xdmf", "atoms/step_0000.extxyz", "domain.png", "tip.png"} <= set(files)
    for name in files:
        assert (folder / name).stat().st_size > 0
    atoms = ase.io.read(folder / "atoms/step_0000.extxyz")
    assert set(atoms.arrays) >= {"displacement", "site_energy", "strain", "region", "beta"}
    assert np.isfinite(atoms.arrays["strain"]).all()
    assert "minimise: iteration" in (folder / "msolve.log").read_text(encoding="utf-8")


def test_check_tells_the_size_and_writes_nothing(tmp_path):
    told = run(tmp_path, "crack_eam", *TINY, verb="check")
    assert told.returncode == 0, told.stderr
    assert "crack_eam: valid" in told.stdout
    assert "unknowns" in told.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_domain_too_small_for_the_potential_is_a_bad_input(tmp_path):
    told = run(tmp_path, "crack_eam", *TINY, "domain.radius=15 angstrom")
    assert told.returncode == 2
    assert "crack_eam.yaml: 1 problem\n  domain.radius = 15 angstrom:" in told.stderr


def test_a_run_that_does_not_converge_ends_with_3(tmp_path):
    told = run(
        tmp_path, "vacancy", *TINY, "solver.max_iterations=1", "solver.stability=false",
        "compare.atomistic=false", "output.pictures=false", "output.fields=false",
    )  # fmt: skip
    assert told.returncode == 3, told.stderr
    assert json.loads((tmp_path / "results/vacancy/result.json").read_text())["status"] == (
        "not converged"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("deck", "bound"),
    [  # twice the error measured when the deck was written
        ("crack_linear", 0.032),
        ("screw_dislocation", 0.0083),
        ("two_regions", 0.0046),
        ("di_vacancy", 0.0028),
        ("vacancy_lammps", 0.02),
        ("micro_crack", 0.024),
        ("micro_crack_triangular", 0.024),
    ],
)
def test_decks_against_the_full_atomistic_model(tmp_path, deck, bound):
    told = run(tmp_path, deck, "output.pictures=false")
    assert told.returncode == 0, told.stderr
    result = json.loads((tmp_path / "results" / deck / "result.json").read_text())
    assert result["status"] == "converged"
    assert result["steps"][-1]["lowest_eigenvalue"] > 0
    assert 0 < result["comparison"]["relative_h1"] < bound
    assert 0 < result["comparison"]["tip_h1"] < result["comparison"]["total_h1"]


@pytest.mark.slow
def test_a_plate_with_a_hole_of_ones_own_on_one_and_three_ranks(tmp_path):
    energies = []
    for ranks in (1, 3):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        told = run(folder, "plate_with_hole", "output.pictures=false", ranks=ranks)
        assert told.returncode == 0, told.stderr
        result = json.loads((folder / "results/plate_with_hole/result.json").read_text())
        assert result["status"] == "converged"
        energies.append([step["energy"] for step in result["steps"]])
        assert result["steps"][1]["lowest_eigenvalue"] > 0
    assert energies[0] == pytest.approx(energies[1], abs=1e-5)


@pytest.mark.slow
def test_a_crack_in_mixed_mode_over_two_load_steps(tmp_path):
    changes = (
        "domain.radius=60 angstrom",
        "regions.core_radius=12 angstrom",
        "load.K=[0.95 K_G, 1.0 K_G]",
        "load.mode=[1, 0.1, 0.1]",
        "load.tip=-1 angstrom",
        "compare.atomistic=true",
        "output.pictures=false",
    )
    told = run(tmp_path, "crack_eam", *changes)
    assert told.returncode == 0, told.stderr
    result = json.loads((tmp_path / "results/crack_eam/result.json").read_text())
    assert result["status"] == "converged"
    assert [step["load"] for step in result["steps"]] == pytest.approx([0.95, 1.0])
    assert result["comparison"]["relative_h1"] < 0.1
