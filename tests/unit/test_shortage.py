# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A device whose memory runs out: wherever it does, smaller batches and then one error.

No GPU is needed: the error that torch raises for one is raised where a potential asks for memory.
"""

from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest
import torch
from ase.calculators.calculator import Calculator, all_changes

from msolve import cli
from msolve.atomistic import AtomisticPatch
from msolve.crystal import Crystal
from msolve.potentials import load_potential, shortage
from msolve.potentials.bulk import BulkCell
from msolve.potentials.calculator import wrap_calculator
from msolve.potentials.committee import Committee

POTENTIALS = Path(__file__).parents[2] / "solver_configs/potentials"
BCC = Crystal.bcc(3.16, 74).oriented([1, -1, 0], [1, 1, 0], [0, 0, 1])
EMPTY = "the memory of cpu is too small for "


class Spring:
    """Site energies ½ Σ w(r)² in batches; ``stage``, the energy or a derivative of it, fits up to ``fits`` sites."""

    name, layers, exchange, device, numbers = "spring", 1, False, "cpu", frozenset({74})
    cutoff = reach = 4.0
    gives = frozenset({"energy", "gradient", "site_energy", "hessian_product"})

    def __init__(self, stage="energy", fits=10**9, batch=64):
        self.stage, self.fits, self.batch = stage, fits, batch

    def site_energy(self, vec, pair, numbers, n_owned, halo):
        size = min(self.batch, n_owned)
        self.take(size, "energy")
        w = Watched.apply((1 - vec.square().sum(1) / self.cutoff**2) ** 3, self, size, "slope")
        return vec.new_zeros(n_owned).index_add(0, pair[0], 0.5 * w.square())

    def take(self, size, stage):
        if stage == self.stage and size > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")


class Watched(torch.autograd.Function):
    """The identity; its derivatives take memory."""

    @staticmethod
    def forward(ctx, x, *rest):
        ctx.rest = rest
        return x.clone()

    @staticmethod
    def backward(ctx, slope):
        model, size, stage = ctx.rest
        model.take(size, stage)
        further = Watched.apply(slope, model, size, "product") if stage == "slope" else slope
        return further, None, None, None


def patch_of(model):
    rng = np.random.default_rng(0)
    corner = np.stack(np.meshgrid(*[range(3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    x = 3.16 * np.concatenate([corner, corner + 0.5]) + rng.normal(scale=0.05, size=(54, 3))
    every, cell = np.ones(54, dtype=bool), 9.48 * np.eye(3)
    z, periodic = np.full(54, 74), [True] * 3
    return AtomisticPatch(MPI.COMM_SELF, model, z, cell, periodic, x, every), x, every.astype(float)


def questions(model):
    """Whatever is asked of a potential that a device computes."""
    patch, x, weight = patch_of(model)
    bulk, F = (
        BulkCell(model, BCC),
        np.eye(3) + 0.01 * np.random.default_rng(1).normal(size=(54, 3, 3)),
    )
    return {
        "gradient": lambda: patch.evaluate(x, weight)[1],
        "sites": lambda: patch.site_energies(x),
        "product": lambda: patch.hessian_product(x, weight, np.cos(x)),
        "stress": lambda: bulk.energy_density(F)[1],
        "tangent": lambda: bulk.tangent(F),
    }


@pytest.mark.parametrize(
    ("stage", "whats"),
    [
        ("energy", ("gradient", "sites", "product", "stress", "tangent")),
        ("slope", ("gradient", "product", "stress", "tangent")),
        ("product", ("product", "tangent")),
    ],
)
def test_smaller_batches_and_then_one_error(stage, whats):
    for what in whats:
        model = Spring(stage, fits=20)
        found = questions(model)[what]()
        assert model.batch == 13, what  # of 54 sites 27, then 13
        assert np.allclose(found, questions(Spring())[what](), atol=1e-14), what
        with pytest.raises(MemoryError, match=EMPTY + "54 atoms of spring"):
            questions(Spring(stage, fits=0))[what]()


def test_a_product_that_did_not_fit_leaves_smaller_batches_behind():
    model = Spring("product", fits=20)
    patch, x, weight = patch_of(model)
    first = patch.hessian_product(x, weight, np.cos(x))
    assert model.batch == 13
    assert np.array_equal(patch.hessian_product(x, weight, np.cos(x)), first)


@pytest.mark.parametrize(
    ("kind", "file"), [("eam", "w_eam4.eam.fs"), ("linear", "w_linear/w_linear.linear")]
)
def test_closed_forms_have_no_batches(kind, file, monkeypatch):
    model = load_potential(POTENTIALS / file, kind)
    asked = questions(model)

    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    for name in ("weighted_energy", "site_energy", "edge_slopes", "edge_products"):
        monkeypatch.setattr(model, name, full)
    monkeypatch.setattr(model, "linearise", lambda *arguments: full)  # the products themselves
    for ask in asked.values():
        with pytest.raises(MemoryError, match=EMPTY + "54 atoms of "):
            ask()


def test_a_committee_takes_smaller_batches_together():
    members = [Spring(fits=20), Spring(fits=40)]
    model = Committee(members)
    found = questions(model)["gradient"]()
    assert [member.batch for member in members] == [13, 13]
    assert np.allclose(found, questions(Spring())["gradient"](), atol=1e-14)


def test_so_it_is_with_the_memory_of_the_processor():
    with pytest.raises(MemoryError, match=EMPTY + "all this"):
        with shortage.enough_memory("cpu", "all this"):
            torch.empty(10**15)
    with pytest.raises(RuntimeError, match="shape"):
        with shortage.enough_memory("cpu", "all this"):
            torch.zeros(3).reshape(2)


def test_a_model_too_large_for_its_device(monkeypatch):
    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("msolve.potentials.loading._load_eam", full)
    with pytest.raises(MemoryError, match=EMPTY + "the potential w.eam.fs"):
        load_potential("w.eam.fs", "eam")


class Full(Calculator):
    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_the_device_of_a_calculator():
    box = wrap_calculator(Full(), "full", [74], 4.0)
    with pytest.raises(MemoryError, match="too small for the calculator full"):
        box.cluster(np.zeros((1, 3)), [74], 9 * np.eye(3), [False] * 3)


def test_the_command_says_so_in_one_line():
    code, message = cli._explained(MemoryError(EMPTY + "54 atoms of spring"), "case.yaml")
    assert (code, message.count("\n")) == (cli.BUG, 0)
    assert message.startswith(EMPTY) and "use more ranks" in message
