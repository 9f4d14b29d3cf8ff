# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a file or an output folder is, for people: a short table. Reads, and computes nothing."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from rich.console import Console
from rich.table import Table

from msolve.config import (
    load_case,
    load_handshake_training,
    load_law_training,
    load_training,
    what_it_trains,
)
from msolve.errors import CaseError, MsolveError
from msolve.io.checkpoints import CHECKPOINT, read_checkpoint
from msolve.io.fields import INDEX
from msolve.io.meshes import mesh_quality, read_mesh
from msolve.io.result import RESULT, model_error_told
from msolve.potentials import load_potential

Rows = dict[str, str]

KNOWN = (
    "output folders, result.json, checkpoint.h5, fields (.xdmf, .h5), atoms (.extxyz), inputs (.yaml), gmsh "
    "meshes (.msh), potentials (.eam.alloy, .eam.fs, .linear, .sw, .model, .nequip.zip, .ckpt, .pth), "
    "learned handshakes (.pt)"
)

REPORT = "report.json"

STEP = ("step", "load", "iterations", "residual", "lowest λ", "energy [eV]", "converged")


@dataclass(frozen=True)
class About:
    """What is told of a file.

    Attributes:
        kind: What it is.
        rows: What it holds, by name.
        steps: Load steps, each in the columns of ``STEP``.
    """

    kind: str
    rows: Rows
    steps: list[tuple[str, ...]] = field(default_factory=list)


def about(path: Path) -> About:
    """Find out what a file or folder is. Rank-local.

    Models of MACE, NequIP and SevenNet are pickles: looking at one runs code that it contains.

    Raises:
        CaseError: It is missing, damaged, or nothing that msolve knows.
        UnsupportedError: It is a model of a sort that cannot be used.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise CaseError(["no such file"], str(path))
    ending = path.suffix.lower()
    readers: dict[str, Callable[[Path], About]] = {
        ".json": _result,
        ".h5": _hdf5,
        ".xdmf": _index,
        ".extxyz": _atoms,
        ".yaml": _case,
        ".yml": _case,
        ".msh": _mesh,
        ".alloy": lambda path: _potential(path, "eam"),
        ".fs": lambda path: _potential(path, "eam"),
        ".linear": lambda path: _potential(path, "linear"),
        ".sw": lambda path: _potential(path, "sw"),
        ".model": lambda path: _potential(path, "mace"),
        ".ckpt": lambda path: _potential(path, "nequip"),
        ".zip": lambda path: _potential(path, "nequip"),
        ".pth": lambda path: _potential(path, "sevennet"),
        ".pt": _handshake,
    }
    if ending not in readers:
        raise CaseError(
            [f"is nothing that msolve knows by its ending; it knows {KNOWN}"], str(path)
        )
    try:
        return readers[ending](path)
    except MsolveError:
        raise
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise CaseError([f"is damaged, or not what its ending says ({told})"], str(path)) from error
    except ElementTree.ParseError as error:
        raise CaseError([f"is damaged: {error}"], str(path)) from error


def show(path: Path, console: Console) -> None:
    """Print what a file or folder is.

    Raises:
        CaseError, UnsupportedError: As ``about``.
    """
    found = about(path)
    console.print(f"{path}: {found.kind}", style="bold", markup=False, soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in found.rows.items():
        table.add_row(f"  {name}", value)
    console.print(table)
    if found.steps:
        steps = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 1))
        for name in STEP:
            steps.add_column(name, justify="right", no_wrap=True)
        for step in found.steps:
            steps.add_row(*step, style="" if step[-1] == "yes" else "yellow")
        console.print(steps)


def _folder(path: Path) -> About:
    there = [name for name in (RESULT, CHECKPOINT, INDEX, REPORT) if (path / name).is_file()]
    if not there:
        raise CaseError(
            [f"a folder without {RESULT} and {CHECKPOINT}: no output of msolve, or none yet"],
            str(path),
        )
    rows: Rows = {}
    steps: list[tuple[str, ...]] = []
    for name in there:
        part = about(path / name)
        rows |= {key: value for key, value in part.rows.items() if key not in rows}
        steps = steps or part.steps
    files = [one for one in path.rglob("*") if one.is_file() and not one.name.startswith(".")]
    size = sum(one.stat().st_size for one in files)
    rows["files"] = f"{len(files)}, {size / 1e6:.1f} MB"
    left = [one for one in path.rglob(".unfinished-*")]
    if left:
        rows["unfinished"] = (
            f"{len(left)} hidden files of a write that was cut short; can be deleted"
        )
    return About("output folder", rows, steps)


def _result(path: Path) -> About:
    data = json.loads(path.read_text(encoding="utf-8"))
    if "test_errors_rms" in data:
        return _training_report(data)
    if "residual" in data:
        return _handshake(path)
    case, steps = data["case"], data["steps"]
    status = data["status"]
    if status == "running":
        status = f"running, or stopped; msolve restart {path.parent} goes on"
    seconds = sum(data["seconds"].values())
    seconds += sum(sum(step["seconds"].values()) for step in steps)
    rows = {"status": status, **_of_case(case), "load steps": _progress(case, len(steps))}
    if steps:
        last = steps[-1]
        rows["size"] = (
            f"{last['free_atoms']} free atoms, {last['mesh_nodes']} mesh nodes, {last['unknowns']} unknowns"
        )
        told = last.get("estimate")
        if told is not None:
            rows["estimated error"] = (
                f"{told['total_h1']:.3g} Å in all, {told['tip_h1']:.2g} Å near the defect (H1 norm)"
            )
        certificate = last.get("certificate")
        if certificate is not None:
            rows["certificate"] = certificate["statement"]
        for name, one in (last.get("quantities") or {}).items():
            rows[name] = quantity_told(one)
        if last.get("model_error") is not None:
            rows["potential's error"] = model_error_told(last["model_error"])
    if data["comparison"] is not None:
        error = data["comparison"]
        rows["error"] = (
            f"{error['total_h1']:.3g} Å in all, {error['tip_h1']:.2g} Å near the defect (H1 norm), "
            f"against {error['atomistic_atoms']} atoms"
        )
    rows["time"] = f"{seconds:.1f} s on {_ranks(data['ranks'])}"
    rows["msolve"] = data["versions"]["msolve"]
    return About("result of a run", rows, [_step(step) for step in steps])


def quantity_told(one: Mapping[str, Any]) -> str:
    """A quantity of a load step in words."""
    line = f"{one['value']:.6g} {one['unit']}"
    if one["expected"] is None:
        return line if one["meant"] == "computed" else f"{line}, nothing known of the full model's"
    if one["interval"] is None:
        return f"{line}, full model about {one['expected']:.6g}"
    low, high = one["interval"]
    return f"{line}, full model {one['expected']:.6g} ± {(high - low) / 2:.1g} ({one['meant']})"


def _training_report(data: Mapping[str, Any]) -> About:
    errors, size = data["test_errors_rms"]["all"], data["sets"]
    given = data["input"]["crystal"]
    rows = {
        "model": data["model"],
        "reference": data["reference"],
        "crystal": f"{given['structure']} {given['element']}",
        "trained on": f"{size['train']['cells']} cells, {size['train']['atoms']} atoms",
        "errors": f"{errors['energy']:.2g} meV/atom, {errors['forces']:.3g} meV/Å, {errors['stress']:.2g} GPa rms "
        f"on {errors['cells']} test cells",
    }
    if data["input"]["model"]["kind"] == "existing":
        del rows["trained on"]
    return About("report on a potential", rows)


def _handshake(path: Path) -> About:
    """A learned handshake, by its card, or the report of its training."""
    if path.suffix == ".pt":
        from msolve.handshake.operator import load_flank_model  # torch takes its time

        card = load_flank_model(path, "the file").card
    else:
        card = json.loads(path.read_text(encoding="utf-8"))
    planes = {axis: " ".join(map(str, card["orientation"][axis])) for axis in ("x2", "x3")}
    rows = {
        "crystal": f"{card['structure']} {card['element']}, a = {card['lattice_constant']:.4f} Å",
        "crack": f"plane ({planes['x2']}), front [{planes['x3']}]",
        "potential": card["potential"],
        "trained on": f"cracks of {card['radius']:g} Å at {card['K'][0]:g} to {card['K'][1]:g} K_G, K_II up to "
        f"{card['shear']:g} K_I",
    }
    for degree, left in card["residual"].items():
        rows[f"degree {degree}"] = (
            f"{100 * left['validation']:.2g} % of the slab's residual left on {left['kept']} specimens for validation"
        )
    return About("learned handshake", rows)


def _step(step: Mapping[str, Any]) -> tuple[str, ...]:
    def number(key: str, how: str) -> str:
        value = step.get(key)
        return "" if value is None or math.isnan(value) else format(value, how)

    unit = {"1": "", "MPa*m^0.5": "MPa√m"}.get(step["load_unit"], step["load_unit"])
    return (
        str(step["index"]),
        f"{step['load']:.4g} {unit}".rstrip(),
        str(step["iterations"]),
        number("residual_norm", ".1e"),
        number("lowest_eigenvalue", ".3f"),
        number("energy", ".6f"),
        "yes" if step["converged"] else "no",
    )


def _of_case(case: Mapping[str, Any]) -> Rows:
    crystal, potential, load = case["crystal"], case["potential"], case["load"]
    what = crystal.get("element") or ", ".join(crystal.get("elements") or ())
    source = next(
        (
            potential[key]
            for key in ("file", "calculator", "model", "pair_style")
            if potential.get(key)
        ),
        "",
    )
    return {
        "name": case["name"],
        "crystal": f"{crystal['structure']} {what}",
        "potential": f"{potential['kind']} {source}".rstrip(),
        "method": case["coupling"]["method"],
        "defect": case["defect"]["kind"],
        "load": load["kind"],
    }


def _progress(case: Mapping[str, Any], done: int) -> str:
    load = case["load"]
    return f"{done} of {len(load.get('K') or load.get('steps') or [1.0])}"


def _ranks(n: int) -> str:
    return f"{n} rank{'s' if n > 1 else ''}"


def _hdf5(path: Path) -> About:
    with h5py.File(path) as file:
        kind, names = file.attrs.get("kind"), set(file)
        if kind == "msolve checkpoint":
            return _checkpoint(path)
        sizes = {name: " x ".join(str(n) for n in file[name].shape) for name in sorted(names)}
        if names == {"points", "cells"}:
            points = file["points"][:]
            sizes["extent"] = " x ".join(f"{x:.1f}" for x in np.ptp(points, axis=0)) + " Å"
            return About("mesh of the fields of a run", sizes)
        if names >= {"displacement", "stress_GPa", "beta"}:
            largest = np.linalg.norm(file["displacement"][:], axis=1).max(initial=0.0)
            sizes["largest"] = f"displacement {largest:.4g} Å"
            return About(f"fields of a load step; open ../{INDEX} in ParaView", sizes)
    raise CaseError(["is an HDF5 file, but none of msolve"], str(path))


def _checkpoint(path: Path) -> About:
    state = read_checkpoint(path)
    done = len(state.steps)
    rows = {**_of_case(state.case), "load steps": f"{_progress(state.case, done)} finished"}
    rows["checkpoint"] = f"within load step {done}" if state.iterations else "between load steps"
    if state.iterations:
        rows["checkpoint"] += f", after {state.iterations} iterations"
    rows["size"] = (
        f"{len(state.atoms)} atoms, {len(state.nodes)} mesh nodes, {state.n_unknowns} unknowns"
    )
    rows["written"] = f"by msolve {state.version} on {_ranks(state.n_ranks)}"
    rows["input from"] = state.folder
    for key, digest in state.files.items():
        rows[key] = f"SHA-256 {digest[:16]}..."
    rows["to go on"] = f"msolve restart {path.parent}"
    return About("checkpoint of a run", rows, [_step(vars(step)) for step in state.steps])


def _index(path: Path) -> About:
    grids = ElementTree.parse(path).getroot().findall(".//Grid[@GridType='Uniform']")
    times = [float(grid.find("Time").get("Value")) for grid in grids]  # type: ignore[union-attr, arg-type]
    items = {
        item.text.split(":/")[0] for item in ElementTree.parse(path).iter("DataItem") if item.text
    }
    missing = sorted(name for name in items if not (path.parent / name).is_file())
    if missing:
        raise CaseError([f"names files that are not there: {', '.join(missing)}"], str(path))
    rows = {"times": ", ".join(f"{time:.4g}" for time in times) or "none yet"}
    if grids:
        topology = grids[0].find("Topology")
        assert topology is not None
        rows["elements"] = f"{topology.get('NumberOfElements')} {topology.get('TopologyType')}"
        names = [str(one.get("Name")) for one in grids[0].findall("Attribute")]
        rows["fields"] = ", ".join(names)
    return About("fields of a run, for ParaView", rows)


def _atoms(path: Path) -> About:
    import ase.io

    atoms = ase.io.read(path)
    elements, counts = np.unique(atoms.get_chemical_symbols(), return_counts=True)
    rows = {
        "atoms": ", ".join(f"{n} {e}" for e, n in zip(elements, counts, strict=True)),
        "periodic along": ", ".join(f"x{k + 1}" for k in range(3) if atoms.pbc[k]) or "nothing",
        "columns": ", ".join(sorted(set(atoms.arrays) - {"numbers"})),
    }
    rows |= {key: str(value) for key, value in atoms.info.items()}
    return About("atoms of a load step", rows)


def _case(path: Path) -> About:
    trains = what_it_trains(path)
    if trains == "handshake":
        shake = load_handshake_training(path)
        rows = {"deck": shake.deck, "specimens": str(shake.specimens.count)}
        rows["output"] = str(shake.output_directory)
        return About("input of a training; msolve train handshake runs it", rows)
    if trains == "law":
        law = load_law_training(path)
        rows = {"crystal": f"{law.crystal.structure} {law.crystal.element}"}
        rows |= {"potential": law.potential.kind, "output": str(law.output_directory)}
        return About("input of a training; msolve train law runs it", rows)
    if trains == "potential":
        given = load_training(path)
        cells = sum(getattr(kind, "count", 0) for kind in given.data.cells)
        rows = {
            "crystal": f"{given.crystal.structure} {given.crystal.element}",
            "reference": given.reference.kind,
            "cells": f"{cells} of {len(given.data.cells)} kinds",
            "model": given.model.kind,
            "output": str(given.output_directory),
        }
        return About("input of a training; msolve train potential runs it", rows)
    case = load_case(path)
    data = case.to_dict()
    rows = {**_of_case(data), "load steps": _progress(data, 0).removeprefix("0 of ")}
    rows["output"] = str(case.output_directory)
    return About("input; msolve check tells its size", rows)


def _mesh(path: Path) -> About:
    mesh = read_mesh(path)
    quality = mesh_quality(mesh)
    low, high = mesh.points.min(axis=0), mesh.points.max(axis=0)
    kind = "triangles" if mesh.gdim == 2 else "tetrahedra"
    rows = {
        "size": f"{len(mesh.points)} nodes, {len(mesh.cells)} {kind}",
        "extent": ", ".join(f"{a:.4g} to {b:.4g}" for a, b in zip(low, high, strict=True)),
        "edges": f"{quality.shortest_edge:.3g} to {quality.longest_edge:.3g}",
        "smallest angle": f"{quality.smallest_angle:.1f} degrees",
    }
    return About("mesh", rows | dict(_tags(mesh.node_tags, mesh.cell_tags)))


def _tags(nodes: Mapping[str, Any], cells: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "boundary tags", ", ".join(f"{k} ({len(v)} nodes)" for k, v in nodes.items()) or "none"
    if cells:
        yield "volume tags", ", ".join(f"{k} ({len(v)} cells)" for k, v in cells.items())


def _potential(path: Path, kind: str) -> About:
    from ase.data import chemical_symbols

    model = load_potential(path, kind)
    rows = {
        "elements": ", ".join(chemical_symbols[z] for z in sorted(model.numbers)),
        "cutoff": f"{model.cutoff:.4g} Å",
        "layers": str(model.layers),
        "reach": f"{model.reach:.4g} Å: how far a site energy looks",
        "in the input": f"potential: {{kind: {kind}, file: {path.name}}}",
    }
    names = {
        "eam": "EAM table",
        "linear": "linear potential",
        "sw": "Stillinger-Weber file",
        "mace": "MACE model",
        "nequip": "NequIP or Allegro model",
        "sevennet": "SevenNet model",
    }
    return About(names[kind], rows)
