# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The KIM library itself: which of its models are installed, and its log."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path


def installed_kim_models() -> list[str]:
    """Names of the portable and simulator models in the folders that the KIM library looks into."""
    folders = [
        Path(base)
        for name in ("KIM_API_PORTABLE_MODELS_DIR", "KIM_API_SIMULATOR_MODELS_DIR")
        for base in os.environ.get(name, "").split(os.pathsep)
        if base
    ]
    for root in (Path("/usr/lib"), Path("/usr/local/lib")):
        folders += [*root.glob("kim-api/*-models"), *root.glob("*/kim-api/*-models")]
    folders += Path.home().glob(".kim-api/*/*-models-dir")
    names = {p.name for folder in folders if folder.is_dir() for p in folder.iterdir()}
    return sorted(name for name in names if not name.startswith("."))


def silence_kim_log() -> None:
    """Keep the KIM library from writing a file ``kim.log`` into the working directory.

    Only where the library goes by its usual name; elsewhere the log stays.
    """
    with contextlib.suppress(OSError, AttributeError, ValueError):
        library = ctypes.CDLL("libkim-api.so.2")
        silent = ctypes.c_int.in_dll(library, "KIM_LOG_VERBOSITY_silent")
        library.KIM_Log_PushDefaultVerbosity(silent)
