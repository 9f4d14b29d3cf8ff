# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Whether a start that knows solved cracks saves iterations: full solutions at other K, interpolated atom by atom.

No model could know more of the tip than this: the table holds the exact displacement of every atom within 50 Å at four
other loads, and a cubic through them is the start of the coupled problem, in a larger body.
"""

from __future__ import annotations

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from common import COLOUR, DECKS, Row, canvas, prepare, publish, solve_full, table
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from msolve.assemble import Assembly
from msolve.methods import solve
from msolve.solvers import Settings

Array = npt.NDArray[np.float64]

RADIUS, FADE = 50.0, 20.0  # [Å]
TABLES = {
    "below the first advance": (0.90, 0.94, 1.00, 1.03),
    "across it": (0.95, 1.00, 1.10, 1.15),
}
HELD_OUT = {"below the first advance": (0.92, 0.97, 1.015), "across it": (0.97, 1.05)}
SAME_STATE = 1e-2  # [eV]


class Start:
    """Displacement beyond the K-field at any K, by those at some."""

    def __init__(self, loads: tuple[float, ...]) -> None:
        self._loads, known = np.array(loads), []
        for K in loads:
            setup, _ = prepare(DECKS / "crack_eam.yaml", _changes(RADIUS, 9.0, K))
            exact = solve_full(setup, 1e-5)
            problem, free = exact.full.problem, exact.full.free
            u = problem.gather(exact.z, exact.t) - problem.gather(0 * exact.z, exact.t)
            known.append(u[free])
            self._tree = cKDTree(exact.full.X[free])
        self._known = np.stack(known)

    def __call__(self, K: float, assembly: Assembly) -> PETSc.Vec:
        """Unknowns of a coupled problem, fading to zero at the border of what is known."""
        weights = [np.prod([(K - b) / (a - b) for b in self._loads if b != a]) for a in self._loads]
        u = np.tensordot(np.array(weights), self._known, 1)

        def at(X: Array) -> Array:
            distance, near = self._tree.query(X, k=4)
            share = 1 / np.maximum(distance, 1e-6)
            share /= share.sum(axis=1)[:, None]
            fade = np.clip((RADIUS - 6.0 - np.hypot(X[:, 0], X[:, 1])) / FADE, 0, 1)
            return np.asarray((share[..., None] * u[near]).sum(axis=1) * fade[:, None])

        kinematics = assembly.problem.kinematics
        unknowns, space = kinematics.unknowns, kinematics.space
        assert space is not None
        z = unknowns.vector()
        values = z.array.reshape(-1, unknowns.components).copy()
        atoms = kinematics.owned_atoms[unknowns.atom[kinematics.owned_atoms] >= 0]
        values[unknowns.atom[atoms]] = at(assembly.X[atoms])[:, : unknowns.components]
        nodes = np.flatnonzero(unknowns.node[: space.n_owned_nodes] >= 0)
        values[unknowns.node[nodes]] = at(space.nodes()[nodes])[:, : unknowns.components]
        z.array = values.ravel()
        return z


def _changes(radius: float, core: float, K: float) -> list[str]:
    return [
        f"domain.radius={radius} angstrom",
        f"regions.core_radius={core} angstrom",
        f"load.K={K} K_G",
    ]


def study(cores: tuple[float, ...] = (9.0, 18.0), radius: float = 100.0) -> list[Row]:
    """Iterations from the K-field and from interpolated solutions, at loads that the table does not hold."""
    rows: list[Row] = []
    for name, loads in TABLES.items():
        known = Start(loads)
        for K in HELD_OUT[name]:
            for core in cores:
                setup, assembly = prepare(DECKS / "crack_eam.yaml", _changes(radius, core, K))
                given = setup.case.solver
                settings = Settings(
                    tolerance=given.gradient_tolerance, max_iterations=given.max_iterations
                )
                t, found = setup.loads[-1], []
                for z in (assembly.problem.kinematics.unknowns.vector(), known(K, assembly)):
                    solved = solve(assembly, setup.case, z, t, settings)
                    found.append((sum(r.iterations for r in solved.reports), solved.energy))
                (usual, energy), (warm, other) = found
                rows.append(
                    {
                        "table": name,
                        "K": K,
                        "core": core,
                        "usual": usual,
                        "warm": warm,
                        "gain": usual / warm,
                        "same": "yes" if abs(energy - other) < SAME_STATE else "no",
                    }
                )
    return rows


def draw(rows: list[Row]) -> Figure:
    """Iterations side by side."""
    figure, (axis,) = canvas(7.2, 3.6)
    at = np.arange(len(rows))
    axis.bar(
        at - 0.2,
        [row["usual"] for row in rows],
        0.4,
        color=COLOUR["bqcf"],
        label="from the K-field",
    )
    axis.bar(
        at + 0.2,
        [row["warm"] for row in rows],
        0.4,
        color=COLOUR["bgfc"],
        label="from solved cracks",
    )
    names = [
        f"{row['K']} K_G\n{row['core']:g} Å{'' if row['same'] == 'yes' else chr(10) + 'other state'}"
        for row in rows
    ]
    axis.set_xticks(at, names, fontsize=7)
    axis.set_ylim(0, 1.35 * max(float(row["usual"]) for row in rows))  # type: ignore[arg-type]
    axis.set_ylabel("iterations")
    axis.set_title("What an ideal start saves")
    axis.legend()
    return figure


def main() -> None:
    """Run the study and publish it."""
    rows = study()
    columns = {
        "table": "loads in the table",
        "K": "K [K_G]",
        "core": "core [Å]",
        "usual": "iterations from the K-field",
        "warm": "from solved cracks",
        "gain": "ratio",
        "same": "same state",
    }
    publish("starts", rows, table(rows, columns), draw(rows), "handshake")


if __name__ == "__main__":
    main()
