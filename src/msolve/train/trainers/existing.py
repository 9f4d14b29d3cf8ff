# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A potential that is there already: nothing is trained, only the report is made."""

from __future__ import annotations

from typing import Any

from msolve.config import ExistingModel
from msolve.train.trainers import Task, Trained


def check(given: ExistingModel) -> None:
    """Nothing can be wrong that loading does not find."""


def train(given: ExistingModel, task: Task) -> Trained:
    """The potential's own section."""
    section: dict[str, Any] = given.potential.model_dump(mode="json", exclude_none=True)
    if section.get("file"):
        section["file"] = str((task.source / section["file"]).resolve())
    return Trained(section, {})
