# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Every sort of potential that the present environment has: what it says of itself, and how fast it is on one core.

In processor time, which other work on the machine changes little. Renews the table in docs/potentials.md; rows of
models whose package is in another environment stay as they are (``MSOLVE_MODELS=nequip environment/run python
benchmarks/models.py`` renews those). Beginnings of names as arguments renew only these rows.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from mpi4py import MPI

import measure
import numpy as np
import torch
from common import DOCS, Row, canvas, table
from common import publish as publish_in
from numpy.typing import NDArray

from msolve.atomistic import share_atoms
from msolve.config import load_case
from msolve.crystal import Crystal, OrientedCrystal
from msolve.errors import CaseError, UnsupportedError
from msolve.given import potential_and_crystal
from msolve.potentials import keep_freed_memory
from msolve.potentials.protocol import ForceModel, Potential

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

RECORD = DOCS / "figures" / "potentials_models.json"


@dataclass(frozen=True)
class Model:
    """A potential as a shipped deck gives it.

    Attributes:
        name: Of the row.
        deck: The deck.
        overrides: What is changed in it.
        cells: Primitive cells along a vector of the crystal that is evaluated.
    """

    name: str
    deck: str
    overrides: tuple[str, ...] = ()
    cells: int = 10

    @property
    def path(self) -> Path:
        """Where the deck is."""
        return measure.DECKS / f"{self.deck}.yaml"

    def loaded(self) -> tuple[Potential, OrientedCrystal]:
        """Potential and crystal as a run has them.

        Raises:
            UnsupportedError: The package is in another environment.
        """
        return potential_and_crystal(
            load_case(self.path, [*self.overrides, "coupling.method=bqcf"]), 0
        )


def rattled(
    crystal: Crystal, repeat: Sequence[int], rattle: float, rng: np.random.Generator
) -> tuple[Array, IntArray, Array]:
    """Some primitive cells of a crystal, atoms displaced at random [Å]: positions, atomic numbers, cell."""
    cells = np.indices(repeat).reshape(3, -1).T
    x = ((cells[:, None] + crystal.basis) @ crystal.cell).reshape(-1, 3)
    numbers = np.tile(crystal.numbers, len(cells))
    return x + rattle * rng.normal(size=x.shape), numbers, np.diag(repeat) @ crystal.cell


MODELS = (
    Model("EAM table (W)", "crack_eam", cells=30),
    Model("Stillinger-Weber (Si)", "si_crack", cells=8),
    Model("linear, polynomial (W)", "crack_linear"),
    Model("MACE (W)", "crack"),
    Model("MACE, float32 (W)", "crack", ("potential.precision=float32",)),
    Model("NequIP (W)", "crack_nequip", cells=6),
    Model("Allegro (W)", "vacancy_allegro", cells=6),
    Model("SevenNet-0, sevenn (W)", "vacancy_sevennet", cells=5),
    Model("SevenNet-0, float32 (W)", "vacancy_sevennet", ("potential.precision=float32",), 5),
    Model("GAP, quippy (W)", "vacancy_gap", cells=6),
    Model("EAM, OpenKIM (W)", "vacancy_kim"),
    Model("EAM, LAMMPS (W)", "vacancy_lammps"),
    Model("SNAP, OpenKIM (Mo)", "vacancy_snap", cells=6),
    Model("ASE calculator", "vacancy_ase", cells=5),
    Model("CHGNet by its calculator (Ca)", "vacancy_chgnet", cells=7),
    Model("torch-sim", "vacancy_torchsim", cells=6),
    Model("MatterSim by torch-sim (W)", "vacancy_mattersim", cells=6),
)


def measured(given: Model) -> Row | None:
    """One row, or ``None`` where the package is not here."""
    try:
        model, oriented = given.loaded()
    except UnsupportedError:
        return None
    except CaseError as error:
        print(f"{given.name}: {error}", file=sys.stderr)
        return None
    repeat = [given.cells] * 3
    x, numbers, cell = rattled(oriented.crystal, repeat, 0.02, np.random.default_rng(0))
    every = np.ones(len(x), dtype=bool)
    patch = share_atoms(MPI.COMM_SELF, model, numbers, cell, [True] * 3, x, every)
    ones, here = every.astype(float), x[patch.local]
    patch.evaluate(here, ones)
    times, products = [], []
    while len(times) < 3 or (sum(times) < 1 and len(times) < 20):
        begin = time.process_time()
        patch.evaluate(here + 1e-9 * (1 + len(times)), ones)
        times.append(time.process_time() - begin)
    direction = np.random.default_rng(1).normal(size=here.shape)
    begin = time.process_time()
    patch.hessian_product(here, ones, direction)
    first = time.process_time() - begin
    for _ in range(2):
        begin = time.process_time()
        patch.hessian_product(here, ones, direction)
        products.append(time.process_time() - begin)
    box = isinstance(model, ForceModel)
    gives = model.gives
    return {
        "name": given.name,
        "deck": given.deck,
        "sites": "shares of the energy"
        if box and "site_energy" in gives
        else "no"
        if box
        else "yes",
        "cutoff": float(model.cutoff),
        "layers": int(model.layers),
        "reach": float(model.reach),
        "hessian": "differences" if box else "exact",
        "atoms": len(x),
        "speed": len(x) / min(times),
        "first": first / min(times),
        "product": min(products) / min(times),
    }


def study(quick: bool = False, only: Sequence[str] = ()) -> list[Row]:
    """Rows of all models that are here, or of those whose names begin so."""
    keep_freed_memory()
    torch.set_num_threads(1)
    rows = []
    for given in MODELS:
        if quick and given.name not in ("EAM table (W)", "SNAP, OpenKIM (Mo)"):
            continue
        if only and not given.name.startswith(tuple(only)):
            continue
        row = measured(given)
        if row is not None:
            print(row, flush=True)
            rows.append(row)
    return rows


def draw(rows: list[Row]) -> object:
    """Atoms a second."""
    figure, (axis,) = canvas(7.0, 0.36 * len(rows) + 0.9)
    axis.barh(
        [str(row["name"]) for row in rows],
        [float(row["speed"]) for row in rows],  # type: ignore[arg-type]
        color=measure.BLUE,
        height=0.6,
    )
    axis.set_xscale("log")
    axis.invert_yaxis()
    axis.set_xlabel("atoms a second, energy and forces, one core")
    axis.grid(axis="y", visible=False)
    return figure


def main() -> None:
    """Measure and publish."""
    rows = study("--quick" in sys.argv, [word for word in sys.argv[1:] if word[0] != "-"])
    known = json.loads(RECORD.read_text())["rows"] if RECORD.is_file() else []
    new = {row["name"]: row for row in rows}
    order = [given.name for given in MODELS]
    both = {row["name"]: row for row in known} | new
    merged = [both[name] for name in order if name in both]
    for row in merged:
        row["example"] = f"`{row['deck']}.yaml`"
    columns = {
        "name": "potential",
        "sites": "site energies",
        "cutoff": "cutoff [Å]",
        "layers": "layers",
        "reach": "reach of a site [Å]",
        "hessian": "Hessian products",
        "example": "deck",
        "speed": "atoms a second",
        "first": "first product / evaluation",
        "product": "further product / evaluation",
    }
    here = measure.machine()
    text = f"{table(merged, columns)}\n\n({here['processor']}, one core, {here['day']}, load {here['load']} at the end)"
    publish_in("models", merged, text, draw(merged), page="potentials", machine=here)


if __name__ == "__main__":
    main()
