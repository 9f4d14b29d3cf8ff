# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Nodes and cells in the order of the mesh as it was handed in, whatever ranks hold them.

Vertices come first, in their order; midpoints of quadratic elements follow, in the order of the pairs of
vertices that they lie between. So arrays of runs on different numbers of ranks can be compared and exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from msolve.continuum.space import DisplacementSpace, scalar_element

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class InputOrder:
    """Where this rank's nodes and cells lie in the order of the input.

    Attributes:
        space: Displacement space.
        node: Index of each *local* node, shape ``(n_local_nodes,)``.
        n_nodes: Nodes of the whole mesh.
    """

    space: DisplacementSpace
    node: IntArray
    n_nodes: int

    def gather_nodes(self, values: Array) -> Array | None:
        """Nodal values of all ranks, on rank 0 only, shape ``(n_nodes, ...)``. Collective.

        Args:
            values: Of the local nodes, shape ``(n_local_nodes, ...)``; those of the owners count.
        """
        n = self.space.n_owned_nodes
        return self._gather(self.node[:n], values[:n], self.n_nodes)

    def gather_cells(self, values: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """Values of the owned cells of all ranks, on rank 0 only, shape ``(n, ...)``. Collective."""
        total = int(self.space.comm.allreduce(len(values)))
        return self._gather(self.space.cell_index, values, total)

    def scatter_nodes(self, values: Array | None) -> Array:
        """The reverse of ``gather_nodes``: from rank 0 to the local nodes of each rank. Collective."""
        return np.asarray(self.space.comm.bcast(values))[self.node]

    def _gather(
        self, rows: IntArray, values: npt.NDArray[Any], total: int
    ) -> npt.NDArray[Any] | None:
        parts = self.space.comm.gather((rows, values))
        if parts is None:
            return None
        out = np.zeros((total, *values.shape[1:]), dtype=values.dtype)
        for mine, theirs in parts:
            out[mine] = theirs
        return out


def input_order(space: DisplacementSpace) -> InputOrder:
    """Find it. Collective."""
    comm, geometry = space.comm, space.mesh.geometry
    original = np.asarray(geometry.input_global_indices, dtype=np.int64)
    vertices = original[geometry.dofmap[: space.n_cells]]
    n_vertices = int(max(comm.allgather(int(original.max(initial=-1))))) + 1
    nodes = space.cell_nodes()
    number = np.full(space.n_local_nodes, -1, dtype=np.int64)
    corners = space.gdim + 1
    number[nodes[:, :corners]] = vertices
    if space.degree == 1:
        return InputOrder(space, number, n_vertices)
    ends = np.sort(vertices[:, _edges(space.gdim)], axis=2)  # (cells, edges, 2)
    key = ends[..., 0] * n_vertices + ends[..., 1]
    parts = comm.gather(np.unique(key))
    every = comm.bcast(None if parts is None else np.unique(np.concatenate(parts)))
    number[nodes[:, corners:]] = n_vertices + np.searchsorted(every, key)
    return InputOrder(space, number, n_vertices + len(every))


def _edges(gdim: int) -> IntArray:
    """Corners that each midpoint of a quadratic simplex lies between, shape ``(n_edges, 2)``."""
    points = scalar_element(gdim, 2).points[gdim + 1 :]
    barycentric = np.column_stack([1 - points.sum(axis=1), points])
    return np.argsort(-barycentric, axis=1, kind="stable")[:, :2].astype(np.int64)


def vtk_order(gdim: int, degree: int) -> IntArray:
    """Nodes of a simplex in the order of VTK and XDMF: corners, then midpoints 01, 12, 20, 03, 13, 23."""
    if degree == 1:
        return np.arange(gdim + 1)
    wanted = [(0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3)][: 3 if gdim == 2 else 6]
    found = [(int(min(pair)), int(max(pair))) for pair in _edges(gdim)]
    return np.array([*range(gdim + 1), *(gdim + 1 + found.index(pair) for pair in wanted)])
