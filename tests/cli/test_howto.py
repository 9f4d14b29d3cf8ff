# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The examples of docs/howto-mesh.md are run as they stand."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/howto-mesh.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL)


def run(folder, *command):
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the mesh that the page's script makes, and its decks."""
    pytest.importorskip("gmsh")
    folder = tmp_path_factory.mktemp("mesh")
    (folder / "w_eam4.eam.fs").symlink_to(ROOT / "solver_configs/potentials/w_eam4.eam.fs")
    (script,) = (text for kind, text in BLOCKS if kind == "python")
    told = run(folder, "-c", script)
    assert told.returncode == 0, told.stderr
    for text in (text for kind, text in BLOCKS if kind == "yaml"):
        name = re.match(r"# (\S+\.yaml)\n", text)
        (folder / name[1]).write_text(text)
    return folder


@pytest.mark.slow
def test_the_notched_plate_under_tension(folder):
    told = run(folder, "-m", "msolve.cli", "tension.yaml")
    assert told.returncode == 0, told.stderr
    result = json.loads((folder / "results/tension/result.json").read_text())
    assert result["status"] == "converged"
    assert len(result["steps"]) == 2
    assert result["steps"][1]["lowest_eigenvalue"] > 0


@pytest.mark.slow
def test_the_sheared_plate_against_the_full_atomistic_model(folder):
    told = run(folder, "-m", "msolve.cli", "sheared.yaml")
    assert told.returncode == 0, told.stderr
    result = json.loads((folder / "results/sheared/result.json").read_text())
    assert result["status"] == "converged"
    assert result["comparison"]["total_h1"] > 0
    assert result["comparison"]["relative_h1"] < 0.02


@pytest.mark.parametrize(
    ("change", "wording"),
    [
        (
            "load.traction=[{on: tpo, value: [0, 1 GPa, 0]}]",
            "load.traction: on = tpo: the mesh has no physical group of facets with this name "
            "(found: bottom, left, notch, right, top)",
        ),
        ("compare.atomistic=true", "compare.atomistic: the full atomistic model needs the disp"),
        pytest.param(
            "load.displacement=[]",
            "nothing holds the body against translation along x1 and",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "load.displacement=[{on: bottom, value: [null, 0, null]}]",
            "nothing holds the body against translation along x1 and translation along x3;",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "regions.cores=[{centre: [-20 angstrom, 0], radius: 8 angstrom}]",
            "regions: core 0 comes within 12.0 angstrom of the outline of the mesh, at [-40",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "regions.cores=[{centre: [200 angstrom, 0], radius: 8 angstrom}]",
            "regions: core 0 holds no atom of the body",
            marks=pytest.mark.slow,
        ),
        pytest.param("mesh.unit=um", "regions: core 0 comes within", marks=pytest.mark.slow),
    ],
)
def test_what_does_not_fit_the_mesh_is_told(folder, change, wording):
    changes = [change]
    if change.startswith("regions"):
        changes.append("defect={kind: none}")
    if change == "mesh.unit=um":
        changes += ["mesh.unit=nm", "regions.cores=[{centre: [10 nm, 0], radius: 90 nm}]"]
    command = ["-m", "msolve.cli", "check", "tension.yaml"]
    told = run(folder, *command, *(word for one in changes for word in ("--set", one)))
    assert told.returncode == 2, told.stdout
    assert wording in " ".join(told.stderr.split())
    assert "Traceback" not in told.stderr


BRICK = """
import gmsh
gmsh.initialize()
occ = gmsh.model.occ
box, cavity = occ.addBox(-45, -30, -30, 90, 60, 60), occ.addSphere(-27, 0, 0, 10)
occ.cut([(3, box)], [(3, cavity)])
occ.synchronize()
names = {"right": [], "bottom": [], "top": [], "back": []}
for _, face in gmsh.model.getEntities(2):
    x, y, z = occ.getCenterOfMass(2, face)
    for name, here in (("right", x > 44), ("bottom", y < -29), ("top", y > 29), ("back", z < -29)):
        if here:
            names[name].append(face)
for name, faces in names.items():
    gmsh.model.addPhysicalGroup(2, faces, name=name)
gmsh.model.addPhysicalGroup(3, [1], name="brick")
gmsh.option.setNumber("Mesh.MeshSizeMin", 5)
gmsh.option.setNumber("Mesh.MeshSizeMax", 8)
gmsh.model.mesh.generate(3)
gmsh.write("brick.msh")
gmsh.finalize()
"""


@pytest.mark.slow
def test_the_same_keys_load_a_brick_of_tetrahedra_with_a_cavity(folder):
    assert run(folder, "-c", BRICK).returncode == 0
    changes = (
        "name=brick",
        "mesh.file=brick.msh",
        "regions={cores: [{centre: [15 angstrom, 0], radius: 5 angstrom}], blend: 5 angstrom}",
        "defect.positions=[[15 angstrom, 0]]",
        "load.displacement=[{on: bottom, value: [null, 0, null]}, "
        "{on: right, value: [0, null, null]}, {on: back, value: [null, null, 0]}]",
        "output.pictures=false",
    )
    words = (word for change in changes for word in ("--set", change))
    told = run(folder, "-m", "msolve.cli", "tension.yaml", *words)
    assert told.returncode == 0, told.stderr
    result = json.loads((folder / "results/brick/result.json").read_text())
    assert result["status"] == "converged"
    assert result["steps"][1]["lowest_eigenvalue"] > 0
    assert result["steps"][1]["free_atoms"] > 200
