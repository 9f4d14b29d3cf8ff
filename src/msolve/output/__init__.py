# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a run leaves behind: fields, atoms and pictures of its load steps. Gathers, then writes; computes no physics."""

from msolve.output.budget import COLUMNS, budget, headline
from msolve.output.drawing import flank_opening, tip_position
from msolve.output.recorder import Recorder, prepare
from msolve.output.step import StepFields, collect

__all__ = [
    "COLUMNS",
    "Recorder",
    "StepFields",
    "budget",
    "collect",
    "flank_opening",
    "headline",
    "prepare",
    "tip_position",
]
