# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Atoms in your own DOLFINx problem: your mesh, your form, your boundary conditions, your SNES.

A disc of tungsten, plane along the front [001], is stretched by one per cent at its rim. Around its middle,
where a row of atoms is missing, atoms take over from the finite elements. The answer is compared with that of
atoms everywhere. Runs in seconds, on any number of ranks:

    python dolfinx_embed.py [a PETSc option ...]
    mpirun -n 3 python dolfinx_embed.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import ufl
from dolfinx import fem, mesh

import msolve

W_EAM = Path(__file__).parents[2] / "solver_configs/potentials/w_eam4.eam.fs"
RADIUS, CORE, BLEND = 45.0, 8.0, 6.0  # [Å]
AXES = (1, 0, 0), (0, 1, 0), (0, 0, 1)
C11, C12, C44 = 3.26457, 1.26194, 1.00414  # of this potential [eV/Å³]
STRETCH = np.diag([0.0, 0.01, 0.0])
VACANCY = (0.0, 0.0, 0.0)


def your_problem(comm: MPI.Comm, n: int = 36) -> tuple[Any, Any, list[Any]]:
    """Displacement u, residual form F(u; v) and boundary conditions: nothing of msolve's.

    St. Venant and Kirchhoff's law of a cubic crystal: stress P = F S, S = C : E, E = (Fᵀ F - I) / 2.
    """
    domain = mesh.create_rectangle(comm, [(-1.0, -1.0), (1.0, 1.0)], [n, n])
    x, y = domain.geometry.x[:, 0].copy(), domain.geometry.x[:, 1].copy()
    domain.geometry.x[:, 0] = RADIUS * x * np.sqrt(1 - y**2 / 2)  # a square becomes a disc
    domain.geometry.x[:, 1] = RADIUS * y * np.sqrt(1 - x**2 / 2)
    V = fem.functionspace(domain, ("Lagrange", 1, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    F = ufl.Identity(3) + gradient(u)
    E = (F.T * F - ufl.Identity(3)) / 2
    cubic = ufl.diag(ufl.diag_vector(E))
    S = C12 * ufl.tr(E) * ufl.Identity(3) + 2 * C44 * E + (C11 - C12 - 2 * C44) * cubic
    residual = ufl.inner(F * S, gradient(v)) * ufl.dx
    rim = fem.Function(V)
    rim.interpolate(lambda x: STRETCH @ x)
    domain.topology.create_connectivity(1, 2)
    dofs = fem.locate_dofs_topological(V, 1, mesh.exterior_facet_indices(domain.topology))
    return u, residual, [fem.dirichletbc(rim, dofs)]


def gradient(u: Any) -> Any:
    """Displacement gradient (3, 3) of a field that does not change along the front."""
    return ufl.as_matrix([[u[i].dx(0), u[i].dx(1), 0 * u[i]] for i in range(3)])


def your_solver(comm: MPI.Comm) -> PETSc.SNES:
    """Newton's method as you like it; the command line may change your mind."""
    snes = PETSc.SNES().create(comm)
    snes.setTolerances(rtol=0.0, atol=1e-8)
    snes.getKSP().setTolerances(rtol=1e-4)
    snes.getKSP().getPC().setType("lu")
    snes.getKSP().getPC().setFactorSolverType("mumps")
    snes.setFromOptions()
    return snes


def main(comm: MPI.Comm) -> tuple[PETSc.SNES, float]:
    """Solve; return the solver and the largest error of an atom over the largest displacement by the vacancy."""
    u, F, bcs = your_problem(comm)
    snes = your_solver(comm)

    # With "import msolve", the ten lines.
    potential = msolve.load_potential(W_EAM, "eam")
    crystal = msolve.relaxed_lattice(potential, msolve.Crystal.bcc(3.165, 74)).oriented(*AXES)
    regions = {"cores": [msolve.Ball((0, 0, 0), CORE)], "blend": BLEND, "vacancies": [VACANCY]}
    atoms = msolve.embed(u, F, bcs, crystal=crystal, potential=potential, **regions)
    snes.setFunction(atoms.function, atoms.vector())
    snes.setJacobian(atoms.jacobian, *atoms.matrices())
    z = atoms.unknowns()
    snes.solve(None, z)
    positions = atoms.update(z)
    # The finite element solution is in u.

    exact = atoms_everywhere(comm, potential, crystal, atoms.sites.positions)
    X = atoms.sites.positions
    inner = atoms.beta == 0
    by_vacancy = exact[inner] - X[inner] @ (np.eye(3) + STRETCH)
    return snes, float(np.abs(positions - exact)[inner].max() / np.abs(by_vacancy).max())


def atoms_everywhere(comm: MPI.Comm, potential: Any, crystal: Any, X: np.ndarray) -> np.ndarray:
    """Where the full atomistic model of the same disc has the atoms ``X``, shape ``(n, 3)`` [Å]."""
    from scipy.spatial import cKDTree

    from msolve.assemble import full_atomistic
    from msolve.body import Body
    from msolve.loads import Affine
    from msolve.potentials.bulk import cauchy_born
    from msolve.potentials.rest import elastic_constants
    from msolve.solvers import Settings, find_root

    law, rim = cauchy_born(potential, crystal), Affine(np.eye(3) + STRETCH)
    disc = Body(
        crystal=crystal,
        origin=np.zeros(3),
        model=potential,
        material=law,
        C=elastic_constants(law),
        far_field=rim,
        predictor=rim,
        shape=msolve.Ball((0.0, 0.0, 0.0), RADIUS),
        vacancies=np.array([VACANCY]),
    )
    full = full_atomistic(comm, disc)
    z = full.problem.kinematics.unknowns.vector()
    find_root(full.problem, z, 1.0, full.preconditioner, Settings(tolerance=1e-9))
    found = full.problem.gather(z, 1.0)
    return found[cKDTree(full.X).query(X)[1]]


if __name__ == "__main__":
    PETSc.Options().insertString(" ".join(sys.argv[1:]))
    solver, error = main(MPI.COMM_WORLD)
    if MPI.COMM_WORLD.rank == 0:
        print(f"{solver.getIterationNumber()} Newton steps; error against all atoms {error:.1%}")
    assert solver.getConvergedReason() > 0
    assert error < 0.06
