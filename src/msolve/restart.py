# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How a run goes on: the case of a checkpoint, what of it may be changed, and the files it stands on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mpi4py import MPI

import numpy as np

from msolve.config import Case, case_from_dict, load_case
from msolve.errors import CaseError
from msolve.io.checkpoints import CHECKPOINT, Checkpoint, read_checkpoint
from msolve.io.files import digest
from msolve.io.meshes import MeshData
from msolve.parallel import all_or_none

OPEN = (
    "name",
    "solver",
    "compare",
    "model_error",
    "output",
    "coupling.max_corrections",
    "coupling.correction_tolerance",
    "potential.device",
)
"""Keys and sections that a run which goes on may have otherwise."""

LISTS = ("load.K", "load.steps")
"""Lists of load steps: what comes after the finished ones may be changed."""


def read_state(
    directory: Path, case_file: str | None, overrides: Sequence[str], comm: MPI.Comm
) -> tuple[Case, Checkpoint]:
    """Read what a run left, and the case to go on with. Collective.

    A last load step that did not converge counts as unfinished: it is continued.

    Args:
        directory: Output folder of the run.
        case_file: Changed input; ``None`` for the one in the checkpoint.
        overrides: Changes to it, each ``"key.path=value"``.
        comm: Ranks that will go on; rank 0 reads.

    Returns:
        ``(case, state)``; the arrays of the state are those read on rank 0, empty elsewhere.

    Raises:
        CaseError: There is nothing to go on from, or what was changed does not fit what is finished.
    """
    found: tuple[Case, Checkpoint] | None = None
    with all_or_none(comm, "reading the checkpoint"):
        if comm.rank == 0:
            state = _reopened(read_checkpoint(directory / CHECKPOINT))
            found = _case(directory, state, case_file, overrides), state
    light = None if found is None else (found[0], _without_arrays(found[1]))
    case, shared = comm.bcast(light)
    return (case, shared) if found is None else found


def fingerprints(case: Case, comm: MPI.Comm) -> dict[str, str]:
    """SHA-256 of the files that the case names, see ``Checkpoint``. Collective; rank 0 reads."""
    found: dict[str, str] = {}
    with all_or_none(comm, "reading the files of the input"):
        if comm.rank == 0:
            found = {key: digest(path) for key, path in _named_files(case)}
    return dict(comm.bcast(found))


def _case(
    directory: Path, state: Checkpoint, case_file: str | None, overrides: Sequence[str]
) -> Case:
    here = f"output.directory={directory}"
    if case_file is None:
        case = case_from_dict(
            state.case, [*overrides, here], folder=state.folder, source=str(directory / CHECKPOINT)
        )
    else:
        case = load_case(case_file, [*overrides, here])
    problems = [*_changed_files(case, state), *_changed_keys(case, state)]
    if problems:
        raise CaseError(problems, f"{directory}: cannot go on")
    return case


def _changed_files(case: Case, state: Checkpoint) -> Iterator[str]:
    now = dict(_named_files(case))
    for key, before in state.files.items():
        if key not in now:
            yield f"{key}: the file is gone that the run began with; put it back"
        elif digest(now[key]) != before:
            yield f"{key}: {now[key]} is no longer the file that the run began with; put it back, or begin anew"


def _changed_keys(case: Case, state: Checkpoint) -> Iterator[str]:
    old, new = dict(_flat(state.case)), dict(_flat(case.to_dict()))
    same_files = {key.partition(" ")[0] for key in state.files}
    # An iterate inside a load step belongs to its load.
    kept = len(state.steps) + (state.iterations > 0)
    for key in sorted(old.keys() | new.keys()):
        was, wanted = old.get(key), new.get(key)
        if was == wanted or key in same_files or any(_within(key, one) for one in OPEN):
            continue
        if key not in LISTS or not was or not wanted:
            yield f"{key} = {_told(wanted)}: was {_told(was)} and cannot be changed; begin anew, in another folder"
        elif wanted[:kept] != was[:kept]:
            yield (
                f"{key} = {_told(wanted)}: the {kept} load steps that are finished or under way were "
                f"{_told(was[:kept])}; only those after them can be changed"
            )


def _within(key: str, section: str) -> bool:
    return key == section or key.startswith(f"{section}.")


def _told(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_told(one) for one in value)}]"
    return "not given" if value is None else str(value)


def _flat(data: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        elif value is not None:
            yield f"{path}{key}", value


def _named_files(case: Case) -> Iterator[tuple[str, Path]]:
    """Every word of the sections on potential, mesh, continuum and coupling that names a file."""
    data = case.to_dict()
    sections = ("potential", "mesh", "continuum", "coupling")
    for key, value in _flat({name: data[name] for name in sections}):
        for text in value if isinstance(value, list) else [value]:
            for word in text.split() if isinstance(text, str) else ():
                name = word.partition(":")[0]
                if case.path(name).is_file():
                    yield (key if name == value else f"{key} {name}"), case.path(name)


def _reopened(state: Checkpoint) -> Checkpoint:
    if state.iterations or not state.steps or state.steps[-1].converged:
        return state
    *finished, last = state.steps
    return dataclasses.replace(state, steps=tuple(finished), iterations=max(1, last.iterations))


def _without_arrays(state: Checkpoint) -> Checkpoint:
    nothing = np.zeros((0, 3))
    mesh = state.mesh
    if mesh is not None:
        gdim = mesh.gdim
        mesh = MeshData(np.zeros((0, gdim)), np.zeros((0, gdim + 1), dtype=np.int64), {})
    return dataclasses.replace(state, reference=nothing, atoms=nothing, nodes=nothing, mesh=mesh)
