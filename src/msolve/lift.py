# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""From the unknowns to the atoms and nodes of one rank, and gradients back by the transpose."""

from __future__ import annotations

from collections.abc import Callable

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.atomistic import Patch
from msolve.coupling import Contribution, Snapshot
from msolve.handshake.shifts import CarriedShifts
from msolve.kinematics import Kinematics
from msolve.placement import Placement

Array = npt.NDArray[np.float64]


class Lift:
    """Rows of the lifts for the patch's current local atoms; rebuilt when the patch is."""

    def __init__(
        self,
        kinematics: Kinematics,
        patch: Patch,
        carried: CarriedShifts | None,
        placement: Placement,
    ):
        self.version = patch.version
        self.local = patch.local.copy()
        self.atoms = kinematics.atoms_of(self.local)
        self._y = self.atoms.createVecLeft()
        self.nodes = kinematics.nodes
        self._v = (self.nodes or self.atoms).createVecLeft()
        self.carried = None if carried is None else carried.rows(kinematics.atom_rows(), self.local)
        flanks = placement.flanks
        self.flanks = None if flanks is None else flanks.lift(placement.X[self.local])

    def forward(self, z: PETSc.Vec) -> tuple[Array, Array]:
        """Correctors of the local atoms and nodes. Collective."""
        self.atoms.mult(z, self._y)
        if self.nodes is None:
            return self._y.array.reshape(-1, 3).copy(), np.zeros((0, 3))
        self.nodes.mult(z, self._v)
        return self._y.array.reshape(-1, 3).copy(), self._v.array.reshape(-1, 3).copy()

    def along(self, v: PETSc.Vec, at: Snapshot) -> tuple[Array, Array, Array | None]:
        """Change of the local atoms and nodes with the unknowns, and of F where shifts depend on it. Collective."""
        atoms, nodes = self.forward(v)
        if at.flanks is not None:
            at.flanks.along(nodes, atoms)
        state = at.carried
        if state is None:
            return atoms, nodes, None
        change = state.rows.gradient(v)
        atoms[state.rows.place] += state.along(change)
        return atoms, nodes, change

    def reverse(
        self,
        parts: list[Contribution],
        out: PETSc.Vec,
        at: Snapshot,
        by_F: Array | None = None,
        bent: Callable[[Array], None] | None = None,
    ) -> None:
        """Add up gradients on the unknowns: the exact transpose of ``along``. Collective.

        ``by_F`` is what the shifts' own curvature adds, ``bent`` adds that of the learned lift to the nodes.
        """
        state = at.carried
        self._y.array[:] = sum(
            (p.on_atoms.ravel() for p in parts if p.on_atoms is not None), np.zeros(1)
        )
        self.atoms.multTranspose(self._y, out)
        on_atoms: Array = self._y.array_r.reshape(-1, 3).copy()
        if state is not None:
            pushed = state.back(on_atoms)
            state.rows.push(pushed if by_F is None else pushed + by_F, out)
        if self.nodes is not None:
            self._v.array[:] = sum(
                (p.on_nodes.ravel() for p in parts if p.on_nodes is not None), np.zeros(1)
            )
            if at.flanks is not None:
                on_nodes = self._v.array.reshape(-1, 3)
                at.flanks.back(on_atoms, on_nodes)
                if bent is not None:
                    bent(on_nodes)
            self.nodes.multTransposeAdd(self._v, out, out)
