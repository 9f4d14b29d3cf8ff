# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Handshakes: what atoms know at the border of the continuum and finite elements do not."""
