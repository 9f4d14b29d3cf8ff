# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""NequIP and Allegro by the engine against nequip's own calls, one core, taken in turn, in nequip's environment.

Run by ``MSOLVE_MODELS=nequip environment/run python benchmarks/nequip_peers.py``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import measure
import numpy as np
import peers
import torch
from common import Row, table

from msolve.potentials import keep_freed_memory
from msolve.potentials.undisturbed import undisturbed

MODELS = {
    "NequIP": measure.DECKS / "potentials/w_nequip/w_nequip.ckpt",
    "Allegro": measure.DECKS / "potentials/w_allegro/w_allegro.ckpt",
}


def _theirs(bulk: peers.Bulk, file: Path) -> dict[str, Callable[[], np.ndarray | None]]:
    """The bare model on a graph made before, and its calculator for ASE with its list; forces turned round."""
    atoms = bulk.ase()
    with undisturbed():
        from nequip.integrations.ase import NequIPCalculator

        torch.set_default_dtype(torch.float64)
        calculator = NequIPCalculator._from_saved_model(file)
        graph = calculator.atoms_to_data(atoms)

    def bare() -> np.ndarray:
        return -np.asarray(calculator.call_model(dict(graph))["forces"].detach())

    def with_list() -> np.ndarray:
        with undisturbed():
            torch.set_default_dtype(torch.float64)
            calculator.calculate(atoms)
        return -np.asarray(calculator.results["forces"])

    return {"nequip's model alone": bare, "ASE and nequip, with its list": with_list}


def study(quick: bool = False) -> list[Row]:
    """All comparisons."""
    keep_freed_memory()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    bulk = peers.Bulk(6 if quick else 14)
    rows: list[Row] = []
    for name, file in MODELS.items():
        ours = peers.Ours(bulk, "nequip", file)
        ours.patch.model.batch = len(bulk.x)
        what = f"{name}, energy and forces"
        rows += peers.compared(what, bulk, ours, _theirs(bulk, file), 6)
        batched = peers.Ours(bulk, "nequip", file)
        batched.patch.model.batch = len(bulk.x) // 4
        rows += peers.compared(f"{name} in four batches", bulk, batched, {"at once": ours})
        single = peers.Ours(bulk, "nequip", file, "float32")
        single.patch.model.batch = len(bulk.x)
        rows += peers.compared(f"{name} in float32", bulk, single, {"in float64": ours})
        patch, w, x, d = ours.patch, ours.ones, bulk.x, bulk.direction
        rows += peers.compared(
            f"{name}, a further Hessian product",
            bulk,
            lambda: patch.hessian_product(x, w, d),  # noqa: B023
            {"its energy and forces": lambda: peers._unlike(ours)},  # noqa: B023
        )
    return rows


def main() -> None:
    """Measure and publish."""
    rows = study("--quick" in sys.argv)
    columns = {
        "what": "what",
        "atoms": "atoms",
        "ours": "msolve [s]",
        "peer": "against",
        "theirs": "its time [s]",
        "ratio": "msolve / peer",
        "difference": "difference, of the largest",
    }
    figure = peers.draw(rows)
    figure.axes[0].set_xscale("linear")  # type: ignore[attr-defined]
    measure.publish("nequip_peers", rows, table(rows, columns), figure)


if __name__ == "__main__":
    main()
