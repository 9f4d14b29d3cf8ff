# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The checks that need more than one section of an input; each problem says what would do.

Checks that need a potential or a mesh are made when the problem is built.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from msolve.config.adaptivity import Adaptivity
from msolve.config.loads import AffineLoad, BoundaryLoad, KFieldLoad
from msolve.config.model_error import CommitteeBeside, PopsBeside, ReferenceBeside
from msolve.config.potentials import AnyPotential, OwnPotential, Potential
from msolve.config.quantities_of_interest import OpeningAsked, RingAsked, names_of

if TYPE_CHECKING:
    from msolve.config.case import Case

LEAST_STRETCH = 0.5
"""No crystal is compressed to less, or stretched to more than its inverse."""

LEARNED = ("bcc", "fcc", "diamond")
"""Structures whose law can be learned."""

ENERGY_METHODS = ("bqce", "bgfc", "bgfc_deferred")


def problems_of(case: Case) -> list[str]:
    """What is wrong between the sections of a case, each ``key.path = value: what would do``."""
    return [
        *_crystal_problems(case),
        *_file_problems(case),
        *_load_problems(case),
        *_region_problems(case),
        *_size_problems(case),
        *_refinement_problems(case),
        *_quantity_problems(case),
        *_certificate_problems(case),
        *_model_error_problems(case),
        *_dislocation_problems(case),
    ]


def _crystal_problems(case: Case) -> list[str]:
    crystal, problems = case.crystal, []
    given = {"cell": crystal.cell, "basis": crystal.basis, "elements": crystal.elements}
    if crystal.structure == "cell":
        problems += [
            f"crystal.{key}: missing; structure `cell` needs it"
            for key, value in given.items()
            if value is None
        ]
        if crystal.basis and crystal.elements and len(crystal.basis) != len(crystal.elements):
            problems.append(
                f"crystal.elements = {', '.join(crystal.elements)}: needs one element for each of "
                f"the {len(crystal.basis)} atoms of the basis"
            )
        return problems
    if crystal.element is None:
        problems.append("crystal.element: missing; needs the symbol of an element, e.g. W")
    problems += [
        f"crystal.{key}: only with crystal.structure = cell"
        for key, value in given.items()
        if value is not None
    ]
    hexagonal = crystal.structure in ("hcp", "hexagonal")
    fixed = crystal.lattice_constant != "from_potential"
    if hexagonal and fixed and crystal.c == "from_potential":
        problems.append("crystal.c: missing; needed where crystal.lattice_constant is a length")
    return problems


def potential_problems(potential: AnyPotential, key: str) -> list[str]:
    """What is wrong between the keys of a section that gives a potential; ``key`` is the section's path."""
    if not isinstance(potential, Potential):
        return []
    if potential.kind != "toy" and potential.file is None:
        return [f"{key}.file: missing; {key}.kind = {potential.kind} needs a file"]
    if potential.kind == "toy" and potential.file is not None:
        return [f"{key}.file = {potential.file}: not with {key}.kind = toy"]
    if potential.kind == "toy" and potential.committee:
        return [f"{key}.committee: not with {key}.kind = toy"]
    return []


def _file_problems(case: Case) -> list[str]:
    potential, mesh = case.potential, case.mesh
    problems = potential_problems(potential, "potential")
    if (
        not isinstance(potential, Potential | OwnPotential)
        and case.coupling.method in ENERGY_METHODS
    ):
        problems.append(
            f"coupling.method = {case.coupling.method}: blends site energies, and potential.kind = "
            f"{potential.kind} gives forces only; bqcf or atomistic would do"
        )
    problems += [*_law_problems(case), *_handshake_problems(case)]
    if (case.coupled or case.domain is None) and mesh.kind == "file" and mesh.file is None:
        problems.append("mesh.file: missing; mesh.kind = file needs it")
    if mesh.kind != "file" and mesh.file is not None:
        problems.append(f"mesh.file = {mesh.file}: needs mesh.kind = file")
    if mesh.kind != "file" and mesh.unit != "angstrom":
        problems.append(f"mesh.unit = {mesh.unit}: only with mesh.kind = file")
    if case.domain is None and mesh.kind != "file":
        problems.append("domain: missing; the radius of the body, or mesh.kind = file to be it")
    elif case.domain is None and case.defect.kind == "crack":
        problems.append(
            "domain: missing; defect.kind = crack needs a disc, also in a mesh of yours"
        )
    return problems


def _handshake_problems(case: Case) -> list[str]:
    handshake, problems = case.coupling.handshake, []
    if handshake.kind != "learned":
        if handshake.model is not None:
            problems.append(
                f"coupling.handshake.model = {handshake.model}: needs coupling.handshake.kind = learned"
            )
        return problems
    if handshake.model is None:
        problems.append(
            "coupling.handshake.model: missing; coupling.handshake.kind = learned needs it, msolve train handshake "
            "makes one"
        )
    if case.defect.kind != "crack" or case.dimension != 2:
        problems.append(
            "coupling.handshake.kind = learned: is for the flanks of a crack in the plane; slab would do"
        )
    return problems


def _law_problems(case: Case) -> list[str]:
    file, problems = case.continuum.law, []
    if file is None:
        return []
    if case.crystal.structure not in LEARNED:
        problems.append(
            f"continuum.law = {file}: learned laws are for the structures {', '.join(LEARNED)}, and "
            f"crystal.structure = {case.crystal.structure}; leave it out"
        )
    if getattr(case.potential, "tabulate", None) is not None:
        problems.append(
            f"continuum.law = {file}: not with potential.tabulate, which does the same at smaller strains"
        )
    return problems


def _load_problems(case: Case) -> list[str]:
    load, defect, problems = case.load, case.defect, []
    # Whether a mesh from a file lies in the plane is seen when it is read.
    plane = case.domain is not None and case.domain.dimension == 2
    if isinstance(load, KFieldLoad):
        if defect.kind != "crack":
            problems.append("load.kind = k_field: needs defect.kind = crack; affine would do")
        problems += [f"load.K = {K}: must be greater than 0" for K in load.K if K.value <= 0]
        if load.mode[0] < 0 or not any(load.mode):
            problems.append(
                f"load.mode = {list(load.mode)}: the first number, of K_I, must not be negative, "
                "because K_I < 0 closes the crack, and one of the three must not be zero"
            )
    elif isinstance(load, BoundaryLoad):
        problems += _boundary_problems(load, plane)
        if defect.kind == "crack":
            problems.append("load.kind = boundary: not with defect.kind = crack; k_field would do")
    elif (load.F is None) == (load.strain is None):
        problems.append("load: needs either F or strain")
    else:
        problems += _deformation_problems(
            "load.F" if load.F is not None else "load.strain", load.deformation, plane
        )
    if defect.kind != "vacancy" and defect.positions:
        problems.append("defect.positions: only with defect.kind = vacancy")
    return problems


def _boundary_problems(load: BoundaryLoad, plane: bool) -> list[str]:
    problems = []
    for k, held in enumerate(load.displacement):
        key = f"load.displacement.{k}"
        if (held.value is None) == (held.F is None):
            problems.append(f"{key}: needs either value or F")
        elif held.F is not None:
            problems += _deformation_problems(f"{key}.F", np.array(held.F), plane)
        elif held.value == (None, None, None):
            problems.append(f"{key}.value: holds nothing; leave the entry out")
    return problems


def _deformation_problems(key: str, F: NDArray[np.float64], plane: bool) -> list[str]:
    if plane and (F[:, 2] != (0.0, 0.0, 1.0)).any():
        return [
            f"{key}: its third column is {F[:, 2].tolist()}, needs [0, 0, 1]: the period along x3 "
            "stays that of the crystal at rest"
        ]
    if np.linalg.det(F) <= 0:
        return [
            f"{key}: its determinant is {np.linalg.det(F):.3g}: turns the crystal inside out or flattens it; must be "
            "positive"
        ]
    stretches = np.linalg.svd(F, compute_uv=False)
    if stretches[0] > 1 / LEAST_STRETCH or stretches[-1] < LEAST_STRETCH:
        return [
            f"{key}: stretches the crystal by factors from {stretches[-1]:.3g} to {stretches[0]:.3g}; must stay "
            f"between {LEAST_STRETCH:g} and {1 / LEAST_STRETCH:g}"
        ]
    return []


def _region_problems(case: Case) -> list[str]:
    regions, problems = case.regions, []
    if not case.coupled:
        return []
    method = case.coupling.method
    if regions is None:
        return [f"regions: missing; coupling.method = {method} needs atomistic cores"]
    if (regions.core_radius is None) == (not regions.cores):
        return ["regions: needs either core_radius or cores"]
    if method in ENERGY_METHODS and regions.blend == 0:
        problems.append(
            f"regions.blend = 0 angstrom: coupling.method = {method} needs a blending zone; "
            "'8 angstrom' would do, or method bqcf"
        )
    cores = [core.region(case.dimension) for core in regions.all_cores]
    for index, core in enumerate(cores if case.domain else []):
        assert case.domain is not None
        extent = core.extent() + regions.blend
        if extent >= case.domain.radius:
            key = "core_radius" if regions.core_radius is not None else f"cores.{index}"
            problems.append(
                f"regions.{key}: core and blend reach to {extent:g} angstrom; domain.radius = "
                f"{case.domain.radius:g} angstrom must be larger"
            )
    # Refinement looks for vacancies itself; a crack is cut into the mesh from its start.
    sought = case.adaptivity is not None
    defects = (
        ((0.0, 0.0, 0.0),)
        if case.defect.kind == "crack"
        else case.vacancies[: 0 if sought else None]
    )
    what = "the crack tip" if case.defect.kind == "crack" else "the vacancy"
    problems += [
        f"regions: {what} at ({x[0]:g}, {x[1]:g}) angstrom lies in no core"
        for x in defects
        if all(core.distance(np.array([x]))[0] > 0 for core in cores)
    ]
    problems += [
        f"regions: the void at ({', '.join(f'{x:g}' for x in void.centre[: case.dimension])}) angstrom lies in no core"
        for void in case.defect.voids
        if all(core.distance(np.array([void.centre]))[0] > 0 for core in cores)
    ]
    load = case.load
    if isinstance(load, KFieldLoad) and load.tip != 0:
        if all(core.distance(np.array([[load.tip, 0.0, 0.0]]))[0] > 0 for core in cores):
            problems.append(f"load.tip = {load.tip:g} angstrom: must lie in a core")
    return problems


def _space_problems(case: Case) -> list[str]:
    if case.domain is None or case.domain.dimension == 2:
        return []
    problems = []
    if case.defect.kind == "crack":
        problems.append(
            "defect.kind = crack: only in a disc (domain.kind = disc); in a ball, a flat hole (kind void) would do"
        )
    if case.coupled and case.mesh.kind == "matching":
        problems.append(
            "mesh.kind = matching: the sites of a lattice make no good tetrahedra; in a ball mesh.kind = free would do"
        )
    if case.crystal.structure == "triangular":
        problems.append("crystal.structure = triangular: is flat; domain.kind = disc would do")
    return problems


def _size_problems(case: Case) -> list[str]:
    problems = _space_problems(case)
    radius = math.inf if case.domain is None else case.domain.radius
    for x in case.vacancies:
        if math.hypot(*x[: case.dimension]) >= radius:
            problems.append(
                f"defect.positions: ({x[0]:g}, {x[1]:g}) angstrom lies outside the domain"
            )
    if case.compare.atomistic and case.compare.rim >= radius:
        problems.append(
            f"compare.rim = {case.compare.rim:g} angstrom: must be smaller than domain.radius"
        )
    mesh = case.mesh
    if mesh.kind != "free" and mesh.spacing != "lattice":
        problems.append("mesh.spacing: only with mesh.kind = free")
    if mesh.seed and (mesh.kind != "free" or case.defect.kind == "crack"):
        problems.append("mesh.seed: only with mesh.kind = free and without a crack")
    sizes = (mesh.spacing, mesh.h_max)
    if all(isinstance(size, float) for size in sizes) and sizes[0] > sizes[1]:  # type: ignore[operator]
        problems.append("mesh.h_max: must not be smaller than mesh.spacing")
    return problems


def _refinement_problems(case: Case) -> list[str]:
    disc = case.domain is not None and case.domain.kind == "disc" and case.mesh.kind != "file"
    problems = []
    if case.mesh.fine and not disc:
        problems.append("mesh.fine: only in discs whose mesh is made here")
    if case.adaptivity is None:
        return problems
    if not case.coupled:
        problems.append("adaptivity: nothing to refine with coupling.method = atomistic")
    elif not disc:
        problems.append("adaptivity: only discs whose mesh is made here can be refined")
    if case.adaptivity.doubt is not None and not getattr(case.potential, "committee", ()):
        problems.append("adaptivity.doubt: needs potential.committee, whose members disagree")
    if case.estimate.kind == "none":
        problems.append("adaptivity: needs estimates; estimate.kind = hessian would do")
    return problems + _ends_of_refinement(case, case.adaptivity)


def _ends_of_refinement(case: Case, wanted: Adaptivity) -> list[str]:
    """Whether something ends the refinement, and what that is exists."""
    problems = []
    norms = (wanted.total_h1, wanted.energy_norm)
    if all(norm is not None for norm in norms):
        problems.append("adaptivity.energy_norm: in the place of total_h1, not beside it")
    ends = (*norms, wanted.quantity, wanted.atoms, wanted.unknowns, wanted.seconds)
    if all(end is None for end in ends):
        problems.append(
            "adaptivity: nothing says when to stop; needs total_h1, energy_norm, quantity, atoms, unknowns or seconds"
        )
    names = names_of(case.quantities)
    if wanted.quantity is not None and wanted.quantity.name not in names:
        known = ", ".join(names) or "none"
        problems.append(
            f"adaptivity.quantity.name = {wanted.quantity.name}: no such number in quantities, which has {known}"
        )
    if wanted.largest_radius is not None and case.domain is not None:
        if wanted.largest_radius < case.domain.radius:
            problems.append(
                f"adaptivity.largest_radius = {wanted.largest_radius:g} angstrom: below domain.radius, "
                f"{case.domain.radius:g} angstrom"
            )
        if case.load.kind == "boundary":
            problems.append("adaptivity.largest_radius: only with a far field as the load")
    return problems


def _quantity_problems(case: Case) -> list[str]:
    names, problems = names_of(case.quantities), []
    for k, one in enumerate(case.quantities):
        if isinstance(one, OpeningAsked | RingAsked) and case.defect.kind != "crack":
            problems.append(
                f"quantities.{k}.kind = {one.kind}: needs defect.kind = crack; displacement or energy would do"
            )
        if names[k] in names[:k]:
            problems.append(
                f"quantities.{k}.name = {names[k]}: quantities.{names.index(names[k])} is called so too; needs a "
                "name of its own"
            )
    return problems


def _certificate_problems(case: Case) -> list[str]:
    asked = case.certificate
    problems: list[str] = []
    if asked is None:
        return problems
    if not isinstance(case.potential, Potential | OwnPotential):
        problems.append(
            f"certificate: needs energies, and potential.kind = {case.potential.kind} gives forces only; leave it out"
        )
    if asked.zone_radius is not None and not case.coupled:
        problems.append("certificate.zone_radius: only beside a continuum; leave it out")
    if asked.zone_radius is not None and case.domain is not None:
        away = math.hypot(*asked.zone_centre[: case.dimension])
        if away >= case.domain.radius:
            told = ", ".join(f"{x:g}" for x in asked.zone_centre)
            problems.append(
                f"certificate.zone_centre = ({told}) angstrom: outside the body of radius {case.domain.radius:g} "
                "angstrom"
            )
    return problems


def _model_error_problems(case: Case) -> list[str]:
    given, potential = case.model_error, case.potential
    if isinstance(given, ReferenceBeside):
        return potential_problems(given.potential, "model_error.potential")
    kind, committee = potential.kind, getattr(potential, "committee", ())
    if isinstance(given, CommitteeBeside):
        if not isinstance(potential, Potential) or kind == "toy":
            return [
                f"model_error.kind = committee: not with potential.kind = {kind}; reference would do"
            ]
        if bool(committee) == bool(given.files):
            return [
                "model_error.files: needs either these or potential.committee, and has "
                + ("both" if committee else "neither")
            ]
    if isinstance(given, PopsBeside) and (kind not in ("linear", "mace") or committee):
        what = "a committee" if committee else f"potential.kind = {kind}"
        return [
            f"model_error.kind = pops: with {what}; needs potential.kind = linear or mace, and no committee"
        ]
    return []


def _dislocation_problems(case: Case) -> list[str]:
    lines, problems = case.defect.dislocations, []
    if not lines:
        return []
    kind = "defect.kind = dislocation"
    if case.domain is None or case.domain.dimension == 3:
        problems.append(f"{kind}: only in a disc (domain.kind = disc) along its period")
    if case.crystal.structure == "triangular":
        problems.append(f"{kind}: crystal.structure = triangular is flat and cannot move along x3")
    if not isinstance(case.load, AffineLoad):
        problems.append(f"{kind}: with load.kind = {case.load.kind}; affine would do")
    if case.regions is None or not case.coupled:
        return problems
    cores = [core.region(case.dimension) for core in case.regions.all_cores]
    problems += [
        f"regions: the dislocation at ({line.at[0]:g}, {line.at[1]:g}) angstrom lies in no core"
        for line in lines
        if all(core.distance(np.array([line.at]))[0] > 0 for core in cores)
    ]
    return problems
