# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A clock that runs while a potential works, so that a run can tell how much of its time that was."""

from __future__ import annotations

import time
from types import TracebackType


class Clock:
    """Adds up the wall time of the blocks that it is entered for.

    Attributes:
        seconds: Wall time so far [s].
        busy: Processor time of this process so far [s].
    """

    def __init__(self) -> None:
        self.seconds = self.busy = 0.0
        self._begin = self._spent = 0.0

    def __enter__(self) -> Clock:
        self._begin, self._spent = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds += time.perf_counter() - self._begin
        self.busy += time.process_time() - self._spent
