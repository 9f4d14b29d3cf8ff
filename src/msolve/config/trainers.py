# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The section ``model`` of a training, one class for each trainer; ``msolve.train.trainers`` runs them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from msolve.config.potentials import AnyPotential
from msolve.config.quantities import Keywords
from msolve.config.sections import PositiveCount, Section


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


class ExistingModel(Section):
    """A potential that is there already; only the report is made."""

    kind: Literal["existing"] = Field(description="Nothing is trained.")
    potential: AnyPotential = Field(description="The potential, given as in a deck.")


AnyTraining = Annotated[MaceTraining | NequipTraining | ExistingModel, Field(discriminator="kind")]
