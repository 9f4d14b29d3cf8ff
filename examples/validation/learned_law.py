# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a learned Cauchy-Born law is worth: its error strain by strain, and in coupled cracks beside the law itself.

Tungsten by MACE, silicon by Stillinger and Weber (inner shifts relaxed). Each law is trained here as `msolve train
law` does it; each crack is solved once with the potential's own law in the mesh and once with the learned one, and both
are measured against the same full atomistic model.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    COLOUR,
    DECKS,
    Row,
    as_row,
    canvas,
    error_of,
    prepare,
    publish,
    solve_coupled,
    solve_full,
    table,
)
from matplotlib.figure import Figure

from msolve.config import load_law_training
from msolve.estimate import law_error
from msolve.train import train_law

TOLERANCE = 1e-5
"""Largest force that a solution leaves [eV/Å]."""

LAWS = {
    "tungsten, MACE": DECKS / "potentials" / "w_mace" / "train_law.yaml",
    "silicon, Stillinger-Weber": DECKS / "potentials" / "si_sw_law.yaml",
}
CRACKS = {
    "tungsten, MACE": ("crack", (9.0, 12.0, 18.0)),
    "silicon, Stillinger-Weber": ("si_crack", (16.0, 22.0)),
}


def train(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Law and report of each material."""
    found = {}
    for name, recipe in LAWS.items():
        out = folder / recipe.stem
        given = load_law_training(recipe, [f"output.directory={out}"])
        train_law(given)
        report = json.loads((out / "report.json").read_text())
        found[name] = out / f"{given.name}.law", report
    return found


def accuracy(laws: dict[str, tuple[Path, dict[str, Any]]]) -> list[Row]:
    """One row per material and shell of strain."""
    rows: list[Row] = []
    for name, (_, report) in laws.items():
        for shell in report["shells"]:
            low, high = (100 * bound for bound in shell["strain"])
            rows.append(
                {
                    "material": name,
                    "strain": f"{low:.2g} to {high:.2g}",
                    "states": shell["states"],
                    "rms": 100 * shell["rms"],
                    "largest": 100 * shell["largest"],
                    "linear": 100 * shell["linear"],
                }
            )
    return rows


def speed(laws: dict[str, tuple[Path, dict[str, Any]]]) -> list[Row]:
    """One row per material."""
    return [
        {
            "material": name,
            "training": report["training_seconds"],
            "potential": report["potential_microseconds"],
            "law": report["law_microseconds"],
            "ratio": report["potential_microseconds"] / report["law_microseconds"],
        }
        for name, (_, report) in laws.items()
    ]


def cracks(laws: dict[str, tuple[Path, dict[str, Any]]]) -> list[Row]:
    """One row per material, core radius [Å] and law; solved with blended forces."""
    rows: list[Row] = []
    for name, (deck, cores) in CRACKS.items():
        reference = None
        for core in cores:
            for law in (None, laws[name][0]):
                changes = ["coupling.method=bqcf", f"regions.core_radius={core} angstrom"]
                if law is not None:
                    changes.append(f"continuum.law={law}")
                setup, assembly = prepare(DECKS / f"{deck}.yaml", changes)
                before = assembly.potential_seconds()
                coupled = solve_coupled(setup, assembly, "bqcf", TOLERANCE)
                spent = assembly.potential_seconds()
                if reference is None:
                    reference = solve_full(setup, TOLERANCE, start=coupled)
                solved = coupled.solved.residual_problem
                part = law_error(assembly, coupled.z, coupled.t, solved)
                error = error_of(coupled, reference, rim=8.0, tip_radius=9.0)
                rows.append(
                    {
                        "material": name,
                        "core": core,
                        "law": "own" if law is None else "learned",
                        "atoms_seconds": spent["atoms"] - before["atoms"],
                        "continuum_seconds": spent["continuum"] - before["continuum"],
                        "part": part,
                        **as_row(error),
                    }
                )
    return rows


def draw(shells: list[Row], laws: dict[str, tuple[Path, dict[str, Any]]]) -> Figure:
    """Error of the stress over the strain, learned and linear."""
    figure, axes = canvas(9.0, 3.8, columns=len(laws))
    for axis, (name, (_, report)) in zip(axes, laws.items(), strict=True):
        middle = [50 * sum(shell["strain"]) for shell in report["shells"]]
        for key, label, colour in (
            ("linear", "linear elasticity", COLOUR["best"]),
            ("largest", "learned law, largest", COLOUR["bqce"]),
            ("rms", "learned law, rms", COLOUR["bqcf"]),
        ):
            values = [row[key] for row in shells if row["material"] == name]
            axis.plot(middle, np.array(values, dtype=float), "o-", color=colour, label=label)
        axis.set_yscale("log")
        axis.set_title(name)
        axis.set_xlabel("strain [%]")
        axis.set_ylabel("error of the stress [%]")
    axes[0].legend(fontsize=8)
    return figure


def main() -> None:
    """Run the whole study and publish it."""
    with tempfile.TemporaryDirectory() as folder:
        laws = train(Path(folder))
        shells, times, solved = accuracy(laws), speed(laws), cracks(laws)
    parts = (
        table(
            shells,
            {
                "material": "material",
                "strain": "strain [%]",
                "states": "states",
                "rms": "error of the stress, rms [%]",
                "largest": "largest [%]",
                "linear": "linear elasticity, rms [%]",
            },
        ),
        table(
            times,
            {
                "material": "material",
                "training": "training [s]",
                "potential": "a state by the potential [µs]",
                "law": "by the law [µs]",
                "ratio": "ratio",
            },
        ),
        table(
            solved,
            {
                "material": "crack",
                "core": "core [Å]",
                "law": "law of the mesh",
                "atoms_seconds": "potential, atoms [s]",
                "continuum_seconds": "potential, mesh [s]",
                "part": "share of the law [√eV]",
                "total_h1": "total H1 error [Å]",
                "tip_h1": "tip H1 error [Å]",
            },
        ),
    )
    publish("learned_law", shells + times + solved, "\n\n".join(parts), draw(shells, laws))


if __name__ == "__main__":
    main()
