# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Strong and weak scaling of the atomistic engine on one rank and two, and what follows for many ranks.

The prediction adds up, for a rank with ``N / P`` atoms in a cube: the measured time an atom, the measured load of the
memory by a second rank, the copies in a shell of one cutoff around the cube, and a network of stated latency and
bandwidth. It leaves out jitter of the machine. Coupled solves are predicted from those of ``ranks.py`` and
``represented.py`` by Amdahl's law. ``--predict`` measures nothing and predicts anew from what is recorded.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import measure
from common import Row, canvas, table
from peers import NETWORK, TABLE

WORKER = Path(__file__).with_name("scaling_worker.py")
CASES = {
    "EAM": ("eam", str(TABLE), 24, ""),
    "MACE": ("mace", str(NETWORK), 10, ""),
    "MACE, features computed again": ("mace", str(NETWORK), 10, "redundant"),
}
LATENCY, BANDWIDTH = 3e-6, 5e9
"""A network's [s] and [B/s]: those of a slow one of today's clusters."""

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
EXCHANGES = {"EAM": 2, "MACE": 4}
"""Messages to each neighbour in a step: positions, gradients, and features and their slopes for each layer but one."""


def run(ranks: int, case: str, nx: int) -> dict[str, float]:
    """One crystal on some ranks, in processes of their own."""
    kind, file, n, variant = CASES[case]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        words = ["mpirun", "-n", str(ranks), sys.executable, str(WORKER), str(out)]
        measure.process([*words, kind, file, str(nx), str(n), *([variant] if variant else [])])
        return json.loads(out.read_text())


def study(quick: bool = False) -> list[Row]:
    """Rows of strong and weak scaling."""
    rows: list[Row] = []
    for case in CASES:
        n = CASES[case][2]
        one, two, double = run(1, case, 2 * n), run(2, case, 2 * n), run(2, case, 4 * n)
        if not quick:  # once more, in turn
            for first, ranks, nx in ((one, 1, 2 * n), (two, 2, 2 * n), (double, 2, 4 * n)):
                again = run(ranks, case, nx)
                first["seconds"] = min(first["seconds"], again["seconds"])
        for name, found in (("strong", two), ("weak", double)):
            ideal = one["seconds"] * (0.5 if name == "strong" else 1.0)
            rows.append(
                {
                    "case": case,
                    "scaling": name,
                    "atoms_one": one["atoms"],
                    "atoms_two": found["atoms"],
                    "one": one["seconds"],
                    "two": found["seconds"],
                    "efficiency": 100 * ideal / found["seconds"],
                    "copies": found["copies"],
                    "sent": found["sent"] / 1024,
                    "memory_one": one["memory"],
                    "memory_two": found["memory"],
                    "latency": found["exchange_latency"] * 1e6,
                    "bandwidth": found["exchange_bandwidth"] / 1e9,
                    "energy": abs(found["energy"] / one["energy"] - 1)
                    if name == "strong"
                    else None,
                }
            )
    return rows


def predicted(rows: list[Row], case: str, atoms: float, ranks: int, cutoff: float) -> float:
    """Seconds of a step of ``atoms`` atoms on many ranks."""
    weak = next(row for row in rows if row["case"] == case and row["scaling"] == "weak")
    per_atom = float(weak["two"]) / float(weak["atoms_one"])  # type: ignore[arg-type]
    mine = atoms / ranks
    if ranks == 1:
        return mine * float(weak["one"]) / float(weak["atoms_one"])  # type: ignore[arg-type]
    density, side = 2 / 3.165**3, (mine / (2 / 3.165**3)) ** (1 / 3)
    copies = density * ((side + 2 * cutoff) ** 3 - side**3)
    bytes_a_copy = 1024 * float(weak["sent"]) / float(weak["copies"])  # type: ignore[arg-type]
    return mine * per_atom + 26 * EXCHANGES[case] * LATENCY + copies * bytes_a_copy / BANDWIDTH


def prediction(rows: list[Row]) -> list[Row]:
    """Seconds of a step and parallel efficiency at many ranks."""
    found: list[Row] = []
    for case, atoms, cutoff in (("EAM", 1e6, 6.0), ("MACE", 1e5, 5.5)):
        one = predicted(rows, case, atoms, 1, cutoff)
        for ranks in RANKS:
            t = predicted(rows, case, atoms, ranks, cutoff)
            found.append(
                {
                    "case": case,
                    "atoms": atoms,
                    "ranks": ranks,
                    "seconds": t,
                    "efficiency": 100 * one / (ranks * t),
                }
            )
    return found


def coupled_prediction() -> list[Row]:
    """Seconds of coupled solves on many ranks: what a second rank did not gain counts as not shared at all."""
    cases: dict[str, Row] = {str(row["case"]): row for row in _recorded("ranks")["rows"]}
    largest = _recorded("represented")["rows"][-1]
    small, large = cases["EAM, crack_eam.yaml"], cases["EAM, large core"]
    network = cases["MACE, crack.yaml"]
    solves = (
        ("EAM, 600 atoms", small, float(small["one"])),  # type: ignore[arg-type]
        ("EAM, 8024 atoms", large, float(large["one"])),  # type: ignore[arg-type]
        ("MACE, 424 atoms", network, float(network["one"])),  # type: ignore[arg-type]
        (f"EAM, {float(largest['atoms']):.1e} atoms represented", small, float(largest["solve"])),  # type: ignore[arg-type]
    )
    found: list[Row] = []
    for name, row, one in solves:
        alone = max(0.0, 2 * float(row["two"]) / float(row["one"]) - 1)  # type: ignore[arg-type]
        for ranks in (1, 2, 8, 64):
            seconds = one * (alone + (1 - alone) / ranks)
            found.append({"case": name, "alone": 100 * alone, "ranks": ranks, "seconds": seconds})
    return found


def _recorded(study: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (measure.ROOT / f"docs/figures/benchmarks_{study}.json").read_text()
    )
    return found


def draw(rows: list[Row], told: list[Row]) -> object:
    """Efficiency predicted at many ranks."""
    figure, (axis,) = canvas(5.4, 3.4)
    for case, colour in (("EAM", measure.BLUE), ("MACE", measure.ORANGE)):
        mine = [row for row in told if row["case"] == case]
        axis.plot(
            [row["ranks"] for row in mine],
            [row["efficiency"] for row in mine],
            "o-",
            color=colour,
            label=f"{case}, {mine[0]['atoms']:.0e} atoms",
        )
    axis.set_xscale("log", base=2)
    axis.set_xticks(RANKS, [str(r) for r in RANKS])
    axis.minorticks_off()
    axis.set_ylim(0, 105)
    axis.set_xlabel("ranks")
    axis.set_ylabel("predicted efficiency [%]")
    axis.legend()
    return figure


def main() -> None:
    """Measure, predict and publish."""
    known = "--predict" in sys.argv
    rows = _recorded("scaling")["rows"] if known else study("--quick" in sys.argv)
    told, coupled = prediction(rows), coupled_prediction()
    columns = {
        "case": "potential",
        "scaling": "scaling",
        "atoms_one": "atoms, 1 rank",
        "atoms_two": "atoms, 2 ranks",
        "one": "1 rank [s]",
        "two": "2 ranks [s]",
        "efficiency": "efficiency [%]",
        "copies": "copies a rank",
        "sent": "sent by a rank a step [kB]",
        "memory_one": "memory, 1 rank [MB]",
        "memory_two": "a rank of 2 [MB]",
        "energy": "difference of the energy, relative",
    }
    text = (
        table(rows, columns)
        + f"\n\nPredicted, for a network of {LATENCY * 1e6:g} µs and {BANDWIDTH / 1e9:g} GB/s (between the two ranks "
        f"here: {float(rows[0]['latency']):.2g} µs, {float(rows[0]['bandwidth']):.2g} GB/s):\n\n"  # type: ignore[arg-type]
        + table(
            told,
            {
                "case": "potential",
                "atoms": "atoms",
                "ranks": "ranks",
                "seconds": "energy and forces [s]",
                "efficiency": "efficiency [%]",
            },
        )
        + "\n\nCoupled solves, by Amdahl's law from one rank and two:\n\n"
        + table(
            coupled,
            {
                "case": "solve",
                "alone": "not shared [%]",
                "ranks": "ranks",
                "seconds": "seconds",
            },
        )
    )
    measure.publish(
        "scaling",
        rows,
        text,
        draw(rows, told),
        _recorded("scaling")["machine"] if known else None,
        prediction=told,
        coupled_prediction=coupled,
    )


if __name__ == "__main__":
    main()
