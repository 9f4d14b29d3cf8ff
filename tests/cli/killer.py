# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Runs msolve and hurts it at a chosen moment: ``killer.py WHAT WHEN RANK WORDS...``.

WHAT happens at the WHEN-th file that rank RANK brings to the disk (files only, folders not counted):
``half``: half of it is cut off, then SIGKILL; ``whole``: SIGKILL before it is renamed; ``named``: SIGKILL after it
was renamed; ``full``: the disk is full from then on (a limit on the size of files); ``memory``: MemoryError.
WHAT = ``solve`` sends SIGKILL at the WHEN-th energy, ``lack`` raises MemoryError there.
``count`` prints how many files there were.
"""

from __future__ import annotations

import os
import resource
import signal
import sys

from mpi4py import MPI

import msolve.io.files
from msolve import cli
from msolve.problem import CoupledProblem

what, when, rank = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
seen = 0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


to_disk, replace, evaluate = os.fsync, os.replace, CoupledProblem.evaluate


def hurt_on_disk(descriptor: int) -> None:
    global seen
    name = os.readlink(f"/proc/self/fd/{descriptor}")
    if os.path.isfile(name):
        seen += 1
        if seen == when and what == "half":
            os.truncate(name, os.path.getsize(name) // 2)
            die()
        if seen == when and what == "whole":
            die()
        if seen == when and what == "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (16, resource.RLIM_INFINITY))
        if seen == when and what == "memory":
            raise MemoryError
    to_disk(descriptor)


def hurt_after_rename(a: object, b: object) -> None:
    replace(a, b)
    if seen == when and what == "named":
        die()


def hurt_in_solve(*arguments: object) -> float:
    global seen
    seen += 1
    if seen == when and what == "lack":
        raise MemoryError
    if seen == when:
        die()
    return evaluate(*arguments)


if MPI.COMM_WORLD.rank == rank:
    if what in ("solve", "lack"):
        CoupledProblem.evaluate = hurt_in_solve
    else:
        msolve.io.files.os.fsync = hurt_on_disk
        msolve.io.files.os.replace = hurt_after_rename
code = cli.main(sys.argv[4:])
if what == "count" and MPI.COMM_WORLD.rank == rank:
    print(f"files: {seen}")
sys.exit(code)
