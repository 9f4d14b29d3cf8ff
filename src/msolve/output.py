# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a run leaves behind: fields, atoms and pictures of its load steps. Gathers, then writes; computes no physics.

Everything is collective; rank 0 writes. Each file is whole at any moment, each load step has its own, and indices
list finished steps only: a killed run leaves nothing that cannot be read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.assemble import Assembly, Body
from msolve.build import Setup
from msolve.compare import Comparison
from msolve.errors import CaseError, OutputError
from msolve.io.checkpoints import CHECKPOINT
from msolve.io.fields import INDEX, MESH, FieldWriter, step_file
from msolve.io.files import output_error, write_whole
from msolve.io.meshes import MeshData
from msolve.io.result import RESULT
from msolve.io.trajectories import atoms_file, local_deformation, regions_of, write_atoms
from msolve.parallel import all_or_none
from msolve.units import GPA

if TYPE_CHECKING:
    from msolve.io.pictures import Opening

Array = npt.NDArray[np.float64]

STRESS_LABEL = "opening stress $\\sigma_{22}$ [GPa]"


@dataclass(frozen=True)
class StepFields:
    """One load step as arrays.

    Attributes:
        load: Amplitude.
        positions: All atoms of the patch, the same on every rank, ``(n, 3)`` [Å].
        site_energy: Of each atom, nan where it is not evaluated, ``(n,)`` [eV].
        nodes: Total displacement at the local mesh nodes, ``(n_local_nodes, 3)`` [Å]; empty without a mesh.
        stress: Cauchy stress of each owned cell, ``(n_cells, 3, 3)`` [eV/Å³].
    """

    load: float
    positions: Array
    site_energy: Array
    nodes: Array
    stress: Array


def collect(assembly: Assembly, z: PETSc.Vec, t: float) -> StepFields:
    """Evaluate what is written of a load step. Collective."""
    problem = assembly.problem
    at = problem.snapshot(z, t)
    kinematics = problem.kinematics
    own = problem.patch.site_energies(at.positions)
    site_energy = np.full(len(assembly.X), np.nan)
    for atoms, energies in kinematics.unknowns.comm.allgather((kinematics.owned_atoms, own)):
        site_energy[atoms] = energies
    nodes: Array = np.zeros((0, 3))
    stress: Array = np.zeros((0, 3, 3))
    if kinematics.space is not None and problem.stored is not None:
        nodes = at.nodes + assembly.body.predictor.displacement(kinematics.space.nodes(), t)
        F, P = problem.stored.stress(at.nodes, at.background)
        stress = np.einsum("nij,nkj->nik", P, F) / np.linalg.det(F)[:, None, None]
    return StepFields(t, problem.gather(z, t), site_energy, nodes, stress)


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
        self._setup, self._assembly, self._mesh, self._directory = setup, assembly, mesh, directory
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

    def write(self, step: int, fields: StepFields) -> None:
        """Write the files of a load step, then the index that lists it.

        Raises:
            OutputError: They cannot be written; what was there before still is.
        """
        if self._setup.case.output.atoms:
            with all_or_none(self._comm, f"writing the atoms of load step {step}"):
                if self._rank == 0:
                    self._write_atoms(step, fields)
            self._with_atoms.add(step)
        if self._writer is not None:
            assert self._assembly.problem.stored is not None
            X = self._assembly.problem.stored.points.mean(axis=1)
            self._writer.write(step, fields.nodes, fields.stress, self._setup.regions.beta(X))
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

    def _write_atoms(self, step: int, fields: StepFields) -> None:
        assembly = self._assembly
        write_atoms(
            self._directory / atoms_file(step),
            fields.positions,
            assembly.X,
            assembly.numbers,
            assembly.body.period,
            {
                "site_energy": np.nan_to_num(fields.site_energy),
                "strain": self._deformation(fields)[1],
                "region": regions_of(assembly.beta),
                "beta": assembly.beta,
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
        view = self._mesh_view(fields)
        with all_or_none(self._comm, "drawing pictures"):
            if self._rank == 0:
                self._draw(fields, view, histories, reference, apart)

    def _draw(
        self,
        fields: StepFields,
        view: tuple[Array, npt.NDArray[np.int64], Array, Array] | None,
        histories: Mapping[str, tuple[float, ...]],
        reference: Array | None,
        apart: Mapping[str, tuple[float, ...]],
    ) -> None:
        from msolve.io import pictures

        setup, assembly, out = self._setup, self._assembly, self._directory
        sigma = self._deformation(fields)[0]
        atoms = pictures.AtomsView(
            fields.positions,
            regions_of(assembly.beta),
            np.asarray(sigma[:, 1, 1] / GPA),
            assembly.body.crystal.nearest_neighbour_distance,
        )
        mesh = None if view is None else pictures.MeshView(*view)
        if mesh is not None:
            pictures.picture_domain(
                out / "domain.png", mesh, atoms, label=STRESS_LABEL, title=self.title(fields.load)
            )
            self._pictures.append("domain.png")
        if assembly.body.crack:
            pictures.picture_tip(
                out / "tip.png",
                mesh,
                atoms,
                self._opening(fields, reference),
                half_width=18.0,
                label=STRESS_LABEL,
                title=self.title(fields.load),
            )
            self._pictures.append("tip.png")
        pictures.picture_convergence(
            out / "convergence.png",
            histories,
            tolerance=setup.case.solver.gradient_tolerance,
            title="Convergence of the last load step",
            apart=apart,
        )
        self._pictures.append("convergence.png")

    def comparison(self, full: Assembly, error: Array, numbers: Comparison) -> None:
        """Draw the error of each atom."""
        if not self._setup.case.output.pictures:
            return
        with all_or_none(self._comm, "drawing the comparison"):
            if self._rank == 0:
                self._draw_comparison(full, error, numbers)

    def _draw_comparison(self, full: Assembly, error: Array, numbers: Comparison) -> None:
        from msolve.io import pictures

        setup, inside = self._setup, full.free
        pictures.picture_comparison(
            self._directory / "comparison.png",
            full.X[inside],
            np.linalg.norm(error[inside], axis=1),
            regions=setup.regions,
            counted=full.body.shape.distance(full.X[inside]) < -setup.case.compare.rim,
            spacing=full.body.crystal.nearest_neighbour_distance,
            title="Coupled solution against the full atomistic model",
            summary=f"error in the H1 norm {numbers.total_h1:.3g} Å, near the defect {numbers.tip_h1:.2g} Å",
        )
        self._pictures.append("comparison.png")

    def title(self, load: float) -> str:
        """First line of the pictures."""
        setup = self._setup
        amount = f"{load * setup.load_scale:.4g} {setup.load_unit.replace('MPa*m^0.5', 'MPa√m')}"
        parts = [
            "full load" if amount == "1 1" else amount.removesuffix(" 1"),
            setup.case.coupling.method,
            setup.body.model.name,
        ]
        return f"{setup.case.name}: {', '.join(parts)}"

    def _deformation(self, fields: StepFields) -> tuple[Array, Array]:
        """Stress of linear elasticity at each atom's local strain [eV/Å³], and von Mises strain."""
        body = self._assembly.body
        cutoff = 1.25 * body.crystal.nearest_neighbour_distance
        local = local_deformation(self._assembly.X, fields.positions, body.period, cutoff)
        E = 0.5 * (np.swapaxes(local.F, 1, 2) @ local.F - np.eye(3))
        return np.einsum("ijkl,nkl->nij", body.C, E), local.von_mises()

    def _opening(self, fields: StepFields, reference: Array | None) -> Opening:
        from msolve.io import pictures

        body = self._assembly.body
        x1, opening, pairs = flank_opening(body, self._assembly.X, fields.positions)
        base = body.far_field.displacement(self._assembly.X, fields.load)
        far = base[pairs[0], 1] - base[pairs[1], 1]
        exact = None
        if reference is not None:
            exact = flank_opening(body, self._assembly.X, reference)[1]
        return pictures.Opening(x1, opening, far, exact)

    def _mesh_view(
        self, fields: StepFields
    ) -> tuple[Array, npt.NDArray[np.int64], Array, Array] | None:
        """Reference nodes, cells, displacement and σ22 [GPa] in the order of the mesh as it was built. Collective."""
        space = self._assembly.problem.kinematics.space
        if space is None:
            return None
        corners = space.mesh.topology.dim + 1
        vertices = np.asarray(space.mesh.geometry.input_global_indices)[space.cell_points()]
        moved = fields.nodes[space.cell_nodes()[:, :corners]]
        parts = space.comm.gather(
            (space.cell_index, fields.stress[:, 1, 1], vertices, moved), root=0
        )
        if parts is None or self._mesh is None:
            return None
        displacement = np.zeros((len(self._mesh.points), 3))
        values = np.zeros(len(self._mesh.cells))
        for cells, stress, nodes, u in parts:
            values[cells] = stress / GPA
            displacement[nodes.ravel()] = u.reshape(-1, 3)
        return self._mesh.points, self._mesh.cells, displacement, values


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(path, error) from error


def flank_opening(
    body: Body, X: Array, positions: Array
) -> tuple[Array, Array, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Separation of the two layers beside the crack plane beyond that of the perfect crystal.

    Args:
        body: What is solved.
        X: Reference positions, shape ``(n, 3)`` [Å].
        positions: Deformed ones.

    Returns:
        ``(x1, opening, (upper, lower))``: midpoints along x1, ascending, opening [Å], and the atoms paired.
    """
    upper = np.flatnonzero(np.abs(X[:, 1] - body.half_gap) < 1e-3)
    lower = np.flatnonzero(np.abs(X[:, 1] + body.half_gap) < 1e-3)
    upper = upper[np.argsort(X[upper, 0], kind="stable")]
    nearest = spatial.cKDTree(X[lower][:, :1]).query(X[upper][:, :1])[1]
    partner = lower[nearest]
    opening = positions[upper, 1] - positions[partner, 1] - 2 * body.half_gap
    return 0.5 * (X[upper, 0] + X[partner, 0]), opening, (upper, partner)


def tip_position(
    body: Body, X: Array, free: npt.NDArray[np.bool_], positions: Array
) -> tuple[float, float] | None:
    """Where the opening falls below half the spacing of the layers, by interpolation, ``(x1, x2)`` [Å].

    Looked for among the free atoms, from the open side; ``None`` without a crack or an open part.
    """
    if not body.crack:
        return None
    x1, opening, (upper, lower) = flank_opening(body, X, positions)
    keep = free[upper] & free[lower]
    x1, opening = x1[keep], opening[keep]
    closed = np.flatnonzero(opening < body.half_gap)
    if len(closed) == 0 or closed[0] == 0:
        return None
    k = closed[0]
    share = (opening[k - 1] - body.half_gap) / (opening[k - 1] - opening[k])
    return float(x1[k - 1] + share * (x1[k] - x1[k - 1])), 0.0
