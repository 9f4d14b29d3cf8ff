# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Making potentials, laws and handshakes: what a reference says of strained and broken crystals, a trainer, a report.

``trainers`` tells how to add a kind of model.
"""

from msolve.train.handshake import train_handshake
from msolve.train.law import train_law
from msolve.train.workflow import train_potential

__all__ = ["train_handshake", "train_law", "train_potential"]
