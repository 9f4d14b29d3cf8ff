# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Models behind torch-sim's ModelInterface, and mace's own calculator: against our reading of the same file."""

from __future__ import annotations

import functools
from pathlib import Path

import ase.build
import numpy as np
import pytest

from msolve.atomistic import cluster_energy
from msolve.crystal import Crystal
from msolve.errors import CaseError, ConvergenceError
from msolve.potentials import load_potential
from msolve.potentials.blackbox import examined
from msolve.potentials.bulk import cauchy_born
from msolve.potentials.calculator import ase_calculator
from msolve.potentials.mace_import import quiet_import
from msolve.potentials.torchsim import torchsim_model
from msolve.testing import check_potential

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("torch_sim", reason="torch-sim is not installed")
pytest.importorskip("mace", reason="mace-torch is not installed")

FOLDER = Path(__file__).parents[2] / "solver_configs"
FILE = "potentials/w_mace/w_mace.model"
BY_NAME = ("torch_sim.models.mace:MaceModel", {"model": FILE}, [74], 10.0, FOLDER)
SAME = 1e-12
"""Forces of the same model in float64, the sums taken in another order [of the largest]."""


@functools.cache
def ours():
    return load_potential(FOLDER / FILE, "mace")


@functools.cache
def by_torchsim():
    return torchsim_model(*BY_NAME)


@functools.cache
def by_mace():
    arguments = {"model_paths": FILE, "device": "cpu", "default_dtype": "float64"}
    with (
        quiet_import()
    ):  # mace's loader wants a variable that its import sets, and that other tests put back
        return ase_calculator("mace.calculators:MACECalculator", arguments, [74], 10.0, FOLDER)


@pytest.mark.parametrize("model", [by_torchsim, by_mace], ids=["torch-sim", "mace's calculator"])
@pytest.mark.parametrize(
    ("repeat", "periodic"),
    [((4, 4, 1), [0, 0, 1]), ((3, 3, 3), [0, 0, 0]), ((2, 1, 1), [1, 1, 1])],
    ids=["front", "open", "thin"],
)
def test_forces_are_those_of_our_reading_of_the_file(model, repeat, periodic):
    atoms = ase.build.bulk("W", cubic=True) * repeat
    atoms.rattle(0.05)
    x, z, cell, axes = atoms.positions, atoms.numbers, atoms.cell.array, np.array(periodic, bool)
    energy, gradient = cluster_energy(ours(), x, z, cell, axes)
    found = model().cluster(x, z, cell, axes)
    assert np.abs(gradient).max() > 0.5
    assert found.energy == pytest.approx(energy, rel=SAME)
    assert np.abs(found.gradient - gradient).max() < SAME * np.abs(gradient).max()


def test_many_strained_crystals_at_once_have_our_stresses():
    oriented = Crystal.bcc(3.1434, 74).oriented([1, 0, 0], [0, 1, 0], [0, 0, 1])
    F = np.eye(3) + 0.02 * np.random.default_rng(4).normal(size=(40, 3, 3))
    mine, theirs = (cauchy_born(m, oriented).energy_density(F) for m in (ours(), by_torchsim()))
    assert np.abs(theirs[0] - mine[0]).max() < 1e-10 * np.abs(mine[0]).max()
    assert np.abs(theirs[1] - mine[1]).max() < 1e-9 * np.abs(mine[1]).max()


@pytest.mark.slow
def test_laws():
    atoms = ase.build.bulk("W", cubic=True) * (14, 14, 1)
    atoms.rattle(0.05)
    rng = np.random.default_rng(0)
    model = examined(by_torchsim(), Crystal.bcc(3.1434, 74))
    assert "virial" in model.gives and model.noise < 1e-11
    check_potential(model, atoms.positions, atoms.numbers, atoms.cell.array, [True] * 3, rng)


def test_a_cutoff_of_one_layer_is_too_short():
    where, arguments, numbers, _, folder = BY_NAME
    with pytest.raises(CaseError, match=r"potential.cutoff = 5 angstrom: .* would do"):
        examined(torchsim_model(where, arguments, numbers, 5.0, folder), Crystal.bcc(3.1434, 74))


@pytest.mark.parametrize(
    ("where", "arguments", "words"),
    [
        ("torch_sim.models.mace:to_one_hot", {}, "potential.model = .*cannot be made: TypeError"),
        ("torch_sim.models.mace:MaceModel", {"model": "no.model"}, "cannot be made: FileNotFound"),
        ("pathlib:Path", {}, "makes a PosixPath, no ModelInterface of torch-sim"),
        ("torch_sim.models.mace:Nothing", {}, "no class or function Nothing"),
        (BY_NAME[0], BY_NAME[1] | {"compute_forces": False}, "does not compute forces"),
    ],
)
def test_messages(where, arguments, words):
    with pytest.raises(CaseError, match=words):
        torchsim_model(where, arguments, [74], 10.0, FOLDER)


def test_another_element_than_the_model_knows():
    strange = torchsim_model(*BY_NAME[:2], [29], 10.0, FOLDER)
    with pytest.raises(ConvergenceError, match="the model MaceModel failed"):
        strange.cluster(np.zeros((1, 3)), [29], np.eye(3), [False] * 3)
