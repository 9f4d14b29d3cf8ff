# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a file is: each kind that msolve reads or writes, and those that are broken or unknown."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

from mpi4py import MPI

import pytest
from rich.console import Console

from msolve.cli import main
from msolve.config import load_case
from msolve.errors import CaseError
from msolve.info import about, show
from msolve.io.checkpoints import read_checkpoint, write_checkpoint
from msolve.run import run_case

ROOT = Path(__file__).parents[2]
DECK = """
crystal: {structure: triangular, element: H, orientation: {x1: [1, 0, 0], x3: [0, 0, 1]}}
potential: {kind: toy}
domain: {radius: 16 angstrom}
regions: {core_radius: 3 angstrom, blend: 3 angstrom}
defect: {kind: vacancy}
load: {kind: affine, strain: {e11: 1 %}, steps: [0.5, 1.0]}
solver: {stability: false}
quantities: [{kind: energy}]
output: {pictures: false}
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("info")
    (folder / "deck.yaml").write_text(DECK)
    run_case(load_case(folder / "deck.yaml", [f"output.directory={folder}/out"]), MPI.COMM_WORLD)
    return folder / "out"


def told(path):
    text = io.StringIO()
    show(path, Console(file=text, width=120))
    return text.getvalue()


def test_what_a_run_leaves(out):
    whole = told(out)
    for words in (
        "output folder", "converged", "2 of 2", "between load steps", "triangular H", "estimated error",
        "full model",
    ):  # fmt: skip
        assert words in whole
    for name, kind in {
        "result.json": "result of a run",
        "checkpoint.h5": "checkpoint of a run",
        "fields.xdmf": "fields of a run, for ParaView",
        "fields/mesh.h5": "mesh of the fields",
        "fields/step_0001.h5": "fields of a load step",
        "atoms/step_0001.extxyz": "atoms of a load step",
    }.items():
        assert about(out / name).kind.startswith(kind)
    assert about(out / "fields.xdmf").rows["times"] == "0.5, 1"
    assert [step[0] for step in about(out / "checkpoint.h5").steps] == ["0", "1"]
    assert about(out.parent / "deck.yaml").rows["load steps"] == "2"


def test_a_step_without_energy_shows_none(out, tmp_path):
    """Potentials with forces only have none; a result says null, a checkpoint nan."""
    state = read_checkpoint(out / "checkpoint.h5")
    assert about(out / "checkpoint.h5").steps == about(out / "result.json").steps
    steps = tuple(replace(step, energy=math.nan) for step in state.steps)
    write_checkpoint(tmp_path, replace(state, steps=steps))
    assert [step[5] for step in about(tmp_path / "checkpoint.h5").steps] == ["", ""]


def test_what_a_run_takes():
    mesh = about(ROOT / "meshes/plate_with_hole.msh")
    assert mesh.rows["size"] == "1372 nodes, 2616 triangles"
    assert "hole (63 nodes)" in mesh.rows["boundary tags"]
    table = about(ROOT / "solver_configs/potentials/w_eam4.eam.fs")
    assert table.kind == "EAM table"
    assert table.rows["elements"] == "W"
    assert table.rows["cutoff"] == "5.5 Å"


def test_a_mace_model():
    pytest.importorskip("mace", reason="mace-torch is not installed")
    rows = about(ROOT / "solver_configs/potentials/w_mace/w_mace.model").rows
    assert (rows["elements"], rows["layers"]) == ("W", "2")
    assert rows["reach"].startswith("10 Å")


@pytest.mark.parametrize(
    "name", ["result.json", "checkpoint.h5", "fields.xdmf", "fields/step_0000.h5", "atoms/step_0000.extxyz"]
)  # fmt: skip
def test_half_a_file_is_told(out, tmp_path, name):
    content = (out / name).read_bytes()
    broken = tmp_path / Path(name).name
    broken.write_bytes(content[: len(content) // 2])
    with pytest.raises(CaseError, match="is damaged"):
        about(broken)


def test_what_is_unknown_is_told_with_exit_code_2(tmp_path, capfd):
    (tmp_path / "a.txt").write_text("?")
    (tmp_path / "b.json").write_text(json.dumps({"some": "thing"}))
    for name, words in {
        "a.txt": "is nothing that msolve knows by its ending; it knows",
        "b.json": "is damaged, or not what its ending says",
        "missing.h5": "no such file",
        ".": "a folder without result.json and checkpoint.h5",
    }.items():
        assert main(["info", str(tmp_path / name)]) == 2
        streams = capfd.readouterr()
        assert words in streams.err
        assert streams.out == ""


@pytest.mark.parametrize(
    ("file", "kind", "row"),
    [
        ("w_handshake/w_handshake.pt", "learned handshake", "trained on"),
        ("w_handshake/report.json", "learned handshake", "crack"),
        ("w_handshake/train.yaml", "input of a training; msolve train handshake runs it", "deck"),
        ("w_linear/train.yaml", "input of a training; msolve train potential runs it", "reference"),
    ],
)
def test_trainings_and_what_they_make(file, kind, row):
    told = about(ROOT / "solver_configs/potentials" / file)
    assert told.kind == kind and told.rows[row]
