# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The two affine lifts from the unknowns to all atoms and to all mesh nodes, and their transposes.

The unknowns z are the correctors (displacement minus predictor) of the free atoms and of the free mesh nodes:

    atoms   y = X + a + L z        a free atom is an unknown, any other interpolates the mesh corrector
    nodes   v = b + T z            a node among free atoms interpolates them, any other is an unknown

T needs no L, and L = S + Φ T is a plain composition (S selects free atoms, Φ interpolates the mesh field).
Both are distributed PETSc matrices. Nothing here knows energies, methods or loads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import sparse

from msolve.continuum.space import DisplacementSpace
from msolve.kinematics.matrices import block_matrix, interpolation_matrix, petsc_matrix
from msolve.kinematics.slaving import NodeSlaving, mean_of, slave_nodes, straightened

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Unknowns:
    """Numbering of the unknowns: on each rank its free atoms, then its free mesh nodes.

    Attributes:
        comm: Communicator.
        components: Displacement components that are solved for, 3, or 2 for purely planar problems.
        atom: Global block index of each atom, -1 where the atom is not an unknown; the same on every rank.
        node: Global block index of each *local* node (owned, then ghosts), -1 where it is slaved or prescribed.
        n_owned: Blocks owned by this rank.
        n_blocks: Blocks on all ranks.
        idle: Local indices of the scalar unknowns that move nothing, because that component of their node is
            held; each is kept at zero by a spring of its own, so that blocks stay whole.
    """

    comm: MPI.Comm
    components: int
    atom: IntArray
    node: IntArray
    n_owned: int
    n_blocks: int
    idle: IntArray

    @property
    def n_global(self) -> int:
        """Scalar unknowns on all ranks."""
        return self.n_blocks * self.components

    def vector(self) -> PETSc.Vec:
        """A zero vector of unknowns. Collective."""
        size = self.n_owned * self.components
        vector = PETSc.Vec().createMPI((size, None), comm=self.comm)
        vector.set(0.0)
        return vector

    def springs(self) -> PETSc.Mat | None:
        """Diagonal matrix with ones at the idle unknowns of all ranks, or ``None`` where there are none. Collective."""
        if self.comm.allreduce(len(self.idle)) == 0:
            return None
        size = self.n_owned * self.components
        begin = int(self.comm.exscan(size) or 0)
        entries = (np.ones(len(self.idle)), (self.idle, begin + self.idle))
        csr = sparse.csr_matrix(entries, shape=(size, self.n_global))
        return petsc_matrix(self.comm, csr, size)


@dataclass(frozen=True)
class Kinematics:
    """Lifts of one problem.

    Attributes:
        unknowns: Numbering.
        space: Displacement space, or ``None`` where there is no mesh.
        atom_owner: Rank that owns each atom.
        owned_atoms: Atoms of this rank, in ascending order; the rows of ``L``.
        nodes: ``T`` for the local nodes, ghosts included: ``3 * n_local_nodes`` rows.
        nodes_owned: ``T`` for the owned nodes only, rows laid out as the space's degrees of freedom.
        interpolation: Φ for the owned atoms (empty rows for free ones and those outside the mesh).
        recovery: Whether linear elements are corrected between their vertices for curvature (``recovery``).
        straight: Local nodes inside edges between two atoms, halfway between which they stay, and the nodes at
            these atoms, shape ``(n, 3)``.
        atoms: ``L`` for the owned atoms.
    """

    unknowns: Unknowns
    space: DisplacementSpace | None
    atom_owner: IntArray
    owned_atoms: IntArray
    atoms: PETSc.Mat
    nodes: PETSc.Mat | None
    nodes_owned: PETSc.Mat | None
    interpolation: PETSc.Mat | None
    recovery: bool = False
    straight: IntArray = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))

    def atom_rows(self) -> IntArray:
        """Block row of each atom in matrices whose rows are laid out by owner, shape ``(n_atoms,)``."""
        row = np.empty(len(self.atom_owner), dtype=np.int64)
        row[np.argsort(self.atom_owner, kind="stable")] = np.arange(len(row))
        return row

    def atoms_of(self, local: IntArray) -> PETSc.Mat:
        """Rows of ``L`` for any atoms, owned elsewhere or not, so that one product brings ghosts too. Collective.

        Args:
            local: Global indices of the atoms, in the order in which rows are wanted, shape ``(n,)``.
        """
        rows = (3 * self.atom_rows()[local][:, None] + np.arange(3)).ravel().astype(PETSc.IntType)
        begin, end = self.atoms.getOwnershipRangeColumn()
        columns = np.arange(begin, end, dtype=PETSc.IntType)
        comm = self.unknowns.comm
        return self.atoms.createSubMatrix(
            PETSc.IS().createGeneral(rows, comm=comm), PETSc.IS().createGeneral(columns, comm=comm)
        )


def build_kinematics(
    comm: MPI.Comm,
    X: Array,
    free: BoolArray,
    atom_owner: IntArray,
    space: DisplacementSpace | None = None,
    prescribed: IntArray | None = None,
    held: BoolArray | None = None,
    beta: Array | None = None,
    slits: tuple[tuple[float, float], ...] = (),
    components: int = 3,
    basis: IntArray | None = None,
    recovery: bool = False,
) -> Kinematics:
    """Number the unknowns and assemble the lifts. Collective.

    Args:
        comm: Communicator.
        X: Reference positions of all atoms, the same on every rank, shape ``(n, 3)`` [Å].
        free: Atoms that are unknowns, shape ``(n,)``.
        atom_owner: Rank of each atom, shape ``(n,)``.
        space: Displacement space; ``None`` leaves the other atoms at their predictor.
        prescribed: Local nodes whose corrector is prescribed.
        held: Components of local nodes that are prescribed where others of the same node are not, shape
            ``(n_local, 3)``, bool.
        beta: Blending function at the local nodes: below one a node follows the atoms around it where all of
            those are free, and at zero it is never an unknown. Shape ``(n_local,)``; required with a space.
        slits: Straight cracks ``(x1 of the tip, x2 of the plane)``, open towards -x1: no interpolation across.
        components: Displacement components that are unknowns, 2 or 3.
        basis: Basis atom of the primitive cell that each atom is, shape ``(n,)``. Nodes follow the mean of the
            sublattices: its displacement is what the continuum knows. Default: one sublattice.
        recovery: Correct linear elements between their vertices for curvature, where atoms interpolate them.
    """
    n_free_atoms = np.bincount(atom_owner[free], minlength=comm.size)
    slaving = NodeSlaving.none(0)
    straight: IntArray = np.zeros((0, 3), dtype=np.int64)
    node_is_free: BoolArray = np.zeros(0, dtype=bool)
    if space is not None and prescribed is not None and beta is not None:
        positions = space.nodes()
        candidate = beta < 1
        candidate[prescribed] = False
        if held is not None:
            candidate &= ~held.any(axis=1)
        parts = []
        for b in range(1 if basis is None else int(basis.max()) + 1):
            own = np.arange(len(X)) if basis is None else np.flatnonzero(basis == b)
            part = slave_nodes(
                positions, candidate, X[own], free[own], space.gdim, slits, basis is not None
            )
            parts.append(part.renumbered(own))
        slaving = mean_of(parts)
        slaving, straight = straightened(slaving, candidate, space.edge_nodes())
        node_is_free = ~slaving.slaved & (beta > 0)
        node_is_free[prescribed] = False
    n_owned_nodes = space.n_owned_nodes if space is not None else 0
    blocks = int(n_free_atoms[comm.rank] + np.count_nonzero(node_is_free[:n_owned_nodes]))
    begin = int(comm.exscan(blocks) or 0)
    begins = np.array(comm.allgather(begin))
    atom = np.full(len(X), -1, dtype=np.int64)
    for rank in range(comm.size):
        mine = np.flatnonzero(free & (atom_owner == rank))
        atom[mine] = begins[rank] + np.arange(len(mine))
    node = _number_nodes(space, node_is_free, begin + int(n_free_atoms[comm.rank]))
    idle = _idle(node[:n_owned_nodes], held, begin, components)
    unknowns = Unknowns(comm, components, atom, node, blocks, int(comm.allreduce(blocks)), idle)
    owned_atoms = np.flatnonzero(atom_owner == comm.rank)
    selected = owned_atoms[free[owned_atoms]]
    rows = np.searchsorted(owned_atoms, selected)
    S = block_matrix(
        comm, rows, atom[selected], np.ones(len(rows)), len(owned_atoms), blocks, 3, components
    )
    if space is None:
        return Kinematics(unknowns, None, atom_owner, owned_atoms, S, None, None, None)
    T = _node_lift(comm, unknowns, slaving, held, space.n_local_nodes, 3)
    T_owned = _node_lift(comm, unknowns, slaving, held, space.n_owned_nodes, space.block)
    interpolation = interpolation_matrix(space, X, owned_atoms, ~free, recovery)
    L = interpolation.matMult(T_owned)
    L.axpy(1.0, S, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
    return Kinematics(
        unknowns, space, atom_owner, owned_atoms, L, T, T_owned, interpolation, recovery, straight
    )


def _idle(node: IntArray, held: BoolArray | None, begin: int, components: int) -> IntArray:
    """Local indices of the unknowns of held components; ``node`` numbers the owned nodes."""
    if held is None:
        return np.zeros(0, dtype=np.int64)
    at, component = np.nonzero(held[: len(node), :components] & (node >= 0)[:, None])
    return components * (node[at] - begin) + component


def _number_nodes(space: DisplacementSpace | None, node_is_free: BoolArray, begin: int) -> IntArray:
    if space is None:
        return np.zeros(0, dtype=np.int64)
    from dolfinx import fem

    # A function carries the numbers to the ghosts; doubles hold integers exactly up to 2^53.
    carrier = fem.Function(space.V)
    number = carrier.x.array.reshape(-1, space.block)
    number[:] = -1.0
    owned = np.flatnonzero(node_is_free[: space.n_owned_nodes])
    number[owned] = (begin + np.arange(len(owned)))[:, None]
    carrier.x.scatter_forward()
    return carrier.x.array.reshape(-1, space.block)[:, 0].astype(np.int64)


def _node_lift(
    comm: MPI.Comm,
    unknowns: Unknowns,
    slaving: NodeSlaving,
    held: BoolArray | None,
    n_rows: int,
    row_block: int,
) -> PETSc.Mat:
    is_unknown = np.flatnonzero(unknowns.node[:n_rows] >= 0)
    tied = slaving.node < n_rows
    rows = np.concatenate([is_unknown, slaving.node[tied]])
    columns = np.concatenate([unknowns.node[is_unknown], unknowns.atom[slaving.atom[tied]]])
    values = np.concatenate([np.ones(len(is_unknown)), slaving.weight[tied]])
    size = (n_rows, unknowns.n_owned, row_block, unknowns.components)
    return block_matrix(comm, rows, columns, values, *size, None if held is None else ~held[rows])
