# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A crack in a disc: the coupled solve against LAMMPS relaxing all atoms, one rank each.

Same table, same K-field, same start, same largest force component at the end. LAMMPS runs in a process of its own,
with each of its minimisers on the smallest disc and the two quickest from there; the quickest of all counts. Errors are
against LAMMPS at a hundredth of the tolerance. Seconds are processor time; each process has one
thread, so on a quiet machine it is that of the clock.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import measure
import numpy as np
from common import Row, canvas, table

WORKERS = Path(__file__).parent
STYLES = ("cg", "fire", "quickmin")
RADII = (40.0, 80.0, 160.0, 320.0, 400.0)
CORES = (18.0, 36.0)


def coupled(radius: float, core: float, folder: Path) -> dict[str, np.ndarray]:
    """Solve the coupled case in a process of its own."""
    out = folder / f"coupled_{core:g}.npz"
    measure.process(
        [
            sys.executable,
            str(WORKERS / "coupled_worker.py"),
            str(out),
            str(measure.DECKS / "crack_eam.yaml"),
            f"domain.radius={radius} angstrom",
            f"regions.core_radius={core} angstrom",
        ]
    )
    return dict(np.load(out))


def lammps(
    given: dict[str, np.ndarray], style: str, folder: Path, tighter: float = 1.0
) -> dict[str, np.ndarray]:
    """Relax all atoms by LAMMPS from the same start, to the same tolerance or a ``tighter`` one."""
    asked, out = folder / "asked.npz", folder / "lammps.npz"
    keys = ("start", "free", "period", "table", "tolerance")
    wanted = {key: given[key] for key in keys}
    wanted["tolerance"] = wanted["tolerance"] / tighter
    np.savez(asked, style=style, **wanted)
    measure.process([sys.executable, str(WORKERS / "lammps_worker.py"), str(asked), str(out)])
    return dict(np.load(out))


def error(
    positions: np.ndarray, reference: np.ndarray, where: dict[str, np.ndarray]
) -> tuple[float, float]:
    """H1 error over all bonds inside the rim, and near the tip [Å], as ``msolve.compare`` has it."""
    e = positions - reference
    i, j = where["bonds"]
    near = where["near"][i] & where["near"][j]
    square = ((e[i] - e[j]) ** 2).sum(1)
    return float(np.sqrt(square.sum())), float(np.sqrt(square[near].sum()))


def study(quick: bool = False) -> list[Row]:
    """One row for each radius and core."""
    rows: list[Row] = []
    styles = STYLES
    repetitions = 1 if quick else 2
    for radius in RADII[: 1 if quick else None]:
        cores = [core for core in CORES if core + 30 < radius][: 1 if quick else None]
        cores = cores or [CORES[0] / 2]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            ours: dict[float, list[dict[str, np.ndarray]]] = {core: [] for core in cores}
            theirs: dict[str, list[dict[str, np.ndarray]]] = {style: [] for style in styles}
            for _ in range(repetitions if radius < 300 else 1):
                for core in cores:
                    ours[core].append(coupled(radius, core, folder))
                for style in styles:
                    theirs[style].append(lammps(ours[cores[0]][0], style, folder))
            quickest = _quickest(theirs)
            first = ours[cores[0]][0]
            exact = lammps(first, quickest[0], folder, tighter=100.0)["positions"]
        styles = tuple(quickest[:2])
        best = theirs[quickest[0]][0]
        for core in cores:
            first = ours[core][0]
            total, tip = error(first["positions"], exact, first)
            rows.append(
                {
                    "radius": radius,
                    "core": core,
                    "atoms": int(first["free"].sum()),
                    "unknowns": int(first["unknowns"]),
                    "evaluated_atoms": int(first["evaluated_atoms"]),
                    "elements": int(first["elements"]),
                    "evaluations": int(first["evaluations"]),
                    "seconds": least(ours[core]),
                    "set_up": min(float(each["set_up"]) for each in ours[core]),
                    "lammps_style": quickest[0],
                    "lammps_evaluations": int(best["evaluations"]),
                    "lammps_seconds": least(theirs[quickest[0]]),
                    "ratio": least(theirs[quickest[0]]) / least(ours[core]),
                    "atom_ratio": float(best["evaluations"])
                    * len(first["free"])
                    / (
                        float(first["evaluations"])
                        * float(first["evaluated_atoms"] + first["elements"])
                    ),
                    "lammps_error": error(best["positions"], exact, first)[0],
                    "error": total,
                    "tip_error": tip,
                    "converged": bool(first["converged"]),
                }
            )
            print(rows[-1], flush=True)
    return rows


def _quickest(theirs: dict[str, list[dict[str, np.ndarray]]]) -> list[str]:
    """LAMMPS' minimisers that converged, the quickest first."""
    converged = [style for style, runs in theirs.items() if runs[0]["converged"]]
    return sorted(converged, key=lambda style: least(theirs[style]))


def least(runs: list[dict[str, np.ndarray]]) -> float:
    """Shortest of the solves [s]."""
    return min(float(run["seconds"]) for run in runs)


def draw(rows: list[Row]) -> object:
    """Seconds and evaluations against the radius."""
    figure, (left, right) = canvas(9.2, 3.8, columns=2)
    colours = {18.0: measure.BLUE, 36.0: measure.GREEN}
    for core, colour in colours.items():
        mine = [row for row in rows if row["core"] == core]
        if not mine:
            continue
        radius = [row["radius"] for row in mine]
        label = f"coupled, core {core:g} Å"
        left.plot(radius, [row["seconds"] for row in mine], "o-", color=colour, label=label)
        left.plot(
            radius,
            [row["seconds"] + row["set_up"] for row in mine],  # type: ignore[operator]
            "o:",
            color=colour,
            mfc="white",
            label=f"{label}, with set-up",
        )
        right.plot(radius, [row["evaluations"] for row in mine], "o-", color=colour, label=label)
    every = {row["radius"]: row for row in rows}
    radius = list(every)
    left.plot(
        radius,
        [row["lammps_seconds"] for row in every.values()],
        "s-",
        color=measure.ORANGE,
        label="LAMMPS, all atoms",
    )
    right.plot(
        radius,
        [row["lammps_evaluations"] for row in every.values()],
        "s-",
        color=measure.ORANGE,
        label="LAMMPS, all atoms",
    )
    for axis, name in ((left, "seconds"), (right, "evaluations of energy and forces")):
        axis.set_xscale("log")
        axis.set_xticks(radius, [f"{r:g}" for r in radius])
        axis.minorticks_off()
        axis.set_xlabel("radius of the disc [Å]")
        axis.set_title(name)
    left.set_yscale("log")
    right.set_ylim(bottom=0)
    left.legend(fontsize=8)
    return figure


def main() -> None:
    """Measure and publish."""
    rows = study("--quick" in sys.argv)
    columns = {
        "radius": "radius [Å]",
        "core": "core [Å]",
        "atoms": "free atoms, full model",
        "evaluated_atoms": "evaluated atoms, coupled",
        "elements": "evaluated elements",
        "unknowns": "unknowns, coupled",
        "evaluations": "evaluations, coupled",
        "seconds": "coupled solve [s]",
        "set_up": "its set-up [s]",
        "lammps_style": "LAMMPS' best minimiser",
        "lammps_evaluations": "its evaluations",
        "lammps_seconds": "LAMMPS [s]",
        "ratio": "LAMMPS / coupled",
        "atom_ratio": "same, single sites",
        "error": "H1 error, coupled [Å]",
        "lammps_error": "H1 error, LAMMPS [Å]",
        "tip_error": "near the tip [Å]",
    }
    measure.publish("against_lammps", rows, table(rows, columns), draw(rows))


if __name__ == "__main__":
    main()
