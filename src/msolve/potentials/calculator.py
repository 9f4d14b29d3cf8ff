# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Any ASE calculator as an engine of forces. ASE's units are msolve's: eV and Å."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from msolve.errors import CaseError, ConvergenceError, UnsupportedError
from msolve.potentials.blackbox import BlackBox
from msolve.potentials.named import made_by_name
from msolve.potentials.protocol import ClusterForces
from msolve.potentials.shortage import enough_memory

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

_VACUUM = 2.0
"""Added to the extent of the atoms along open axes [Å]; some calculators refuse a cell of no size."""


def ase_calculator(
    where: str,
    arguments: Mapping[str, Any],
    numbers: Sequence[int],
    cutoff: float | None = None,
    folder: Path = Path(),
) -> BlackBox:
    """A calculator by name.

    Args:
        where: ``module:name``, or ``file.py:name`` relative to ``folder``; the name is that of a class or
            function that returns a calculator.
        arguments: What it is called with.
        numbers: Atomic numbers it is used for.
        cutoff: Half the range of its forces [Å]; ``None``: asked from the calculator, which few can tell.
        folder: Where relative file names start from.

    Raises:
        CaseError: There is no such module, file or name, it does not take the arguments, it computes no
            forces, or no cutoff is known.
    """
    calculator = made_by_name(where, arguments, folder, "potential.calculator")
    return wrap_calculator(calculator, where.rpartition(":")[2], numbers, cutoff)


def wrap_calculator(
    calculator: Any, name: str, numbers: Sequence[int], cutoff: float | None = None
) -> BlackBox:
    """A live calculator; arguments as for :func:`ase_calculator`."""
    offers = set(getattr(calculator, "implemented_properties", ()))
    missing = {"energy", "forces"} - offers
    if missing:
        raise CaseError(
            [f"potential.calculator = {name}: does not compute {' and '.join(sorted(missing))}"]
        )
    told = _cutoff_of(calculator) if cutoff is None else cutoff
    if told is None:
        raise CaseError(
            [
                f"potential.cutoff: missing; {name} does not tell how far its atoms see, e.g. "
                "'6 angstrom', half the range of a force"
            ]
        )
    gives = {"energy", "gradient"}
    gives |= {"site_energy"} if "energies" in offers else set()
    gives |= {"virial"} if "stress" in offers else set()
    return BlackBox(
        name=name,
        engine=CalculatorEngine(calculator, name),
        numbers=frozenset(numbers),
        cutoff=told,
        reach=2 * told,
        gives=frozenset(gives),
    )


class CalculatorEngine:
    """Forces from an ASE calculator; an ``Engine``.

    Args:
        calculator: The calculator; it may keep what it likes between calls, as ASE calculators do.
        name: What to call it in messages.
    """

    def __init__(self, calculator: Any, name: str) -> None:
        self.calculator, self.name = calculator, name
        offers = set(calculator.implemented_properties)
        self._shares, self._stress = "energies" in offers, "stress" in offers
        self._atoms: Atoms | None = None

    def cluster(
        self, positions: Array, numbers: IntArray, cell: Array, periodic: NDArray[np.bool_]
    ) -> ClusterForces:
        """See ``Engine``."""
        box = box_around(positions, cell, periodic, _VACUUM)
        atoms = self._at(positions, numbers, box, periodic)
        gradient = -np.asarray(self._asked(atoms.get_forces), dtype=np.float64)
        shares = None
        if self._shares:
            shares = np.asarray(self._asked(atoms.get_potential_energies), dtype=np.float64)
        return ClusterForces(float(self._asked(atoms.get_potential_energy)), gradient, shares)

    def crystals(
        self, cells: Array, places: Array, numbers: IntArray
    ) -> tuple[Array, Array, Array | None]:
        """See ``Engine``."""
        energy, gradient = np.empty(len(cells)), np.empty((len(cells), len(numbers), 3))
        virial = np.empty((len(cells), 3, 3)) if self._stress else None
        periodic = np.ones(3, dtype=bool)
        for q in range(len(cells)):
            atoms = self._at(places[q] @ cells[q], numbers, cells[q], periodic)
            energy[q] = self._asked(atoms.get_potential_energy)
            gradient[q] = -np.asarray(self._asked(atoms.get_forces))
            if virial is not None:
                xx, yy, zz, yz, xz, xy = self._asked(atoms.get_stress)
                stress = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
                virial[q] = stress * abs(np.linalg.det(cells[q]))
        return energy, gradient, virial

    def _at(self, x: Array, numbers: IntArray, box: Array, periodic: NDArray[np.bool_]) -> Atoms:
        known = self._atoms
        if (
            known is None
            or not np.array_equal(known.numbers, numbers)
            or not np.array_equal(known.pbc, periodic)
        ):
            known = self._atoms = Atoms(numbers, x, cell=box, pbc=periodic)
            known.calc = self.calculator
        else:
            known.set_cell(box)
            known.positions = x
        return known

    def _asked(self, question: Callable[[], Any]) -> Any:
        try:
            with enough_memory("its device", f"the calculator {self.name}"):
                return question()
        except NotImplementedError as error:
            raise UnsupportedError(f"the calculator {self.name} cannot do this: {error}") from error
        except (KeyError, ValueError, RuntimeError) as error:
            # Such as a neighbour list that does not know atoms so close: a smaller step may do.
            raise ConvergenceError(
                f"the calculator {self.name} failed: {type(error).__name__}: {error}"
            ) from error


def box_around(positions: Array, cell: Array, periodic: NDArray[np.bool_], vacuum: float) -> Array:
    """The cell with its open rows replaced by ones at right angles to all others that hold the atoms.

    Args:
        positions: Atoms, shape ``(n, 3)`` [Å].
        cell: Lattice vectors as rows, shape ``(3, 3)`` [Å].
        periodic: Which of them count, shape ``(3,)``.
        vacuum: What is at least added to the extent of the atoms along open axes [Å].
    """
    box = np.array(cell)
    if not periodic.all():
        axes = np.eye(3)
        if periodic.any():
            axes = np.linalg.svd(cell[periodic])[2][int(periodic.sum()) :]
        extent = np.ptp(positions @ axes.T, axis=0)
        # In coarse steps: calculators that look for changes should not see one at each call.
        box[~periodic] = axes * (10.0 * np.ceil((extent + vacuum) / 10.0))[:, None]
    return box


def _cutoff_of(calculator: Any) -> float | None:
    for name in ("cutoff", "r_max", "rcut"):
        value = getattr(calculator, name, None)
        if callable(value):
            value = value()
        if isinstance(value, (int, float, np.number)) and value > 0:
            return float(value)
    return None
