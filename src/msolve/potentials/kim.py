# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Which OpenKIM models are installed on this machine."""

from __future__ import annotations

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
