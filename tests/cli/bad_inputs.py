# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Inputs that cannot be run, one thing wrong with each: decks, meshes, models, folders, command lines.

Run as a program on any number of ranks it feeds them to the command one after the other, in one process, and writes
what each rank saw: ``python bad_inputs.py FOLDER [EVERY]``, of each EVERY cases one. ``python bad_inputs.py`` alone
renews docs/messages.md.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).parents[2]
MACE = ROOT / "solver_configs" / "potentials" / "w_mace" / "w_mace.model"

LINEAR = ROOT / "solver_configs" / "potentials" / "w_linear" / "w_linear.linear"

GOOD: dict[str, Any] = {
    "crystal": {
        "structure": "bcc",
        "element": "W",
        "lattice_constant": "3.16 angstrom",
        "orientation": {"x1": [1, 0, 0], "x2": [0, 1, 0], "x3": [0, 0, 1]},
    },
    "potential": {"kind": "eam", "file": "w.eam.alloy"},
    "domain": {"radius": "40 angstrom"},
    "regions": {"core_radius": "8 angstrom", "blend": "8 angstrom"},
    "defect": {"kind": "vacancy"},
    "load": {"kind": "affine", "strain": {"e11": "1 %"}},
    "coupling": {"method": "bqcf"},
    "output": {"fields": False, "atoms": False, "pictures": False},
}
CRACK: dict[str, Any] = {
    "crystal.orientation": {"x1": [1, -1, 0], "x2": [1, 1, 0], "x3": [0, 0, 1]},
    "defect": {"kind": "crack"},
    "load": {"kind": "k_field", "K": "1.05 K_G"},
}
BLACK_BOX: dict[str, Any] = {"kind": "ase", "calculator": "ase.calculators.lj:LennardJones"}

TRAINING: dict[str, Any] = {
    "crystal": {"structure": "bcc", "element": "W"},
    "reference": {"kind": "eam", "file": "w.eam.alloy"},
    "data": {"cells": [{"kind": "strained", "count": 2, "strain": "1 %"}]},
    "model": {"kind": "mace", "arguments": {"max_num_epochs": 2}},
}


@dataclass(frozen=True)
class Bad:
    """One input with one thing wrong.

    Attributes:
        group: Heading under which docs/messages.md lists it.
        name: What is wrong with it.
        says: What the message must contain: mostly the path of the key.
        changes: Keys to change in the good deck; ``None`` as value takes the key away.
        text: The deck itself, where it is no YAML mapping at all.
        files: Makes further files in the folder.
        words: The command line, ``DECK`` standing for the deck; by default that alone.
        base: The good deck.
        code: The exit code.
    """

    group: str
    name: str
    says: str
    changes: dict[str, Any] | None = None
    text: str | bytes | None = None
    files: Callable[[Path], None] | None = None
    words: Sequence[str] = ("DECK",)
    base: dict[str, Any] = field(default_factory=lambda: GOOD)
    code: int = 2

    def deck(self) -> bytes:
        """The input file."""
        if self.text is not None:
            return self.text if isinstance(self.text, bytes) else self.text.encode()
        deck = copy.deepcopy(self.base)
        for path, value in (self.changes or {}).items():
            *parents, last = path.split(".")
            place = deck
            for key in parents:
                place = place.setdefault(key, {})
            if value is None:
                place.pop(last)
            else:
                place[last] = copy.deepcopy(value)
        return yaml.safe_dump(deck, sort_keys=False).encode()


def _potential(folder: Path, element: str = "W", n: int = 120, cut: float = 1.0) -> str:
    r = np.linspace(0, 4.5, n)
    rho = np.linspace(0, 40, n)
    end = (1 - r / 4.5) ** 3
    columns = [-3 * (np.sqrt(rho + 0.5) - 0.7), 30 * np.exp(-0.8 * r) * end]
    columns.append(r * 400 * np.exp(-1.4 * r) * end)
    lines = ["made up", "for", "tests", f"1 {element}", f"{n} {rho[1]:.8g} {n} {r[1]:.8g} 4.5"]
    lines.append("74 183.84 3.16 bcc")
    lines += [f"{value:.10g}" for column in columns for value in column]
    return "\n".join(lines[: int(len(lines) * cut)]) + "\n"


def _eam(text: str | bytes) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        data = text if isinstance(text, bytes) else text.encode()
        (folder / "other.eam.alloy").write_bytes(data)

    return make


OTHER = {"potential.file": "other.eam.alloy"}


def _eam_with(old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: _eam(_potential(folder).replace(old, new, 1))(folder)


def _mace(data: Callable[[], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / "other.model").write_bytes(data()) and None


def _prose(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text("Once\n") and None


MACED = {"potential": {"kind": "mace", "file": "other.model"}}


def _msh(
    points: Sequence[Sequence[float]],
    cells: Sequence[Sequence[int]],
    kind: int,
    outer: Sequence[Sequence[int]] = (),
    cut: int | None = None,
) -> Callable[[Path], None]:
    """A mesh in version 2.2 of the format; ``outer`` are the edges tagged so."""
    names = ['$PhysicalNames\n2\n1 1 "outer"\n2 2 "body"\n$EndPhysicalNames'] if outer else []
    lines = ["$MeshFormat\n2.2 0 8\n$EndMeshFormat", *names, f"$Nodes\n{len(points)}"]
    lines += [f"{k + 1} {' '.join(map(str, x))}" for k, x in enumerate(points)]
    lines.append(f"$EndNodes\n$Elements\n{len(cells) + len(outer)}")
    every = [(1, 1, edge) for edge in outer] + [(kind, 2, cell) for cell in cells]
    lines += [
        f"{k + 1} {sort} 2 {group} {group} {' '.join(str(i + 1) for i in corners)}"
        for k, (sort, group, corners) in enumerate(every)
    ]
    text = "\n".join([*lines, "$EndElements", ""])
    return lambda folder: (folder / "other.msh").write_text(text[:cut]) and None


MESHED = {"mesh": {"kind": "file", "file": "other.msh"}}
SQUARE = [(-60.0, -60.0, 0.0), (60.0, -60.0, 0.0), (60.0, 60.0, 0.0), (-60.0, 60.0, 0.0)]
RING = [(0, 1), (1, 2), (2, 3), (3, 0)]


def _without(path: str) -> Bad:
    key = path.rsplit(".", 1)[-1]
    return Bad("Keys that are missing", f"no `{path}`", f"{key}: missing", {path: None})


def _misspelt(path: str, wrong: str, value: Any = 1, **others: Any) -> Bad:
    *parents, right = path.split(".")
    full = ".".join([*parents, wrong])
    changes = {full: value, **others}
    return Bad("Keys that are misspelt", f"`{full}`", f"did you mean {right!r}", changes)


def _choice(path: str, value: str, meant: str, **others: Any) -> Bad:
    changes = {path: value, **others}
    return Bad(
        "Choices that are misspelt", f"`{path}: {value}`", f"did you mean {meant!r}", changes
    )


def _value(group: str, path: str, value: Any, **others: Any) -> Bad:
    changes = {**others, path: value}
    return Bad(group, f"`{path}: {json.dumps(value)}`", path, changes)


def _files() -> Iterator[Bad]:
    group = "Files that are no input"
    yield Bad(group, "no such file", "no such file", words=("nowhere.yaml",))
    yield Bad(
        group,
        "a folder",
        "is a folder",
        words=("folder",),
        files=lambda f: (f / "folder").mkdir(exist_ok=True),
    )
    yield Bad(group, "an empty file", "needs keys such as", text="")
    yield Bad(group, "a list", "needs keys such as", text="- 1\n- 2\n")
    yield Bad(group, "a sentence", "needs keys such as", text="a crack in tungsten\n")
    yield Bad(group, "a bracket not closed", "not valid YAML", text="crystal: {structure: bcc\n")
    yield Bad(group, "a tab", "line 2", text="domain:\n\tradius: 40 angstrom\n")
    yield Bad(group, "a wrong indent", "line 3", text="domain:\n  radius: 40 angstrom\n mesh: 1\n")
    yield Bad(group, "a key given twice", "given twice", text="domain: {}\ndomain: {}\n")
    yield Bad(group, "not UTF-8", "not UTF-8", text=b"name: W\xf6lfram\n")
    yield Bad(group, "two documents", "another document", text="a: 1\n---\nb: 2\n")
    yield Bad(group, "an unknown tag", "not valid YAML", text="domain: !length 40\n")


def _keys() -> Iterator[Bad]:
    for path in (
        "crystal", "crystal.structure", "crystal.element", "crystal.orientation", "crystal.orientation.x1",
        "crystal.orientation.x3", "potential", "potential.kind", "potential.file", "domain", "domain.radius",
        "regions", "load", "load.kind",
    ):  # fmt: skip
        yield _without(path)
    group = "Keys that are missing"
    yield Bad(group, "no core", "core_radius or cores", {"regions.core_radius": None})
    yield Bad(group, "no `load.F` or `load.strain`", "either F or strain", {"load.strain": None})
    yield Bad(group, "no `load.K`", "load.K: missing", {**CRACK, "load": {"kind": "k_field"}})
    yield Bad(group, "no `mesh.file`", "mesh.file: missing", {"mesh": {"kind": "file"}})
    cell = {"structure": "cell", "orientation": GOOD["crystal"]["orientation"]}
    yield Bad(group, "no `crystal.cell`", "crystal.cell: missing", {"crystal": cell})
    yield Bad(
        group, "no `crystal.c`", "crystal.c: missing",
        {"crystal.structure": "hcp", "crystal.lattice_constant": "2.7 angstrom"},
    )  # fmt: skip
    yield Bad(
        group, "no kind of a quantity", "quantities.0.kind: missing; one of ",
        {"quantities": [{"name": "energy"}]},
    )  # fmt: skip
    yield _misspelt("domain", "domian", {"radius": "40 angstrom"})
    yield _misspelt("crystal.element", "elemant", "W")
    yield _misspelt("crystal.lattice_constant", "latice_constant", "3 angstrom")
    yield _misspelt("potential.file", "fil", "w")
    yield _misspelt("domain.radius", "radus", "40 angstrom")
    yield _misspelt("regions.blend", "blnd", "8 angstrom")
    yield _misspelt("mesh.growth", "grwoth")
    yield _misspelt("load.strain.e11", "e_11", 0.1)
    yield _misspelt("coupling.method", "metod", "bqcf")
    yield _misspelt("solver.max_iterations", "max_iteration", 5)
    yield _misspelt("compare.atomistic", "atomisitc", True)
    yield _misspelt("output.directory", "directry", "x")
    yield _misspelt("load.kind", "knd", "affine", **{"load.kind": None})
    yield Bad(
        "Keys that are misspelt", "a key of another section", "did you mean 'regions.core_radius'",
        {"mesh.core_radius": "8 angstrom"},
    )  # fmt: skip
    yield Bad(
        "Keys that are misspelt", "a key of another kind", "another kind", {"load.K": "1.05 K_G"}
    )
    yield _choice("crystal.structure", "bc", "bcc")
    yield _choice("potential.kind", "aem", "eam")
    yield _choice("mesh.kind", "mathcing", "matching")
    yield _choice("defect.kind", "vacncy", "vacancy")
    yield _choice("load.kind", "afine", "affine")
    yield _choice("coupling.method", "bqfc", "bqcf")
    yield _choice("potential.device", "cdua", "cuda")


def _values() -> Iterator[Bad]:
    group = "Values with a wrong unit, or none"
    yield _value(group, "domain.radius", 40)
    yield _value(group, "domain.radius", "40 eV")
    yield _value(group, "domain.radius", "40 parsec")
    yield _value(group, "regions.core_radius", "eight angstrom")
    yield _value(group, "solver.gradient_tolerance", 1e-4)
    yield _value(group, "load.K", "1.5 GPa", **CRACK)
    yield _value(group, "load.strain.e11", "1 angstrom")
    group = "Values of a wrong type"
    yield _value(group, "domain", 40)
    yield _value(group, "domain.radius", ["40 angstrom"])
    yield _value(group, "crystal.element", "Tungsten")
    yield _value(group, "crystal.element", 74)
    yield _value(group, "crystal.orientation.x1", [1, 0])
    yield _value(group, "crystal.orientation.x1", [0.5, 0, 0])
    yield _value(group, "solver.max_iterations", "many")
    yield _value(group, "solver.max_iterations", 2.5)
    yield _value(group, "solver.stability", "perhaps")
    yield _value(group, "mesh.degree", 3)
    yield _value(group, "load.F", [[1, 0], [0, 1]], **{"load.strain": None})
    yield _value(group, "defect.positions", 0)
    yield _value(group, "load.steps", [])
    group = "Numbers that are not finite, or out of bounds"
    yield _value(group, "domain.radius", ".inf angstrom")
    yield _value(group, "domain.radius", "nan angstrom")
    yield _value(group, "domain.radius", "-40 angstrom")
    yield _value(group, "regions.core_radius", "0 angstrom")
    yield _value(group, "mesh.growth", float("nan"))
    yield _value(group, "mesh.growth", -1)
    yield _value(group, "solver.max_iterations", 0)
    yield _value(group, "load.steps", [0.5, float("nan")])
    yield _value(group, "load.strain.e11", float("inf"))
    group = "Loads beyond reason"
    none = {"load.strain": None}
    nan = float("nan")
    yield _value(group, "load.F", [[nan, 0, 0], [0, 1, 0], [0, 0, 1]], **none)
    yield _value(group, "load.F", [[0, 0, 0], [0, 1, 0], [0, 0, 1]], **none)
    yield _value(group, "load.F", [[-1, 0, 0], [0, 1, 0], [0, 0, 1]], **none)
    yield _value(group, "load.F", [[1, 0, 0.2], [0, 1, 0], [0, 0, 1]], **none)
    yield _value(group, "load.F", [[30, 0, 0], [0, 1, 0], [0, 0, 1]], **none)
    yield _value(group, "load.strain", {"e11": "-150 %"})
    yield _value(group, "load.K", "-1 K_G", **CRACK)
    yield _value(group, "load.K", "1e5 K_G", **CRACK)
    yield _value(group, "load.mode", [0, 0, 0], **CRACK)


def _tagged() -> Iterator[Bad]:
    group = "Loads on named parts of a mesh"
    middle = [*SQUARE, (0.0, 0.0, 0.0)]
    fan = _msh(middle, [(0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)], 2, RING)
    held = {"on": "outer", "value": ["0.1 angstrom", 0, 0]}

    def loaded(name: str, says: str, **load: Any) -> Bad:
        whole = {"kind": "boundary", "displacement": [held], **load}
        return Bad(group, name, says, {**MESHED, "load": whole}, files=fan)

    yield loaded(
        "a displacement of no part", "on: missing", displacement=[{"value": held["value"]}]
    )
    yield loaded("a part that is not there", "rim", displacement=[{**held, "on": "rim"}])
    yield loaded("neither value nor F", "either value or F", displacement=[{"on": "outer"}])
    yield loaded(
        "a displacement that holds nothing",
        "holds nothing",
        displacement=[{**held, "value": [None] * 3}],
    )
    yield loaded(
        "a displacement without a unit",
        "load.displacement.0.value",
        displacement=[{**held, "value": [1, 0, 0]}],
    )
    yield loaded(
        "a traction in a wrong unit",
        "load.traction.0.value",
        traction=[{"on": "outer", "value": ["1 angstrom"] * 3}],
    )
    yield loaded(
        "a traction on a part that is not there",
        "rim",
        traction=[{"on": "rim", "value": ["1 GPa", 0, 0]}],
    )
    yield loaded(
        "a body force on a part that is not there",
        "grain",
        body_force=[{"on": "grain", "value": [0, 0, 0]}],
    )


def _geometry() -> Iterator[Bad]:
    group = "Bodies that do not fit"
    yield Bad(
        group, "core and blend beyond the body", "domain.radius", {"domain.radius": "15 angstrom"}
    )
    yield Bad(
        group, "core, blend and reach beyond the body", "reach", {"domain.radius": "20 angstrom"}
    )
    yield Bad(
        group, "a core that touches the boundary", "regions.cores.0",
        {"regions": {"cores": [{"centre": ["30 angstrom", 0], "radius": "10 angstrom"}], "blend": "8 angstrom"},
         "defect": {"kind": "none"}},
    )  # fmt: skip
    yield Bad(
        group, "a vacancy in no core", "lies in no core",
        {"defect.positions": [["20 angstrom", 0]]},
    )  # fmt: skip
    yield Bad(
        group, "a vacancy outside the body", "outside the domain",
        {"defect.positions": [["90 angstrom", 0]]},
    )  # fmt: skip
    yield Bad(
        group, "one atom removed twice", "same atom",
        {"defect.positions": [[0, 0], ["0.1 angstrom", 0]]},
    )  # fmt: skip
    yield Bad(
        group, "a core between the atoms", "no atom",
        {"regions": {"cores": [{"centre": ["0.8 angstrom", 0], "radius": "0.1 angstrom"}], "blend": "0 angstrom"},
         "defect": {"kind": "none"}},
    )  # fmt: skip
    hole = {"kind": "void", "voids": [{"radius": "100 angstrom"}]}
    yield Bad(group, "a void that removes everything", "holds no atom", {"defect": hole})
    hole = {"kind": "void", "voids": [{"centre": ["0.8 angstrom", 0], "radius": "0.1 angstrom"}]}
    yield Bad(group, "a void between the atoms", "void", {"defect": hole})
    hole = {"kind": "void", "voids": [{"centre": ["20 angstrom", 0], "radius": "3 angstrom"}]}
    yield Bad(group, "a void in no core", "lies in no core", {"defect": hole})
    yield Bad(group, "a void without a hole", "voids", {"defect": {"kind": "void"}})
    flat = {"radius": "6 angstrom", "thickness": "2 angstrom", "normal": [0, 0, 0]}
    yield _value(group, "defect.voids", [flat], **{"defect.kind": "void"})
    yield Bad(group, "a crack in a ball", "defect.kind = crack", {**CRACK, "domain.kind": "ball"})
    corners = [["-8 angstrom", "-8 angstrom"], ["8 angstrom", "-8 angstrom"], [0, "8 angstrom"]]
    cores = {"cores": [{"shape": "polygon", "corners": corners}]}
    changes = {"domain.kind": "ball", "regions": cores}
    yield Bad(group, "a polygon in a ball", "polygon", changes)
    yield Bad(
        group, "a crack tip in no core", "lies in no core",
        {**CRACK, "regions": {"cores": [{"centre": ["12 angstrom", 0], "radius": "4 angstrom"}]}},
    )  # fmt: skip
    turned = "crystal.orientation"
    yield _value(group, f"{turned}.x1", [0, 0, 0])
    yield Bad(group, "x1 along x3", turned, {turned: {"x1": [0, 0, 1], "x3": [0, 0, 1]}})
    yield Bad(
        group, "x1 and x3 not at right angles", turned, {turned: {"x1": [1, 0, 1], "x3": [0, 0, 1]}}
    )
    yield Bad(
        group, "a left-handed orientation", turned,
        {turned: {"x1": [1, 0, 0], "x2": [0, -1, 0], "x3": [0, 0, 1]}},
    )  # fmt: skip


def _conflicts() -> Iterator[Bad]:
    group = "Keys that do not go together"
    both = {"load.F": [[1.01, 0, 0], [0, 1, 0], [0, 0, 1]]}
    yield Bad(group, "`F` and `strain`", "either F or strain", both)
    cores = {"regions.cores": [{"radius": "8 angstrom"}]}
    yield Bad(group, "`core_radius` and `cores`", "core_radius or cores", cores)
    yield Bad(
        group, "an energy method without a blend", "regions.blend",
        {"coupling.method": "bgfc_deferred", "regions.blend": "0 angstrom"},
    )  # fmt: skip
    yield Bad(group, "a K-field without a crack", "defect.kind = crack", {"load": CRACK["load"]})
    yield Bad(group, "spacing of a matching mesh", "mesh.spacing", {"mesh.spacing": "3 angstrom"})
    yield Bad(
        group, "positions without vacancies", "defect.positions",
        {"defect": {"kind": "none", "positions": [[0, 0]]}},
    )  # fmt: skip
    yield Bad(
        group, "a cell for a named structure", "crystal.basis", {"crystal.basis": [[0, 0, 0]]}
    )
    yield Bad(
        group, "h_max below spacing", "mesh.h_max",
        {"mesh": {"kind": "free", "spacing": "4 angstrom", "h_max": "2 angstrom"}},
    )  # fmt: skip
    yield Bad(group, "a file for the toy", "potential.file", {"potential.kind": "toy"})
    yield Bad(
        group, "forces only, and an energy method", "bqcf",
        {"potential": BLACK_BOX, "coupling.method": "bgfc"},
    )  # fmt: skip
    yield Bad(
        group,
        "refinement of all atoms",
        "adaptivity: nothing to refine",
        {"coupling.method": "atomistic", "adaptivity": {"total_h1": "0.01 angstrom"}},
    )
    yield Bad(
        group,
        "refinement without estimates",
        "adaptivity: needs estimates",
        {"estimate": {"kind": "none"}, "adaptivity": {"total_h1": "0.01 angstrom"}},
    )
    yield Bad(
        group,
        "refinement in a body of too many atoms",
        "mesh.degree = 1 or a larger estimate.largest would do",
        {
            "estimate": {"largest": 10},
            "mesh": {"degree": 2},
            "adaptivity": {"total_h1": "0.01 angstrom"},
        },
    )
    yield Bad(
        group,
        "refinement for a number in a body of too many atoms",
        "adaptivity: no error can be estimated: the body has about",
        {
            "estimate": {"largest": 10},
            "quantities": [{"kind": "energy"}],
            "adaptivity": {"quantity": {"name": "energy", "tolerance": 0.1}},
        },
    )
    yield Bad(
        group,
        "refinement without an end",
        "adaptivity: nothing says when to stop",
        {"adaptivity": {}},
    )
    yield Bad(
        group,
        "refinement to two norms",
        "adaptivity.energy_norm: in the place of total_h1",
        {"adaptivity": {"total_h1": "0.01 angstrom", "energy_norm": 0.01}},
    )
    yield Bad(
        group,
        "refinement for an unknown number",
        "adaptivity.quantity.name = K: no such number",
        {"adaptivity": {"quantity": {"name": "K", "tolerance": 0.1}}},
    )
    yield Bad(
        group,
        "doubt without a committee",
        "adaptivity.doubt: needs potential.committee",
        {"adaptivity": {"total_h1": "0.01 angstrom", "doubt": "0.1 eV/angstrom"}},
    )
    yield Bad(
        group,
        "a body that is to shrink",
        "adaptivity.largest_radius = 5 angstrom",
        {"adaptivity": {"total_h1": "0.01 angstrom", "largest_radius": "5 angstrom"}},
    )


def _certificates() -> Iterator[Bad]:
    group = "Certificates"
    yield Bad(
        group, "a factor below one", "certificate.factor = 0.5", {"certificate": {"factor": 0.5}}
    )
    yield Bad(
        group,
        "fewer than no corrections",
        "certificate.corrections = -1",
        {"certificate": {"corrections": -1}},
    )
    yield Bad(
        group,
        "a zone without radius",
        "certificate.zone_radius",
        {"certificate": {"zone_radius": "0 angstrom"}},
    )
    yield Bad(
        group,
        "forces only, and a certificate",
        "certificate: needs energies",
        {"potential": BLACK_BOX, "coupling.method": "bqcf", "certificate": {}},
    )
    yield Bad(
        group,
        "a zone outside the body",
        "certificate.zone_centre = (200, 0, 0) angstrom",
        {"certificate": {"zone_radius": "20 angstrom", "zone_centre": ["200 angstrom", 0, 0]}},
    )


def _dislocations() -> Iterator[Bad]:
    group = "Dislocations"
    line = {"at": ["1.58 angstrom", "0.8 angstrom"]}

    def at(*lines: dict[str, Any], **others: Any) -> dict[str, Any]:
        return {"defect": {"kind": "dislocation", "dislocations": list(lines)}, **others}

    yield Bad(
        group,
        "a dislocation without its place",
        ": kind dislocation needs dislocations",
        {"defect": {"kind": "dislocation"}},
    )
    yield Bad(
        group,
        "a dislocation of nothing",
        "defect.dislocations.0.periods = 0",
        at(line | {"periods": 0}),
    )
    yield Bad(
        group,
        "a dislocation on a row of atoms",
        "defect.dislocations.1.at: (0, 0) angstrom lies on a row",
        at(line, {"at": [0, 0]}),
    )
    yield Bad(
        group,
        "a dislocation outside the atoms",
        "regions: the dislocation at (20.5, 0.8) angstrom lies in no core",
        at(line | {"at": ["20.5 angstrom", "0.8 angstrom"]}),
    )
    yield Bad(
        group,
        "a dislocation in a K-field",
        "defect.kind = dislocation: with load.kind = k_field",
        at(line, load={"kind": "k_field", "K": "1.05 K_G"}),
    )
    yield Bad(
        group,
        "a dislocation in a ball",
        "defect.kind = dislocation: only in a disc",
        at(line, **{"domain": {"kind": "ball", "radius": "40 angstrom"}, "mesh": {"kind": "free"}}),
    )


def _model_error() -> Iterator[Bad]:
    group = "The potential's own error"
    linear = {"kind": "linear", "file": str(LINEAR)}
    draws = {"kind": "pops", "file": str(LINEAR.with_suffix(".draws"))}

    def asked(of: dict[str, Any], **others: Any) -> dict[str, Any]:
        return {"model_error": of, **others}

    yield Bad(group, "an unknown kind", "model_error.kind = guess", asked({"kind": "guess"}))
    yield Bad(
        group,
        "a reference that is not there",
        "model_error.potential.file = none.fs",
        asked({"kind": "reference", "potential": {"kind": "eam", "file": "none.fs"}}),
    )
    yield Bad(
        group,
        "a reference for another element",
        "model_error.potential: ",
        asked({"kind": "reference", "potential": {"kind": "eam", "file": "other.eam.alloy"}}),
        files=lambda folder: _eam(_potential(folder, "Al").replace("74 183", "13 183"))(folder),
    )
    yield Bad(
        group, "no committee", "model_error.files: needs either", asked({"kind": "committee"})
    )
    yield Bad(
        group,
        "draws for a table",
        "model_error.kind = pops: with potential.kind = eam",
        asked(draws),
    )
    yield Bad(
        group,
        "draws that are none",
        "model_error.file = w.eam.alloy",
        asked(draws | {"file": "w.eam.alloy"}, potential=linear),
    )
    yield Bad(
        group,
        "cells without labels",
        "model_error.calibration = cells.xyz",
        asked(draws | {"calibration": "cells.xyz"}, potential=linear),
        files=lambda folder: _write(folder / "cells.xyz", "1\n\nW 0 0 0\n"),
    )
    yield Bad(
        group,
        "a coverage of all",
        "model_error.coverage = 1",
        asked(draws | {"coverage": 1.0}, potential=linear),
    )


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _quantities() -> Iterator[Bad]:
    group = "Quantities"
    K = {"kind": "stress_intensity", "inner": "10 angstrom", "outer": "30 angstrom"}
    crack = {**CRACK, "load": {"kind": "k_field", "K": "0.01 MPa*m^0.5"}}

    def asked(*of: dict[str, Any], **others: Any) -> dict[str, Any]:
        return {"quantities": list(of), **others}

    yield Bad(group, "an unknown quantity", "quantities.0.kind", asked({"kind": "temperature"}))
    yield Bad(group, "no list", "quantities = ", {"quantities": {"kind": "energy"}})
    yield Bad(group, "a bare name", "quantities.0 = energy", {"quantities": ["energy"]})
    yield Bad(
        group, "a name that is none", "quantities.0.name", asked({"kind": "energy", "name": ""})
    )
    yield Bad(
        group,
        "a key of another quantity",
        "quantities.0.behind: no such key",
        asked({"kind": "energy", "behind": "3 angstrom"}),
    )
    yield Bad(
        group,
        "a place of one coordinate",
        "quantities.0.at",
        asked({"kind": "displacement", "at": ["3 angstrom"], "direction": [0, 1, 0]}),
    )
    yield Bad(
        group,
        "a direction in words",
        "quantities.0.direction",
        asked({"kind": "displacement", "at": [0, 0], "direction": "upwards"}),
    )
    yield Bad(
        group,
        "a mode that there is not",
        "quantities.0.mode = IV",
        asked(K | {"mode": "IV"}, **crack),
    )
    yield Bad(
        group, "a radius without unit", "quantities.0.inner = 10", asked(K | {"inner": 10}, **crack)
    )
    yield Bad(
        group,
        "an opening at the end of the cut",
        "quantities.0.behind",
        asked({"kind": "opening", "behind": "0 angstrom"}, **crack),
    )
    yield Bad(
        group,
        "a quantity without its place",
        "quantities.0.at",
        asked({"kind": "displacement", "direction": [0, 1, 0]}),
    )
    yield Bad(
        group,
        "a direction of nothing",
        "quantities.0.direction",
        asked({"kind": "displacement", "at": [0, 0], "direction": [0, 0, 0]}),
    )
    yield Bad(group, "K without a crack", "quantities.0.kind = stress_intensity", asked(K))
    yield Bad(
        group,
        "two quantities of one name",
        "quantities.1.name = energy",
        asked({"kind": "energy"}, {"kind": "energy"}),
    )
    yield Bad(
        group,
        "a ring beyond the body",
        "quantities.0.outer = 80 angstrom",
        asked(K | {"outer": "80 angstrom"}, **crack),
    )
    yield Bad(
        group,
        "a ring turned inside out",
        "quantities.1.outer = 5 angstrom",
        asked(K, K | {"outer": "5 angstrom", "name": "K2"}, **crack),
    )
    yield Bad(
        group,
        "an atom outside the body",
        "quantities.0.at: (90, 0) angstrom lies outside",
        asked({"kind": "displacement", "at": ["90 angstrom", 0], "direction": [0, 1, 0]}),
    )
    yield Bad(
        group,
        "an opening outside the body",
        "quantities.0.behind: (-90, 0) angstrom lies outside",
        asked({"kind": "opening", "behind": "90 angstrom"}, **crack),
    )


def _models() -> Iterator[Bad]:
    group = "Models"
    gone = {"potential.file": "gone.eam.alloy"}
    yield Bad(group, "no such file", "gone.eam.alloy", gone)
    yield Bad(group, "a folder for a table", "folder", {"potential.file": "."})
    yield Bad(group, "an empty table", "no eam.alloy", OTHER, files=_eam(""))
    yield Bad(
        group, "prose for a table", "no eam.alloy", OTHER, files=_eam("Once upon a time\n" * 9)
    )
    yield Bad(group, "bytes for a table", "no eam.alloy", OTHER, files=_eam(bytes(range(256)) * 40))
    yield Bad(
        group, "a table cut off", "entries after line 5", OTHER,
        files=lambda folder: _eam(_potential(folder, cut=0.6))(folder),
    )  # fmt: skip
    yield Bad(
        group, "a table of an unknown element", "Qq", OTHER,
        files=lambda folder: _eam(_potential(folder, "Qq"))(folder),
    )  # fmt: skip
    yield Bad(
        group, "a table of another element", "crystal.element", OTHER,
        files=lambda folder: _eam(_potential(folder, "Cu"))(folder),
    )  # fmt: skip
    yield Bad(
        group, "a table that is not finite", "not finite", OTHER,
        files=_eam_with("\n30\n", "\nnan\n"),
    )  # fmt: skip
    yield Bad(
        group, "a table with a word in it", "other.eam.alloy", OTHER,
        files=_eam_with("\n30\n", "\nthirty\n"),
    )  # fmt: skip
    yield Bad(
        group, "a table with a negative spacing", "spacing", OTHER,
        files=_eam_with("120 0.33613445 120 ", "120 -0.33613445 120 "),
    )  # fmt: skip
    sw = {"potential": {"kind": "sw", "file": "other.eam.alloy"}}
    yield Bad(group, "prose for Stillinger-Weber", "other.eam.alloy", sw, files=_eam("Once\n"))
    yield Bad(group, "an empty Stillinger-Weber file", "other.eam.alloy", sw, files=_eam(""))
    yield Bad(
        group, "no such model", "gone.model", {"potential": {"kind": "mace", "file": "gone.model"}}
    )
    yield Bad(group, "prose for a model", "other.model", MACED, files=_mace(lambda: b"Once\n" * 9))
    yield Bad(group, "an empty model", "other.model", MACED, files=_mace(lambda: b""))
    yield Bad(
        group, "a model cut off", "other.model", MACED,
        files=_mace(lambda: MACE.read_bytes()[:20000]),
    )  # fmt: skip
    yield Bad(
        group, "a pickle of something else", "other.model", MACED,
        files=_mace(lambda: pickle.dumps({"r_max": 5.0})),
    )  # fmt: skip
    yield Bad(group, "a model that is no MACE", "other.model", MACED, files=_linear)
    yield Bad(
        group, "a model of another element", "crystal.element",
        {"potential": {"kind": "mace", "file": str(MACE)}, "crystal.element": "Cu"},
    )  # fmt: skip
    ase = "ase.calculators"
    yield _value(group, "potential", {"kind": "ase", "calculator": "LennardJones"})
    yield _value(group, "potential", {"kind": "ase", "calculator": f"{ase}.nowhere:Calculator"})
    yield _value(group, "potential", {"kind": "ase", "calculator": f"{ase}.lj:Nothing"})
    yield _value(group, "potential", {"kind": "ase", "calculator": "pathlib:Path"})
    yield _value(group, "potential", {**BLACK_BOX, "arguments": {"colour": 1}})
    yield _value(group, "potential", {"kind": "ase", "calculator": "gone.py:make"})
    lammps = {"kind": "lammps", "pair_coeff": ["* * w.eam.alloy W"]}
    yield _value(group, "potential", {**lammps, "pair_style": "eam/ally"})
    lost = ["* * gone.eam.alloy W"]
    yield _value(group, "potential", {**lammps, "pair_style": "eam/alloy", "pair_coeff": lost})
    yield _value(group, "potential", {"kind": "kim", "model": "EAM_Nobody__MO_000000000000_000"})


GAP = ROOT / "solver_configs" / "potentials" / "w_gap" / "w_gap.xml"
GAPPED = {"potential": {"kind": "gap", "file": "other.xml"}}
OWN = '''
import numpy as np
import torch
from ase.calculators.calculator import Calculator
from ase.neighborlist import neighbor_list


class Morse:
    name, cutoff, reach, layers, exchange, device = "Morse", 6.0, 6.0, 1, False, "cpu"
    numbers = frozenset({74})
    gives = frozenset({"energy", "gradient", "site_energy", "hessian_product"})

    def site_energy(self, vec, pair, numbers, n_owned, halo):
        r = vec.norm(dim=1)
        bond = torch.exp(-2.8232 * (r - 3.032)) - 2 * torch.exp(-1.4116 * (r - 3.032))
        end = (1 - ((r - 4.8) / 1.2).clamp(min=0) ** 2) ** 2
        e = 0.5 * 0.9906 * bond * end
        return torch.zeros(n_owned, dtype=vec.dtype).index_add(0, pair[0], e)


class Half(Morse):
    def site_energy(self, vec, pair, numbers, n_owned, halo):
        return super().site_energy(vec.float(), pair, numbers, n_owned, halo)


class Wrong(Morse):
    def site_energy(self, vec, pair, numbers, n_owned, halo):
        return super().site_energy(vec.float(), pair, numbers, n_owned, halo).double()


class Nowhere(Morse):
    cutoff = None


class Extrapolates(Morse):
    def site_energy(self, vec, pair, numbers, n_owned, halo):
        near = vec.norm(dim=1).min() < 2.6
        return super().site_energy(vec, pair, numbers, n_owned, halo) * (float("nan") if near else 1)


class Extrapolating(Calculator):
    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms, properties, changes):
        self.results = {"energy": np.nan, "forces": np.full((len(atoms), 3), np.nan)}


class Breaking(Calculator):
    """Morse, without numbers where atoms are closer than they were in training."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms, properties, changes):
        i, r, way = neighbor_list("idD", atoms, 6.0)
        bond = np.exp(-2.8232 * (r - 3.032)), -2 * np.exp(-1.4116 * (r - 3.032))
        past = np.clip((r - 4.8) / 1.2, 0, None)
        end, fall = (1 - past**2) ** 2, -4 * past * (1 - past**2) / 1.2
        slope = 0.9906 * ((-2.8232 * bond[0] - 1.4116 * bond[1]) * end + sum(bond) * fall)
        pull = (slope / r)[:, None] * way
        forces = np.stack([np.bincount(i, pull[:, k], len(atoms)) for k in range(3)], 1)
        known = np.nan if r.min() < 2.6 else 1.0
        self.results = {"energy": known * 0.5 * 0.9906 * (sum(bond) * end).sum(), "forces": known * forces}
'''


def _gap(change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda folder: (folder / "other.xml").write_text(change(GAP.read_text())) and None


def _scaled(radii: float = 1.0, energies: float = 1.0) -> Callable[[Path], None]:
    """The good table in other units."""

    def make(folder: Path) -> None:
        lines = _potential(folder).splitlines()
        n, rho, m, r, cutoff = lines[4].split()
        lines[4] = f"{n} {rho} {m} {float(r) * radii:.8g} {float(cutoff) * radii:.8g}"
        k = int(n)
        for first, factor in ((6, energies), (6 + k + int(m), energies * radii)):
            for line in range(first, first + k):
                lines[line] = f"{float(lines[line]) * factor:.10g}"
        _eam("\n".join(lines) + "\n")(folder)

    return make


def _packages() -> Iterator[Bad]:
    """Models of other packages, and of the user's own."""
    group = "Models of other packages"
    yield Bad(group, "no GAP file", "gone.xml", {"potential": {"kind": "gap", "file": "gone.xml"}})
    yield Bad(group, "prose for a GAP", "other.xml", GAPPED, files=_gap(lambda _: "Once\n"))
    yield Bad(group, "a GAP cut off", "cut off", GAPPED, files=_gap(lambda text: text[:90000]))
    yield Bad(
        group, "another XML file", "no fitted GAP", GAPPED, files=_gap(lambda _: "<svg></svg>")
    )
    yield Bad(
        group, "a GAP without some of its coefficients", "lacks some", GAPPED,
        files=_gap(lambda text: re.sub(r'<sparseX i="3".*?</sparseX>', "", text, count=1, flags=re.S)),
    )  # fmt: skip
    yield Bad(
        group, "a GAP with a coefficient that is no number", "lacks some", GAPPED,
        files=_gap(lambda text: re.sub(r'alpha="[^"]*"', 'alpha="NaN"', text, count=1)),
    )  # fmt: skip
    yield Bad(
        group, "a GAP without its file of sparse points", "beside it", GAPPED,
        files=_gap(lambda text: text.replace("<gpCoordinates ", '<gpCoordinates sparseX_filename="x.sparseX" ')),
    )  # fmt: skip
    yield Bad(
        group, "a GAP of another element", "crystal.element",
        {"potential": {"kind": "gap", "file": str(GAP)}, "crystal.element": "Cu"},
    )  # fmt: skip
    lammps = {"kind": "lammps", "pair_style": "eam/alloy", "pair_coeff": ["* * other.eam.alloy W"]}
    yield Bad(
        group, "a table cut off, for LAMMPS", "other.eam.alloy", {"potential": lammps},
        files=lambda folder: _eam(_potential(folder, cut=0.6))(folder),
    )  # fmt: skip
    yield Bad(
        group, "a table of another element, for LAMMPS", "other.eam.alloy", {"potential": lammps},
        files=lambda folder: _eam(_potential(folder, "Cu"))(folder),
    )  # fmt: skip
    copper = "EAM_Dynamo_Ackland_2003_W__MO_141627196590_005"
    yield Bad(
        group, "a KIM model of another element", "potential.model",
        {"potential": {"kind": "kim", "model": copper}, "crystal.element": "Cu"},
    )  # fmt: skip
    yield _value(
        group, "potential",
        {"kind": "ase", "calculator": "ase.calculators.emt:EMT", "cutoff": "5.9 angstrom"},
    )  # fmt: skip
    sim = {"kind": "torchsim", "model": "torch_sim.models.mace:MaceModel", "cutoff": "10 angstrom"}
    yield _value(group, "potential", {**sim, "arguments": {"model": "gone.model"}})
    yield _value(group, "potential", {**sim, "model": "pathlib:Path"})
    yield Bad(
        group, "prose for a model of torch-sim", "cannot be made",
        {"potential": {**sim, "arguments": {"model": "other.model"}}},
        files=_mace(lambda: b"Once\n" * 9),
    )  # fmt: skip
    # What is told before the package is looked for, which is in another environment.
    for kind, name, what, says in (
        ("nequip", "gone.ckpt", "no NequIP model", "gone.ckpt"),
        ("nequip", "other.model", "a NequIP model under another name", "neither *.nequip.zip nor"),
        ("nequip", "other.nequip.pt2", "a compiled NequIP model", "torchsim"),
        ("nequip", "other.ckpt", "a checkpoint without the package", "needs the package nequip"),
        ("sevennet", "gone.pth", "no SevenNet model", "gone.pth"),
        (
            "sevennet",
            "7net-omni",
            "a SevenNet model that would be fetched from the net",
            "7net-omni",
        ),
        (
            "sevennet",
            "other.pth",
            "a SevenNet model without the package",
            "needs the package sevenn",
        ),
    ):
        given = {"potential": {"kind": kind, "file": name}}
        there = None if name in ("gone.ckpt", "gone.pth", "7net-omni") else _prose(name)
        yield Bad(group, what, says, given, files=there)
    for name, what, says in (
        ("Nothing", "a model of one's own that is not in its file", "no class"),
        ("Half", "a model of one's own in float32", "float32"),
        ("Wrong", "a model of one's own that is float32 inside", "differences"),
        ("Nowhere", "a model of one's own without cutoff", "cutoff"),
    ):
        given = {"potential": {"kind": "own", "model": f"own.py:{name}"}}
        yield Bad(group, what, says, given, files=_own)
    relaxed = {**OTHER, "crystal.lattice_constant": "from_potential"}
    yield Bad(
        group, "a table in nanometres", "units (eV and angstrom)", relaxed, files=_scaled(0.1)
    )
    yield Bad(
        group, "a crystal that does not hold", "does not hold this crystal",
        {**relaxed, "crystal.structure": "fcc", "potential.file": "other.eam.fs"}, files=_w_table,
    )  # fmt: skip
    yield Bad(
        group, "a table in kJ/mol", "other units than eV and angstrom", relaxed,
        files=_scaled(energies=96.485),
    )  # fmt: skip


def _handshakes() -> Iterator[Bad]:
    group = "Learned handshakes"
    ours = ROOT / "solver_configs/potentials/w_handshake/w_handshake.pt"
    key = "coupling.handshake.model"

    def asks(**more: Any) -> dict[str, Any]:
        return {**CRACK, "coupling.handshake": {"kind": "learned", "model": "w.pt"}, **more}

    def copied(data: bytes | None = None) -> Callable[[Path], None]:
        return lambda folder: (folder / "w.pt").write_bytes(data or ours.read_bytes()) and None

    bare = {**CRACK, "coupling.handshake": {"kind": "learned"}}
    yield Bad(group, "no model", key, bare)
    yield Bad(group, "a model that is not there", key, asks())
    yield Bad(
        group, "a file of something else", "holds no learned handshake", asks(), files=copied(b"?")
    )
    yield Bad(
        group, "a model that is cut off", "holds no learned handshake", asks(),
        files=copied(ours.read_bytes()[:2000]),
    )  # fmt: skip
    yield Bad(group, "a model of another crystal", "does not belong", asks(), files=copied())
    yield Bad(
        group, "a model without a crack", "slab would do", files=copied(),
        changes={"coupling.handshake": {"kind": "learned", "model": "w.pt"}},
    )  # fmt: skip
    yield Bad(
        group, "a model beside the slab", key, files=copied(),
        changes={**CRACK, "coupling.handshake": {"kind": "slab", "model": "w.pt"}},
    )  # fmt: skip


def _laws() -> Iterator[Bad]:
    group = "Learned laws"
    ours = "solver_configs/potentials/w_mace/w_mace.law"

    def shipped(change: Callable[[str], str] = str) -> Callable[[Path], None]:
        def make(folder: Path) -> None:
            (folder / "w.law").write_text(change((ROOT / ours).read_text()))

        return make

    given, key = {"continuum": {"law": "w.law"}}, "continuum.law"
    yield Bad(group, "a law that is not there", key, given)
    yield Bad(
        group, "a law that is cut off", "not valid JSON", given, files=shipped(lambda t: t[:999])
    )
    yield Bad(
        group, "a law of another version", "train it again", given,
        files=shipped(lambda text: text.replace('"version": 1', '"version": 99')),
    )  # fmt: skip
    yield Bad(
        group, "a law without its network", "layers", given,
        files=shipped(lambda text: text.replace('"layers"', '"network"')),
    )  # fmt: skip
    yield Bad(group, "a law of another potential", "another law", given, files=shipped())
    yield Bad(
        group, "a law in a crystal that is not cubic", "structures", files=shipped(),
        changes={**given, "crystal.structure": "hcp", "crystal.lattice_constant": "from_potential"},
    )  # fmt: skip
    yield Bad(
        group, "a law beside a polynomial", "potential.tabulate", files=shipped(),
        changes={**given, "potential": {**BLACK_BOX, "tabulate": "1 %"}},
    )  # fmt: skip


def _numbers() -> Iterator[Bad]:
    """Models that give no numbers: at rest, and once a run is under way."""
    group = "Energies and forces that are no numbers"
    squeezed = {"load": {"kind": "affine", "strain": {"e11": "-10 %", "e22": "-10 %"}}}
    yield Bad(
        group, "under load", "not finite", files=_own, code=3,
        changes={**squeezed, "potential": {"kind": "own", "model": "own.py:Extrapolates"}},
    )  # fmt: skip
    yield Bad(
        group, "under load, from a calculator", "not finite", files=_own, code=3,
        changes={**squeezed, "potential": {"kind": "ase", "calculator": "own.py:Breaking", "cutoff": "6 angstrom"}},
    )  # fmt: skip
    short = {
        "kind": "lammps",
        "pair_style": "table linear 2000",
        "pair_coeff": ["1 1 short.table MORSE"],
    }
    yield Bad(
        group, "under load, from a table of LAMMPS that begins there", "inner cutoff", code=3,
        changes={**squeezed, "potential": short}, files=_short_table,
    )  # fmt: skip
    yield Bad(
        group, "at rest, from a calculator", "not finite", files=_own,
        changes={"potential": {"kind": "ase", "calculator": "own.py:Extrapolating", "cutoff": "4 angstrom"}},
    )  # fmt: skip


def _w_table(folder: Path) -> None:
    """The shipped table of tungsten, where fcc is a saddle."""
    (folder / "other.eam.fs").write_bytes((GAP.parents[1] / "w_eam4.eam.fs").read_bytes())


def _own(folder: Path) -> None:
    (folder / "own.py").write_text(OWN)


def _short_table(folder: Path) -> None:
    """The same pair potential for LAMMPS, from 2.6 Å on."""
    r = np.linspace(2.6, 6.0, 2000)
    past = np.clip((r - 4.8) / 1.2, 0, None)
    bond = np.exp(-2.8232 * (r - 3.032)) - 2 * np.exp(-1.4116 * (r - 3.032))
    slope = -2.8232 * (np.exp(-2.8232 * (r - 3.032)) - np.exp(-1.4116 * (r - 3.032)))
    energy = 0.9906 * bond * (1 - past**2) ** 2
    force = -0.9906 * (slope * (1 - past**2) ** 2 - bond * 4 * past * (1 - past**2) / 1.2)
    rows = [
        f"{k + 1} {a:.10g} {e:.10g} {f:.10g}"
        for k, (a, e, f) in enumerate(zip(r, energy, force, strict=True))
    ]
    (folder / "short.table").write_text(
        "\n".join(["MORSE", f"N {len(r)} R {r[0]:.10g} {r[-1]:.10g}", "", *rows, ""])
    )


def _linear(folder: Path) -> None:
    import torch

    torch.save(torch.nn.Linear(2, 2), folder / "other.model")


def _meshes() -> Iterator[Bad]:
    group = "Meshes"
    two, triangles = [(0, 1, 2), (0, 2, 3)], 2
    gone = {"mesh": {"kind": "file", "file": "gone.msh"}}
    yield Bad(group, "no such file", "no such file", gone)
    yield Bad(
        group,
        "prose for a mesh",
        "mesh.file",
        MESHED,
        files=lambda f: (f / "other.msh").write_text("Once\n") and None,
    )
    yield Bad(
        group, "a mesh cut off", "mesh.file", MESHED,
        files=_msh(SQUARE, two, triangles, RING, cut=210),
    )  # fmt: skip
    yield Bad(group, "no tags", "outer", MESHED, files=_msh(SQUARE, two, triangles))
    yield Bad(
        group, "quadrilaterals", "simplices", MESHED, files=_msh(SQUARE, [(0, 1, 2, 3)], 3, RING)
    )
    middle = [*SQUARE, (0.0, 0.0, 0.0)]
    fan = [(0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)]
    folded = [*SQUARE, (70.0, 0.0, 0.0)]
    yield Bad(group, "cells inside out", "inside out", MESHED, files=_msh(folded, fan, 2, RING))
    line = [*SQUARE[:2], (0.0, -60.0, 0.0), *SQUARE[2:]]
    yield Bad(
        group, "flat cells", "flat", MESHED,
        files=_msh(line, [(0, 1, 2), (0, 1, 3), (0, 3, 4)], 2, [(0, 1), (1, 3), (3, 4), (4, 0)]),
    )  # fmt: skip
    apart = [*middle, (200.0, 0.0, 0.0), (210.0, 0.0, 0.0), (200.0, 10.0, 0.0)]
    yield Bad(group, "two bodies", "2 parts", MESHED, files=_msh(apart, [*fan, (5, 6, 7)], 2, RING))
    bent = [*SQUARE, (0.0, 0.0, 30.0)]
    yield Bad(group, "a curved surface", "x3", MESHED, files=_msh(bent, fan, 2, RING))
    yield Bad(group, "only edges", "triangles", MESHED, files=_msh(SQUARE, [], 2, RING))
    small = [(x / 6, y / 6, z) for x, y, z in middle]
    yield Bad(
        group,
        "a mesh smaller than its core",
        "range of the potential",
        MESHED,
        files=_msh(small, fan, 2, RING),
    )


def _damaged(data: bytes) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "damaged").mkdir(exist_ok=True)
        (folder / "damaged" / "checkpoint.h5").write_bytes(data)

    return make


def _restarts() -> Iterator[Bad]:
    group = "Restarts"
    words = ("restart", "damaged")
    yield Bad(group, "of no folder", "nowhere", words=("restart", "nowhere"))
    yield Bad(group, "of a folder without a checkpoint", "no such file", words=("restart", "."))
    yield Bad(group, "of an empty checkpoint", "damaged", words=words, files=_damaged(b""))
    yield Bad(group, "of prose", "damaged", words=words, files=_damaged(b"Once upon a time\n"))
    yield Bad(group, "of a folder that is not named", "name the output folder", words=("restart",))


def _rest() -> Iterator[Bad]:
    group = "Output, and the command line"
    yield Bad(
        group, "a file in the place of the folder", "output.directory",
        {"output.directory": "w.eam.alloy"},
    )  # fmt: skip
    yield Bad(
        group, "a folder that cannot be made", "output.directory", {"output.directory": "/proc/x"}
    )
    yield Bad(
        group, "--set without a value", "needs key.path=value", words=("DECK", "--set", "a.b")
    )
    yield Bad(
        group, "--set of an unknown key", "no such key",
        words=("DECK", "--set", "domain.size=40 angstrom"),
    )  # fmt: skip
    yield Bad(group, "an unknown option", "--colour", words=("DECK", "--colour"))
    yield Bad(group, "no input named", "name an input file", words=())


def _training() -> Iterator[Bad]:
    group = "Training a potential"

    def bad(name: str, says: str, changes: dict[str, Any]) -> Bad:
        words = ("train", "potential", "DECK")
        return Bad(group, name, says, changes, words=words, base=TRAINING)

    def cells(**keys: Any) -> dict[str, Any]:
        return {"data.cells": [{"count": 2, **keys}]}

    yield Bad(
        group,
        "something else than a potential or a law",
        "name what to train",
        words=("train", "DECK"),
    )
    shake = ("train", "handshake", "DECK")
    yield Bad(group, "a deck as the training of a handshake", "the input of a run", words=shake)
    yield Bad(group, "a handshake of no deck", "deck", {}, words=shake, base={"seed": 1})
    law = ("train", "law", "DECK")
    yield Bad(group, "no training of a law named", "name the input", words=law[:2])
    yield Bad(group, "a deck as the training of a law", "the input of a run", words=law)
    yield Bad(
        group, "a law of strains beyond all", "law.strain", {"law": {"strain": "40 %"}}, words=law,
        base={"crystal": TRAINING["crystal"], "potential": TRAINING["reference"]},
    )  # fmt: skip
    yield Bad(group, "no training named", "name the input", words=("train", "potential"))
    yield Bad(group, "a deck", "msolve case", words=("train", "potential", "DECK"))
    yield Bad(group, "its input as a deck", "msolve train potential", base=TRAINING)
    yield bad("no reference", "reference: missing", {"reference": None})
    yield bad("a reference that is not there", "reference.file", {"reference.file": "no.eam.alloy"})
    yield bad("a reference without file", "reference.file: missing", {"reference.file": None})
    yield bad("no cells", "data.cells", {"data.cells": []})
    yield bad(
        "cells of a missing file",
        "data.cells.0.file",
        {"data.cells": [{"kind": "from_file", "name": "mine", "file": "no.extxyz"}]},
    )
    yield bad("cells of an unknown kind", "there are", cells(kind="surfaces", planes=[[1, 0, 0]]))
    yield bad("a surface without planes", "planes: missing", cells(kind="surface"))
    yield bad(
        "a front outside the crack plane",
        "data.cells.0.front",
        cells(kind="crack_tip", plane=[1, 1, 0], front=[1, 0, 1]),
    )
    yield bad(
        "a span the wrong way round",
        "data.cells.0.rattle",
        cells(kind="rattled", rattle=["0.2 angstrom", "0.1 angstrom"]),
    )
    yield bad(
        "two kinds of one name",
        "data.cells.1.name",
        {"data.cells": 2 * [{"kind": "rattled", "count": 2}]},
    )
    yield bad(
        "nothing left to train on", "data.test = 0.7", {"data.test": 0.7, "data.validation": 0.3}
    )
    yield bad("a deck that is not there", "active.deck", {"active": {"deck": "no.yaml"}})
    linear = {"kind": "linear", "cutoff": "5 angstrom", "kind_weights": {"bulk": 2.0}}
    yield bad("a weight of cells that are not there", "kind_weights.bulk", {"model": linear})
    yield bad("an unknown trainer", "model.kind", {"model.kind": "mase"})
    yield bad(
        "a potential to report on that has no file",
        "model.potential.file: missing",
        {"model": {"kind": "existing", "potential": {"kind": "eam"}}},
    )


CASES = tuple(
    case
    for make in (
        _files,
        _keys,
        _values,
        _tagged,
        _geometry,
        _conflicts,
        _quantities,
        _certificates,
        _model_error,
        _dislocations,
        _models,
        _packages,
        _numbers,
        _handshakes,
        _laws,
        _meshes,
        _restarts,
        _rest,
        _training,
    )
    for case in make()
)


@contextmanager
def _captured() -> Iterator[dict[str, str]]:
    """What the process writes to its two streams, libraries in C included."""
    told: dict[str, str] = {}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        kept = os.dup(1), os.dup(2)
        sys.stdout.flush(), sys.stderr.flush()
        os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
        try:
            yield told
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            for number, copied in zip((1, 2), kept, strict=True):
                os.dup2(copied, number)
                os.close(copied)
            out.seek(0), err.seek(0)
            told["stdout"], told["stderr"] = out.read(), err.read()


def feed(folder: Path, every: int = 1) -> list[dict[str, Any]]:
    """Feed cases to the command; code and streams of each, as this rank saw them. Collective."""
    from mpi4py import MPI

    from msolve.cli import main as command

    comm = MPI.COMM_WORLD
    os.chdir(folder)
    seen = []
    for number, case in list(enumerate(CASES))[::every]:
        deck = f"case{number:03d}.yaml"
        if comm.rank == 0:
            Path("w.eam.alloy").write_text(_potential(folder))
            Path(deck).write_bytes(case.deck())
            if case.files is not None:
                case.files(folder)
        comm.Barrier()
        with _captured() as told:
            code = command([deck if word == "DECK" else word for word in case.words])
        seen.append({"code": code, **told})
    return seen


def message(stderr: str, folder: Path) -> str:
    """What was told, without what differs between runs: the folder, and the ranks on which it happened."""
    lines = [line for line in stderr.strip().splitlines() if not line.startswith("  while ")]
    text = "\n".join(lines).replace(f"{folder}/", "").replace(str(folder), "the folder")
    return re.sub(r"case\d{3}", "case", text)


def page(messages: Sequence[str]) -> str:
    """docs/messages.md."""
    lines = [HEADER]
    group = ""
    for case, told in zip(CASES, messages, strict=True):
        if case.group != group:
            group = case.group
            lines.append(f"\n## {group}\n")
        lines.append(f"**{case.name}**\n\n```text\n{told}\n```\n")
    return "\n".join(lines).rstrip() + "\n"


HEADER = f"""# Messages

<!-- Written by `python tests/cli/bad_inputs.py`; edit the messages in the code instead. -->

What msolve says of inputs that it cannot run. Each of these {len(CASES)} cases ends with exit code 2 (3 where it says
`not converged`) and one message on standard error, on one rank or several; `tests/cli/test_bad_input.py` feeds them
all to the command. A problem is told as `key.path = value: what is wrong; what would do`, and all problems of a file
at once."""


def main() -> None:
    """Write what each rank saw into the folder, or the page."""
    from mpi4py import MPI

    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        seen = feed(folder, *map(int, sys.argv[2:]))
        (folder / f"seen.{MPI.COMM_WORLD.rank}.json").write_text(json.dumps(seen, indent=1))
        return
    with tempfile.TemporaryDirectory() as name:
        told = [message(each["stderr"], Path(name)) for each in feed(Path(name))]
        os.chdir(ROOT)
    (ROOT / "docs" / "messages.md").write_text(page(told))


if __name__ == "__main__":
    main()
