# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Failing together, halos and owners: what every distributed part of msolve shares.

A halo here is a pair of adjoint sparse exchanges of rows between owners and the ranks that hold
copies; it knows nothing of atoms, meshes or autograd. No communicator is made or chosen here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mpi4py import MPI

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@contextmanager
def all_or_none(comm: MPI.Comm, doing: str) -> Iterator[None]:
    """Let rank-local work succeed on every rank or fail on every rank.

    The block must contain no collective call. If it raises on some ranks, those raise their own
    error and all others raise the error of the first of them; each carries a note that names
    ``doing`` and the ranks.

    Args:
        comm: Ranks that enter the block together.
        doing: What the block does, e.g. ``"reading the potential"``.

    Note:
        Collective.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    failed = [rank for rank, bad in enumerate(comm.allgather(failure is not None)) if bad]
    if not failed:
        return
    told = comm.bcast(_portable(failure), root=failed[0])
    raised = failure if failure is not None else _rebuild(told)
    if comm.size > 1:
        names = ", ".join(str(rank) for rank in failed)
        raised.add_note(f"while {doing}, on rank{'s' if len(failed) > 1 else ''} {names}")
    raise raised


def _portable(error: Exception | None) -> tuple[type[Exception], dict[str, Any], str] | None:
    return None if error is None else (type(error), dict(vars(error)), str(error))


def _rebuild(told: tuple[type[Exception], dict[str, Any], str]) -> Exception:
    # Built without __init__, because an error's constructor need not take its own message back.
    kind, attributes, message = told
    error = kind.__new__(kind, message)
    error.args = (message,)
    for name, value in attributes.items():
        if name != "__notes__":
            setattr(error, name, value)
    return error


class Halo:
    """Copies of rows that other ranks own, and the adjoint: summing copies back to the owner.

    ``forward`` and ``reverse`` are exact transposes of each other. Both take rows of any width and
    any numeric type, make one all-to-all exchange, and must be entered by every rank of ``comm``,
    also by those that own or copy nothing.

    Args:
        comm: Ranks that share the rows.
        n_owned: Number of rows this rank owns.
        ghost_owner: Rank that owns each copy, shape ``(n_ghost,)``.
        ghost_remote_index: Index of each copy among its owner's rows, shape ``(n_ghost,)``.

    Attributes:
        sent: Bytes that this rank has sent so far.
        waited: Processor time that exchanges have taken, waiting for others included [s].

    Raises:
        ValueError: An index lies outside its owner's rows.

    Note:
        Construction is collective.
    """

    def __init__(
        self, comm: MPI.Comm, n_owned: int, ghost_owner: ArrayLike, ghost_remote_index: ArrayLike
    ) -> None:
        owner = np.asarray(ghost_owner, dtype=np.int64).reshape(-1)
        remote = np.asarray(ghost_remote_index, dtype=np.int64).reshape(-1)
        self.comm = comm
        self.n_owned = int(n_owned)
        self.n_ghost = len(owner)
        self.sent = 0
        self.waited = 0.0
        self._order = np.argsort(owner, kind="stable")
        self._receive_counts = np.bincount(owner, minlength=comm.size).astype(np.int64)
        self._send_counts = np.empty_like(self._receive_counts)
        comm.Alltoall(self._receive_counts, self._send_counts)
        self._send_rows = np.empty(int(self._send_counts.sum()), dtype=np.int64)
        comm.Alltoallv(
            [remote[self._order], self._receive_counts], [self._send_rows, self._send_counts]
        )
        bad = len(self._send_rows) > 0 and (
            self._send_rows.min() < 0 or self._send_rows.max() >= self.n_owned
        )
        if comm.allreduce(bad, op=MPI.LOR):
            raise ValueError("a halo asks for rows that their owner does not have")

    def forward(self, owned: np.ndarray) -> np.ndarray:
        """Fetch the copies' rows from their owners.

        Args:
            owned: Rows of this rank, shape ``(n_owned, ...)``.

        Returns:
            Rows of the copies, shape ``(n_ghost, ...)``.

        Note:
            Collective.
        """
        rows = np.ascontiguousarray(owned)
        received = self._exchange(rows[self._send_rows], self._send_counts, self._receive_counts)
        ghosts = np.empty_like(received)
        ghosts[self._order] = received
        return ghosts

    def reverse(self, ghosts: np.ndarray) -> np.ndarray:
        """Add the copies' rows up at their owners: the transpose of :meth:`forward`.

        Args:
            ghosts: Rows of the copies, shape ``(n_ghost, ...)``.

        Returns:
            Sums over all copies of each owned row, shape ``(n_owned, ...)``.

        Note:
            Collective.
        """
        rows = np.ascontiguousarray(ghosts)
        received = self._exchange(rows[self._order], self._receive_counts, self._send_counts)
        owned = np.zeros((self.n_owned, *rows.shape[1:]), dtype=rows.dtype)
        np.add.at(owned, self._send_rows, received)
        return owned

    def _exchange(self, send: np.ndarray, n_send: IntArray, n_receive: IntArray) -> np.ndarray:
        width = int(np.prod(send.shape[1:], dtype=np.int64))
        received = np.empty((int(n_receive.sum()), *send.shape[1:]), dtype=send.dtype)
        if self.comm.size > 1:
            begin = time.process_time()
            self.comm.Alltoallv([send, n_send * width], [received, n_receive * width])
            self.waited += time.process_time() - begin
            self.sent += send.nbytes
        else:
            received[...] = send
        return received


@dataclass(frozen=True)
class Pools:
    """Ranks in runs, the first of each run working for all of it.

    Attributes:
        comm: The ranks of this rank's run.
        first: Rank of the first of each run, shape ``(n_pools,)``.
    """

    comm: MPI.Comm
    first: IntArray

    @classmethod
    def of(cls, comm: MPI.Comm, n_pools: int) -> Pools:
        """Share the ranks among at most so many runs of about equal length. Collective."""
        n = min(n_pools, comm.size)
        pool_of = np.arange(comm.size) * n // comm.size
        first = np.searchsorted(pool_of, np.arange(n))
        return cls(comm.Split(int(pool_of[comm.rank]), comm.rank), first)

    @property
    def works(self) -> bool:
        """Whether this rank is the first of its run."""
        return bool(self.comm.rank == 0)


def bisect_owners(points: Array, weights: ArrayLike, n_parts: int) -> IntArray:
    """Share points among ranks by recursive coordinate bisection.

    Each cut halves the weight (in proportion to the ranks on either side) across the longest
    extent of its part. The result depends on the arguments alone, so ranks that hold the same
    points agree without a message.

    Args:
        points: Positions, shape ``(n, d)``; give only the coordinates that may be cut.
        weights: Cost of each point, not negative, shape ``(n,)``.
        n_parts: Number of ranks.

    Returns:
        Owner of each point, shape ``(n,)``, in ``[0, n_parts)``.
    """
    positions = np.asarray(points, dtype=np.float64)
    cost = np.asarray(weights, dtype=np.float64)
    owner = np.zeros(len(positions), dtype=np.int64)
    parts: list[tuple[IntArray, Sequence[int]]] = [(np.arange(len(positions)), range(n_parts))]
    while parts:
        members, ranks = parts.pop()
        if len(ranks) == 1 or len(members) == 0:
            owner[members] = ranks[0]
            continue
        here = positions[members]
        axis = int(np.argmax(np.ptp(here, axis=0)))
        # Rounded, so that rows of a crystal are not torn apart by round-off in their coordinates.
        members = members[np.argsort(np.round(here[:, axis], 6), kind="stable")]
        half = len(ranks) // 2
        reached = np.cumsum(cost[members])
        goal = reached[-1] * half / len(ranks)
        cut = int(np.searchsorted(reached, goal * (1 + 1e-12), side="right"))
        parts.append((members[:cut], ranks[:half]))
        parts.append((members[cut:], ranks[half:]))
    return owner
