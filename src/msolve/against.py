# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A coupled run beside the full atomistic model of its body: how far it is said to be from it, and how far it is."""

from __future__ import annotations

import dataclasses
import math
import time
from functools import cached_property

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.assemble import Assembly, Body, full_atomistic
from msolve.build import Setup
from msolve.compare import Comparison, compare, lift_to, unknowns_of
from msolve.config import CalculatorPotential
from msolve.errors import ConvergenceError
from msolve.estimate import Estimate, Estimator, Indicators, Locator, Places, law_error
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
    """

    def __init__(self, setup: Setup, assembly: Assembly, whole: Assembly | None = None) -> None:
        self._setup, self._assembly, self._whole = setup, assembly, whole
        case = setup.case
        default = "none" if isinstance(case.potential, CalculatorPotential) else "hessian"
        self.kind = case.estimate.kind or default

    @cached_property
    def assembly(self) -> Assembly:
        """The model itself. Collective."""
        if self._whole is not None:
            return self._whole
        comm = self._assembly.problem.kinematics.unknowns.comm
        return full_atomistic(comm, self._setup.body, prefix="msolve_full_")

    @property
    def why_not(self) -> str | None:
        """Why errors are not estimated though they could be wanted, or ``None``."""
        case, body = self._setup.case, self._setup.body
        if body.loads is not None and isinstance(body.far_field, Zero):
            return "nothing holds the atoms of the whole outline, which has dead loads or is free in parts"
        atoms = atoms_in(body)
        if atoms > case.estimate.largest:
            return (
                f"the body has about {atoms:.2g} atoms, estimate.largest is {case.estimate.largest}"
            )
        return None

    @cached_property
    def _estimator(self) -> Estimator:
        given = self._setup.case.compare
        return Estimator(self._assembly, self.assembly, rim=given.rim, tip_radius=given.tip_radius)

    def estimate(self, z: PETSc.Vec, t: float, solved: Solved) -> tuple[Estimate, Places] | None:
        """Estimated error of a coupled solution, and of each atom; ``None`` where there is none. Collective."""
        if not self._setup.case.coupled or self.kind == "none" or self.why_not is not None:
            return None
        deferred = self._setup.case.coupling.method == "bgfc_deferred"
        numbers, places = self._estimator(
            z,
            t,
            solved.residual_problem,
            hessian=self.kind == "hessian",
            minimised=solved.energy_problem if deferred else None,
        )
        law = law_error(self._assembly, z, t, solved.residual_problem)
        return dataclasses.replace(numbers, law=law), places

    @cached_property
    def _locator(self) -> Locator:
        return Locator(self._assembly, self.assembly.X)

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


def atoms_in(body: Body) -> float:
    """How many atoms the disc or ball around a body holds."""
    R = body.radius
    volume = math.pi * R**2 * body.period if body.period is not None else 4 / 3 * math.pi * R**3
    return volume / body.crystal.crystal.atomic_volume
