# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Importing mace-torch without its training program, its settings of the process, and its messages."""

from __future__ import annotations

import importlib
import importlib.util
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import ModuleType


def import_modules() -> None:
    """Import ``mace.modules``, without the training program that its utilities bring along.

    ``mace.tools`` imports the trainer (torchmetrics, pandas, matplotlib), and that torch's compiler: two thirds of
    the time. Here it runs when somebody asks for what only it has.
    """
    tools = _later("mace.tools", _Tools)
    if tools is None:
        importlib.import_module("mace.modules")
        return
    _later("scipy.signal")  # e3nn plots with it, and it takes a tenth of the time
    compiler = "torch._dynamo"
    if compiler not in sys.modules:
        sys.modules[compiler] = None  # type: ignore[assignment]  # mace does without
    try:
        importlib.import_module("mace.modules")
    finally:
        if sys.modules.get(compiler, tools) is None:
            del sys.modules[compiler]


class _Later(ModuleType):
    """A module whose own code has not run; it does when something of it is first asked for."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]
        assert self.__spec__ is not None and self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


class _Tools(_Later):
    """The package ``mace.tools``."""

    def __getattr__(self, name: str) -> object:
        if not name.startswith("__"):
            small = importlib.import_module("mace.tools.torch_tools")  # all that mace.modules asks
            if hasattr(small, name):
                return getattr(small, name)
        return super().__getattr__(name)


def _later(name: str, sort: type[_Later] = _Later) -> ModuleType | None:
    """Put a module in the list of those imported without running it; ``None`` if it is there or nowhere."""
    spec = importlib.util.find_spec(name)
    if spec is None or name in sys.modules:
        return None
    module = importlib.util.module_from_spec(spec)
    module.__class__ = sort
    parent, _, child = name.rpartition(".")
    sys.modules[name] = module
    setattr(sys.modules[parent], child, module)
    return module


@contextmanager
def quiet_import() -> Iterator[None]:
    """Import mace and e3nn, and read their pickles, without a change to the process.

    e3nn 0.4.4 needs torch's safe loading switched off by an environment variable, which mace sets
    for good; both log to the root logger, which would install a handler there; mace prints.
    """
    variable = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    root, silent = logging.getLogger(), logging.NullHandler()
    root.addHandler(silent)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(silent)
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before
