# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Throughput and memory of the potentials on a GPU: ``python benchmarks/gpu.py [--device cuda] [--out gpu.json]``.

Needs neither DOLFINx nor PETSc: NumPy, SciPy, torch, vesin, ASE, mpi4py, and mace-torch for MACE. Crystals of 10³ to
10⁶ atoms, energy and forces and Hessian products; the JSON, written anew after each crystal, holds atoms per second,
device memory, and the ratio to published figures. Without a GPU it runs on the CPU, which shows that it works and
nothing else.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mpi4py import MPI

import numpy as np
import torch

from msolve.atomistic import AtomisticPatch
from msolve.potentials import load_potential

DECKS = Path(__file__).parents[1] / "solver_configs"
CASES = {
    "EAM": ("eam", DECKS / "potentials/w_eam4.eam.fs", ("float64",)),
    "MACE": ("mace", DECKS / "potentials/w_mace/w_mace.model", ("float64", "float32")),
}
SIZES = (8, 17, 37, 80)
"""Cells along an axis: 1 024, 9 826, 101 306 and 1 024 000 atoms."""

PUBLISHED: dict[str, list[dict[str, Any]]] = {
    "EAM": [{"what": "SNAP 2J=8, Kokkos", "device": "A100", "atoms_per_second": 2.86e6}],
    "MACE": [
        {
            "what": "a MACE model, ML-IAP, each of 16 GPUs",
            "device": "A100",
            "atoms_per_second": 47e3,
        },
        {"what": "MACE-OMAT-0, Symmetrix", "device": "A100 80 GB", "atoms_per_second": 158e3},
        # Published as 2.38 and 1.28 ns a day for 13 718 atoms; steps of 1 fs are assumed.
        {"what": "MACE-OMAT, ML-IAP", "device": "GH200 (H100)", "atoms_per_second": 378e3},
        {"what": "MACE-OMAT, Symmetrix", "device": "GH200 (H100)", "atoms_per_second": 203e3},
        {"what": "TensorNet, eager", "device": "H200", "atoms_per_second": 39e3},
    ],
}
"""In float32, from the packages' own pages and issue threads."""

NOTE = (
    "Not like with like: the published networks are larger than the one measured here, SNAP is dearer than EAM, and "
    "steps of molecular dynamics hold an integration and a neighbour search now and then."
)

A0 = 3.165


def measure(kind: str, file: Path, precision: str, n: int, device: str) -> dict[str, Any]:
    """One crystal: seconds of an evaluation and of a further Hessian product, memory."""
    model = load_potential(file, kind, device, precision=precision)
    corner = np.stack(np.meshgrid(*[range(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    x = A0 * np.concatenate([corner, corner + 0.5])
    x = x[np.argsort(x[:, 0], kind="stable")]
    rng = np.random.default_rng(0)
    x += 0.05 * rng.normal(size=x.shape)
    every = np.ones(len(x), dtype=bool)
    cell = n * A0 * np.eye(3)
    on_gpu = model.device != "cpu"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    patch = AtomisticPatch(MPI.COMM_SELF, model, np.full(len(x), 74), cell, [True] * 3, x, every)
    ones = every.astype(float)
    patch.evaluate(x, ones)
    first = time.perf_counter() - begin
    times = []
    while len(times) < 3 and sum(times) < 60:
        begin = time.perf_counter()
        energy, _ = patch.evaluate(x + 1e-9 * (1 + len(times)), ones)
        times.append(time.perf_counter() - begin)
    direction = rng.normal(size=x.shape)
    patch.hessian_product(x, ones, direction)
    begin = time.perf_counter()
    patch.hessian_product(x, ones, direction)
    product = time.perf_counter() - begin
    memory = (
        torch.cuda.max_memory_allocated()
        if on_gpu
        else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    return {
        "atoms": len(x),
        "precision": precision,
        "seconds": min(times),
        "atoms_per_second": len(x) / min(times),
        "product_seconds": product,
        "first_seconds": first,
        "memory_bytes": memory,
        "energy_per_atom": energy / len(x),
    }


def against_published(name: str, rate: float) -> list[dict[str, Any]]:
    """The published figures for a potential, and how many times as fast the one measured here is."""
    return [one | {"ratio": rate / one["atoms_per_second"]} for one in PUBLISHED[name]]


def main() -> None:
    """Measure each potential's sizes until one does not fit; write what is known after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--largest", type=int, default=max(SIZES), help="cells along an axis")
    options = parser.parse_args()
    on_gpu = options.device != "cpu" and torch.cuda.is_available()
    rows: list[dict[str, Any]] = []
    found = {
        "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or "CPU",
        "torch": torch.__version__,
        "day": time.strftime("%Y-%m-%d"),
        "note": NOTE,
        "rows": rows,
    }
    for name, (kind, file, precisions) in CASES.items():
        if kind == "mace" and find_spec("mace") is None:
            continue
        for precision in precisions:
            for n in (n for n in SIZES if n <= options.largest):
                row: dict[str, Any] = {"potential": name, "precision": precision, "n": n}
                rows.append(row)
                try:
                    row |= measure(kind, file, precision, n, options.device)
                    row["published"] = against_published(name, row["atoms_per_second"])
                except (MemoryError, torch.OutOfMemoryError) as error:
                    row["error"] = (str(error) or "memory ran out").splitlines()[0]
                print({key: row[key] for key in row if key != "published"}, flush=True)
                options.out.write_text(json.dumps(found, indent=1))
                if "error" in row:
                    break


if __name__ == "__main__":
    main()
