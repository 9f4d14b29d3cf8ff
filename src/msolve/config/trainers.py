# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The section ``model`` of a training, one class for each trainer; ``msolve.train.trainers`` runs them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from msolve.config.potentials import AnyPotential
from msolve.config.quantities import Keywords, PositiveLength
from msolve.config.sections import Count, PositiveCount, Section

PositiveNumber = Annotated[float, Field(gt=0)]
NotNegativeNumber = Annotated[float, Field(ge=0)]


class MaceTraining(Section):
    """A MACE model by mace-torch's own trainer."""

    kind: Literal["mace"] = Field(description="Trained by mace-torch.")
    arguments: Keywords = Field(
        description="Arguments of `mace_run_train`; files, names, keys and seed are given by msolve. On the CPU "
        "unless `device` says otherwise."
    )
    later_stages: tuple[Keywords, ...] = Field(
        default=(),
        description="Arguments that change in later stages. Each goes on from the best weights of the one "
        "before with fresh moments; `max_num_epochs` counts from the start.",
    )


class NequipTraining(Section):
    """A NequIP or Allegro model by nequip's own trainer."""

    kind: Literal["nequip"] = Field(description="Trained by nequip.")
    config: Keywords = Field(
        description="Configuration of `nequip-train`: `trainer` with `max_epochs`, `training_module` with `model`, "
        "loss, metrics and optimizer. Data, run, seed, type names and checkpoints are given by msolve, "
        "`${training_data_stats:...}` can be used, and `model_dtype` is float64 by default. The state with the "
        "least `val0_epoch/weighted_sum` is kept."
    )
    batch_size: PositiveCount = Field(default=6, description="Cells to a step of the optimizer.")


class LinearTraining(Section):
    """The linear potential: one least-squares solve."""

    kind: Literal["linear"] = Field(description="Fitted by msolve.")
    cutoff: PositiveLength = Field(description="Length beyond which a neighbour has no effect.")
    start: PositiveLength = Field(
        default=1.0,
        description="Length down to which the pair function is made of splines. Where no pair is so short it goes "
        "on straight.",
    )
    pairs: PositiveCount = Field(
        default=80,
        description="Splines of the pair function, evenly spaced from `start` to `cutoff`; more cost nothing in a "
        "run.",
    )
    products: tuple[Count, ...] = Field(
        default=(6, 4, 3),
        description="Numbers of densities in products of two, three, ... of them.",
    )
    angular: tuple[Count, ...] = Field(
        default=(4, 4, 3, 3),
        description="Numbers of densities in the angular powers of l = 1, 2, ...",
    )
    offset: float | None = Field(
        default=None, description="Energy of an atom alone [eV]; by default fitted too."
    )
    ridge: PositiveNumber = Field(
        default=1e-5, description="Penalty on coefficients and on kinks of the pair function."
    )
    energy_weight: NotNegativeNumber = Field(
        default=20.0, description="Weight of the energy of an atom [1/eV]."
    )
    forces_weight: NotNegativeNumber = Field(
        default=1.0, description="Weight of a force component [Å/eV]."
    )
    stress_weight: NotNegativeNumber = Field(
        default=10.0, description="Weight of a stress component [Å³/eV]."
    )
    kind_weights: dict[str, NotNegativeNumber] = Field(
        default={}, description="Factors on the weights of kinds of cells, by their names."
    )


class GapTraining(Section):
    """A Gaussian approximation potential by QUIP's ``gap_fit``."""

    kind: Literal["gap"] = Field(description="Fitted by `gap_fit` of quippy-ase.")
    arguments: Keywords = Field(
        description="Arguments of `gap_fit`: `gap` (the descriptors), `default_kernel_regularisation` and what else "
        "is wanted. Files, names of the labels and seed are given by msolve; `e0` is zero by default."
    )


class ExistingModel(Section):
    """A potential that is there already; only the report is made."""

    kind: Literal["existing"] = Field(description="Nothing is trained.")
    potential: AnyPotential = Field(description="The potential, given as in a deck.")


AnyTraining = Annotated[
    LinearTraining | MaceTraining | NequipTraining | GapTraining | ExistingModel,
    Field(discriminator="kind"),
]
