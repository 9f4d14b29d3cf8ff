# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Whether cracks on meshes of random edges, beside the mesh of the atoms, teach the learned handshake anything."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from common import (
    COLOUR,
    DECKS,
    Row,
    canvas,
    error_of,
    over_cores,
    prepare,
    publish,
    solve_coupled,
    solve_full,
    table,
)
from matplotlib.figure import Figure

from msolve.config import load_handshake_training
from msolve.train import train_handshake

TOLERANCE, RIM, TIP = 1e-6, 8.0, 9.0  # [eV/Å], [Å], [Å]
CUTOFF = 5.5
"""Of the potential [Å]."""

MESHES = {
    "nodes on atoms": (),
    "finer": ("mesh.growth=0.6",),
    "of its own": ("mesh.kind=free",),
    "of its own, coarser": ("mesh.kind=free", "mesh.spacing=3.6 angstrom"),
}
TRAINED = {"atoms": 0, "random": 2}
"""Random meshes beside the one of the atoms."""


def study(cores: Sequence[float] = (1.5, 3.0), radius: float = 90.0, *changes: str) -> list[Row]:
    """A row for each mesh and core; ``changes`` are of the training's input."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        handshakes = {"slab": "{kind: slab, lift: quadratic}"}
        for name, count in TRAINED.items():
            recipe = Path(folder) / f"{name}.yaml"
            recipe.write_text(
                f"deck: {DECKS}/crack_eam.yaml\nspecimens: {{meshes: {count}}}\n"
                f"operator: {{degrees: [1]}}\noutput: {{directory: {folder}/out}}\n"
            )
            model = train_handshake(load_handshake_training(recipe, list(changes))) / f"{name}.pt"
            handshakes[name] = f"{{kind: learned, lift: quadratic, model: {model}}}"
        for mesh, of_mesh in MESHES.items():
            reference = None
            for times in cores:
                row: Row = {"mesh": mesh, "core": times}
                for name, handshake in handshakes.items():
                    given = [
                        f"domain.radius={radius} angstrom",
                        f"regions.core_radius={times * CUTOFF} angstrom",
                        "load.K=1.05 K_G",
                        f"coupling.handshake={handshake}",
                        *of_mesh,
                    ]
                    setup, assembly = prepare(DECKS / "crack_eam.yaml", given)
                    coupled = solve_coupled(setup, assembly, "bgfc_deferred", TOLERANCE)
                    reference = reference or solve_full(setup, TOLERANCE, start=coupled)
                    error = error_of(coupled, reference, RIM, TIP)
                    row |= {name: error.total_h1, f"tip_{name}": error.tip_h1}
                row["ratio"] = float(row["atoms"]) / float(row["random"])  # type: ignore[arg-type]
                rows.append(row)
                print(row, flush=True)
    return rows


def draw(rows: Sequence[Row]) -> Figure:
    """Error over the core, mesh by mesh."""
    figure, axes = canvas(3.0 * len(MESHES), 3.4, columns=len(MESHES))
    curves = (
        ("slab", COLOUR["bgfc"], "^", "slab"),
        ("atoms", COLOUR["bqcf"], "o", "trained on atoms alone"),
        ("random", COLOUR["bqce"], "s", "on random meshes too"),
    )
    for axis, mesh in zip(axes, MESHES, strict=True):
        own = [row for row in rows if row["mesh"] == mesh]
        over_cores(axis, own, curves, f"Mesh: {mesh}")
    axes[0].set_ylabel("H1 error [Å]")
    axes[0].legend()
    return figure


def main() -> None:
    """Run the study and publish it."""
    rows = study()
    columns = {
        "mesh": "mesh",
        "core": "core / cutoff",
        "slab": "slab [Å]",
        "atoms": "trained on atoms alone [Å]",
        "random": "on random meshes too [Å]",
        "ratio": "ratio",
        "tip_atoms": "tip, on atoms alone",
        "tip_random": "tip, on random meshes too",
    }
    publish("meshes", rows, table(rows, columns), draw(rows), page="handshake")


if __name__ == "__main__":
    main()
