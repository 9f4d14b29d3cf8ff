# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A certificate near a fold, and the end of its branch, are the same on any number of ranks."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ranks

WORKER = Path(__file__).with_name("fold_worker.py")


def certificate(n_ranks):
    """What the worker prints."""
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed")
    command = ["mpirun", "-n", str(n_ranks), sys.executable, str(WORKER)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_certificate_at_a_fold_is_the_same_on_two_ranks():
    ours, theirs = certificate(1), certificate(2)
    assert ours["level"] == theirs["level"] == "A" and ours["negative"] == theirs["negative"] == 0
    assert ours["load"] == pytest.approx(theirs["load"], rel=1e-9)
    for key in ("lipschitz", "stiffness"):
        assert ours[key] == pytest.approx(theirs[key], rel=1e-6), key
    assert ours["end"]["level"] == theirs["end"]["level"] == "A"
    for key in ("low", "high"):
        assert ours["end"][key] == pytest.approx(theirs["end"][key], rel=1e-9), key
    assert ours["end"]["low"] < ours["end"]["high"] < ours["load"]
