# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The input of docs/howto-refine.md, run as it stands."""

import re
from pathlib import Path

from mpi4py import MPI

from msolve.config import load_case
from msolve.run import run_case

PAGE = (Path(__file__).parents[2] / "docs/howto-refine.md").read_text(encoding="utf-8")


def test_the_page(tmp_path):
    (deck,) = re.findall(r"```yaml\n# refine\.yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "refine.yaml").write_text(deck)
    quiet = ["output.pictures=false", "output.fields=false", f"output.directory={tmp_path / 'out'}"]
    result = run_case(load_case(tmp_path / "refine.yaml", quiet), MPI.COMM_WORLD)
    assert result.adaptivity["stopped"] == "the estimated error is small enough"
    assert len(result.adaptivity["rounds"]) > 1
    assert result.steps[-1].estimate["total_h1"] <= 0.00101
