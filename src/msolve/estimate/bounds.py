# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Bounds of dual norms from both sides, by an approximate solution and what it leaves.

For any φ, with s = r - K φ:

    ⟨r, K⁻¹ r⟩ = 2⟨r, φ⟩ - ⟨φ, K φ⟩ + ⟨s, K⁻¹ s⟩,   0 ≤ ⟨s, K⁻¹ s⟩ ≤ |s|² / λ

with λ any lower bound of K's eigenvalues. Between bonded atoms K is a sum of springs, each at least as stiff as its
softest direction: K ≥ L ⊗ I, L the graph's Laplacian with those constants and the atoms beyond held. L is an
M-matrix, whose lowest eigenvalue is at least min (L u)ᵢ / uᵢ for *every* positive vector u (Collatz, Wielandt):
an approximate solution of L u = 1 proves a bound, however it was found.

References:
    R. S. Varga, Matrix Iterative Analysis (2000), section 2.
"""

from __future__ import annotations

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
from scipy import sparse

from msolve.kinematics import petsc_matrix

ROUNDING = 1e-9
"""Share of a bound that is given away to round-off."""


def two_sided(K: PETSc.Mat, r: PETSc.Vec, phi: PETSc.Vec, least: float) -> tuple[float, float]:
    """Bounds of √⟨r, K⁻¹ r⟩. Collective.

    Args:
        K: Symmetric, positive definite.
        r: Right-hand side.
        phi: Approximate solution of K φ = r.
        least: Positive lower bound of K's eigenvalues.
    """
    left = r.duplicate()
    K.mult(phi, left)
    low = max(2 * float(r.dot(phi)) - float(phi.dot(left)), 0.0)
    left.aypx(-1.0, r)
    high = low + float(left.dot(left)) / least
    return float(np.sqrt(low)) * (1 - ROUNDING), float(np.sqrt(high)) * (1 + ROUNDING)


def least_eigenvalue(K: PETSc.Mat, components: int) -> float | None:
    """A lower bound of the eigenvalues of springs between atoms, some of them to held ones; ``None`` if none is found.

    Args:
        K: Sum of springs, in blocks of ``components``; no rotations of blocks. Collective.
        components: Displacement components.
    """
    L = _softest_springs(K, components)
    if L is None:
        return None
    one, u = L.createVecLeft(), L.createVecRight()
    one.set(1.0)
    ksp = PETSc.KSP().create(L.comm)
    ksp.setOperators(L)
    ksp.setType("cg")
    ksp.getPC().setType("gamg")
    ksp.setTolerances(rtol=1e-5, max_it=500)
    ksp.solve(one, u)
    L.mult(u, one)
    positive = bool((u.array_r > 0).all())
    ratio = float((one.array_r / u.array_r).min(initial=np.inf)) if positive else -1.0
    least = float(L.comm.tompi4py().allreduce(ratio, op=MPI.MIN))
    ksp.destroy()
    return least * (1 - ROUNDING) if least > 0 else None


def _softest_springs(K: PETSc.Mat, components: int) -> PETSc.Mat | None:
    """L of the module's text; ``None`` where some block is no spring. Collective."""
    comm = K.comm.tompi4py()
    indptr, indices, data = K.getValuesCSR()
    rows, columns = K.getLocalSize()[0], K.getSize()[1]
    blocks = sparse.csr_matrix((data, indices, indptr), shape=(rows, columns)).tobsr(
        (components, components)
    )
    first = K.getOwnershipRange()[0] // components
    owner = np.repeat(np.arange(len(blocks.indptr) - 1), np.diff(blocks.indptr))
    own = blocks.indices == owner + first
    springs = -0.5 * (blocks.data + np.swapaxes(blocks.data, 1, 2))
    softest = np.linalg.eigvalsh(springs)[:, 0]
    held = -springs[own]
    # What holds an atom beyond its springs to other free ones: springs to held ones.
    np.subtract.at(held, owner[~own], springs[~own])
    beyond = np.linalg.eigvalsh(held)[:, 0]
    size = float(np.abs(blocks.data).max(initial=0.0))
    fine = bool((softest[~own] >= 0).all() and (beyond >= -1e-10 * size).all())
    if not comm.allreduce(fine, op=MPI.LAND):
        return None
    n = len(held)
    diagonal = beyond.clip(0.0)
    np.add.at(diagonal, owner[~own], softest[~own])
    values = np.concatenate([-softest[~own], diagonal])
    at = np.concatenate([owner[~own], np.arange(n)])
    to = np.concatenate([blocks.indices[~own], first + np.arange(n)])
    csr = sparse.coo_matrix((values, (at, to)), shape=(n, columns // components)).tocsr()
    return petsc_matrix(K.comm, csr, n)
