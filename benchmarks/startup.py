# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How long the command takes before it works: ``--help``, ``check``, and what importing alone costs."""

from __future__ import annotations

import sys
from collections.abc import Callable

import measure
from common import Row, canvas, table


def study(quick: bool = False) -> list[Row]:
    """Wall time of whole processes, their ends included."""
    program = [sys.executable, "-m", "msolve.cli"]
    bare = [sys.executable, "-c"]
    decks = measure.DECKS
    # Of what every check imports, PyTorch is the half: nothing of ours can be faster than these two lines.
    commands = {
        "msolve --help": ([*program, "--help"], 0.5),
        "msolve check crack.yaml (MACE)": ([*program, "check", str(decks / "crack.yaml")], 3.0),
        "msolve check crack_eam.yaml": ([*program, "check", str(decks / "crack_eam.yaml")], 3.0),
        "import torch, for comparison": ([*bare, "import torch"], None),
        "import torch, mace.modules, for comparison": (
            [
                *bare,
                "import os; os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1'; import mace.modules",
            ],
            None,
        ),
    }
    words = {key: given[0] for key, given in commands.items()}
    timed: list[Callable[[], float]] = [
        lambda words=each: measure.process(words)[0] for each in words.values()
    ]
    found = measure.in_turn(timed, 1 if quick else 5)
    return [
        {"command": name, "minimum": least, "median": middle, "target": commands[name][1]}
        for name, (least, middle) in zip(commands, found, strict=True)
    ]


def draw(rows: list[Row]) -> object:
    """Bars of the minimum, ticks at the targets."""
    figure, (axis,) = canvas(7.2, 3.0)
    names = [str(row["command"]) for row in rows][::-1]
    least = [float(row["minimum"]) for row in rows][::-1]  # type: ignore[arg-type]
    ours = [name.startswith("msolve") for name in names]
    axis.barh(names, least, color=[measure.BLUE if own else "#bbbbbb" for own in ours], height=0.6)
    for k, row in enumerate(rows[::-1]):
        if row["target"] is not None:
            axis.plot([row["target"]] * 2, [k - 0.4, k + 0.4], color=measure.ORANGE, lw=2)
    axis.plot([], [], color=measure.ORANGE, lw=2, label="target")
    axis.legend(loc="lower right")
    axis.set_xlabel("wall time of the process, shortest of the repetitions [s]")
    axis.set_title("Start-up")
    axis.grid(axis="y", visible=False)
    return figure


def main() -> None:
    """Measure and publish."""
    rows = study("--quick" in sys.argv)
    columns = {
        "command": "command",
        "minimum": "shortest [s]",
        "median": "median [s]",
        "target": "target [s]",
    }
    measure.publish("startup", rows, table(rows, columns), draw(rows))


if __name__ == "__main__":
    main()
