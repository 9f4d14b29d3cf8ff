# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Quantities of interest: numbers of a coupled solution, and what the full atomistic model would give for them."""
