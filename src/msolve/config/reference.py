# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The input reference, written from the input model itself so that it cannot go out of date."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from msolve.config.case import Case
from msolve.config.handshakes import HandshakeTraining
from msolve.config.laws import LawTraining
from msolve.config.loading import choices_of, sections_in
from msolve.config.quantities import Accepts
from msolve.config.sections import Section
from msolve.config.training import Training
from msolve.units import GRADIENT, LENGTH, STRAIN, STRESS_INTENSITY

_INTRODUCTION = f"""\
# Input reference

<!-- Written by `python -m msolve.config`; edit the descriptions in src/msolve/config instead. -->

An input is one YAML file. `msolve CASE.yaml` runs it, `msolve check CASE.yaml` validates it, and
`--set key.path=value` changes one key for one run.

- Unknown keys, keys given twice and numbers that are not finite are errors. All problems of a file
  are listed at once.
- Quantities carry their unit: lengths `{LENGTH.example}` ({{lengths}}), stress intensities
  `{STRESS_INTENSITY.example}` ({{intensities}}) or, in multiples of Griffith's value for the
  potential in use, `1.05 K_G`, energy gradients `{GRADIENT.example}` ({{gradients}}). Strains are
  plain numbers or `{STRAIN.example}`. A zero coordinate needs no unit.
- Axes, signs and norms are defined in [conventions](conventions.md).
- Names of files are relative to the input file, the output folder to where the command runs.
"""

_TRAINING = """\
# Training a potential

The input of `msolve train potential TRAINING.yaml` ([how](howto-train.md)). The same rules hold.
"""

_LAW = """\
# Training a law

The input of `msolve train law TRAINING.yaml` ([how](howto-train.md#a-learned-cauchy-born-law)). The same rules hold.
"""

_HANDSHAKE = """\
# Training a handshake

The input of `msolve train handshake TRAINING.yaml` ([how](handshake.md#training)). The same rules hold.
"""

_OF_A_DECK = "A potential, given as the section `potential` of a deck. Must be given."


def reference() -> str:
    """The page ``docs/input-reference.md``."""
    units = {
        "lengths": ", ".join(unit for unit in LENGTH.units if unit.isascii()),
        "intensities": ", ".join(unit for unit in STRESS_INTENSITY.units if unit.isascii()),
        "gradients": ", ".join(unit for unit in GRADIENT.units if unit.isascii()),
    }
    parts = [_INTRODUCTION.format(**units)]
    plain = [(name, entry) for name, entry in Case.model_fields.items() if not _inner(entry)]
    parts.append("## At the top\n\n" + _table(_rows(plain, "")))
    for name, entry in Case.model_fields.items():
        parts += _sections(name, entry)
    parts += _training_page(_TRAINING, Training, "training", "reference")
    parts += _training_page(_LAW, LawTraining, "law", "potential")
    parts += _training_page(_HANDSHAKE, HandshakeTraining, "handshake", "potential")
    return "\n".join(parts)


def _training_page(
    heading: str, model: type[Section], before: str, potential: str
) -> Iterator[str]:
    """One kind of training; its key ``potential`` is a section of a deck."""
    yield heading
    plain = [(name, entry) for name, entry in model.model_fields.items() if not _inner(entry)]
    yield f"## {before}: at the top\n\n" + _table(_rows(plain, ""))
    for name, entry in model.model_fields.items():
        if name == potential:
            yield f"## {before}: {name}\n\n{_OF_A_DECK}\n"
        else:
            yield from _sections(name, entry, f"{before}: ")


def _sections(name: str, entry: FieldInfo, before: str = "") -> Iterator[str]:
    choices = _inner(entry)
    for section in choices:
        kind = section.model_fields["kind"].annotation if len(choices) > 1 else None
        kinds = " or ".join(f"`kind: {word}`" for word in get_args(kind))
        heading = f"## {before}{name}" + (f" with {kinds}" if kinds else "")
        need = "" if not entry.is_required() else " Must be given."
        about = " ".join((section.__doc__ or "").split())
        yield f"{heading}\n\n{about}{need}\n\n{_table(_all_rows(section, f'{name}.'))}"


def _all_rows(section: type[Section], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """Rows of a section and of the sections inside it, in order."""
    for name, entry in section.model_fields.items():
        inner = _inner(entry)
        if prefix == "model." and name == "potential":
            need, about = "must be given", entry.description or ""
            yield f"`{prefix}{name}`", "section `potential` of a deck", need, about
            continue
        if not inner:
            yield from _rows([(name, entry)], prefix)
            continue
        listed = get_origin(_without_none(entry.annotation)) is tuple
        for one in inner:
            for key, value, default, meaning in _all_rows(
                one, f"{prefix}{name}{'[]' if listed else ''}."
            ):
                only = f"{choices_of(one)[0]}: " if len(inner) > 1 else ""
                yield key, value, default, only + meaning


def _rows(entries: list[tuple[str, FieldInfo]], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, entry in entries:
        yield (
            f"`{prefix}{name}`",
            _words(entry.annotation, entry.metadata),
            _default(entry),
            entry.description or "",
        )


def _table(rows: Iterator[tuple[str, str, str, str]]) -> str:
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _inner(entry: FieldInfo) -> list[type[Section]]:
    return sections_in(entry.annotation)


def _words(annotation: Any, metadata: list[Any]) -> str:
    """What a field takes, in words."""
    told = [one.words for one in metadata if isinstance(one, Accepts)]
    if told:
        return told[0]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if hasattr(annotation, "__metadata__"):
        return _words(annotation.__origin__, list(annotation.__metadata__))
    parts = [part for part in get_args(annotation) if part not in (NoneType, Ellipsis)]
    if get_origin(annotation) is tuple:
        same = len(set(map(str, parts))) == 1
        return f"list of: {_words(parts[0], [])}" if same and len(parts) == 1 else "three numbers"
    if parts:
        return " or ".join(_words(part, []) for part in parts)
    names = {bool: "`true`, `false`", int: "integer", float: "number", str: "text"}
    return _bounded(names[annotation], metadata)


def _bounded(name: str, metadata: list[Any]) -> str:
    limits = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [
        f"{sign} {getattr(one, key):g}"
        for one in metadata
        for key, sign in limits.items()
        if isinstance(getattr(one, key, None), (int, float))
    ]
    return f"{name} {', '.join(found)}".strip()


def _without_none(annotation: Any) -> Any:
    parts = [part for part in get_args(annotation) if part is not NoneType]
    return parts[0] if NoneType in get_args(annotation) else annotation


def _default(entry: FieldInfo) -> str:
    if entry.default is PydanticUndefined:
        return "must be given"
    if entry.default is None:
        return ""
    words = _words(entry.annotation, entry.metadata)
    if isinstance(entry.default, bool):
        return f"`{str(entry.default).lower()}`"
    if isinstance(entry.default, float) and words.startswith("length"):
        return f"`{entry.default:g} {LENGTH.base}`"
    if isinstance(entry.default, float) and words.startswith("energy gradient"):
        return f"`{entry.default:g} {GRADIENT.base}`"
    if isinstance(entry.default, float):
        return f"`{entry.default:g}`"
    if isinstance(entry.default, tuple):
        return f"`[{', '.join(f'{x:g}' for x in entry.default)}]`" if entry.default else ""
    return f"`{entry.default}`" if entry.default != {} else ""
