# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Atoms of a coupled run that a committee disagrees on, cut out as clusters that a reference can label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from msolve.assemble import Assembly
from msolve.atomistic import cluster_energy
from msolve.build import build, build_mesh, set_up
from msolve.config import AnyPotential, Case
from msolve.errors import ConvergenceError, MsolveError
from msolve.methods import solve
from msolve.potentials import Potential
from msolve.solvers import Options, Settings, follow_boundary

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class State:
    """Atoms of a run at one load.

    Attributes:
        load: The load, as reported.
        X: Their places in the crystal at rest, shape ``(n, 3)`` [Å].
        positions: Where they are, shape ``(n, 3)`` [Å].
        numbers: Atomic numbers, shape ``(n,)``.
        core: Whether they are purely atomistic, shape ``(n,)``.
        period: Along the front [Å]; ``None`` in space.
    """

    load: float
    X: Array
    positions: Array
    numbers: NDArray[np.int64]
    core: NDArray[np.bool_]
    period: float | None

    @property
    def gdim(self) -> int:
        """2 where the atoms are periodic along x3, else 3."""
        return 3 if self.period is None else 2

    def forces(self, model: Potential) -> Array:
        """Forces on the atoms; right where all that a potential sees is there, shape ``(n, 3)`` [eV/Å]."""
        cell = np.diag([1.0, 1.0, self.period or 1.0])
        periodic = np.array([False, False, self.period is not None])
        return -cluster_energy(model, self.positions, self.numbers, cell, periodic)[1]


class Run(NamedTuple):
    """What a deck did with a model.

    Attributes:
        states: The atoms after each load step; the last where the run ended, if it ended before its time.
        solved: Number of load steps that came to rest.
        why: Why it ended before its time; empty if it did not.
    """

    states: list[State]
    solved: int
    why: str


class _StoppedError(MsolveError):
    """A run was stopped at an iterate; carries its atoms."""

    def __init__(self, state: State) -> None:
        super().__init__("stopped")
        self.state = state


def states_of(
    case: Case, potential: AnyPotential, doubtful: Callable[[State], bool] = lambda state: False
) -> Run:
    """Run a case with another potential, one load step after the other, and keep its atoms.

    Args:
        case: The case; its own potential is not looked at.
        potential: The potential, its file by an absolute name.
        doubtful: Asked in each iteration; where it says so, the run ends there.

    Raises:
        CaseError: The case does not fit the potential.
        ConvergenceError: The crystal is not one with this potential.
    """
    comm = MPI.COMM_SELF
    case = case.model_copy(update={"potential": potential})
    found: list[State] = []
    with Options("msolve_", dict(case.solver.petsc)):
        setup = set_up(case, comm)
        assembly = build(setup, build_mesh(setup, comm) if case.coupled else None, comm)
        z, before = assembly.problem.kinematics.unknowns.vector(), 0.0
        for t in setup.loads:

            def state(at: PETSc.Vec, t: float = t) -> State:
                return _state(assembly, assembly.problem.gather(at, t), t * setup.load_scale)

            def watch(at: PETSc.Vec, state: Callable[[PETSc.Vec], State] = state) -> None:
                here = state(at)
                if doubtful(here):
                    raise _StoppedError(here)

            settings = Settings(
                case.solver.gradient_tolerance, case.solver.max_iterations, watch=watch
            )
            stiffness, M = setup.body.C, assembly.preconditioner
            try:
                follow_boundary(assembly.problem, z, before, t, stiffness, M)
                solved = solve(assembly, case, z, t, settings)
            except _StoppedError as stop:
                return Run([*found, stop.state], len(found), "the committee's doubt was too large")
            except ConvergenceError as error:
                last = state(z)
                ended = [last] if np.isfinite(last.positions).all() else []
                return Run([*found, *ended], len(found), str(error))
            found.append(state(z))
            if not solved.converged:
                why = f"its residual stayed at {solved.residual:.2g} eV/angstrom"
                return Run(found, len(found) - 1, why)
            before = t
    return Run(found, len(found), "")


def _state(assembly: Assembly, positions: Array, load: float) -> State:
    return State(
        load=load,
        X=assembly.X,
        positions=positions,
        numbers=assembly.numbers,
        core=assembly.free & (assembly.beta == 0) & assembly.evaluated,
        period=assembly.body.period,
    )


def disagreement(state: State, committee: Sequence[Potential]) -> Array:
    """Root-mean-square deviation of the members' forces from their mean, atom by atom, shape ``(n,)`` [eV/Å]."""
    forces = np.array([state.forces(model) for model in committee])
    deviation = forces - forces.mean(axis=0)
    return np.asarray(np.sqrt((deviation**2).sum(axis=2).mean(axis=0)))


def flagged(state: State, doubt: Array, count: int, apart: float) -> NDArray[np.int64]:
    """The core atoms of most doubt, the most first, no two closer than ``apart`` [Å]."""
    chosen: list[int] = []
    core = np.flatnonzero(state.core)
    for atom in core[np.argsort(-doubt[core], kind="stable")]:
        if len(chosen) == count:
            break
        near = state.positions[chosen, : state.gdim] - state.positions[atom, : state.gdim]
        if not chosen or np.linalg.norm(near, axis=1).min() >= apart:
            chosen.append(int(atom))
    return np.array(chosen, dtype=np.int64)


def cut_out(
    state: State,
    atom: int,
    radius: float,
    shell: float,
    rattle: float,
    vacuum: float,
    rng: np.random.Generator,
) -> Atoms:
    """What is around an atom, as found, in vacuum; periodic along the front if the run is.

    Args:
        state: The run's atoms.
        atom: Which of them stands in the middle.
        radius: Of the cluster [Å].
        shell: Width of its outer shell, whose surroundings are wrong anyway [Å].
        rattle: Width of random displacements of the shell, so that it is another one each time [Å].
        vacuum: Around the cluster [Å].
        rng: The source of chance.
    """
    offset = state.positions - state.positions[atom]
    if state.period is not None:
        offset[:, 2] -= state.period * np.floor(offset[:, 2] / state.period + 0.5)
    distance = np.linalg.norm(offset[:, : state.gdim], axis=1)
    inside = distance < radius
    x = offset[inside]
    outer = distance[inside] > radius - shell
    x[outer] += rng.normal(0.0, rattle, (int(outer.sum()), 3))
    box = np.full(3, 2 * radius + vacuum)
    if state.period is not None:
        box[2] = state.period
    cluster = Atoms(numbers=state.numbers[inside], positions=x, cell=box, pbc=True)
    cluster.positions += 0.5 * box
    cluster.arrays["inner"] = ~outer
    return cluster
