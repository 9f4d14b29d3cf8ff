# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What the benchmarks share: msolve runs in processes of their own, repeated in turn; tables and pictures."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
DECKS = ROOT / "solver_configs"
sys.path.insert(0, str(ROOT / "examples" / "validation"))

import common  # noqa: E402  (the style of all studies)

Row = common.Row
INK, BLUE, ORANGE, GREEN = "#333333", "#0072b2", "#d55e00", "#009e73"


@dataclass(frozen=True)
class Run:
    """One process that has ended.

    Attributes:
        seconds: Wall time from start to end [s].
        memory: Largest resident memory [MB].
        result: What ``result.json`` holds; empty for other verbs than a run.
    """

    seconds: float
    memory: float
    result: dict[str, object]

    @property
    def step(self) -> dict[str, object]:
        """The last load step."""
        return self.result["steps"][-1]  # type: ignore[index]


def process(words: Sequence[str]) -> tuple[float, float]:
    """Run a command; its wall time [s] and largest resident memory [MB].

    Raises:
        RuntimeError: It failed.
    """
    with tempfile.TemporaryFile("w+") as told:
        begin = time.perf_counter()
        child = subprocess.Popen(words, stdout=told, stderr=subprocess.STDOUT, cwd=ROOT)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            told.seek(0)
            raise RuntimeError(f"{' '.join(words)} ended with {child.returncode}:\n{told.read()}")
    return seconds, usage.ru_maxrss / 1024


def msolve(deck: str, *overrides: str, ranks: int = 1) -> Run:
    """Run a deck of solver_configs with some keys changed; nothing is compared, estimated or drawn unless asked for."""
    with tempfile.TemporaryDirectory() as folder:
        keys = [
            "compare.atomistic=false",
            "estimate.kind=none",
            "output.pictures=false",
            "output.fields=false",
            "output.atoms=false",
            *overrides,
            f"output.directory={folder}",
        ]
        words = [sys.executable, "-m", "msolve.cli", str(DECKS / deck)]
        words += [word for key in keys for word in ("--set", key)]
        if ranks > 1:
            words = ["mpirun", "-n", str(ranks), *words]
        seconds, memory = process(words)
        result = json.loads((Path(folder) / "result.json").read_text())
    return Run(seconds, memory, result)


def in_turn(cases: Sequence[Callable[[], float]], repetitions: int) -> list[tuple[float, float]]:
    """Minimum and median of what each case measures, the cases taken in turn so that all meet the same weather."""
    found: list[list[float]] = [[] for _ in cases]
    for _ in range(repetitions):
        for k, case in enumerate(cases):
            found[k].append(case())
    return [(min(values), median(values)) for values in found]


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = re.search(r"model name\s*: (.*)", info.read_text())
        model = named[1] if named else model
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "day": time.strftime("%Y-%m-%d"),
    }


def publish(
    name: str,
    rows: Sequence[Row],
    text: str,
    figure: object,
    taken: dict[str, object] | None = None,
    **facts: object,
) -> None:
    """Renew a section of docs/benchmarks.md, with its picture and numbers; ``taken`` on this machine, by default."""
    here = taken or machine()
    load = (
        f"{here['processor']}, {here['cores']} cores, {here['day']}, load {here['load']} at the end"
    )
    common.publish(
        name, rows, f"{text}\n\n({load})", figure, page="benchmarks", machine=here, **facts
    )
