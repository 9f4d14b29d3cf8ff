# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The laws of every potential in the table of docs/potentials.md, as its deck loads it; an environment has some."""

import sys
from pathlib import Path

import numpy as np
import pytest

from msolve.errors import CaseError, UnsupportedError
from msolve.potentials.protocol import ForceModel
from msolve.testing import Tolerances, check_potential

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from models import MODELS, rattled

pytestmark = [pytest.mark.models, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SINGLE = Tolerances(step=5e-3, gradient=1e-2, hessian=5e-2, exact=1e-4, jump=1e-4)
ACCEPT = {
    "MACE, float32 (W)": SINGLE,
    "SevenNet-0, float32 (W)": SINGLE,
    # Its coupling coefficients are stored in float32.
    "SevenNet-0, sevenn (W)": Tolerances(exact=1e-6),
    "CHGNet by its calculator (Ca)": Tolerances(hessian=1e-4),
    # Large coefficients cancel; differences see what is left of the digits.
    "GAP, quippy (W)": Tolerances(exact=1e-8, gradient=1e-4, hessian=3e-4),
}
"""What is accepted of a row where it is not the usual."""


@pytest.mark.parametrize("given", MODELS, ids=lambda given: given.name)
def test_laws(given):
    try:
        model, oriented = given.loaded()
    except (UnsupportedError, CaseError) as error:
        if isinstance(error, CaseError) and "No module named" not in str(error):
            raise
        pytest.skip(f"in another environment: {error}")
    crystal = oriented.crystal
    # A strip so long that some atoms see nothing of each other, also by way of the next period.
    seen = 4 * model.cutoff if isinstance(model, ForceModel) else 1.02 * model.reach
    height = 1 / np.linalg.norm(np.linalg.inv(crystal.cell)[:, 0])
    repeat = (int(np.ceil((seen + 1.0) / height)) + 1, 2, 1)
    rng = np.random.default_rng(1)
    x, numbers, cell = rattled(crystal, repeat, 0.05, rng)
    check_potential(model, x, numbers, cell, [True] * 3, rng, ACCEPT.get(given.name, Tolerances()))
