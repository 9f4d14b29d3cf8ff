# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The checks for potentials, laws and terms from elsewhere find what people get wrong, each by its name."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones

import bodies
from msolve.coupling import Contribution
from msolve.potentials.calculator import wrap_calculator
from msolve.potentials.toy import AnalyticEAM, toy_eam
from msolve.testing import Tolerances, check_material, check_potential, check_term

PERIOD = 30.0


def crystal(rng, n=6):
    """Triangular layers three deep, shaken: a cluster that is longer than the reach of the toy."""
    i, j, k = np.indices((n, n, 3)).reshape(3, -1)
    x = 0.97 * np.column_stack([i + 0.5 * j, np.sqrt(0.75) * j, k])
    return x + 0.05 * rng.normal(size=x.shape), np.ones(len(x), dtype=int)


def toy(change=None, **fields):
    """The toy model, its site energies changed, its fields replaced."""
    given = toy_eam()

    class Changed(AnalyticEAM):
        reach = fields.pop("reach", given.cutoff)

        def site_energy(self, vec, pair, numbers, n_owned, halo):
            right = given.site_energy(vec, pair, numbers, n_owned, halo)
            if change is None:
                return right
            return change(
                right, lambda values: right.new_zeros(n_owned).index_add(0, pair[0], values), vec
            )

    same = ("name", "pair", "density", "embedding", "switch_from", "cutoff")
    return Changed(**({name: getattr(given, name) for name in same} | fields))


POTENTIALS = {
    "right": (toy(), None),
    "a part without gradient": (
        toy(lambda e, summed, vec: e + 0.01 * summed(torch.exp(-4 * vec.detach().square().sum(1)))),
        "gradient · direction",
    ),
    "an axis that counts": (
        toy(
            lambda e, summed, vec: (
                e + 1e-3 * summed(torch.exp(-vec[:, 0].square() - 4 * vec.square().sum(1)))
            )
        ),
        "turned cluster",
    ),
    "single precision": (toy(lambda e, summed, vec: e.float().double()), "relative error"),
    "a reach that is too short": (toy(reach=1.3), "the declared reach is 1.3"),
    "a reach that no atoms show": (toy(reach=30.0), "give a longer cluster"),
    "no switch at the cutoff": (
        toy(lambda e, summed, vec: e + 0.01 * summed(1 / vec.square().sum(1))),
        "passes the cutoff makes a site jump",
    ),
    "nothing": (toy(lambda e, summed, vec: 0 * e), "change"),
}


@pytest.mark.parametrize("case", POTENTIALS)
def test_potentials(case):
    model, complaint = POTENTIALS[case]
    rng = np.random.default_rng(1)
    x, z = crystal(rng)

    def check():
        check_potential(model, x, z, np.diag([1, 1, PERIOD]), [False, False, True], rng)

    if complaint is None:
        check()
        return
    with pytest.raises(AssertionError, match=complaint):
        check()


class Backwards(Calculator):
    """Lennard-Jones' forces with the sign of the gradient."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        found = LennardJones(sigma=0.9, epsilon=1.0, rc=2.5, smooth=True)
        found.calculate(atoms, ["energy", "forces"], all_changes)
        forces = self.parameters.get("sign", -1) * found.results["forces"]
        self.results = {"energy": found.results["energy"], "forces": forces}


@pytest.mark.parametrize(
    ("sign", "cutoff", "noise", "complaint"),
    [
        (1, 2.5, 1e-12, None),
        (-1, 2.5, 1e-12, "gradient · direction"),
        (1, 1.0, 1e-12, "a force beyond 2 angstrom"),
        (1, 2.5, 1e-4, "Hessian product"),  # differences too wide for what they are to find
    ],
)
def test_black_boxes(sign, cutoff, noise, complaint):
    model = replace(wrap_calculator(Backwards(sign=sign), "lj", [18], cutoff=cutoff), noise=noise)
    rng = np.random.default_rng(2)
    x, _ = crystal(rng)
    z = np.full(len(x), 18)

    def check():
        check_potential(model, x, z, np.eye(3), [False] * 3, rng, Tolerances(gradient=1e-5))

    if complaint is None:
        check()
        return
    with pytest.raises(AssertionError, match=complaint):
        check()


@dataclass(frozen=True)
class Law:
    """St. Venant and Kirchhoff's law of tungsten, with what people get wrong."""

    C: np.ndarray
    sign: float = 1.0
    geometric: float = 1.0
    stretched: float = 1.0
    linear: bool = False

    def energy_density(self, F):
        F = self.stretched * F
        if self.linear:
            E = (F + np.swapaxes(F, 1, 2)) / 2 - np.eye(3)
            P = np.einsum("IJKL,nKL->nIJ", self.C, E)
            return np.einsum("nIJ,nIJ->n", P, E) / 2, P
        E = (np.swapaxes(F, 1, 2) @ F - np.eye(3)) / 2
        S = np.einsum("IJKL,nKL->nIJ", self.C, E)
        return np.einsum("nIJ,nIJ->n", S, E) / 2, self.stretched * self.sign * F @ S

    def tangent(self, F):
        F = self.stretched * F
        if self.linear:
            return np.broadcast_to(self.C, (len(F), 3, 3, 3, 3))
        E = (np.swapaxes(F, 1, 2) @ F - np.eye(3)) / 2
        S = np.einsum("IJKL,nKL->nIJ", self.C, E)
        A = np.einsum("niI,IJKL,njK->niJjL", F, self.C, F, optimize=True)
        A = A + self.geometric * np.einsum("ij,nJL->niJjL", np.eye(3), S)
        return self.sign * self.stretched**2 * A


LAWS = {
    "right": ({}, None),
    "the sign of a force": ({"sign": -1.0}, "stress · direction"),
    "no geometric stiffness": ({"geometric": 0.0}, "tangent"),
    "small strains": ({"linear": True}, "turned body"),
    "another lattice constant": ({"stretched": 1.002}, "undeformed body is under stress"),
}


@pytest.mark.parametrize("case", LAWS)
def test_laws(case):
    fields, complaint = LAWS[case]
    C = bodies.bulk(bodies.eam4())[2]
    rng = np.random.default_rng(3)
    F = np.eye(3) + 0.03 * rng.normal(size=(5, 3, 3))
    if complaint is None:
        check_material(Law(C), F, rng, C=C)
        with pytest.raises(AssertionError, match="elastic constants"):
            check_material(Law(1.1 * C), F, rng, C=C)
        return
    with pytest.raises(AssertionError, match=complaint):
        check_material(Law(C, **fields), F, rng, C=C)


@pytest.fixture(scope="module")
def state():
    """A small coupled problem off equilibrium, and its terms."""
    body = bodies.perfect(bodies.toy(), np.eye(3), 12.0, vacancy=True)
    assembly = bodies.coupled(body, 2.0, 3.0)
    z = assembly.problem.kinematics.unknowns.vector()
    z.array[:] = np.random.default_rng(4).normal(scale=0.02, size=z.getLocalSize())
    return assembly.problem.terms, assembly.problem.snapshot(z, 1.0)


def reversed_part(part):
    def minus(values):
        return None if values is None else -values

    return Contribution(part.energy, minus(part.on_atoms), minus(part.on_nodes))


@pytest.mark.parametrize("which", [0, 1], ids=["atoms", "continuum"])
def test_terms(state, which):
    terms, at = state
    right = terms[which]

    class Backwards:
        conservative = True
        linearise = right.linearise

        @staticmethod
        def evaluate(at):
            return reversed_part(right.evaluate(at))

    class Frozen:
        conservative = True
        evaluate = right.evaluate

        @staticmethod
        def linearise(at):
            still = replace(
                at, positions=1.001 * at.positions, nodes=at.nodes + 0.01 * at.nodes[::-1]
            )
            return right.linearise(still)

    rng = np.random.default_rng(5)
    check_term(right, at, rng)
    for wrong, complaint in ((Backwards, "gradient · direction"), (Frozen, "linearisation")):
        with pytest.raises(AssertionError, match=complaint):
            check_term(wrong, at, rng)
