# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How much a run that goes on from a checkpoint differs from one that was never interrupted.

A vacancy in tungsten in four load steps: once as a whole; once two steps, and the others by ``msolve restart``; once
killed inside a load step and restarted. Run as ``python examples/validation/restarts.py``; prints a table.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ase.io
import numpy as np

from msolve.errors import CaseError
from msolve.io.checkpoints import read_checkpoint

DECK = Path(__file__).parents[2] / "solver_configs" / "vacancy.yaml"
STEPS = "load.steps=[0.25, 0.5, 0.75, 1.0]"
CHANGES = (
    "domain.radius=50 angstrom", "compare.atomistic=false", "output.pictures=false",
    "coupling.method=bgfc_deferred", "load.predictor=false",
)  # fmt: skip


def command(*words: str, ranks: int = 1) -> list[str]:
    """The command on some ranks."""
    start = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
    return [*start, sys.executable, "-m", "msolve.cli", *words]


def begin(out: Path, *changes: str) -> list[str]:
    """The command that starts the run."""
    every = [f"--set={change}" for change in (*CHANGES, *changes, f"output.directory={out}")]
    return command(str(DECK), *every)


def run(words: list[str]) -> None:
    """Run a command to its end."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def kill_inside(words: list[str], out: Path) -> None:
    """Start a run and kill it once it has written an iterate of its third load step."""
    running = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    while running.poll() is None:
        try:
            state = read_checkpoint(out / "checkpoint.h5")
        except CaseError:
            state = None
        if state is not None and len(state.steps) == 2 and state.iterations > 2:
            break
        time.sleep(0.002)
    running.kill()
    running.wait()


def difference(out: Path, whole: Path) -> tuple[float, float]:
    """Largest differences of atoms [Å] and energies [eV] over the four load steps."""
    moved = 0.0
    for step in range(4):
        name = f"atoms/step_{step:04d}.extxyz"
        a, b = (ase.io.read(folder / name).get_positions() for folder in (out, whole))
        moved = max(moved, float(np.abs(a - b).max()))
    states = [read_checkpoint(folder / "checkpoint.h5").steps for folder in (out, whole)]
    energy = max(abs(a.energy - b.energy) for a, b in zip(*states, strict=True))
    return moved, energy


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, half, inside = folder / "whole", folder / "half", folder / "inside"
        run(begin(whole, STEPS))
        run(begin(half, "load.steps=[0.25, 0.5]"))
        kill_inside(begin(inside, STEPS, "output.checkpoint_every=0.001"), inside)
        print("| gone on from | ranks | atoms [Å] | energy [eV] |\n|---|---|---|---|")
        for told, source in (("the end of load step 1", half), ("inside load step 2", inside)):
            for ranks in (1, 3):
                out = folder / "out"
                shutil.copytree(source, out)
                run(command("restart", str(out), f"--set={STEPS}", ranks=ranks))
                moved, energy = difference(out, whole)
                print(f"| {told} | {ranks} | {moved:.0e} | {energy:.0e} |", flush=True)
                shutil.rmtree(out)


if __name__ == "__main__":
    main()
