# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The section ``model`` of a training, one class for each trainer; ``msolve.train.trainers`` runs them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from msolve.config.potentials import AnyPotential
from msolve.config.quantities import Keywords
from msolve.config.sections import Section


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


class ExistingModel(Section):
    """A potential that is there already; only the report is made."""

    kind: Literal["existing"] = Field(description="Nothing is trained.")
    potential: AnyPotential = Field(description="The potential, given as in a deck.")


AnyTraining = Annotated[MaceTraining | ExistingModel, Field(discriminator="kind")]
