# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Making potentials and laws: what a reference says of strained and broken crystals, a trainer, a report.

``trainers`` tells how to add a kind of model.
"""

from msolve.train.law import train_law
from msolve.train.workflow import train_potential

__all__ = ["train_law", "train_potential"]
