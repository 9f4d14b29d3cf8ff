# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What goes in and out: meshes, results, trajectories, pictures, the log of a run.

Plain arrays and plain data in both directions: nothing here knows terms, lifts, solvers or the
input model.
"""
