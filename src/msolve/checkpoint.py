# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The state of a run: taken from the ranks, given back to any number of them; when it is written, when a run stops.

Inside a load step a state is one iterate: a run that goes on from it solves that step again from there, to the
same tolerance. Between load steps it is all there is.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.assemble import Assembly
from msolve.build import Setup
from msolve.continuum.numbering import InputOrder, input_order
from msolve.errors import CaseError, Interrupted
from msolve.io.checkpoints import CHECKPOINT, Checkpoint, write_checkpoint
from msolve.io.meshes import MeshData
from msolve.io.result import Step
from msolve.parallel import all_or_none

Array = npt.NDArray[np.float64]

Stop = Callable[[], int]
"""Number of the signal that asks this rank to stop, or 0."""

SAME_PLACE = 1e-5
"""How far an atom may stand from where it stood in the run that a state is from [Å]."""


class Keeper:
    """Keeps the state of a run on disk.

    Args:
        setup: The case.
        assembly: The problem.
        mesh: Mesh as it was built, on rank 0; ``None`` without a continuum.
        files: SHA-256 of the files that the case names, see ``Checkpoint``.
        stop: Asked in each iteration on every rank.

    Note:
        Construction and all methods are collective; rank 0 writes.
    """

    def __init__(
        self,
        setup: Setup,
        assembly: Assembly,
        mesh: MeshData | None,
        files: Mapping[str, str],
        stop: Stop,
    ) -> None:
        self._setup, self._assembly, self._mesh, self._files = setup, assembly, mesh, files
        self._directory = setup.case.output_directory
        self._every = setup.case.output.checkpoint_every
        kinematics = assembly.problem.kinematics
        self._unknowns, self._comm = kinematics.unknowns, kinematics.unknowns.comm
        self._begin = int(self._comm.exscan(self._unknowns.n_owned) or 0)
        self._order: InputOrder | None = None
        if kinematics.space is not None:
            self._order = input_order(kinematics.space)
        self._stop = stop
        self._steps: tuple[Step, ...] = ()
        self._iterations = 0
        self._held: PETSc.Vec | None = None
        self._written = time.monotonic()

    def between_steps(self, steps: Sequence[Step], z: PETSc.Vec) -> None:
        """Write the state after a load step.

        Raises:
            OutputError: It cannot be written.
        """
        self.begin_step(steps)
        self._write(z)

    def begin_step(self, steps: Sequence[Step]) -> None:
        """Say what is finished; iterations of the next load step follow."""
        self._steps, self._iterations, self._held = tuple(steps), 0, None

    def hold(self, z: PETSc.Vec) -> None:
        """Until the end of the load step write this state, whatever else is tried."""
        self._held = z.copy()

    def watch(self, z: PETSc.Vec) -> None:
        """Look at one iterate of a solver: write it if it is time, and stop if a signal asks.

        Raises:
            Interrupted: A signal asks to stop; the state is written.
            OutputError: It cannot be written.
        """
        self._iterations += self._held is None
        asked, due = self._asked()
        if asked or due:
            self._write(z if self._held is None else self._held)
        self._end_if_asked(asked)

    def watch_for_signals(self, z: PETSc.Vec | None = None) -> None:
        """Stop if a signal asks, and write nothing: the state on disk is the last there is.

        Raises:
            Interrupted: A signal asks to stop.
        """
        self._end_if_asked(self._asked()[0])

    def _asked(self) -> tuple[int, bool]:
        due = self._comm.rank == 0 and time.monotonic() - self._written > self._every
        both = np.array([self._stop(), due], dtype=np.int64)
        self._comm.Allreduce(MPI.IN_PLACE, both, op=MPI.MAX)
        return int(both[0]), bool(both[1])

    def _end_if_asked(self, number: int) -> None:
        if not number:
            return
        done, inside = len(self._steps), self._iterations
        where = f"in load step {done} after {inside} iterations" if inside else "between load steps"
        raise Interrupted(
            f"stopped by {signal.Signals(number).name}, {where} ({done} of {len(self._setup.loads)} "
            f"finished); msolve restart {self._directory} goes on from there",
            number,
        )

    def _write(self, z: PETSc.Vec) -> None:
        atoms, nodes = self._taken(z)
        with all_or_none(self._comm, f"writing {CHECKPOINT}"):
            if self._comm.rank == 0:
                case = self._setup.case
                state = Checkpoint(
                    case=case.to_dict(),
                    folder=str(case.path("").absolute()),
                    files=self._files,
                    steps=self._steps,
                    iterations=self._iterations,
                    n_ranks=self._comm.size,
                    reference=self._assembly.X,
                    atoms=atoms,
                    nodes=nodes,
                    n_unknowns=self._unknowns.n_global,
                    mesh=self._mesh,
                )
                write_checkpoint(self._directory, state)
        self._written = time.monotonic()

    def _taken(self, z: PETSc.Vec) -> tuple[Array, Array]:
        """Correctors by atom and by node, on rank 0; empty elsewhere. Collective."""
        atoms, nodes = self._rows()
        blocks = z.array.reshape(-1, self._unknowns.components)
        width = self._unknowns.components
        parts = self._comm.gather((atoms, blocks[self._unknowns.atom[atoms] - self._begin]))
        by_atom = np.zeros((len(self._assembly.X) if parts is not None else 0, 3))
        for mine, values in parts or ():
            by_atom[mine, :width] = values
        by_node: Array | None = None
        if self._order is not None:
            local = np.zeros((self._order.space.n_local_nodes, 3))
            local[nodes, :width] = blocks[self._unknowns.node[nodes] - self._begin]
            by_node = self._order.gather_nodes(local)
        return by_atom, np.zeros((0, 3)) if by_node is None else by_node

    def restore(self, state: Checkpoint) -> PETSc.Vec:
        """The unknowns of a state; its arrays are read on rank 0.

        Raises:
            CaseError: The state is of another problem.
        """
        X = self._assembly.X
        with all_or_none(self._comm, "taking up the checkpoint"):
            if self._comm.rank == 0:
                fits = (
                    state.reference.shape == X.shape and state.n_unknowns == self._unknowns.n_global
                )
                if not fits or np.abs(state.reference - X).max(initial=0.0) > SAME_PLACE:
                    raise CaseError(
                        [
                            f"has {len(state.reference)} atoms and {state.n_unknowns} unknowns; this msolve makes "
                            f"{len(X)} and {self._unknowns.n_global} of the same case: use version {state.version}"
                        ],
                        str(self._directory / CHECKPOINT),
                    )
        z = self._unknowns.vector()
        atoms, nodes = self._rows()
        blocks = z.array.reshape(-1, self._unknowns.components)
        width = self._unknowns.components
        by_atom = self._comm.bcast(state.atoms if self._comm.rank == 0 else None)
        blocks[self._unknowns.atom[atoms] - self._begin] = by_atom[atoms, :width]
        if self._order is not None:
            local = self._order.scatter_nodes(state.nodes if self._comm.rank == 0 else None)
            blocks[self._unknowns.node[nodes] - self._begin] = local[nodes, :width]
        z.array[:] = blocks.ravel()
        return z

    def _rows(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Atoms and local nodes whose unknowns this rank owns."""
        begin, n = self._begin, self._unknowns.n_owned
        owned = [
            (rows >= begin) & (rows < begin + n)
            for rows in (self._unknowns.atom, self._unknowns.node)
        ]
        return np.flatnonzero(owned[0]), np.flatnonzero(owned[1])


def interrupted_before(comm: MPI.Comm, stop: Stop) -> None:
    """Stop before there is a state, if a signal asks. Collective.

    Raises:
        Interrupted: It does.
    """
    asked = int(comm.allreduce(stop(), op=MPI.MAX))
    if asked:
        raise Interrupted(
            f"stopped by {signal.Signals(asked).name} before the first load step; start again",
            asked,
        )
