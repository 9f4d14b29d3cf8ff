# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The example that couples by scikit-fem and SciPy: without DOLFINx and PETSc, and the same answer as msolve's own."""

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest
from scipy.spatial import cKDTree

from msolve.assemble import couple
from msolve.body import Body
from msolve.io.meshes import MeshData
from msolve.loads import Affine
from msolve.regions import Ball
from msolve.solvers import Settings, find_root

pytest.importorskip("skfem", reason="scikit-fem is not installed")
EXAMPLE = Path(__file__).parents[2] / "examples/library/without_dolfinx.py"


@dataclass(frozen=True)
class LinearElastic:
    """The law of the example."""

    C: np.ndarray

    def energy_density(self, F):
        strain = F - np.eye(3)
        P = np.einsum("iJkL,nkL->niJ", self.C, strain)
        return np.einsum("niJ,niJ->n", P, strain) / 2, P

    def tangent(self, F):
        return np.broadcast_to(self.C, (len(F), 3, 3, 3, 3))


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("without_dolfinx", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_runs_without_dolfinx_and_petsc():
    code = (
        "import runpy, sys\n"
        f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')\n"
        "found = {'dolfinx', 'petsc4py', 'slepc4py', 'basix', 'ufl', 'gmsh', 'pydantic'} & set(sys.modules)\n"
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "error against all atoms" in done.stdout


def test_it_finds_what_msolve_finds_on_the_same_mesh(example):
    mesh = example.disc()
    sites, found = example.coupled(mesh)
    rim = Affine(example.F)
    body = Body(
        crystal=example.CRYSTAL,
        origin=np.zeros(3),
        model=example.EAM,
        material=LinearElastic(example.C),
        C=example.C,
        far_field=rim,
        predictor=rim,
        shape=Ball((0.0, 0.0, 0.0), example.RADIUS),
        vacancies=np.zeros((1, 3)),
    )
    outer = {"outer": mesh.boundary_nodes().astype(np.int64)}
    data = MeshData(mesh.p.T.copy(), mesh.t.T.astype(np.int64), outer)
    own = couple(MPI.COMM_SELF, body, example.REGIONS, data)
    problem = own.problem.with_terms(own.force_terms)
    z = problem.kinematics.unknowns.vector()
    assert find_root(problem, z, 1.0, own.preconditioner, Settings(tolerance=1e-10)).converged
    expected = problem.gather(z, 1.0)
    apart, same = cKDTree(sites.positions).query(own.X)
    assert apart.max() < 1e-9
    inside = own.beta < 1
    assert np.abs(found[same] - expected)[inside].max() < 1e-6
    assert np.abs(found - sites.positions @ example.F.T).max() > 0.05
