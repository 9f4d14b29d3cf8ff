# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The command itself: exit codes, messages, start-up, and that each message appears once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from msolve import __version__

ROOT = Path(__file__).parents[2]
BAD = "domain: {radius: 8}\nregions: {blnd: 3 angstrom}\n"


def msolve(*words: str, ranks: int = 0, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, on ``ranks`` ranks if that is not 0."""
    start = ["mpirun", "-n", str(ranks)] if ranks else []
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [*start, sys.executable, "-m", "msolve.cli", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )


TOY = """
crystal: {structure: triangular, element: H, orientation: {x1: [1, 0, 0], x3: [0, 0, 1]}}
potential: {kind: toy}
domain: {radius: 16 angstrom}
regions: {core_radius: 3 angstrom, blend: 3 angstrom}
defect: {kind: vacancy}
load: {kind: affine, strain: {e11: 1 %}}
output: {pictures: false, directory: out}
"""


def told_to(reader: int, cwd: Path, *words: str) -> tuple[int, str]:
    """Exit code and messages of a command whose standard output is a given file; nobody reads a closed one."""
    ended = subprocess.run(
        [sys.executable, "-m", "msolve.cli", *words],
        stdout=reader,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("verb", [(), ("check",), ("info",)])
def test_nobody_needs_to_read_to_the_end(tmp_path, verb):
    """As under ``| head``: what is left to say is lost, a run goes on."""
    (tmp_path / "deck.yaml").write_text(TOY)
    read, write = os.pipe()
    os.close(read)
    try:
        assert told_to(write, tmp_path, *verb, "deck.yaml") == (0, "")
    finally:
        os.close(write)
    assert (tmp_path / "out/result.json").is_file() == (verb == ())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux' /dev/full")
@pytest.mark.parametrize("verb", ["check", "info"])
def test_a_report_that_cannot_be_written_is_told_once(tmp_path, verb):
    (tmp_path / "deck.yaml").write_text(TOY)
    with open("/dev/full", "w") as full:
        code, told = told_to(full.fileno(), tmp_path, verb, "deck.yaml")
    assert code == 4
    assert told == "standard output cannot be written: No space left on device\n"


@pytest.fixture
def bad(tmp_path) -> str:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return str(path)


def test_version_and_help():
    assert msolve("--version").stdout == f"msolve {__version__}\n"
    told = msolve("--help")
    assert told.returncode == 0
    assert "usage: msolve [check] CASE.yaml" in told.stdout


def test_help_starts_fast():
    # Against the interpreter's own start, which is not ours to change. The best of three, because
    # the machine may be busy.
    def best(*command: str) -> float:
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=ROOT)
            times.append(time.perf_counter() - begin)
        return min(times)

    source = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); import msolve.cli"
    assert best("-c", source) - best("-c", "pass") < 0.5


def test_help_imports_nothing_heavy():
    source = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})\n"
        "from msolve.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'torch', 'dolfinx', 'petsc4py', 'mpi4py', 'pydantic', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", source], check=True, capture_output=True)


@pytest.mark.parametrize("verb", [[], ["check"]])
def test_a_bad_input_is_explained_and_ends_with_2(bad, verb):
    told = msolve(*verb, bad)
    assert told.returncode == 2
    assert told.stdout == ""
    assert told.stderr.endswith(
        "bad.yaml: 5 problems\n"
        "  crystal: missing; Crystal and orientation\n"
        "  potential: missing; Interatomic potential\n"
        "  domain.radius = 8: needs a length with a unit (angstrom, nm, um), e.g. '8 angstrom'\n"
        "  regions.blnd: no such key; did you mean 'blend'?\n"
        "  load: missing; What happens at the outer boundary\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "msolve: name an input file"),
        (["check"], "msolve: name an input file"),
        (
            ["a.yaml", "--set", "a=b", "b.yaml"],
            "msolve: one input file at a time, found: a.yaml b.yaml",
        ),
        (["--colour", "a.yaml"], "msolve: unrecognized arguments: --colour"),
        (["none.yaml"], "none.yaml: 1 problem\n  no such file"),
    ],
)
def test_arguments_that_make_no_sense_end_with_2(words, message):
    told = msolve(*words)
    assert told.returncode == 2
    assert message in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun")
def test_on_three_ranks_a_bad_input_is_told_once_and_ends_with_2(bad):
    told = msolve(bad, ranks=3)
    assert told.returncode == 2
    assert told.stderr.count("5 problems") == 1
    assert told.stderr.count("regions.blnd: no such key") == 1
    assert "Traceback" not in told.stderr


FAILING = """
import sys
sys.path.insert(0, {source!r})
import types
from mpi4py import MPI
from msolve import cli
from msolve.errors import ConvergenceError, UnsupportedError
def run_case(case, comm, **_):
    if comm.rank in {ranks}:
        raise {error}
    comm.Barrier()
sys.modules["msolve.run"] = types.SimpleNamespace(run_case=run_case)
import msolve
msolve.run = sys.modules["msolve.run"]
cli.PATIENCE = 1.0
sys.exit(cli.main([{deck!r}]))
"""


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun")
@pytest.mark.parametrize(
    ("error", "ranks", "code", "message"),
    [
        ("RuntimeError('a bug')", {0, 1}, 1, "RuntimeError: a bug"),
        ("RuntimeError('a bug')", {1}, 1, "rank 1 of 2: Traceback"),
        ("ConvergenceError('no luck')", {0, 1}, 3, "not converged: no luck"),
        ("UnsupportedError('use bqcf')", {0, 1}, 2, "use bqcf"),
    ],
)
def test_errors_of_some_or_all_ranks_end_the_run(tmp_path, error, ranks, code, message):
    script = tmp_path / "failing.py"
    deck = str(ROOT / "solver_configs" / "vacancy.yaml")
    script.write_text(FAILING.format(source=str(ROOT / "src"), ranks=ranks, error=error, deck=deck))
    told = subprocess.run(
        ["mpirun", "-n", "2", sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert told.returncode == code
    assert message in told.stderr
    assert len(re.findall("a bug|no luck|use bqcf", told.stderr)) <= 2  # the call, the message
