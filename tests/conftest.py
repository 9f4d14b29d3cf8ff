# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Makes tests/bodies.py importable: small bodies that several tests share."""

import os
import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

# Tests that start several ranks run beside others: ranks that wait must not keep a core busy.
os.environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
