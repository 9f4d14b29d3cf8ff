# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Numbers that a deck asks for, through whole runs."""

import json
import re

from mpi4py import MPI

import numpy as np
import pytest

from msolve.against import FullModel
from msolve.build import build, build_mesh, set_up
from msolve.config import load_case
from msolve.goals import goal_places
from msolve.methods import solve
from msolve.run import run_case
from msolve.solvers import Settings

DECK = """
crystal: {structure: triangular, element: H, orientation: {x1: [1, 0, 0], x3: [0, 0, 1]}}
potential: {kind: toy}
domain: {radius: 16 angstrom}
regions: {core_radius: 3 angstrom, blend: 3 angstrom}
defect: {kind: vacancy}
load: {kind: affine, strain: {e11: 1 %}, steps: [0.5, 1.0]}
solver: {stability: false, gradient_tolerance: 1e-9 eV/angstrom}
quantities:
  - {kind: energy}
  - {name: pull, kind: displacement, at: [0 angstrom, 1 angstrom], direction: [0, 1, 0]}
output: {pictures: false, fields: false, atoms: false}
"""


def case_in(folder, *changes):
    folder.mkdir(exist_ok=True)
    (folder / "deck.yaml").write_text(DECK)
    return load_case(folder / "deck.yaml", [*changes, f"output.directory={folder}/out"])


def run(folder, *changes):
    case = case_in(folder, *changes)
    run_case(case, MPI.COMM_WORLD)
    result = json.loads((folder / "out/result.json").read_text())
    return [step["quantities"] for step in result["steps"]], (folder / "out/msolve.log").read_text()


def test_each_step_tells_what_the_full_model_has(tmp_path):
    coupled, log = run(tmp_path / "coupled")
    full, _ = run(tmp_path / "full", "coupling.method=atomistic")
    for step, exact in zip(coupled, full, strict=True):
        assert list(step) == list(exact) == ["energy", "pull"]
        for name, number in step.items():
            true = exact[name]
            assert true["meant"] == "computed" and true["expected"] is None
            assert number["meant"] == "estimated" and number["unit"] == true["unit"]
            low, high = number["interval"]
            assert low - 2e-9 < true["value"] < high + 2e-9, name
            assert high - low < 0.1 * abs(number["value"] - true["value"])
    assert "pull = " in log and "full model" in log
    assert coupled[0]["pull"]["value"] != coupled[1]["pull"]["value"]


def test_without_hessian_there_is_the_value_alone(tmp_path):
    (_, last), log = run(tmp_path, "estimate.kind=none")
    assert (
        last["energy"]["expected"] is last["energy"]["interval"] is last["energy"]["meant"] is None
    )
    assert last["energy"]["value"] > 0 and "(no estimate)" in log


def test_a_body_too_large_has_none(tmp_path):
    steps, log = run(tmp_path, "estimate.largest=10")
    assert steps == [None, None] and "quantities are not told" in log


@pytest.mark.parametrize("method", ["bqcf", "bqce"])
def test_any_method_may_be_asked(method, tmp_path):
    (_, last), _ = run(tmp_path, f"coupling.method={method}")
    assert last["pull"]["interval"] is not None


def test_certified_intervals_hold_the_truth(tmp_path):
    (_, last), log = run(tmp_path / "sure", "certificate={look_around: false}")
    assert re.search(r"pull = .* angstrom, full model -0\.\d{5,} ± .* \(certified, level", log)
    (_, exact), _ = run(tmp_path / "full", "coupling.method=atomistic")
    for name, number in last.items():
        low, high = number["interval"]
        assert number["meant"].startswith("certified, level ")
        assert low - 2e-9 < exact[name]["value"] < high + 2e-9, name
        assert number["expected"] == pytest.approx((low + high) / 2)
        assert high - low < 0.1 * abs(number["value"] - exact[name]["value"]), name


def test_sources_of_a_number_lie_where_it_is_taken(tmp_path):
    """Two vacancies make half of the error in energy each; a displacement beside one feels the other less."""
    case = case_in(
        tmp_path,
        "domain.radius=24 angstrom",
        "regions={cores: [{shape: ball, centre: [-9.65 angstrom, 0], radius: 3 angstrom},"
        " {shape: ball, centre: [9.65 angstrom, 0], radius: 3 angstrom}], blend: 3 angstrom}",
        "defect.positions=[[-9.65 angstrom, 0], [9.65 angstrom, 0]]",
        "quantities.1.at=[9.65 angstrom, 1 angstrom]",
    )
    setup = set_up(case, MPI.COMM_SELF)
    assembly = build(setup, build_mesh(setup, MPI.COMM_SELF), MPI.COMM_SELF)
    z, t = assembly.problem.kinematics.unknowns.vector(), setup.loads[-1]
    assert solve(assembly, case, z, t, Settings(tolerance=1e-9)).converged
    full = FullModel(setup, assembly)
    right = full.assembly.X[:, 0] > 0
    for name, low, high in (("energy", 0.45, 0.55), ("pull", 0.65, 1.0)):
        goal, places = goal_places(setup, assembly, full, name, z, t)
        assert low < places.source[right].sum() / places.source.sum() < high, name
        assert goal.off == pytest.approx(abs(goal.number.value - goal.number.expected), rel=0.1)
        assert places.source.sum() > 0.5 * goal.off, name
    assert 0 < np.abs(places.error).max() < 0.1
