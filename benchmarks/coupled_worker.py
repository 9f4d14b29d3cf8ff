# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Solves one coupled case in a process of its own: ``python coupled_worker.py OUT.npz DECK KEY=VALUE ...``.

OUT gets the times, counts and the positions of all atoms that the full model would have, where they start and
where the coupled solution puts them; and ``near``, the bonds and atoms over which errors are summed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from mpi4py import MPI

import numpy as np

from msolve.build import build, build_mesh, set_up
from msolve.compare import Lifting
from msolve.config import load_case
from msolve.crystal import nearest_neighbour_bonds
from msolve.methods import solve
from msolve.problem import turned
from msolve.solvers import Settings


def work(deck: str, overrides: list[str]) -> dict[str, object]:
    """Set up, solve, lift."""
    comm = MPI.COMM_WORLD
    case = load_case(deck, overrides)
    begin = time.perf_counter()
    setup = set_up(case, comm)
    assembly = build(setup, build_mesh(setup, comm), comm)
    ready = time.perf_counter()
    z, t = assembly.problem.kinematics.unknowns.vector(), setup.loads[-1]
    solved = solve(assembly, case, z, t, Settings(tolerance=case.solver.gradient_tolerance))
    done = time.perf_counter()
    body = setup.body
    atoms = body.sites(2 * body.margin)
    X = atoms.positions
    free = body.shape.distance(X) < 0
    start = X + turned(body.relaxation(X), body.predictor, X, t)
    start += body.predictor.displacement(X, t)
    lift = Lifting(assembly, X, free, body.inner_shifts(atoms))
    i, j, _ = nearest_neighbour_bonds(
        X, body.crystal.period, 1.05 * body.crystal.nearest_neighbour_distance
    )
    across = ((X[i, 1] > 0) != (X[j, 1] > 0)) & (np.minimum(X[i, 0], X[j, 0]) < 0)
    inside = np.hypot(X[:, 0], X[:, 1]) < body.radius - case.compare.rim
    bonds = np.stack([i, j])[:, ~across & inside[i] & inside[j]]
    assert case.potential.file is not None
    return {
        "start": start,
        "free": free,
        "period": body.crystal.period,
        "table": str(case.path(case.potential.file)),
        "tolerance": case.solver.gradient_tolerance,
        "positions": lift(z, t),
        "bonds": bonds,
        "near": np.hypot(X[:, 0], X[:, 1]) < case.compare.tip_radius,
        "set_up": ready - begin,
        "seconds": done - ready,
        "evaluations": sum(report.evaluations for report in solved.reports),
        "evaluated_atoms": int(assembly.evaluated.sum()),
        "elements": int((assembly.blend_points > 0).any(axis=1).sum()),
        "unknowns": assembly.problem.kinematics.unknowns.n_global,
        "converged": solved.converged,
    }


def main() -> None:
    """Solve and write."""
    np.savez(Path(sys.argv[1]), **work(sys.argv[2], sys.argv[3:]))


if __name__ == "__main__":
    main()
