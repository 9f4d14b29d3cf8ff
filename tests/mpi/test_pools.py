# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""One rank evaluates for several: the same answers, and a failure that all of them know."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ranks

WORKER = Path(__file__).with_name("pools_worker.py")


@pytest.mark.parametrize("n_ranks", [1, 4])
def test_first_ranks_answer_for_their_pools(n_ranks):
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed")
    command = ["mpirun", "-n", str(n_ranks), sys.executable, str(WORKER)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
