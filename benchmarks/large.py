# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A million EAM atoms and a hundred thousand MACE atoms on one rank and two.

Processor time of the slowest rank, which other work on the machine changes little, and memory an atom.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import measure
from common import Row, canvas, table
from peers import LINEAR, NETWORK, TABLE
from scaling import WORKER

CASES = {
    "EAM": ("eam", TABLE, (37, 80)),
    "linear": ("linear", LINEAR, (14, 37)),
    "MACE": ("mace", NETWORK, (14, 37)),
}
"""Kind, file, and cells along an axis of a smaller and the large crystal, which tell programs from atoms."""


def run(ranks: int, kind: str, file: Path, n: int) -> dict[str, float]:
    """One crystal of ``2 n³`` atoms."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        words = ["mpirun", "-n", str(ranks), sys.executable, str(WORKER), str(out)]
        measure.process([*words, kind, str(file), str(n), str(n)])
        return json.loads(out.read_text())


def study(quick: bool = False) -> list[Row]:
    """A row a potential and number of ranks."""
    rows: list[Row] = []
    for name, (kind, file, (small, large)) in CASES.items():
        size = small if quick else large
        for ranks in (1,) if quick else (1, 2):
            found = run(ranks, kind, file, size)
            rows.append(
                {
                    "potential": name,
                    "ranks": ranks,
                    "atoms": found["atoms"],
                    "lists": found["lists_busy"],
                    "seconds": found["busy"],
                    "memory": found["memory"],
                    "per_atom": 1024 * found["memory"] / found["atoms"],
                }
            )
            print(rows[-1], flush=True)
    return rows


def draw(rows: list[Row]) -> object:
    """Memory of a rank."""
    figure, (axis,) = canvas(6.4, 0.4 * len(rows) + 0.9)
    axis.barh(
        [f"{row['potential']}, {row['atoms']} atoms, {row['ranks']} ranks" for row in rows],
        [float(row["memory"]) / 1024 for row in rows],  # type: ignore[arg-type]
        color=measure.BLUE,
        height=0.6,
    )
    axis.invert_yaxis()
    axis.set_xlabel("largest resident memory of a rank [GB]")
    axis.grid(axis="y", visible=False)
    return figure


def main() -> None:
    """Measure and publish."""
    rows = study("--quick" in sys.argv)
    columns = {
        "potential": "potential",
        "ranks": "ranks",
        "atoms": "atoms",
        "lists": "lists [s]",
        "seconds": "energy and forces [s]",
        "memory": "memory of a rank [MB]",
        "per_atom": "by the atoms of all ranks [kB]",
    }
    measure.publish("large", rows, table(rows, columns), draw(rows))


if __name__ == "__main__":
    main()
