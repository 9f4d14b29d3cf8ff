# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A law of your own, in NumPy, in place of the Cauchy-Born law: checked, coupled, and compared with it.

A missing row of atoms in tungsten, once with the potential's own Cauchy-Born law outside the core and once with
St. Venant and Kirchhoff's law of the same elastic constants. Far from the vacancy both are right; what they
differ by is the error of the law where strains are finite.

    python own_material.py
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mpi4py import MPI

import numpy as np

import msolve
from msolve.assemble import couple
from msolve.body import Body
from msolve.io.meshes import disc_mesh
from msolve.loads import Affine
from msolve.potentials.bulk import cauchy_born
from msolve.potentials.rest import elastic_constants
from msolve.regions import Regions
from msolve.solvers import Settings, find_root
from msolve.testing import check_material

W_EAM = Path(__file__).parents[2] / "solver_configs/potentials/w_eam4.eam.fs"


@dataclass(frozen=True)
class StVenantKirchhoff:
    """W = E : C : E / 2 of Green's strain E = (Fᵀ F - I) / 2; what ``msolve.continuum.energy.Material`` asks for.

    Attributes:
        C: Elastic constants, shape ``(3, 3, 3, 3)`` [eV/Å³].
    """

    C: np.ndarray

    def energy_density(self, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """W ``(n,)`` [eV/Å³] and P = F S, ``(n, 3, 3)`` [eV/Å³], at F ``(n, 3, 3)``."""
        E = (np.swapaxes(F, 1, 2) @ F - np.eye(3)) / 2
        S = np.einsum("IJKL,nKL->nIJ", self.C, E)
        return np.einsum("nIJ,nIJ->n", S, E) / 2, F @ S

    def tangent(self, F: np.ndarray) -> np.ndarray:
        """∂P/∂F ``(n, 3, 3, 3, 3)`` [eV/Å³]: δ_ij S_JL + F_iI C_IJKL F_jK."""
        E = (np.swapaxes(F, 1, 2) @ F - np.eye(3)) / 2
        S = np.einsum("IJKL,nKL->nIJ", self.C, E)
        A = np.einsum("niI,IJKL,njK->niJjL", F, self.C, F, optimize=True)
        return A + np.einsum("ij,nJL->niJjL", np.eye(3), S)


def with_law(body: Body, law: StVenantKirchhoff) -> Body:
    """The same body under another law."""
    return replace(body, material=law)


def vacancy(radius: float = 45.0, stretch: float = 0.01) -> Body:
    """A disc of tungsten without its middle row of atoms, stretched along x2."""
    potential = msolve.load_potential(W_EAM, "eam")
    crystal = msolve.relaxed_lattice(potential, msolve.Crystal.bcc(3.165, 74))
    crystal = crystal.oriented((1, 0, 0), (0, 1, 0), (0, 0, 1))
    law, rim = cauchy_born(potential, crystal), Affine(np.diag([1.0, 1.0 + stretch, 1.0]))
    return Body(
        crystal=crystal,
        origin=np.zeros(3),
        model=potential,
        material=law,
        C=elastic_constants(law),
        far_field=rim,
        predictor=rim,
        shape=msolve.Ball((0.0, 0.0, 0.0), radius),
        vacancies=np.zeros((1, 3)),
    )


def solve(comm: MPI.Comm, body: Body, core: float = 8.0, blend: float = 6.0) -> np.ndarray:
    """Positions of the atoms of the patch by blended forces, shape ``(n, 3)`` [Å]."""
    near = body.crystal.nearest_neighbour_distance
    regions = Regions((msolve.Ball((0.0, 0.0, 0.0), core),), blend)
    fine = msolve.Ball((0.0, 0.0, 0.0), core + blend + 2 * near)
    mesh = disc_mesh(body.radius, spacing=near, zones=[fine])
    assembly = couple(comm, body, regions, mesh)
    problem = assembly.problem.with_terms(assembly.force_terms)
    z = problem.kinematics.unknowns.vector()
    report = find_root(problem, z, 1.0, assembly.preconditioner, Settings(tolerance=1e-9))
    assert report.converged
    return problem.gather(z, 1.0)


def main(comm: MPI.Comm) -> float:
    """Largest distance between the atoms of the two solutions [Å]."""
    body = vacancy()
    law = StVenantKirchhoff(body.C)
    rng = np.random.default_rng(0)
    check_material(law, np.eye(3) + 0.05 * rng.normal(size=(8, 3, 3)), rng)
    return float(np.abs(solve(comm, with_law(body, law)) - solve(comm, body)).max())


if __name__ == "__main__":
    difference = main(MPI.COMM_WORLD)
    if MPI.COMM_WORLD.rank == 0:
        print(f"the two laws put the atoms up to {difference:.1e} angstrom apart")
    assert 1e-6 < difference < 1e-3
