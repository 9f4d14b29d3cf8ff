# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What the best imaginable treatment of a silicon crack's flanks, or of its bulk, would leave of the error.

Bounds, because nothing learned does better than what is fitted to the very error that it is to remove: layers of the
flanks displaced by smooth functions of the distance behind the tip, forces along the flanks, an energy of strain
gradients. What the lattice itself says of the bulk at long waves (``lattice_waves``) is not fitted. All are answered by
the linearised problem. Beside them stands what no fit can reach: atoms all along the flanks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from common import Coupled, Reference, Row, answered, solve_coupled
from handshake_limits import split_by_rings
from lattice_waves import LongWaves
from scipy import sparse
from scipy.spatial import cKDTree
from silicon_oracle import derivative

from msolve.assemble import couple
from msolve.body import Body
from msolve.build import build_mesh
from msolve.compare import Norms, lift_to
from msolve.handshake.closure import depth_of, rise
from msolve.handshake.slab import fade, layers_below
from msolve.placement import turned
from msolve.regions import Ball, Regions

Array = npt.NDArray[np.float64]

LAYERS = 4
"""Outermost layers of each flank that are displaced."""

OF_LAYERS = (0.5, 1.5, 2.5)
"""Exponents of the distance behind the tip that their displacement falls with, as strain and its derivatives do."""

OF_FORCES = (1.5, 2.5, 3.5)
"""The same for forces along the flanks."""

STRIP = 6.0
"""Depth below the crack plane down to which atoms stand along the flanks [Å]."""

END = 12.0
"""Distance from the boundary at which they end [Å]."""

SETS_IN = (0.7, 1.4)
"""Depths below the flanks between which the energy of strain gradients sets in, over the reach of the potential."""

NO_SHIFT = 6.0
"""Distance from the tip within which third gradients of the predictor say nothing [Å]."""

RIDGE = 1e-2
"""Penalty of the fits, over the size of each function's answer."""


@dataclass(frozen=True)
class Measure:
    """Widths of the rim and of the tip's part, depth of the flanks [Å]; the solver's tolerance [eV/Å]."""

    rim: float
    tip: float
    depth: float
    tolerance: float


@dataclass(frozen=True)
class Answers:
    """A coupled solution and what changes of its equations would make of all atoms, by the linearised problem."""

    coupled: Coupled
    reference: Reference

    @property
    def error(self) -> Array:
        """Of the solution, atom by atom, shape ``(n, 3)`` [Å]."""
        lifted = lift_to(self.coupled.assembly, self.coupled.z, self.coupled.t, self.reference.full)
        return lifted - self.reference.full.problem.gather(self.reference.z, self.reference.t)

    def to_forces(self, on_nodes: Array) -> Array:
        """Of forces on the nodes ``(n, 3)`` [eV/Å], blended like the continuum's."""
        assembly = self.coupled.assembly
        kinematics, regions = assembly.problem.kinematics, assembly.regions
        assert kinematics.nodes is not None and regions is not None
        forces, right = kinematics.nodes.createVecLeft(), kinematics.unknowns.vector()
        forces.array[:] = (regions.beta(self._nodes)[:, None] * on_nodes).ravel()
        kinematics.nodes.multTranspose(forces, right)
        return self._to(right)

    def to_layers(self, field: Callable[[Array], Array]) -> Array:
        """Of more relaxation of the atoms, a function of their sites ``(n, 3)``, that nodes do not see."""
        assembly = self.coupled.assembly
        problem = assembly.problem.with_terms(assembly.force_terms)
        gradients = []
        for sign in (0.5, -0.5):
            moved = problem.placement.relaxation + sign * field(assembly.X)
            placement = replace(problem.placement, relaxation=moved)
            other = replace(problem, placement=placement, _cache={})
            gradients.append(self.coupled.z.duplicate())
            other.evaluate(self.coupled.z, self.coupled.t, gradients[-1])
        gradients[1].axpy(-1.0, gradients[0])
        X = self.reference.full.X
        own = turned(field(X), assembly.body.predictor, X, self.coupled.t)
        return self._to(gradients[1]) + own

    def to_gradients(self, waves: LongWaves, factor: Array | float = 1.0) -> Array:
        """Of an energy of strain gradients below the flanks, times a factor for each cell."""
        assembly, t = self.coupled.assembly, self.coupled.t
        body, space = assembly.body, assembly.problem.kinematics.space
        assert space is not None
        u = assembly.problem.snapshot(self.coupled.z, t).nodes
        u = u + body.predictor.displacement(self._nodes, t)
        middle = self._nodes[space.cell_nodes()].mean(axis=1)
        low, high = (times * body.model.reach for times in SETS_IN)
        below = rise(depth_of(middle, body.half_gap), low, high)
        return self.to_forces(-waves.force(space, u, below * factor))

    def shifts(self, waves: LongWaves) -> Array:
        """Shifts of the atoms that the mesh carries, by third gradients of the predictor."""
        assembly, full = self.coupled.assembly, self.reference.full
        inner = full.problem.placement.inner
        assert inner is not None
        away = cKDTree(assembly.X[assembly.free]).query(full.X)[0]
        far = (away > 1e-6) & full.free & (np.hypot(full.X[:, 0], full.X[:, 1]) > NO_SHIFT)
        sign = np.where(inner.basis == 0, -0.5, 0.5)[far, None]
        out = np.zeros_like(full.X)
        out[far] = sign * waves.shift(assembly.body.predictor, full.X[far], self.coupled.t)
        return out

    def strains(self) -> Array:
        """E11, E22 and E12 of the cells, shape ``(3, n_cells)``; those at the tip itself are cut off."""
        problem = self.coupled.assembly.problem
        at, stored, space = (
            problem.snapshot(self.coupled.z, self.coupled.t),
            problem.stored,
            problem.kinematics.space,
        )
        assert stored is not None and space is not None
        rows = np.arange(len(stored.nodes)) < space.n_cells
        F = stored.deformation(at.nodes, at.background, rows).mean(axis=1)
        E = 0.5 * (np.swapaxes(F, 1, 2) @ F - np.eye(3))
        return np.clip(np.array([E[:, 0, 0], E[:, 1, 1], E[:, 0, 1]]), -0.1, 0.1)

    @property
    def _nodes(self) -> Array:
        space = self.coupled.assembly.problem.kinematics.space
        assert space is not None
        return space.nodes()

    def _to(self, right: PETSc.Vec) -> Array:
        product, moves = self._linear
        solved = answered(product, self.coupled.assembly.preconditioner, right)
        return np.asarray(moves @ solved.array_r).reshape(-1, 3)

    @cached_property
    def _linear(self) -> tuple[Callable[[PETSc.Vec, PETSc.Vec], None], sparse.csr_matrix]:
        assembly, z = self.coupled.assembly, self.coupled.z
        problem = assembly.problem.with_terms(assembly.force_terms)
        return problem.linearise(z, self.coupled.t), derivative(self.coupled, self.reference, z)


def bounds(coupled: Coupled, reference: Reference, measure: Measure) -> list[Row]:
    """Rows for one load and core: the error as it is, and what is left under each treatment."""
    waves = LongWaves.of(coupled.setup.body)
    norms = Norms.of(reference.full, rim=measure.rim, tip_radius=measure.tip)
    plain = Answers(coupled, reference)
    e = plain.error
    shifts, gradients = plain.shifts(waves), plain.to_gradients(waves)
    layers, forces = of_layers(plain), of_forces(plain)
    lattice = e + shifts + gradients
    filled = Answers(along_flanks(coupled, measure.tolerance), reference)
    left = {
        "as it is": e,
        "layers": fitted(e, layers, norms),
        "layers and forces": fitted(e, layers + forces, norms),
        "shifts": e + shifts,
        "energy": e + gradients,
        "shifts and energy": lattice,
        "layers, shifts, energy": fitted(lattice, layers, norms),
        "layers, shifts, fitted energy": fitted(lattice, layers + of_energies(plain), norms),
        "atoms along flanks": filled.error,
        "atoms along flanks, shifts, energy": (
            filled.error + filled.shifts(waves) + filled.to_gradients(waves)
        ),
    }
    rows: list[Row] = []
    for name, field in left.items():
        rings = split_by_rings(coupled.setup, reference.full, field, measure.depth)
        total = norms.total(field)
        row: Row = {"what": name, "total": total, "gain": norms.total(e) / total}
        rows.append(row | {"tip": norms.tip(field), **rings})
        print(rows[-1], flush=True)
    return rows


def of_layers(plain: Answers) -> list[Array]:
    """Answers to smooth displacements of each layer of each flank."""
    body = plain.coupled.setup.body
    assert body.slab is not None
    depths, _ = layers_below(body.slab, LAYERS)
    out = []
    for side, sign in enumerate((1.0, -1.0)):
        for depth in depths[side]:
            for component in (0, 1):
                for power in OF_LAYERS:
                    height = sign * (body.half_gap + depth)
                    out.append(plain.to_layers(_Layer(body, height, component, power)))
    return out


@dataclass(frozen=True)
class _Layer:
    """Displacement of the layer at a height above the crack plane; fades in behind the tip like the slab's."""

    body: Body
    height: float
    component: int
    power: float

    def __call__(self, X: Array) -> Array:
        out = np.zeros_like(X)
        own = (np.abs(X[:, 1] - self.height) < 1e-3) & (X[:, 0] < 0)
        behind = np.maximum(-X[own, 0], 1.0) / 10
        # An Å would be far too much for a derivative by differences.
        out[own, self.component] = 1e-3 * fade(X[own], 0.0, self.body.taper) * behind**-self.power
        return out


def of_forces(plain: Answers) -> list[Array]:
    """Answers to smooth forces along each flank."""
    space = plain.coupled.assembly.problem.kinematics.space
    assert space is not None
    nodes, half_gap = space.nodes(), plain.coupled.setup.body.half_gap
    out = []
    for sign in (1.0, -1.0):
        line = np.flatnonzero((np.abs(nodes[:, 1] - sign * half_gap) < 1e-6) & (nodes[:, 0] < 0))
        line = line[np.argsort(nodes[line, 0])]
        behind = np.maximum(-nodes[line, 0], 1.0) / 10
        share = np.gradient(nodes[line, 0])
        for component in (0, 1):
            for power in OF_FORCES:
                force = np.zeros_like(nodes)
                force[line, component] = 1e-3 * share * behind**-power
                out.append(plain.to_forces(force))
    return out


def of_energies(plain: Answers) -> list[Array]:
    """Answers to energies of strain gradients: each coefficient, constant and linear in the strain."""
    out = []
    for factor in (1.0, *plain.strains()):
        for k in range(5):
            for i, j in ((0, 0), (0, 1), (1, 1)):
                D = np.zeros((5, 3, 3))
                D[k, i, j] = D[k, j, i] = 1.0
                unit = LongWaves(np.zeros((3, 3, 3)), D, np.zeros((4, 3, 3)))
                out.append(plain.to_gradients(unit, factor))
    return out


def fitted(e: Array, answers: list[Array], norms: Norms) -> Array:
    """What is left of an error ``(n, 3)`` [Å] with the best combination of answers, in the H1 norm."""
    i, j = norms.inside
    columns = np.array([(one[i] - one[j]).ravel() for one in answers])
    size = np.linalg.norm(columns, axis=1)
    matrix = np.vstack([(columns / size[:, None]).T, RIDGE * np.eye(len(size))])
    right = np.concatenate([(e[i] - e[j]).ravel(), np.zeros(len(size))])
    weights = np.linalg.lstsq(matrix, right, rcond=None)[0] / size
    return e - np.tensordot(weights, np.array(answers), 1)


def along_flanks(coupled: Coupled, tolerance: float) -> Coupled:
    """The same mesh with atoms all along the flanks."""
    setup, regions = coupled.setup, coupled.assembly.regions
    assert regions is not None
    (core,) = regions.cores
    assert isinstance(core, Ball)
    region = _WithStrip(core, setup.body.radius - END)
    assembly = couple(
        MPI.COMM_WORLD,
        setup.body,
        Regions((region,), regions.blend),
        build_mesh(setup, MPI.COMM_WORLD),
        recovery=True,
    )
    return solve_coupled(setup, assembly, "bgfc_deferred", tolerance)


@dataclass(frozen=True)
class _WithStrip:
    """A core and a strip along the crack behind it, up to a distance ``end`` [Å]."""

    core: Ball
    end: float

    def distance(self, X: Array) -> Array:
        """See ``msolve.regions.Shape``."""
        strip = np.maximum(np.abs(X[:, 1]) - STRIP, np.maximum(X[:, 0], -X[:, 0] - self.end))
        return np.minimum(self.core.distance(X), strip)

    def extent(self) -> float:
        """See ``msolve.regions.Shape``."""
        return self.end
