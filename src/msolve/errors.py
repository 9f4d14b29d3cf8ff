# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The errors that msolve raises on purpose; everything else is a bug and keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterable


class MsolveError(Exception):
    """Base of all of them."""


class CaseError(MsolveError):
    """The input cannot be run as it stands. Holds every problem that was found."""

    def __init__(self, problems: Iterable[str], source: str = "input"):
        self.problems = list(problems)
        self.source = source
        n = len(self.problems)
        lines = [f"{source}: {n} problem{'s' if n != 1 else ''}", *(f"  {p}" for p in self.problems)]
        super().__init__("\n".join(lines))


class UnsupportedError(MsolveError):
    """Each part of the input is valid, but not together. The message names an alternative."""


class ConvergenceError(MsolveError):
    """A solver stopped before it reached its tolerance; ``step`` holds what it had by then."""

    def __init__(self, message: str, step: object = None):
        super().__init__(message)
        self.step = step
