# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""NequIP and Allegro models driven part by part, against nequip's own energies and forces."""

import logging
import os
import random
import subprocess
import sys
from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from msolve.atomistic import AtomisticPatch, cluster_energy
from msolve.crystal import Crystal
from msolve.errors import CaseError, UnsupportedError
from msolve.info import about
from msolve.potentials import load_potential
from msolve.potentials.bulk import BulkCell, cauchy_born
from msolve.potentials.calculator import ase_calculator
from msolve.potentials.nequip import NequIP
from msolve.potentials.staged import StagedModel
from msolve.potentials.torchsim import torchsim_model
from msolve.potentials.undisturbed import undisturbed
from msolve.testing import Tolerances, check_material, check_potential, write_tiny_nequip
from strips import strip

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]

with undisturbed():
    pytest.importorskip("nequip.model", reason="nequip is not installed")
    pytest.importorskip("allegro.model", reason="nequip-allegro is not installed")

ZBL = {"_target_": "nequip.nn.pair_potential.ZBL", "units": "metal", "chemical_species": ["W"]}
VARIANTS = {
    "NequIP": {},
    "one layer": {"num_layers": 1},
    "three layers with parity, two elements": {
        "numbers": (74, 23),
        "num_layers": 3,
        "l_max": 2,
        "parity": True,
        "avg_num_neighbors": {"W": 20.0, "V": 30.0},
        "per_edge_type_cutoff": {"W": 5.0, "V": {"W": 4.5, "V": 4.0}},
    },
    "repulsion": {"pair_potential": ZBL},
    "Allegro": {"allegro": True},
    "two Allegro layers with parity, two elements": {
        "allegro": True,
        "numbers": (74, 23),
        "num_layers": 2,
        "l_max": 2,
        "parity": True,
        "radial_chemical_embed": {"_target_": "allegro.nn.TwoBodySplineScalarEmbed"},
        "per_edge_type_cutoff": {"W": 5.0, "V": {"W": 4.5, "V": 4.0}},
    },
    "Allegro with repulsion": {"allegro": True, "pair_potential": ZBL},
}


@pytest.fixture(scope="module", params=VARIANTS)
def model_file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("nequip") / "tiny.ckpt"
    write_tiny_nequip(path, **VARIANTS[request.param])
    return path


@pytest.fixture(scope="module")
def model(model_file):
    return load_potential(model_file, "nequip")


def atoms(numbers, seed=0):
    """A rattled slab, one thin cell deep."""
    rng = np.random.default_rng(seed)
    corner = np.stack(np.meshgrid(range(3), range(2), range(1), indexing="ij"), -1).reshape(-1, 3)
    x = 3.2 * np.concatenate([corner, corner + 0.5]) + rng.normal(scale=0.1, size=(12, 3))
    return x, rng.choice(sorted(numbers), 12), np.diag([9.6, 6.4, 3.2])


def reference(path, x, z, cell, periodic):
    """nequip's own calculator, in the precision that it asks for."""
    with undisturbed():
        from nequip.integrations.ase import NequIPCalculator

        torch.set_default_dtype(torch.float64)
        calculator = NequIPCalculator._from_saved_model(path)
        system = Atoms(numbers=z, positions=x, cell=cell, pbc=periodic, calculator=calculator)
        return system.get_potential_energy(), system.get_forces()


@pytest.mark.parametrize("periodic", [(True, True, True), (False, False, False)])
def test_energy_and_gradient_are_those_of_nequip(model_file, model, periodic):
    x, z, cell = atoms(model.numbers)
    energy, gradient = cluster_energy(model, x, z, cell, periodic)
    expected, force = reference(model_file, x, z, cell, periodic)
    assert np.abs(force).max() > 1e-3
    assert energy == pytest.approx(expected, rel=1e-12)
    assert np.abs(gradient + force).max() < 1e-10 * np.abs(force).max()


def test_laws(model):
    check_potential(model, *strip(model.numbers), np.random.default_rng(2))


def test_batches_change_nothing_but_the_memory(model_file):
    x, z, cell = atoms(load_potential(model_file, "nequip").numbers)
    found = []
    for batch in (100, 5):
        model = load_potential(model_file, "nequip")
        model.batch = batch
        every, weight = np.ones(len(x), dtype=bool), np.linspace(0.0, 1.0, len(x))
        patch = AtomisticPatch(MPI.COMM_SELF, model, z, cell, [True] * 3, x, every)
        products = patch.hessian_product(x, weight, np.cos(x))
        found.append([*patch.evaluate(x, weight), products, patch.site_energies(x)])
    for whole, parts in zip(*found, strict=True):
        assert np.abs(whole - parts).max() < 1e-12 * np.abs(whole).max()


@pytest.mark.parametrize("allegro", [False, True])
def test_a_full_device_means_smaller_batches_and_then_a_message(allegro, tmp_path, monkeypatch):
    write_tiny_nequip(tmp_path / "tiny.ckpt", allegro=allegro)
    found, fits, usual = [], 100, StagedModel._stage

    def stage(self, k, data, features, n_sites):
        if n_sites > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return usual(self, k, data, features, n_sites)

    monkeypatch.setattr(StagedModel, "_stage", stage)
    for fits in (100, 3):  # noqa: B007
        model = load_potential(tmp_path / "tiny.ckpt", "nequip")
        x, z, cell = atoms(model.numbers)
        every, weight = np.ones(len(x), dtype=bool), np.linspace(0.0, 1.0, len(x))
        patch = AtomisticPatch(MPI.COMM_SELF, model, z, cell, [True] * 3, x, every)
        products = patch.hessian_product(x, weight, np.cos(x))
        found.append([*patch.evaluate(x, weight), products, patch.site_energies(x)])
    assert model.batch == 3
    for whole, parts in zip(*found, strict=True):
        assert np.abs(whole - parts).max() < 1e-12 * np.abs(whole).max()
    fits = 0
    with pytest.raises(MemoryError, match=r"memory of cpu is too small for 12 atoms of tiny"):
        patch.site_energies(x)


@pytest.mark.parametrize("batch", [100, 1])
@pytest.mark.parametrize("allegro", [False, True])
def test_single_precision_obeys_the_laws_as_well_as_it_can(allegro, batch, tmp_path):
    write_tiny_nequip(tmp_path / "tiny.ckpt", allegro=allegro)
    exact = load_potential(tmp_path / "tiny.ckpt", "nequip")
    model = load_potential(tmp_path / "tiny.ckpt", "nequip", precision="float32")
    model.batch = batch
    x, z, cell = atoms(model.numbers)
    rough = Tolerances(step=5e-3, gradient=2e-3, hessian=2e-2, exact=3e-5, jump=1e-5)
    # A seed whose directions are not almost along a contour: differences would see nothing but rounding.
    check_potential(model, *strip(model.numbers), np.random.default_rng(1), rough)
    expected = cluster_energy(exact, x, z, cell, [True] * 3)
    energy, gradient = cluster_energy(model, x, z, cell, [True] * 3)
    assert energy == pytest.approx(expected[0], rel=1e-6) and energy != expected[0]
    assert np.abs(gradient - expected[1]).max() < 1e-5 * np.abs(expected[1]).max()


@pytest.mark.parametrize("allegro", [False, True])
def test_the_continuum_follows_from_the_model(allegro, tmp_path):
    write_tiny_nequip(tmp_path / "tiny.ckpt", allegro=allegro)
    model = load_potential(tmp_path / "tiny.ckpt", "nequip")
    bulk = BulkCell(model, Crystal.bcc(3.16, 74).oriented([1, -1, 0], [1, 1, 0], [0, 0, 1]))
    F = np.eye(3) + 0.03 * np.random.default_rng(0).normal(size=(4, 3, 3))
    for each, W in zip(F, bulk.energy_density(F)[0], strict=True):
        cell = bulk.oriented.cell @ each.T
        energy, _ = cluster_energy(model, np.zeros((1, 3)), [74], cell, [True] * 3)
        assert W * bulk.volume == pytest.approx(energy, rel=1e-12)
    # random weights have no lattice at rest
    accept = Tolerances(rest=np.inf)
    check_material(bulk, F, np.random.default_rng(1), accept)


@pytest.mark.parametrize(("allegro", "layers"), [(False, 2), (True, 1)])
def test_declares_its_layers_and_reach(allegro, layers, tmp_path):
    write_tiny_nequip(tmp_path / "tiny.ckpt", allegro=allegro)
    model = load_potential(tmp_path / "tiny.ckpt", "nequip")
    assert (model.layers, model.cutoff, model.reach) == (layers, 5.0, 5.0 * layers)
    assert model.numbers == {74} and model.exchange != allegro and model.name == "tiny.ckpt"
    assert about(tmp_path / "tiny.ckpt").rows["reach"].startswith(f"{5 * layers} Å")


@pytest.mark.parametrize("allegro", [False, True])
def test_a_model_of_single_precision_is_evaluated_in_double(allegro, tmp_path):
    write_tiny_nequip(tmp_path / "tiny.ckpt", allegro=allegro, model_dtype="float32")
    model = load_potential(tmp_path / "tiny.ckpt", "nequip")
    x, z, cell = atoms(model.numbers)
    energy, gradient = cluster_energy(model, x, z, cell, [True] * 3)
    expected, force = reference(tmp_path / "tiny.ckpt", x, z, cell, True)
    assert energy == pytest.approx(expected, rel=1e-5)
    assert np.abs(gradient + force).max() < 1e-4 * np.abs(force).max()
    # Differences of energies see round-off of float32; coupling coefficients stay rounded to it.
    lawful = Tolerances(exact=1e-6)
    check_potential(model, *strip(model.numbers), np.random.default_rng(2), lawful)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("allegro", [False, True])
def test_atoms_out_of_sight_of_each_other(allegro, n, tmp_path):
    write_tiny_nequip(tmp_path / "tiny.ckpt", allegro=allegro)
    model = load_potential(tmp_path / "tiny.ckpt", "nequip")
    x = np.array([[0.0, 0, 0], [0, 0, 50.0]])[:n]
    energy, gradient = cluster_energy(model, x, np.full(n, 74), np.eye(3), [False] * 3)
    assert energy == pytest.approx(-1.0 * n, rel=1e-12)  # the shift of an isolated atom
    assert not gradient.any()


def command(*words, cwd):
    done = subprocess.run(
        [Path(sys.executable).with_name(words[0]), *words[1:]],
        cwd=cwd, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_a_model_trained_and_packaged_by_nequip(tmp_path):
    """nequip's own programs, for one epoch: their checkpoint and their package give the same numbers."""
    x, z, cell = atoms({74})
    cells = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        label = {"energy": rng.normal(), "forces": rng.normal(size=x.shape)}
        each = Atoms(numbers=z, positions=x + 0.05 * rng.normal(size=x.shape), cell=cell, pbc=True)
        each.calc = SinglePointCalculator(each, **label)
        cells.append(each)
    write(tmp_path / "cells.extxyz", cells)
    (tmp_path / "config.yaml").write_text(CONFIG)
    command("nequip-train", "-cp", str(tmp_path), "-cn", "config", cwd=tmp_path)
    command("nequip-package", "build", "last.ckpt", "tiny.nequip.zip", cwd=tmp_path)
    models = [
        load_potential(tmp_path / name, "nequip") for name in ("last.ckpt", "tiny.nequip.zip")
    ]
    expected, force = reference(tmp_path / "tiny.nequip.zip", x, z, cell, True)
    for model in models:
        assert (model.layers, model.cutoff) == (2, 4.0)
        energy, gradient = cluster_energy(model, x, z, cell, [True] * 3)
        assert energy == pytest.approx(expected, rel=1e-12)
        assert np.abs(gradient + force).max() < 1e-10 * np.abs(force).max()


CONFIG = """
run: [train]
hydra: {run: {dir: .}}
data:
  _target_: nequip.data.datamodule.ASEDataModule
  seed: 1
  train_file_path: cells.extxyz
  val_file_path: cells.extxyz
  transforms:
    - {_target_: nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper, model_type_names: [W]}
    - {_target_: nequip.data.transforms.NeighborListTransform, r_max: 4.0}
  train_dataloader: {_target_: torch.utils.data.DataLoader, batch_size: 2}
  val_dataloader: {_target_: torch.utils.data.DataLoader, batch_size: 2}
trainer:
  _target_: lightning.Trainer
  accelerator: cpu
  max_epochs: 1
  logger: false
  callbacks:
    - {_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: ., save_last: true}
training_module:
  _target_: nequip.train.EMALightningModule
  loss: {_target_: nequip.train.EnergyForceLoss, coeffs: {total_energy: 1, forces: 1}}
  val_metrics: {_target_: nequip.train.EnergyForceMetrics, coeffs: {forces_rmse: 1}}
  optimizer: {_target_: torch.optim.Adam, lr: 0.01}
  model:
    _target_: nequip.model.NequIPGNNModel
    seed: 1
    model_dtype: float64
    type_names: [W]
    r_max: 4.0
    num_layers: 2
    l_max: 1
    num_features: 4
    avg_num_neighbors: 15
    per_type_energy_scales: 1.0
    per_type_energy_shifts: {W: -1.0}
"""


def test_loading_does_not_change_the_process(tmp_path):
    write_tiny_nequip(tmp_path / "tiny.ckpt")

    def state():
        return (
            dict(os.environ), list(logging.getLogger().handlers), torch.get_default_dtype(),
            torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist(),  # noqa: NPY002
        )  # fmt: skip

    before = state()
    load_potential(tmp_path / "tiny.ckpt", "nequip")
    assert state() == before


def test_bad_files_are_input_errors(tmp_path):
    with pytest.raises(CaseError, match="no such file"):
        load_potential(tmp_path / "none.ckpt", "nequip")
    for name in ("text.ckpt", "text.nequip.zip"):
        (tmp_path / name).write_text("not a model")
        with pytest.raises(CaseError, match="no model file of nequip"):
            load_potential(tmp_path / name, "nequip")
    write_tiny_nequip(tmp_path / "tiny.ckpt")
    content = (tmp_path / "tiny.ckpt").read_bytes()
    (tmp_path / "half.ckpt").write_bytes(content[: len(content) // 2])
    with pytest.raises(CaseError, match="no model file of nequip"):
        load_potential(tmp_path / "half.ckpt", "nequip")
    torch.save({"a": 1}, tmp_path / "dict.ckpt")
    with pytest.raises(CaseError, match="no model file of nequip"):
        load_potential(tmp_path / "dict.ckpt", "nequip")
    (tmp_path / "tiny.model").write_bytes(content)
    with pytest.raises(CaseError, match="neither"):
        load_potential(tmp_path / "tiny.model", "nequip")


@pytest.mark.parametrize("ending", ["nequip.pt2", "nequip.pth"])
def test_compiled_models_are_refused_with_what_to_give(ending, tmp_path):
    (tmp_path / f"fast.{ending}").write_text("compiled")
    with pytest.raises(UnsupportedError, match=r"compiled.*\.nequip\.zip.*\.ckpt"):
        load_potential(tmp_path / f"fast.{ending}", "nequip")


@pytest.mark.slow
@pytest.mark.parametrize("allegro", [False, True])
def test_a_compiled_model_is_a_black_box_with_the_forces_of_its_checkpoint(allegro, tmp_path):
    pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    write_tiny_nequip(tmp_path / "tiny.ckpt", allegro=allegro)
    words = ("--mode", "torchscript", "--device", "cpu", "tiny.ckpt", "tiny.nequip.pth")
    command("nequip-compile", *words, cwd=tmp_path)
    exact = load_potential(tmp_path / "tiny.ckpt", "nequip")
    x, z, cell = atoms(exact.numbers)
    energy, gradient = cluster_energy(exact, x, z, cell, [True] * 3)
    given = {"compile_path": "tiny.nequip.pth", "device": "cpu"}
    sim = torchsim_model(
        "nequip.integrations.torchsim:NequIPTorchSimCalc.from_compiled_model",
        given | {"neighborlist_backend": "matscipy"}, [74], exact.reach, tmp_path,
    )  # fmt: skip
    ase = ase_calculator(
        "nequip.integrations.ase:NequIPCalculator.from_compiled_model", given, [74], exact.reach, tmp_path
    )  # fmt: skip
    # nequip's calculator for ASE takes positions in torch's default precision, which is single.
    for box, accept in ((sim, 1e-12), (ase, 1e-4)):
        assert {"site_energy", "virial"} <= box.gives
        found = box.cluster(x, z, cell, [True] * 3)
        assert found.energy == pytest.approx(energy, rel=accept)
        assert np.abs(found.gradient - gradient).max() < accept * np.abs(gradient).max()
    F = np.eye(3) + 0.02 * np.random.default_rng(4).normal(size=(6, 3, 3))
    oriented = Crystal.bcc(3.2, 74).oriented([1, -1, 0], [1, 1, 0], [0, 0, 1])
    mine, theirs = (cauchy_born(model, oriented).energy_density(F) for model in (exact, sim))
    for one, other in zip(mine, theirs, strict=True):
        assert np.abs(other - one).max() < 1e-9 * np.abs(one).max()


def test_models_that_cannot_be_used_are_refused_by_name(tmp_path):
    with undisturbed():
        from nequip.model.saved_models import load_saved_model

        write_tiny_nequip(tmp_path / "tiny.ckpt")
        net = load_saved_model(tmp_path / "tiny.ckpt")
    net.type_names = ["W", "bead"]
    with pytest.raises(UnsupportedError, match="types bead"):
        NequIP(net)
    net.type_names = ["W"]
    net.model.func.add_module("extra", torch.nn.Linear(2, 2))
    with pytest.raises(UnsupportedError, match="parts Linear"):
        NequIP(net)


def test_unknown_elements_are_named(tmp_path):
    write_tiny_nequip(tmp_path / "tiny.ckpt")
    model = load_potential(tmp_path / "tiny.ckpt", "nequip")
    with pytest.raises(UnsupportedError, match=r"\[74\].*\[26\]"):
        cluster_energy(model, np.zeros((1, 3)), [26], np.eye(3), [False] * 3)
