# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The input of ``msolve train handshake``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from msolve.config.problems import Problems
from msolve.config.quantities import PositiveLength, StrainValue
from msolve.config.sections import Count, PositiveCount, Section, existing_file
from msolve.config.training import Name, TrainingOutput


class Specimens(Section):
    """Cracks that are solved fully atomistically, to learn from."""

    count: Annotated[PositiveCount, Field(ge=2)] = Field(default=20, description="How many.")
    radius: PositiveLength = Field(
        default=70.0, description="Radius of each; loads at its boundary are K-fields."
    )
    K: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = Field(
        default=(0.9, 1.15),
        description="Smallest and largest K_I, over Griffith's value; drawn evenly.",
    )
    shear: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.12, description="Largest K_II over K_I, of either sign; drawn evenly."
    )
    meshes: Count = Field(
        default=0,
        description="Meshes of random edges that ignore the atoms, beside the one whose nodes are the atoms; each "
        "crack is put on all of them.",
    )
    test: Annotated[float, Field(gt=0, lt=0.9)] = Field(
        default=0.25, description="Share of the specimens kept for validation."
    )
    strain: StrainValue = Field(
        default=0.02, description="Largest strain of the slabs, along x1 and in shear towards x3."
    )


class OperatorInput(Section):
    """The operator and its training."""

    layers: PositiveCount = Field(default=4, description="Layers of each flank that it moves.")
    hidden: Count = Field(default=8, description="Width of its hidden layer; 0: linear.")
    degrees: tuple[Literal[1, 2], ...] = Field(
        default=(1, 2),
        min_length=1,
        description="Degrees of the finite elements that it is for: one set of weights each.",
    )
    closure: Literal["none", "constant", "linear", "quadratic"] = Field(
        default="none",
        description="How the strain-gradient energy around the core depends on the strain; `none`: there is none. For "
        "elements of degree 1.",
    )
    iterations: PositiveCount = Field(
        default=400, description="Iterations of L-BFGS; the weights with the best validation stay."
    )


class HandshakeTraining(Section):
    """Everything one training of a handshake needs to know."""

    name: Name = Field(default="handshake", description="Name of the model; default: the file's.")
    seed: Count = Field(default=1, description="Every random number follows from it.")
    deck: str = Field(
        description="Input of a run with a crack: its crystal, orientation and potential are those of the handshake."
    )
    specimens: Specimens = Field(default=Specimens(), description="What is learned from.")
    operator: OperatorInput = Field(default=OperatorInput(), description="What is learned.")
    output: TrainingOutput = Field(default=TrainingOutput(), description="What is written.")

    _folder: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: Any) -> None:
        """Remember the folder that relative file names start from."""
        self._folder = (context or {}).get("folder", Path())

    @field_validator("deck")
    @classmethod
    def _exists(cls, deck: str, info: ValidationInfo) -> str | None:
        return existing_file(deck, info)

    @model_validator(mode="after")
    def _ordered(self) -> HandshakeTraining:
        low, high = self.specimens.K
        if low > high:
            raise Problems([f"specimens.K = [{low:g}, {high:g}]: the smallest comes first"])
        return self

    @property
    def folder(self) -> Path:
        """Where relative file names start."""
        return self._folder

    @property
    def output_directory(self) -> Path:
        """Folder for all output."""
        return Path(self.output.directory or f"results/{self.name}")
