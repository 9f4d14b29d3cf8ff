# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Every sort of potential that the present environment has: what it says of itself, and how fast it is on one core.

Renews the table in docs/potentials.md; rows of models whose package is in another environment stay as they are
(``MSOLVE_MODELS=nequip environment/run python benchmarks/models.py`` renews those). Beginnings of names as
arguments renew only these rows.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

os.environ["OMP_NUM_THREADS"] = "1"

from mpi4py import MPI

import measure
import numpy as np
import torch
from common import DOCS, Row, canvas, table
from common import publish as publish_in

from msolve.atomistic import share_atoms
from msolve.config import load_case
from msolve.errors import CaseError, UnsupportedError
from msolve.given import potential_and_crystal
from msolve.potentials import keep_freed_memory
from msolve.potentials.protocol import ForceModel

RECORD = DOCS / "figures" / "potentials_models.json"


@dataclass(frozen=True)
class Model:
    """A potential as a shipped deck gives it.

    Attributes:
        name: Of the row.
        deck: The deck.
        overrides: What is changed in it.
        cells: Cells along an axis of the crystal that is evaluated.
    """

    name: str
    deck: str
    overrides: tuple[str, ...] = ()
    cells: int = 10


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
    Model("SNAP, OpenKIM (Mo)", "vacancy_snap", cells=6),
    Model("ASE calculator", "vacancy_ase", cells=5),
    Model("torch-sim", "vacancy_torchsim", cells=6),
)


def measured(given: Model) -> Row | None:
    """One row, or ``None`` where deck or package are not here."""
    path = measure.DECKS / f"{given.deck}.yaml"
    if not path.is_file():
        return None
    try:
        case = load_case(path, [*given.overrides, "coupling.method=bqcf"])
        model, oriented = potential_and_crystal(case, 0)
    except UnsupportedError:
        return None
    except CaseError as error:
        print(f"{given.name}: {error}", file=sys.stderr)
        return None
    crystal = oriented.crystal
    n = given.cells
    corner = np.stack(np.meshgrid(*[range(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    basis = np.asarray(crystal.basis)
    x = ((corner[:, None] + basis) @ crystal.axes).reshape(-1, 3)
    numbers = np.tile(np.asarray(crystal.numbers), len(corner))
    x = x + 0.02 * np.random.default_rng(0).normal(size=x.shape)
    every = np.ones(len(x), dtype=bool)
    patch = share_atoms(MPI.COMM_SELF, model, numbers, n * crystal.axes, [True] * 3, x, every)
    ones, here = every.astype(float), x[patch.local]
    patch.evaluate(here, ones)
    times, products = [], []
    while len(times) < 3 or (sum(times) < 1 and len(times) < 20):
        begin = time.perf_counter()
        patch.evaluate(here + 1e-9 * (1 + len(times)), ones)
        times.append(time.perf_counter() - begin)
    direction = np.random.default_rng(1).normal(size=here.shape)
    patch.hessian_product(here, ones, direction)
    for _ in range(2):
        begin = time.perf_counter()
        patch.hessian_product(here, ones, direction)
        products.append(time.perf_counter() - begin)
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
        "product": "product / evaluation",
    }
    here = measure.machine()
    text = f"{table(merged, columns)}\n\n({here['processor']}, one core, {here['day']}, load {here['load']} at the end)"
    publish_in("models", merged, text, draw(merged), page="potentials", machine=here)


if __name__ == "__main__":
    main()
