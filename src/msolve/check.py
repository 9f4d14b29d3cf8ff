# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""``msolve check``: whether a case fits its potential and mesh, and how large it is."""

from __future__ import annotations

from mpi4py import MPI

from msolve.against import FullModel
from msolve.build import build, build_mesh, set_up
from msolve.config import Case
from msolve.goals import Goals, check_quantities
from msolve.model_error import ModelError


def check_case(case: Case, comm: MPI.Comm) -> str:
    """Validate a case against its potential and mesh and tell how large it is; solves nothing. Collective."""
    setup = set_up(case, comm)
    check_quantities(setup)
    mesh = build_mesh(setup, comm) if case.coupled else None
    assembly = build(setup, mesh, comm)
    full = FullModel(setup, assembly)
    ModelError(setup, assembly, full, Goals(setup, assembly, full))
    kinematics = assembly.problem.kinematics
    atoms = int(assembly.evaluated.sum())
    neighbours = len(setup.body.crystal.shell(setup.body.model.cutoff).vectors)
    memory = _memory(
        comm.size, atoms * neighbours, setup.body.model.layers, kinematics.unknowns.n_global
    )
    lines = [
        f"{case.name}: valid",
        f"  atoms     {int(assembly.free.sum())} free, {atoms} evaluated, {len(assembly.X)} in all",
        f"  mesh      {kinematics.space.n_global_nodes if kinematics.space else 0} nodes",
        f"  unknowns  {kinematics.unknowns.n_global}",
        f"  memory    about {memory:.1f} GB on all ranks together",
    ]
    if setup.K_G is not None:
        material = setup.material()
        lines.append(
            f"  K_G       {material['K_G']:.4f} MPa√m, surface energy {material['surface_energy']:.4f} J/m²"
        )
    return "\n".join(lines)


def _memory(ranks: int, edges: int, layers: int, unknowns: int) -> float:
    """Rough peak memory [GB]: programs, evaluated atoms' edges, unknowns (docs/benchmarks.md)."""
    per_edge = 400.0 if layers == 1 else 20_000.0
    return 0.6 * ranks + 1e-9 * (edges * per_edge + unknowns * 3_400.0)
