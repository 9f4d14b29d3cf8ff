# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Run by test_fold_ranks.py under mpirun: prints the certificate of a few atoms near a fold."""

import dataclasses
import json
from pathlib import Path

from mpi4py import MPI

from msolve.assemble import full_atomistic
from msolve.build import set_up
from msolve.certificate.algorithm import Effort
from msolve.certificate.fold import certify_fold
from msolve.config import load_case
from msolve.regions import Ball
from msolve.solvers import Settings, minimise

DECK = Path(__file__).parents[2] / "solver_configs" / "crack_eam.yaml"

comm = MPI.COMM_WORLD
changes = ["domain.radius=40 angstrom", "regions.core_radius=6 angstrom"]
setup = set_up(load_case(DECK, [*changes, "regions.blend=6 angstrom"]), comm)
body = dataclasses.replace(setup.body, shape=Ball((0.0, 0.0, 0.0), 5.0, 2))
full = full_atomistic(comm, body)
x, t = full.problem.kinematics.unknowns.vector(), 0.0
for load in (0.9, 0.8, 0.75, 0.73, 0.72):
    t = load * setup.K_G
    minimise(full.problem, x, t, full.preconditioner, Settings(tolerance=1e-7))
found, _ = certify_fold(full, x, t, Effort())
if comm.rank == 0:
    print(json.dumps(dataclasses.asdict(found)))
