# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Fields for ParaView: the index names what is there, nodes lie where XDMF expects them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from mpi4py import MPI

import h5py
import numpy as np
import pytest
from dolfinx import mesh as dolfinx_mesh

from msolve.continuum.numbering import input_order
from msolve.continuum.space import build_space
from msolve.io.fields import FieldWriter
from msolve.units import GPA

F = np.array([[0.01, 0.02, 0.0], [0.03, -0.01, 0.005], [0.0, 0.01, 0.02]])


def simplices(gdim):
    """A square or a cube cut into simplices, its points in no particular order."""
    size = [3] * gdim
    if gdim == 2:
        domain = dolfinx_mesh.create_rectangle(MPI.COMM_SELF, [[0, 0], [2, 1]], size)
    else:
        domain = dolfinx_mesh.create_box(MPI.COMM_SELF, [[0, 0, 0], [2, 1, 1]], size)
    return domain.geometry.x[:, :gdim].copy(), domain.geometry.dofmap.astype(np.int64)


@pytest.mark.parametrize("gdim", [2, 3])
@pytest.mark.parametrize("degree", [1, 2])
def test_fields_are_read_back_by_what_the_index_says(gdim, degree, tmp_path):
    points, cells = simplices(gdim)
    space = build_space(MPI.COMM_SELF, points, cells, {}, thickness=1.0, degree=degree)
    writer = FieldWriter(tmp_path, space)
    stress = np.arange(9.0 * space.n_cells).reshape(-1, 3, 3)
    middle = space.cell_vertices().mean(axis=1)
    for step in range(3):
        writer.write(step, step * space.nodes() @ F.T, stress, middle[:, 0])
    writer.list_steps({0: 0.0, 2: 1.5})
    grids = ElementTree.parse(tmp_path / "fields.xdmf").findall(".//Grid[@GridType='Uniform']")
    assert [float(grid.find("Time").get("Value")) for grid in grids] == [0.0, 1.5]
    cells_read, x, u, sigma, beta = (_values(tmp_path, item) for item in grids[1].iter("DataItem"))
    # Vertices keep the order of the mesh as it was handed in, and so do cells.
    assert np.abs(x[: len(points), :gdim] - points).max() < 1e-14
    assert (np.sort(cells_read[:, : gdim + 1]) == np.sort(cells)).all()
    assert np.abs(u - 2 * x @ F.T).max() < 1e-14
    assert beta == pytest.approx(points[cells].mean(axis=1)[:, 0])
    assert np.sort(sigma.ravel()) == pytest.approx(stress.ravel() / GPA)
    # Midpoints in the order of XDMF's Triangle_6 and Tetrahedron_10.
    ends = [(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)]
    corner = x[cells_read[:, : gdim + 1]]
    for k, (a, b) in enumerate(ends[: cells_read.shape[1] - gdim - 1]):
        midpoint = (corner[:, a] + corner[:, b]) / 2
        assert np.abs(x[cells_read[:, gdim + 1 + k]] - midpoint).max() < 1e-14
    kind = grids[0].find("Topology").get("TopologyType")
    assert kind.endswith({1: "e" if gdim == 2 else "n", 2: "_6" if gdim == 2 else "_10"}[degree])


def test_nodal_values_go_to_the_input_and_back():
    points, cells = simplices(2)
    space = build_space(MPI.COMM_SELF, points, cells, {}, thickness=1.0, degree=2)
    order = input_order(space)
    gathered = order.gather_nodes(space.nodes())
    assert len(np.unique(gathered, axis=0)) == order.n_nodes == space.n_global_nodes
    assert (order.scatter_nodes(gathered) == space.nodes()).all()


def _values(folder, item):
    file, name = item.text.split(":/")
    with h5py.File(folder / file) as data:
        values = data[name][:]
    assert list(values.shape) == [int(n) for n in item.get("Dimensions").split()]
    assert values.dtype.kind == {"Int": "i", "Float": "f"}[item.get("NumberType")]
    assert values.dtype.itemsize == int(item.get("Precision"))
    return values
