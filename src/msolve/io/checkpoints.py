# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""``checkpoint.h5``: all that a run needs to go on, independent of the number of ranks.

The state is kept by atom and by node of the mesh in the order in which it was handed in; the mesh itself is
part of it, so nothing depends on making the same mesh again. The file is replaced as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from msolve import __version__
from msolve.errors import CaseError
from msolve.io.files import hdf5, write_whole
from msolve.io.meshes import MeshData
from msolve.io.result import Step, plain

Array = npt.NDArray[np.float64]

CHECKPOINT = "checkpoint.h5"
"""Name of the file in the output folder."""

FORMAT = 1

_TAGS = ("node_tags", "facet_tags", "cell_tags")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State of a run.

    Attributes:
        case: The input with all defaults written out.
        folder: Where its file names start.
        files: SHA-256 of each file that the input names, by ``"key.path"``, or ``"key.path NAME"`` where a
            value holds more than a name.
        steps: Finished load steps.
        iterations: Iterations of the load step under way when the state was taken; 0 between steps.
        n_ranks: Ranks of the run that wrote it.
        reference: Reference positions of the atoms, shape ``(n, 3)`` [Å].
        atoms: Correctors of the atoms, 0 for those that are no unknowns, shape ``(n, 3)`` [Å].
        nodes: Correctors of the nodes likewise, in the order of ``continuum.numbering``, ``(m, 3)`` [Å].
        n_unknowns: Displacement components solved for.
        mesh: The mesh; ``None`` without a continuum.
        version: Version of msolve that wrote it.
    """

    case: Mapping[str, Any]
    folder: str
    files: Mapping[str, str]
    steps: tuple[Step, ...]
    iterations: int
    n_ranks: int
    reference: Array
    atoms: Array
    nodes: Array
    n_unknowns: int
    mesh: MeshData | None
    version: str = __version__


def write_checkpoint(directory: Path, state: Checkpoint) -> None:
    """Replace the checkpoint of an output folder. Rank-local; call it on one rank.

    Raises:
        OutputError: It cannot be written; the old one stays.
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        name: getattr(state, name) for name in ("reference", "atoms", "nodes")
    }
    if state.mesh is not None:
        arrays |= {"mesh/points": state.mesh.points, "mesh/cells": state.mesh.cells}
        for kind in _TAGS:
            for name, values in getattr(state.mesh, kind).items():
                arrays[f"mesh/{kind}/{name.replace('/', '%2F')}"] = values
    plainly = {
        "case": state.case,
        "folder": state.folder,
        "files": state.files,
        "steps": [asdict(step) for step in state.steps],
        "iterations": state.iterations,
        "n_ranks": state.n_ranks,
        "n_unknowns": state.n_unknowns,
        "version": state.version,
    }
    # As data sets, because attributes hold no more than 64 kB.
    text = np.frombuffer(json.dumps(plain(plainly)).encode(), dtype=np.uint8)
    content = hdf5({"about": text, **arrays}, {"format": FORMAT, "kind": "msolve checkpoint"})
    write_whole(directory / CHECKPOINT, content)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Rank-local.

    Raises:
        CaseError: There is none, or it is damaged, or of another kind or a later version.
    """
    if not path.is_file():
        raise CaseError(
            ["no such file; only a run that has begun its load steps can go on"], str(path)
        )
    try:
        with h5py.File(path) as file:
            kind, version = file.attrs.get("kind"), int(file.attrs.get("format", 0))
            if kind == "msolve checkpoint" and version == FORMAT:
                return _read(file)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CaseError([f"is damaged, or no checkpoint: {error}"], str(path)) from error
    if kind != "msolve checkpoint":
        raise CaseError(["is no checkpoint of msolve"], str(path))
    raise CaseError(
        [f"has layout {version}; this msolve knows {FORMAT}: use the one that wrote it"], str(path)
    )


def _read(file: h5py.File) -> Checkpoint:
    about = json.loads(file["about"][:].tobytes())
    mesh = None
    if "mesh" in file:
        group = file["mesh"]
        tags = {
            kind: {name.replace("%2F", "/"): values[:] for name, values in group[kind].items()}
            if kind in group
            else {}
            for kind in _TAGS
        }
        mesh = MeshData(group["points"][:], group["cells"][:], **tags)
    steps = tuple(_step(one) for one in about.pop("steps"))
    arrays = {name: file[name][:] for name in ("reference", "atoms", "nodes")}
    return Checkpoint(**about, steps=steps, mesh=mesh, **arrays)


def _step(read: dict[str, Any]) -> Step:
    known = {field.name: read[field.name] for field in fields(Step) if field.name in read}
    for name, value in known.items():
        if isinstance(value, list):
            known[name] = tuple(value)
        elif value is None and name not in ("lowest_eigenvalue", "tip_position"):
            known[name] = float("nan")  # what JSON has no word for
    known["histories"] = {
        solver: tuple(float("nan") if x is None else x for x in residuals)
        for solver, residuals in known["histories"].items()
    }
    return Step(**known)
