# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Makes tests/bodies.py importable, and gives tests of several ranks the machine for themselves."""

import fcntl
import os
import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

# Ranks may outnumber cores: those that wait must not keep one busy.
os.environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")


@pytest.fixture(autouse=True)
def _room(request, tmp_path_factory):
    """With several workers, a test marked ``ranks`` runs while no other test does.

    Ranks that share their cores with anything else wait for each other most of the time: five times slower, measured.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    shared = tmp_path_factory.getbasetemp().parent
    alone = request.node.get_closest_marker("ranks") is not None
    with open(shared / "next.lock", "w") as first, open(shared / "room.lock", "w") as room:
        # Who waits for the whole room holds the door, so that others do not keep slipping in.
        fcntl.flock(first, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(first, fcntl.LOCK_UN)
        yield
