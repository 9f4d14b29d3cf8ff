# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The Hessian of the full atomistic model as a sparse matrix, by products with vectors of ones.

Two atoms are coupled only if one site sees both: within twice the potential's reach. Columns of atoms that are further
apart than twice that share no row, so that one product serves all of them. Sites of a lattice are grouped so by a
superlattice: atoms that differ by its vectors, all longer than that distance, have one colour, and the number of
colours does not grow with the body.

References:
    A. R. Curtis, M. J. D. Powell, J. K. Reid, J. Inst. Maths Applics 13, 117 (1974): sparse Jacobians by grouping.
"""

from __future__ import annotations

from collections.abc import Callable

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import sparse, spatial

from msolve.assemble import Assembly
from msolve.crystal import OrientedCrystal
from msolve.crystal.integers import steps_completing
from msolve.kinematics import petsc_matrix

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

STRAIN = 0.03
"""Room that the superlattice leaves for atoms coming closer; where it is too little it is doubled."""

_DIGITS = 1_000_000


def colours(crystal: OrientedCrystal, X: Array, distance: float, gdim: int) -> IntArray:
    """Groups of lattice sites such that sites of one group are further apart than ``distance``, shape ``(n,)``.

    Args:
        crystal: Crystal at rest.
        X: Sites, shape ``(n, 3)`` [Å].
        distance: The least distance in a group [Å]; in the plane where ``gdim`` is 2.
        gdim: 2 for one period along x3, or 3.
    """
    steps = crystal.cell
    if gdim == 2:
        whole = np.vstack([steps_completing(crystal.step3, crystal.cell), crystal.step3])
        steps = whole @ crystal.cell
    # A sum of multiples of these is at least as long as the last one's part that the earlier ones do not span.
    height = np.abs(np.diag(np.linalg.qr(steps[:gdim, :gdim].T)[1]))
    repeat = steps.copy()
    repeat[:gdim] *= np.ceil(distance / height * (1 + 1e-9))[:, None]
    place = np.rint((X @ np.linalg.inv(repeat)) * _DIGITS).astype(np.int64) % _DIGITS
    found: IntArray = np.unique(place, axis=0, return_inverse=True)[1].ravel().astype(np.int64)
    return found


def assembled_hessian(
    full: Assembly,
    w: PETSc.Vec,
    t: float,
    progress: Callable[[int, int], None] | None = None,
) -> PETSc.Mat:
    """The Hessian of the full atomistic model in state ``w``. Collective.

    Args:
        full: The model.
        w: Unknowns.
        t: Load parameter.
        progress: Told the number of products that are done, and of all.

    Returns:
        Symmetric matrix on the unknowns [eV/Å²].
    """
    problem, kinematics = full.problem, full.problem.kinematics
    unknowns, gdim = kinematics.unknowns, full.body.gdim
    components, comm = unknowns.components, unknowns.comm
    y = problem.gather(w, t)
    reach = 2 * full.body.model.reach
    mine = kinematics.owned_atoms[full.free[kinematics.owned_atoms]]
    free = np.flatnonzero(full.free)
    tree = spatial.cKDTree(y[free, :gdim])
    near = spatial.cKDTree(y[mine, :gdim]).sparse_distance_matrix(
        tree, reach, output_type="ndarray"
    )
    row, column = near["i"].astype(np.int64), free[near["j"]]
    room = STRAIN
    while True:
        colour = colours(full.body.crystal, full.X, 2 * reach * (1 + room), gdim)
        key = row * len(colour) + colour[column]
        if comm.allreduce(len(np.unique(key)) - len(key)) == 0:
            break
        room *= 2
    order = np.argsort(colour[column], kind="stable")
    row, column = row[order], column[order]
    groups = np.unique(colour[free])
    begin = np.searchsorted(colour[column], groups)
    end = np.searchsorted(colour[column], groups, side="right")
    first = int(comm.exscan(unknowns.n_owned) or 0)
    local = unknowns.atom[mine] - first
    blocks = np.zeros((len(row), components, components))
    product = problem.linearise(w, t)
    v, out = unknowns.vector(), unknowns.vector()
    for number, group in enumerate(groups):
        part = slice(begin[number], end[number])
        chosen = local[colour[mine] == group]
        for a in range(components):
            v.set(0.0)
            v.array[components * chosen + a] = 1.0
            product(v, out)
            blocks[part, :, a] = out.array_r.reshape(-1, components)[local[row[part]]]
        if progress is not None:
            progress(number + 1, len(groups))
    return _symmetric(full, local[row], unknowns.atom[column], blocks)


def _symmetric(full: Assembly, rows: IntArray, columns: IntArray, blocks: Array) -> PETSc.Mat:
    """The symmetric part of a matrix of blocks. Collective."""
    unknowns = full.problem.kinematics.unknowns
    c = unknowns.components
    i = np.broadcast_to((c * rows[:, None] + np.arange(c))[:, :, None], blocks.shape)
    j = np.broadcast_to((c * columns[:, None] + np.arange(c))[:, None, :], blocks.shape)
    size = unknowns.n_owned * c
    csr = sparse.coo_matrix(
        (blocks.ravel(), (i.ravel(), j.ravel())), shape=(size, unknowns.n_global)
    ).tocsr()
    H = petsc_matrix(unknowns.comm, csr, size, (c, c))
    other = PETSc.Mat()
    H.transpose(other)
    H.axpy(1.0, other, structure=PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
    H.scale(0.5)
    H.setOption(PETSc.Mat.Option.SYMMETRIC, True)
    return H
