# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Makes the studies in examples/validation importable: the tests check the same code that makes the tables."""

import sys
from pathlib import Path

STUDIES = str(Path(__file__).parents[2] / "examples" / "validation")
if STUDIES not in sys.path:
    sys.path.insert(0, STUDIES)
