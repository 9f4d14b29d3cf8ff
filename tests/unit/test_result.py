# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""``result.json``: its keys are a promise, and nobody ever reads half of it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from msolve.io.result import ComparisonResult, Result, Step, versions, write_result

STEP = Step(
    index=0,
    load=1.05,
    load_unit="K_G",
    energy=float("nan"),
    residual_norm=np.float64(3e-5),
    iterations=12,
    converged=True,
    free_atoms=100,
    evaluated_atoms=np.int64(200),
    mesh_nodes=300,
    unknowns=900,
    lowest_eigenvalue=0.21,
    tip_position=(0.5, 0.0),
    seconds={"solve": 1.5},
    histories={"minimise": (1.0, 0.1)},
)
RESULT = Result(
    status="converged",
    case={"name": "crack"},
    versions={"msolve": "0"},
    ranks=2,
    material={"elastic_constants": np.eye(6)},
    steps=(STEP,),
    comparison=ComparisonResult(0.04, 0.01, 0.1, 0.003, 1e-4, 900, 14, 2.0),
)


def test_the_keys_are_those_that_are_documented(tmp_path):
    write_result(tmp_path / "result.json", RESULT)
    found = json.loads((tmp_path / "result.json").read_text())
    assert list(found) == ["format", *(entry.name for entry in fields(Result))]
    assert list(found["steps"][0]) == [entry.name for entry in fields(Step)]
    assert list(found["comparison"]) == [entry.name for entry in fields(ComparisonResult)]
    page = (Path(__file__).parents[2] / "docs" / "outputs.md").read_text(encoding="utf-8")
    for key in (*found, *found["steps"][0], *found["comparison"]):
        assert f"`{key}`" in page, f"docs/outputs.md does not explain {key}"


def test_numbers_survive_and_what_is_not_finite_is_null(tmp_path):
    write_result(tmp_path / "result.json", RESULT)
    step = json.loads((tmp_path / "result.json").read_text())["steps"][0]
    assert step["energy"] is None
    assert step["residual_norm"] == 3e-5
    assert step["evaluated_atoms"] == 200
    assert step["tip_position"] == [0.5, 0.0]
    assert step["histories"] == {"minimise": [1.0, 0.1]}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.json"
    write_result(path, RESULT)
    before = path.read_text()
    with pytest.raises(TypeError):
        write_result(path, replace(RESULT, material={"model": object()}))
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_versions_name_what_is_installed():
    found = versions()
    assert found["numpy"] == np.__version__
    assert "msolve" in found and "python" in found
