# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Local deformation against known ones, and files that ASE reads back."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest

from msolve.crystal import Crystal
from msolve.io.trajectories import local_deformation, regions_of, write_atoms

A = 3.14
F = np.array([[1.03, 0.02, 0.0], [-0.01, 0.98, 0.0], [0.02, 0.01, 1.0]])


@pytest.fixture(scope="module")
def slab():
    crystal = Crystal.bcc(A, 74).oriented([1, -1, 0], [1, 1, 0], [0, 0, 1])
    sites = crystal.sites(lambda X: np.hypot(X[:, 0], X[:, 1]) < 14, [(-14, 14)] * 2)
    return sites.positions, sites.numbers, crystal.period


def test_a_homogeneous_deformation_is_found_exactly(slab):
    X, _, period = slab
    found = local_deformation(X, X @ F.T, period, 1.1 * A)
    assert found.determined.all()
    assert np.abs(found.F - F).max() < 1e-12


def test_von_mises_strain_of_simple_shear_and_of_a_rotation(slab):
    X, _, period = slab
    gamma = 1e-4
    shear = np.eye(3)
    shear[0, 1] = gamma
    found = local_deformation(X, X @ shear.T, period, 1.1 * A).von_mises()
    assert found == pytest.approx(gamma / 2, rel=1e-3)
    c, s = np.cos(0.3), np.sin(0.3)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    assert local_deformation(X, X @ turn.T, period, 1.1 * A).von_mises() == pytest.approx(0)


def test_broken_bonds_do_not_count(slab):
    X, _, period = slab
    apart = X + np.where(X[:, 1:2] > 0.1, [[0.0, 5.0, 0.0]], [[0.0, 0.0, 0.0]])
    assert np.abs(local_deformation(X, apart, period, 1.1 * A).F - np.eye(3)).max() < 1e-12


def test_atoms_without_neighbours_are_said_to_be_undetermined():
    X = np.array([[0.0, 0, 0], [2.7, 0, 0], [40.0, 0, 0]])
    found = local_deformation(X, X * 1.01, None, 3.0)
    assert not found.determined.any()
    assert np.all(found.F == np.eye(3))


def test_regions_follow_the_blending_function():
    assert regions_of(np.array([0.0, 0.5, 1.0])).tolist() == [0, 1, 2]


def test_ase_reads_the_file_back(slab, tmp_path):
    X, numbers, period = slab
    y = X @ F.T
    columns = {"region": np.arange(len(X)) % 3, "site_energy": np.linspace(-9, -8, len(X))}
    path = tmp_path / "out" / "atoms.extxyz"
    write_atoms(path, y, X, numbers, period, columns, comment={"load": "1 K_G"})
    (atoms,) = ase.io.read(path, index=":")
    assert atoms.info["load"] == "1 K_G"
    assert atoms.pbc.tolist() == [False, False, True]
    assert atoms.cell[2, 2] == pytest.approx(period)
    assert (atoms.numbers == numbers).all()
    assert np.abs(atoms.positions - y).max() < 1e-8
    assert np.abs(atoms.arrays["displacement"] - (y - X)).max() < 1e-8
    assert (atoms.arrays["region"] == columns["region"]).all()
