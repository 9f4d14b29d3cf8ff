# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Atoms in a caller's own finite elements: his mesh, form, boundary conditions and SNES.

The blended-force method needs nothing of the continuum but its residual rows: those of the atoms count 1 - β,
those of the caller's form β. So any law, load and boundary condition that DOLFINx assembles will do, and the
solver stays the caller's.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.assemble import select_patch
from msolve.atomistic import share_atoms
from msolve.body import STRETCH, without
from msolve.continuum.form import WeakForm
from msolve.coupling import FormTerm, SiteTerm
from msolve.crystal import OrientedCrystal, Sites
from msolve.errors import CaseError, ConvergenceError, UnsupportedError
from msolve.kinematics import Kinematics, build_kinematics, interpolation_matrix
from msolve.loads import Zero
from msolve.placement import Placement
from msolve.potentials import Potential
from msolve.potentials.bulk import cauchy_born
from msolve.potentials.rest import elastic_constants
from msolve.problem import CoupledProblem
from msolve.regions import Regions, Shape
from msolve.solvers.lattice import lattice_stiffness

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_log = logging.getLogger("msolve")


def embed(
    u: Any,
    F: Any,
    bcs: Sequence[Any] = (),
    *,
    crystal: OrientedCrystal,
    potential: Potential,
    cores: Sequence[Shape],
    blend: float,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    vacancies: Sequence[Sequence[float]] = (),
    thickness: float | None = None,
    C: Array | None = None,
) -> Embedded:
    """Put atoms into a finite element problem. Collective.

    Units are Å and eV. On a 2-D mesh the problem is one period of the crystal along the front, x3; a space with
    two components keeps the atoms in their planes.

    Args:
        u: Displacement, a function on a blocked Lagrange space of degree 1 or 2 on triangles or tetrahedra.
        F: Residual form of the continuum, linear in the test function [eV/Å, on a 2-D mesh per Å of front].
        bcs: Dirichlet conditions; change their values between solves as you like.
        crystal: Stress-free crystal in its orientation; the form should be stress-free in it too.
        potential: Potential of the atoms.
        cores: Where the model is atomistic.
        blend: Width over which atoms pass into the continuum [Å].
        origin: Position of the lattice point 0 on the mesh [Å].
        vacancies: Positions whose nearest site is left out, shape ``(n, 3)`` [Å].
        thickness: Factor on the rows of F; by default the period of the crystal on a 2-D mesh, 1 in 3-D.
        C: Elastic constants for the preconditioner, ``(3, 3, 3, 3)`` [eV/Å³]; from the potential by default.

    Raises:
        CaseError: Atoms that are needed lie outside the mesh.
        UnsupportedError: The space, or a crystal of several atoms per cell.
    """
    if crystal.crystal.n_basis > 1:
        raise UnsupportedError(
            f"a crystal with {crystal.crystal.n_basis} atoms per primitive cell in a caller's form: the form does "
            "not say where the inner shifts go; use assemble.couple, or a crystal with one atom per cell"
        )
    plane = u.function_space.mesh.geometry.dim == 2
    form = WeakForm(
        u, F, bcs, (crystal.period if plane else 1.0) if thickness is None else thickness
    )
    space, comm = form.space, form.space.comm
    regions = Regions(tuple(cores), blend)
    margin = STRETCH * potential.reach
    far = max(core.extent() for core in regions.cores) + blend + 2 * margin
    every = crystal.sites(
        lambda X: regions.distance(X) <= blend + 2 * margin, [(-far, far)] * space.gdim, origin
    )
    every = without(every, np.asarray(vacancies, dtype=float).reshape(-1, 3), crystal, "vacancies")
    sites, free, needed = select_patch(every, regions, margin, space.gdim)
    X = sites.positions
    beta = regions.beta(X)
    box, periodic = np.diag([1.0, 1.0, crystal.period]), (False, False, plane)
    patch = share_atoms(comm, potential, sites.numbers, box, periodic, X, needed)
    node_beta, held = regions.beta(space.nodes()), form.held()
    whole = np.asarray(held[:, : space.block].all(axis=1))
    kinematics = build_kinematics(
        comm,
        X,
        free,
        patch.owner,
        space,
        prescribed=np.flatnonzero(whole),
        held=held & ~whole[:, None],
        beta=node_beta,
        components=space.block,
    )
    _check_inside(kinematics, X, free, margin)
    state = _Boundary(form, form.boundary())
    placement = Placement(
        X=X,
        predictor=Zero(),
        far_field=Zero(),
        relaxation=np.zeros_like(X),
        loose=np.zeros(len(X), dtype=bool),
        prescribed=np.flatnonzero(whole),
        boundary=state.at,
    )
    terms = (
        SiteTerm(patch, needed.astype(float), rows=1 - beta),
        FormTerm(form, rows=node_beta),
    )
    problem = CoupledProblem(kinematics, patch, None, terms, placement)
    lattice = lattice_stiffness(
        problem,
        crystal,
        elastic_constants(cauchy_born(potential, crystal)) if C is None else C,
        np.ones(len(X)),
        space.gdim,
    )
    return Embedded(problem, form, sites, beta, _rows_scaled(lattice, kinematics, beta), state)


@dataclass
class _Boundary:
    """Values of the boundary conditions, numbered by how often they changed."""

    form: WeakForm
    values: Array
    count: int = 0

    def now(self) -> float:
        """Number of the present values. Collective."""
        values = self.form.boundary()
        if self.form.space.comm.allreduce(not np.array_equal(values, self.values)):
            self.values, self.count = values, self.count + 1
        return float(self.count)

    def at(self, t: float) -> Array:
        """The values with the last number."""
        return self.values


@dataclass(frozen=True)
class Embedded:
    """Atoms and a caller's finite elements as one system of equations for his SNES.

    Attributes:
        problem: The coupled problem: lifts, atoms, terms.
        form: The caller's form.
        sites: Reference positions and atomic numbers of all atoms of the patch, the same on every rank.
        beta: β at each atom; atoms with β < 1 are unknowns, the others follow the mesh.

    Note:
        All methods are collective.
    """

    problem: CoupledProblem
    form: WeakForm
    sites: Sites
    beta: Array
    _lattice: PETSc.Mat
    _boundary: _Boundary

    def vector(self) -> PETSc.Vec:
        """A zero vector of unknowns, or of residuals."""
        return self.problem.kinematics.unknowns.vector()

    def unknowns(self) -> PETSc.Vec:
        """Unknowns that follow the caller's present displacement, atoms as the mesh interpolates them [Å]."""
        kinematics, space = self.problem.kinematics, self.form.space
        numbers = kinematics.unknowns
        z, nodes = self.vector(), self.form.displacement()[: space.n_owned_nodes]
        blocks = z.array.reshape(-1, numbers.components)
        begin = z.getOwnershipRange()[0] // numbers.components
        mine = kinematics.owned_atoms
        lift = interpolation_matrix(space, self.sites.positions, mine, numbers.atom >= 0)
        v, y = lift.createVecRight(), lift.createVecLeft()
        v.array[:] = nodes[:, : space.block].ravel()
        lift.mult(v, y)
        for number, moved in ((numbers.atom[mine], y.array.reshape(-1, 3)), (numbers.node, nodes)):
            at = np.flatnonzero(number[: len(moved)] >= 0)
            blocks[number[at] - begin] = moved[at, : numbers.components]
        z.array[numbers.idle] = 0.0
        return z

    def function(self, snes: PETSc.SNES | None, z: PETSc.Vec, f: PETSc.Vec) -> None:
        """Residual [eV/Å] for ``snes.setFunction``; writes the caller's ``u`` on the way.

        A state without an energy (atoms on top of each other) gives nan, from which line searches back off.
        """
        try:
            self.problem.evaluate(z, self._boundary.now(), f)
        except ConvergenceError as error:
            _log.info("residual set to nan: %s", error)
            f.set(np.nan)

    def jacobian(self, snes: PETSc.SNES | None, z: PETSc.Vec, J: PETSc.Mat, P: PETSc.Mat) -> None:
        """Exact Jacobian products in J and the matrix P at ``z``, for ``snes.setJacobian``."""
        t = self._boundary.now()
        if J != P:
            J.setPythonContext(_Product(self.problem.linearise(z, t)))
            J.assemble()
        self._assemble(self.problem.snapshot(z, t).nodes).copy(P)
        P.assemble()

    def matrices(self) -> tuple[PETSc.Mat, PETSc.Mat]:
        """J, applied without being assembled, and P, assembled: linear elasticity for the atoms, his own tangent."""
        z = self.vector()
        size = (z.getLocalSize(), None)
        J = PETSc.Mat().createPython((size, size), comm=z.comm)
        J.setPythonContext(_Product(self.problem.linearise(z, self._boundary.now())))
        J.setUp()
        return J, self._assemble(self.form.displacement())

    def update(self, z: PETSc.Vec) -> Array:
        """Give the caller's ``u`` the solution; return the positions of all atoms, ``(n, 3)`` [Å], on every rank."""
        t = self._boundary.now()
        self.form.write(self.problem.snapshot(z, t).nodes)
        return self.problem.gather(z, t)

    def reactions(self, z: PETSc.Vec) -> Array:
        """Forces by which the boundary conditions hold the body at ``z``, ``(n_local_nodes, 3)`` [eV/Å].

        Whole at a node's owner; zero at ghosts and where nothing is held. On a 2-D mesh those of one period.
        """
        at = self.problem.snapshot(z, self._boundary.now())
        return np.where(self.form.held(), self.form.residual(at.nodes), 0.0)

    def _assemble(self, nodes: Array) -> PETSc.Mat:
        """Rows of lattice elasticity times 1 - β plus rows of the form's tangent times β, through the lifts."""
        kinematics = self.problem.kinematics
        assert kinematics.nodes_owned is not None
        term = self.problem.terms[1]
        assert isinstance(term, FormTerm)
        K = self.form.tangent(nodes)
        rows = K.createVecLeft()
        factor = term.rows[: self.form.space.n_owned_nodes]
        rows.array[:] = np.repeat(factor, self.form.space.block)
        K.diagonalScale(L=rows)
        P = K.ptap(kinematics.nodes_owned)
        K.destroy()
        P.axpy(1.0, self._lattice, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        return P


class _Product:
    """Context of the shell matrix."""

    def __init__(self, product: Any):
        self.product = product

    def mult(self, mat: PETSc.Mat, v: PETSc.Vec, out: PETSc.Vec) -> None:
        """Product for PETSc."""
        self.product(v, out)


def _check_inside(kinematics: Kinematics, X: Array, free: BoolArray, margin: float) -> None:
    interpolation = kinematics.interpolation
    assert interpolation is not None
    mine = kinematics.owned_atoms
    held = np.diff(interpolation.getValuesCSR()[0])[::3] > 0
    outside = mine[~held & ~free[mine]]
    comm = kinematics.unknowns.comm
    lost = np.concatenate(comm.allgather(outside))
    if len(lost):
        raise CaseError(
            [
                f"cores: {len(lost)} atoms that they need lie outside the mesh, for instance at "
                f"{np.round(X[lost[0]], 2).tolist()}; the mesh must go on for {2 * margin:.1f} angstrom "
                "beyond the blend, without a hole or a crack"
            ]
        )


def _rows_scaled(lattice: PETSc.Mat, kinematics: Kinematics, beta: Array) -> PETSc.Mat:
    """The part of P that never changes: lattice elasticity with rows times 1 - β, and the springs."""
    rows = lattice.createVecLeft()
    rows.array[:] = np.repeat(1 - beta[kinematics.owned_atoms], 3)
    lattice.diagonalScale(L=rows)
    out = lattice.ptap(kinematics.atoms)
    springs = kinematics.unknowns.springs()
    if springs is not None:
        out.axpy(1.0, springs, structure=PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
    return out
