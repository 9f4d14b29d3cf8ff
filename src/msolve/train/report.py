# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a training leaves to read: ``report.json``, ``report.md`` and pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msolve.io.files import write_whole
from msolve.train.comparison import UNITS
from msolve.train.pictures import draw_parity, draw_phonons


def write_report(folder: Path, report: dict[str, Any], pairs: dict[str, Any]) -> None:
    """Write a report.

    Args:
        folder: Where to.
        report: Everything in numbers, see ``workflow``.
        pairs: Values behind the errors, for the picture.

    Raises:
        OutputError: A file cannot be written.
    """
    text = json.dumps(report, indent=1, ensure_ascii=False)
    write_whole(folder / "report.json", (text + "\n").encode())
    write_whole(folder / "report.md", (as_text(report) + "\n").encode())
    names = (report["model"], report["reference"])
    draw_parity(folder / "parity.png", pairs, report["test_errors_rms"], names)
    if report["phonons"] is not None:
        draw_phonons(folder / "phonons.png", report["phonons"], names)


def as_text(report: dict[str, Any]) -> str:
    """A report as Markdown."""
    sections = (_head, _errors, _properties, _phonons, _rounds, _end)
    return "\n".join(line for section in sections for line in section(report)).rstrip()


def _head(report: dict[str, Any]) -> Iterator[str]:
    yield f"# {report['model']} against {report['reference']}"
    yield ""
    facts = [f"{report['parameters']} parameters"] if report.get("parameters") else []
    if report["bytes"]:
        facts += [f"{report['bytes'] / 1000:.0f} kB", f"SHA-256 `{report['sha256']}`"]
    made = ", ".join(f"{name} {version}" for name, version in report.get("made_with", {}).items())
    facts += [f"made with {made}"] if made else []
    if facts:
        yield f"`{report['model']}`: {', '.join(facts)}."
        yield ""
    sizes = {name: f"{s['cells']} cells ({s['atoms']} atoms)" for name, s in report["sets"].items()}
    if report["input"]["model"]["kind"] == "existing":
        yield f"Nothing was trained here. Compared on {sizes['test']}."
    else:
        yield f"Sets: {', '.join(f'{size} {name}' for name, size in sizes.items())}."
        spent = ", ".join(f"{name} {value:.3g} s" for name, value in report["seconds"].items())
        yield f"Wall time: {spent}."
    for which, speed in report["atoms_per_second"].items():
        if speed is not None:
            yield (
                f"Speed of the {which}: {speed:.3g} atoms per second of process time (energy, forces and stress of "
                "some 2000 atoms, neighbour search included)."
            )
    yield ""


def _errors(report: dict[str, Any]) -> Iterator[str]:
    yield "## Root-mean-square errors on test cells"
    yield ""
    yield "| kind | cells | energy meV/atom | forces meV/Å | stress GPa |"
    yield "|---|---|---|---|---|"
    for kind, row in report["test_errors_rms"].items():
        yield (
            f"| {kind} | {row['cells']} | {row['energy']:.2f} | {row['forces']:.1f} | {row['stress']:.3f} |"
        )
    yield ""


def _properties(report: dict[str, Any]) -> Iterator[str]:
    yield "## Properties"
    yield ""
    yield (
        "Lattice constant a0 in Å, elastic constants in GPa, relaxed surfaces in J/m², relaxed vacancy in eV, "
        "Griffith's load K_G in MPa√m."
    )
    yield ""
    yield "| property | reference | model | difference |"
    yield "|---|---|---|---|"
    ours = report["properties"]["model"]
    for name, value in report["properties"]["truth"].items():
        other = ours.get(name)
        both = value is not None and other is not None and value != 0
        change = f"{100 * (other / value - 1):+.2f} %" if both else "–"
        yield f"| {name} | {_number(value)} | {_number(other)} | {change} |"
    yield ""


def _phonons(report: dict[str, Any]) -> Iterator[str]:
    phonons = report["phonons"]
    if phonons is None:
        return
    yield "## Phonons"
    yield ""
    yield f"Frequencies in THz at the corners of the path, from a cell of {phonons['cubes']}³ cubes."
    yield ""
    yield "| wave | 2π/a | reference | model |"
    yield "|---|---|---|---|"
    for place, name in phonons["corners"]:
        wave = ", ".join(f"{x:g}" for x in phonons["waves"][place])
        told: list[Callable[..., str] | str] = []
        for which in ("truth", "model"):
            values = phonons[which]
            row = None if values is None else values[place]
            told.append("–" if row is None else ", ".join(f"{x + 0.0:.2f}" for x in row))
        if any(abs(x) > 1e-9 for x in phonons["waves"][place]):
            yield f"| {name} | {wave} | {told[0]} | {told[1]} |"
    yield ""
    if phonons["error_rms"] is not None:
        yield f"Root-mean-square difference over all {len(phonons['waves'])} waves: {phonons['error_rms']:.3f} THz."
    yield ""


def _rounds(report: dict[str, Any]) -> Iterator[str]:
    rounds = report.get("active")
    if not rounds:
        return
    yield "## Active learning"
    yield ""
    yield (
        "Before each round: how much the forces on the core atoms differ within the committee, and how far those on "
        "the inner atoms of the clusters around the most doubtful ones are from the reference's; in meV/Å. The "
        "clusters of the last row were not trained on."
    )
    yield ""
    yield "| rounds | cells | load steps solved | clusters | doubt rms | doubt max | error rms | error max |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rounds:
        numbers = (row[key] for key in ("doubt_rms", "doubt_max", "error_rms", "error_max"))
        counts = f"{row['round']} | {row['cells']} | {row['solved']} | {row['clusters']}"
        yield f"| {counts} | {' | '.join(f'{x:.1f}' for x in numbers)} |"
    yield ""


def _end(report: dict[str, Any]) -> Iterator[str]:
    if report["notes"]:
        yield "## Notes"
        yield ""
        yield from (f"- {note}" for note in report["notes"])
        yield ""
    units = ", ".join(f"{name}: {unit}" for name, unit in UNITS.items())
    yield f"Units in `report.json`: {units}."


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
