# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""An estimate in words: one line, and a table of what the error consists of and how well each part is known."""

from __future__ import annotations

from msolve.estimate import Estimate

COLUMNS = ("part of the error", "√eV", "standing")
"""Heads of the table."""


def headline(found: Estimate) -> str:
    """An estimate in one line."""
    sure = ", uncertain by a factor of 3"
    if found.contraction is not None:
        sure = f", uncertain by some {100 * max(found.contraction, 0.01):.0f} %"
    seen = ""
    if found.sampling is not None:
        seen = ", from a sample of its atoms"
        if found.kind == "hessian":
            sure = f", standard error of the sample {found.sampling['total_h1_error']:.1g} Å"
    return (
        f"estimated error against the full atomistic model{seen}: {found.total_h1:.3g} Å in all, "
        f"{found.tip_h1:.2g} Å near the defect (H1 norm){sure}"
    )


def budget(found: Estimate) -> list[tuple[str, str, str]]:
    """Rows of the table: part, energy norm, how it is known."""
    rows = []
    if found.energy_norm is not None:
        if found.sampling is not None:
            sure = f"standard error {found.sampling['energy_norm_error']:.1g}"
        else:
            ends = found.energy_bounds or (found.energy_norm, found.energy_norm)
            sure = f"at most {ends[1]:.3g} (estimated)"
        rows.append(("all, in the Hessian", f"{found.energy_norm:.3g}", sure))
    rows.append(("all, in elasticity", f"{found.elasticity_norm:.3g}", _known(found)))
    for value, name, how in (
        (found.coupling, "  coupling", "share of the expected error"),
        (found.law, "    learned law", "computed: against the potential's own"),
        (found.discretisation, "  mesh", "share of the expected error"),
        (found.algebraic, "solver", "computed"),
        (found.deferred, "deferred correction", "computed: last change of the dead load"),
    ):
        if value is not None:
            rows.append((name, f"{value:.2g}", how))
    if found.truncation_kind == "extrapolated":
        how = "extrapolated, and part of no other number"
        rows.append(("beyond the outer boundary", f"{found.truncation:.2g}", how))
    return rows


def _known(found: Estimate) -> str:
    if found.standard_error is not None:
        return f"standard error {found.standard_error:.1g}"
    if found.elasticity_bounds is None:
        return "conjugate gradients"
    low, high = found.elasticity_bounds
    if high == low:
        return "computed"
    return f"proved: {low:.6g} to {high:.6g}"
