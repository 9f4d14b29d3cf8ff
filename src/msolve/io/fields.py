# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Finite-element fields for ParaView: one HDF5 file for the mesh, one per load step, and an XDMF index.

Every file is whole at any moment, and the index lists finished steps only, so it can be opened while the run
goes on and after it was killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from msolve.continuum.numbering import input_order, vtk_order
from msolve.continuum.space import DisplacementSpace
from msolve.io.files import hdf5, write_whole
from msolve.parallel import all_or_none
from msolve.units import GPA

Array = npt.NDArray[np.float64]

INDEX = "fields.xdmf"
FOLDER = "fields"
MESH = "fields/mesh.h5"

_TOPOLOGY = {
    (2, 1): "Triangle",
    (3, 1): "Tetrahedron",
    (2, 2): "Triangle_6",
    (3, 2): "Tetrahedron_10",
}


def step_file(step: int) -> str:
    """Fields of a load step, relative to the output folder."""
    return f"{FOLDER}/step_{step:04d}.h5"


class FieldWriter:
    """Writes the fields of one run: nodes and cells in the order of the mesh as it was handed in.

    Quadratic displacements are written at all their nodes.

    Args:
        directory: Output folder.
        space: Displacement space.

    Raises:
        OutputError: The mesh cannot be written.

    Note:
        Construction and all methods are collective; rank 0 writes.
    """

    def __init__(self, directory: Path, space: DisplacementSpace):
        self._directory, self._space = directory, space
        self._order = input_order(space)
        points = self._order.gather_nodes(space.nodes())
        shape = (space.gdim, space.degree)
        cells = self._order.gather_cells(self._order.node[space.cell_nodes()[:, vtk_order(*shape)]])
        self._topology = _TOPOLOGY[shape]
        self._sizes = (0, 0, 0)
        self._more: dict[int, tuple[str, ...]] = {}
        with all_or_none(space.comm, "writing the mesh"):
            if points is not None and cells is not None:
                self._sizes = (len(points), len(cells), cells.shape[1])
                content = hdf5({"points": points, "cells": cells})
                write_whole(directory / MESH, content)

    def write(
        self,
        step: int,
        displacement: Array,
        stress: Array,
        beta: Array,
        more: Mapping[str, Array] | None = None,
    ) -> None:
        """Write the file of one load step.

        Args:
            step: Number of the load step.
            displacement: Total displacement at the local nodes, shape ``(n_local_nodes, 3)`` [Å].
            stress: Cauchy stress of each owned cell, shape ``(n_cells, 3, 3)`` [eV/Å³].
            beta: β of each owned cell, shape ``(n_cells,)``.
            more: Further values of each owned cell, by name.

        Raises:
            OutputError: It cannot be written.
        """
        nodal = self._order.gather_nodes(displacement)
        cells = self._order.gather_cells
        stress_GPa, beta_of_all = cells(stress.reshape(-1, 9) / GPA), cells(beta)
        others = {name: cells(values) for name, values in (more or {}).items()}
        self._more[step] = tuple(others)
        with all_or_none(self._space.comm, f"writing the fields of load step {step}"):
            if nodal is not None and stress_GPa is not None and beta_of_all is not None:
                arrays = {"displacement": nodal, "stress_GPa": stress_GPa, "beta": beta_of_all}
                arrays |= {name: values for name, values in others.items() if values is not None}
                write_whole(self._directory / step_file(step), hdf5(arrays))

    def list_steps(self, times: Mapping[int, float]) -> None:
        """Write the index.

        Args:
            times: What ParaView shows as time, by number of the load step; their files are there.

        Raises:
            OutputError: It cannot be written.
        """
        with all_or_none(self._space.comm, f"writing {INDEX}"):
            if self._space.comm.rank == 0:
                text = "\n".join(self._index(times)) + "\n"
                write_whole(self._directory / INDEX, text.encode())

    def _index(self, times: Mapping[int, float]) -> Iterator[str]:
        n_nodes, n_cells, corners = self._sizes
        yield '<?xml version="1.0"?>'
        yield '<Xdmf Version="3.0"><Domain>'
        yield '<Grid Name="steps" GridType="Collection" CollectionType="Temporal">'
        for step, time in sorted(times.items()):
            yield f' <Grid Name="step_{step:04d}" GridType="Uniform"><Time Value="{time!r}"/>'
            yield f'  <Topology TopologyType="{self._topology}" NumberOfElements="{n_cells}">'
            yield f"   {_item(f'{MESH}:/cells', (n_cells, corners), 'Int')}</Topology>"
            points = _item(f"{MESH}:/points", (n_nodes, 3))
            yield f'  <Geometry GeometryType="XYZ">{points}</Geometry>'
            for name, kind, centre, shape in (
                ("displacement", "Vector", "Node", (n_nodes, 3)),
                ("stress_GPa", "Tensor", "Cell", (n_cells, 9)),
                ("beta", "Scalar", "Cell", (n_cells,)),
                *((name, "Scalar", "Cell", (n_cells,)) for name in self._further(step)),
            ):
                yield f'  <Attribute Name="{name}" AttributeType="{kind}" Center="{centre}">'
                yield f"   {_item(f'{step_file(step)}:/{name}', shape)}</Attribute>"
            yield " </Grid>"
        yield "</Grid></Domain></Xdmf>"

    def _further(self, step: int) -> tuple[str, ...]:
        """Names of the further values of a load step, which another run may have written."""
        if step not in self._more:
            with h5py.File(self._directory / step_file(step)) as file:
                self._more[step] = tuple(sorted(set(file) - {"displacement", "stress_GPa", "beta"}))
        return self._more[step]


def _item(place: str, shape: tuple[int, ...], kind: str = "Float") -> str:
    size = " ".join(str(n) for n in shape)
    return f'<DataItem Format="HDF" Dimensions="{size}" NumberType="{kind}" Precision="8">{place}</DataItem>'
