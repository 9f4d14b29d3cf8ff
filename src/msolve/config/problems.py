# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Several problems of one input as one error, on the way through pydantic."""

from __future__ import annotations


class Problems(ValueError):
    """Several problems, each told as ``key.path = value: what would do``."""

    def __init__(self, problems: list[str]) -> None:
        """Keep them apart; ``str`` joins them."""
        self.problems = problems
        super().__init__("; ".join(problems))
