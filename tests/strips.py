# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Few atoms that are long enough for what a model of several layers sees."""

import numpy as np

LENGTH = 35.0
"""From the first atom of a strip to the last [Å], more than any model in these tests reaches."""


def strip(numbers=(74,), seed=0):
    """A rattled strip of two rows, periodic across: positions, atomic numbers, cell, periodic axes."""
    rng = np.random.default_rng(seed)
    row = np.stack([np.linspace(0, LENGTH, 14), np.zeros(14), np.zeros(14)], 1)
    x = np.concatenate([row, row + np.array([0.0, 2.5, 1.0])]) + rng.normal(scale=0.1, size=(28, 3))
    z = rng.choice(sorted(numbers), len(x))
    return x, z, np.diag([1.0, 1.0, 3.2]), (False, False, True)
