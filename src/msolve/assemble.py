# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""From a body to be solved to its problems: the coupled one and the full atomistic one on the same domain.

A ``Body`` says what is solved, ``couple`` and ``full_atomistic`` how. No input file is known here; a library user
starts from these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.atomistic import Patch, share_atoms
from msolve.body import Body
from msolve.continuum.energy import StoredEnergy
from msolve.continuum.pooled import PooledLaw
from msolve.continuum.space import DisplacementSpace, build_space
from msolve.coupling import (
    Blend,
    ClosureTerm,
    TensionTerm,
    Term,
    atomistic_terms,
    energy_terms,
    force_terms,
)
from msolve.crystal import Sites
from msolve.handshake.closure import SAME, around_cores
from msolve.handshake.flanks import FlankLine, Flanks
from msolve.handshake.slab import half_layers
from msolve.handshake.tension import FlankEdges
from msolve.io.meshes import MeshData
from msolve.kinematics import Kinematics, build_kinematics
from msolve.loading import Scene, loads_on
from msolve.loads import Tabulated
from msolve.placement import Placement
from msolve.potentials import ForceModel
from msolve.problem import CoupledProblem
from msolve.regions import Regions
from msolve.solvers import Preconditioner

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Assembly:
    """A problem ready to be solved, with what is needed to look at it.

    Attributes:
        body: What is solved.
        problem: Energy problem (blended energy or full atomistic energy); blended forces where the
            potential is a black box.
        force_terms: Blended-force terms on the same unknowns; empty for the full atomistic model.
        preconditioner: Elasticity through the lifts.
        numbers: Atomic numbers of all atoms of the patch.
        free: Atoms that are unknowns.
        beta: β at each atom; 0 everywhere in the full atomistic model.
        evaluated: Atoms whose site energies are evaluated.
        blend_points: β at the quadrature points of this rank; empty without a mesh.
        regions: Where the atoms are; ``None`` in the full atomistic model.
        mesh: Mesh of the whole body, on rank 0; ``None`` in the full atomistic model.
    """

    body: Body
    problem: CoupledProblem
    force_terms: tuple[Term, ...]
    preconditioner: Preconditioner
    numbers: IntArray
    free: BoolArray
    beta: Array
    evaluated: BoolArray
    blend_points: Array
    regions: Regions | None = None
    mesh: MeshData | None = None

    @property
    def X(self) -> Array:
        """Reference positions of all atoms of the patch, shape ``(n, 3)`` [Å]."""
        return self.problem.placement.X

    def potential_seconds(self) -> dict[str, float]:
        """Wall time that the potential has taken on this rank, for atoms and for the continuum's law [s]."""
        law = getattr(self.body.material, "clock", None)  # a law from elsewhere keeps no time
        return {
            "atoms": self.problem.patch.clock.seconds,
            "continuum": law.seconds if law is not None else 0.0,
        }


def couple(
    comm: MPI.Comm,
    body: Body,
    regions: Regions,
    mesh: MeshData,
    *,
    degree: int = 1,
    recovery: bool = False,
    prefix: str = "msolve_",
) -> Assembly:
    """Set up the coupled problem. Collective.

    Args:
        comm: Communicator.
        body: What is solved.
        regions: Where the atoms are.
        mesh: Mesh of the whole body, cores included; the tag ``"outer"`` names the prescribed nodes where the
            body has no loads of its own. Read on rank 0 only.
        degree: Degree of the finite elements.
        recovery: Whether atoms that linear elements carry follow their curvature, recovered from the vertices around.
        prefix: PETSc options prefix.

    Raises:
        CaseError: Nothing holds the body against some rigid motion.
    """
    far = max(core.extent() for core in regions.cores) + regions.blend + 2 * body.margin
    every = body.sites(2 * body.margin, far)
    atoms, free, sites = select_patch(every, regions, body.margin, body.gdim)
    X = atoms.positions
    space = build_space(
        comm,
        mesh.points,
        mesh.cells,
        mesh.node_tags,
        mesh.facet_tags,
        thickness=body.period or 1.0,
        degree=degree,
    )
    pools = body.pools
    law = body.material if pools is None else PooledLaw(body.material, pools.comm)
    beyond = None
    if body.slab is not None:
        beyond = half_layers(space.cell_vertices(), body.half_gap, 0.0)
    stored = StoredEnergy(space, law, beyond)
    blend = Blend(
        atoms=regions.beta(X),
        nodes=regions.beta(space.nodes()),
        points=stored.sample(regions.beta),
        force_sites=sites,
    )
    patch = share_sites(comm, body, atoms, sites)
    acting = loads_on(
        body.loads,
        Scene(space, patch, X, regions, blend, body.crystal.crystal.atomic_volume),
        body.predictor.displacement,
        body.components,
        mesh.facet_tags,
        mesh.cell_tags,
    )
    kinematics = build_kinematics(
        comm,
        X,
        free,
        patch.owner,
        space,
        prescribed=acting.prescribed,
        held=acting.held,
        beta=blend.nodes,
        slits=body.slits,
        components=body.components,
        basis=atoms.basis_index if body.crystal.crystal.n_basis > 1 else None,
        recovery=recovery,
    )
    blend = replace(blend, straight=kinematics.straight)
    placement = _place(body, atoms, free, _loose(kinematics, free), acting.prescribed)
    flanks = None
    if body.learned is not None:
        flanks = Flanks(body.learned, degree, FlankLine.of(space, body.half_gap), body.taper)
    placement = replace(placement, boundary=acting.boundary, flanks=flanks)
    in_energy, in_forces = _closure(body, degree, patch, space, X, free, blend.atoms, regions)
    pull_in_energy, pull_in_forces = _tension(flanks, space, blend, regions)
    forces = (
        *force_terms(patch, stored, blend),
        *in_forces,
        *pull_in_forces,
        *acting.force_loads,
    )
    # A black box has no site energies to blend; its forces are all there is.
    terms = forces
    if not isinstance(body.model, ForceModel):
        terms = (
            *energy_terms(patch, stored, blend),
            *in_energy,
            *pull_in_energy,
            *acting.energy_loads,
        )
    problem = CoupledProblem(kinematics, patch, stored, terms, placement)
    return Assembly(
        body=body,
        problem=problem,
        force_terms=forces,
        preconditioner=_elasticity(body, problem, 1 - blend.atoms, blend.points, prefix),
        numbers=atoms.numbers,
        free=free,
        beta=blend.atoms,
        evaluated=sites,
        blend_points=blend.points,
        regions=regions,
        mesh=mesh,
    )


def _closure(
    body: Body,
    degree: int,
    patch: Patch,
    space: DisplacementSpace,
    X: Array,
    free: BoolArray,
    beta: Array,
    regions: Regions,
) -> tuple[tuple[ClosureTerm, ...], tuple[ClosureTerm, ...]]:
    """What a learned strain-gradient energy adds to blended energy and blended forces. Collective."""
    model = None if body.learned is None else body.learned.closures.get(degree)
    if model is None:
        return (), ()
    vertices = space.nodes()[: space.n_owned_nodes]
    columns = np.concatenate(space.comm.allgather(vertices))[:, :2]
    away, _ = spatial.cKDTree(columns).query(X[:, :2], distance_upper_bound=SAME)
    energy, force = around_cores(
        model, X, beta, regions.distance(X), free | np.isfinite(away), body.half_gap
    )
    return (ClosureTerm(patch, energy),), (ClosureTerm(patch, force, rows=beta),)


def _tension(
    flanks: Flanks | None, space: DisplacementSpace, blend: Blend, regions: Regions
) -> tuple[tuple[TensionTerm, ...], tuple[TensionTerm, ...]]:
    """What the energy of the flanks' surface adds to blended energy and blended forces."""
    if flanks is None or not flanks.operator.tension.any():
        return (), ()
    blended, whole = (
        FlankEdges.of(flanks.line, space.thickness, weight) for weight in (regions.beta, None)
    )
    return (TensionTerm(flanks, blended),), (TensionTerm(flanks, whole, rows=blend.nodes),)


def full_atomistic(
    comm: MPI.Comm,
    body: Body,
    *,
    prefix: str = "msolve_",
    placed: Callable[[Sites], Array] | None = None,
) -> Assembly:
    """Set up the full atomistic problem: all atoms of the body free, a rim around it held. Collective.

    Args:
        comm: Communicator.
        body: What is solved.
        prefix: PETSc options prefix.
        placed: Where atoms stand when the unknowns are zero, and those of the rim in all loads, ``(n, 3)`` [Å]; by
            default predictor, relaxed surfaces and inner shifts, and the far field.
    """
    atoms = body.sites(2 * body.margin)
    X = atoms.positions
    free = body.shape.distance(X) < 0
    sites = within(X, X[free], body.margin, body.gdim)
    patch = share_sites(comm, body, atoms, sites)
    kinematics = build_kinematics(comm, X, free, patch.owner, components=body.components)
    none = np.zeros(0, dtype=np.int64)
    if placed is None:
        placement = _place(body, atoms, free, ~free, none)
    else:
        where = Tabulated(X, placed(atoms) - X)
        placement = Placement(X, where, where, np.zeros_like(X), ~free, none)
    problem = CoupledProblem(kinematics, patch, None, atomistic_terms(patch, sites), placement)
    return Assembly(
        body=body,
        problem=problem,
        force_terms=(),
        preconditioner=_elasticity(body, problem, np.ones(len(X)), None, prefix),
        numbers=atoms.numbers,
        free=free,
        beta=np.zeros(len(X)),
        evaluated=sites,
        blend_points=np.zeros((0, 0)),
    )


def share_sites(comm: MPI.Comm, body: Body, atoms: Sites, sites: BoolArray) -> Patch:
    """Share atoms among the ranks that evaluate the potential, by the cost of their sites. Collective."""
    X, periodic = atoms.positions, np.array([False, False, body.gdim == 2])
    workers = None if body.pools is None else body.pools.first
    return share_atoms(
        comm, body.model, atoms.numbers, body.cell, periodic, X, sites, workers=workers
    )


def _place(
    body: Body, atoms: Sites, free: BoolArray, loose: BoolArray, prescribed: IntArray
) -> Placement:
    X = atoms.positions
    return Placement(
        X=X,
        predictor=body.predictor,
        far_field=body.far_field,
        relaxation=body.relaxation(X),
        loose=loose,
        prescribed=prescribed,
        inner=body.inner_shifts(atoms),
        free=free,
    )


def _elasticity(
    body: Body,
    problem: CoupledProblem,
    atom_weight: Array,
    point_weight: Array | None,
    prefix: str,
) -> Preconditioner:
    return Preconditioner(
        problem,
        body.crystal,
        body.C,
        atom_weight,
        point_weight,
        gdim=body.gdim,
        slits=body.slits,
        prefix=prefix,
    )


def within(X: Array, of: Array, distance: float, gdim: int = 2) -> BoolArray:
    """Atoms whose first ``gdim`` coordinates lie within a distance of some others', shape ``(n,)``."""
    if len(of) == 0:
        return np.zeros(len(X), dtype=bool)
    nearest = spatial.cKDTree(of[:, :gdim]).query(X[:, :gdim], distance_upper_bound=distance)[0]
    return np.asarray(np.isfinite(nearest))


def select_patch(
    every: Sites, regions: Regions, margin: float, gdim: int = 2
) -> tuple[Sites, BoolArray, BoolArray]:
    """The patch's atoms out of those of a body, those with β < 1, and those whose energy their forces need."""
    every = every.select(regions.distance(every.positions) <= regions.blend + 2 * margin)
    free = regions.beta(every.positions) < 1
    sites = within(every.positions, every.positions[free], margin, gdim)
    kept = within(every.positions, every.positions[sites], margin, gdim)
    return every.select(kept), free[kept], sites[kept]


def _loose(kinematics: Kinematics, free: BoolArray) -> BoolArray:
    """Atoms that are neither unknowns nor inside the mesh. Collective."""
    loose = ~free
    assert kinematics.interpolation is not None
    indptr = kinematics.interpolation.getValuesCSR()[0]
    held = np.diff(indptr)[::3] > 0
    for atoms in kinematics.unknowns.comm.allgather(kinematics.owned_atoms[held]):
        loose[atoms] = False
    return loose
