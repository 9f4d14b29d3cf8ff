# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Tolerances, PETSc options and reports of solves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from petsc4py import PETSc

Progress = Callable[[str, int, float, float], None]
Watch = Callable[[PETSc.Vec], None]


@dataclass(frozen=True)
class Report:
    """What one solve did.

    Attributes:
        label: Which solver.
        iterations: Iterations of the outermost loop.
        evaluations: Energy and gradient evaluations.
        products: Hessian products.
        residual: Largest component of the gradient at the end [eV/Å].
        energy: Energy at the end [eV], nan where there is none.
        converged: Whether the tolerance was met.
        history: Largest gradient component per iteration [eV/Å].
        seconds: Wall time.
    """

    label: str
    iterations: int
    evaluations: int
    products: int
    residual: float
    energy: float
    converged: bool
    history: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class Settings:
    """Tolerances of a solve.

    Attributes:
        tolerance: Largest gradient component that counts as zero [eV/Å].
        max_iterations: Iterations before giving up.
        prefix: PETSc options prefix, not empty.
        progress: Called with (label, iteration, energy, residual) on every rank.
        watch: Called with the unknowns of each iteration that is not the last; collective. May raise to stop.
    """

    tolerance: float = 1e-4
    max_iterations: int = 300
    prefix: str = "msolve_"
    progress: Progress | None = None
    watch: Watch | None = None


class Options:
    """PETSc options under a prefix, taken out of the global database again at the end.

    What is in the database already came from the command line or the caller, and wins.
    """

    def __init__(self, prefix: str, options: dict[str, str]):
        self.prefix, self.options = prefix, options

    def __enter__(self) -> None:
        database = PETSc.Options()
        self._added = [k for k in self.options if not database.hasName(self.prefix + k)]
        for key in self._added:
            database[self.prefix + key] = self.options[key]

    def __exit__(self, *_: object) -> None:
        database = PETSc.Options()
        for key in self._added:
            database.delValue(self.prefix + key)
