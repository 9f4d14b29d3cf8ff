# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Runs that are killed, stopped or lengthened: what they leave can be read, and going on gives the same answer."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import ase.io
import h5py
import numpy as np
import pytest

from msolve.io.checkpoints import read_checkpoint

ROOT = Path(__file__).parents[2]
KILLER = str(Path(__file__).with_name("killer.py"))
DECK = """
crystal: {structure: triangular, element: H, orientation: {x1: [1, 0, 0], x3: [0, 0, 1]}}
potential: {kind: toy}
domain: {radius: 25 angstrom}
regions: {core_radius: 4 angstrom, blend: 4 angstrom}
defect: {kind: vacancy}
mesh: {degree: 2}
load: {kind: affine, strain: {e11: 2 %, e12: 0.5 %}, steps: [0.5, 1.0], predictor: false}
solver: {stability: false}
output: {pictures: false, directory: out, checkpoint_every: 0.02}
"""
SOLVER = 1e-3  # Å and eV: what a gradient of 1e-4 eV/Å leaves open in this soft lattice, with room
ROUNDING = 1e-9  # Å and eV: other ranks add up in another order

RANKS = [
    1,
    pytest.param(3, marks=pytest.mark.skipif(not shutil.which("mpirun"), reason="no mpirun")),
]


def start(folder, *words, ranks=1, killer=()):
    """Begin ``msolve WORDS`` in ``folder``, or the killer with it."""
    program = [KILLER, *map(str, killer)] if killer else ["-m", "msolve.cli"]
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [*(["mpirun", "-n", str(ranks)] if ranks > 1 else []), sys.executable, *program, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )


def msolve(folder, *words, **how):
    """Exit code and messages of ``start`` when it has ended."""
    running = start(folder, *words, **how)
    try:
        _, told = running.communicate(timeout=200)
    finally:
        running.kill()
    return running.returncode, told


def make(folder, *changes):
    folder.mkdir(parents=True, exist_ok=True)
    text = DECK
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "deck.yaml").write_text(text)
    return folder


def whole_run(folder, *changes, ranks=1):
    code, told = msolve(make(folder, *changes), "deck.yaml", ranks=ranks)
    assert code == 0, told
    return folder / "out"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return whole_run(tmp_path_factory.mktemp("whole"))


def assert_readable(out):
    """Each file that is there can be read, and indices name what is there."""
    named = set()
    if (out / "result.json").exists():
        result = json.loads((out / "result.json").read_text())
        assert all((out / name).is_file() for name in result["files"])
    if (out / "fields.xdmf").exists():
        for item in ElementTree.parse(out / "fields.xdmf").iter("DataItem"):
            file, name = item.text.split(":/")
            named.add(file)
            with h5py.File(out / file) as data:
                size = [int(n) for n in item.get("Dimensions").split()]
                assert list(data[name].shape) == size
    for path in out.rglob("[!.]*.h5"):
        with h5py.File(path) as data:
            data.visititems(lambda _, one: one[()] if isinstance(one, h5py.Dataset) else None)
    for path in out.rglob("[!.]*.extxyz"):
        assert np.isfinite(ase.io.read(path).get_positions()).all()
    if (out / "checkpoint.h5").exists():
        state = read_checkpoint(out / "checkpoint.h5")
        assert np.isfinite(state.atoms).all()
        assert all(f"fields/step_{step.index:04d}.h5" in named for step in state.steps)


def assert_same(out, other, tolerance):
    """Same results and same files; returns the largest difference of a position, displacement or energy."""
    a, b = (json.loads((folder / "result.json").read_text()) for folder in (out, other))
    for key in ("status", "material", "files", "format"):
        assert a[key] == b[key]
    worst = 0.0
    for mine, theirs in zip(a["steps"], b["steps"], strict=True):
        worst = max(worst, abs(mine["energy"] - theirs["energy"]))
        for key in ("index", "load", "load_unit", "converged", "unknowns", "mesh_nodes"):
            assert mine[key] == theirs[key]
    for name in a["files"]:
        if name.endswith(".extxyz"):
            positions = [ase.io.read(folder / name).get_positions() for folder in (out, other)]
            worst = max(worst, np.abs(positions[0] - positions[1]).max())
        elif name.endswith(".h5") and "step" in name:
            with h5py.File(out / name) as mine, h5py.File(other / name) as theirs:
                difference = mine["displacement"][:] - theirs["displacement"][:]
                worst = max(worst, np.abs(difference).max())
    assert worst < tolerance
    return worst


def go_on(folder, whole, tolerance, ranks=1):
    """Restart, or start where there is nothing yet; the answer is that of the whole run."""
    out = folder / "out"
    if out.exists():
        assert_readable(out)
    words = ("restart", "out") if (out / "checkpoint.h5").exists() else ("deck.yaml",)
    code, told = msolve(folder, *words, ranks=ranks)
    assert code == 0, told
    assert_readable(out)
    assert not list(out.rglob(".unfinished*"))
    return assert_same(out, whole, tolerance)


def test_a_run_killed_while_it_writes_goes_on_and_ends_the_same(whole, tmp_path):
    """The 9th file is of the second load step; half of it is on the disk."""
    change = ("checkpoint_every: 0.02", "checkpoint_every: 100")
    code, _ = msolve(make(tmp_path, change), "deck.yaml", killer=("half", 9, 0))
    assert code == -signal.SIGKILL
    assert list((tmp_path / "out").rglob(".unfinished*"))
    assert len(read_checkpoint(tmp_path / "out/checkpoint.h5").steps) == 1
    assert json.loads((tmp_path / "out/result.json").read_text())["status"] == "running"
    # On as many ranks a load step begins from the very numbers that it began from before.
    assert go_on(tmp_path, whole, ROUNDING) < ROUNDING


@pytest.mark.slow
@pytest.mark.parametrize("what", ["half", "whole", "named"])
def test_killed_at_every_file_that_is_written(whole, tmp_path, what):
    counted = start(make(tmp_path / "count"), "deck.yaml", killer=("count", 0, 0))
    files = int(counted.communicate(timeout=200)[0].rpartition("files: ")[2])
    assert files > 12
    for when in range(1, files + 1):
        folder = make(tmp_path / f"{when}")
        code, told = msolve(folder, "deck.yaml", killer=(what, when, 0))
        if code == 0:  # checkpoints come by the clock: fewer files than in the run that was counted
            assert when > 12
            break
        assert code == -signal.SIGKILL, told
        go_on(folder, whole, SOLVER)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", RANKS)
def test_killed_at_random_moments(whole, tmp_path, ranks):
    rng = random.Random(7)
    begin = time.monotonic()
    whole_run(tmp_path / "timed", ranks=ranks)
    longest = time.monotonic() - begin
    for trial in range(6):
        folder = make(tmp_path / f"{trial}")
        running = start(folder, "deck.yaml", ranks=ranks)
        time.sleep(rng.uniform(0.3, 1.0) * longest)
        running.kill()  # mpirun itself; its ranks follow
        running.communicate()
        time.sleep(1.0)
        # On another number of ranks than before.
        go_on(folder, whole, SOLVER, ranks=rng.choice([1, 2, 3]) if ranks > 1 else 1)


@pytest.mark.slow
def test_a_state_fits_any_number_of_ranks(whole, tmp_path):
    change = ("checkpoint_every: 0.02", "checkpoint_every: 100")
    code, _ = msolve(make(tmp_path, change), "deck.yaml", ranks=3, killer=("named", 6, 0))
    assert code == 137
    (state,) = read_checkpoint(tmp_path / "out/checkpoint.h5").steps
    assert state.index == 0
    for ranks in (1, 2, 4):
        shutil.copytree(tmp_path / "out", tmp_path / f"{ranks}/out")
        go_on(tmp_path / f"{ranks}", whole, SOLVER, ranks)


@pytest.mark.slow
def test_a_rank_that_dies_ends_all_in_seconds(tmp_path):
    begin = time.monotonic()
    code, told = msolve(make(tmp_path), "deck.yaml", ranks=3, killer=("solve", 20, 1))
    assert code == 137
    assert "signal 9" in told
    assert "Traceback" not in told
    assert time.monotonic() - begin < 60
    code, told = msolve(tmp_path, "restart", "out", ranks=3)
    assert code == 0, told


@pytest.mark.slow
@pytest.mark.parametrize("killer", [("memory", 5, 0), ("lack", 20, 1)])
def test_memory_that_runs_out_on_one_rank_is_told_once(tmp_path, killer):
    """Where all ranks wait for one, and where the others wait for each other."""
    code, told = msolve(make(tmp_path), "deck.yaml", ranks=3, killer=killer)
    assert code == 1
    assert told.count("memory ran out") == 1
    assert "Traceback" not in told


@pytest.mark.slow
@pytest.mark.parametrize("ranks", RANKS)
def test_a_full_disk_is_told_once_wherever_it_strikes(whole, tmp_path, ranks):
    for when in range(1, 12, 1 if ranks == 1 else 3):
        folder = make(tmp_path / f"{when}")
        code, told = msolve(folder, "deck.yaml", ranks=ranks, killer=("full", when, 0))
        assert code == 4, told
        assert told.count("cannot be written: File too large") == 1
        assert "Traceback" not in told
        assert "ulimit -f" in told
        assert not list((folder / "out").rglob(".unfinished*"))
        go_on(folder, whole, SOLVER)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", RANKS)
def test_signals_stop_a_run_that_then_goes_on(whole, tmp_path, ranks):
    # mpirun hands on SIGUSR1 and goes on itself; after the others it ends its ranks.
    for name in ("SIGTERM", "SIGINT", "SIGUSR1") if ranks == 1 else ("SIGUSR1",):
        folder = make(tmp_path / name)
        running = start(folder, "deck.yaml", ranks=ranks)
        while not (folder / "out/checkpoint.h5").exists():
            time.sleep(0.01)
        running.send_signal(getattr(signal, name))
        _, told = running.communicate(timeout=60)
        assert running.returncode == 128 + getattr(signal, name), told
        assert told.count(f"stopped by {name}") == 1
        assert "msolve restart out goes on from there" in told
        go_on(folder, whole, SOLVER, ranks)


@pytest.mark.slow
def test_more_load_steps_and_what_cannot_be_changed(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    code, told = msolve(tmp_path, "restart", "out", "--set", "load.steps=[0.5, 0.9]")
    assert code == 2
    assert "load.steps = [0.5, 0.9]: the 2 load steps that are finished or under way" in told
    code, told = msolve(
        tmp_path, "restart", "out", "--set", "regions.blend=3 angstrom", "--set", "mesh.degree=1"
    )
    assert code == 2
    assert "regions.blend = 3.0 angstrom: was 4.0 angstrom and cannot be changed" in told
    assert "mesh.degree = 1: was 2 and cannot be changed" in told
    assert_same(tmp_path / "out", whole, 1e-15)
    code, told = msolve(tmp_path, "restart", "out", "--set", "load.steps=[0.5, 1.0, 1.2]")
    assert code == 0, told
    once = whole_run(tmp_path / "once", ("[0.5, 1.0]", "[0.5, 1.0, 1.2]"))
    assert_same(tmp_path / "out", once, ROUNDING)


@pytest.mark.slow
def test_a_step_that_did_not_converge_is_continued(whole, tmp_path):
    few = "coupling: {method: bqce}\nsolver: {max_iterations: 3, "
    folder = make(tmp_path, ("solver: {", few))
    assert msolve(folder, "deck.yaml")[0] == 3
    code, told = msolve(folder, "restart", "out", "--set", "solver.max_iterations=300")
    assert code == 3, told  # the first step remains as it is
    steps = json.loads((tmp_path / "out/result.json").read_text())["steps"]
    assert [step["converged"] for step in steps] == [False, True]


@pytest.mark.slow
def test_damage_and_absence_are_told(whole, tmp_path):
    assert "no such file" in msolve(tmp_path, "restart", "nowhere")[1]
    shutil.copytree(whole, tmp_path / "out")
    path = tmp_path / "out/checkpoint.h5"
    path.write_bytes(path.read_bytes()[:5000])
    code, told = msolve(tmp_path, "restart", "out")
    assert code == 2
    assert "out/checkpoint.h5: 1 problem\n  is damaged, or no checkpoint:" in told
