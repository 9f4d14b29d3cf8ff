# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The continuum side: the finite element space, the material laws and the assembly of their derivatives."""
