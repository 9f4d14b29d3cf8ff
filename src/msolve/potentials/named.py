# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Classes and functions that an input names: ``module:name`` or ``file.py:name``, the name with dots for a method."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msolve.errors import CaseError


def made_by_name(where: str, arguments: Mapping[str, Any], folder: Path, key: str) -> Any:
    """What a class or function that the input names returns.

    Args:
        where: ``module:name``, or ``file.py:name`` relative to ``folder``; ``Class.method`` is a name, too.
        arguments: What it is called with. A word that names a file in ``folder`` is made an absolute path.
        folder: Where relative file names start from.
        key: Where in the input it is named, for messages.

    Raises:
        CaseError: There is no such module, file or name, or it does not take the arguments.
    """
    make = found_by_name(where, folder, key)
    placed = {name: _placed(value, folder) for name, value in arguments.items()}
    try:
        return make(**placed)
    except Exception as error:  # a program of the user's may raise anything
        said = f"{type(error).__name__}: {error}"
        raise CaseError([f"{key} = {where}: cannot be made: {said}"]) from error


def found_by_name(where: str, folder: Path, key: str) -> Callable[..., Any]:
    """The class or function itself; arguments and errors as for :func:`made_by_name`."""
    place, _, name = where.rpartition(":")
    key = f"{key} = {where}"
    if not place or not name:
        raise CaseError([f"{key}: needs module:name or file.py:name"])
    try:
        if place.endswith(".py"):
            path = (folder / place).resolve()
            if not path.is_file():
                raise CaseError([f"{key}: there is no file {path}"])
            spec = importlib.util.spec_from_file_location(f"_msolve_{path.stem}", path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
    except CaseError:
        raise
    except Exception as error:  # a file of the user's may raise anything
        raise CaseError([f"{key}: {type(error).__name__}: {error}"]) from error
    made: Any = module
    for part in name.split("."):
        made = getattr(made, part, None)
    if not callable(made):
        raise CaseError([f"{key}: {place} has no class or function {name}"])
    return made


def _placed(value: Any, folder: Path) -> Any:
    if isinstance(value, str) and value and (folder / value).is_file():
        return str((folder / value).resolve())
    return value
