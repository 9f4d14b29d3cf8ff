# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Atoms in a caller's own form: patch test, derivative, boundary conditions, agreement with msolve's own coupling."""

import importlib.util
import subprocess
import sys
from pathlib import Path

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import bodies
import msolve
from msolve.crystal import Crystal
from msolve.errors import CaseError, UnsupportedError
from msolve.regions import Ball
from msolve.solvers import Settings, find_root
from msolve.testing import check_material, check_term

EXAMPLES = Path(__file__).parents[2] / "examples/library"
ROUND_OFF = 1e-12  # [Å]
OF_NEWTON = 1e-9  # [Å]


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def stress_form(u, v, C, degree):
    """St. Venant and Kirchhoff's law with any constants, in as many components as u has."""
    gdim, n = u.function_space.mesh.geometry.dim, len(u)

    def gradient(w):
        rows = [[w[i].dx(J) if J < gdim else 0 * w[i] for J in range(3)] for i in range(n)]
        return ufl.as_matrix(rows + [[0 * w[0]] * 3] * (3 - n))

    F = ufl.Identity(3) + gradient(u)
    i, j, k, m = ufl.indices(4)
    E = (F.T * F - ufl.Identity(3)) / 2
    S = ufl.as_tensor(ufl.as_tensor(C.tolist())[i, j, k, m] * E[k, m], (i, j))
    return ufl.inner(F * S, gradient(v)) * ufl.dx(degree=degree)


class Problem:
    """A square or a cube under prescribed displacements, and the crystal that goes in."""

    def __init__(self, model, n, half, components=3, degree=1, gdim=2):
        self.model, self.crystal, _, self.C = model, *bodies.bulk(model)
        low, high = [-half] * gdim, [half] * gdim
        if gdim == 2:
            domain = mesh.create_rectangle(MPI.COMM_SELF, [low, high], [n, n])
        else:
            domain = mesh.create_box(MPI.COMM_SELF, [low, high], [n, n, n])
        self.V = V = fem.functionspace(domain, ("Lagrange", degree, (components,)))
        self.u = fem.Function(V)
        self.F = stress_form(self.u, ufl.TestFunction(V), self.C, degree)
        domain.topology.create_connectivity(gdim - 1, gdim)
        self.facets = mesh.exterior_facet_indices(domain.topology)
        self.rim = fem.Function(V)
        dofs = fem.locate_dofs_topological(V, gdim - 1, self.facets)
        self.bcs = [fem.dirichletbc(self.rim, dofs)]

    def stretch(self, D):
        self.rim.interpolate(lambda x: (D @ x)[: len(self.u)])

    def embed(self, core, blend, **options):
        cores = [Ball((0, 0, 0), core, options.pop("dimension", 2))]
        bcs = options.pop("bcs", self.bcs)
        return msolve.embed(
            self.u,
            self.F,
            bcs,
            crystal=self.crystal,
            potential=self.model,
            cores=cores,
            blend=blend,
            **options,
        )


def newton(atoms, start=None, tolerance=1e-10):
    snes = PETSc.SNES().create(atoms.form.space.comm)
    snes.setFunction(atoms.function, atoms.vector())
    snes.setJacobian(atoms.jacobian, *atoms.matrices())
    snes.setTolerances(rtol=0, atol=tolerance, stol=0, max_it=30)
    snes.getKSP().setTolerances(rtol=1e-4)
    snes.getKSP().getPC().setType("lu")
    z = atoms.unknowns() if start is None else start
    snes.solve(None, z)
    assert snes.getConvergedReason() > 0
    return z


CASES = {
    "P1": (bodies.eam4, {"n": 16, "half": 24.0}, (4.0, 6.0)),
    "P2": (bodies.eam4, {"n": 10, "half": 24.0, "degree": 2}, (4.0, 6.0)),
    "plane": (bodies.toy, {"n": 15, "half": 12.0, "components": 2}, (2.0, 3.0)),
    "plane-P2": (bodies.toy, {"n": 9, "half": 12.0, "components": 2, "degree": 2}, (2.0, 3.0)),
}


@pytest.mark.parametrize("case", CASES)
def test_homogeneous_states_are_found(case):
    make, size, regions = CASES[case]
    problem = Problem(make(), **size)
    D = 0.2 * np.array([[0.02, 0.01, 0], [-0.005, -0.01, 0], [0.01, 0.004, 0]])
    if size.get("components") == 2:
        D[2] = 0
    problem.stretch(D)
    atoms = problem.embed(*regions)
    y = atoms.update(newton(atoms, atoms.vector()))
    X = atoms.sites.positions
    assert np.abs(y - X @ (np.eye(3) + D).T).max() < OF_NEWTON
    assert np.abs(problem.u.x.array - problem.rim.x.array).max() < OF_NEWTON
    assert np.abs(problem.u.x.array).max() > 0.01


def test_homogeneous_states_are_in_equilibrium_in_space():
    problem = Problem(bodies.eam4(), n=5, half=19.0, gdim=3)
    D = 0.01 * np.random.default_rng(0).uniform(-1, 1, size=(3, 3))
    problem.stretch(D)
    problem.u.x.array[:] = problem.rim.x.array
    atoms = problem.embed(2.5, 2.5, dimension=3)
    z, f = atoms.unknowns(), atoms.vector()
    atoms.function(None, z, f)
    assert f.norm() < 1e-10
    z.array[:] += 0.01 * np.random.default_rng(1).normal(size=z.getLocalSize())
    atoms.function(None, z, f)
    assert f.norm() > 0.1
    problem.u.x.array[:] = 0
    y = atoms.update(atoms.unknowns())
    assert np.abs(y - atoms.sites.positions)[atoms.beta < 1].max() == 0
    with pytest.raises(CaseError, match="outside the mesh"):
        problem.embed(9.0, 2.5, dimension=3)


@pytest.mark.slow
def test_a_vacancy_in_space_pulls_its_neighbours_in():
    pulls = []
    for core in (2.5, 4.0):
        problem = Problem(bodies.eam4(), n=8, half=21.5, gdim=3)
        atoms = problem.embed(core, 3.0, dimension=3, vacancies=[(0, 0, 0)])
        y = atoms.update(newton(atoms, tolerance=1e-8))
        X = atoms.sites.positions
        near = np.argsort(np.linalg.norm(X, axis=1))[:8]
        inwards = -np.einsum("nc,nc->n", y - X, X)[near] / np.linalg.norm(X[near], axis=1)
        assert (
            np.ptp(inwards) < 0.01 * inwards.mean()
        )  # the mesh has fewer symmetries than the crystal
        pulls.append(inwards.mean())
    assert pulls[0] > 0.01
    assert pulls[0] == pytest.approx(pulls[1], rel=0.05)


def test_potentials_that_give_forces_only_will_do():
    pytest.importorskip("lammps", reason="LAMMPS is not installed")
    from msolve.potentials.blackbox import examined
    from msolve.potentials.lammps import lammps_pair_style

    found = []
    given = lammps_pair_style("eam/fs", [f"* * {bodies.EAM4} W"], [74])
    for model in (bodies.eam4(), examined(given, Crystal.bcc(3.1434, 74))):
        problem = Problem(bodies.eam4(), n=10, half=24.0)
        problem.stretch(np.diag([0, 0.004, 0]))
        problem.model = model
        atoms = problem.embed(3.0, 4.0, vacancies=[(0, 0, 0)])
        found.append(atoms.update(newton(atoms, atoms.vector(), 1e-7))[atoms.beta < 1])
    assert np.abs(found[1] - found[0]).max() < 1e-6


@pytest.fixture(scope="module")
def pulled():
    """Rollers on the left and below, pulled on the right by a displacement, above by a traction."""
    problem = Problem(bodies.eam4(), n=14, half=24.0)
    V, domain = problem.V, problem.V.mesh
    far = fem.Constant(domain, 0.3)
    dirichlet = []
    for axis, side, value in ((0, -24.0, 0.0), (1, -24.0, 0.0), (0, 24.0, far)):
        facets = mesh.locate_entities_boundary(
            domain, 1, lambda x, axis=axis, side=side: np.isclose(x[axis], side)
        )
        dofs = fem.locate_dofs_topological(V.sub(axis), 1, facets)
        dirichlet.append(fem.dirichletbc(value, dofs, V.sub(axis)))
    corner = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0] + x[1], -48.0))
    dirichlet.append(fem.dirichletbc(np.zeros(3), corner, V))
    problem.load = fem.Constant(domain, 0.0)
    above = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[1], 24.0))
    tag = mesh.meshtags(domain, 1, above, np.ones(len(above), dtype=np.int32))
    ds = ufl.Measure("ds", domain, subdomain_data=tag)
    v = ufl.TestFunction(V)
    problem.F = problem.F - problem.load * v[1] * ds(1)
    problem.far = far
    return problem, problem.embed(4.0, 6.0, bcs=dirichlet, vacancies=[(0, 0, 0)])


def test_the_jacobian_is_the_derivative_of_the_residual(pulled):
    _, atoms = pulled
    rng = np.random.default_rng(2)
    z, d, f = atoms.unknowns(), atoms.vector(), atoms.vector()
    z.array[:] += 0.02 * rng.normal(size=len(z.array))
    d.array[:] = rng.normal(size=len(d.array))

    def residual(s):
        atoms.function(None, z + s * d, f)
        return f.array.copy()

    h = 1e-4
    near, far = residual(h) - residual(-h), residual(2 * h) - residual(-2 * h)
    slope = (8 * near - far) / (12 * h)
    J, P = atoms.matrices()
    atoms.jacobian(None, z, J, P)
    J.mult(d, f)
    assert np.abs(f.array - slope).max() < 1e-6 * np.abs(slope).max()
    # P is only like it, but exactly so at rows of nodes that no atom touches.
    g = f.duplicate()
    P.mult(d, g)
    assert np.count_nonzero(np.abs(f.array - g.array) < 1e-9) > 0.3 * len(g.array)
    check_term(atoms.problem.terms[1], atoms.problem.snapshot(z, 0.0), rng)


def test_conditions_on_components_hold_and_new_values_are_seen(pulled):
    problem, atoms = pulled
    assert len(atoms.problem.kinematics.unknowns.idle) > 20
    nodes, u = atoms.form.space.nodes(), problem.u.x.array.reshape(-1, 3)
    left, right = np.isclose(nodes[:, 0], -24), np.isclose(nodes[:, 0], 24)
    below, above = np.isclose(nodes[:, 1], -24), np.isclose(nodes[:, 1], 24)
    heights = []
    for far, load in ((0.3, 0.0), (0.1, 0.0), (0.1, 0.02)):
        problem.far.value, problem.load.value = far, load
        y = atoms.update(newton(atoms))
        assert np.abs(u[left, 0]).max() == np.abs(u[below, 1]).max() == 0
        assert (u[right, 0] == far).all()
        assert np.abs(u[left][:, 1]).max() > 1e-3
        heights.append(u[above, 1].mean())
        # Atoms of the pad are where the mesh has them; atoms inside have moved with it.
        along = np.polyfit(atoms.sites.positions[:, 0], y[:, 0] - atoms.sites.positions[:, 0], 1)[0]
        assert along == pytest.approx(far / 48, rel=0.3)
    assert heights[0] < heights[1] < 0 < heights[2]


def test_the_same_law_by_form_and_by_couple_give_the_same(tmp_path):
    own = example("own_material")
    crystal, _, C = bodies.bulk(bodies.eam4())
    law = own.StVenantKirchhoff(C)
    rng = np.random.default_rng(3)
    check_material(law, np.eye(3) + 0.05 * rng.normal(size=(6, 3, 3)), rng)
    body = bodies.perfect(bodies.eam4(), np.eye(3) + np.diag([0, 0.01, 0]), 30.0, vacancy=True)
    coupled = bodies.coupled(own.with_law(body, law), 4.0, 6.0)
    problem = coupled.problem.with_terms(coupled.force_terms)
    z = problem.kinematics.unknowns.vector()
    assert find_root(problem, z, 1.0, coupled.preconditioner, Settings(tolerance=1e-11)).converged
    expected = problem.gather(z, 1.0)

    space = problem.kinematics.space
    u, rim = fem.Function(space.V), fem.Function(space.V)
    rim.interpolate(lambda x: np.diag([0, 0.01, 0]) @ x)
    blocks = space.node_tags["outer"].astype(np.int32)
    F = stress_form(u, ufl.TestFunction(space.V), C, 1)
    atoms = msolve.embed(
        u,
        F,
        [fem.dirichletbc(rim, blocks)],
        crystal=crystal,
        potential=bodies.eam4(),
        cores=[Ball((0, 0, 0), 4.0)],
        blend=6.0,
        vacancies=[(0, 0, 0)],
    )
    y = atoms.update(newton(atoms, tolerance=1e-11))
    assert np.abs(atoms.sites.positions - coupled.X).max() == 0
    assert np.abs(y - expected).max() < 1e-8
    assert np.abs(y - coupled.X).max() > 0.1


def test_what_cannot_be_is_refused_with_a_reason():
    problem = Problem(bodies.eam4(), n=8, half=20.0)
    with pytest.raises(CaseError, match=r"outside the mesh.*angstrom beyond the blend"):
        problem.embed(10.0, 6.0)
    with pytest.raises(CaseError, match="no site of the crystal is near"):
        problem.embed(2.0, 2.0, vacancies=[(500, 0, 0)])
    tungsten = problem.crystal
    problem.crystal = Crystal.diamond(5.43, 14).oriented((1, 0, 0), (0, 1, 0), (0, 0, 1))
    with pytest.raises(UnsupportedError, match="inner shifts"):
        problem.embed(2.0, 2.0)
    problem.crystal = tungsten
    square = mesh.create_unit_square(MPI.COMM_SELF, 2, 2, mesh.CellType.quadrilateral)
    spaces = [
        (problem.V.mesh, ("DG", 1, (3,)), "not Lagrange"),
        (problem.V.mesh, ("Lagrange", 3, (3,)), "degree"),
        (problem.V.mesh, ("Lagrange", 1), "1 components"),
        (square, ("Lagrange", 1, (2,)), "simplices"),
    ]
    for domain, element, reason in spaces:
        problem.u = fem.Function(fem.functionspace(domain, element))
        with pytest.raises(UnsupportedError, match=reason):
            problem.embed(2.0, 2.0)


def test_reactions_are_the_tractions_of_a_homogeneous_state(pulled):
    problem = Problem(bodies.eam4(), n=8, half=24.0)
    D = np.array([[0.002, 0.001, 0], [0, -0.001, 0], [0, 0.003, 0]])
    problem.stretch(D)
    atoms = problem.embed(2.0, 4.0)
    problem.u.x.array[:] = problem.rim.x.array
    forces = atoms.reactions(atoms.unknowns())
    F = np.eye(3) + D
    stress = F @ np.einsum("ijkl,kl->ij", problem.C, (F.T @ F - np.eye(3)) / 2)
    nodes = atoms.form.space.nodes()
    side = np.isclose(nodes[:, 0], 24.0) & (np.abs(nodes[:, 1]) < 23.0)
    area = 48.0 * np.count_nonzero(side) / 8 * problem.crystal.period
    assert forces[side].sum(axis=0) == pytest.approx(area * stress[:, 0], rel=1e-9)
    assert np.abs(forces.sum(axis=0)).max() < 1e-9
    inside = np.abs(nodes[:, :2]).max(axis=1) < 23.0
    assert (forces[inside] == 0).all()
    # Rollers push only along their own axis.
    rollers, embedded = pulled
    rollers.far.value = 0.2
    forces = embedded.reactions(newton(embedded))
    nodes = embedded.form.space.nodes()
    left = np.isclose(nodes[:, 0], -24.0) & (nodes[:, 1] > -23.0)
    assert (forces[left, 1:] == 0).all() and forces[left, 0].sum() < -0.1


def test_a_state_without_energy_is_a_residual_that_is_no_number(pulled):
    _, atoms = pulled
    z, f = atoms.vector(), atoms.vector()
    z.array[0] = np.nan
    atoms.function(None, z, f)
    assert np.isnan(f.norm())


def test_newton_backs_off_from_states_without_energy():
    problem = Problem(bodies.eam4(), n=10, half=24.0)
    problem.stretch(np.diag([0, 0.01, 0]))
    atoms = problem.embed(3.0, 4.0, vacancies=[(0, 0, 0)])
    seen = []

    def function(snes, z, f):
        seen.append(z.norm())
        if len(seen) == 3:
            z = z.copy()
            z.scale(1e6)  # atoms leave the finite numbers of the potential
        atoms.function(snes, z, f)

    snes = PETSc.SNES().create(MPI.COMM_SELF)
    snes.setFunction(function, atoms.vector())
    snes.setJacobian(atoms.jacobian, *atoms.matrices())
    snes.setTolerances(rtol=0, atol=1e-8)
    snes.getKSP().getPC().setType("lu")
    z = atoms.vector()
    snes.solve(None, z)
    assert snes.getConvergedReason() > 0
    assert seen[3] < seen[2]


def test_the_package_imports_nothing_until_asked():
    code = (
        "import sys, msolve; assert not {'numpy', 'torch', 'dolfinx'} & set(sys.modules); "
        "msolve.Ball; assert 'torch' not in sys.modules; msolve.embed; assert 'dolfinx' in sys.modules\n"
        "try: msolve.nothing\nexcept AttributeError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "no attribute 'nothing'" in told.stdout


def test_the_example_agrees_with_atoms_everywhere():
    module = example("dolfinx_embed")
    C = bodies.bulk(bodies.eam4())[2]
    assert np.allclose(
        [C[0, 0, 0, 0], C[0, 0, 1, 1], C[0, 1, 0, 1]],
        [module.C11, module.C12, module.C44],
        rtol=1e-5,
    )
    snes, error = module.main(MPI.COMM_SELF)
    assert snes.getConvergedReason() > 0
    assert 1e-4 < error < 0.02


@pytest.mark.slow
def test_a_law_of_ones_own_can_be_coupled_without_a_form():
    assert 1e-6 < example("own_material").main(MPI.COMM_SELF) < 1e-3


def test_the_ten_lines_are_ten():
    text = (EXAMPLES / "dolfinx_embed.py").read_text()
    block = text.split("the ten lines.\n")[1].split("    # ")[0]
    lines = [line for line in block.splitlines() if line.strip()]
    assert len(lines) + 1 == 10  # import msolve is the tenth
    page = (EXAMPLES.parents[1] / "docs/howto-library.md").read_text()
    for line in lines:
        assert f"\n{line.strip()}\n" in page
