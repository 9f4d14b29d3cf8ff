# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Atoms in any finite element code: no DOLFINx, no PETSc, two sparse matrices.

The atoms are msolve's ``AtomisticPatch``, the finite elements are scikit-fem's, and what joins them are the lifts

    atoms  y = F X + L z,   nodes  u = (F - I) X + T z,   unknowns z: free atoms and free nodes,

so that blended forces read  Lᵀ[(1 - β) ∘ ∇E_a(y)] + Tᵀ[β ∘ K u] = 0.  A missing row of atoms in tungsten, under a
stretch F, solved by SciPy's Newton-Krylov and compared with atoms everywhere.

    python without_dolfinx.py
"""

from __future__ import annotations

from pathlib import Path

from mpi4py import MPI

import numpy as np
from scipy import optimize, sparse
from scipy.sparse.linalg import LinearOperator, splu
from scipy.spatial import Delaunay, cKDTree
from skfem import Basis, BilinearForm, ElementTriP1, ElementVector, MeshTri
from skfem.helpers import grad

from msolve.atomistic import AtomisticPatch
from msolve.crystal import Crystal, Sites
from msolve.potentials import load_potential
from msolve.potentials.bulk import cauchy_born
from msolve.potentials.rest import elastic_constants, relaxed_lattice
from msolve.regions import Ball, Regions

W_EAM = Path(__file__).parents[2] / "solver_configs/potentials/w_eam4.eam.fs"
RADIUS, CORE, BLEND = 45.0, 8.0, 6.0  # [Å]
F = np.diag([1.0, 1.01, 1.0])
EAM = load_potential(W_EAM, "eam")
CRYSTAL = relaxed_lattice(EAM, Crystal.bcc(3.165, 74)).oriented((1, 0, 0), (0, 1, 0), (0, 0, 1))
C = elastic_constants(cauchy_born(EAM, CRYSTAL))  # [eV/Å³]
REGIONS = Regions((Ball((0.0, 0.0, 0.0), CORE),), BLEND)
MARGIN = 1.1 * EAM.reach


def disc(n: int = 36) -> MeshTri:
    """Your mesh: a square, bent into a disc."""
    x, y = (s := MeshTri.init_tensor(*[np.linspace(-1, 1, n + 1)] * 2)).p
    return MeshTri(RADIUS * np.array([x * np.sqrt(1 - y**2 / 2), y * np.sqrt(1 - x**2 / 2)]), s.t)


def stiffness(mesh: MeshTri) -> sparse.csr_matrix:
    """Linear elasticity of one period along the front, three components a node [eV/Å²]."""

    @BilinearForm
    def elasticity(u, v, w):  # type: ignore[no-untyped-def]
        return np.einsum("iJkL,iJ...,kL...->...", C[:, :2, :, :2], grad(v), grad(u))

    basis = Basis(mesh, ElementVector(ElementTriP1(), 3), intorder=1)
    return (CRYSTAL.period * elasticity.assemble(basis)).tocsr()


def atoms_within(radius: float) -> Sites:
    """The crystal without its middle row of atoms, one period along the front."""
    inside = [(-radius, radius)] * 2
    every = CRYSTAL.sites(lambda X: np.hypot(X[:, 0], X[:, 1]) < radius, inside)
    return every.select(np.hypot(*every.positions[:, :2].T) > 0.1)


def triangles_between(X: np.ndarray) -> MeshTri:
    """The triangles between atoms as a mesh, for the preconditioner; the flat ones at its rim left out."""
    corners = Delaunay(X[:, :2]).simplices
    a, b = np.swapaxes(X[corners[:, 1:], :2] - X[corners[:, :1], :2], 0, 1)
    flat = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) < 1e-6
    return MeshTri(X[:, :2].T.copy(), corners[~flat].T.copy())


def near(X: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which atoms lie so near to some others that one may have a say in the other's energy, shape ``(n,)``."""
    return np.asarray(cKDTree(others[:, :2]).query(X[:, :2])[0] < MARGIN)


def patch_of(sites: Sites, free: np.ndarray) -> AtomisticPatch:
    """Atoms with a potential; energies are needed wherever a free atom has a say."""
    X = sites.positions
    needed = near(X, X[free])
    box, periodic = np.diag([1.0, 1.0, CRYSTAL.period]), (False, False, True)
    return AtomisticPatch(MPI.COMM_SELF, EAM, sites.numbers, box, periodic, X, needed)


def gradient(patch: AtomisticPatch, y: np.ndarray) -> np.ndarray:
    """Gradient of the energy of all atoms, shape ``(n, 3)`` [eV/Å]."""
    if patch.needs_rebuild(y):
        patch.rebuild(y)
    return patch.evaluate(y, patch.needed.astype(float))[1]


def lifts(mesh: MeshTri, X: np.ndarray) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """L (atoms by unknowns) and T (nodes by unknowns), one row and column for three components."""
    nodes = np.column_stack([*mesh.p, 0 * mesh.p[0]])
    free, beta = REGIONS.beta(X) < 1, REGIONS.beta(nodes)
    held = np.zeros(len(nodes), dtype=bool)
    held[mesh.boundary_nodes()] = True
    # A node whose three atoms around it are free follows them; every other node outside the core is an unknown.
    around = Delaunay(X[:, :2])
    simplex = around.find_simplex(nodes[:, :2])
    frame, corners = around.transform[simplex], around.simplices[simplex]
    local = np.einsum("nij,nj->ni", frame[:, :2], nodes[:, :2] - frame[:, 2])
    weights = np.column_stack([local, 1 - local.sum(axis=1)])
    weights[np.abs(weights) < 1e-8] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    follows = (simplex >= 0) & (beta < 1) & (free[corners] | (weights == 0)).all(axis=1)
    unknown = ~follows & (beta > 0) & ~held
    S = sparse.eye_array(len(X), format="csr")[:, free]
    tied = sparse.coo_array(
        (
            weights[follows].ravel(),
            (np.repeat(np.flatnonzero(follows), 3), corners[follows].ravel()),
        ),
        shape=(len(nodes), len(X)),
    )
    T = sparse.hstack([tied @ S, sparse.eye_array(len(nodes), format="csr")[:, unknown]])
    # Any other atom interpolates the mesh: this is what scikit-fem calls probes.
    probes = Basis(mesh, ElementTriP1()).probes(X[~free, :2].T)
    pad = sparse.eye_array(len(X), format="csr")[:, ~free]
    L = sparse.hstack([S, sparse.csr_array((len(X), int(unknown.sum())))]) + pad @ probes @ T
    return sparse.csr_matrix(L), sparse.csr_matrix(T)


def solve(residual, P: sparse.csr_matrix) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Newton-Krylov from zero, preconditioned by a factorised sparse matrix."""
    M = LinearOperator(P.shape, splu(P.tocsc()).solve)
    return optimize.newton_krylov(residual, np.zeros(P.shape[0]), inner_M=M, f_tol=1e-8)


def coupled(mesh: MeshTri) -> tuple[Sites, np.ndarray]:
    """The coupled solution: atoms of the patch and where they are, shape ``(n, 3)`` [Å]."""
    sites = atoms_within(CORE + BLEND + 2 * MARGIN)
    X = sites.positions
    sites = sites.select(near(X, X[near(X, X[REGIONS.beta(X) < 1])]))
    X = sites.positions
    beta = np.repeat(REGIONS.beta(X), 3)
    nodes = np.column_stack([*mesh.p, 0 * mesh.p[0]])
    node_beta = np.repeat(REGIONS.beta(nodes), 3)
    patch = patch_of(sites, REGIONS.beta(X) < 1)
    L, T = (sparse.csr_matrix(sparse.kron(lift, sparse.eye(3))) for lift in lifts(mesh, X))
    K, affine = stiffness(mesh), (nodes @ (F - np.eye(3)).T).ravel()

    def residual(z: np.ndarray) -> np.ndarray:
        forces = gradient(patch, X @ F.T + (L @ z).reshape(-1, 3)).ravel()
        return L.T @ ((1 - beta) * forces) + T.T @ (node_beta * (K @ (affine + T @ z)))

    # P: elasticity in place of the atoms, too, on the triangles between them.
    between = stiffness(triangles_between(X))
    P = L.T @ sparse.diags(1 - beta) @ between @ L + T.T @ sparse.diags(node_beta) @ K @ T
    return sites, X @ F.T + (L @ solve(residual, P)).reshape(-1, 3)


def atoms_everywhere() -> tuple[Sites, np.ndarray]:
    """The full atomistic model of the disc, a rim of atoms held."""
    sites = atoms_within(RADIUS + 2 * MARGIN)
    X = sites.positions
    free = np.hypot(X[:, 0], X[:, 1]) < RADIUS
    patch = patch_of(sites, free)
    S = sparse.csr_matrix(
        sparse.kron(sparse.eye_array(len(X), format="csr")[:, free], sparse.eye(3))
    )
    between = stiffness(triangles_between(X))

    def place(z: np.ndarray) -> np.ndarray:
        return X @ F.T + (S @ z).reshape(-1, 3)

    z = solve(lambda z: S.T @ gradient(patch, place(z)).ravel(), S.T @ between @ S)
    return sites, place(z)


def main() -> float:
    """Largest error of an atom in the core over the largest displacement by the vacancy."""
    sites, found = coupled(disc())
    everywhere, exact = atoms_everywhere()
    core = np.hypot(*sites.positions[:, :2].T) < CORE
    X = sites.positions[core]
    exact = exact[cKDTree(everywhere.positions).query(X)[1]]
    return float(np.abs(found[core] - exact).max() / np.abs(exact - X @ F.T).max())


if __name__ == "__main__":
    error = main()
    print(f"error against all atoms {error:.1%}")
    assert error < 0.02
