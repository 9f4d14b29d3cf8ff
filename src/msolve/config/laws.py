# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The continuum's law: the section of a run, and the input of ``msolve train law``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from msolve.config.checks import potential_problems
from msolve.config.potentials import AnyPotential
from msolve.config.problems import Problems
from msolve.config.quantities import StrainValue
from msolve.config.sections import Count, PositiveCount, Section, existing_file
from msolve.config.training import CubicCrystal, Name, TrainingOutput


class Continuum(Section):
    """The law of the finite elements: by default the potential's own, by Cauchy and Born."""

    law: str | None = Field(
        default=None,
        description="File of a learned law (`*.law`, made by `msolve train law`), relative to the input file. Within "
        "the strain it was trained on it takes the potential's place in the mesh, so that the mesh costs next to "
        "nothing; beyond, the potential is asked. Cubic crystals only.",
    )

    @field_validator("law")
    @classmethod
    def _exists(cls, law: str | None, info: ValidationInfo) -> str | None:
        return existing_file(law, info)


class Network(Section):
    """How the law is learned."""

    strain: StrainValue = Field(
        default=0.065,
        description="Largest strain: Frobenius norm of the Green-Lagrange strain up to which it stands for the "
        "potential.",
    )
    states: Annotated[PositiveCount, Field(ge=100)] = Field(
        default=8000, description="Strained crystals that the potential is asked for."
    )
    test: Annotated[float, Field(gt=0, lt=0.9)] = Field(
        default=0.2, description="Share of them kept for the report."
    )
    width: PositiveCount = Field(default=48, description="Width of its two hidden layers.")
    iterations: PositiveCount = Field(
        default=3000, description="Iterations of L-BFGS on energies and stresses together."
    )

    @field_validator("strain")
    @classmethod
    def _small(cls, strain: float) -> float:
        if not 0 < strain <= 0.2:
            raise ValueError("must be greater than 0 and at most 20 %")
        return strain


class LawTraining(Section):
    """Everything one training of a law needs to know."""

    name: Name = Field(default="law", description="Name of the law; default: the file's.")
    seed: Count = Field(default=1, description="Every random number follows from it.")
    crystal: CubicCrystal = Field(description="Crystal.")
    potential: AnyPotential = Field(description="Potential whose law is learned.")
    law: Network = Field(default=Network(), description="How it is learned.")
    output: TrainingOutput = Field(default=TrainingOutput(), description="What is written.")

    _folder: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: Any) -> None:
        """Remember the folder that relative file names start from."""
        self._folder = (context or {}).get("folder", Path())

    @model_validator(mode="after")
    def _potential_is_whole(self) -> LawTraining:
        problems = potential_problems(self.potential, "potential")
        if problems:
            raise Problems(problems)
        return self

    @property
    def folder(self) -> Path:
        """Where relative file names start."""
        return self._folder

    @property
    def output_directory(self) -> Path:
        """Folder for all output."""
        return Path(self.output.directory or f"results/{self.name}")
