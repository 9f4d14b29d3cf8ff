# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The section ``potential``: one class for each way a potential is given."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from msolve.config.quantities import Keywords, PositiveLength, StrainValue, Symbol
from msolve.config.sections import PositiveCount, Section, existing_file
from msolve.potentials.loading import BROUGHT

Words = Annotated[str, Field(strict=True, min_length=1)]


Elements = Annotated[
    tuple[Symbol, ...] | None,
    Field(
        description="Elements it is used for; with `lammps` in the order of the atom types. Default: "
        "those of the crystal."
    ),
]


class Potential(Section):
    """The interatomic potential, which also gives the continuum; every coupling method works with these."""

    kind: Literal["eam", "linear", "mace", "nequip", "sevennet", "sw", "toy"] = Field(
        description="`eam`: table in eam.alloy or eam.fs format. `linear`: msolve's own model, linear in its "
        "coefficients (`*.linear`). `mace`: model file of mace-torch (a pickle: load only files you trust). "
        "`nequip`: NequIP or Allegro model, the package (`*.nequip.zip`) or checkpoint (`*.ckpt`) of nequip "
        "(pickles too). `sevennet`: checkpoint of sevenn (`*.pth`, a pickle), or one that comes with the package, "
        f"by its name ({', '.join(BROUGHT)}). `sw`: Stillinger-Weber file of LAMMPS. `toy`: built-in model for the "
        "triangular lattice."
    )
    file: str | None = Field(
        default=None,
        description="File of the potential, relative to the input file; not with `toy`.",
    )
    committee: tuple[str, ...] = Field(
        default=(),
        description="Further model files of the same kind: energies are then the means over all, and how far the "
        "members' forces are apart is written for each atom (`force_spread`).",
    )
    device: Literal["cpu", "cuda", "auto"] = Field(
        default="cpu", description="Where it is evaluated."
    )
    evaluators: PositiveCount | None = Field(
        default=None,
        description="How many ranks evaluate it, for the atoms and for the continuum's law; the others hand them "
        "their points. With `device: cuda` the number of GPUs, or some ranks for each. Default: every rank, each on "
        "the GPUs of its node in turn.",
    )
    precision: Literal["float64", "float32"] = Field(
        default="float64",
        description="Precision of a neural network (`mace`, `nequip`, `sevennet`). In `float32` it is faster on a GPU, "
        "its forces carry a noise of some 1e-6 of the largest, and `solver.gradient_tolerance` must lie above that.",
    )

    @field_validator("file")
    @classmethod
    def _exists(cls, file: str | None, info: ValidationInfo) -> str | None:
        return _given_or_brought(file, info)

    @field_validator("committee")
    @classmethod
    def _exist(cls, files: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for file in files:
            _given_or_brought(file, info)
        return files


def _given_or_brought(file: str | None, info: ValidationInfo) -> str | None:
    if info.data.get("kind") == "sevennet" and file in BROUGHT:
        return file
    return existing_file(file, info)


Tabulate = Annotated[
    StrainValue | None,
    Field(
        description="Strain up to which the continuum's law is a polynomial fitted once to the model, e.g. "
        "`2 %`; its error is measured and reported. Beyond it, and by default, the model is asked at each "
        "quadrature point, which takes long where a call takes milliseconds."
    ),
]


def _small_strain(tabulate: float | None) -> float | None:
    if tabulate is not None and not 0 < tabulate <= 0.1:
        raise ValueError("must be greater than 0 and at most 10 %")
    return tabulate


class CalculatorPotential(Section):
    """A calculator of ASE; gives forces, so methods `bqcf` and `atomistic`."""

    kind: Literal["ase"] = Field(description="Calculator of the Atomic Simulation Environment.")
    calculator: Words = Field(
        description="Class or function that makes it: `module:name`, or `file.py:name` relative to "
        "the input file (its code is run: name only files you trust)."
    )
    arguments: Keywords = Field(
        default={},
        description="Arguments it is made with; names of files beside the input become absolute.",
    )
    cutoff: PositiveLength | None = Field(
        default=None,
        description="Half the distance over which moving an atom changes a force; for pair potentials, EAM "
        "and other one-layer models their cutoff, for message passing layers times cutoff. Default: what the "
        "calculator says, if it does. Checked on the crystal.",
    )
    tabulate: Tabulate = None
    elements: Elements = None
    _tabulate = field_validator("tabulate")(_small_strain)


class GapPotential(Section):
    """A Gaussian approximation potential, evaluated by QUIP; methods `bqcf` and `atomistic`."""

    kind: Literal["gap"] = Field(description="Gaussian approximation potential.")
    file: Words = Field(
        description="The XML file that `gap_fit` wrote, relative to the input file; files of sparse points that it "
        "names lie beside it."
    )
    tabulate: Tabulate = None
    _exists = field_validator("file")(existing_file)
    _tabulate = field_validator("tabulate")(_small_strain)


class TorchSimPotential(Section):
    """A model of torch-sim's `ModelInterface`; gives forces, so methods `bqcf` and `atomistic`."""

    kind: Literal["torchsim"] = Field(description="Model behind torch-sim's `ModelInterface`.")
    model: Words = Field(
        description="Class or function that makes it, as `ase` names calculators, e.g. "
        "`torch_sim.models.mace:MaceModel` (its code is run: name only files you trust)."
    )
    arguments: Keywords = Field(
        default={},
        description="Arguments it is made with; `device` and `dtype` are added where it takes them. Names of files "
        "beside the input become absolute.",
    )
    cutoff: PositiveLength = Field(
        description="Half the distance over which moving an atom changes a force: layers times cutoff for message "
        "passing. Checked on the crystal."
    )
    device: Literal["cpu", "cuda", "auto"] = Field(
        default="cpu", description="Where it is evaluated."
    )
    precision: Literal["float64", "float32"] = Field(
        default="float64",
        description="The `dtype` it is made with. In `float32` differences of forces are of little use: "
        "`solver.gradient_tolerance` must lie above the noise.",
    )
    tabulate: Tabulate = None
    elements: Elements = None
    _tabulate = field_validator("tabulate")(_small_strain)


class OwnPotential(Section):
    """Site energies of your own, in torch; every coupling method works with them."""

    kind: Literal["own"] = Field(description="A `SiteModel` of your own.")
    model: Words = Field(
        description="Class or function that makes it: `module:name`, or `file.py:name` relative to "
        "the input file (its code is run: name only files you trust)."
    )
    arguments: Keywords = Field(
        default={},
        description="Arguments it is made with. Names of files beside the input become absolute.",
    )


class LammpsPotential(Section):
    """A pair style of LAMMPS, in its units `metal`; methods `bqcf` and `atomistic`."""

    kind: Literal["lammps"] = Field(description="Pair style of LAMMPS.")
    pair_style: Words = Field(description="Arguments of LAMMPS's command of that name.")
    pair_coeff: tuple[Words, ...] = Field(
        description="Arguments of each command `pair_coeff`; files relative to the input file, or where "
        "LAMMPS looks itself."
    )
    elements: Elements = None


class KimPotential(Section):
    """A model of the OpenKIM repository, run by LAMMPS; methods `bqcf` and `atomistic`."""

    kind: Literal["kim"] = Field(description="Installed OpenKIM model.")
    model: Words = Field(description="Its full name, with its number.")
    elements: Elements = None


AnyPotential = Annotated[
    Potential
    | CalculatorPotential
    | GapPotential
    | TorchSimPotential
    | OwnPotential
    | LammpsPotential
    | KimPotential,
    Field(discriminator="kind"),
]
