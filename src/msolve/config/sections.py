# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The sections of an input: every key with its type, its default and what it means.

Defaults stand here and nowhere else, as what they are once read: lengths in Å, energy gradients in
eV/Å. Checks that need more than one section are in ``case``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from msolve.config.quantities import (
    Accepts,
    Gradient,
    LargestSize,
    LatticeLength,
    Miller,
    PetscOptions,
    Point,
    PositiveLength,
    Spacing,
    Symbol,
    Vectors,
    Width,
)

Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0), Accepts("integer >= 0")]
PositiveCount = Annotated[int, Field(strict=True, ge=1), Accepts("integer >= 1")]


class Section(BaseModel):
    """Frozen; unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
        defer_build=True,
    )


class Orientation(Section):
    """Lattice directions along the laboratory axes, mutually orthogonal and right-handed."""

    x1: Miller = Field(description="Direction in which a crack runs.")
    x2: Miller | None = Field(
        default=None, description="Normal of the crack plane; by default normal to x1 and x3."
    )
    x3: Miller = Field(description="Direction of the front, along which the body is periodic.")


class CrystalInput(Section):
    """The perfect crystal and how it lies in the laboratory."""

    structure: Literal["bcc", "fcc", "diamond", "hcp", "hexagonal", "triangular", "cell"] = Field(
        description="Name of the lattice, or `cell` for one given by `cell`, `basis`, `elements`."
    )
    element: Symbol | None = Field(
        default=None, description="Species; not used with structure `cell`."
    )
    lattice_constant: LatticeLength = Field(
        default="from_potential",
        description="Edge of the customary cell. `from_potential`: the stress-free crystal of the "
        "potential in use, for structure `cell` starting from the given vectors.",
    )
    c: LatticeLength = Field(
        default="from_potential",
        description="Length along the sixfold axis of hcp and hexagonal crystals.",
    )
    cell: Vectors | None = Field(
        default=None, description="Lattice vectors, with structure `cell`."
    )
    basis: tuple[tuple[float, float, float], ...] | None = Field(
        default=None, description="Fractional coordinates of the atoms, with structure `cell`."
    )
    elements: tuple[Symbol, ...] | None = Field(
        default=None, description="Species of each atom of the basis, with structure `cell`."
    )
    orientation: Orientation = Field(description="Which lattice directions are the axes.")


class Domain(Section):
    """The body: a disc around the origin, one lattice period thick and periodic along the front, or a ball.

    Must be given, unless the mesh comes from a file: then the body may be what that mesh covers.
    """

    kind: Literal["disc", "ball"] = Field(
        default="disc", description="`disc`: generalised plane strain. `ball`: in space."
    )
    radius: PositiveLength = Field(description="Radius of the disc or ball.")

    @property
    def dimension(self) -> int:
        """Of the mesh: 2 or 3."""
        return 3 if self.kind == "ball" else 2


class FineZone(Section):
    """A disc of the mesh with edges of a given length; beyond it they grow as everywhere."""

    centre: Point = Field(description="Its centre.")
    radius: PositiveLength = Field(description="Its radius.")
    size: PositiveLength = Field(description="Longest wanted edge in it.")


class Mesh(Section):
    """The finite-element mesh; not used by method `atomistic`."""

    kind: Literal["matching", "free", "file"] = Field(
        default="matching",
        description="`matching`: nodes lie on the atoms in and around the cores. `free`: the mesh "
        "ignores the atoms. `file`: read from `file`.",
    )
    spacing: Spacing = Field(
        default="lattice",
        description="Edge length in the fine zones of a free mesh. `lattice`: the distance of "
        "nearest neighbours.",
    )
    growth: float = Field(
        default=1.0,
        ge=0,
        le=3,
        description="Exponent by which edges grow with distance from the cores.",
    )
    coarseness: float = Field(
        default=1.0,
        ge=1,
        le=6,
        description="Factor on edges beyond the fine zones, reached within a few elements; quadratic "
        "elements want 2 or 3.",
    )
    h_max: LargestSize = Field(default="unbounded", description="Longest edge.")
    fine: tuple[FineZone, ...] = Field(
        default=(),
        description="Zones of a disc's mesh that are to be finer than its grading has them.",
    )
    seed: Count = Field(
        default=0, description="Turns a free mesh without crack, so that several can be compared."
    )
    file: str | None = Field(
        default=None,
        description="Mesh in gmsh's format, relative to the input file; loads act on its physical "
        "groups.",
    )
    unit: Literal["angstrom", "nm", "um"] = Field(
        default="angstrom", description="Unit of length of `file`."
    )
    degree: Literal[1, 2] = Field(default=1, description="Polynomial degree of the displacement.")

    @field_validator("file")
    @classmethod
    def _exists(cls, file: str | None, info: ValidationInfo) -> str | None:
        return existing_file(file, info)


class Handshake(Section):
    """What tells the finite elements about free surfaces, and atoms where linear elements carry them."""

    kind: Literal["slab", "learned", "none"] = Field(
        default="slab",
        description="`slab`: relaxation and half layer of crack flanks, from a relaxed slab of the "
        "potential; nothing to do without a crack. `learned`: the relaxation follows the strain and the curvature of "
        "the flanks as well, as `model` says. `none`: plain finite elements.",
    )
    model: str | None = Field(
        default=None,
        description="Learned handshake (`*.pt`, made by `msolve train handshake`), relative to the input file; with "
        "`kind: learned`.",
    )
    lift: Literal["linear", "quadratic"] = Field(
        default="linear",
        description="Where atoms that linear elements carry stand between the vertices: `linear`, where the elements "
        "interpolate; `quadratic`, corrected for the curvature that the vertices around show. Quadratic elements need "
        "no correction.",
    )
    guard: Literal["estimate", "range"] = Field(
        default="estimate",
        description="What may reject a learned handshake, so that the run goes on with the slab: `range`, flanks "
        "strained or bent more than in training; `estimate`, also an estimated error above that of the slab, in all "
        "or near the defect, which is solved as well at each load step; and that there are no estimates.",
    )

    @field_validator("model")
    @classmethod
    def _exists(cls, model: str | None, info: ValidationInfo) -> str | None:
        return existing_file(model, info)


class Coupling(Section):
    """How atoms and continuum are joined."""

    method: Literal["bqce", "bgfc", "bgfc_deferred", "bqcf", "atomistic"] = Field(
        default="bgfc_deferred",
        description="`bgfc_deferred`: blended energy with ghost-force correction, renewed until "
        "the blended forces balance. `bqcf`: blended forces, by Newton. `bgfc`: one correction, "
        "at the predictor. `bqce`: plain blended energy, for teaching. `atomistic`: no continuum.",
    )
    handshake: Handshake = Field(default=Handshake(), description="Free surfaces.")
    max_corrections: Count = Field(
        default=20, description="How often `bgfc_deferred` may renew its correction."
    )
    correction_tolerance: Gradient = Field(
        default=1e-4,
        description="Largest component of the blended force at which `bgfc_deferred` is done.",
    )


class Solver(Section):
    """Tolerances and linear algebra."""

    gradient_tolerance: Gradient = Field(
        default=1e-4,
        description="Largest component of the gradient that counts as zero.",
    )
    max_iterations: PositiveCount = Field(default=300, description="Iterations before giving up.")
    stability: Flag = Field(
        default=True,
        description="Compute the lowest eigenvalue of the Hessian after each load step, and step "
        "off a saddle.",
    )
    petsc: PetscOptions = Field(
        default={}, description="PETSc options, without dash and without the prefix `msolve_`."
    )


class Compare(Section):
    """Measuring the error against the full atomistic model on the same domain."""

    atomistic: Flag = Field(
        default=False, description="Solve that model too; nothing to do with method `atomistic`."
    )
    rim: Width = Field(
        default=8.0,
        description="Width of the ring at the outer boundary that is left out.",
    )
    tip_radius: PositiveLength = Field(
        default=9.0, description="Radius of the zone whose error is given separately."
    )


class Estimate(Section):
    """Estimating the error against the full atomistic model, after each load step."""

    kind: Literal["hessian", "elasticity", "none"] | None = Field(
        default=None,
        description="`hessian`: by the forces on all atoms of the lifted solution and a few Hessian products; "
        "`elasticity`: by the forces alone, less sharp. Default: `hessian`; `none` with `potential.kind: ase`.",
    )
    largest: PositiveCount = Field(
        default=300_000,
        description="Atoms of the body above which a sample of them is visited: all near the cores, and some `tiles`.",
    )
    tiles: PositiveCount = Field(
        default=32,
        description="About how many tiles of a sample to visit, each three or four neighbours' distances wide. "
        "The standard error falls with its root.",
    )


class Output(Section):
    """What is written, and where."""

    directory: str | None = Field(
        default=None,
        description="Folder for all output, relative to where the command runs; by default "
        "`results/NAME`.",
    )
    fields: Flag = Field(default=True, description="Finite-element fields for ParaView.")
    atoms: Flag = Field(default=True, description="Atoms for OVITO (extended XYZ).")
    pictures: Flag = Field(default=True, description="Pictures (PNG).")
    checkpoint_every: float = Field(
        default=300.0,
        gt=0,
        description="Seconds between checkpoints inside a load step; at its end there always is one.",
    )


def existing_file(file: str | None, info: ValidationInfo) -> str | None:
    """``file``, if it is there, relative to the input file; raises ``ValueError`` if not."""
    folder = (info.context or {}).get("folder", Path())
    if file is not None and not (folder / file).is_file():
        what = "is a folder, needs a file" if (folder / file).is_dir() else "no such file"
        raise ValueError(f"{what} in {folder.resolve()}")
    return file
