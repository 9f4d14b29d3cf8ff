# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What the pictures of a run show: brings a solved case into the form that io/pictures draws."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.assemble import Assembly
from msolve.body import Body
from msolve.build import Setup
from msolve.compare import Comparison
from msolve.estimate import Estimate
from msolve.io.meshes import MeshData
from msolve.io.rounds import RoundView
from msolve.io.trajectories import regions_of
from msolve.output.step import StepFields, deformation
from msolve.regions import Ball, Disc, Regions
from msolve.units import GPA

if TYPE_CHECKING:
    from msolve.io.pictures import AtomsView, Opening, RenderError
    from msolve.io.pictures.space import Cut

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_log = logging.getLogger("msolve")

WINDOW = 4.0
"""Half the width of a map of a body too large to be seen, over that of its atomistic regions."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The mesh of a load step on rank 0, in the order in which it was built.

    Attributes:
        displacement: At the nodes, shape ``(n, 3)`` [Å].
        stress: Cauchy stress of each cell, shape ``(m, 3, 3)`` [eV/Å³].
    """

    displacement: Array
    stress: Array


class Painter:
    """Draws a case into its output folder.

    Args:
        setup: The case.
        assembly: The problem.
        mesh: Mesh as it was built, on rank 0; ``None`` without a continuum.
        directory: Where files go.
    """

    def __init__(
        self, setup: Setup, assembly: Assembly, mesh: MeshData | None, directory: Path
    ) -> None:
        self._setup, self._assembly, self._mesh, self._directory = setup, assembly, mesh, directory
        self._blind = False

    def cells(self, fields: StepFields) -> Cells | None:
        """Gather the mesh; ``None`` on all ranks but 0 and without a continuum. Collective."""
        space = self._assembly.problem.kinematics.space
        if space is None:
            return None
        corners = space.mesh.topology.dim + 1
        vertices = np.asarray(space.mesh.geometry.input_global_indices)[space.cell_points()]
        moved = fields.nodes[space.cell_nodes()[:, :corners]]
        parts = space.comm.gather((space.cell_index, fields.stress, vertices, moved), root=0)
        if parts is None or self._mesh is None:
            return None
        made = Cells(np.zeros((len(self._mesh.points), 3)), np.zeros((len(self._mesh.cells), 3, 3)))
        for index, stress, nodes, u in parts:
            made.stress[index] = stress
            made.displacement[nodes.ravel()] = u.reshape(-1, 3)
        return made

    def draw(
        self,
        fields: StepFields,
        cells: Cells | None,
        histories: Mapping[str, tuple[float, ...]],
        reference: Array | None,
        apart: Mapping[str, tuple[float, ...]],
    ) -> list[str]:
        """Draw a load step: the body, the tip of a crack, convergence. Rank-local.

        Args:
            fields: The step.
            cells: The mesh.
            histories: Residuals by solver.
            reference: Patch atoms in the full atomistic solution, or ``None``.
            apart: Residuals of the full atomistic model.

        Returns:
            Names of the files.
        """
        from msolve.io import pictures

        drawn = []
        draw_body = self._draw_plane if self._assembly.body.gdim == 2 else self._draw_space
        drawn += draw_body(fields, cells, reference)
        pictures.picture_convergence(
            self._directory / "convergence.png",
            histories,
            tolerance=self._setup.case.solver.gradient_tolerance,
            title="Convergence of the last load step",
            apart=apart,
        )
        return [*drawn, "convergence.png"]

    def _draw_plane(
        self, fields: StepFields, cells: Cells | None, reference: Array | None
    ) -> list[str]:
        from msolve.io import pictures

        label, title = "opening stress $\\sigma_{22}$ [GPa]", self._title(fields.load)
        assembly, out, drawn = self._assembly, self._directory, []
        sigma = deformation(assembly, fields.positions)[0]
        atoms = self._atoms(fields, sigma[:, 1, 1])
        mesh = None
        if cells is not None and self._mesh is not None:
            mesh = pictures.MeshView(
                self._mesh.points,
                self._mesh.cells,
                cells.displacement,
                np.asarray(cells.stress[:, 1, 1] / GPA),
            )
            pictures.picture_domain(out / "domain.png", mesh, atoms, label=label, title=title)
            drawn.append("domain.png")
        if assembly.body.crack:
            opening = self._opening(fields, reference)
            pictures.picture_tip(
                out / "tip.png", mesh, atoms, opening, half_width=18.0, label=label, title=title
            )
            drawn.append("tip.png")
        return drawn

    def _draw_space(
        self, fields: StepFields, cells: Cells | None, reference: Array | None
    ) -> list[str]:
        from msolve.io import pictures
        from msolve.io.pictures import space

        if cells is None or self._mesh is None or self._blind:
            return []
        n, label = opening_direction(self._assembly.body)
        sigma = deformation(self._assembly, fields.positions)[0]
        mesh = pictures.MeshView(
            self._mesh.points,
            self._mesh.cells,
            cells.displacement,
            np.asarray(across(cells.stress, n) / GPA),
        )
        try:
            space.picture_domain(
                self._directory / "domain.png",
                mesh,
                self._atoms(fields, across(sigma, n)),
                reference=self._assembly.X,
                regions=self._setup.regions,
                cut=self._cut(),
                label=label,
                title=self._title(fields.load),
            )
        except pictures.RenderError as error:
            self._tell(error)
            return []
        return ["domain.png"]

    def _atoms(self, fields: StepFields, stress: Array) -> AtomsView:
        from msolve.io import pictures

        return pictures.AtomsView(
            fields.positions,
            regions_of(self._assembly.beta),
            np.asarray(stress / GPA),
            self._assembly.body.crystal.nearest_neighbour_distance,
        )

    def draw_comparison(self, full: Assembly, error: Array, numbers: Comparison) -> list[str]:
        """Draw the error of each atom. Rank-local.

        Args:
            full: The full atomistic model.
            error: Displacement error of its atoms, shape ``(n, 3)`` [Å].
            numbers: Its norms.

        Returns:
            Names of the files.
        """
        summary = (
            f"error in the H1 norm {numbers.total_h1:.3g} Å, near the defect {numbers.tip_h1:.2g} Å"
        )
        title = "Coupled solution against the full atomistic model"
        return self._draw_error("comparison.png", full.X, error, title, summary)

    def draw_estimate(self, X: Array, error: Array, numbers: Estimate) -> list[str]:
        """Draw the error that places ``(n, 3)`` are expected to have; see :meth:`draw_comparison`."""
        summary = (
            f"estimated H1 norm {numbers.total_h1:.3g} Å, near the defect {numbers.tip_h1:.2g} Å"
        )
        title = "Estimated error against the full atomistic model, which was not solved for it"
        window = None
        if numbers.sampling is not None:
            # Of a body so large a map of the whole would show nothing.
            regions = self._setup.regions
            window = WINDOW * (max(core.extent() for core in regions.cores) + regions.blend)
        return self._draw_error("estimate.png", X, error, title, summary, window)

    def draw_rounds(self, views: Sequence[RoundView], label: str) -> list[str]:
        """Draw the rounds of refinement. Rank-local; returns the names of the files."""
        from msolve.io import pictures

        title = f"Refinement of {self._setup.case.name}"
        pictures.picture_rounds(self._directory / "refinement.png", views, title=title, label=label)
        return ["refinement.png"]

    def draw_budget(
        self, bars: Sequence[tuple[str, Mapping[str, Any]]], rounds: Sequence[Mapping[str, Any]]
    ) -> list[str]:
        """Draw what estimates consist of; returns names of files. Rank-local.

        Args:
            bars: Loads, and the estimate of each.
            rounds: Estimates of the rounds of refinement.
        """
        from msolve.io.pictures import picture_budget

        panels = {f"load [{self._setup.load_unit}]" if len(bars) > 1 else "load": bars}
        if len(rounds) > 1:
            panels["round of the refinement"] = [(str(k), row) for k, row in enumerate(rounds)]
        picture_budget(
            self._directory / "budget.png", panels, title="What the estimated error consists of"
        )
        return ["budget.png"]

    def _draw_error(
        self,
        name: str,
        X: Array,
        error: Array,
        title: str,
        summary: str,
        window: float | None = None,
    ) -> list[str]:
        from msolve.io.pictures import RenderError, picture_comparison

        body = self._setup.body
        inside = body.shape.distance(X) < 0
        X, amount = X[inside], np.linalg.norm(error[inside], axis=1)
        try:
            picture_comparison(
                self._directory / name,
                X,
                amount,
                regions=self._setup.regions,
                counted=body.shape.distance(X) < -self._setup.case.compare.rim,
                spacing=body.crystal.nearest_neighbour_distance,
                title=title,
                summary=summary,
                cut=None if body.gdim == 2 else self._cut(),
                window=window,
            )
        except RenderError as problem:
            self._tell(problem)
            return []
        return [name]

    def _tell(self, error: RenderError) -> None:
        """Say why bodies in space are not drawn, once."""
        _log.warning("bodies in space are not drawn: %s", error)
        self._blind = True

    def _title(self, load: float) -> str:
        setup = self._setup
        amount = f"{load * setup.load_scale:.4g} {setup.load_unit.replace('MPa*m^0.5', 'MPa√m')}"
        parts = [
            "full load" if amount == "1 1" else amount.removesuffix(" 1"),
            setup.case.coupling.method,
            setup.body.model.name,
        ]
        return f"{setup.case.name}: {', '.join(parts)}"

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

    def _cut(self) -> Cut:
        from msolve.io.pictures.space import Cut

        body, regions = self._assembly.body, self._setup.regions
        flat = [shape.normal for shape in body.voids if isinstance(shape, Disc)]
        return Cut.through(defect_centres(body, regions), np.reshape(flat, (-1, 3)))


def across(stress: Array, n: Array) -> Array:
    """Normal component of stresses ``(m, 3, 3)`` on planes of normal ``n``, shape ``(m,)``."""
    return np.asarray(np.einsum("i,mij,j->m", n, stress, n))


def defect_centres(body: Body, regions: Regions) -> Array:
    """Where holes and vacancies are, the cores where there are none, else the origin, shape ``(n, 3)`` [Å]."""
    shapes = body.voids or (() if len(body.vacancies) else regions.cores)
    round_ones = [shape.centre for shape in shapes if isinstance(shape, Ball | Disc)]
    centres = np.concatenate([np.reshape(round_ones, (-1, 3)), np.reshape(body.vacancies, (-1, 3))])
    return centres if len(centres) else np.zeros((1, 3))


def opening_direction(body: Body) -> tuple[Array, str]:
    """Normal of the first flat hole, x2 without one, and what the stress across it is called."""
    n = next((np.array(h.normal, float) for h in body.voids if isinstance(h, Disc)), np.eye(3)[1])
    n /= np.linalg.norm(n)
    axis = int(np.abs(n).argmax())
    if abs(n[axis]) > 1 - 1e-9:
        return n, f"opening stress $\\sigma_{{{axis + 1}{axis + 1}}}$ [GPa]"
    return n, "opening stress across the flat hole [GPa]"


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
