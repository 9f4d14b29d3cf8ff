# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""One solved and estimated problem of a refinement, and what is told of it. What comes next is decided elsewhere."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.against import FullModel
from msolve.assemble import Assembly
from msolve.build import Setup
from msolve.config import Adaptivity
from msolve.estimate import Estimate, Places
from msolve.io.meshes import MeshData
from msolve.io.rounds import RoundView
from msolve.methods import Solved

Array = npt.NDArray[np.float64]

SHOWN = 1.1
"""Growth of cores from which on it shows a rate."""


@dataclasses.dataclass(frozen=True)
class Round:
    """One solved problem.

    Attributes:
        setup: It.
        mesh: Its mesh, on the first rank.
        assembly: The assembled problem.
        z: Solution.
        solved: What the method's solvers did.
        numbers: Its estimate.
        places: Expected error, and its source, at the places that ``full`` speaks of.
        goal: Estimated error of the number that is refined for; ``None`` without one.
        full: The full model beside it.
        unstable: Where the mesh's law is about to lose its stability or a committee disagrees, shape ``(n, 2)`` [Å].
        rate: Of the coupling error over the size of cores, by theory or by what the last growth has shown.
        seconds: What it took.
    """

    setup: Setup
    mesh: MeshData
    assembly: Assembly
    z: PETSc.Vec
    solved: Solved
    numbers: Estimate
    places: Places
    goal: float | None
    full: FullModel
    unstable: Array
    rate: float
    seconds: float

    @property
    def error(self) -> float:
        """What is to become small."""
        wanted = self.setup.case.adaptivity
        if self.goal is not None:
            return self.goal
        if wanted is not None and wanted.energy_norm is not None:
            return energy_norm(self.numbers)
        return self.numbers.total_h1

    def is_fine(self, wanted: Adaptivity) -> bool:
        """Whether all tolerances are met; not without any."""
        goal = wanted.quantity
        ends = (
            (wanted.total_h1, self.numbers.total_h1),
            (wanted.energy_norm, energy_norm(self.numbers)),
            (None if goal is None else goal.tolerance, self.goal or 0.0),
        )
        met = [error <= end for end, error in ends if end is not None]
        return bool(met) and all(met)

    def share(self, part: int) -> float | None:
        """H1 norm of what the coupled space holds of the error (0), or of the rest (1); ``None`` if not known."""
        parts = self.places.parts
        return None if parts is None else float(np.sqrt(parts[:, part].sum()))

    @property
    def by_mesh(self) -> bool:
        """Whether the mesh has the larger share in the error."""
        coupling, mesh = self.share(0), self.share(1)
        if coupling is None or mesh is None:
            coupling, mesh = self.numbers.coupling, self.numbers.discretisation
        return (mesh or 0.0) >= (coupling or 0.0)

    @property
    def unknowns(self) -> int:
        """Scalar unknowns."""
        return self.assembly.problem.kinematics.unknowns.n_global


def energy_norm(numbers: Estimate) -> float:
    """Of the error: in the Hessian, in elasticity where there is no estimate by it [√eV]."""
    return numbers.elasticity_norm if numbers.energy_norm is None else numbers.energy_norm


def rate_of(setup: Setup, places: Places, before: Round | None) -> float:
    """Rate of the coupling error over the size of cores: strains of a crack fall as 1/√r, of a defect as r^-d.

    What the last growth has shown replaces it, up to twice as fast.
    """
    theory = 1.0 if setup.body.crack else float(setup.body.gdim)
    if before is None or places.parts is None or before.places.parts is None:
        return theory
    cores = [[core.extent() for core in one.regions.cores] for one in (before.setup, setup)]
    if len(cores[0]) != len(cores[1]):
        return before.rate
    grown = float(np.linalg.norm(cores[1]) / np.linalg.norm(cores[0]))
    if not grown > SHOWN:
        return before.rate
    less = 0.5 * math.log(before.places.parts[:, 0].sum() / places.parts[:, 0].sum())
    return float(np.clip(less / math.log(grown), theory, 2 * theory))


def view_of(found: Round) -> RoundView:
    """Of one round; without a mesh on all ranks but the first."""
    free = found.assembly.X[found.assembly.free, :2]
    mesh = found.mesh
    return RoundView(mesh.points[:, :2], mesh.cells[:, :3], free, found.error, found.unknowns)


def row_of(found: Round, how: str, iterations: int) -> dict[str, Any]:
    """Its numbers, for ``result.json``."""
    numbers, assembly = found.numbers, found.assembly
    space = assembly.problem.kinematics.space
    assert space is not None
    assert found.setup.case.domain is not None
    return {
        "how": how,
        "free_atoms": int(assembly.free.sum()),
        "evaluated_atoms": int(assembly.evaluated.sum()),
        "mesh_nodes": space.n_global_nodes,
        "unknowns": found.unknowns,
        "cores": len(found.setup.regions.cores),
        "degree": found.setup.case.mesh.degree,
        "radius": found.setup.case.domain.radius,
        "unstable_cells": len(found.unstable),
        "total_h1": numbers.total_h1,
        "tip_h1": numbers.tip_h1,
        "energy_norm": numbers.energy_norm,
        "elasticity_norm": numbers.elasticity_norm,
        "energy": numbers.energy,
        "quantity": found.goal,
        "coupling_h1": found.share(0),
        "discretisation_h1": found.share(1),
        "coupling": numbers.coupling,
        "discretisation": numbers.discretisation,
        "algebraic": numbers.algebraic,
        "deferred": numbers.deferred,
        "truncation": numbers.truncation,
        "contraction": numbers.contraction,
        "iterations": iterations,
        "seconds": found.seconds,
    }


def told_of(k: int, row: dict[str, Any]) -> str:
    """A row in one line of the log."""
    goal = "" if row["quantity"] is None else f", of the quantity {row['quantity']:.3g}"
    return (
        f"round {k} ({row['how']}): estimated error {row['total_h1']:.3g} Å{goal}, {row['evaluated_atoms']} atoms "
        f"evaluated, {row['unknowns']} unknowns, {row['seconds']:.1f} s"
    )
