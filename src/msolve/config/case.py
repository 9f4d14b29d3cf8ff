# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A whole input."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, model_validator

from msolve.config.adaptivity import Adaptivity
from msolve.config.certificates import CertificateAsked
from msolve.config.checks import problems_of
from msolve.config.defects import Defect
from msolve.config.laws import Continuum
from msolve.config.loads import AffineLoad, BoundaryLoad, KFieldLoad
from msolve.config.model_error import ModelError
from msolve.config.potentials import AnyPotential
from msolve.config.problems import Problems
from msolve.config.quantities_of_interest import AnyAsked
from msolve.config.regions import RegionsInput
from msolve.config.sections import (
    Compare,
    Coupling,
    CrystalInput,
    Domain,
    Estimate,
    Mesh,
    Output,
    Section,
    Solver,
)


class Case(Section):
    """Everything one run needs to know. Lengths are plain numbers in Å once it is read."""

    name: str = Field(
        default="case", min_length=1, description="Name of the run; default: the file's."
    )
    crystal: CrystalInput = Field(description="Crystal and orientation.")
    potential: AnyPotential = Field(description="Interatomic potential.")
    domain: Domain | None = Field(
        default=None,
        description="Size of the body; without it, with mesh.kind = file, the body is the mesh.",
    )
    regions: RegionsInput | None = Field(
        default=None, description="Atomistic zones; needed by all methods but `atomistic`."
    )
    mesh: Mesh = Field(default=Mesh(), description="Finite-element mesh.")
    continuum: Continuum = Field(default=Continuum(), description="Law of the finite elements.")
    defect: Defect = Field(default=Defect(), description="Vacancies or a crack.")
    load: Annotated[AffineLoad | KFieldLoad | BoundaryLoad, Field(discriminator="kind")] = Field(
        description="What happens at the outer boundary."
    )
    coupling: Coupling = Field(default=Coupling(), description="Coupling method.")
    solver: Solver = Field(default=Solver(), description="Tolerances and linear algebra.")
    compare: Compare = Field(
        default=Compare(), description="Comparison with the full atomistic model."
    )
    estimate: Estimate = Field(
        default=Estimate(), description="Estimate of the error against the full atomistic model."
    )
    adaptivity: Adaptivity | None = Field(
        default=None, description="Refinement until the estimated error is small enough."
    )
    quantities: tuple[AnyAsked, ...] = Field(
        default=(), description="Numbers to tell after each load step, with their errors."
    )
    certificate: CertificateAsked | None = Field(
        default=None, description="Certificate of the solution, after each load step."
    )
    model_error: ModelError | None = Field(
        default=None, description="The potential's own error, told beside the numerical one."
    )
    output: Output = Field(default=Output(), description="What is written.")

    _folder: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: Any) -> None:
        """Remember the folder that relative file names start from."""
        self._folder = (context or {}).get("folder", Path())

    @model_validator(mode="after")
    def _sections_agree(self) -> Case:
        problems = problems_of(self)
        if problems:
            raise Problems(problems)
        return self

    def path(self, file: str) -> Path:
        """Where a file named in the input lies."""
        return self._folder / file

    @property
    def output_directory(self) -> Path:
        """Folder for all output."""
        return Path(self.output.directory or f"results/{self.name}")

    @property
    def vacancies(self) -> tuple[tuple[float, float, float], ...]:
        """Points [Å] whose nearest atom is missing; empty unless the defect is a vacancy."""
        if self.defect.kind != "vacancy":
            return ()
        return self.defect.positions or ((0.0, 0.0, 0.0),)

    @property
    def dimension(self) -> int:
        """2 for one period along the front, 3 in space; of a mesh that is the body it is not known here."""
        return 2 if self.domain is None else self.domain.dimension

    @property
    def coupled(self) -> bool:
        """Whether there is a continuum at all."""
        return self.coupling.method != "atomistic"

    def to_dict(self) -> dict[str, Any]:
        """The whole input with all defaults written out; JSON-able, and itself a valid input."""
        return self.model_dump(mode="json")
