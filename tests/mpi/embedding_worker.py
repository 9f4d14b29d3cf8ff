# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Run by test_embedding_ranks.py under mpirun: atoms in a caller's form, on rollers below; writes what comes out.

Usage: embedding_worker.py OUT.npz
"""

import importlib.util
import sys
from pathlib import Path

from mpi4py import MPI

import numpy as np
from dolfinx import fem, mesh

import msolve

HERE = Path(__file__).parents[2] / "examples/library/dolfinx_embed.py"


def main(comm: MPI.Comm, out: Path) -> None:
    spec = importlib.util.spec_from_file_location("dolfinx_embed", HERE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    u, F, _ = example.your_problem(comm)
    V, tdim = u.function_space, 1
    # Only the half of the rim above is held as a whole; below, only along x2.
    domain = V.mesh
    below = mesh.locate_entities_boundary(domain, tdim, lambda x: x[1] < 0)
    above = mesh.locate_entities_boundary(domain, tdim, lambda x: x[1] > 0)
    held = fem.locate_dofs_topological(V, tdim, above)
    rim = fem.Function(V)
    rim.interpolate(lambda x: example.STRETCH @ x)
    down = fem.Constant(domain, -0.2)
    rollers = fem.locate_dofs_topological(V.sub(1), tdim, below)
    bcs = [fem.dirichletbc(rim, held), fem.dirichletbc(down, rollers, V.sub(1))]
    potential = msolve.load_potential(example.W_EAM, "eam")
    crystal = msolve.relaxed_lattice(potential, msolve.Crystal.bcc(3.165, 74))
    atoms = msolve.embed(
        u,
        F,
        bcs,
        crystal=crystal.oriented(*example.AXES),
        potential=potential,
        cores=[msolve.Ball((3.0, -2.0, 0.0), 7.0)],
        blend=6.0,
        vacancies=[(3.0, -2.0, 0.0)],
    )
    snes = example.your_solver(comm)
    snes.setFunction(atoms.function, atoms.vector())
    snes.setJacobian(atoms.jacobian, *atoms.matrices())
    z = atoms.unknowns()
    snes.solve(None, z)
    positions = atoms.update(z)
    square = fem.form(u[0] * u[0] * example.ufl.dx + u[1] ** 2 * example.ufl.dx)
    size = comm.allreduce(fem.assemble_scalar(square))
    idle = comm.allreduce(len(atoms.problem.kinematics.unknowns.idle))
    if comm.rank == 0:
        reason = snes.getConvergedReason()
        np.savez(
            out, positions=positions, size=size, idle=idle, reason=reason, unknowns=z.getSize()
        )


if __name__ == "__main__":
    main(MPI.COMM_WORLD, Path(sys.argv[1]))
