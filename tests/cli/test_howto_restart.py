# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The commands of docs/howto-restart.md, run one after the other as they stand."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/howto-restart.md").read_text(encoding="utf-8")


def run(folder, line):
    program, *words = shlex.split(line)
    assert program == "msolve"
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-m", "msolve.cli", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )


@pytest.mark.slow
def test_the_page(tmp_path):
    (deck,) = re.findall(r"```yaml\n# stretched\.yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "stretched.yaml").write_text(deck)
    for refused, block in re.findall(r"```sh( refused)?\n(.*?)```", PAGE, flags=re.DOTALL):
        for line in block.splitlines():
            told = run(tmp_path, line)
            assert told.returncode == (2 if refused else 0), told.stderr
            if refused:
                assert "regions.blend = 5.0 angstrom: was 4.0 angstrom" in told.stderr
    result = json.loads((tmp_path / "results/stretched/result.json").read_text())
    assert [step["load"] for step in result["steps"]] == [0.5, 1.0, 1.2]
    assert result["status"] == "converged"
