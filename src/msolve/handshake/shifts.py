# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Where the sublattices of a multilattice stand in the pad: the mesh moves their mean, they shift against it.

An atom that the mesh carries stands at X + u(X) + p_b(F), with the inner shifts p_b of the potential's own
Cauchy-Born law at the gradient of the mesh field there, their mean over the basis taken off. Without them a strained
diamond or hcp pad is no crystal at rest, and the atoms feel it. The mean, not the first sublattice, because it has the
symmetry of the crystal: inversion swaps the sublattices of diamond and hcp, so p_b depends on no second gradient of
the mean, and free surfaces are free of traction by its gradient. With the first sublattice both are off to first order.

References:
    Tadmor, Smith, Bernstein, Kaxiras, "Mixed finite element and atomistic formulation for complex crystals",
    Phys. Rev. B 59, 235 (1999).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.kinematics import Kinematics, gradient_matrix

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class ShiftResponse(Protocol):
    """Inner shifts at some F, and how they follow a change of F; those of the first basis atom are zero. Rank-local."""

    shifts: Array

    def along(self, change: Array) -> Array:
        """Change of the shifts with F, ``(q, 3, 3)`` [-] to ``(q, n_basis, 3)`` [Å]."""
        ...

    def back(self, gradient: Array) -> Array:
        """The transpose of ``along``."""
        ...


@runtime_checkable
class ShiftLaw(Protocol):
    """A Cauchy-Born law that knows its inner shifts; those of the first basis atom are zero. Rank-local."""

    def shifts(self, F: Array) -> Array:
        """Shifts at ``F (q, 3, 3)``, shape ``(q, n_basis, 3)`` [Å]."""
        ...

    def linear_shifts(self, F: Array) -> Array:
        """Shifts to first order in the stretch, for any F, shape ``(q, n_basis, 3)`` [Å]."""
        ...

    def response(self, F: Array) -> ShiftResponse:
        """Shifts and their derivative."""
        ...


@dataclass(frozen=True)
class InnerShifts:
    """The law, and which sublattice each atom of a patch belongs to. Shifts are against the mean of the basis.

    Attributes:
        law: Cauchy-Born law.
        basis: Basis atom of the primitive cell that each atom is, shape ``(n,)``.
    """

    law: ShiftLaw
    basis: IntArray

    def at(self, gradient: Array, atoms: IntArray) -> Array:
        """Shifts of some atoms where the displacement gradient is ``gradient (n, 3, 3)``, ``(n, 3)`` [Å]."""
        return self._own(self.law.shifts(np.eye(3) + gradient), atoms)

    def nearly(self, gradient: Array, atoms: IntArray) -> Array:
        """The same to first order in the stretch; finite also beside a crack tip."""
        return self._own(self.law.linear_shifts(np.eye(3) + gradient), atoms)

    def _own(self, shifts: Array, atoms: IntArray) -> Array:
        return of_atoms(shifts, self.basis[atoms])


def of_atoms(shifts: Array, basis: IntArray) -> Array:
    """Shifts of single atoms against the mean of their cell: ``(n, n_basis, ...)`` at basis atoms ``(n,)``."""
    return np.asarray(shifts[np.arange(len(basis)), basis] - shifts.mean(axis=1))


class CarriedShifts:
    """Shifts of the atoms that the mesh carries, as a function of the unknowns.

    Args:
        inner: Law and sublattices.
        kinematics: Lifts.
        X: Reference positions of all atoms, shape ``(n, 3)`` [Å].
        carried: Atoms that the mesh carries, shape ``(n,)``, bool.
        owned: Atoms of this rank whose gradients it computes, ascending; other ranks own all others.

    Note:
        Construction is collective.
    """

    def __init__(
        self,
        inner: InnerShifts,
        kinematics: Kinematics,
        X: Array,
        carried: BoolArray,
        owned: IntArray,
    ) -> None:
        space = kinematics.space
        assert space is not None and kinematics.nodes_owned is not None
        self.inner = inner
        self.gdim = space.gdim
        self.moving = carried
        self.of_mesh = gradient_matrix(space, X, owned, self.moving, kinematics.recovery)
        self.of_unknowns = self.of_mesh.matMult(kinematics.nodes_owned)

    def rows(self, row_of: IntArray, local: IntArray) -> CarriedRows:
        """The same for the local atoms of a patch (global indices, copies of other ranks' included). Collective.

        ``row_of`` is the place of each atom in matrices whose rows are laid out by owner.
        """
        place = np.flatnonzero(self.moving[local])
        size = 3 * self.gdim
        rows = size * row_of[local[place]][:, None] + np.arange(size)
        comm = self.of_mesh.comm
        wanted = PETSc.IS().createGeneral(rows.ravel().astype(PETSc.IntType), comm=comm)
        parts = []
        for matrix in (self.of_unknowns, self.of_mesh):
            begin, end = matrix.getOwnershipRangeColumn()
            columns = np.arange(begin, end, dtype=PETSc.IntType)
            every = PETSc.IS().createGeneral(columns, comm=comm)
            parts.append(matrix.createSubMatrix(wanted, every))
        return CarriedRows(self.inner, local[place], place, self.gdim, parts[0], parts[1])


@dataclass
class CarriedRows:
    """Shifts of this rank's copies of carried atoms.

    Attributes:
        inner: Law and sublattices.
        atoms: Global indices, shape ``(k,)``.
        place: Their places among the local atoms, shape ``(k,)``.
        gdim: Dimension of the mesh.
        of_unknowns: Gradient of the corrector from the unknowns, ``3 gdim k`` rows.
        of_mesh: The same from the degrees of freedom of the mesh.
    """

    inner: InnerShifts
    atoms: IntArray
    place: IntArray
    gdim: int
    of_unknowns: PETSc.Mat
    of_mesh: PETSc.Mat

    def gradient(self, z: PETSc.Vec) -> Array:
        """Displacement gradient of the corrector, shape ``(k, 3, 3)``. Collective."""
        return self._gradient(self.of_unknowns, z)

    def gradient_of(self, nodal: Array) -> Array:
        """The same for given degrees of freedom of the mesh, owned ones of this rank, flat. Collective."""
        v = self.of_mesh.createVecRight()
        v.array[:] = nodal
        return self._gradient(self.of_mesh, v)

    def push(self, by_F: Array, out: PETSc.Vec) -> None:
        """Add the transpose of ``gradient`` applied to ``by_F (k, 3, 3)`` to ``out``. Collective."""
        work = self.of_unknowns.createVecLeft()
        work.array[:] = np.swapaxes(by_F[:, :, : self.gdim], 1, 2).ravel()
        self.of_unknowns.multTransposeAdd(work, out, out)

    def _gradient(self, matrix: PETSc.Mat, v: PETSc.Vec) -> Array:
        work = matrix.createVecLeft()
        matrix.mult(v, work)
        out = np.zeros((len(self.atoms), 3, 3))
        rows = work.array_r.reshape(len(self.atoms), self.gdim, 3)
        out[:, :, : self.gdim] = np.swapaxes(rows, 1, 2)
        return out


@dataclass
class ShiftState:
    """The carried shifts of one rank in one state, and their derivative where it is asked for.

    Attributes:
        rows: Which atoms.
        F: Deformation gradient at each, shape ``(k, 3, 3)``.
        shifts: Their shifts, shape ``(k, 3)`` [Å].
    """

    rows: CarriedRows
    F: Array
    shifts: Array
    _responses: dict[bytes, tuple[IntArray, ShiftResponse]] = field(default_factory=dict)

    @classmethod
    def at(cls, rows: CarriedRows, F: Array) -> ShiftState:
        """The state at given deformation gradients."""
        return cls(rows, F, rows.inner.at(F - np.eye(3), rows.atoms))

    def back(self, on_atoms: Array) -> Array:
        """Gradient by F from that by the local atoms ``(n_local, 3)``; shape ``(k, 3, 3)``."""
        out = np.zeros((len(self.F), 3, 3))
        given = on_atoms[self.rows.place]
        acting = np.flatnonzero(given.any(axis=1))  # none at all where forces are blended
        if len(acting):
            out[acting] = self._response(acting).back(self._spread(given[acting], acting))
        return out

    def along(self, change: Array) -> Array:
        """Change of the shifts with F ``(k, 3, 3)``, shape ``(k, 3)`` [Å]."""
        every = np.arange(len(self.F))
        if len(every) == 0:
            return np.zeros((0, 3))
        moved = self._response(every).along(change)
        return of_atoms(moved, self.rows.inner.basis[self.rows.atoms])

    def curvature(self, on_atoms: Array, size: float = 1e-5) -> Callable[[Array], Array]:
        """The map from a change of F to that of :meth:`back` at a fixed gradient by the atoms.

        Central differences of the exact first derivative.
        """
        acting = np.flatnonzero(on_atoms[self.rows.place].any(axis=1))
        spread = self._spread(on_atoms[self.rows.place][acting], acting)

        def product(change: Array) -> Array:
            out = np.zeros((len(self.F), 3, 3))
            way = change[acting]
            largest = np.abs(way).max(initial=0.0)
            if largest > 0:
                step = size / largest
                law = self.rows.inner.law
                ends = [law.response(self.F[acting] + s * step * way).back(spread) for s in (1, -1)]
                out[acting] = (ends[0] - ends[1]) / (2 * step)
            return out

        return product

    def _response(self, some: IntArray) -> ShiftResponse:
        key = some.tobytes()
        if key not in self._responses:
            self._responses[key] = (some, self.rows.inner.law.response(self.F[some]))
        return self._responses[key][1]

    def _spread(self, given: Array, some: IntArray) -> Array:
        """Gradients by single atoms as gradients by all basis atoms of a cell: the transpose of ``of_atoms``."""
        basis = self.rows.inner.basis
        n_basis = int(basis.max()) + 1
        out = np.repeat(-given[:, None] / n_basis, n_basis, axis=1)
        out[np.arange(len(some)), basis[self.rows.atoms[some]]] += given
        return out
