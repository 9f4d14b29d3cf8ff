# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a handshake could gain at a crack in silicon: the room up to the oracle, and what stands in its way.

The oracle is the best state of the unknowns, inner shifts included. Where the error comes from is asked by what the
best treatment of flanks or bulk would leave of it (``silicon_bounds``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from common import (
    COLOUR,
    DECKS,
    Coupled,
    Reference,
    Row,
    canvas,
    error_of,
    prepare,
    publish,
    solve_coupled,
    solve_full,
    table,
)
from matplotlib.figure import Figure
from silicon_bounds import Measure, bounds
from silicon_oracle import oracle

from msolve.compare import Norms, lift_to

TOLERANCE, RIM, TIP = 1e-5, 8.0, 9.0  # [eV/Å], [Å], [Å]
CUTOFF = 3.771
"""Of the Stillinger-Weber potential [Å]."""

KINDS = {
    "none": "{kind: none, lift: quadratic}",
    "slab": "{kind: slab}",
    "recovered": "{kind: slab, lift: quadratic}",
}
DEPTH = 7.0
"""Depth of what counts as flank [Å]."""

BOUNDED = ((1.0, 1.5), (1.0, 2.0), (1.0, 3.0), (0.95, 1.5), (0.95, 2.0), (1.1, 1.5), (1.1, 2.0))
"""Loads [K_G] and cores [cutoffs] at which treatments are tried."""

MEASURE = Measure(RIM, TIP, DEPTH, TOLERANCE)


def study(
    cores: Sequence[float] = (1.5, 2.0, 3.0, 4.0),
    bounded: Sequence[tuple[float, float]] = BOUNDED,
    radius: float = 40.0,
) -> tuple[list[Row], list[Row]]:
    """Rows of handshakes for each core at K_G, and of bounds for some loads and cores."""
    rows: list[Row] = []
    parts: list[Row] = []
    reference: Reference | None = None
    for times in cores:
        row: Row = {"core": times}
        for kind in KINDS:
            coupled = solved(times, kind, radius)
            reference = reference or solve_full(coupled.setup, TOLERANCE, start=coupled)
            error = error_of(coupled, reference, RIM, TIP)
            row |= {kind: error.total_h1, f"tip_{kind}": error.tip_h1}
        row["atoms"] = int(coupled.assembly.evaluated.sum())
        best = oracle(coupled, reference, RIM)
        full = reference.full
        e = lift_to(coupled.assembly, best, coupled.t, full)
        e -= full.problem.gather(reference.z, reference.t)
        row["oracle"] = Norms.of(full, rim=RIM, tip_radius=TIP).total(e)
        row["room"] = min(float(row["slab"]), float(row["recovered"])) / float(row["oracle"])  # type: ignore[arg-type]
        rows.append(row)
        print(row, flush=True)
    solutions: dict[float, Reference] = {}
    for K, times in bounded:
        coupled = solved(times, "recovered", radius, K)
        if K not in solutions:
            solutions[K] = solve_full(coupled.setup, TOLERANCE, start=coupled)
        parts += [{"K": K, "core": times, **one} for one in bounds(coupled, solutions[K], MEASURE)]
    return rows, parts


def solved(times: float, kind: str, radius: float, K: float = 1.0) -> Coupled:
    """The deck's crack with a core of so many cutoffs."""
    given = [
        f"domain.radius={radius} angstrom",
        f"load.K={K} K_G",
        f"regions.core_radius={times * CUTOFF} angstrom",
        f"coupling.handshake={KINDS[kind]}",
    ]
    return solve_coupled(*prepare(DECKS / "si_crack.yaml", given), "bgfc_deferred", TOLERANCE)


def gains(parts: Sequence[Row]) -> list[Row]:
    """A row for each treatment: its gain at each load and core, and their median."""
    out: list[Row] = []
    for name in dict.fromkeys(str(r["what"]) for r in parts):
        own = [r for r in parts if r["what"] == name]
        found = {f"{r['K']:g}, {r['core']:g}": r["gain"] for r in own}
        median = float(np.median([float(r["gain"]) for r in own]))  # type: ignore[arg-type]
        out.append({"what": name, **found, "median": median})
    return out


def draw(rows: Sequence[Row], parts: Sequence[Row]) -> Figure:
    """Error over the core; and what is left of it with exact things in the place of parts."""
    figure, axes = canvas(9.6, 3.8, columns=2)
    for kind, colour, marker, label in (
        ("none", "#999999", "v", "none"),
        ("slab", COLOUR["bqce"], "s", "slab"),
        ("recovered", COLOUR["bgfc"], "^", "slab, recovered lift"),
        ("oracle", "#333333", "*", "oracle"),
    ):
        cores = [r["core"] for r in rows]
        axes[0].loglog(cores, [r[kind] for r in rows], marker + "-", color=colour, label=label)
    axes[0].set_xticks(cores, [f"{core:g}" for core in cores])
    axes[0].minorticks_off()
    axes[0].set(xlabel="core radius over the cutoff", ylabel="H1 error [Å]", title="Si (111)[1-10]")
    axes[0].legend()
    parts = [r for r in parts if r["K"] == 1.0]
    cores = sorted({float(r["core"]) for r in parts})  # type: ignore[arg-type]
    for place, (name, colour) in enumerate(
        (
            ("as it is", COLOUR["bgfc"]),
            ("layers", COLOUR["bqce"]),
            ("shifts and energy", COLOUR["bqcf"]),
            ("layers, shifts, energy", COLOUR["bgfc_deferred"]),
            ("layers, shifts, fitted energy", "#333333"),
            ("atoms along flanks", COLOUR["atomistic"]),
        )
    ):
        heights = [float(r["total"]) for r in parts if r["what"] == name]  # type: ignore[arg-type]
        at = np.arange(len(cores)) + 0.14 * place - 0.35
        axes[1].bar(at, heights, 0.14, color=colour, label=name)
    axes[1].set_xticks(np.arange(len(cores)), [f"{core:g}" for core in cores])
    axes[1].set(xlabel="core radius over the cutoff", title="What is left")
    axes[1].legend(fontsize=7)
    return figure


def main() -> None:
    """Run the study and publish it."""
    rows, parts = study()
    text = (
        table(
            rows,
            {
                "core": "core / cutoff",
                "atoms": "evaluated atoms",
                "none": "none",
                "slab": "slab",
                "recovered": "slab, recovered lift",
                "oracle": "oracle",
                "room": "room",
                "tip_recovered": "tip, slab, recovered lift",
            },
        )
        + "\n\nH1 errors in Å, R = 40 Å, K_G.\n\n"
        + table(
            [r for r in parts if r["K"] == 1.0],
            {
                "core": "core / cutoff",
                "what": "slab, recovered lift",
                "total": "H1 error [Å]",
                "gain": "gain",
                "tip": "tip",
                "flank9": "flanks, 9 to 20 Å",
                "flank20": "further out",
                "bulk9": "bulk, 9 to 20 Å",
                "bulk20": "further out",
            },
        )
        + "\n\nThe same, K_G.\n\n"
        + table(
            gains(parts),
            {
                "what": "gain at K [K_G], core / cutoff",
                **{key: key for key in gains(parts)[0] if key not in ("what", "median")},
                "median": "median",
            },
        )
        + "\n\n*Layers*, *forces* and *fitted energy* are the best for each row by itself; *shifts* and *energy* are "
        "what the lattice says of long waves, not fitted."
    )
    publish("silicon", rows, text, draw(rows, parts), page="handshake", parts=parts)


if __name__ == "__main__":
    main()
