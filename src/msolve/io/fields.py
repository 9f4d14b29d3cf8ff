# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Finite-element fields for ParaView: displacement, Cauchy stress and β over the load steps, as XDMF + HDF5."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
from dolfinx import fem, io

from msolve.continuum.space import DisplacementSpace
from msolve.units import GPA

Array = npt.NDArray[np.float64]


class FieldWriter:
    """One file of fields, open while the run lasts; a context manager. Every method is collective.

    Quadratic displacements are written at the vertices only: the format holds linear fields.

    Args:
        path: File ending in ``.xdmf``; the data go into a ``.h5`` file beside it.
        space: Displacement space.
    """

    def __init__(self, path: Path, space: DisplacementSpace):
        self._space = space
        if space.comm.rank == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        space.comm.barrier()
        self._file = io.XDMFFile(space.comm, str(path), "w")
        self._file.write_mesh(space.mesh)
        mesh = space.mesh
        self._nodal = fem.Function(space.V)
        self._displacement = fem.Function(
            fem.functionspace(mesh, ("Lagrange", 1, (3,))), name="displacement"
        )
        self._stress = fem.Function(fem.functionspace(mesh, ("DG", 0, (3, 3))), name="stress_GPa")
        self._beta = fem.Function(fem.functionspace(mesh, ("DG", 0)), name="beta")

    def __enter__(self) -> FieldWriter:
        """Give itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    def write(self, load: float, displacement: Array, stress: Array, beta: Array) -> None:
        """Append one load step.

        Args:
            load: What ParaView shows as time.
            displacement: Total displacement at the local nodes, shape ``(n_local_nodes, 3)`` [Å].
            stress: Cauchy stress of each owned cell, shape ``(n_cells, 3, 3)`` [eV/Å³].
            beta: β of each owned cell, shape ``(n_cells,)``.
        """
        self._nodal.x.array[:] = displacement.ravel()
        self._displacement.interpolate(self._nodal)
        cells = self._stress.function_space.dofmap.list[: self._space.n_cells, 0]
        self._stress.x.array.reshape(-1, 9)[cells] = stress.reshape(-1, 9) / GPA
        self._beta.x.array[self._beta.function_space.dofmap.list[: self._space.n_cells, 0]] = beta
        for function in (self._displacement, self._stress, self._beta):
            self._file.write_function(function, load)
