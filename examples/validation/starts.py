# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What saves iterations: a start that knows solved cracks, or minimisations that end where their dead load does.

No model could know more of the tip than the first table: the exact displacement of every atom within 50 Å at four
other loads; a cubic through them is the start of the coupled problem, in a larger body. The second holds coupled
states, in a body and with a core of their own, so that it knows the mesh around the core as well.
"""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from common import COLOUR, DECKS, Row, canvas, prepare, publish, solve_full, table
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from msolve.assemble import Assembly
from msolve.build import Setup
from msolve.compare import carried_over
from msolve.methods import solve
from msolve.solvers import Settings, nonlinear

Array = npt.NDArray[np.float64]

RADIUS, FADE = 50.0, 20.0  # [Å]
TABLES = {
    "below the first advance": (0.90, 0.94, 1.00, 1.03),
    "across it": (0.95, 1.00, 1.10, 1.15),
}
HELD_OUT = {"below the first advance": (0.92, 0.97, 1.015), "across it": (0.97, 1.05)}
SAME_STATE = 1e-2  # [eV]
OTHER = (90.0, 13.5)
"""Radius of the body and the core that the table of coupled states has [Å]."""


def weights(loads: tuple[float, ...], K: float) -> list[float]:
    """Of the values at some loads in the polynomial through them, at K."""
    return [float(np.prod([(K - b) / (a - b) for b in loads if b != a])) for a in loads]


class AtomTable:
    """Displacement beyond the K-field at any K, by those of all atoms of a small body at some."""

    def __init__(self, loads: tuple[float, ...]) -> None:
        self._loads, known = loads, []
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
        u = np.tensordot(np.array(weights(self._loads, K)), self._known, 1)

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


class CoupledTable:
    """Unknowns of a coupled problem at any K, by solved states of another at some."""

    def __init__(self, loads: tuple[float, ...]) -> None:
        self._loads, self._known = loads, []
        for K in loads:
            setup, assembly = prepare(DECKS / "crack_eam.yaml", _changes(*OTHER, K))
            z = assembly.problem.kinematics.unknowns.vector()
            _solved(setup, assembly, z)
            self._known.append((assembly, z, setup.loads[-1]))

    def __call__(self, K: float, assembly: Assembly) -> PETSc.Vec:
        """Unknowns of a coupled problem."""
        out = assembly.problem.kinematics.unknowns.vector()
        for share, (before, z, t) in zip(weights(self._loads, K), self._known, strict=True):
            out.axpy(share, carried_over(before, z, t, assembly))
        return out


def _solved(setup: Setup, assembly: Assembly, z: PETSc.Vec) -> tuple[int, float]:
    """Iterations and energy [eV] of the last load, from ``z``, in place."""
    given = setup.case.solver
    settings = Settings(tolerance=given.gradient_tolerance, max_iterations=given.max_iterations)
    solved = solve(assembly, setup.case, z, setup.loads[-1], settings)
    return sum(r.iterations for r in solved.reports), solved.energy


def _changes(radius: float, core: float, K: float) -> list[str]:
    return [
        f"domain.radius={radius} angstrom",
        f"regions.core_radius={core} angstrom",
        f"load.K={K} K_G",
    ]


def study(cores: tuple[float, ...] = (9.0, 18.0), radius: float = 100.0) -> list[Row]:
    """Iterations at loads that the tables do not hold."""
    rows: list[Row] = []
    for name, loads in TABLES.items():
        tables: dict[str, Callable[[float, Assembly], PETSc.Vec]] = {
            "atoms": AtomTable(loads),
            "coupled": CoupledTable(loads),
        }
        for K in HELD_OUT[name]:
            for core in cores:
                setup, assembly = prepare(DECKS / "crack_eam.yaml", _changes(radius, core, K))
                blank = assembly.problem.kinematics.unknowns.vector
                with mock.patch.object(nonlinear, "INNER", 0.0):
                    tight, energy = _solved(setup, assembly, blank())
                row: Row = {"table": name, "K": K, "core": core, "tight": tight}
                row["usual"], other = _solved(setup, assembly, blank())
                row["gain"] = tight / float(row["usual"])  # type: ignore[arg-type]
                row["same"] = _same(energy, other)
                for kind, start in tables.items():
                    row[kind], other = _solved(setup, assembly, start(K, assembly))
                    row[f"gain_{kind}"] = float(row["usual"]) / float(row[kind])  # type: ignore[arg-type]
                    row[f"same_{kind}"] = _same(energy, other)
                rows.append(row)
                print(row, flush=True)
    return rows


def _same(energy: float, other: float) -> str:
    return "yes" if abs(energy - other) < SAME_STATE else "no"


def draw(rows: list[Row]) -> Figure:
    """Iterations side by side."""
    figure, (axis,) = canvas(8.4, 3.8)
    at = np.arange(len(rows))
    for place, (kind, label) in enumerate(
        (
            ("tight", "every minimisation to the tolerance"),
            ("usual", "as far as its dead load is worth"),
            ("atoms", "and from a table of atoms"),
            ("coupled", "and from a table of coupled states"),
        )
    ):
        colour = (COLOUR["bqce"], COLOUR["bqcf"], COLOUR["bgfc"], COLOUR["bgfc_deferred"])[place]
        axis.bar(
            at + 0.2 * place - 0.3, [row[kind] for row in rows], 0.2, color=colour, label=label
        )
    names = [
        f"{row['K']} K_G\n{row['core']:g} Å"
        f"{'' if row['same_coupled'] == 'yes' else chr(10) + 'other state'}"
        for row in rows
    ]
    axis.set_xticks(at, names, fontsize=7)
    axis.set_ylim(0, 1.5 * max(float(row["tight"]) for row in rows))  # type: ignore[arg-type]
    axis.set_ylabel("iterations")
    axis.set_title("What saves iterations")
    axis.legend()
    return figure


def main() -> None:
    """Run the study and publish it."""
    rows = study()
    columns = {
        "table": "loads in the tables",
        "K": "K [K_G]",
        "core": "core [Å]",
        "tight": "iterations, each minimisation to the tolerance",
        "usual": "as far as its dead load is worth",
        "gain": "ratio",
        "same": "same state",
        "atoms": "from a table of atoms",
        "gain_atoms": "ratio to the third",
        "same_atoms": "same state",
        "coupled": "from a table of coupled states",
        "gain_coupled": "ratio to the third",
        "same_coupled": "same state",
    }
    publish("starts", rows, table(rows, columns), draw(rows), "handshake")


if __name__ == "__main__":
    main()
