# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""From a YAML file to a ``Case``, or to one error that holds every problem of the file.

What pydantic reports is told again in the words of the input: path of the key, what was found, what
would do.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from msolve.config.case import Case
from msolve.config.handshakes import HandshakeTraining
from msolve.config.laws import LawTraining
from msolve.config.problems import Problems
from msolve.config.sections import Section
from msolve.config.training import Training
from msolve.errors import CaseError

Input = TypeVar("Input", Case, Training, LawTraining, HandshakeTraining)

_KINDS = {
    "bool": "true or false",
    "int": "an integer",
    "float": "a number",
    "string": "text",
    "tuple": "a list",
    "model": "a section with keys",
    "dict": "a section with keys",
}


def load_case(path: str | Path, overrides: Sequence[str] = ()) -> Case:
    """Read an input file. Rank-local; reads the file and looks for the files it names.

    Args:
        path: YAML file.
        overrides: Changes to it, each ``"key.path=value"`` with the value in YAML.

    Raises:
        CaseError: The file cannot be read, or holds what cannot be run. All problems are listed.
    """
    data = _mapping(path, "crystal, potential, domain, load")
    if _of_training(data):
        problem = f"is the input of a training; msolve train potential {Path(path).name} runs it"
        raise CaseError([problem], Path(path).name)
    return case_from_dict(data, overrides, folder=Path(path).parent, source=Path(path).name)


def load_training(path: str | Path, overrides: Sequence[str] = ()) -> Training:
    """Read the input of ``msolve train potential``; arguments and errors as for :func:`load_case`."""
    data = _mapping(path, "crystal, reference, data, model")
    if "load" in data and not _of_training(data):
        problem = f"is the input of a run, not of a training; msolve {Path(path).name} runs it"
        raise CaseError([problem], Path(path).name)
    return training_from_dict(data, overrides, folder=Path(path).parent, source=Path(path).name)


def load_law_training(path: str | Path, overrides: Sequence[str] = ()) -> LawTraining:
    """Read the input of ``msolve train law``; arguments and errors as for :func:`load_case`."""
    data = _mapping(path, "crystal, potential, law")
    if "load" in data:
        problem = f"is the input of a run, not of a training; msolve {Path(path).name} runs it"
        raise CaseError([problem], Path(path).name)
    folder, source = Path(path).parent, Path(path).name
    return _validated(LawTraining, data, overrides, folder, source)


def load_handshake_training(path: str | Path, overrides: Sequence[str] = ()) -> HandshakeTraining:
    """Read the input of ``msolve train handshake``; arguments and errors as for :func:`load_case`."""
    data = _mapping(path, "deck, specimens, operator")
    if "load" in data:
        problem = f"is the input of a run, not of a training; msolve {Path(path).name} runs it"
        raise CaseError([problem], Path(path).name)
    folder, source = Path(path).parent, Path(path).name
    return _validated(HandshakeTraining, data, overrides, folder, source)


def what_it_trains(path: str | Path) -> str | None:
    """What an input is for training, ``potential``, ``law`` or ``handshake``; ``None`` for that of a run.

    Errors as for :func:`load_case`.
    """
    data = _mapping(path, "crystal, potential, domain, load")
    if not _of_training(data):
        return None
    return "handshake" if "deck" in data else "law" if "law" in data else "potential"


def _of_training(data: Mapping[str, Any]) -> bool:
    return any(key in data for key in ("data", "law", "deck")) and "load" not in data


def _mapping(path: str | Path, keys: str) -> dict[str, Any]:
    """What the YAML file says, with its own name as the default of ``name``."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CaseError(["no such file"], str(path)) from None
    except IsADirectoryError:
        raise CaseError(["is a folder; needs an input file"], str(path)) from None
    except OSError as error:
        raise CaseError([f"cannot be read: {error.strerror}"], str(path)) from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise CaseError([f"line {line}: not UTF-8 text; save it as UTF-8"], path.name) from None
    data, problems = _read_yaml(text)
    if problems:
        raise CaseError(problems, path.name)
    if not isinstance(data, dict):
        raise CaseError([f"needs keys such as {keys}"], path.name)
    data.setdefault("name", path.stem)
    return data


def case_from_dict(
    data: Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    folder: str | Path = ".",
    source: str = "case",
) -> Case:
    """Make a ``Case`` from the mapping that a YAML file holds, or from ``Case.to_dict()``.

    Args:
        data: Keys and values; quantities as text with units.
        overrides: Changes to them, each ``"key.path=value"`` with the value in YAML.
        folder: Where relative file names start.
        source: What error messages call the input.

    Raises:
        CaseError: It cannot be run. All problems are listed.
    """
    return _validated(Case, data, overrides, Path(folder), source)


def training_from_dict(
    data: Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    folder: str | Path = ".",
    source: str = "training",
) -> Training:
    """Make a ``Training`` from a mapping; arguments and errors as for :func:`case_from_dict`."""
    return _validated(Training, data, overrides, Path(folder), source)


def _validated(
    root: type[Input], data: Mapping[str, Any], overrides: Sequence[str], folder: Path, source: str
) -> Input:
    changed = copy.deepcopy(dict(data))
    problems = [problem for change in overrides for problem in _apply(change, changed)]
    if problems:
        raise CaseError(problems, source)
    try:
        return root.model_validate(changed, context={"folder": folder})
    except ValidationError as error:
        problems = [line for one in error.errors() for line in _told(one, root)]
        raise CaseError(dict.fromkeys(problems), source) from None


class _Loader(yaml.SafeLoader):
    """Safe YAML that collects keys given twice, where YAML would silently keep the last.

    Keys are words, also those that YAML takes for true or false.
    """

    def __init__(self, text: str):
        super().__init__(text)
        self.repeated: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in seen:
                self.repeated.append(f"{key}: given twice, in lines {seen[key]} and {line}")
            seen[key] = line
            if key_node.tag == "tag:yaml.org,2002:bool":
                key_node.tag = "tag:yaml.org,2002:str"  # a key is never true: `on` is a word
        return super().construct_mapping(node, deep)


def _read_yaml(text: str) -> tuple[Any, list[str]]:
    loader = _Loader(text)
    try:
        return loader.get_single_data(), loader.repeated
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        return None, [f"{where}not valid YAML: {error.problem or error.context}"]
    except yaml.YAMLError as error:
        return None, [f"not valid YAML: {error}"]
    finally:
        loader.dispose()


def _apply(change: str, data: dict[str, Any]) -> Iterator[str]:
    """Put ``"key.path=value"`` into ``data``; yields what is wrong with it."""
    path, equals, written = change.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        yield f"--set {change}: needs key.path=value"
        return
    value, problems = _read_yaml(written)
    if problems:
        yield f"--set {change}: the value is {problems[0]}"
        return
    place: Any = data
    for key in keys[:-1]:
        if isinstance(place, dict):
            if place.get(key) is None:
                place[key] = {}
            place = place[key]
        elif isinstance(place, list) and key.isdigit() and int(key) < len(place):
            place = place[int(key)]
        else:
            break
    last = keys[-1]
    if isinstance(place, dict):
        place[last] = value
    elif isinstance(place, list) and last.isdigit() and int(last) < len(place):
        place[int(last)] = value
    else:
        yield f"--set {change}: no such key in this file"


def _told(error: Any, root: type[Section]) -> Iterator[str]:
    """One of pydantic's errors in the words of the input; some hold several problems."""
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    path, section = _walk(error["loc"], root)
    cause = context.get("error")
    if isinstance(cause, Problems):
        yield from cause.problems
    elif kind == "extra_forbidden":
        yield f"{path}: no such key; {_nearest_key(path, section, root)}"
    elif kind == "missing":
        yield f"{path}: missing; {_meaning(error['loc'][-1], section)}"
    elif kind == "union_tag_not_found":
        misspelt = difflib.get_close_matches("kind", map(str, found), n=1)
        if misspelt:
            yield f"{path}.{misspelt[0]}: no such key; did you mean 'kind'?"
        else:
            yield f"{path}.kind: missing; one of {', '.join(_kinds(error['loc'], section))}"
    elif kind == "union_tag_invalid":
        choices = [word.strip(" '") for word in context["expected_tags"].split(",")]
        key = "kind" if context["discriminator"] == "'kind'" else "shape"
        yield f"{path}.{key} = {context['tag']}: {_nearest_choice(context['tag'], choices)}"
    elif kind == "literal_error":
        choices = [word.strip(" '") for word in context["expected"].replace(" or ", ",").split(",")]
        yield f"{path} = {_shown(found)}: {_nearest_choice(str(found), choices)}"
    elif cause is not None:
        yield f"{path} = {_shown(found)}: {cause}"
    else:
        yield f"{path} = {_shown(found)}: {_wanted(kind, error['msg'])}"


def sections_in(annotation: Any) -> list[type[Section]]:
    """The section classes that a field's type consists of."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for part in get_args(annotation) for section in sections_in(part)]


def choices_of(section: type[Section]) -> tuple[str, ...]:
    """What the key that tells one section from its alternatives may be in this one."""
    key = next(key for key in ("kind", "shape") if key in section.model_fields)
    return get_args(section.model_fields[key].annotation)


def _walk(loc: Sequence[str | int], root: type[Section]) -> tuple[str, list[type[Section]]]:
    """Path as the user writes it, and the sections that its last key stands in.

    pydantic adds the chosen kind of a section to the path, which no input contains.
    """
    inside: list[type[Section]] = [root]
    here, path = inside, []
    for part in loc:
        fields = {name for section in here for name in section.model_fields}
        if isinstance(part, str) and len(here) > 1 and part not in fields:
            here = [one for one in here if part in choices_of(one)]
            continue
        path.append(str(part))
        if isinstance(part, str):
            inside = here
            here = [
                found
                for section in here
                if part in section.model_fields
                for found in sections_in(section.model_fields[part].annotation)
            ]
    return ".".join(path), inside


def _nearest_key(path: str, inside: Sequence[type[Section]], root: type[Section]) -> str:
    unknown = path.rsplit(".", 1)[-1]
    names = [name for section in inside for name in section.model_fields]
    elsewhere = [known for known in _all_paths(root) if known.rsplit(".", 1)[-1] == unknown]
    if ".".join(key for key in path.split(".") if not key.isdigit()) in elsewhere:
        return f"it belongs to another kind of {path.rsplit('.', 1)[0]}"
    close = difflib.get_close_matches(unknown, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    if elsewhere:
        return f"did you mean {elsewhere[0]!r}?"
    return f"there are {', '.join(dict.fromkeys(names))}"


def _all_paths(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, entry in section.model_fields.items():
        yield prefix + name
        for inner in sections_in(entry.annotation):
            yield from _all_paths(inner, f"{prefix}{name}.")


def _nearest_choice(found: str, choices: Sequence[str]) -> str:
    close = difflib.get_close_matches(found, choices, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"no such choice; {meant}{'one of ' if not close else 'there are '}{', '.join(choices)}"


def _meaning(key: str | int, inside: Sequence[type[Section]]) -> str:
    return (inside[0].model_fields[str(key)].description or "").rstrip(".")


def _kinds(loc: Sequence[str | int], inside: Sequence[type[Section]]) -> list[str]:
    key = next(
        part for part in reversed(loc) if isinstance(part, str)
    )  # entries of lists have numbers
    choices = sections_in(inside[0].model_fields[key].annotation)
    return [kind for one in choices for kind in choices_of(one)]


def _wanted(kind: str, message: str) -> str:
    if kind in ("greater_than_equal", "less_than_equal", "greater_than", "less_than"):
        return message.replace("Input should", "must")
    if kind == "finite_number":
        return "must be a finite number"
    for start, words in _KINDS.items():
        if kind.startswith(start):
            return f"needs {words}"
    return message.replace("Input should", "must")


def _shown(found: object) -> str:
    text = str(found)
    return text if len(text) <= 60 else f"{text[:57]}..."
