# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Dislocations: their elastic field, the crystal around them, and coupled against full atomistic models."""

from dataclasses import replace

from mpi4py import MPI

import numpy as np
import pytest
from scipy import spatial

from bodies import EAM4, eam4, perfect
from msolve.assemble import full_atomistic
from msolve.atomistic import cluster_energy
from msolve.config import load_case
from msolve.loads import Affine, Together, Volterra, cubic_stiffness
from msolve.potentials.lammps import lammps_pair_style
from msolve.run import run_case
from msolve.solvers import Settings, minimise

AXES = ((1, 1, -2), (-1, 1, 0), (1, 1, 1))
ROTATION = np.array([np.array(axis) / np.linalg.norm(axis) for axis in AXES])
CUBIC = (3.26, 1.28, 0.8)
"""Far from isotropic, so that mistakes show [eV/Å³]."""
BURGERS = (0.3, -0.2, 2.7)
C = cubic_stiffness(*CUBIC, ROTATION)


def ring(radius, n=400, middle=(0.0, 0.0)):
    """Points from -π to π, just off the cut."""
    angle = np.linspace(-np.pi, np.pi, n + 1)
    angle = 0.5 * (angle[1:] + angle[:-1])
    normal = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(n)])
    return radius * normal + [*middle, 0.0], normal, angle


@pytest.fixture(scope="module")
def field():
    return Volterra(C, BURGERS, (0.4, -0.3))


def test_the_displacement_grows_by_the_burgers_vector_around_the_line(field):
    ends = np.array([[-5.0, -0.3 + side * 1e-12, 0.0] for side in (-1, 1)])
    below, above = field.displacement(ends, 1.0)
    assert np.allclose(above - below, BURGERS, atol=1e-10)
    # The cut belongs to the side of larger x2, whatever the sign of zero.
    on = np.array([[-5.0, -0.3, 0.0]])
    assert np.allclose(field.displacement(on, 1.0)[0], above, atol=1e-10)
    X, _, _ = ring(3.0, middle=(0.4, -0.3))
    steps = np.diff(field.displacement(X, 0.3), axis=0)
    assert np.abs(steps).max() < 0.1  # smooth on the way
    assert np.allclose(field.displacement(X, 0.3), field.displacement(X, 1.0))


def test_the_gradient_is_that_of_the_displacement_and_in_equilibrium(field):
    X = np.array([[2.0, 1.0, 0.0], [-1.5, 2.0, 0.3], [-2.0, -1.0, 5.0], [0.5, -2.0, 0.0]])
    h, columns, curls = 1e-5, [], []
    for axis in range(3):
        step = h * np.eye(3)[axis]
        ahead, behind = (field.displacement(X + s * step, 1.0) for s in (1, -1))
        columns.append((ahead - behind) / (2 * h))
        ahead, behind = (field.gradient(X + s * step, 1.0) for s in (1, -1))
        curls.append((ahead - behind) / (2 * h))
    assert np.allclose(field.gradient(X, 1.0), np.stack(columns, axis=2), atol=1e-8)
    divergence = np.einsum("ijkl,jnkl->ni", C, np.array(curls))
    assert np.abs(divergence).max() < 1e-7


def test_no_force_acts_on_the_line(field):
    X, normal, _ = ring(2.0, middle=(0.4, -0.3))
    stress = np.einsum("ijkl,nkl->nij", C, field.gradient(X, 1.0))
    traction = np.einsum("nij,nj->ni", stress, normal)
    assert np.abs(traction.mean(axis=0)).max() < 1e-10 * np.abs(traction).max()
    assert np.abs(traction).max() > 0.01


def test_in_an_isotropic_solid_it_is_the_textbooks():
    mu = 0.5
    screw = Volterra(cubic_stiffness(2.0, 1.0, mu), (0.0, 0.0, 2.5))
    X, _, angle = ring(4.0)
    u = screw.displacement(X, 1.0)
    assert np.allclose(u[:, 2] - u[:, 2].mean(), 2.5 * angle / (2 * np.pi), atol=1e-6)
    assert np.abs(u[:, :2]).max() < 1e-6
    assert screw.energy_factor() == pytest.approx(mu * 2.5**2 / (4 * np.pi), rel=1e-6)


def test_the_energy_factor_is_that_of_the_strain_energy(field):
    X, _, _ = ring(1.7, middle=(0.4, -0.3))
    G = field.gradient(X, 1.0)
    density = 0.5 * np.einsum("nij,ijkl,nkl->n", G, C, G)
    # Energy per length of a ring: density falls off as 1 / r².
    assert field.energy_factor() == pytest.approx(2 * np.pi * 1.7**2 * density.mean(), rel=1e-9)


def test_it_is_that_of_matscipy():
    """Another implementation of Stroh's formalism, by Hirth and Lothe's."""
    dislocation = pytest.importorskip("matscipy.dislocation")
    b = 2.7
    burgers = b * ROTATION[2]
    theirs = dislocation.AnisotropicDislocation(
        axes=AXES,
        slip_plane=AXES[1],
        disloc_line=AXES[2],
        burgers=burgers,
        C11=CUBIC[0],
        C12=CUBIC[1],
        C44=CUBIC[2],
    )
    ours = Volterra(C, (0.0, 0.0, b))
    X, _, _ = ring(5.0, n=12)
    X = X[np.abs(X[:, 1]) > 0.1]
    expected = np.swapaxes(theirs.deformation_gradient(X), 1, 2) - np.eye(3)
    found = ours.gradient(X, 1.0)
    # Its line runs the other way round, by its slip plane and direction.
    sign = np.sign((expected * found).sum())
    assert np.abs(found).max() > 0.05
    assert np.allclose(found, sign * expected, atol=1e-9)


def body(radius):
    """Tungsten with a dislocation in the middle of three rows of atoms."""
    solid = perfect(eam4(), np.eye(3), radius, axes=AXES)
    rows = solid.crystal.nearest_neighbour_distance * np.sqrt(8) / 3  # apart
    middle = (rows / 2, rows / np.sqrt(12))
    field = Volterra(solid.C, (0.0, 0.0, solid.crystal.period), middle)
    return replace(solid, far_field=field, predictor=field)


def test_the_cut_changes_no_force():
    """A jump by a period leaves the crystal whole: the same atoms, with the cut elsewhere, feel the same."""
    solid = body(24.0)
    sites = solid.sites(0.0)
    X, period, middle = sites.positions, solid.crystal.period, solid.far_field.line
    y = X + solid.far_field.displacement(X, 1.0)
    cell, periodic = solid.cell, [False, False, True]
    energy, forces = cluster_energy(eam4(), y, sites.numbers, cell, periodic)
    moved = y.copy()
    moved[(X[:, 1] < middle[1]) & (X[:, 0] < middle[0]), 2] += period
    other, same = cluster_energy(eam4(), moved, sites.numbers, cell, periodic)
    assert other == pytest.approx(energy, rel=1e-12)
    assert np.abs(same - forces).max() < 1e-9
    # It shows nowhere: forces have the threefold axis of line and crystal, which the cut has not.
    away = X[:, :2] - middle
    inner = np.flatnonzero(np.linalg.norm(away, axis=1) < 8)
    third = np.array([[-0.5, -np.sqrt(0.75)], [np.sqrt(0.75), -0.5]])
    distance, twin = spatial.cKDTree(away).query(away[inner] @ third.T)
    assert len(inner) > 20 and distance.max() < 1e-6
    assert np.abs(forces[inner, :2]).max() > 0.5
    assert np.allclose(forces[twin, :2], forces[inner, :2] @ third.T, atol=1e-5)
    assert np.allclose(forces[twin, 2], forces[inner, 2], atol=1e-5)


def test_the_energy_grows_with_the_logarithm_of_the_radius():
    full = full_atomistic(MPI.COMM_SELF, body(32.0))
    x = full.problem.kinematics.unknowns.vector()
    tight = Settings(tolerance=1e-6)
    assert minimise(full.problem, x, 1.0, full.preconditioner, tight).converged
    # Site energies less those of the perfect crystal, inside two circles.
    energy = full.problem.patch.site_energies(full.problem.gather(x, 1.0))
    none = full.body.material.energy_density(np.eye(3)[None])[0][0]
    none *= full.body.crystal.crystal.atomic_volume
    field = full.body.far_field
    r = np.linalg.norm(full.X[:, :2] - field.line, axis=1)
    near, far = (float((energy - none)[r < limit].sum()) for limit in (10.0, 28.0))
    expected = field.energy_factor() * full.body.crystal.period * np.log(2.8)
    assert far - near == pytest.approx(expected, rel=0.04)


def test_lammps_finds_the_full_model_at_rest():
    """Another program, with its own neighbour lists across the cut and the period."""
    pytest.importorskip("lammps", reason="LAMMPS is not installed")
    full = full_atomistic(MPI.COMM_SELF, body(24.0))
    x = full.problem.kinematics.unknowns.vector()
    tight = Settings(tolerance=1e-5)
    assert minimise(full.problem, x, 1.0, full.preconditioner, tight).converged
    y = full.problem.gather(x, 1.0)
    other = lammps_pair_style("eam/fs", (f"* * {EAM4} W",), [74], EAM4.parent)
    found = other.cluster(y, full.numbers, full.body.cell, np.array([False, False, True]))
    assert np.abs(found.gradient[full.free]).max() < 1e-4
    # The start was far from rest.
    start = full.X + full.body.far_field.displacement(full.X, 1.0)
    before = other.cluster(start, full.numbers, full.body.cell, np.array([False, False, True]))
    assert np.abs(before.gradient[full.free]).max() > 0.5


def test_several_fields_add_up():
    one, two = Volterra(C, BURGERS), Affine(np.eye(3) + 0.01)
    X = np.array([[1.0, 2.0, 0.0]])
    both = Together((one, two))
    assert np.array_equal(
        both.displacement(X, 0.5), one.displacement(X, 0.5) + two.displacement(X, 0.5)
    )
    assert np.array_equal(both.gradient(X, 0.5), one.gradient(X, 0.5) + two.gradient(X, 0.5))
    with pytest.raises(ValueError, match="infinite"):
        one.gradient(np.zeros((1, 3)), 1.0)


@pytest.mark.parametrize("predictor", [True, False])
def test_a_coupled_dislocation_is_that_of_the_full_model(tmp_path, predictor):
    changes = {
        "domain.radius": "40 angstrom",
        "regions.core_radius": "8 angstrom",
        "regions.blend": "6 angstrom",
        "load.strain.e12": "0.3 %",
        "load.predictor": str(predictor).lower(),
        "solver.stability": "false",
        "solver.gradient_tolerance": "1e-5 eV/angstrom",
        "output": f"{{directory: {tmp_path}, pictures: false, fields: false, atoms: false}}",
    }
    overrides = [f"{key}={value}" for key, value in changes.items()]
    case = load_case(EAM4.parents[1] / "screw_dislocation.yaml", overrides)
    result = run_case(case, MPI.COMM_WORLD)
    error, said = result.comparison, result.steps[0].estimate
    assert 0 < error.relative_h1 < 0.1
    assert said["total_h1"] == pytest.approx(error.total_h1, rel=0.2)
    assert said["energy"] == pytest.approx(error.energy_error, rel=0.2)


@pytest.mark.slow
def test_a_coupled_dislocation_is_certified(tmp_path):
    changes = {
        "domain.radius": "40 angstrom",
        "regions.core_radius": "9 angstrom",
        "certificate": "{}",
        "output": f"{{directory: {tmp_path}, pictures: false, fields: false, atoms: false}}",
    }
    overrides = [f"{key}={value}" for key, value in changes.items()]
    case = load_case(EAM4.parents[1] / "screw_dislocation.yaml", overrides)
    result = run_case(case, MPI.COMM_WORLD)
    found = result.steps[0].certificate
    assert found["level"] == "A" and found["negative"] == 0
    # The bound counts all bonds, the comparison those inside the rim.
    assert found["bound_h1"] >= result.comparison.total_h1 > 0
