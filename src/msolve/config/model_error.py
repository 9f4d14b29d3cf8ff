# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The section ``model_error``: by what the potential's own error is told, beside the numerical one."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator

from msolve.config.potentials import AnyPotential, Words
from msolve.config.quantities import PositiveLength
from msolve.config.sections import Section, existing_file


class Beside(Section):
    """What all kinds have."""

    within: PositiveLength | None = Field(
        default=None,
        description="Compare forces on atoms within this distance of the defects only, or of the origin without any. "
        "Default: on all atoms of the body.",
    )


class ReferenceBeside(Beside):
    """A reference potential."""

    kind: Literal["reference"] = Field(
        description="A potential that counts as right, of any kind that `potential` may have."
    )
    potential: AnyPotential = Field(description="The reference, given like `potential`.")


class Spread(Beside):
    """Members that are apart."""

    calibration: str | None = Field(
        default=None,
        description="Cells that a reference labelled, in a format of ASE with the names of `msolve train` "
        "(`REF_forces`, `REF_energy`), relative to the input file. Every other cell gives the factor on the spread, "
        "the rest its coverage. Default: the factor is 1, and nothing is known of the coverage.",
    )
    coverage: float = Field(
        default=0.95,
        ge=0.5,
        lt=1,
        description="Share of the errors of forces that the stretched spread is to cover.",
    )

    @field_validator("calibration")
    @classmethod
    def _exists(cls, file: str | None, info: ValidationInfo) -> str | None:
        return existing_file(file, info)


class CommitteeBeside(Spread):
    """A committee."""

    kind: Literal["committee"] = Field(
        description="How far the members of a committee are apart: those of `potential.committee`, or `files`."
    )
    files: tuple[Words, ...] = Field(
        default=(),
        description="Further models of the kind of `potential`, beside its own file; the run itself uses that one "
        "alone.",
    )

    @field_validator("files")
    @classmethod
    def _exist(cls, files: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for file in files:
            existing_file(file, info)
        return files


class PopsBeside(Spread):
    """Draws of coefficients."""

    kind: Literal["pops"] = Field(
        description="How far models with other coefficients are apart, which `msolve train` drew for a linear "
        "potential, or for the last layers of MACE (`draws`): pointwise optimal parameter sets."
    )
    file: Words = Field(description="File of the draws (`*.draws`), relative to the input file.")

    @field_validator("file")
    @classmethod
    def _there(cls, file: str, info: ValidationInfo) -> str | None:
        return existing_file(file, info)


ModelError: TypeAlias = Annotated[
    ReferenceBeside | CommitteeBeside | PopsBeside, Field(discriminator="kind")
]
