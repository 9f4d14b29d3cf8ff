# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Every input of ``bad_inputs`` is refused with one message that says what, where and what would do, and code 2."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("bad_inputs", HERE / "bad_inputs.py")
assert _spec is not None and _spec.loader is not None
bad_inputs = sys.modules["bad_inputs"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bad_inputs)

SOURCE = str(HERE.parents[1] / "src")
PATHS = os.pathsep.join(filter(None, (SOURCE, os.environ.get("PYTHONPATH", ""))))
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATHS}
Seen = list[list[dict[str, Any]]]


def fed(folder: Path, ranks: int, every: int = 1) -> Seen:
    """What each rank saw when one launch was fed all cases, or some."""
    start: Sequence[str] = ("mpirun", "-n", str(ranks)) if ranks > 1 else ()
    subprocess.run(
        [*start, sys.executable, str(HERE / "bad_inputs.py"), str(folder), str(every)],
        check=True,
        timeout=240,
        env=ENVIRONMENT,
    )
    return [json.loads((folder / f"seen.{rank}.json").read_text()) for rank in range(ranks)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad")


@pytest.fixture(scope="module")
def alone(folder: Path) -> Seen:
    return fed(folder, 1)


def told(seen: Seen, folder: Path) -> list[str]:
    return [bad_inputs.message(each["stderr"], folder) for each in seen[0]]


def test_each_is_refused_with_one_message_and_code_2(alone, folder):
    assert len(bad_inputs.CASES) >= 60
    for case, seen, text in zip(bad_inputs.CASES, alone[0], told(alone, folder), strict=True):
        what = f"{case.group}: {case.name}: {seen}"
        assert seen["code"] == case.code, what
        assert case.says in text, what
        assert "Traceback" not in seen["stderr"] + seen["stdout"], what
        assert text.count(" problem\n") + text.count(" problems\n") <= 1, what
        assert len(text) < 600, what


def test_the_page_of_messages_is_current(alone, folder):
    page = HERE.parents[1] / "docs" / "messages.md"
    assert page.read_text() == bad_inputs.page(told(alone, folder)), (
        "renew it by `python tests/cli/bad_inputs.py`"
    )


@pytest.mark.ranks
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun")
@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_on_three_ranks_the_same_is_told_once(alone, folder, tmp_path, every):
    ranks = fed(tmp_path, 3, every)
    some = slice(None, None, every)
    for case, expected, text, *seen in zip(
        bad_inputs.CASES[some],
        told(alone, folder)[some],
        told(ranks, tmp_path),
        *ranks,
        strict=True,
    ):
        assert [each["code"] for each in seen] == [case.code] * 3, f"{case.name}: {seen}"
        assert text == expected, case.name
        assert not any(each["stderr"] + each["stdout"] for each in seen[1:]), case.name


@pytest.mark.ranks
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun")
def test_more_ranks_than_cells_of_the_mesh(tmp_path):
    halves = [(0, 1, 2), (0, 2, 3)]
    files = bad_inputs._msh(bad_inputs.SQUARE, halves, 2, bad_inputs.RING)
    case = bad_inputs.Bad("", "", "", bad_inputs.MESHED, files=files)
    (tmp_path / "w.eam.alloy").write_text(bad_inputs._potential(tmp_path))
    (tmp_path / "deck.yaml").write_bytes(case.deck())
    files(tmp_path)
    for verb in ([], ["check"]):
        words = ["mpirun", "-n", "3", sys.executable, "-m", "msolve.cli", *verb, "deck.yaml"]
        ended = subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=ENVIRONMENT
        )
        assert ended.returncode == 2, ended.stderr
        message = "mesh: has 2 cells for 3 ranks; use fewer ranks or a finer mesh"
        assert ended.stderr.count(message) == 1
        assert "Traceback" not in ended.stderr
