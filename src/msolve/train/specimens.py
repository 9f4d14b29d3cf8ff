# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Cracks that a handshake is learned from: under K-fields drawn at random, solved, kept in files, shared over ranks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpi4py import MPI

import numpy as np

from msolve.build import Setup
from msolve.config import HandshakeTraining
from msolve.errors import ConvergenceError
from msolve.given import potential_sha256
from msolve.io.files import whole
from msolve.io.log import RunLog
from msolve.parallel import all_or_none
from msolve.train.flanks import solved_crack


@dataclass(frozen=True)
class Drawn:
    """A crack to be solved.

    Attributes:
        K: Mode I intensity over Griffith's.
        shear: K_II over K_I.
        t: Mode I intensity [eV/Å^2.5].
        file: Where its solution is kept.
    """

    K: float
    shear: float
    t: float
    file: Path


def drawn(given: HandshakeTraining, setup: Setup) -> list[Drawn]:
    """The cracks of a training; their files are named by all that their solutions depend on."""
    asked, rng = given.specimens, np.random.default_rng(given.seed)
    assert setup.K_G is not None
    potential, body = potential_sha256(setup.case), setup.body
    out = []
    for a, b in rng.uniform(size=(asked.count, 2)):
        K = float(asked.K[0] + a * (asked.K[1] - asked.K[0]))
        shear = float((2 * b - 1) * asked.shear)
        facts = [K, shear, setup.K_G, body.radius, *body.C.ravel().round(6), potential]
        mark = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
        file = given.output_directory / "specimens" / f"{mark}.npz"
        out.append(Drawn(K, shear, K * setup.K_G, file))
    return out


def solved_specimens(
    given: HandshakeTraining, setup: Setup, comm: MPI.Comm, log: RunLog
) -> list[dict[str, Any]]:
    """Solve the cracks that are not in their files yet, each on one rank. Collective.

    Args:
        given: The training.
        setup: Of its deck, on every rank for itself.
        comm: Ranks that share the cracks.
        log: Told how many are done, and which have no equilibrium.

    Returns:
        On the first rank, for each crack with an equilibrium: ``K`` and ``shear`` as drawn, the load ``t``, positions
        ``y`` of its atoms and ``X`` in the reference crystal, both ``(n, 3)`` [Å]. Nothing on the others.

    Raises:
        ConvergenceError: Fewer than two have an equilibrium; on every rank.
        OutputError: A file cannot be written; on every rank.
    """
    every = drawn(given, setup)
    failed: dict[int, str] = {}
    with all_or_none(comm, "solving cracks"):
        for n in range(comm.rank, len(every), comm.size):
            one = every[n]
            if not one.file.is_file():
                try:
                    y, X = solved_crack(setup.body, one.t, one.shear)
                except ConvergenceError as error:
                    failed[n] = f"K = {one.K:.3f} K_G, K_II = {one.shear:+.3f} K: {error}"
                    continue
                with whole(one.file) as unfinished:
                    np.savez(unfinished, y=y, X=X)
            log.counted("cracks", min(n + comm.size, len(every)), len(every))
    failures = {n: text for part in comm.allgather(failed) for n, text in part.items()}
    for n in sorted(failures):
        log.say(f"left out, {failures[n]}")
    if len(every) - len(failures) < 2:
        raise ConvergenceError(
            f"specimens: {len(every) - len(failures)} of {len(every)} cracks have an equilibrium near where the cut "
            f"ends; other values of specimens.K may do. The first failure: {failures[min(failures)]}"
        )
    if comm.rank != 0:
        return []
    out = []
    for n, one in enumerate(every):
        if n not in failures:
            with np.load(one.file) as kept:
                y, X = kept["y"], kept["X"]
            out.append({"K": one.K, "shear": one.shear, "t": one.t, "y": y, "X": X})
    return out
