# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""CHGNet's trained model, which comes with its package, as an ASE calculator: a black box in single precision."""

import functools
from pathlib import Path

import ase.build
import numpy as np
import pytest

from msolve.config import load_case
from msolve.given import given_potential

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("chgnet", reason="chgnet is not installed")

DECK = Path(__file__).parents[2] / "solver_configs/vacancy_ase.yaml"
CHGNET = (
    "potential={kind: ase, calculator: 'chgnet.model.dynamics:CHGNetCalculator', cutoff: 6 angstrom, "
    "arguments: {use_device: cpu, return_site_energies: true}}"
)
ROUNDING = 2e-4
"""What float32 leaves of a force [of the largest]."""


@functools.cache
def model():
    case = load_case(DECK, [CHGNET, "crystal.structure=bcc", "crystal.element=W"])
    return given_potential(case.potential, ["W"], case.path(""))


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
