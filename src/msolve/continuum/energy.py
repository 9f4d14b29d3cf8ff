# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Stored energy of the mesh field, its gradient and its Hessian products, with a weight per quadrature point.

E_c(w; u) = ∫ w W(I + ∇u_pred + ∇u) dX, where u_pred is a predictor known in closed form and u the finite
element corrector. Everything here is rank-local: contributions to ghost nodes are left to the caller, whose
transposed lift adds them up.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from petsc4py import PETSc

import basix.ufl
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc

from msolve.continuum.space import SIMPLEX, DisplacementSpace

Array = npt.NDArray[np.float64]


class Beyond(Protocol):
    """Material beyond the cells that moves as some of them do, continued."""

    @property
    def cells(self) -> npt.NDArray[np.int64]:
        """Owned cell that each piece belongs to, shape ``(k,)``."""
        ...

    @property
    def volume(self) -> Array:
        """Volume of each piece, per unit length along the front in the plane, shape ``(k,)``."""
        ...

    def points(self, n: int) -> Array:
        """``n`` points of equal weight in each piece, shape ``(k, n, 3)`` [Å]."""
        ...


class Material(Protocol):
    """A hyperelastic law, evaluated at many points at once.

    Rank-local, unless it has an attribute ``collective`` that is true: then all ranks call it together.
    """

    def energy_density(self, F: Array) -> tuple[Array, Array]:
        """Energy density ``(n,)`` [eV/Å³] and first Piola-Kirchhoff stress ``(n, 3, 3)`` [eV/Å³] at ``F (n, 3, 3)``."""
        ...

    def tangent(self, F: Array) -> Array:
        """∂P/∂F at ``F (n, 3, 3)``, shape ``(n, 3, 3, 3, 3)`` [eV/Å³]."""
        ...


@dataclass(frozen=True)
class _Response:
    """W and P at the points of the cells where they are known, in the state ``u``, ``background``."""

    u: Array
    background: Array
    known: npt.NDArray[np.bool_]
    W: Array
    P: Array


class StoredEnergy:
    """Assembles E_c and its derivatives on a displacement space.

    What has a value per quadrature point has one row for each owned cell, and after these one for each piece of
    material beyond them (the half layer at a crack flank), ``(n_rows, n_q, ...)``.

    Args:
        space: Displacement space.
        material: Law of the material.
        beyond: Material that the mesh stands for without covering it.

    Attributes:
        points: Quadrature points, shape ``(n_rows, n_q, 3)`` [Å].
        volume: Their weights, shape ``(n_rows, n_q)`` [Å³].
        nodes: Local nodes that move each row, shape ``(n_rows, nodes_per_cell)``.
    """

    def __init__(self, space: DisplacementSpace, material: Material, beyond: Beyond | None = None):
        self.space = space
        self.material = material
        self.points, self.volume, self._gradients = space.quadrature()
        # With one point a cell, the predictor's gradient is its mean over the cell: what is integrated
        # against linear elements is then exact to the order of the finer rule, at a third of the cost.
        one = self.points.shape[1] == 1
        self._sampled = space.quadrature_points(2) if one else self.points
        self.nodes = space.cell_nodes()
        self._has_beyond = beyond is not None
        if beyond is not None:
            self._add(beyond)
        self._forms = _Forms.of(space)
        self._last: _Response | None = None

    def _add(self, beyond: Beyond) -> None:
        """Append rows for what lies beyond the cells."""
        (k,), n, cells = beyond.cells.shape, self.points.shape[1], beyond.cells
        X = beyond.points(n)
        own = self.space.gradients_at(np.repeat(cells, n), X.reshape(-1, 3))
        share = np.repeat(beyond.volume[:, None] * self.space.thickness / n, n, axis=1)
        self.points = np.concatenate([self.points, X])
        self.volume = np.concatenate([self.volume, share])
        self._gradients = np.concatenate([self._gradients, own.reshape(k, n, *own.shape[1:])])
        more = beyond.points(self._sampled.shape[1])
        self._sampled = np.concatenate([self._sampled, more])
        self.nodes = np.concatenate([self.nodes, self.nodes[cells]])

    def of(self, material: Material) -> StoredEnergy:
        """The stored energy of the same mesh with another law."""
        other = copy.copy(self)
        other.material, other._last = material, None
        return other

    def sample(self, field: Callable[[Array], Array]) -> Array:
        """A field as the energy sees it: at the quadrature points, or its mean where a cell has only one.

        Args:
            field: The predictor's gradient or the blending function: points ``(n, 3)`` to ``(n, ...)``.

        Returns:
            Shape ``(n_rows, n_q, ...)``.
        """
        n_rows, n_samples = self._sampled.shape[:2]
        values = field(self._sampled.reshape(-1, 3))
        sampled = values.reshape(n_rows, n_samples, *values.shape[1:])
        return sampled if n_samples == self.points.shape[1] else sampled.mean(axis=1, keepdims=True)

    def deformation(self, u: Array, background: Array, cells: npt.NDArray[np.bool_]) -> Array:
        """F = I + ∇u_pred + ∇u on some rows, shape ``(k, n_q, 3, 3)``; ``u`` is ``(n_local_nodes, 3)`` [Å]."""
        return background[cells] + np.eye(3) + self.gradient(u, cells)

    def gradient(self, u: Array, cells: npt.NDArray[np.bool_]) -> Array:
        """∇u on some rows, shape ``(k, n_q, 3, 3)``; ``u`` is ``(n_local_nodes, 3)`` [Å]."""
        gradients = self._gradients[cells]
        out = np.zeros((*gradients.shape[:2], 3, 3))
        out[..., : self.space.gdim] = np.einsum("cqnx,cni->cqix", gradients, u[self.nodes[cells]])
        return out

    def evaluate(self, u: Array, background: Array, weight: Array) -> tuple[float, Array]:
        """Energy of this rank's cells [eV] and its gradient by the local nodes, ``(n_local_nodes, 3)`` [eV/Å].

        Args:
            u: Corrector at the local nodes, shape ``(n_local_nodes, 3)`` [Å].
            background: ∇u_pred at the quadrature points, shape ``(n_rows, n_q, 3, 3)``.
            weight: Weight of each quadrature point, shape ``(n_rows, n_q)``; rows without any are not evaluated.
        """
        cells = np.asarray(weight.any(axis=1))
        W, P = self.response(u, background, cells)
        energy = float(np.sum(self.volume[cells] * weight[cells] * W))
        return energy, self.assemble(cells, P, weight)

    def response(
        self, u: Array, background: Array, cells: npt.NDArray[np.bool_]
    ) -> tuple[Array, Array]:
        """W and P on some cells. In a state met last time only the cells that are new are evaluated.

        The blended energy and the blended forces ask for nearly the same cells.
        """
        last = self._last
        if last is None or last.background is not background or not np.array_equal(last.u, u):
            shape = self.volume.shape
            none = np.zeros(len(cells), dtype=bool)
            last = _Response(u.copy(), background, none, np.empty(shape), np.empty((*shape, 3, 3)))
        missing = cells & ~last.known
        self._last = None
        if missing.any() or getattr(self.material, "collective", False):
            F = self.deformation(u, background, missing)
            W, P = self.material.energy_density(F.reshape(-1, 3, 3))
            last.W[missing], last.P[missing] = W.reshape(F.shape[:2]), P.reshape(F.shape)
            last.known[missing] = True
        self._last = last
        return last.W[cells], last.P[cells]

    def stress(self, u: Array, background: Array) -> tuple[Array, Array]:
        """Deformation gradient and first Piola-Kirchhoff stress averaged over each cell, both ``(n_cells, 3, 3)``."""
        cells = np.arange(len(self.nodes)) < self.space.n_cells
        F = self.deformation(u, background, cells)
        mean = np.average(F, axis=1)
        return mean, self.material.energy_density(mean)[1]

    def linearise(self, u: Array, background: Array, weight: Array) -> Callable[[Array], Array]:
        """The map direction -> Hessian · direction at ``u``, both ``(n_local_nodes, 3)``, this rank's share."""
        cells = np.asarray(weight.any(axis=1))
        F = self.deformation(u, background, cells)
        A = self.material.tangent(F.reshape(-1, 3, 3)).reshape(*F.shape[:2], 3, 3, 3, 3)
        A = np.ascontiguousarray(A[..., : self.space.gdim])
        gradients, nodes = self._gradients[cells], self.nodes[cells]

        def product(direction: Array) -> Array:
            dF = np.einsum("cqnx,cni->cqix", gradients, direction[nodes])
            return self.assemble(cells, np.einsum("cqiJkL,cqkL->cqiJ", A, dF), weight)

        return product

    def stiffness(self, C: Array, weight: Array) -> PETSc.Mat:
        """Assembled stiffness of a homogeneous linear law C ``(3, 3, 3, 3)`` [eV/Å³]. Collective.

        Rows and columns are the degrees of freedom of the space; no boundary condition is applied.
        """
        gdim, forms, n = self.space.gdim, self._forms, self.space.n_cells
        forms.law.value[...] = C[:, :gdim, :, :gdim].reshape(3 * gdim, 3 * gdim)
        forms.weight.x.array[forms.points] = self.space.thickness * weight[:n]
        matrix = fem_petsc.assemble_matrix(forms.stiffness)
        matrix.assemble()
        if self._has_beyond:
            g = self._gradients[n:]
            of_rows = np.einsum(
                "cq,cqnJ,iJkL,cqmL->cnimk",
                self.volume[n:] * weight[n:],
                g,
                C[:, :gdim, :, :gdim],
                g,
                optimize=True,
            )
            self._add_to(matrix, of_rows)
        return matrix

    def _add_to(self, matrix: PETSc.Mat, of_rows: Array) -> None:
        """Add matrices of the rows beyond the cells, ``(k, nodes, 3, nodes, 3)``, to one of the cells. Collective."""
        nodes = self.space.global_nodes()[self.nodes[self.space.n_cells :]]
        dofs = (3 * nodes[:, :, None] + np.arange(3)).reshape(len(nodes), 3 * nodes.shape[1])
        rows = dofs.astype(PETSc.IntType)
        values = of_rows.reshape(len(dofs), dofs.shape[1], dofs.shape[1])
        # The cells have made room for them: these are sums over the same nodes.
        matrix.setValuesRCV(rows, rows, values, PETSc.InsertMode.ADD_VALUES)
        matrix.assemble()

    def assemble(self, rows: npt.NDArray[np.bool_], P: Array, weight: Array) -> Array:
        """∫ w P : ∇v by the local nodes, this rank's share, ``(n_local_nodes, 3)`` [eV/Å].

        Args:
            rows: Rows that P is given for, the others count as none, shape ``(n_rows,)``.
            P: Stress, shape ``(k, n_q, 3, 3)`` [eV/Å³].
            weight: w, shape ``(n_rows, n_q)``.
        """
        gdim, forms, n = self.space.gdim, self._forms, self.space.n_cells
        stress = np.zeros((*weight.shape, 3, gdim))
        stress[rows] = weight[rows][..., None, None] * P[..., :gdim]
        flat = forms.stress.x.array.reshape(-1, 3 * gdim)
        flat[forms.points] = self.space.thickness * stress[:n].reshape(*weight[:n].shape, -1)
        out = np.array(fem.assemble_vector(forms.gradient).array).reshape(-1, 3)
        beyond = np.einsum(
            "cq,cqiJ,cqnJ->cni", self.volume[n:], stress[n:], self._gradients[n:], optimize=True
        )
        np.add.at(out, self.nodes[n:], beyond)
        return out


@dataclass(frozen=True)
class _Forms:
    """Compiled forms: ∫ S : ∇v and ∫ w ∇v : C : ∇u with S and w given at the quadrature points."""

    stress: Any
    weight: Any
    law: Any
    points: npt.NDArray[
        np.int32
    ]  # (n_cells, n_q): where a quadrature function keeps a cell's values
    gradient: Any
    stiffness: Any

    @classmethod
    def of(cls, space: DisplacementSpace) -> _Forms:
        cell = SIMPLEX[space.gdim]
        size = 3 * space.gdim
        stress = _quadrature_function(space, cell, size)
        weight = _quadrature_function(space, cell, None)
        law = fem.Constant(space.mesh, np.zeros((size, size)))
        u, v = ufl.TrialFunction(space.V), ufl.TestFunction(space.V)
        dx = ufl.dx(domain=space.mesh, metadata={"quadrature_degree": space.quadrature_degree})
        return cls(
            stress=stress,
            weight=weight,
            law=law,
            points=stress.function_space.dofmap.list[: space.n_cells],
            gradient=fem.form(ufl.inner(stress, _rows(v, space.gdim)) * dx),
            stiffness=fem.form(
                weight * ufl.inner(ufl.dot(law, _rows(u, space.gdim)), _rows(v, space.gdim)) * dx
            ),
        )


def _rows(v: Any, gdim: int) -> Any:
    gradient = ufl.grad(v)
    return ufl.as_vector([gradient[i, J] for i in range(3) for J in range(gdim)])


def _quadrature_function(space: DisplacementSpace, cell: Any, size: int | None) -> Any:
    shape = () if size is None else (size,)
    element = basix.ufl.quadrature_element(cell, value_shape=shape, degree=space.quadrature_degree)
    return fem.Function(fem.functionspace(space.mesh, element))
