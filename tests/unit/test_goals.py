# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Numbers that a deck asks for, through whole runs."""

import json

from mpi4py import MPI

import pytest

from msolve.config import load_case
from msolve.run import run_case

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


def run(folder, *changes):
    folder.mkdir(exist_ok=True)
    (folder / "deck.yaml").write_text(DECK)
    case = load_case(folder / "deck.yaml", [*changes, f"output.directory={folder}/out"])
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
