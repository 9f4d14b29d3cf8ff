# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A caller's own weak form as a residual of nodal displacements: his function, his form, his boundary conditions.

The form is assembled as it stands, with whatever law, loads and constants it holds at that moment; nothing here
knows which. Everything is collective.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, la
from dolfinx.fem import petsc as fem_petsc

from msolve.continuum.space import space_from

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class WeakForm:
    """Residual F(u; v) = 0 in v and its derivative by u.

    Args:
        u: The caller's displacement; its values are overwritten, no copy is kept.
        F: UFL form, linear in the test function of ``u``'s space.
        bcs: Dirichlet conditions on ``u``'s space or its components. Which degrees of freedom they hold is
            read once, their values anew each time.
        thickness: Length along the front that the form leaves out [Å]: a factor on its rows; 1 in 3-D.

    Raises:
        UnsupportedError: The space cannot carry atoms.

    Note:
        Construction is collective and compiles the derivative.
    """

    def __init__(self, u: Any, F: Any, bcs: Sequence[Any], thickness: float):
        self.space = space_from(u.function_space, thickness)
        self.u = u
        self.bcs = tuple(bcs)
        self._residual = fem.form(F)
        self._jacobian = fem.form(ufl.derivative(F, u))

    def held(self) -> BoolArray:
        """Components of the local nodes that the boundary conditions hold, shape ``(n_local_nodes, 3)``."""
        flags = fem.Function(self.u.function_space)
        for bc in self.bcs:
            flags.x.array[bc.dof_indices()[0]] = 1.0
        flags.x.scatter_forward()
        return self._on_nodes(flags.x.array) > 0

    def boundary(self) -> Array:
        """What the boundary conditions prescribe at this moment, zero elsewhere, ``(n_local_nodes, 3)`` [Å]."""
        values = fem.Function(self.u.function_space)
        for bc in self.bcs:
            bc.set(values.x.array)
        values.x.scatter_forward()
        return self._on_nodes(values.x.array)

    def displacement(self) -> Array:
        """The caller's present displacement at the local nodes, shape ``(n_local_nodes, 3)`` [Å]."""
        return self._on_nodes(self.u.x.array)

    def write(self, nodes: Array) -> None:
        """Give the caller's function the displacement ``(n_local_nodes, 3)`` [Å]."""
        self.u.x.array[:] = nodes[:, : self.space.block].ravel()

    def residual(self, nodes: Array) -> Array:
        """Rows of the form at a displacement, both ``(n_local_nodes, 3)``: [Å] to [eV/Å].

        Each row is whole at its owner and zero at ghosts.
        """
        self.write(nodes)
        rows = fem.assemble_vector(self._residual)
        rows.scatter_reverse(la.InsertMode.add)
        out = self.space.thickness * self._on_nodes(np.array(rows.array))
        out[self.space.n_owned_nodes :] = 0.0
        return out

    def tangent(self, nodes: Array) -> PETSc.Mat:
        """Derivative of the rows on the space's degrees of freedom [eV/Å²], no boundary condition applied."""
        self.write(nodes)
        matrix = fem_petsc.assemble_matrix(self._jacobian)
        matrix.assemble()
        matrix.scale(self.space.thickness)
        return matrix

    def product(self, matrix: PETSc.Mat) -> Callable[[Array], Array]:
        """The map direction -> ``matrix`` · direction, both ``(n_local_nodes, 3)``, zero at ghosts."""
        v, out = matrix.createVecRight(), matrix.createVecLeft()
        n, block = self.space.n_owned_nodes, self.space.block

        def apply(direction: Array) -> Array:
            v.array[:] = direction[:n, :block].ravel()
            matrix.mult(v, out)
            rows = np.zeros((len(direction), 3))
            rows[:n, :block] = out.array.reshape(-1, block)
            return rows

        return apply

    def _on_nodes(self, values: Array) -> Array:
        block = self.space.block
        nodes = np.zeros((len(values) // block, 3))
        nodes[:, :block] = values.reshape(-1, block)
        return nodes
