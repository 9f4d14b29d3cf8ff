# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Writes the files of a run: fields and atoms after each load step, pictures at the end.

Everything is collective; rank 0 writes. Each file is whole at any moment, each load step has its own, and indices
list finished steps only: a killed run leaves nothing that cannot be read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from msolve.assemble import Assembly
from msolve.build import Setup
from msolve.compare import Comparison
from msolve.errors import CaseError, OutputError
from msolve.estimate import Estimate, Indicators
from msolve.io.checkpoints import CHECKPOINT
from msolve.io.fields import INDEX, MESH, FieldWriter, step_file
from msolve.io.files import output_error, write_whole
from msolve.io.meshes import MeshData
from msolve.io.result import RESULT, Step
from msolve.io.rounds import RoundView
from msolve.io.trajectories import atoms_file, regions_of, write_atoms
from msolve.output.drawing import Painter
from msolve.output.step import StepFields, deformation
from msolve.parallel import all_or_none

Array = npt.NDArray[np.float64]


def prepare(directory: Path, comm: MPI.Comm) -> None:
    """Make the output folder, and see whether it can be written. Collective.

    Raises:
        CaseError: It cannot.
    """
    with all_or_none(comm, "preparing the output folder"):
        if comm.rank == 0:
            try:
                write_whole(directory / ".msolve", b"")
                (directory / ".msolve").unlink()
            except OutputError as error:
                raise CaseError([f"output.directory = {directory}: {error}"]) from error


class Recorder:
    """Writes fields and atoms after each load step, and pictures at the end.

    Args:
        setup: The case.
        assembly: The problem.
        mesh: Mesh as it was built, on rank 0; ``None`` without a continuum.
        directory: Where files go.
        finished: How many load steps a run that goes on has finished; ``None`` removes an earlier run's indices.

    Raises:
        OutputError: Files cannot be written or removed.

    Note:
        Construction and all methods are collective.
    """

    def __init__(
        self,
        setup: Setup,
        assembly: Assembly,
        mesh: MeshData | None,
        directory: Path,
        finished: int | None = None,
    ) -> None:
        self._setup, self._assembly, self._directory = setup, assembly, directory
        self._painter = Painter(setup, assembly, mesh, directory)
        self._comm = assembly.problem.kinematics.unknowns.comm
        self._rank = self._comm.rank
        self._pictures: list[str] = []
        if finished is None:
            with all_or_none(self._comm, "removing files of an earlier run"):
                if self._rank == 0:
                    _remove([directory / name for name in (RESULT, INDEX, CHECKPOINT)])
        steps = range(finished or 0)
        self._with_fields = {k for k in steps if self._there(step_file(k))}
        self._with_atoms = {k for k in steps if self._there(atoms_file(k))}
        space = assembly.problem.kinematics.space
        wanted = setup.case.output.fields and space is not None
        self._writer = FieldWriter(directory, space) if wanted and space else None
        if finished:
            self._list_fields()

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files that are there, relative to the output folder."""
        fields = (INDEX, MESH, *map(step_file, sorted(self._with_fields)))
        return (
            *(fields if self._with_fields else ()),
            *map(atoms_file, sorted(self._with_atoms)),
            *self._pictures,
        )

    def write(self, step: int, fields: StepFields, local: Indicators | None = None) -> None:
        """Write the files of a load step, then the index that lists it.

        Args:
            step: Number of the load step.
            fields: The step.
            local: Its estimate place by place, where there is one.

        Raises:
            OutputError: They cannot be written; what was there before still is.
        """
        if self._setup.case.output.atoms:
            with all_or_none(self._comm, f"writing the atoms of load step {step}"):
                if self._rank == 0:
                    self._write_atoms(step, fields, local)
            self._with_atoms.add(step)
        if self._writer is not None:
            assert self._assembly.problem.stored is not None
            stored = self._assembly.problem.stored
            X = stored.points[: stored.space.n_cells].mean(axis=1)
            beta = self._setup.regions.beta(X)
            more = {}
            if local is not None:
                more = {"estimated_error": local.cell_error, "source": local.cell_source}
            self._writer.write(step, fields.nodes, fields.stress, beta, more)
            self._with_fields.add(step)
            self._list_fields()

    def remove_unlisted(self) -> None:
        """Remove load steps of an earlier run, once no index names them."""
        with all_or_none(self._comm, "removing files of an earlier run"):
            if self._rank == 0:
                patterns = [name(0).replace("0000", "*") for name in (step_file, atoms_file)]
                there = [path for pattern in patterns for path in self._directory.glob(pattern)]
                listed = {self._directory / name for name in self.files}
                _remove([path for path in there if path not in listed])

    def _list_fields(self) -> None:
        if self._writer is not None:
            loads = [load * self._setup.load_scale for load in self._setup.loads]
            # Loads that turn back are no time.
            rising = all(a < b for a, b in itertools.pairwise(loads))
            self._writer.list_steps({k: loads[k] if rising else k for k in self._with_fields})

    def _write_atoms(self, step: int, fields: StepFields, local: Indicators | None) -> None:
        assembly = self._assembly
        spread = fields.force_spread
        known = {} if spread is None else {"force_spread": np.nan_to_num(spread)}
        if local is not None:
            known |= {"estimated_error": local.atom_error, "source": local.atom_source}
        write_atoms(
            self._directory / atoms_file(step),
            fields.positions,
            assembly.X,
            assembly.numbers,
            assembly.body.period,
            {
                "site_energy": np.nan_to_num(fields.site_energy),
                "strain": deformation(assembly, fields.positions)[1],
                "region": regions_of(assembly.beta),
                "beta": assembly.beta,
                **known,
            },
            comment={
                "load": fields.load * self._setup.load_scale,
                "load_unit": self._setup.load_unit,
            },
        )

    def _there(self, name: str) -> bool:
        return bool(self._comm.bcast((self._directory / name).is_file()))

    def pictures(
        self,
        fields: StepFields,
        histories: Mapping[str, tuple[float, ...]],
        reference: Array | None,
        apart: Mapping[str, tuple[float, ...]],
    ) -> None:
        """Draw the last load step.

        Args:
            fields: The step.
            histories: Residuals by solver.
            reference: Patch atoms in the full atomistic solution, or ``None``.
            apart: Residuals of the full atomistic model.
        """
        if not self._setup.case.output.pictures:
            return
        cells = self._painter.cells(fields)
        with all_or_none(self._comm, "drawing pictures"):
            if self._rank == 0:
                self._pictures += self._painter.draw(fields, cells, histories, reference, apart)

    def comparison(self, full: Assembly, error: Array, numbers: Comparison) -> None:
        """Draw the error of each atom."""
        if not self._setup.case.output.pictures:
            return
        with all_or_none(self._comm, "drawing the comparison"):
            if self._rank == 0:
                self._pictures += self._painter.draw_comparison(full, error, numbers)

    def estimate(self, X: Array, error: Array, numbers: Estimate) -> None:
        """Draw the error that places ``(n, 3)`` are expected to have."""
        if not self._setup.case.output.pictures:
            return
        with all_or_none(self._comm, "drawing the estimate"):
            if self._rank == 0:
                self._pictures += self._painter.draw_estimate(X, error, numbers)

    def rounds(self, views: Sequence[RoundView], label: str) -> None:
        """Draw mesh and atoms of the rounds of refinement, and their estimated errors."""
        if not self._setup.case.output.pictures or len(views) < 2:
            return
        with all_or_none(self._comm, "drawing the rounds of refinement"):
            if self._rank == 0:
                self._pictures += self._painter.draw_rounds(views, label)

    def budget(self, steps: Sequence[Step], rounds: Sequence[Mapping[str, Any]]) -> None:
        """Draw what the estimated errors consist of, over load steps and rounds of refinement."""
        bars = [(f"{step.load:.4g}", step.estimate) for step in steps if step.estimate is not None]
        if not self._setup.case.output.pictures or not bars:
            return
        with all_or_none(self._comm, "drawing the budget of the error"):
            if self._rank == 0:
                self._pictures += self._painter.draw_budget(bars, rounds)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(path, error) from error
