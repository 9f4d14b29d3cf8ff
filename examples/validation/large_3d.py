# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A large body in space on two ranks: seconds of each stage, largest memory of each rank, iterations.

    mpirun -n 2 python examples/validation/large_3d.py

Changes of the deck may be named: ``regions.core_radius="30 angstrom"`` and so on; then nothing is published.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from mpi4py import MPI

import numpy as np
from common import DECKS, Row, canvas, publish, table
from matplotlib.figure import Figure

from msolve.build import build, build_mesh, set_up
from msolve.config import load_case
from msolve.methods import solve
from msolve.solvers import Report, Settings

DECK = DECKS / "large_3d.yaml"
TOLERANCE = 1e-4  # [eV/Å]
STATUS = Path("/proc/self/status")


def memory(key: str = "VmRSS") -> float:
    """Memory of this process now, or with ``VmHWM`` its largest so far [GB]."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1e6


class Stages:
    """Time of each stage, and the memory of each rank after it. Collective."""

    def __init__(self, comm: MPI.Comm):
        self.comm, self.rows, self._begin = comm, [], time.perf_counter()
        self.start = self._begin

    def done(self, name: str, seconds: float | None = None) -> None:
        """End a stage, whose time is measured from the last one unless it is given [s]."""
        now, peaks, sizes = time.perf_counter(), memory("VmHWM"), memory()
        row: Row = {"stage": name, "seconds": now - self._begin if seconds is None else seconds}
        row["memory"] = [round(x, 2) for x in self.comm.allgather(sizes)]
        row["peak"] = [round(x, 2) for x in self.comm.allgather(peaks)]
        row["sum"] = float(np.sum(row["peak"]))  # type: ignore[arg-type]
        self._begin = now
        self.rows.append(row)
        if self.comm.rank == 0:
            print(row, flush=True)


def study(changes: list[str], comm: MPI.Comm) -> tuple[list[Row], dict[str, object], list[Report]]:
    """Run the case: stages, facts about it, and what each solver did. Collective."""
    stages = Stages(comm)

    def progress(label: str, iteration: int, energy: float, residual: float) -> None:
        if comm.rank == 0:
            print(f"{time.perf_counter() - stages.start:8.1f} s  {label} {iteration} {residual:.3g}",
                  flush=True)  # fmt: skip

    setup = set_up(load_case(DECK, changes), comm)
    stages.done("crystal and potential")
    mesh = build_mesh(setup, comm)
    stages.done("mesh, on rank 0")
    assembly = build(setup, mesh, comm)
    nodes = int(comm.bcast(len(mesh.points)))
    cells = int(comm.bcast(len(mesh.cells)))
    del mesh
    stages.done("assembly, with the multigrid hierarchy")
    unknowns = assembly.problem.kinematics.unknowns
    z, settings = unknowns.vector(), Settings(tolerance=TOLERANCE, progress=progress)
    solved = solve(assembly, setup.case, z, setup.loads[-1], settings)
    stages.done("solution")
    free = int(assembly.free.sum())
    facts: dict[str, object] = {
        "ranks": comm.size,
        "free atoms": free,
        "evaluated sites": int(assembly.evaluated.sum()),
        "nodes": nodes,
        "tetrahedra": cells,
        "unknowns of atoms": 3 * free,
        "unknowns of the mesh": unknowns.n_global - 3 * free,
        "residual": solved.residual,
        "energy": solved.energy,
        "converged": solved.converged,
        "seconds": time.perf_counter() - stages.start,
        "busy": comm.allreduce(time.process_time(), op=MPI.MAX),
        "potential_seconds": assembly.potential_seconds(),
    }
    return stages.rows, facts, list(solved.reports)


def draw(rows: list[Row], reports: list[Report]) -> Figure:
    """Memory after each stage, and residuals over iterations."""
    figure, (left, right) = canvas(9.0, 3.8, columns=2)
    y = np.arange(len(rows))
    for rank, colour in enumerate(("#0072b2", "#d55e00", "#009e73", "#e69f00")):
        if rank < len(rows[0]["peak"]):  # type: ignore[arg-type]
            peaks = [row["peak"][rank] for row in rows]  # type: ignore[index]
            left.barh(y + 0.35 * (rank - 0.5), peaks, 0.33, color=colour, label=f"rank {rank}")
    left.set_yticks(y, [str(row["stage"]).split(",")[0] for row in rows])
    left.invert_yaxis()
    left.set_xlabel("largest memory so far [GB]")
    left.legend(fontsize=9)
    names = {"minimise": "L-BFGS, ghost forces corrected", "root": "Newton on blended forces"}
    begin = 0
    for report, colour in zip(reports, ("#0072b2", "#d55e00"), strict=False):
        x = begin + np.arange(len(report.history))
        right.semilogy(x, report.history, "o-", ms=4, color=colour, label=names[report.label])
        begin = int(x[-1]) + 1
    right.set_xlabel("iteration")
    right.set_ylabel("largest force [eV/Å]")
    right.legend(fontsize=9)
    return figure


def tell(rows: list[Row], facts: dict[str, object], reports: list[Report], keep: bool) -> None:
    """Print the tables; renew the section of docs/validation.md if they are to be kept."""
    names = ("label", "iterations", "evaluations", "products", "residual", "seconds")
    solvers: list[Row] = [{name: getattr(r, name) for name in names} for r in reports]
    heads = {
        "stage": "stage",
        "seconds": "seconds",
        "peak": "largest memory so far, by rank [GB]",
        "sum": "all ranks [GB]",
    }
    text = table(rows, heads) + "\n\n"
    text += table(
        solvers,
        {
            "label": "solver",
            "iterations": "iterations",
            "evaluations": "evaluations",
            "products": "Hessian products",
            "residual": "largest force [eV/Å]",
            "seconds": "seconds",
        },
    )
    text += (
        f"\n\n{facts['free atoms']} free atoms, {facts['nodes']} nodes and {facts['tetrahedra']} "
        f"tetrahedra, {facts['unknowns of the mesh']} unknowns of the mesh, on {facts['ranks']} ranks: "
        f"{facts['seconds']:.0f} s in all, {facts['busy']:.0f} s of them on a processor."
    )
    print(facts, flush=True)
    if keep:
        publish("large_3d", rows, text, draw(rows, reports), solvers=solvers, facts=facts)
    else:
        print(text)


def main(changes: list[str]) -> None:
    """Run, and publish where nothing was changed. Collective."""
    comm = MPI.COMM_WORLD
    rows, facts, reports = study(changes, comm)
    if comm.rank == 0:
        tell(rows, facts, reports, keep=not changes)


if __name__ == "__main__":
    main(sys.argv[1:])
