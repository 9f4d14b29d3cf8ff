# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""All benchmarks, one after the other: ``python benchmarks/run.py [--quick] [NAME ...]`` renews docs/benchmarks.md.

Takes about a quarter of an hour on two cores; leave the machine alone meanwhile.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

STUDIES = (
    "startup",
    "potential_share",
    "ranks",
    "memory",
    "against_lammps",
    "peers",
    "scaling",
    "balance",
    "large",
    "represented",
    "models",
)
"""In the environment of NequIP, run by hand: ``nequip_peers.py``, and ``models.py`` for the rows of its packages."""


def main() -> int:
    """Run each study in a process of its own; the exit code counts those that failed."""
    quick = [word for word in sys.argv[1:] if word == "--quick"]
    names = [word for word in sys.argv[1:] if word != "--quick"] or list(STUDIES)
    unknown = sorted(set(names) - set(STUDIES))
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(STUDIES)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names:
        begin = time.perf_counter()
        print(f"--- {name}", flush=True)
        script = Path(__file__).parent / f"{name}.py"
        failed += subprocess.call([sys.executable, str(script), *quick]) != 0
        print(f"--- {name}: {time.perf_counter() - begin:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
