# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The input of ``msolve train potential``: reference, data, active learning, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from msolve.config.checks import potential_problems
from msolve.config.potentials import AnyPotential
from msolve.config.problems import Problems
from msolve.config.quantities import (
    Accepts,
    Gradient,
    LatticeLength,
    Miller,
    PositiveLength,
    StrainValue,
    Symbol,
    Width,
)
from msolve.config.sections import Count, PositiveCount, Section, existing_file
from msolve.config.trainers import AnyTraining, ExistingModel, LinearTraining

Entry = TypeVar("Entry")
PositiveNumber = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1), Accepts("number from 0 to 1")]


def _ordered(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError("the first must not be larger than the second")
    return span


def _some(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    if not entries:
        raise ValueError("needs at least one entry")
    return entries


Planes = Annotated[tuple[Miller, ...], AfterValidator(_some)]
Span = Annotated[
    tuple[Width, Width], AfterValidator(_ordered), Accepts("two lengths, least and most")
]
Factors = Annotated[
    tuple[PositiveNumber, PositiveNumber], AfterValidator(_ordered), Accepts("two numbers > 0")
]
Name = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9_.-]+$"), Accepts("word")]


class CubicCrystal(Section):
    """The crystal whose potential is trained; its constants are those of the reference."""

    structure: Literal["bcc", "fcc", "diamond"] = Field(description="Name of the cubic lattice.")
    element: Symbol = Field(description="Species.")
    lattice_constant: LatticeLength = Field(
        default="from_potential",
        description="Edge of the cube, within 15 %, from which the reference's own is found.",
    )


class _Cells(Section):
    """What every kind of cells has."""

    count: PositiveCount = Field(description="How many.")
    name: Name | None = Field(
        default=None, description="What tables and files call them; default: the kind."
    )

    @property
    def label(self) -> str:
        """Their name."""
        return self.name or str(getattr(self, "kind", ""))


class StrainedCells(_Cells):
    """Primitive cells, strained."""

    kind: Literal["strained"] = Field(description="Perfect crystal under six strain components.")
    strain: StrainValue = Field(description="Largest component of the strain.")


class VolumeCells(_Cells):
    """Primitive cells of other volumes."""

    kind: Literal["volume"] = Field(description="Perfect crystal, compressed or swollen.")
    least: StrainValue = Field(default=-0.06, description="Smallest change of the volume.")
    most: StrainValue = Field(default=0.12, description="Largest change of the volume.")
    strain: StrainValue = Field(default=0.02, description="Largest strain component on top.")


class RattledCells(_Cells):
    """Strained blocks whose atoms are displaced at random."""

    kind: Literal["rattled"] = Field(description="Perfect crystal with atoms displaced at random.")
    cubes: PositiveCount = Field(default=2, description="Edge, counted in cubes.")
    strain: StrainValue = Field(default=0.03, description="Largest strain component.")
    rattle: Span = Field(
        default=(0.02, 0.15), description="Width of the normal distribution of each component."
    )


class VacancyCells(_Cells):
    """Blocks that lack one atom, every fourth two."""

    kind: Literal["vacancy"] = Field(description="Crystal with one or two neighbouring vacancies.")
    cubes: PositiveCount = Field(default=3, description="Edge, counted in cubes.")
    strain: StrainValue = Field(default=0.02, description="Largest strain component.")
    rattle: Span = Field(default=(0.0, 0.1), description="Width of the random displacements.")
    relaxed: Share = Field(
        default=1 / 3, description="Share of the cells relaxed by the reference instead."
    )


class SurfaceCells(_Cells):
    """Slabs between two free surfaces."""

    kind: Literal["surface"] = Field(description="Slabs with free surfaces.")
    planes: Planes = Field(description="Lattice planes that the surfaces lie in, in turn.")
    thickness: Span = Field(default=(11.0, 16.0), description="Thickness of the slabs, about.")
    strain: StrainValue = Field(default=0.04, description="Largest strain component in the plane.")
    rattle: Span = Field(default=(0.0, 0.1), description="Width of the random displacements.")
    relaxed: Share = Field(
        default=1 / 3, description="Share of the cells relaxed by the reference instead."
    )


class OpenedCells(_Cells):
    """Crystal cut along a plane and opened: the separation of two surfaces."""

    kind: Literal["opened"] = Field(description="Crystal cut along a plane, opened and sheared.")
    planes: Planes = Field(description="Planes of the cut, in turn.")
    thickness: PositiveLength = Field(default=13.0, description="Between two cuts, about.")
    opening: Span = Field(default=(0.05, 5.5), description="Opening of the cut.")
    slip: Width = Field(default=0.8, description="Largest slip along each axis in the plane.")
    strain: StrainValue = Field(default=0.03, description="Largest strain component.")
    rattle: Span = Field(default=(0.0, 0.08), description="Width of the random displacements.")


class CrackTipCells(_Cells):
    """Discs around a crack tip in its K-field, one period thick, open outside."""

    kind: Literal["crack_tip"] = Field(description="Neighbourhood of a crack tip in its K-field.")
    plane: Miller = Field(description="Crack plane.")
    front: Miller = Field(description="Direction of the front, in the plane.")
    K: Factors = Field(
        default=(0.7, 1.2), description="Least and largest load, in Griffith's of the reference."
    )
    radius: Span = Field(default=(9.5, 12.0), description="Radius of the disc.")
    rattle: Span = Field(default=(0.0, 0.08), description="Width of the random displacements.")
    relaxed: Share = Field(
        default=1 / 3,
        description="Share of the discs relaxed for a few steps by the reference, inside a fixed rim.",
    )


class FileCells(Section):
    """Cells of the user's, labelled by the reference; what the file says of energies and forces is not looked at."""

    kind: Literal["from_file"] = Field(description="Cells from a file.")
    file: str = Field(description="File in any format that ASE reads, relative to this file.")
    name: Name = Field(description="What tables and files call them.")

    @property
    def label(self) -> str:
        """Their name."""
        return self.name

    @field_validator("file")
    @classmethod
    def _exists(cls, file: str, info: ValidationInfo) -> str | None:
        return existing_file(file, info)


AnyCells = Annotated[
    StrainedCells
    | VolumeCells
    | RattledCells
    | VacancyCells
    | SurfaceCells
    | OpenedCells
    | CrackTipCells
    | FileCells,
    Field(discriminator="kind"),
]


class Data(Section):
    """The cells that the reference labels; each follows from `seed`, its name and its number."""

    cells: Annotated[tuple[AnyCells, ...], AfterValidator(_some)] = Field(
        description="Kinds of cells."
    )
    vacuum: PositiveLength = Field(
        default=12.0,
        description="Empty space around slabs and discs; wider than reference and model reach.",
    )
    test: Share = Field(default=0.2, description="Share of each kind kept for the report.")
    validation: Share = Field(
        default=0.1, description="Share of each kind by which a trainer chooses its best state."
    )


class GriffithInput(Section):
    """A crack whose Griffith load is reported."""

    plane: Miller = Field(description="Crack plane.")
    front: Miller = Field(description="Direction of the front, in the plane.")


class Report(Section):
    """What the model is compared with its reference in, beyond energies, forces and stresses."""

    surfaces: tuple[Miller, ...] = Field(
        default=(), description="Planes of the relaxed surfaces whose energy is reported."
    )
    vacancy: Count = Field(
        default=4, description="Edge in cubes of the cell with the relaxed vacancy; 0: none."
    )
    phonons: Count = Field(
        default=4,
        description="Edge in cubes of the cell that phonons are computed in; frequencies are those of waves "
        "with that period, so exact. An even number holds the zone boundary; 0: none.",
    )
    cracks: tuple[GriffithInput, ...] = Field(
        default=(), description="Cracks whose Griffith load K_G is reported."
    )


class Active(Section):
    """Learning from what a committee disagrees on in the states of a coupled run."""

    deck: str = Field(
        description="Input of the run, relative to this file; its potential is replaced by the model."
    )
    rounds: PositiveCount = Field(default=3, description="How often clusters are added.")
    atoms: PositiveCount = Field(
        default=12,
        description="Core atoms of most disagreement in each round, over all load steps.",
    )
    committee: PositiveCount = Field(
        default=3,
        description="Further models, of other seeds and on resampled cells, that disagree with the model.",
    )
    doubt: Gradient = Field(
        default=1.0,
        description="Disagreement on a force at which the run ends: what follows would not be believed.",
    )
    radius: PositiveLength = Field(default=9.0, description="Radius of the clusters.")
    shell: Width = Field(
        default=3.0, description="Outer part of a cluster that is displaced at random."
    )
    rattle: Width = Field(default=0.05, description="Width of these displacements.")
    apart: Width = Field(
        default=4.0, description="Least distance between two atoms chosen in one state."
    )

    @field_validator("deck")
    @classmethod
    def _exists(cls, deck: str, info: ValidationInfo) -> str | None:
        return existing_file(deck, info)


class TrainingOutput(Section):
    """Where everything goes."""

    directory: str | None = Field(
        default=None,
        description="Folder for all output, relative to where the command runs; by default "
        "`results/NAME`.",
    )


class Training(Section):
    """Everything one training needs to know."""

    name: Name = Field(default="potential", description="Name of the model; default: the file's.")
    seed: Count = Field(default=1, description="Every random number follows from it.")
    crystal: CubicCrystal = Field(description="Crystal.")
    reference: AnyPotential = Field(description="Reference potential, which labels the cells.")
    data: Data = Field(description="Labelled cells.")
    model: AnyTraining = Field(description="What is trained.")
    active: Active | None = Field(
        default=None, description="Rounds of active learning; by default none."
    )
    draws: Count = Field(
        default=0,
        description="Other parameters to draw for the model, by which `model_error.kind: pops` tells its error in a "
        "run; written to `NAME.draws`. For `linear` all coefficients, for MACE the weights of its last layers. "
        "Sixteen are enough.",
    )
    report: Report = Field(default=Report(), description="Comparison with the reference.")
    output: TrainingOutput = Field(default=TrainingOutput(), description="What is written.")

    _folder: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: Any) -> None:
        """Remember the folder that relative file names start from."""
        self._folder = (context or {}).get("folder", Path())

    @model_validator(mode="after")
    def _sections_agree(self) -> Training:
        problems = [
            *potential_problems(self.reference, "reference"),
            *_data_problems(self.data),
            *_front_problems("report.cracks", self.report.cracks),
        ]
        if isinstance(self.model, LinearTraining):
            names = [one.label for one in self.data.cells] + ["active"] * (self.active is not None)
            problems += [
                f"model.kind_weights.{name}: no cells of that kind; there are {', '.join(names)}"
                for name in self.model.kind_weights
                if name not in names
            ]
        if self.draws == 1:
            problems.append("draws = 1: one alone has no spread; must be 0 or at least 2")
        kind = self.model.kind
        if isinstance(self.model, ExistingModel):
            kind = "mace" if self.model.potential.kind == "mace" else "existing"
        if self.draws and kind not in ("linear", "mace"):
            problems.append(
                f"draws = {self.draws}: only with model.kind = linear or mace, or an existing MACE model; leave it out"
            )
        if isinstance(self.model, ExistingModel):
            problems += potential_problems(self.model.potential, "model.potential")
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

    def to_dict(self) -> dict[str, Any]:
        """The whole input with all defaults written out; JSON-able, and itself a valid input."""
        return self.model_dump(mode="json")


def _data_problems(data: Data) -> list[str]:
    problems = _front_problems("data.cells", data.cells)
    names = [one.label for one in data.cells]
    problems += [
        f"data.cells.{k}.name = {name}: so is another kind of cells called; give each its name"
        for k, name in enumerate(names)
        if name in names[:k]
    ]
    if data.test + data.validation >= 1:
        problems.append(
            f"data.test = {data.test:g}: leaves with data.validation = {data.validation:g} no cell to train on; "
            "together they must be less than 1"
        )
    problems += [
        f"data.cells.{k}.least = {one.least:g}: must not be larger than most, and more than -1"
        for k, one in enumerate(data.cells)
        if isinstance(one, VolumeCells) and not -1 < one.least <= one.most
    ]
    return problems


def _front_problems(key: str, cracks: Sequence[object]) -> list[str]:
    return [
        f"{key}.{k}.front = {list(one.front)}: does not lie in the plane {list(one.plane)}; their product must be 0"
        for k, one in enumerate(cracks)
        if isinstance(one, CrackTipCells | GriffithInput)
        and sum(a * b for a, b in zip(one.plane, one.front, strict=True)) != 0
    ]
