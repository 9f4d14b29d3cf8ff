# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The Cauchy-Born law: derivatives, symmetry, the lattice at rest, published constants."""

from pathlib import Path

import numpy as np
import pytest

from msolve.atomistic import cluster_energy
from msolve.crystal import Crystal
from msolve.errors import ConvergenceError, UnsupportedError
from msolve.potentials import load_potential
from msolve.potentials.bulk import BulkCell
from msolve.potentials.rest import elastic_constants, relaxed_lattice
from msolve.testing import write_tiny_mace

GPA = 160.21766  # per eV/Å³
EAM4 = Path(__file__).parents[2] / "solver_configs/potentials/w_eam4.eam.fs"
ZHOU = Path("/usr/share/lammps/potentials/W_zhou.eam.alloy")


@pytest.fixture(scope="module", params=["eam", "mace"])
def bulk(request, tmp_path_factory):
    """Tungsten, turned to the axes of the crack."""
    if request.param == "eam":
        model, a = load_potential(EAM4, "eam"), 3.14339
    else:
        pytest.importorskip("mace", reason="mace-torch is not installed")
        path = tmp_path_factory.mktemp("mace") / "tiny.model"
        write_tiny_mace(path)
        model, a = load_potential(path, "mace"), 3.16
    return BulkCell(model, Crystal.bcc(a, 74).oriented([1, -1, 0], [1, 1, 0], [0, 0, 1]))


@pytest.fixture
def F():
    return np.eye(3) + 0.03 * np.random.default_rng(0).normal(size=(6, 3, 3))


def difference(function, h):
    return (8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))) / (12 * h)


def test_stress_is_the_derivative_of_the_energy_density(bulk, F):
    D = np.random.default_rng(1).normal(size=F.shape)
    slope = difference(lambda s: bulk.energy_density(F + s * D)[0], 1e-4)
    assert np.abs(slope).min() > 1e-6
    P = bulk.energy_density(F)[1]
    assert np.abs(np.einsum("qij,qij->q", P, D) - slope).max() < 1e-7 * np.abs(P).max()


def test_tangent_is_the_derivative_of_the_stress(bulk, F):
    D = np.random.default_rng(2).normal(size=F.shape)
    slope = difference(lambda s: bulk.energy_density(F + s * D)[1], 1e-4)
    A = bulk.tangent(F)
    assert np.abs(slope).max() > 1e-3
    # EAM4 is made of pieces whose third derivatives jump.
    assert np.abs(np.einsum("qijkl,qkl->qij", A, D) - slope).max() < 1e-4 * np.abs(A).max()
    assert np.allclose(A, A.transpose(0, 3, 4, 1, 2), atol=1e-11 * np.abs(A).max())


def test_energy_density_is_that_of_the_deformed_crystal(bulk, F):
    for each in F[:2]:
        cell = bulk.oriented.cell @ each.T
        energy, _ = cluster_energy(bulk.model, np.zeros((1, 3)), [74], cell, [True] * 3)
        W = bulk.energy_density(each[None])[0][0]
        assert W * bulk.volume == pytest.approx(energy, rel=1e-12)


def test_objective(bulk, F):
    Q = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    Q *= np.linalg.det(Q)
    W, P = bulk.energy_density(F)
    turned = bulk.energy_density(Q @ F)
    assert np.allclose(turned[0], W, rtol=1e-11)
    assert np.abs(turned[1] - Q @ P).max() < 1e-11 * max(np.abs(P).max(), 1.0)


def test_strong_compression_brings_in_more_neighbours(bulk):
    F = np.diag([1.0, 0.75, 1.0])[None]
    energy, _ = cluster_energy(
        bulk.model, np.zeros((1, 3)), [74], bulk.oriented.cell @ F[0].T, [True] * 3
    )
    assert bulk.energy_density(F)[0][0] * bulk.volume == pytest.approx(energy, rel=1e-12)


@pytest.mark.parametrize(
    "F", [np.diag([1.0, 0.3, 1.0]), np.diag([1.0, -1.0, 1.0]), np.eye(3) * np.nan]
)
def test_impossible_deformations_are_reported(bulk, F):
    with pytest.raises(ConvergenceError, match="smaller load steps"):
        bulk.energy_density(F[None])


def test_chunks_do_not_matter(bulk):
    F = np.eye(3) + 0.02 * np.random.default_rng(4).normal(size=(1500, 3, 3))
    W, P = bulk.energy_density(F)
    some = [0, 700, 1499]
    W_some, P_some = bulk.energy_density(F[some])
    assert np.allclose(W[some], W_some, rtol=1e-13)
    assert np.allclose(P[some], P_some, atol=1e-13)
    empty = bulk.energy_density(np.empty((0, 3, 3)))
    assert empty[0].shape == (0,) and empty[1].shape == (0, 3, 3)


@pytest.mark.parametrize(
    ("path", "a", "C11", "C12", "C44"),
    [(EAM4, 3.14339, 523.0, 202.2, 160.9), (ZHOU, 3.16485, 523.0, 204.8, 160.9)],
)
def test_tungsten_has_its_published_constants(path, a, C11, C12, C44):
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    model = load_potential(path, "eam")
    crystal = relaxed_lattice(model, Crystal.bcc(3.3, 74))
    assert crystal.axes[0, 0] == pytest.approx(a, abs=1e-5)
    assert np.array_equal(crystal.axes, crystal.axes[0, 0] * np.eye(3))
    cube = BulkCell(model, crystal.oriented([1, 0, 0], [0, 1, 0], [0, 0, 1]))
    assert np.abs(cube.energy_density(np.eye(3)[None])[1]).max() < 1e-12
    C = elastic_constants(cube) * GPA
    found = np.array([C[0, 0, 0, 0], C[0, 0, 1, 1], C[1, 2, 1, 2]])
    assert np.abs(found - [C11, C12, C44]).max() < 0.7


def test_triangular_lattice_at_rest():
    model = load_potential("", "toy")
    crystal = relaxed_lattice(model, Crystal.triangular(1.0, 10.0))
    bulk = BulkCell(model, crystal.oriented([1, 0, 0], [1, 2, 0], [0, 0, 1]))
    C = elastic_constants(bulk)
    assert np.abs(bulk.energy_density(np.eye(3)[None])[1]).max() < 1e-12
    assert C[0, 0, 0, 0] == pytest.approx(C[1, 1, 1, 1], rel=1e-10)
    assert C[0, 1, 0, 1] == pytest.approx((C[0, 0, 0, 0] - C[0, 0, 1, 1]) / 2, rel=1e-10)
    assert C[0, 1, 0, 1] > 0.01


def test_hexagonal_lattice_relaxes_both_lengths():
    """A layer stacked so that layers do see each other: a and c must come to rest separately."""
    model = load_potential("", "toy")
    crystal = relaxed_lattice(model, Crystal.hexagonal(1.0, 1.0, 1))
    a, c = np.linalg.norm(crystal.axes[0]), np.linalg.norm(crystal.axes[2])
    assert abs(a - c) > 1e-3
    again = relaxed_lattice(model, crystal.scaled(1.02))
    assert np.allclose(again.axes, crystal.axes, atol=1e-9)


def test_no_minimum_is_reported():
    with pytest.raises(ConvergenceError, match="no minimum within 15 %"):
        relaxed_lattice(load_potential("", "toy"), Crystal.triangular(2.0, 10.0))


def test_what_cannot_be_done_is_refused():
    model = load_potential("", "toy")
    iron = Crystal.bcc(3.0, 26).oriented([1, 0, 0], [0, 1, 0], [0, 0, 1])
    with pytest.raises(UnsupportedError, match=r"\[26\]"):
        BulkCell(model, iron)
