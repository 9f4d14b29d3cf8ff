# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""CHGNet's trained model, which comes with its package, as an ASE calculator: a black box in single precision."""

import functools
from pathlib import Path

import ase.build
import numpy as np
import pytest
import torch

from msolve.config import load_case
from msolve.crystal import Crystal
from msolve.given import given_potential
from msolve.potentials.blackbox import with_noise
from msolve.potentials.bulk import cauchy_born
from msolve.potentials.calculator import ase_calculator
from msolve.potentials.rest import relaxed_lattice
from msolve.testing import Tolerances, check_potential

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]
converter = pytest.importorskip("chgnet.graph.converter", reason="chgnet is not installed")
crystalgraph = pytest.importorskip("chgnet.graph.crystalgraph", reason="chgnet is not installed")
chgnet_model = pytest.importorskip("chgnet.model.model", reason="chgnet is not installed")

DECK = Path(__file__).parents[2] / "solver_configs/vacancy_ase.yaml"
CHGNET = (
    "potential={kind: ase, calculator: 'chgnet.model.dynamics:CHGNetCalculator', cutoff: 6 angstrom, "
    "arguments: {use_device: cpu, return_site_energies: true}}"
)
TUNGSTEN = Crystal.bcc(3.17, 74)
ROUNDING = 2e-4
"""What float32 leaves of a force [of the largest]."""


@functools.cache
def model():
    case = load_case(DECK, [CHGNET, "crystal.structure=bcc", "crystal.element=W"])
    return given_potential(case.potential, ["W"], case.path(""))


@functools.cache
def in_double():
    """As its deck has it."""
    file = DECK.with_name("potentials") / "chgnet_double.py"
    return with_noise(ase_calculator(f"{file}:chgnet", {}, [74], 24.0), TUNGSTEN)


def rattled():
    atoms = ase.build.bulk("W", cubic=True) * (3, 3, 3)
    atoms.rattle(0.05, seed=1)
    return atoms.positions, atoms.numbers, atoms.cell.array


def test_forces_are_the_derivative_of_the_energy():
    x, z, cell = rattled()
    direction = np.random.default_rng(0).normal(size=x.shape)
    step = 0.01  # [Å]; the energy of 54 atoms is rounded to 5e-5 eV
    ends = [model().cluster(x + s * step * direction, z, cell, [True] * 3).energy for s in (1, -1)]
    slope = np.sum(model().cluster(x, z, cell, [True] * 3).gradient * direction)
    assert abs(slope) > 1
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, abs=0.03)


def test_shares_add_up_and_forces_turn_with_the_atoms():
    x, z, cell = rattled()
    here = model().cluster(x, z, cell, [True] * 3)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    turned = model().cluster(x @ turn + 1.0, z, cell @ turn, [True] * 3)
    largest = np.abs(here.gradient).max()
    assert largest > 0.5
    assert turned.energy == pytest.approx(here.energy, rel=1e-6)
    assert np.abs(turned.gradient - here.gradient @ turn).max() < ROUNDING * largest


def test_the_virial_is_that_of_the_energy():
    _, _, cell = rattled()
    place = np.zeros((1, 1, 3))
    one = (cell / 3) @ (np.eye(3) + 0.01) * 1.02
    found = model().crystals(one[None], place, np.array([74]))
    step, energies = 1e-2, []
    for sign in (1, -1):
        energies.append(model().crystals(one[None] * (1 + sign * step), place, [74]).energy[0])
    slope = (energies[0] - energies[1]) / (2 * step)
    assert np.trace(found.virial[0]) == pytest.approx(slope, rel=0.02)
    assert abs(slope) > 0.1


@pytest.mark.slow
def test_in_double_precision_a_lattice_comes_to_rest_and_the_laws_hold():
    single = model().cluster(*rattled(), [True] * 3)
    try:
        box = in_double()
        assert box.noise < 1e-11
        double = box.cluster(*rattled(), [True] * 3)
        lattice = relaxed_lattice(box, TUNGSTEN)
        law = cauchy_born(box, lattice.oriented([1, 0, 0], [0, 1, 0], [0, 0, 1]))
        stress = law.energy_density(np.eye(3)[None])[1]
        bar = ase.build.bulk("W", cubic=True) * (32, 1, 1)
        bar.rattle(0.05, seed=1)
        system = bar.positions, bar.numbers, bar.cell.array, [True] * 3
        check_potential(box, *system, np.random.default_rng(0), Tolerances(hessian=1e-4))
    finally:
        for module in (converter, crystalgraph, chgnet_model):
            module.TORCH_DTYPE = torch.float32
    assert double.energy == pytest.approx(single.energy, rel=1e-6)
    largest = np.abs(double.gradient).max()
    assert np.abs(double.gradient - single.gradient).max() < 1e-3 * largest
    assert lattice.axes[0, 0] == pytest.approx(3.1854, abs=1e-3)
    assert np.abs(stress).max() < 1e-9
