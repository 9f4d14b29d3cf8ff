# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Certificates: that the full atomistic model has one equilibrium within a ball around a computed state, and why."""
