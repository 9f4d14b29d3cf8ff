# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Distributed matrices: interpolation between mesh and atoms, its gradient, identity blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import sparse

from msolve.continuum.space import DisplacementSpace
from msolve.kinematics.recovery import recovered, recovered_gradients

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def interpolation_matrix(
    space: DisplacementSpace,
    X: Array,
    owned_atoms: IntArray,
    wanted: BoolArray,
    recovery: bool = False,
) -> PETSc.Mat:
    """Φ: each wanted atom interpolates the mesh. Atoms outside the mesh get an empty row. Collective.

    With ``recovery`` linear elements are corrected by what the vertices around know of curvature.
    """
    locate = partial(recovered, space) if recovery and space.degree == 1 else space.locate
    atom, nodes, weights = _located(space, locate, X, owned_atoms, wanted)
    rows = np.repeat(np.searchsorted(owned_atoms, atom), nodes.shape[1])
    kept = weights.ravel() != 0
    return block_matrix(
        space.comm,
        rows[kept],
        nodes.ravel()[kept],
        weights.ravel()[kept],
        len(owned_atoms),
        space.n_owned_nodes,
        3,
        space.block,
    )


def gradient_matrix(
    space: DisplacementSpace,
    X: Array,
    owned_atoms: IntArray,
    wanted: BoolArray,
    recovery: bool = False,
) -> PETSc.Mat:
    """Gradient of the mesh field at each wanted atom, in the cell that :func:`interpolation_matrix` takes.

    An atom has ``3 * gdim`` rows: du1/dX1, du2/dX1, du3/dX1, du1/dX2, ... Collective.
    """
    locate = space.locate_gradients
    if recovery and space.degree == 1:
        locate = partial(recovered_gradients, space)
    atom, nodes, gradients = _located(space, locate, X, owned_atoms, wanted)
    rows = np.searchsorted(owned_atoms, atom)[:, None, None] * space.gdim + np.arange(space.gdim)
    kept = gradients != 0
    return block_matrix(
        space.comm,
        np.broadcast_to(rows, gradients.shape)[kept],
        np.broadcast_to(nodes[:, :, None], gradients.shape)[kept],
        gradients[kept],
        space.gdim * len(owned_atoms),
        space.n_owned_nodes,
        3,
        space.block,
    )


def _located(
    space: DisplacementSpace,
    locate: Callable[[Array], tuple[IntArray, IntArray, Array, Array]],
    X: Array,
    owned_atoms: IntArray,
    wanted: BoolArray,
) -> tuple[IntArray, IntArray, Array]:
    """Owned ones among the wanted atoms that lie in the mesh, nodes of the cell that holds each, and values there."""
    ids = np.flatnonzero(wanted)
    point, nodes, values, inside = locate(X[ids])
    # Rows may be longer on one rank than on another; what they are filled up with weighs nothing.
    width = int(space.comm.allreduce(nodes.shape[1], op=MPI.MAX))
    more = width - nodes.shape[1]
    nodes = np.pad(nodes, ((0, 0), (0, more)))
    values = np.pad(values, ((0, 0), (0, more), *[(0, 0)] * (values.ndim - 2)))
    found = space.comm.allgather((ids[point], nodes, values, np.round(inside, 9)))
    atom = np.concatenate([f[0] for f in found])
    # The rank where the atom lies deepest inside a cell wins; ties go to the lowest rank.
    order = np.lexsort((-np.concatenate([f[3] for f in found]), atom))
    best = order[np.unique(atom[order], return_index=True)[1]]
    best = best[np.isin(atom[best], owned_atoms)]
    nodes = np.concatenate([f[1] for f in found])[best]
    return atom[best], nodes, np.concatenate([f[2] for f in found])[best]


def block_matrix(
    comm: MPI.Comm,
    rows: IntArray,
    columns: IntArray,
    values: Array,
    n_rows: int,
    n_columns: int,
    row_block: int,
    column_block: int,
    kept: BoolArray | None = None,
) -> PETSc.Mat:
    """Distributed matrix with ``value * identity`` blocks. Rows are local, columns global block indices. Collective.

    ``kept`` ``(n_entries, >= depth)`` says which components of each block are there; all by default.
    """
    depth = min(row_block, column_block)
    component = np.arange(depth)
    there = np.ones((len(rows), depth), dtype=bool) if kept is None else kept[:, :depth]
    r = (row_block * rows[:, None] + component)[there]
    c = (column_block * columns[:, None] + component)[there]
    total = int(comm.allreduce(n_columns)) * column_block
    repeated = np.broadcast_to(values[:, None], there.shape)[there]
    csr = sparse.coo_matrix((repeated, (r, c)), shape=(row_block * n_rows, total)).tocsr()
    return petsc_matrix(comm, csr, column_block * n_columns, (row_block, column_block))


def petsc_matrix(
    comm: MPI.Comm, rows: sparse.csr_matrix, n_local_columns: int, blocks: tuple[int, int] = (1, 1)
) -> PETSc.Mat:
    """A distributed matrix from each rank's rows with global columns, in blocks of rows and columns. Collective."""
    rows.sum_duplicates()
    matrix = PETSc.Mat().createAIJ(
        size=((rows.shape[0], None), (n_local_columns, None)),
        bsize=blocks,
        csr=(rows.indptr.astype(PETSc.IntType), rows.indices.astype(PETSc.IntType), rows.data),
        comm=comm,
    )
    matrix.assemble()
    return matrix
