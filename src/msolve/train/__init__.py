# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Making potentials: cells of a cubic crystal, labelled by a reference, a trainer, a report.

``trainers`` tells how to add a kind of model.
"""

from msolve.train.workflow import train_potential

__all__ = ["train_potential"]
