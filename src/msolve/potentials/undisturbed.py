# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Packages of models used without a change to the process that uses them."""

from __future__ import annotations

import io
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import numpy as np
import torch


@contextmanager
def undisturbed() -> Iterator[None]:
    """Use a package without a change to the process.

    The first use of nequip seeds every generator, makes float64 torch's default and sets environment variables;
    loading, there and elsewhere, prints and warns.
    """
    environment = dict(os.environ)
    dtype, state = torch.get_default_dtype(), torch.get_rng_state()
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    sharing = torch.multiprocessing.get_sharing_strategy()
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_rng_state(state)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.multiprocessing.set_sharing_strategy(sharing)
        os.environ.clear()
        os.environ.update(environment)
