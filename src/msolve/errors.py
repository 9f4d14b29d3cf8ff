# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The errors that msolve raises on purpose; everything else is a bug and keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterable

UNNAMED = "input"
"""What a ``CaseError`` calls its source where the name of the file is not known."""


class MsolveError(Exception):
    """Base of all of them."""


class CaseError(MsolveError):
    """The input cannot be run as it stands. Holds every problem that was found."""

    def __init__(self, problems: Iterable[str], source: str = UNNAMED) -> None:
        """Build the message: one line per problem, each ``key.path = value: what would do``."""
        self.problems = list(problems)
        self.source = source
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__("\n  ".join([f"{source}: {count}", *self.problems]))


class UnsupportedError(MsolveError):
    """Each part of the input is valid, but not together. The message names an alternative."""


class OutputError(MsolveError):
    """Output could not be written. The message says what, where, and what would do."""


class Interrupted(MsolveError):
    """A signal asked the run to stop; the message says how to go on.

    Attributes:
        signal: Its number.
    """

    def __init__(self, message: str, signal: int) -> None:
        """Keep the signal beside the message."""
        super().__init__(message)
        self.signal = signal


class ConvergenceError(MsolveError):
    """A solver stopped before it reached its tolerance; ``step`` holds what it had by then."""

    def __init__(self, message: str, step: object = None) -> None:
        """Keep the step beside the message."""
        super().__init__(message)
        self.step = step
