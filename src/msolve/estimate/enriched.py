# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The residual of a coupled solution in a richer coupled space: more atoms near the core, higher elements outside.

Near the core (core, blending zone, two layers, and as far as the mesh is about as fine as the lattice) every atom is an
unknown with its own force. Outside, the elements are of one degree more, on the same mesh, and forces are those of
the Cauchy-Born law; the two are blended as forces are. What the space holds of the error is found by one solve, with
the potential's second derivatives for the atoms and linear elasticity for the elements: strains are small out there,
and tangents of the law at all their points would cost more than everything else. None of it grows with the body.

References:
    R. E. Bank and R. K. Smith, SIAM J. Numer. Anal. 30, 921 (1993): hierarchical bases and saturation.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.assemble import Assembly, couple
from msolve.compare import SAME, Lifting
from msolve.coupling import SiteTerm
from msolve.errors import UnsupportedError
from msolve.kinematics import block_matrix, interpolation_matrix
from msolve.potentials import ForceModel
from msolve.problem import CoupledProblem
from msolve.regions import Grown, Regions
from msolve.solvers import Counted, Product
from msolve.solvers.lattice import lattice_stiffness

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

LAYERS = 2.0
"""Least width of the exact zone beyond the blend, in distances of neighbours."""

AS_FINE = 3.0
"""Longest edge, in distances of neighbours, of cells that the exact zone covers."""

SEAM = 2.0
"""Width over which exact forces pass into those of the continuum, in distances of neighbours."""


def no_sample(coupled: Assembly) -> str | None:
    """Why the error of a coupled problem cannot be estimated from a sample of its atoms, or ``None``."""
    body, regions, space = coupled.body, coupled.regions, coupled.problem.kinematics.space
    if regions is None or space is None:
        return "there is no mesh"
    if space.degree > 1:
        return "a sample of them needs linear elements: mesh.degree = 1 or a larger estimate.largest would do"
    if isinstance(body.model, ForceModel):
        return "a sample of them needs site energies: a larger estimate.largest would do"
    if body.crystal.crystal.n_basis > 1:
        return "a sample of them needs one atom per cell of the crystal: a larger estimate.largest would do"
    near = body.crystal.nearest_neighbour_distance
    if _grown(coupled, regions.blend + LAYERS * near).check_fits(body.shape, 2 * body.margin):
        return (
            "a sample of them needs more room around the cores: a larger estimate.largest would do"
        )
    return None


def _grown(coupled: Assembly, width: float) -> Regions:
    """Where the richer problem has atoms: the cores and so much around them [Å]."""
    assert coupled.regions is not None
    seam = SEAM * coupled.body.crystal.nearest_neighbour_distance
    return Regions(tuple(Grown(core, width) for core in coupled.regions.cores), seam)


class Hybrid(Counted):
    """Second derivatives that are some terms' own, and a constant matrix for all else.

    Args:
        problem: The problem under these terms.
        t: Load parameter.
        rest: The matrix.
    """

    def __init__(self, problem: CoupledProblem, t: float, rest: PETSc.Mat) -> None:
        super().__init__(problem, t)
        self.rest = rest

    def linearised(self, z: PETSc.Vec) -> Product:
        """Products with both at ``z``."""
        product = _Sum(self)
        product.move(z)
        return product


class _Sum(Product):
    owner: Hybrid

    def mult(self, mat: PETSc.Mat, v: PETSc.Vec, out: PETSc.Vec) -> None:
        """Product for PETSc."""
        super().mult(mat, v, out)
        self.owner.rest.multAdd(v, out, out)


class Enriched:
    """A coupled problem and the richer one around it.

    Args:
        coupled: The coupled problem, with linear elements.

    Attributes:
        rich: The richer problem.
        regions: Its regions.
        points: Where it has unknowns, atoms and nodes in the order of these, the same on every rank, ``(n, 3)`` [Å].

    Raises:
        UnsupportedError: The elements are quadratic already, or the body has no room for a larger core.

    Note:
        Construction and all methods are collective.
    """

    def __init__(self, coupled: Assembly) -> None:
        kinematics = coupled.problem.kinematics
        space = kinematics.space
        regions, mesh = coupled.regions, coupled.mesh
        assert space is not None and regions is not None and mesh is not None
        obstacle = no_sample(coupled)
        if obstacle is not None:
            raise UnsupportedError(obstacle)
        self.coupled, self._comm = coupled, kinematics.unknowns.comm
        body = coupled.body
        near = body.crystal.nearest_neighbour_distance
        widest = body.radius - max(core.extent() for core in regions.cores) - 2 * body.margin
        fine = min(self._fine_as_the_lattice(regions, near), widest - SEAM * near)
        grown = _grown(coupled, max(regions.blend + LAYERS * near, fine))
        if grown.check_fits(body.shape, 2 * body.margin):
            grown = _grown(coupled, regions.blend + LAYERS * near)
        self.regions = grown
        # Elements of another degree have another learned handshake; forces on tiles are those of the one in use.
        plain = replace(body, learned=None)
        self.rich = couple(self._comm, plain, grown, mesh, degree=2, prefix="msolve_rich_")
        inside = body.shape.distance(self.rich.X) < 0
        inner = self.rich.problem.placement.inner
        self._lifting = Lifting(coupled, self.rich.X, inside, inner)
        unknowns = self.rich.problem.kinematics.unknowns
        rich_space = self.rich.problem.kinematics.space
        assert rich_space is not None
        owned = self.rich.problem.kinematics.owned_atoms
        self._atoms = owned[unknowns.atom[owned] >= 0]
        self._nodes = np.flatnonzero(unknowns.node[: rich_space.n_owned_nodes] >= 0)
        points = np.concatenate([self.rich.X[self._atoms], rich_space.nodes()[self._nodes]])
        parts = self._comm.allgather(points)
        first = sum(len(part) for part in parts[: self._comm.rank])
        self.points = np.concatenate(parts)
        self._own = np.arange(first, first + len(points))
        every = np.ones(len(self.points), dtype=bool)
        self._at_nodes = interpolation_matrix(
            space, self.points, self._own, every, kinematics.recovery
        )

    def _fine_as_the_lattice(self, regions: Regions, near: float) -> float:
        """Distance from the cores to the first cell with an edge longer than ``AS_FINE`` neighbours [Å]."""
        space = self.coupled.problem.kinematics.space
        assert space is not None
        corner = space.cell_vertices()
        edges = corner[:, :, None] - corner[:, None]
        longest = np.linalg.norm(edges, axis=3).max(axis=(1, 2), initial=0.0)
        middle = np.zeros((len(corner), 3))
        middle[:, : space.gdim] = corner.mean(axis=1)
        coarse = longest > AS_FINE * near
        nearest = regions.distance(middle[coarse]).min(initial=np.inf)
        return float(self._comm.allreduce(float(nearest), op=MPI.MIN))

    def inject(self, z: PETSc.Vec, t: float) -> PETSc.Vec:
        """Unknowns of the richer problem in a state of the coupled one."""
        problem, coupled = self.rich.problem, self.coupled.problem
        unknowns = problem.kinematics.unknowns
        out = unknowns.vector()
        moved = self._lifting(z, t)[self._atoms] - problem.gather(out, t)[self._atoms]
        space = coupled.kinematics.space
        assert space is not None
        v, at = self._at_nodes.createVecRight(), self._at_nodes.createVecLeft()
        v.array[:] = coupled.snapshot(z, t).nodes[: space.n_owned_nodes, : space.block].ravel()
        self._at_nodes.mult(v, at)
        nodes = at.array_r.reshape(-1, 3)[len(self._atoms) :] - problem.node_base(t)[self._nodes]
        out.array[:] = np.concatenate([moved, nodes])[:, : unknowns.components].ravel()
        return out

    @cached_property
    def space(self) -> PETSc.Mat:
        """From the unknowns of the coupled problem to those of the richer one, predictor and inner shifts apart."""
        coupled, unknowns = self.coupled, self.rich.problem.kinematics.unknowns
        kinematics = coupled.problem.kinematics
        assert kinematics.nodes_owned is not None
        free = np.flatnonzero(coupled.free)
        distance, nearest = spatial.cKDTree(coupled.X[free]).query(self.rich.X[self._atoms])
        same = np.flatnonzero(distance < SAME)
        n = len(self._own)
        follows = np.ones(n, dtype=bool)
        follows[same] = False
        everywhere = np.concatenate(self._comm.allgather(follows))
        space = kinematics.space
        assert space is not None
        made = interpolation_matrix(space, self.points, self._own, everywhere, kinematics.recovery)
        places = made.matMult(kinematics.nodes_owned)
        components = unknowns.components
        chosen = block_matrix(
            self._comm,
            same,
            kinematics.unknowns.atom[free[nearest[same]]],
            np.ones(len(same)),
            n,
            kinematics.unknowns.n_owned,
            3,
            components,
        )
        places.axpy(1.0, chosen, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        rows = np.arange(n)
        first = int(self._comm.exscan(n) or 0)
        kept = block_matrix(self._comm, rows, first + rows, np.ones(n), n, n, components, 3)
        return kept.matMult(places)

    def hessian(self, t: float) -> Hybrid:
        """The potential's second derivatives for the atoms, blended, and elasticity for the elements."""
        problem = self.rich.problem
        term = SiteTerm(problem.patch, 1.0 - self.rich.beta)
        return Hybrid(problem.with_terms((term,)), t, self._of_elements)

    @cached_property
    def _of_elements(self) -> PETSc.Mat:
        """Elasticity without that between the atoms."""
        rich, body = self.rich, self.coupled.body
        kinematics, weight = rich.problem.kinematics, 1.0 - rich.beta
        K = lattice_stiffness(rich.problem, body.crystal, body.C, weight, body.gdim, body.slits)
        out = rich.preconditioner.matrix.copy()
        out.axpy(-1.0, K.ptap(kinematics.atoms), PETSc.Mat.Structure.SUBSET_NONZERO_PATTERN)
        return out

    def displacement(self, step: PETSc.Vec) -> tuple[Array, Array]:
        """A change of the richer unknowns as that of all its atoms, the same on every rank, and of its local nodes.

        Returns:
            Shapes ``(n_atoms, 3)`` and ``(n_local_nodes, 3)`` [Å]; inner shifts keep still.
        """
        kinematics = self.rich.problem.kinematics
        assert kinematics.nodes is not None
        y, v = kinematics.atoms.createVecLeft(), kinematics.nodes.createVecLeft()
        kinematics.atoms.mult(step, y)
        kinematics.nodes.mult(step, v)
        out = np.zeros((len(self.rich.X), 3))
        mine = y.array_r.reshape(-1, 3).copy()
        for atoms, moved in self._comm.allgather((kinematics.owned_atoms, mine)):
            out[atoms] = moved
        return out, v.array_r.reshape(-1, 3).copy()

    def on_points(self, v: PETSc.Vec) -> Array:
        """A vector of the richer unknowns, point by point, shape ``(n, 3)``, the same on every rank. Collective."""
        components = self.rich.problem.kinematics.unknowns.components
        every = np.concatenate(self._comm.allgather(v.array_r.reshape(-1, components).copy()))
        out = np.zeros((len(every), 3))
        out[:, :components] = every
        return out

    def densities(self, nodes: Array, X: Array) -> Array:
        """Square of the gradient of a field in the cells around some places, its mean where there is no cell.

        Args:
            nodes: The field at the local nodes of the richer problem [Å].
            X: Places, the same on every rank, shape ``(n, gdim)`` [Å].

        Returns:
            The same on every rank, shape ``(n,)``. Collective.
        """
        stored = self.rich.problem.stored
        assert stored is not None
        cells = np.arange(len(stored.volume)) < stored.space.n_cells
        none = np.zeros((*stored.volume.shape, 3, 3))
        G = stored.deformation(nodes, none, cells) - np.eye(3)
        square = np.einsum("cqij,cqij->cq", G, G).mean(axis=1)
        point, cell, _, _ = stored.space.find_cells(X)
        own, out = np.full(len(X), -1.0), np.empty(len(X))
        own[point] = square[cell]
        self._comm.Allreduce(own, out, op=MPI.MAX)
        found = out >= 0
        out[~found] = out[found].mean() if found.any() else 1.0
        return out
