# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The command ``msolve``: reads arguments, runs, turns errors into messages and exit codes.

Exit codes: 0 done, 1 a bug, 2 an input that cannot be run, 3 not converged, 4 output that could not be
written, 128 + n stopped by signal n (130 by SIGINT, 143 by SIGTERM, 138 by SIGUSR1). Under MPI each message
appears once and every rank ends with the same code. Nothing heavy is imported before it is needed, so that
``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from msolve import __version__

if TYPE_CHECKING:
    from mpi4py import MPI

    from msolve.config import Case
    from msolve.io.checkpoints import Checkpoint

DONE, BUG, BAD_INPUT, NOT_CONVERGED, NOT_WRITTEN = 0, 1, 2, 3, 4

PATIENCE = 5.0
"""How long a failing rank waits for the others to fail as well before it ends them [s]."""

TRAINED = ("potential", "law", "handshake")

VERBS = ("check", "restart", "info", "train")

USAGE = """msolve [check] CASE.yaml [--set KEY.PATH=VALUE ...] [--petsc OPTIONS]
       msolve restart DIR [CASE.yaml] [--set KEY.PATH=VALUE ...] [--petsc OPTIONS]
       msolve info FILE_OR_FOLDER
       msolve train potential TRAINING.yaml [--set KEY.PATH=VALUE ...]
       msolve train law TRAINING.yaml [--set KEY.PATH=VALUE ...]
       msolve train handshake TRAINING.yaml [--set KEY.PATH=VALUE ...]"""


class UsageError(Exception):
    """Arguments that make no sense; the message says which."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. Collective over all ranks that were started."""
    _spare_the_collector()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = _parser().parse_intermixed_args(words)
        verb, paths = _verb(arguments.words)
    except UsageError as error:
        return _refuse(f"msolve: {error}\nusage: {USAGE}")
    # Importing mpi4py.MPI starts MPI, and gives each rank its number.
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    together = comm.Dup()  # for agreeing on failures, whatever is under way on the other one
    try:
        return _work(verb, paths, arguments, comm)
    except Exception as error:
        code, message = _explained(error, paths[0])
        if _all_fail(together):
            if comm.rank == 0:
                print(message, file=sys.stderr, flush=True)
            together.Barrier()
            return code
        print(f"rank {comm.rank} of {comm.size}: {message}", file=sys.stderr, flush=True)
        comm.Abort(code)
        return code


def _spare_the_collector() -> None:
    """Look for garbage rarely, and not at all at the end: half a second of a start with MACE, and one of its end."""
    gc.set_threshold(100_000)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="msolve",
        usage=USAGE,
        description="Atomistic-continuum mechanics of crystals with defects.",
        epilog="'msolve check CASE.yaml' validates the input and estimates how large the problem is. "
        "'msolve restart DIR' goes on with an interrupted run, or with more load steps. 'msolve info' "
        "says what a file or an output folder is. 'msolve train potential' makes a potential from a "
        "reference, 'msolve train law' a fast law of a potential's crystal for the "
        "mesh, 'msolve train handshake' what tells the mesh of a crack's flanks. Start msolve under "
        "mpirun to use several ranks. All keys: docs/input-reference.md.",
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="input file, folder or file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY.PATH=VALUE",
        help="change one key of the input, e.g. --set regions.core_radius='18 angstrom'",
    )
    parser.add_argument(
        "--petsc",
        default="",
        metavar="OPTIONS",
        help="PETSc options in one string, e.g. --petsc='-msolve_root_ksp_monitor'; they win over "
        "those of the input",
    )
    parser.add_argument("--version", action="version", version=f"msolve {__version__}")
    return parser


def _verb(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    verb, names = (words[0], words[1:]) if words and words[0] in VERBS else ("run", words)
    if verb == "train":
        if not names or names[0] not in TRAINED:
            raise UsageError(f"name what to train: msolve train {'|'.join(TRAINED)} TRAINING.yaml")
        verb, names = f"train {names[0]}", names[1:]
    if not names:
        wanted = {
            "restart": "the output folder of a run",
            "info": "a file or an output folder",
            "train potential": "the input of the training",
            "train law": "the input of the training",
            "train handshake": "the input of the training",
        }
        raise UsageError(f"name {wanted.get(verb, 'an input file')}")
    if len(names) > (2 if verb == "restart" else 1):
        raise UsageError(
            f"one {'file' if verb == 'info' else 'input file'} at a time, found: {' '.join(words)}"
        )
    return verb, names


def _work(
    verb: str, paths: Sequence[str], arguments: argparse.Namespace, comm: MPI.Intracomm
) -> int:
    if verb == "info":
        return _inform(Path(paths[0]), comm)
    if verb.startswith("train"):
        return _train(verb.removeprefix("train "), paths[0], arguments.overrides, comm)
    signals = _Signals()
    if verb in ("run", "restart"):
        signals.listen()
    state: Checkpoint | None = None
    if verb == "restart":
        from msolve.restart import read_state

        case, state = read_state(
            Path(paths[0]), paths[1] if len(paths) > 1 else None, arguments.overrides, comm
        )
    else:
        case = _read(paths[0], arguments.overrides, comm)
    # PETSc takes its options when it starts, which importing msolve.check or msolve.run makes it do.
    import petsc4py

    petsc4py.init(["msolve", *shlex.split(arguments.petsc)], comm=comm)
    if verb == "check":
        from msolve.check import check_case

        report = check_case(case, comm)
        _tell(report, comm)
        return DONE
    import msolve.run as run

    signals.listen()  # again, because PETSc has its own handlers
    _outlive_readers()
    result = run.run_case(case, comm, state=state, stop=lambda: signals.caught)
    return DONE if result.status == "converged" else NOT_CONVERGED


def _inform(path: Path, comm: MPI.Intracomm) -> int:
    from rich.console import Console

    from msolve.info import show
    from msolve.parallel import all_or_none

    report, there = StringIO(), Console()
    console = Console(
        file=report, width=there.width, force_terminal=there.is_terminal, highlight=False
    )
    with all_or_none(comm, f"looking at {path}"):
        if comm.rank == 0:
            show(path, console)
    _tell(report.getvalue(), comm)
    return DONE


def _outlive_readers() -> None:
    """Let writing to a pipe that nobody reads be an error; PETSc's handler would end all ranks."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def _tell(report: str, comm: MPI.Intracomm) -> None:
    """Print on rank 0 what was asked for; who stops reading (``| head``) has had enough. Collective.

    Raises:
        OutputError: Standard output takes no more.
    """
    from msolve.errors import OutputError
    from msolve.parallel import all_or_none

    _outlive_readers()
    with all_or_none(comm, "telling the report"):
        if comm.rank == 0:
            try:
                print(report.rstrip("\n"), flush=True)
            except OSError as error:
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, sys.stdout.fileno())  # else the end fails on what is left to write
                os.close(nothing)
                if not isinstance(error, BrokenPipeError):
                    said = f"standard output cannot be written: {error.strerror}"
                    raise OutputError(said) from error


def _train(what: str, path: str, overrides: Sequence[str], comm: MPI.Intracomm) -> int:
    from msolve.config import (
        HandshakeTraining,
        LawTraining,
        Training,
        load_handshake_training,
        load_law_training,
        load_training,
    )
    from msolve.errors import UnsupportedError
    from msolve.parallel import all_or_none

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _interrupt)
    with all_or_none(comm, "reading the input"):
        readers = {"law": load_law_training, "handshake": load_handshake_training}
        given = readers.get(what, load_training)(path, overrides)
    if comm.size > 1 and not isinstance(given, HandshakeTraining):
        raise UnsupportedError(
            f"msolve train {what} works on one rank, started on {comm.size}; start it without mpirun"
        )
    from msolve.train import train_handshake, train_law, train_potential

    _outlive_readers()
    if isinstance(given, HandshakeTraining):
        train_handshake(given, comm)
    elif isinstance(given, LawTraining):
        train_law(given)
    elif isinstance(given, Training):
        train_potential(given)
    return DONE


def _interrupt(number: int, frame: object) -> NoReturn:
    from msolve.errors import Interrupted

    signal.signal(number, signal.SIG_DFL)
    raise Interrupted("stopped; the same command goes on, with the cells that are labelled", number)


class _Signals:
    """Remembers the first signal that asks to stop; the second one ends the program at once.

    SIGUSR1 is for batch systems: mpirun hands it on and goes on itself, where after SIGTERM or SIGINT it
    leaves its ranks little time.
    """

    def __init__(self) -> None:
        self.caught = 0

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        if self.caught:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.caught = number


def _read(path: str, overrides: Sequence[str], comm: MPI.Intracomm) -> Case:
    """Read the input on rank 0 and share it, so that all ranks see the same file. Collective."""
    from msolve.config import load_case
    from msolve.errors import CaseError

    outcome: Case | tuple[list[str], str] | None = None
    if comm.rank == 0:
        try:
            outcome = load_case(path, overrides)
        except CaseError as error:
            outcome = (error.problems, error.source)
    outcome = comm.bcast(outcome)
    if isinstance(outcome, tuple):
        raise CaseError(*outcome)
    assert outcome is not None
    return outcome


def _explained(error: Exception, path: str) -> tuple[int, str]:
    """Exit code and message of an error; bugs keep their traceback."""
    from msolve.errors import (
        UNNAMED,
        CaseError,
        ConvergenceError,
        Interrupted,
        OutputError,
        UnsupportedError,
    )

    notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", []))
    if isinstance(error, CaseError) and error.source == UNNAMED:
        error = CaseError(error.problems, Path(path).name)
    if isinstance(error, (CaseError, UnsupportedError)):
        return BAD_INPUT, f"{error}{notes}"
    if isinstance(error, ConvergenceError):
        return NOT_CONVERGED, f"not converged: {error}{notes}"
    if isinstance(error, OutputError):
        return NOT_WRITTEN, f"{error}{notes}"
    if isinstance(error, Interrupted):
        return 128 + error.signal, f"{error}{notes}"
    if isinstance(error, MemoryError):
        what = str(error) or "memory ran out"
        return BUG, f"{what}; use more ranks on more machines or devices, or fewer atoms{notes}"
    return BUG, "".join(traceback.format_exception(error)).rstrip()


def _all_fail(together: MPI.Intracomm) -> bool:
    """Whether every rank comes here within ``PATIENCE``. Collective if it returns true."""
    arrival = together.Ibarrier()
    deadline = time.monotonic() + PATIENCE
    while not arrival.Test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _refuse(message: str) -> int:
    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == 0:
        print(message, file=sys.stderr, flush=True)
    MPI.COMM_WORLD.Barrier()
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
