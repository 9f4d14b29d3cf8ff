# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A coupled run beside the full atomistic model of its body: how far it is said to be from it, and how far it is."""

from __future__ import annotations

import dataclasses
import time
from functools import cached_property

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.assemble import Assembly, full_atomistic
from msolve.build import Setup
from msolve.compare import Comparison, compare, lift_to, unknowns_of
from msolve.config import CalculatorPotential
from msolve.errors import ConvergenceError
from msolve.estimate import (
    Estimate,
    Estimator,
    Indicators,
    Locator,
    Places,
    Sampled,
    law_error,
    no_sample,
)
from msolve.io.result import ComparisonResult
from msolve.loads import Zero
from msolve.methods import Solved
from msolve.solvers import Report, Settings, descend, minimise

Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Compared:
    """The full atomistic model, solved from the coupled solution.

    Attributes:
        numbers: Norms of the difference.
        result: The same for ``result.json``.
        error: Lifted minus exact position of each of its atoms, shape ``(n, 3)`` [Å].
        patch: Exact positions of the coupled model's atoms, nan for those outside the body, shape ``(m, 3)`` [Å].
        report: What its solver did.
    """

    numbers: Comparison
    result: ComparisonResult
    error: Array
    patch: Array
    report: Report


class FullModel:
    """The full atomistic model of a coupled run's body, made when it is first asked for.

    Args:
        setup: What the case means.
        assembly: The coupled problem.
        whole: The model, if it has been made before.

    Attributes:
        case: The input.
        kind: Of the estimate, ``"none"`` for none.
        whole: The model, once it has been made.
    """

    def __init__(self, setup: Setup, assembly: Assembly, whole: Assembly | None = None) -> None:
        self._setup, self._assembly, self.whole = setup, assembly, whole
        self.case = case = setup.case
        default = "none" if isinstance(case.potential, CalculatorPotential) else "hessian"
        self.kind = case.estimate.kind or default

    @property
    def assembly(self) -> Assembly:
        """The model itself. Collective."""
        if self.whole is None:
            comm = self._assembly.problem.kinematics.unknowns.comm
            self.whole = full_atomistic(comm, self._setup.body, prefix="msolve_full_")
        return self.whole

    @property
    def too_large(self) -> str | None:
        """Why not all atoms of the body are visited, or ``None``."""
        body, largest = self._setup.body, self._setup.case.estimate.largest
        atoms = body.volume / body.crystal.crystal.atomic_volume
        if atoms <= largest:
            return None
        return f"the body has about {atoms:.2g} atoms, estimate.largest is {largest}"

    @property
    def why_not(self) -> str | None:
        """Why nothing that visits all atoms is done though it could be wanted, or ``None``."""
        body = self._setup.body
        if body.loads is not None and isinstance(body.far_field, Zero):
            return "nothing holds the atoms of the whole outline, which has dead loads or is free in parts"
        return self.too_large

    @property
    def no_estimate(self) -> str | None:
        """Why errors are not estimated though they could be wanted, or ``None``."""
        why, too_large = self.why_not, self.too_large
        if why is None or why != too_large:
            return why
        obstacle = no_sample(self._assembly)
        return None if obstacle is None else f"{too_large}, and {obstacle}"

    @property
    def unestimated(self) -> str | None:
        """Why there are no estimates, wanted or not; ``None`` where there are."""
        return "estimate.kind is none" if self.kind == "none" else self.no_estimate

    @cached_property
    def _estimator(self) -> Estimator | Sampled:
        case = self._setup.case
        rim, tip_radius = case.compare.rim, case.compare.tip_radius
        if self.too_large is None:
            return Estimator(self._assembly, self.assembly, rim=rim, tip_radius=tip_radius)
        return Sampled(self._assembly, rim=rim, tip_radius=tip_radius, tiles=case.estimate.tiles)

    @property
    def X(self) -> Array:
        """Places that estimates speak of, shape ``(n, 3)`` [Å]. Collective."""
        return self._estimator.X

    def estimate(
        self, z: PETSc.Vec, t: float, solved: Solved, *, rough: bool = False
    ) -> tuple[Estimate, Places] | None:
        """Estimated error of a coupled solution, and of each place; ``None`` where there is none. Collective.

        A ``rough`` one is good enough to say what to refine, where all atoms are visited.
        """
        if not self._setup.case.coupled or self.unestimated is not None:
            return None
        deferred = self._setup.case.coupling.method == "bgfc_deferred"
        estimator, hessian = self._estimator, self.kind == "hessian"
        minimised = solved.energy_problem if deferred else None
        problem = solved.residual_problem
        if isinstance(estimator, Estimator):
            numbers, places = estimator(
                z, t, problem, hessian=hessian, rough=rough, minimised=minimised
            )
        else:
            numbers, places = estimator(z, t, problem, hessian=hessian, minimised=minimised)
        law = law_error(self._assembly, z, t, solved.residual_problem)
        return dataclasses.replace(numbers, law=law), places

    @cached_property
    def _locator(self) -> Locator:
        return Locator(self._assembly, self.X)

    def indicators(self, places: Places) -> Indicators:
        """An estimate by the atoms of the coupled model and the cells of its mesh. Collective."""
        return self._locator(places)

    def compare(self, z: PETSc.Vec, t: float, settings: Settings) -> Compared:
        """Solve it from the lifted coupled state, and measure the difference. Collective.

        Raises:
            ConvergenceError: Its solver stopped early.
        """
        given = self._setup.case.compare
        begin = time.perf_counter()
        full = self.assembly
        lifted = lift_to(self._assembly, z, t, full)
        solution = unknowns_of(full, lifted, t)
        seek = minimise if full.problem.conservative else descend
        report = seek(full.problem, solution, t, full.preconditioner, settings)
        if not report.converged:
            raise ConvergenceError(
                f"the full atomistic model did not converge: residual {report.residual:.2g} eV/angstrom "
                f"after {report.iterations} iterations; the coupled solution is in the output folder"
            )
        seconds = time.perf_counter() - begin
        numbers, error = compare(
            full, lifted, solution, t, rim=given.rim, tip_radius=given.tip_radius
        )
        result = ComparisonResult(
            total_h1=numbers.total_h1,
            tip_h1=numbers.tip_h1,
            relative_h1=numbers.relative_h1,
            max_displacement_error=numbers.largest,
            energy_error=numbers.energy,
            atomistic_atoms=int(full.free.sum()),
            atomistic_iterations=report.iterations,
            atomistic_seconds=seconds,
        )
        return Compared(numbers, result, error, self._patch(lifted - error), report)

    def _patch(self, positions: Array) -> Array:
        """Rows of the full model for the coupled model's atoms."""
        X = self._assembly.X
        distance, match = spatial.cKDTree(self.assembly.X).query(X)
        inside = distance < 1e-6
        out = np.full_like(X, np.nan)
        out[inside] = positions[match[inside]]
        return out
