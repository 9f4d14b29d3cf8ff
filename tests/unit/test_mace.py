# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""MACE models driven layer by layer, against mace-torch's own energies and forces."""

import os
import subprocess
import sys
from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest
import torch

from msolve.atomistic import AtomisticPatch, cluster_energy
from msolve.errors import CaseError, UnsupportedError
from msolve.potentials import load_potential
from msolve.potentials.mace_import import quiet_import
from msolve.testing import Tolerances, check_potential, write_tiny_mace
from strips import strip

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]

with quiet_import():
    modules = pytest.importorskip("mace.modules", reason="mace-torch is not installed")

LARGE = "as foundation models are built"
VARIANTS = {
    "two layers": {},
    "one layer": {"num_interactions": 1},
    "three layers of vectors, two elements": {
        "num_interactions": 3,
        "max_ell": 2,
        "hidden_irreps": "4x0e+4x1o",
        "numbers": (23, 74),
    },
    "repulsion, first layer without skip": {
        "pair_repulsion": True,
        "interaction_cls_first": "RealAgnosticInteractionBlock",
    },
    "density normalised": {
        "interaction_cls": "RealAgnosticDensityResidualInteractionBlock",
        "interaction_cls_first": "RealAgnosticDensityInteractionBlock",
    },
    # What the foundation models MP-0, MPA-0 and OMAT-0 are made of, with 4 channels where they have 128.
    LARGE: {
        "numbers": tuple(range(1, 90)),
        "r_max": 6.0,
        "num_bessel": 10,
        "max_ell": 3,
        "correlation": 3,
        "hidden_irreps": "4x0e+4x1o",
        "MLP_irreps": "16x0e",
        "radial_MLP": [64, 64, 64],
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
        "interaction_cls": "RealAgnosticDensityResidualInteractionBlock",
        "interaction_cls_first": "RealAgnosticDensityInteractionBlock",
    },
}


def write(path, variant):
    with quiet_import():
        from e3nn import o3
    options = dict(VARIANTS[variant])
    for key in ("interaction_cls", "interaction_cls_first"):
        if key in options:
            options[key] = getattr(modules, options[key])
    for key in ("hidden_irreps", "MLP_irreps"):
        if key in options:
            options[key] = o3.Irreps(options[key])
    write_tiny_mace(path, **options)
    return path


@pytest.fixture(
    scope="module",
    params=[pytest.param(n, marks=[pytest.mark.slow] * (n == LARGE)) for n in VARIANTS],
)
def model_file(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp("mace") / "tiny.model", request.param)


@pytest.fixture(scope="module")
def model(model_file):
    return load_potential(model_file, "mace")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write(tmp_path_factory.mktemp("mace") / "tiny.model", "two layers")


def atoms(model, seed=0):
    """A rattled slab, one thin cell deep."""
    rng = np.random.default_rng(seed)
    corner = np.stack(np.meshgrid(range(3), range(2), range(1), indexing="ij"), -1).reshape(-1, 3)
    x = 3.2 * np.concatenate([corner, corner + 0.5]) + rng.normal(scale=0.1, size=(12, 3))
    return x, rng.choice(sorted(model.numbers), 12), np.diag([9.6, 6.4, 3.2])


def reference(path, x, z, cell, periodic, **more):
    from ase import Atoms

    with quiet_import():
        from mace.calculators import MACECalculator

        calculator = MACECalculator(
            model_paths=str(path), device="cpu", default_dtype="float64", **more
        )
        system = Atoms(numbers=z, positions=x, cell=cell, pbc=periodic)
        system.calc = calculator
        return system.get_potential_energy(), system.get_forces()


@pytest.mark.parametrize("periodic", [(True, True, True), (False, False, False)])
def test_energy_and_gradient_are_those_of_mace(model_file, model, periodic):
    x, z, cell = atoms(model)
    energy, gradient = cluster_energy(model, x, z, cell, periodic)
    expected, force = reference(model_file, x, z, cell, periodic)
    assert np.abs(force).max() > 1e-3
    assert energy == pytest.approx(expected, rel=1e-12)
    assert np.abs(gradient + force).max() < 1e-10 * np.abs(force).max()


@pytest.mark.slow
def test_a_head_that_was_taken_out(tmp_path):
    """mace_select_head, as the message for models of several heads says."""
    two = {
        "heads": ["pt_head", "fine"],
        "atomic_energies": -np.array([[1.0], [3.0]]),
        "atomic_inter_scale": [5.0, 4.0],
        "atomic_inter_shift": [0.1, 0.2],
    }
    write_tiny_mace(tmp_path / "two.model", **two)
    with pytest.raises(UnsupportedError, match=r"heads pt_head, fine; .*mace_select_head"):
        load_potential(tmp_path / "two.model", "mace")
    words = ["-n", "fine", "-o", str(tmp_path / "one.model"), str(tmp_path / "two.model")]
    done = subprocess.run(
        [Path(sys.executable).with_name("mace_select_head"), *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    model = load_potential(tmp_path / "one.model", "mace")
    x, z, cell = atoms(model)
    energy, gradient = cluster_energy(model, x, z, cell, [True] * 3)
    expected, force = reference(tmp_path / "two.model", x, z, cell, True, head="fine")
    assert np.abs(force).max() > 1e-3
    assert energy == pytest.approx(expected, rel=1e-12)
    assert np.abs(gradient + force).max() < 1e-10 * np.abs(force).max()


def test_laws(model):
    check_potential(model, *strip(model.numbers), np.random.default_rng(2))


def test_declares_its_layers_and_reach(tiny):
    model = load_potential(tiny, "mace")
    assert (model.layers, model.cutoff, model.reach) == (2, 5.0, 10.0)
    assert model.numbers == {74} and model.exchange and model.name == "tiny.model"


def test_sites_without_weight_are_left_out_without_a_trace(tiny):
    model = load_potential(tiny, "mace")
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(range(8), range(2), range(2), indexing="ij"), -1).reshape(-1, 3)
    x = 3.0 * grid + rng.normal(scale=0.1, size=grid.shape)
    n, z = len(x), np.full(len(x), 74)
    weight, d = np.where(x[:, 0] < 5.0, 0.7, 0.0), rng.normal(size=x.shape)
    everywhere, needed = (
        AtomisticPatch(MPI.COMM_SELF, model, z, np.eye(3), [False] * 3, x, mask)
        for mask in (np.ones(n, dtype=bool), weight > 0)
    )
    sites = everywhere.site_energies(x)
    for patch in (everywhere, needed):
        energy, gradient = patch.evaluate(x, weight)
        assert energy == pytest.approx(weight @ sites, rel=1e-13)
        beyond = x[:, 0] > 5.0 + model.reach
        assert beyond.any() and not gradient[beyond].any()
        known = patch.site_energies(x)
        assert np.allclose(known[weight > 0], sites[weight > 0], rtol=1e-13)
    assert np.isnan(needed.site_energies(x)[weight == 0]).all()
    a, b = (patch.evaluate(x, weight)[1] for patch in (everywhere, needed))
    assert np.abs(a).max() > 1e-3 and np.allclose(a, b, atol=1e-14)
    a, b = (patch.hessian_product(x, weight, d) for patch in (everywhere, needed))
    assert np.abs(a).max() > 1e-3 and np.allclose(a, b, atol=1e-13)


def test_batches_change_nothing_but_the_memory(model_file):
    x, z, cell = atoms(load_potential(model_file, "mace"))
    found = []
    for batch in (100, 5):
        model = load_potential(model_file, "mace")
        model.batch = batch
        patch = AtomisticPatch(
            MPI.COMM_SELF, model, z, cell, [True] * 3, x, np.ones(len(x), dtype=bool)
        )
        weight = np.linspace(0.0, 1.0, len(x))
        found.append(
            [
                *patch.evaluate(x, weight),
                patch.hessian_product(x, weight, np.cos(x)),
                patch.site_energies(x),
            ]
        )
    for whole, parts in zip(*found, strict=True):
        assert np.abs(whole - parts).max() < 1e-12 * np.abs(whole).max()


def test_a_full_device_means_smaller_batches_and_then_a_message(tiny, monkeypatch):
    x, z, cell = atoms(load_potential(tiny, "mace"))
    every = np.ones(len(x), dtype=bool)
    expected = cluster_energy(load_potential(tiny, "mace"), x, z, cell, [True] * 3)
    model = load_potential(tiny, "mace")
    usual, fits = model._sites, 3

    def sites(layer, batch, *rest):
        if batch.n_sites > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return usual(layer, batch, *rest)

    monkeypatch.setattr(model, "_sites", sites)
    patch = AtomisticPatch(MPI.COMM_SELF, model, z, cell, [True] * 3, x, every)
    energy, gradient = patch.evaluate(x, every.astype(float))
    assert model.batch == 3
    assert energy == pytest.approx(expected[0], rel=1e-13)
    assert np.allclose(gradient, expected[1], atol=1e-13)
    fits = 0
    with pytest.raises(MemoryError, match=r"memory of cpu is too small for 12 atoms of tiny"):
        patch.evaluate(x, every.astype(float))
    with pytest.raises(MemoryError):
        patch.hessian_product(x, every.astype(float), np.ones_like(x))


def test_single_precision_obeys_the_laws_as_well_as_it_can(tiny):
    exact = load_potential(tiny, "mace")
    model = load_potential(tiny, "mace", precision="float32")
    x, z, cell = atoms(model)
    rough = Tolerances(step=2e-2, gradient=2e-3, hessian=2e-2, exact=3e-5, jump=1e-5)
    # A seed whose directions are not almost along a contour: differences would see nothing but rounding.
    check_potential(model, *strip(model.numbers), np.random.default_rng(1), rough)
    expected = cluster_energy(exact, x, z, cell, [True] * 3)
    energy, gradient = cluster_energy(model, x, z, cell, [True] * 3)
    assert energy == pytest.approx(expected[0], rel=1e-6) and energy != expected[0]
    assert np.abs(gradient - expected[1]).max() < 1e-5 * np.abs(expected[1]).max()


@pytest.mark.parametrize("n", [1, 2])
def test_atoms_out_of_sight_of_each_other(tiny, n):
    model = load_potential(tiny, "mace")
    x = np.array([[0.0, 0, 0], [0, 0, 50.0]])[:n]
    z = np.full(n, 74)
    energy, gradient = cluster_energy(model, x, z, np.eye(3), [False] * 3)
    assert energy == pytest.approx(reference(tiny, x, z, np.eye(3), False)[0], rel=1e-12)
    assert not gradient.any()
    patch = AtomisticPatch(MPI.COMM_SELF, model, z, np.eye(3), [False] * 3, x, np.ones(n))
    assert not patch.hessian_product(x, np.ones(n), np.ones((n, 3))).any()


def test_loading_does_not_change_the_process(tiny):
    import logging

    variable = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(variable), list(logging.getLogger().handlers)
    load_potential(tiny, "mace")
    assert (os.environ.get(variable), list(logging.getLogger().handlers)) == before


def test_bad_files_are_input_errors(tmp_path):
    with pytest.raises(CaseError, match="no such file"):
        load_potential(tmp_path / "none.model", "mace")
    (tmp_path / "text.model").write_text("not a model")
    with pytest.raises(CaseError, match="no model file of mace-torch"):
        load_potential(tmp_path / "text.model", "mace")
    torch.save({"a": 1}, tmp_path / "dict.model")
    with pytest.raises(CaseError, match="holds a dict"):
        load_potential(tmp_path / "dict.model", "mace")


def test_other_sorts_of_model_are_refused_by_name(tmp_path):
    path = tmp_path / "heads.model"
    write_tiny_mace(path, heads=["one", "two"], atomic_energies=np.zeros((2, 1)),
                    atomic_inter_scale=[1.0, 1.0], atomic_inter_shift=[0.0, 0.0])  # fmt: skip
    with pytest.raises(UnsupportedError, match="heads one, two"):
        load_potential(path, "mace")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "linear.model")
    with pytest.raises(UnsupportedError, match="Linear"):
        load_potential(tmp_path / "linear.model", "mace")


def test_unknown_elements_are_named(tiny):
    model = load_potential(tiny, "mace")
    with pytest.raises(UnsupportedError, match=r"\[74\].*\[26\]"):
        cluster_energy(model, np.zeros((1, 3)), [26], np.eye(3), [False] * 3)


@pytest.mark.parametrize("wrapped", [False, True], ids=["compiled", "wrapped for LAMMPS"])
def test_a_compiled_model_is_the_model(tmp_path, wrapped):
    with quiet_import():
        from e3nn.util import jit
        from mace.calculators import LAMMPS_MACE
    eager = load_potential(write(tmp_path / "tiny.model", "two layers"), "mace")
    module = torch.load(tmp_path / "tiny.model", weights_only=False, map_location="cpu").double()
    torch.jit.save(
        jit.compile(LAMMPS_MACE(module) if wrapped else module), tmp_path / "tiny_compiled.model"
    )
    compiled = load_potential(tmp_path / "tiny_compiled.model", "mace")
    rng = np.random.default_rng(5)
    x = np.argwhere(np.ones((3, 3, 3))) * 2.2 + rng.normal(scale=0.1, size=(27, 3))
    every, direction = np.ones(27, dtype=bool), rng.normal(size=x.shape)
    found = []
    for model in (eager, compiled):
        z = np.full(27, 74)
        patch = AtomisticPatch(MPI.COMM_SELF, model, z, 6.6 * np.eye(3), [True] * 3, x, every)
        weight = np.linspace(0.2, 1.0, 27)
        found.append([*patch.evaluate(x, weight), patch.hessian_product(x, weight, direction)])
    for ours, theirs in zip(*found, strict=True):
        assert np.allclose(ours, theirs, rtol=1e-10, atol=1e-10)
