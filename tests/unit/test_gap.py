# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""GAP: QUIP's energies and forces keep the laws, the shipped fit is what its report says, files are read first."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import ase.build
import numpy as np
import pytest

from msolve.atomistic import cluster_energy
from msolve.config import training_from_dict
from msolve.crystal import Crystal
from msolve.errors import CaseError
from msolve.potentials import load_potential
from msolve.potentials.blackbox import examined, with_noise
from msolve.potentials.gap import load_gap, read_gap
from msolve.potentials.rest import relaxed_lattice
from msolve.testing import Tolerances, check_potential
from msolve.train import train_potential

pytestmark = pytest.mark.models
POTENTIALS = Path(__file__).parents[2] / "solver_configs/potentials"
FILE = POTENTIALS / "w_gap/w_gap.xml"
NOISE = 1e-7
"""Round-off of this fit's forces [eV/Å]: its coefficients are large and cancel."""


@functools.cache
def gap():
    pytest.importorskip("quippy", reason="quippy-ase is not installed")
    return load_gap(FILE)


def rattled(repeat, sigma=0.05):
    atoms = ase.build.bulk("W", cubic=True, a=3.14) * repeat
    atoms.rattle(sigma)
    return atoms.positions, atoms.numbers, atoms.cell.array


def test_the_file_tells_its_elements_and_size():
    told = read_gap(FILE)
    assert told.numbers == {74} and told.parameters == 180
    assert FILE.stat().st_size < 1e6


def test_forces_are_those_of_the_reference_within_what_the_report_says():
    report = json.loads((FILE.parent / "report.json").read_text())
    x, z, cell = rattled((3, 3, 3), 0.1)
    table = load_potential(POTENTIALS / "w_eam4.eam.fs", "eam")
    gradient = cluster_energy(table, x, z, cell, np.ones(3, dtype=bool))[1]
    found = gap().cluster(x, z, cell, np.ones(3, dtype=bool))
    rms = 1e3 * np.sqrt(np.mean((found.gradient - gradient) ** 2))
    assert 10 < rms < 1.5 * report["test_errors_rms"]["rattled_large"]["forces"]
    assert found.site_energy.sum() == pytest.approx(found.energy, rel=1e-12)


def test_the_lattice_is_found_as_well_as_the_noise_allows():
    start = Crystal.bcc(3.1652, 74)
    noisy = with_noise(gap(), start)
    assert 1e-11 < noisy.noise < NOISE
    a0 = np.linalg.norm(relaxed_lattice(noisy, start).axes[0])
    assert a0 == pytest.approx(3.1436, abs=2e-4)


@pytest.mark.slow
def test_laws():
    model = examined(with_noise(gap(), Crystal.bcc(3.1436, 74)), Crystal.bcc(3.1436, 74))
    assert {"site_energy", "virial"} <= model.gives
    assert model.reach == model.cutoff == 5.5, "shares are the energies of sites"
    x, z, cell = rattled((8, 8, 1))
    # The forces' round-off, over a step and many atoms, is what differences see.
    accept = Tolerances(exact=1e-8, gradient=1e-4, hessian=3e-4)
    check_potential(model, x, z, cell, [True] * 3, np.random.default_rng(0), accept)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[: len(text) // 2], "is no GAP file, or is cut off"),
        (lambda text: "Once upon a time", "is no GAP file, or is cut off"),
        (lambda text: "", "is no GAP file, or is cut off"),
        (lambda text: "<a/>", "holds no fitted GAP"),
        (lambda text: re.sub('alpha="[^"]*"', 'alpha="inf"', text, count=1), "lacks some of its"),
        (lambda text: re.sub(r"(Z|Z1|Z2|species_Z)=74", "", text), "names no elements"),
        (lambda text: text.replace('n_coordinate="3"', 'n_coordinate="4"'), "lacks descriptors"),
    ],
)
def test_files_that_are_none(tmp_path, change, words):
    (tmp_path / "x.xml").write_text(change(FILE.read_text()))
    with pytest.raises(CaseError, match=words):
        load_gap(tmp_path / "x.xml")


def test_what_only_quip_notices_is_told_too(tmp_path):
    gap()
    text = FILE.read_text().replace("<descriptor>distance_2b", "<descriptor>distance_9b")
    (tmp_path / "x.xml").write_text(text)
    here = Path.cwd()
    with pytest.raises(
        CaseError, match=r"potential\.file = x\.xml: QUIP cannot read it: "
    ) as error:
        load_gap(tmp_path / "x.xml")
    assert len(error.value.problems[0]) < 400 and Path.cwd() == here


SMALL = {
    "name": "small",
    "crystal": {"structure": "bcc", "element": "W"},
    "reference": {"kind": "eam", "file": "w_eam4.eam.fs"},
    "data": {"cells": [{"kind": "rattled", "count": 12}, {"kind": "volume", "count": 12}]},
    "model": {
        "kind": "gap",
        "arguments": {
            "gap": "{distance_2b Z1=74 Z2=74 cutoff=5.0 n_sparse=30 covariance_type=ard_se "
            "delta=1.0 theta_uniform=0.4 sparse_method=uniform add_species=F}",
            "default_kernel_regularisation": "{0.002 0.1 0.1 0.0}",
        },
    },
    "report": {"phonons": 0},
}


@pytest.mark.slow
def test_gap_fit_is_run_and_the_same_input_makes_the_same_file(tmp_path):
    pytest.importorskip("quippy", reason="quippy-ase is not installed")
    made = []
    for k in (1, 2):
        given = {**SMALL, "output": {"directory": str(tmp_path / str(k))}}
        folder = train_potential(training_from_dict(given, folder=POTENTIALS))
        made.append((folder / "small.xml").read_bytes())
        report = json.loads((folder / "report.json").read_text())
        assert report["test_errors_rms"]["all"]["forces"] < 2000
    assert made[0] == made[1]


def test_arguments_of_gap_fit_that_are_missing_or_ours(tmp_path):
    from msolve.train.trainers import gap as trainer

    for change, words in (
        ({"gap": None}, "model.arguments.gap: missing"),
        ({"gap_file": "x.xml"}, "model.arguments.gap_file: is given by msolve"),
    ):
        arguments = {k: v for k, v in (SMALL["model"]["arguments"] | change).items() if v}
        given = {**SMALL, "model": {"kind": "gap", "arguments": arguments}}
        with pytest.raises(CaseError, match=words):
            trainer.check(training_from_dict(given, folder=POTENTIALS).model)
