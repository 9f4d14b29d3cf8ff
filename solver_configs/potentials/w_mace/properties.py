# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Properties of a tungsten potential, computed alike for the MACE model and for its truth.

A potential here is an object with ``evaluate`` and ``relax`` as in ``truth.py``. These functions
check a trained model; they are not msolve's own way to a lattice constant or to a crack.
"""

import time
from pathlib import Path
from typing import Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.constraints import FixAtoms
from ase.lattice.cubic import BodyCenteredCubic
from ase.optimize import LBFGS
from cells import SURFACES
from matscipy.fracture_mechanics.crack import CubicCrystalCrack
from scipy.optimize import brentq

EV_PER_A3 = 160.21766208  # [GPa]
EV_PER_A2 = 16.021766208  # [J/m²]
K_UNIT = 1.6021766208  # one eV/Å^2.5 in MPa √m


class Potential(Protocol):
    """What a property needs of a potential."""

    def evaluate(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        """Energy [eV], forces (n, 3) [eV/Å] and stress (3, 3) [eV/Å³]."""

    def relax(self, atoms: Atoms, fixed: np.ndarray) -> Atoms:
        """A copy relaxed in its cell, atoms with ``fixed`` kept."""


class Model:
    """A MACE model through mace-torch's own calculator, in float64 on the CPU."""

    def __init__(self, path: Path) -> None:
        """Load the model file."""
        from mace.calculators import MACECalculator

        self.calculator = MACECalculator(
            model_paths=str(path), device="cpu", default_dtype="float64"
        )

    def evaluate(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        """Energy [eV], forces (n, 3) [eV/Å] and stress (3, 3) [eV/Å³]."""
        self.calculator.calculate(atoms, ["energy", "forces", "stress"], all_changes)
        results = self.calculator.results
        xx, yy, zz, yz, xz, xy = results["stress"]
        stress = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        return float(results["energy"]), np.array(results["forces"]), stress

    def relax(
        self, atoms: Atoms, fixed: np.ndarray, steps: int = 300, force: float = 1.0e-4
    ) -> Atoms:
        """A copy relaxed in its cell, atoms with ``fixed`` kept."""
        relaxed = atoms.copy()
        relaxed.calc = self.calculator
        relaxed.set_constraint(FixAtoms(mask=fixed))
        optimizer = LBFGS(relaxed, logfile=None, maxstep=0.1)
        optimizer.run(fmax=force, steps=steps)
        relaxed.info["relax_steps"] = optimizer.get_number_of_steps()
        relaxed.calc = None
        relaxed.set_constraint()
        return relaxed


def lattice_constant(potential: Potential) -> float:
    """Lattice constant at zero pressure [Å]."""

    def pressure(a: float) -> float:
        return float(np.trace(potential.evaluate(_bulk(a))[2]))

    return brentq(pressure, 3.10, 3.19, xtol=1e-9)


def elastic_constants(potential: Potential, a0: float) -> dict[str, float]:
    """C11, C12 and C44 at zero strain [GPa], by central differences of the stress."""

    def slope(strain: np.ndarray, step: float = 1.0e-4) -> np.ndarray:
        stresses = []
        for sign in (1.0, -1.0):
            atoms = _bulk(a0)
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + sign * step * strain), scale_atoms=True)
            stresses.append(potential.evaluate(atoms)[2])
        return (stresses[0] - stresses[1]) / (2 * step) * EV_PER_A3

    axial = slope(np.diag([1.0, 0.0, 0.0]))
    shear = slope(np.array([[0.0, 0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    return {"C11": axial[0, 0], "C12": axial[1, 1], "C44": shear[0, 1]}


def surface_energy(potential: Potential, a0: float, normal: tuple[int, int, int]) -> float:
    """Energy of a relaxed free surface [J/m²]."""
    first, second = SURFACES[normal]
    if np.linalg.det([first, second, normal]) < 0:
        first, second = second, first
    unit = BodyCenteredCubic("W", latticeconstant=a0, directions=[first, second, normal])
    slab = unit * (1, 1, round(36.0 / unit.cell[2, 2]))
    bulk = potential.evaluate(slab)[0]
    slab.cell[2, 2] += 15.0
    relaxed = potential.relax(slab, np.zeros(len(slab), dtype=bool))
    area = slab.cell[0, 0] * slab.cell[1, 1]
    return (potential.evaluate(relaxed)[0] - bulk) / (2 * area) * EV_PER_A2


def vacancy_energy(potential: Potential, a0: float) -> float:
    """Formation energy of a vacancy in 250 sites at the bulk's volume [eV]."""
    atoms = _bulk(a0) * (5, 5, 5)
    per_atom = potential.evaluate(atoms)[0] / len(atoms)
    del atoms[0]
    relaxed = potential.relax(atoms, np.zeros(len(atoms), dtype=bool))
    return potential.evaluate(relaxed)[0] - per_atom * len(atoms)


def properties(potential: Potential) -> dict[str, float]:
    """The table of properties; K_G is Griffith's for (110)[001] [MPa √m]."""
    a0 = lattice_constant(potential)
    bulk = potential.evaluate(_bulk(a0))[0] / 2
    table = {"a0": a0, "E_bulk": bulk, **elastic_constants(potential, a0)}
    for normal in ((1, 0, 0), (1, 1, 0), (1, 1, 1)):
        name = "gamma" + "".join(map(str, normal))
        table[name] = surface_energy(potential, a0, normal)
    table["E_vacancy"] = vacancy_energy(potential, a0)
    field = crack_field(table)
    table["K_G"] = field.k1g(table["gamma110"] / EV_PER_A2) * K_UNIT
    return table


def crack_field(table: dict[str, float]) -> CubicCrystalCrack:
    """Near-tip field of the (110)[001] crack with a table's elastic constants."""
    constants = (table[name] / EV_PER_A3 for name in ("C11", "C12", "C44"))
    return CubicCrystalCrack((1, 1, 0), (0, 0, 1), *constants)


def crack_tip(
    potential: Potential, table: dict[str, float], load: float, radius: float = 27.0
) -> tuple[Atoms, Atoms]:
    """Relax a (110)[001] crack inside a rim that follows the potential's own K-field.

    Args:
        potential: Relaxes the crack.
        table: The potential's properties.
        load: K in units of the potential's K_G.
        radius: Of the disc, rim of 11 Å included [Å].

    Returns:
        The reference crystal and the relaxed crack, atom by atom.
    """
    field = crack_field(table)
    a0 = table["a0"]
    unit = BodyCenteredCubic("W", latticeconstant=a0, directions=[(1, -1, 0), (1, 1, 0), (0, 0, 1)])
    n = int(np.ceil(2 * (radius + 4) / unit.cell[0, 0]))
    disc = unit * (n, n, 1)
    # Between two (110) planes, a quarter period ahead of a column of atoms.
    disc.positions[:, :2] -= (n // 2 + 0.25) * unit.cell[0, 0]
    disc = disc[np.hypot(*disc.positions[:, :2].T) < radius]
    x, y = disc.positions[:, 0].copy(), disc.positions[:, 1].copy()
    box = 2 * radius + 20.0
    disc.set_cell([box, box, a0])
    disc.positions[:, :2] += 0.5 * box
    disc.pbc = True
    cracked = disc.copy()
    K = load * table["K_G"] / K_UNIT
    cracked.positions[:, :2] += np.column_stack(field.displacements(x, y, 0.0, 0.0, K))
    return disc, potential.relax(cracked, np.hypot(x, y) > radius - 11.0)


def compare_tips(potential: Potential, truth: Potential, tables: dict) -> dict[str, float]:
    """Relax the crack with both potentials at 1.05 of their own K_G and compare the tips.

    Lengths scale with each one's lattice constant, so displacements are compared, over the atoms
    that may move. Lattice trapping lets a crack rest at several places at one load; therefore the
    truth is also relaxed from the model's crack: a minimum that only the model has would be left.
    """
    reference, cracked = crack_tip(potential, tables["model"], 1.05)
    true_reference, true_cracked = crack_tip(truth, tables["truth"], 1.05)
    offset = true_reference.positions - 0.5 * true_reference.cell.diagonal()
    radius = np.hypot(offset[:, 0], offset[:, 1])
    free = radius < 16.0
    near = radius < 9.0

    ours = cracked.positions - reference.positions
    theirs = true_cracked.positions - true_reference.positions
    start = true_reference.copy()
    start.positions += np.where(free[:, None], ours, theirs)
    from_ours = truth.relax(start, ~free).positions - true_reference.positions
    apart = np.linalg.norm(ours - theirs, axis=1)
    left = np.linalg.norm(ours - from_ours, axis=1)
    true_forces = truth.evaluate(cracked)[1][free]
    return {
        "free_atoms": int(free.sum()),
        "largest_force_left_eV_per_A": float(np.abs(potential.evaluate(cracked)[1][free]).max()),
        "largest_displacement_A": float(np.linalg.norm(theirs[free], axis=1).max()),
        "displacement_difference_max_A": float(apart[free].max()),
        "displacement_difference_rms_A": float(np.sqrt((apart[free] ** 2).mean())),
        "displacement_difference_max_within_9A": float(apart[near].max()),
        "truth_moves_the_model_tip_by_max_A": float(left[free].max()),
        "truth_moves_the_model_tip_by_rms_A": float(np.sqrt((left[free] ** 2).mean())),
        "truth_force_rms_on_model_tip_eV_per_A": float(np.sqrt((true_forces**2).mean())),
        "truth_force_max_on_model_tip_eV_per_A": float(np.abs(true_forces).max()),
    }


def speed(potential: Potential, repeats: int = 3) -> float:
    """Atoms per second of process time for energy, forces and stress, 5000-atom thin crystal."""
    atoms = BodyCenteredCubic(
        "W",
        latticeconstant=3.1434,
        size=(25, 25, 1),
        directions=[(1, -1, 0), (1, 1, 0), (0, 0, 1)],
    ) * (1, 1, 2)
    start = time.process_time()
    for _ in range(repeats):
        potential.evaluate(atoms)
    return len(atoms) * repeats / (time.process_time() - start)


def _bulk(a: float) -> Atoms:
    return BodyCenteredCubic("W", latticeconstant=a)
