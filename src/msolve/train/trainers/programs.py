# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A trainer's own program: run, followed line by line, ended with its parent."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from msolve.errors import ConvergenceError


def run_program(
    name: str, words: Sequence[str], log: Path, told: Callable[[str], None], made: Path
) -> None:
    """Run a program until it ends.

    Args:
        name: What to call it.
        words: Program and arguments.
        log: File for all that it says; it runs in that file's folder. What stands there stays.
        told: Given each line that it says.
        made: File that it must leave.

    Raises:
        ConvergenceError: It failed, or left nothing.
    """
    said: list[str] = []
    program = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=log.parent,
        preexec_fn=_end_with_parent,
    )
    try:
        assert program.stdout is not None
        for line in program.stdout:
            said.append(line.rstrip())
            told(line)
        code = program.wait()
    finally:
        program.kill()
        program.wait()
        with log.open("a") as file:
            file.write("\n".join(said) + "\n")
    if code != 0 or not made.is_file():
        reason = next((line for line in reversed(said) if line.strip()), "it said nothing")
        raise ConvergenceError(f"{name} ended with code {code}: {reason}; all it said is in {log}")


def _end_with_parent() -> None:
    """Let the kernel end this process when its parent ends, however that happens (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
