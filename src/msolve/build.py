# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""From a ``Case`` to objects: load, regions, mesh, and the assembled problem.

Checks here are those that need the potential; all others are made when the input is read.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from msolve.assemble import Assembly, couple, full_atomistic
from msolve.body import Body
from msolve.config import (
    AffineLoad,
    BoundaryLoad,
    CalculatorPotential,
    Case,
    GapPotential,
    KFieldLoad,
    TorchSimPotential,
)
from msolve.config import Potential as PotentialInput
from msolve.continuum.energy import Material
from msolve.crystal import OrientedCrystal
from msolve.errors import CaseError
from msolve.given import check_constants, learned_handshake, potential_and_crystal
from msolve.handshake.slab import Slab, relax_slab
from msolve.io.meshes import MeshData, Slit, ball_mesh, disc_mesh, size_warnings
from msolve.loads import KField, Predictor, Together, Volterra, Zero
from msolve.parallel import Pools, all_or_none
from msolve.potentials.bulk import BulkCell, cauchy_born
from msolve.potentials.bulk_forces import ForceBulkCell
from msolve.potentials.network_law import read_law
from msolve.potentials.rest import elastic_constants
from msolve.potentials.stand_in import StandIn
from msolve.potentials.tabulated import tabulated
from msolve.regions import Ball, Grown, Regions
from msolve.tagged import read_tagged, user_mesh
from msolve.units import GPA, J_PER_M2, MPA_SQRT_M

Array = npt.NDArray[np.float64]

TABULATED = CalculatorPotential | GapPotential | TorchSimPotential

_log = logging.getLogger("msolve")

ON_ROW = 0.15
"""Distance of a dislocation from a row of atoms, over that of neighbours, below which it lies on the row."""

LARGEST_STRAIN = 0.5
"""Displacement gradient at the outer boundary above which a K-field is a mistake in the units."""

MATCHING_LAYERS = {1: 2.0, 2: 1.0}
"""Nearest-neighbour distances of matching mesh beyond the blend, by degree; quadratic nodes are dear there."""


@dataclass(frozen=True)
class Setup:
    """What a case means before any coupling.

    Attributes:
        case: The input.
        body: What is solved.
        loads: Amplitude of each load step: K [eV/Å^2.5], or the fraction of an affine load [-].
        load_unit: Unit of what is reported as the load.
        load_scale: Factor from amplitude to reported load.
        slab: Relaxed slab of a crack's flanks, also where the handshake does not use it.
        K_G: Griffith's stress intensity [eV/Å^2.5]; ``None`` without a crack.
        mesh: The user's mesh on rank 0, where it is the body.
    """

    case: Case
    body: Body
    loads: tuple[float, ...]
    load_unit: str
    load_scale: float
    slab: Slab | None
    K_G: float | None
    mesh: MeshData | None = None

    @property
    def regions(self) -> Regions:
        """Atomistic regions of the case."""
        given = self.case.regions
        assert given is not None
        return Regions(tuple(core.region(self.body.gdim) for core in given.all_cores), given.blend)

    def material(self) -> dict[str, object]:
        """What the potential says of the crystal, in customary units, for ``result.json``."""
        crystal = self.body.crystal
        voigt = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
        stiffness = [[float(self.body.C[i, j, k, m]) / GPA for k, m in voigt] for i, j in voigt]
        out: dict[str, object] = {
            "lattice_constant": float(np.linalg.norm(crystal.crystal.axes[0])),
            "period": crystal.period,
            "elastic_constants": stiffness,
        }
        if self.slab is not None and self.K_G is not None:
            out["surface_energy"] = self.slab.surface_energy / J_PER_M2
            out["K_G"] = self.K_G / MPA_SQRT_M
        law = self.body.material
        if isinstance(law, StandIn):
            out["law_strain"], out["law_error"] = law.strain, law.error
        return out


def set_up(case: Case, comm: MPI.Comm) -> Setup:
    """Load the potential and find the crystal, its constants, its surfaces and the loads. Collective.

    Raises:
        CaseError: The case does not fit the potential, or its mesh.
    """
    mesh, given = user_mesh(case, comm)
    pools = _pools(case, comm)
    local_rank = local_rank_of(comm, pools)
    with all_or_none(comm, "preparing the crystal and its potential"):
        model, crystal = potential_and_crystal(case, local_rank)
        bulk = cauchy_born(model, crystal)
        C = elastic_constants(bulk)
        check_constants(case, model, C)
        crack = case.defect.kind == "crack"
        cleavage = crystal.cleavage() if crack else None
        origin = np.zeros(3) if cleavage is None else cleavage.origin
        slab, K_G, far_field = None, None, given.far_field
        if cleavage is not None:
            # Each half four cutoffs deep: the two surfaces do not know of each other.
            slab = relax_slab(model, crystal, origin, 4 * model.cutoff)
            field = KField(C)
            K_G = field.griffith_K(slab.surface_energy)
            if isinstance(case.load, KFieldLoad):
                field = replace(field, tip=(case.load.tip, 0.0), mode=case.load.mode)
            far_field = field if far_field is None else far_field
        assert far_field is not None
        predictor: Predictor = far_field if getattr(case.load, "predictor", False) else Zero()
        lines = _dislocations(case, crystal, C)
        if lines:
            # The unknowns never hold the jump: it is in what they correct.
            far_field = Together((*lines, far_field))
            predictor = Together(lines) if isinstance(predictor, Zero) else far_field
        body = Body(
            crystal=crystal,
            origin=origin,
            model=model,
            material=_law(case, bulk),
            C=C,
            far_field=far_field,
            predictor=predictor,
            shape=given.shape,
            vacancies=np.array(case.vacancies).reshape(-1, 3),
            crack=crack,
            half_gap=cleavage.half_gap if cleavage is not None else 0.0,
            slab=slab if case.coupling.handshake.kind != "none" else None,
            learned=learned_handshake(case, crystal, slab),
            components=2 if case.crystal.structure == "triangular" else 3,
            gdim=given.gdim,
            voids=tuple(void.region(given.gdim) for void in case.defect.voids),
            loads=given.loads,
            pools=pools,
            lines=np.array([(*line.line, 0.0) for line in lines]).reshape(-1, 3),
        )
        setup = replace(_with_loads(case, body, slab, K_G), mesh=mesh)
        _check_voids(body)
        check_reach(setup)
    return setup


def _dislocations(case: Case, crystal: OrientedCrystal, C: Array) -> tuple[Volterra, ...]:
    """Fields of the dislocations of a case; refused on a row of atoms, where they are infinite."""
    found, problems = [], []
    near = crystal.nearest_neighbour_distance
    for k, line in enumerate(case.defect.dislocations):
        place = np.array(line.at[:2])
        box = [(x - 2 * near, x + 2 * near) for x in place]
        rows = crystal.sites(None, box, np.zeros(3)).positions[:, :2]
        away = np.linalg.norm(rows - place, axis=1)
        if away.min() < ON_ROW * near:
            corners = np.argsort(away.round(6), kind="stable")[:3]
            middle = rows[corners].mean(axis=0)
            problems.append(
                f"defect.dislocations.{k}.at: ({place[0]:g}, {place[1]:g}) angstrom lies on a row of atoms, where "
                f"the field is infinite; between rows, e.g. at ({middle[0]:.3g}, {middle[1]:.3g}) angstrom, would do"
            )
            continue
        burgers = (0.0, 0.0, line.periods * float(crystal.period))
        found.append(Volterra(C, burgers, (float(place[0]), float(place[1]))))
    if problems:
        raise CaseError(problems)
    return tuple(found)


def _pools(case: Case, comm: MPI.Comm) -> Pools | None:
    given = case.potential
    if not isinstance(given, PotentialInput) or given.evaluators is None:
        return None
    return Pools.of(comm, given.evaluators)


def local_rank_of(comm: MPI.Comm, pools: Pools | None) -> int | None:
    """Number of this rank among those of its node that evaluate the potential; ``None`` if it does not."""
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    works = pools is None or pools.works
    before = node.scan(int(works)) - int(works)
    node.Free()
    return before if works else None


def build_mesh(setup: Setup, comm: MPI.Comm) -> MeshData:
    """Make or read the mesh on rank 0; the other ranks get an empty one. Collective."""
    mesh: MeshData | None = None
    with all_or_none(comm, "building the mesh"):
        if comm.rank == 0:
            mesh = _mesh(setup)
    if mesh is None:
        gdim = setup.body.gdim
        mesh = MeshData(np.zeros((0, gdim)), np.zeros((0, gdim + 1), dtype=np.int64), {})
    return mesh


def _ball(setup: Setup, spacing: float, margin: float) -> MeshData:
    given, zones = setup.case.mesh, []
    for core in setup.regions.cores:
        ball = isinstance(core, Ball)
        centre = np.array(core.centre) if isinstance(core, Ball) else np.zeros(3)
        zones.append((centre, (core.radius if ball else core.extent()) + margin))  # type: ignore[attr-defined]
    try:
        return ball_mesh(
            setup.body.radius,
            spacing=spacing,
            zones=zones,
            growth=given.growth,
            h_max=given.h_max if isinstance(given.h_max, float) else np.inf,
            coarseness=given.coarseness,
        )
    except ValueError as error:
        raise CaseError([f"mesh: {error}"]) from error


def build(setup: Setup, mesh: MeshData | None, comm: MPI.Comm) -> Assembly:
    """Assemble the problem of the case: coupled, or atomistic where there is no mesh. Collective."""
    if mesh is None:
        return full_atomistic(comm, setup.body)
    return couple(
        comm,
        setup.body,
        setup.regions,
        mesh,
        degree=setup.case.mesh.degree,
        recovery=setup.case.coupling.handshake.lift == "quadratic",
    )


def _law(case: Case, bulk: BulkCell | ForceBulkCell) -> Material:
    """The continuum's law: the potential's own, or what stands in its place where the case asks for that."""
    given, file = case.potential, case.continuum.law
    if not case.coupled:
        return bulk
    if file is not None:
        try:
            return read_law(case.path(file), bulk)
        except CaseError as error:
            named = [f"continuum.law = {file}: {problem}" for problem in error.problems]
            raise CaseError(named) from None
    if isinstance(given, CalculatorPotential | GapPotential) and given.tabulate is not None:
        assert isinstance(bulk, ForceBulkCell)
        return tabulated(bulk, given.tabulate)
    return bulk


def _with_loads(case: Case, body: Body, slab: Slab | None, K_G: float | None) -> Setup:
    if isinstance(case.load, AffineLoad | BoundaryLoad):
        return Setup(case, body, tuple(case.load.steps), "1", 1.0, slab, K_G)
    assert K_G is not None and isinstance(case.load, KFieldLoad)
    loads = tuple(K.absolute(K_G) for K in case.load.K)
    angle = np.linspace(-3.0, 3.0, 13)
    ring = body.radius * np.column_stack([np.cos(angle), np.sin(angle), np.zeros(13)])
    strain = float(np.abs(body.far_field.gradient(ring, max(loads))).max())
    if not strain < LARGEST_STRAIN:
        how = f"by {100 * strain:.3g} %" if np.isfinite(strain) else "beyond all numbers"
        raise CaseError(
            [
                f"load.K = {max(case.load.K, key=lambda K: K.absolute(K_G))}: strains the outer boundary "
                f"{how}; must stay below {100 * LARGEST_STRAIN:g} %"
            ]
        )
    if all(K.relative for K in case.load.K):
        return Setup(case, body, loads, "K_G", 1 / K_G, slab, K_G)
    return Setup(case, body, loads, "MPa*m^0.5", 1 / MPA_SQRT_M, slab, K_G)


def check_reach(setup: Setup) -> None:
    """Refuse cores that hold no atom, or need more around them than the body has; raises ``CaseError``."""
    if not setup.case.coupled:
        return
    body, regions = setup.body, setup.regions
    problems = regions.check_fits(body.shape, 2 * body.margin)
    if not problems:
        reach = max(core.extent() for core in regions.cores)
        X = body.sites(0.0, reach).positions
        problems = [
            f"regions: core {k} holds no atom of the body; it must lie inside and be larger"
            for k, core in enumerate(regions.cores)
            if not np.any(core.distance(X) <= 0)
        ]
    if problems:
        raise CaseError(problems)


def _check_voids(body: Body) -> None:
    """Refuse a void between the atoms: nothing would be missing."""
    whole = replace(body, voids=())
    problems = [
        f"defect.voids.{k}: holds no atom; a larger radius or another centre would do"
        for k, void in enumerate(body.voids)
        if not np.any(void.distance(whole.sites(0.0, void.extent() + 1.0).positions) <= 0)
    ]
    if problems:
        raise CaseError(problems)


def _check_cover(mesh: MeshData, setup: Setup) -> None:
    """Refuse a mesh for a disc whose outer boundary cuts into what the cores need around them."""
    regions = setup.regions
    nearest = float(np.linalg.norm(mesh.points[mesh.node_tags["outer"]], axis=1).min())
    core = max(core.extent() for core in regions.cores)
    needed = core + regions.blend + 2 * setup.body.margin
    if nearest < needed:
        raise CaseError(
            [
                f"mesh.file = {setup.case.mesh.file}: its boundary 'outer' comes within {nearest:.1f} angstrom of the "
                f"origin; with core ({core:g}), blend ({regions.blend:g}) and range of the potential "
                f"({2 * setup.body.margin:.1f}) at least {needed:.1f} angstrom are needed"
            ]
        )


def _mesh(setup: Setup) -> MeshData:
    case, body = setup.case, setup.body
    given = case.mesh
    near = body.crystal.nearest_neighbour_distance
    if given.kind == "file":
        mesh = setup.mesh or read_tagged(case, body.loads)
        if setup.mesh is None and "outer" in mesh.node_tags:
            _check_cover(mesh, setup)
        for warning in size_warnings(mesh, setup.regions, near):
            _log.warning(warning)
        return mesh
    assert case.regions is not None
    margin = case.regions.blend + MATCHING_LAYERS[given.degree] * near
    zones = [
        Ball(zone.centre, zone.radius + margin) if isinstance(zone, Ball) else Grown(zone, margin)
        for zone in setup.regions.cores
    ]
    reach = max(zone.extent() for zone in zones)
    spacing = given.spacing if isinstance(given.spacing, float) else near
    if body.gdim == 3:
        return _ball(setup, spacing, margin)
    points = None
    if given.kind == "matching":
        # Vacant sites stay nodes: the mesh is that of the perfect crystal, of its first sublattice.
        spacing = body.crystal.sublattice_spacing
        box = [(-reach - 6 * spacing, reach + 6 * spacing)] * 2
        sites = body.crystal.sites(None, box, body.origin)
        points = sites.positions[sites.basis_index == 0, :2]
        if body.crack and body.crystal.crystal.n_basis > 1:
            raise CaseError(
                [
                    "mesh.kind = matching: the two faces of a crack in a crystal of several atoms per cell "
                    "belong to different sublattices; mesh.kind = free would do"
                ]
            )
    try:
        return disc_mesh(
            body.radius,
            spacing=spacing,
            zones=zones,
            matching_points=points,
            growth=given.growth,
            coarseness=given.coarseness,
            finer=np.array([(*z.centre[:2], z.radius, z.size) for z in given.fine]).reshape(-1, 4),
            h_max=given.h_max if isinstance(given.h_max, float) else np.inf,
            slit=Slit(0.0, body.half_gap) if body.crack else None,
            seed=given.seed,
        )
    except ValueError as error:
        raise CaseError([f"mesh: {error}"]) from error
