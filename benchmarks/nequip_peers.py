# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""NequIP, Allegro, SevenNet and CHGNet by msolve against their packages' own calls, one core, taken in turn.

Run by ``MSOLVE_MODELS=nequip environment/run python benchmarks/nequip_peers.py``; names of packages (``nequip sevenn
chgnet``) as arguments renew only their rows.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import measure
import numpy as np
import peers
import torch
from common import Row, table

from msolve.potentials import keep_freed_memory
from msolve.potentials.calculator import ase_calculator
from msolve.potentials.undisturbed import undisturbed

MODELS = {
    "NequIP": measure.DECKS / "potentials/w_nequip/w_nequip.ckpt",
    "Allegro": measure.DECKS / "potentials/w_allegro/w_allegro.ckpt",
}
BROUGHT = Path("7net-0")
"""SevenNet's trained model, which lies in its package."""

RECORD = measure.ROOT / "docs/figures/benchmarks_nequip_peers.json"


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


def nequip(n: int) -> list[Row]:
    """NequIP and Allegro."""
    bulk, rows = peers.Bulk(n), []
    for name, file in MODELS.items():
        ours = _in_batches(bulk, "nequip", file, 1)
        what = f"{name}, energy and forces"
        rows += peers.compared(what, bulk, ours, _theirs(bulk, file), 6)
        batched = _in_batches(bulk, "nequip", file, 4)
        rows += peers.compared(f"{name} in four batches", bulk, batched, {"at once": ours})
        rows += _precision_and_products(name, bulk, ours, "nequip", file)
    return rows


def sevenn(n: int) -> list[Row]:
    """SevenNet-0: against its package in float32, the only precision that this has."""
    bulk, name = peers.Bulk(n), "SevenNet-0"
    single = _in_batches(bulk, "sevennet", BROUGHT, 1, "float32")
    theirs, shares = _sevenn(bulk)
    rows = peers.compared(f"{name} in float32, energy and forces", bulk, single, theirs)
    sites = peers.compared(
        f"{name} in float32, site energies",
        bulk,
        lambda: single.patch.site_energies(bulk.x),
        {"ASE and sevenn, with its list": shares},
    )
    ours = _in_batches(bulk, "sevennet", BROUGHT, 1)
    batched = _in_batches(bulk, "sevennet", BROUGHT, 2)
    rows += [*sites, *peers.compared(f"{name} in two batches", bulk, batched, {"at once": ours})]
    return rows + _precision_and_products(name, bulk, ours, "sevennet", BROUGHT)


def chgnet(n: int) -> list[Row]:
    """CHGNet in double precision: a black box against the calculator that it asks."""
    bulk, file = peers.Bulk(n), measure.DECKS / "potentials/chgnet_double.py"
    box = ase_calculator(f"{file}:chgnet", {}, [74], 8.8)
    system, places = bulk.ase(), iter(range(1, 10**6))
    numbers = system.numbers  # type: ignore[attr-defined]

    def black_box() -> np.ndarray:
        x = bulk.x + 1e-9 * next(places)
        return box.cluster(x, numbers, bulk.cell, [True] * 3).gradient

    def theirs() -> np.ndarray:
        box.engine.calculator.calculate(system)  # type: ignore[attr-defined]
        return -np.asarray(box.engine.calculator.results["forces"])  # type: ignore[attr-defined]

    peer = {"its calculator for ASE": theirs}
    return peers.compared("CHGNet by kind: ase, energy and forces", bulk, black_box, peer)


def _in_batches(
    bulk: peers.Bulk, kind: str, file: Path, number: int, precision: str = "float64"
) -> peers.Ours:
    ours = peers.Ours(bulk, kind, file, precision)
    ours.patch.model.batch = len(bulk.x) // number
    return ours


def _precision_and_products(
    name: str, bulk: peers.Bulk, ours: peers.Ours, kind: str, file: Path
) -> list[Row]:
    single = _in_batches(bulk, kind, file, 1, "float32")
    rows = peers.compared(f"{name} in float32", bulk, single, {"in float64": ours})
    return rows + peers.compared(
        f"{name}, a further Hessian product",
        bulk,
        lambda: ours.patch.hessian_product(bulk.x, ours.ones, bulk.direction),
        {"its energy and forces": lambda: peers._unlike(ours)},
    )


def _sevenn(
    bulk: peers.Bulk,
) -> tuple[dict[str, Callable[[], np.ndarray | None]], Callable[[], np.ndarray | None]]:
    """The bare model on a graph made before, and the calculator with its list; then its site energies."""
    atoms = bulk.ase()
    with undisturbed():
        import sevenn._keys as key
        from sevenn.atom_graph_data import AtomGraphData
        from sevenn.calculator import SevenNetCalculator
        from sevenn.train.dataload import unlabeled_atoms_to_graph

        calculator = SevenNetCalculator(str(BROUGHT), device="cpu")
        graph = unlabeled_atoms_to_graph(atoms, calculator.cutoff, with_shift=False)

    def bare() -> np.ndarray:
        with undisturbed():
            found = calculator.model(AtomGraphData.from_numpy_dict(dict(graph)))
        return -np.asarray(found[key.PRED_FORCE].detach())

    def results(word: str) -> np.ndarray:
        with undisturbed():
            calculator.calculate(atoms)
        return np.asarray(calculator.results[word])

    theirs = {
        "sevenn's model alone": bare,
        "ASE and sevenn, with its list": lambda: -results("forces"),
    }
    return theirs, lambda: results("energies")


PACKAGES: dict[str, tuple[Callable[[int], list[Row]], int, int]] = {
    "nequip": (nequip, 6, 14),
    "sevenn": (sevenn, 2, 3),
    "chgnet": (chgnet, 2, 3),
}
"""Its rows, and the cells along an axis for a test and for what is published."""


def study(quick: bool = False, only: Sequence[str] = ()) -> list[Row]:
    """All comparisons, or those of some packages."""
    keep_freed_memory()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows: list[Row] = []
    for package in only or PACKAGES:
        compare, small, large = PACKAGES[package]
        rows += [{"package": package} | row for row in compare(small if quick else large)]
    return rows


def main() -> None:
    """Measure and publish; packages that are not asked for stay as they are."""
    only = [word for word in sys.argv[1:] if word[0] != "-"]
    new = study("--quick" in sys.argv, only)
    known = json.loads(RECORD.read_text())["rows"] if only else []
    rows = [row for row in known if row["package"] not in only] + new
    rows.sort(key=lambda row: list(PACKAGES).index(str(row["package"])))
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
