# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""How far a coupled solution is from that of the full atomistic model, without solving that."""

from msolve.estimate.enriched import no_sample
from msolve.estimate.exhaustive import Estimator
from msolve.estimate.indicators import Indicators, Locator
from msolve.estimate.law import law_error
from msolve.estimate.numbers import Estimate, Places
from msolve.estimate.sampled import Sampled

__all__ = [
    "Estimate",
    "Estimator",
    "Indicators",
    "Locator",
    "Places",
    "Sampled",
    "law_error",
    "no_sample",
]
