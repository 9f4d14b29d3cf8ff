# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a run tells while it goes on: a live table on rank 0's terminal, and ``msolve.log``.

A ``RunLog`` is an observer of load steps and a progress callback of solvers. It shows and keeps
what it is told and decides nothing. Where there is no terminal it prints plain lines.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from msolve.io.files import output_error
from msolve.io.result import Step

QUIET_SECONDS = 10.0
"""Without a terminal, progress inside a solve is told at most this often [s]."""

_COLUMNS = ("step", "load", "iterations", "residual", "lowest λ", "tip x1", "free atoms", "seconds")
_WIDTHS = (4, 16, 10, 9, 9, 7, 10, 8)
_LEGEND = "residual: largest component [eV/Å]; lowest λ: of the Hessian, over elasticity; tip in Å"

_log = logging.getLogger("msolve")


class RunLog:
    """Terminal and log file of one run; a context manager.

    Only rank 0 prints and writes. On the other ranks all calls are allowed and do nothing but
    measure time.

    Args:
        rank: Number of this rank.
        directory: Where ``msolve.log`` goes; made if it is missing.
        title: First line.
        n_ranks: Number of ranks; with several, mpirun stands between the program and the terminal.
        append: Go on with an earlier log instead of starting it anew.

    Attributes:
        seconds: Wall time by phase since ``take_seconds`` [s].
    """

    def __init__(
        self,
        rank: int,
        directory: str | Path,
        title: str,
        n_ranks: int = 1,
        *,
        append: bool = False,
    ) -> None:
        """Look for a terminal; nothing is opened yet."""
        self.seconds: dict[str, float] = {}
        self._speaks = rank == 0
        self._path = Path(directory) / "msolve.log"
        self._title = title
        self._mode = "a" if append else "w"
        self._steps: list[Step] = []
        self._now: RenderableType = Text()
        self._phase = ""
        self._told = time.monotonic()
        width = _terminal_width(n_ranks)
        self._live: Live | None = None
        self._console = _Terminal(
            force_terminal=width is not None,
            width=width or 110,
            highlight=False,
            quiet=not self._speaks,
        )
        self._handlers: list[logging.Handler] = []
        self._file: _LogFile | None = None

    def __enter__(self) -> RunLog:
        """Open the log file and start the display."""
        _log.propagate = False
        if not self._speaks:
            self._handlers = [logging.NullHandler()]
            _log.addHandler(self._handlers[0])
            return self
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._file = _LogFile(self._path, mode=self._mode, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        file.setLevel(logging.DEBUG)
        self._handlers = [file, _ToConsole(self._console)]
        for handler in self._handlers:
            _log.addHandler(handler)
        _log.setLevel(logging.DEBUG)
        _log.info(self._title)
        if self._console.is_terminal:
            self._live = Live(
                self._render(), console=self._console, refresh_per_second=8, transient=False
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the display and close the log file; an error is put into the file first."""
        if not self._speaks:
            _log.removeHandler(self._handlers[0])
            return
        self._now = Text()
        if self._live is not None:
            self._live.update(self._render(), refresh=True)
            self._live.stop()
            self._live = None
        file, console = self._handlers
        _log.removeHandler(console)
        if error is not None:
            _log.error("%s", error, exc_info=(type(error), error, trace))
        _log.removeHandler(file)
        file.close()
        self._handlers = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Show what is being done, and add its wall time to ``seconds``."""
        begin = time.perf_counter()
        self._phase = name
        self._show(Text(name, style="cyan"))
        try:
            yield
        finally:
            spent = time.perf_counter() - begin
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            if self._speaks:
                _log.log(logging.DEBUG if self._live else logging.INFO, "%s: %.1f s", name, spent)
            self._show(Text())

    def take_seconds(self) -> dict[str, float]:
        """Wall time by phase since the last call [s], and start anew."""
        taken, self.seconds = self.seconds, {}
        return taken

    def progress(self, label: str, iteration: int, energy: float, residual: float) -> None:
        """Progress of a solver; energy in eV, largest residual component in eV/Å."""
        if not self._speaks:
            return
        line = f"{label}: iteration {iteration}, residual {residual:.2e} eV/Å"
        if energy == energy:
            line += f", energy {energy:.6f} eV"
        _log.debug(line)
        now = time.monotonic()
        if self._live is not None:
            self._show(Text(f"{self._phase}  {line}", style="cyan"))
        elif now - self._told > QUIET_SECONDS:
            self._told = now
            self._console.print(f"    {line}")

    def counted(self, what: str, done: int, total: int) -> None:
        """How many of something are done; drawn as a bar on a terminal."""
        if not self._speaks:
            return
        now = time.monotonic()
        if self._live is not None:
            row = Table.grid(padding=(0, 2))
            row.add_row(
                Text(f"{self._phase}  {what}", style="cyan"),
                ProgressBar(total=total, completed=done, width=30),
                Text(f"{done} of {total}"),
            )
            self._show(row)
        elif now - self._told > QUIET_SECONDS:
            self._told = now
            self._console.print(f"    {what}: {done} of {total}")

    def step(self, step: Step) -> None:
        """Add a load step to the table."""
        self._steps.append(step)
        if not self._speaks:
            return
        cells = _cells(step)
        _log.debug("step: %s", "  ".join(f"{k} {v}" for k, v in zip(_COLUMNS, cells, strict=True)))
        if self._live is not None:
            self._live.update(self._render())
            return
        if len(self._steps) == 1:
            self._console.print(Text(_LEGEND))
            self._console.print(_aligned(_COLUMNS), style="bold")
        self._console.print(_aligned(cells))

    def say(self, line: str) -> None:
        """One line for terminal and log file."""
        if self._speaks:
            _log.info(line)

    def table(self, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
        """A small table for terminal and log file; the first column is text, others are figures."""
        if not self._speaks:
            return
        made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
        for number, name in enumerate(columns):
            made.add_column(name, justify="right" if number == 1 else "left")
        for row in rows:
            made.add_row(*row)
        shown = Padding(made, (0, 0, 0, 4))
        self._console.print(shown)
        text = Console(file=StringIO(), width=110, color_system=None)
        text.print(shown)
        for line in text.file.getvalue().rstrip().splitlines():  # type: ignore[attr-defined]
            _log.debug(line.rstrip())

    def check(self) -> None:
        """Raise what the file system refused since the start, if anything.

        Raises:
            OutputError: Lines of the log are lost.
        """
        if self._file is not None and self._file.refused is not None:
            raise output_error(self._path, self._file.refused)

    def __call__(self, problem: object, state: object, step: Step) -> None:
        """As an observer of load steps."""
        self.step(step)

    def _show(self, now: RenderableType) -> None:
        self._now = now
        if self._live is not None:
            self._live.update(self._render())

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._steps:
            table = Table(box=None, header_style="bold")
            for name in _COLUMNS:
                table.add_column(name, justify="right", no_wrap=True)
            for step in self._steps:
                table.add_row(*_cells(step), style="" if step.converged else "yellow")
            parts += [table, Text(_LEGEND, style="dim")]
        if self._now:
            parts.append(self._now)
        return Group(*parts)


class _LogFile(logging.FileHandler):
    """A log file that goes quiet where logging would tell each failure; ``RunLog.check`` raises the first."""

    refused: OSError | None = None

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
        elif self.refused is None:
            self.refused = error

    def close(self) -> None:
        try:
            super().close()
        except OSError as error:
            self.refused = self.refused or error


class _Terminal(Console):
    """A console that goes quiet when nobody reads it any more, or its file is full: a run needs none."""

    def print(self, *objects: Any, **how: Any) -> None:
        try:
            super().print(*objects, **how)
        except OSError:
            self._leave()

    def on_broken_pipe(self) -> None:
        self._leave()

    def _leave(self) -> None:
        self.quiet = True
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)  # or the interpreter would fail on what is left to write when it ends
        os.close(nothing)


class _ToConsole(logging.Handler):
    """Messages of level INFO and above, above the live table."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = {"WARNING": "yellow", "ERROR": "red"}.get(record.levelname, "")
        self._console.print(record.getMessage(), style=style, markup=False, soft_wrap=True)


def _cells(step: Step) -> tuple[str, ...]:
    unit = {"1": "", "MPa*m^0.5": "MPa√m"}.get(step.load_unit, step.load_unit)
    return (
        str(step.index),
        f"{step.load:.4g} {unit}".rstrip(),
        f"{step.iterations}{'' if step.converged else ' !'}",
        f"{step.residual_norm:.1e}",
        "" if step.lowest_eigenvalue is None else f"{step.lowest_eigenvalue:.3f}",
        "" if step.tip_position is None else f"{step.tip_position[0]:.2f}",
        str(step.free_atoms),
        f"{sum(step.seconds.values()):.1f}",
    )


def _aligned(cells: tuple[str, ...]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True))


def _terminal_width(n_ranks: int) -> int | None:
    """Columns of the terminal that the user looks at, or ``None`` if there is none.

    Open MPI gives each rank a pseudo-terminal even if its own output goes to a file. So with
    several ranks it is mpirun's output that is asked, through Linux' /proc; elsewhere the answer
    is ``None``.
    """
    try:
        if n_ranks == 1:
            return os.get_terminal_size(1).columns if sys.stdout.isatty() else None
        terminal = os.open(f"/proc/{os.getppid()}/fd/1", os.O_RDONLY | os.O_NOCTTY)
        try:
            return os.get_terminal_size(terminal).columns if os.isatty(terminal) else None
        finally:
            os.close(terminal)
    except OSError:
        return None
