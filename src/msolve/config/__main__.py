# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""``python -m msolve.config [FILE]`` writes the input reference, by default to the docs folder."""

import sys
from pathlib import Path

from msolve.config import reference

target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/input-reference.md")
target.parent.mkdir(parents=True, exist_ok=True)
target.write_text(reference(), encoding="utf-8")
