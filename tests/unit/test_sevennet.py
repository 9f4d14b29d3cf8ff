# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""SevenNet models driven part by part, against sevenn's own energies and forces; among them one it brings along."""

import functools
import os
import random

from mpi4py import MPI

import ase.build
import numpy as np
import pytest
import torch

from msolve.atomistic import AtomisticPatch, cluster_energy
from msolve.config import load_case
from msolve.crystal import Crystal
from msolve.errors import CaseError, UnsupportedError
from msolve.info import about
from msolve.potentials import load_potential
from msolve.potentials.bulk import BulkCell
from msolve.potentials.sevennet import SevenNet
from msolve.potentials.torchsim import torchsim_model
from msolve.potentials.undisturbed import undisturbed
from msolve.testing import Tolerances, check_material, check_potential, write_tiny_sevennet
from strips import strip

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]

with undisturbed():
    pytest.importorskip("sevenn.calculator", reason="sevenn is not installed")

BROUGHT = "7net-0"
SINGLE = 2e-5
"""What sevenn's own calculator, in float32, leaves of a force [of the largest]; of 1e-7 in each of many sums."""

VARIANTS = {
    "SevenNet": {},
    "one layer": {"num_convolution_layer": 1},
    "three layers with parity, two elements": {
        "numbers": (74, 23),
        "num_convolution_layer": 3,
        "lmax": 2,
        "is_parity": True,
    },
    "as 7net-0 is built": {
        "self_connection_type": "linear",
        "lmax": 2,
        "cutoff_function": {"cutoff_function_name": "XPLOR", "cutoff_on": 4.5},
    },
    "read out by a network": {
        "readout_as_fcn": True,
        "readout_fcn_activation": "silu",
        "readout_fcn_hidden_neurons": [8],
    },
}


@pytest.fixture(scope="module", params=VARIANTS)
def model_file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("sevennet") / "tiny.pth"
    write_tiny_sevennet(path, **VARIANTS[request.param])
    return path


@pytest.fixture(scope="module")
def model(model_file):
    return load_potential(model_file, "sevennet")


@functools.cache
def brought():
    return load_potential(BROUGHT, "sevennet")


def atoms(numbers=(74,), seed=0):
    """A rattled slab, one thin cell deep."""
    slab = ase.build.bulk("W", cubic=True) * (3, 2, 1)
    slab.rattle(0.1, seed=seed)
    slab.numbers = np.random.default_rng(seed).choice(sorted(numbers), len(slab))
    return slab.positions, slab.numbers, slab.cell.array


def reference(path, x, z, cell, periodic):
    """sevenn's own calculator, in float32, the only precision it has."""
    with undisturbed():
        from sevenn.calculator import SevenNetCalculator

        calculator = SevenNetCalculator(str(path), device="cpu")
        system = ase.Atoms(numbers=z, positions=x, cell=cell, pbc=periodic, calculator=calculator)
        return system.get_potential_energy(), system.get_forces(), calculator.results["energies"]


def near_reference(model, path, x, z, cell, periodic):
    energy, gradient = cluster_energy(model, x, z, cell, periodic)
    expected, force, _ = reference(path, x, z, cell, periodic)
    assert np.abs(force).max() > 1e-2
    assert energy == pytest.approx(expected, rel=1e-6)
    assert np.abs(gradient + force).max() < SINGLE * np.abs(force).max()


@pytest.mark.parametrize("periodic", [(True, True, True), (False, False, False)])
def test_energy_and_gradient_are_those_of_sevenn(model_file, model, periodic):
    near_reference(model, model_file, *atoms(model.numbers), periodic)


@pytest.mark.parametrize("element", ["W", "Si", "Cu"])
def test_the_model_that_comes_with_the_package(element):
    crystal = ase.build.bulk(element, cubic=True)
    crystal.rattle(0.1)
    model = brought()
    assert (model.layers, model.cutoff, model.reach, len(model.numbers)) == (5, 5.0, 25.0, 89)
    system = crystal.positions, crystal.numbers, crystal.cell.array
    near_reference(model, BROUGHT, *system, (True, True, True))
    every = np.ones(len(crystal), dtype=bool)
    patch = AtomisticPatch(MPI.COMM_SELF, model, system[1], system[2], [True] * 3, system[0], every)
    sites = reference(BROUGHT, *system, True)[2]
    np.testing.assert_allclose(patch.site_energies(system[0]), sites, rtol=1e-5)


def test_torchsims_reading_of_the_same_model_gives_its_forces():
    pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    where, arguments = "sevenn.torchsim:SevenNetModel", {"model": BROUGHT}
    theirs = torchsim_model(where, arguments, [74], 25.0, precision="float32")
    x, z, cell = atoms()
    found = theirs.cluster(x, z, cell, [True] * 3)
    energy, gradient = cluster_energy(brought(), x, z, cell, [True] * 3)
    assert found.energy == pytest.approx(energy, rel=1e-6)
    assert np.abs(found.gradient - gradient).max() < SINGLE * np.abs(gradient).max()


def test_laws(model):
    check_potential(model, *strip(model.numbers), np.random.default_rng(2))


@pytest.mark.slow
def test_laws_of_the_model_that_comes_with_the_package():
    # Coupling coefficients are stored in float32; its cutoff function has jumps in the second derivative.
    lawful = Tolerances(exact=1e-6)
    check_potential(brought(), *strip(), np.random.default_rng(2), lawful)


def test_batches_change_nothing_but_the_memory(model_file):
    x, z, cell = atoms(load_potential(model_file, "sevennet").numbers)
    found = []
    for batch in (100, 5):
        model = load_potential(model_file, "sevennet")
        model.batch = batch
        every, weight = np.ones(len(x), dtype=bool), np.linspace(0.0, 1.0, len(x))
        patch = AtomisticPatch(MPI.COMM_SELF, model, z, cell, [True] * 3, x, every)
        products = patch.hessian_product(x, weight, np.cos(x))
        found.append([*patch.evaluate(x, weight), products, patch.site_energies(x)])
    for whole, parts in zip(*found, strict=True):
        assert np.abs(whole - parts).max() < 1e-12 * np.abs(whole).max()


def test_single_precision_obeys_the_laws_as_well_as_it_can(tmp_path):
    write_tiny_sevennet(tmp_path / "tiny.pth")
    exact, model = (
        load_potential(tmp_path / "tiny.pth", "sevennet", precision=precision)
        for precision in ("float64", "float32")
    )
    x, z, cell = atoms()
    rough = Tolerances(step=5e-3, gradient=2e-3, hessian=2e-2, exact=3e-5, jump=1e-5)
    # A seed whose directions are not almost along a contour: differences would see nothing but rounding.
    check_potential(model, *strip(model.numbers), np.random.default_rng(1), rough)
    expected = cluster_energy(exact, x, z, cell, [True] * 3)
    energy, gradient = cluster_energy(model, x, z, cell, [True] * 3)
    assert energy == pytest.approx(expected[0], rel=1e-6) and energy != expected[0]
    assert np.abs(gradient - expected[1]).max() < SINGLE * np.abs(expected[1]).max()


def test_the_continuum_follows_from_the_model(tmp_path):
    write_tiny_sevennet(tmp_path / "tiny.pth")
    model = load_potential(tmp_path / "tiny.pth", "sevennet")
    bulk = BulkCell(model, Crystal.bcc(3.16, 74).oriented([1, -1, 0], [1, 1, 0], [0, 0, 1]))
    F = np.eye(3) + 0.03 * np.random.default_rng(0).normal(size=(4, 3, 3))
    for each, W in zip(F, bulk.energy_density(F)[0], strict=True):
        cell = bulk.oriented.cell @ each.T
        energy, _ = cluster_energy(model, np.zeros((1, 3)), [74], cell, [True] * 3)
        assert W * bulk.volume == pytest.approx(energy, rel=1e-12)
    accept = Tolerances(rest=np.inf)  # random weights have no lattice at rest
    check_material(bulk, F, np.random.default_rng(1), accept)


@pytest.mark.parametrize("n", [1, 2])
def test_atoms_out_of_sight_of_each_other(n, tmp_path):
    write_tiny_sevennet(tmp_path / "tiny.pth")
    model = load_potential(tmp_path / "tiny.pth", "sevennet")
    x = np.array([[0.0, 0, 0], [0, 0, 50.0]])
    one = cluster_energy(model, x[:1], [74], np.eye(3), [False] * 3)[0]
    energy, gradient = cluster_energy(model, x[:n], np.full(n, 74), np.eye(3), [False] * 3)
    assert energy == pytest.approx(one * n, rel=1e-12) and one != 0
    assert not gradient.any()


def test_loading_does_not_change_the_process(tmp_path):
    write_tiny_sevennet(tmp_path / "tiny.pth")

    def state():
        return (
            dict(os.environ), torch.get_default_dtype(), torch.get_rng_state().tolist(), random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002
        )  # fmt: skip

    before = state()
    load_potential(tmp_path / "tiny.pth", "sevennet")
    assert state() == before


def test_what_a_file_is(tmp_path):
    write_tiny_sevennet(tmp_path / "tiny.pth")
    told = about(tmp_path / "tiny.pth")
    assert told.kind == "SevenNet model" and told.rows["reach"].startswith("10 Å")


def test_bad_files_are_input_errors(tmp_path):
    with pytest.raises(CaseError, match="no such file"):
        load_potential(tmp_path / "none.pth", "sevennet")
    (tmp_path / "text.pth").write_text("not a model")
    write_tiny_sevennet(tmp_path / "tiny.pth")
    content = (tmp_path / "tiny.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(content[: len(content) // 2])
    torch.save({"a": 1}, tmp_path / "dict.pth")
    torch.save([1], tmp_path / "list.pth")
    for name in ("text", "half", "dict", "list"):
        with pytest.raises(CaseError, match="no checkpoint of sevenn"):
            load_potential(tmp_path / f"{name}.pth", "sevennet")


def test_a_name_that_the_package_would_fetch_from_the_net_is_a_missing_file(tmp_path):
    deck = tmp_path / "deck.yaml"
    deck.write_text("potential: {kind: sevennet, file: 7net-omni}\n")
    with pytest.raises(CaseError, match=r"potential.file.*no such file"):
        load_case(deck)


def test_models_that_cannot_be_used_are_refused_by_name(tmp_path):
    with undisturbed():
        from sevenn.checkpoint import SevenNetCheckpoint
        from sevenn.util import pretrained_name_to_path

        write_tiny_sevennet(tmp_path / "tiny.pth")
        net = SevenNetCheckpoint(tmp_path / "tiny.pth").build_model()
        several = SevenNetCheckpoint(pretrained_name_to_path("7net-mf-0")).build_model()
    with pytest.raises(UnsupportedError, match="fidelities \\(R2SCAN, PBE\\)"):
        SevenNet(several)
    net.add_module("extra", torch.nn.Linear(2, 2))
    with pytest.raises(UnsupportedError, match="parts Linear"):
        SevenNet(net)


def test_unknown_elements_are_named(tmp_path):
    write_tiny_sevennet(tmp_path / "tiny.pth")
    model = load_potential(tmp_path / "tiny.pth", "sevennet")
    with pytest.raises(UnsupportedError, match=r"\[74\].*\[26\]"):
        cluster_energy(model, np.zeros((1, 3)), [26], np.eye(3), [False] * 3)
