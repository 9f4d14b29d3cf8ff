# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a learned handshake is trained on: cracks solved fully atomistically, slabs under strain, and their loss.

A crack's atoms are put on a mesh whose nodes are the atoms. With the right relaxation w of the layers the finite
elements would be in balance there: the loss is the elastic energy of what is out of balance, ½ w·Kw - f·w, with f the
forces of the elements on the layers and K their stiffness, all other nodes eliminated. It is a quadratic function of
what the operator says, and up to a constant the square of the dual norm of the residual on the layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse, spatial
from scipy.sparse.linalg import SuperLU, splu

from msolve.assemble import full_atomistic
from msolve.atomistic import relax_atoms
from msolve.body import Body
from msolve.continuum.energy import StoredEnergy
from msolve.continuum.space import build_space
from msolve.errors import CaseError, ConvergenceError
from msolve.handshake.flanks import FlankLift, FlankLine
from msolve.handshake.operator import FlankModel, FlankOperator
from msolve.handshake.slab import half_layers, layers_below
from msolve.io.meshes import Slit, disc_mesh
from msolve.loads import KField
from msolve.placement import turned
from msolve.regions import Ball
from msolve.solvers import Settings, minimise

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TOLERANCE = 1e-5
"""Largest force that a specimen's solution leaves [eV/Å]."""

NEAR_TIP = 3.0
"""Nearest distance from the tip at which layers are learned from, in nearest-neighbour distances."""

RIM = 8.0
"""Width of the ring at the boundary that is not learned from, in nearest-neighbour distances."""

EMPTY = 2.5
"""Radius around the tip within which elements say nothing, in nearest-neighbour distances."""

SWEEPS = 8
"""Corrections of the eliminated nodes, each by the stiffness of the crystal at rest."""

FOLLOWED = 4
"""Passes after which the flank that an operator sees has followed what it moves."""

OPENED = 1.5
"""Length of a bond across the crack plane, over its length at rest, from which on it is broken."""


@dataclass(frozen=True)
class CrackSpecimen:
    """A crack, as the operator is to see it.

    Attributes:
        lift: Layers that are learned from, with the operator left out of account.
        line: Flank as the atoms have it, shape ``(m, 3)`` [Å].
        force: Force of the elements on each node of the layers, shape ``(k, 3)`` [eV/Å].
    """

    lift: FlankLift
    line: Array
    force: Array


class Bench:
    """The elements of one body whose nodes are its atoms, and what remains of them on the layers of its flanks.

    Args:
        body: A crack; its far field and predictor are a K-field.
        degree: Of the finite elements.
        layers: Layers of each flank.
    """

    def __init__(self, body: Body, degree: int, layers: int) -> None:
        near = body.crystal.nearest_neighbour_distance
        spacing, reach = body.crystal.sublattice_spacing, body.radius
        box = [(-reach - 6 * spacing, reach + 6 * spacing)] * 2
        sites = body.crystal.sites(None, box, body.origin)
        mesh = disc_mesh(
            body.radius,
            spacing=spacing,
            zones=(Ball((0.0, 0.0, 0.0), body.radius - 4.5 * near),),
            matching_points=sites.positions[sites.basis_index == 0, :2],
            slit=Slit(0.0, body.half_gap),
        )
        self.body = body
        self.space = build_space(
            MPI.COMM_SELF,
            mesh.points,
            mesh.cells,
            mesh.node_tags,
            mesh.facet_tags,
            thickness=body.crystal.period,
            degree=degree,
        )
        beyond = half_layers(self.space.cell_vertices(), body.half_gap, 0.0)
        self.stored = StoredEnergy(self.space, body.material, beyond)
        self.nodes = self.space.nodes()
        self.line = FlankLine.of(self.space, body.half_gap)
        assert body.slab is not None
        depths, relaxation = layers_below(body.slab, layers)
        self.blank = FlankModel(
            {degree: FlankOperator(layers, 0, np.ones(5))},
            body.crystal.rotation,
            body.half_gap,
            depths,
            relaxation,
            {},
        )
        self.degree = degree
        self._eliminate(body.sites(0.0).positions)

    def _eliminate(self, atoms: Array) -> None:
        """Find the nodes that are atoms, those of the layers, and the stiffness of the layers alone."""
        body, X = self.body, self.nodes
        near = body.crystal.nearest_neighbour_distance
        distance, self._atom = spatial.cKDTree(atoms[:, :2]).query(X[:, :2])
        on_atom = distance < 1e-4
        outer = np.zeros(len(X), dtype=bool)
        outer[self.space.node_tags["outer"]] = True
        self.on_atom = np.flatnonzero(on_atom)
        loose = np.flatnonzero(~on_atom & ~outer)
        _, layer = self.blank.layer_of(X)
        r = np.hypot(X[:, 0], X[:, 1])
        learned = (X[:, 0] < -NEAR_TIP * near) & (r < body.radius - RIM * near)
        self.layers = np.flatnonzero(on_atom & (layer >= 0) & learned)
        corner = self.stored.points.mean(axis=1)
        says = np.hypot(corner[:, 0], corner[:, 1]) > EMPTY * near
        self._weight = np.repeat(says[:, None].astype(float), self.stored.points.shape[1], axis=1)
        K = self.stored.stiffness(body.C, np.ones_like(self._weight))
        indptr, indices, data = K.getValuesCSR()
        K = sparse.csc_matrix(sparse.csr_matrix((data, indices, indptr), shape=K.getSize()))
        dof = lambda nodes: (3 * nodes[:, None] + np.arange(3)).ravel()  # noqa: E731
        self._loose = dof(loose)
        self._inverse: SuperLU | None = None
        kept = dof(self.layers)
        stiff = K[kept][:, kept].toarray()
        if len(loose):
            self._inverse = splu(K[self._loose][:, self._loose])
            across = K[self._loose][:, kept].toarray()
            stiff -= across.T @ self._inverse.solve(across)
        self.stiffness = 0.5 * (stiff + stiff.T)

    def balance(
        self, y: Array, atoms: Array, t: float, body: Body, operator: FlankOperator | None = None
    ) -> tuple[Array, Array]:
        """Corrector of the nodes that puts the atoms where a solved crack has them, and the forces of the elements.

        Args:
            y: Positions of the atoms, shape ``(n, 3)`` [Å].
            atoms: Their reference positions, among them all sites of the body.
            t: Load.
            body: The body under its load.
            operator: Trained operator that the layers of the flanks follow.

        Raises:
            ConvergenceError: The elements are inside out somewhere.
        """
        own = spatial.cKDTree(atoms[:, :2]).query(self.nodes[self.on_atom, :2])[1]
        X = atoms[own]
        relaxed = turned(body.relaxation(X), body.predictor, X, t)
        u = np.zeros((len(self.nodes), 3))
        u[self.on_atom] = y[own] - X - relaxed - body.predictor.displacement(X, t)
        if operator is not None:
            u -= self._layers_follow(u, operator, t, body)
        if self.degree == 2:
            middle, one, other = self.space.edge_nodes().T
            off = ~np.isin(middle, self.on_atom)
            u[middle[off]] = 0.5 * (u[one[off]] + u[other[off]])
        background = self.stored.sample(lambda at: body.predictor.gradient(at, t))
        force = self.stored.evaluate(u, background, self._weight)[1]
        if self._inverse is not None:
            for _ in range(SWEEPS):
                u.ravel()[self._loose] -= self._inverse.solve(force.ravel()[self._loose])
                force = self.stored.evaluate(u, background, self._weight)[1]
        return u, force

    def _layers_follow(self, u: Array, operator: FlankOperator, t: float, body: Body) -> Array:
        """What an operator moves the nodes by, where it makes of the nodes without it what the atoms have."""
        model = replace(self.blank, operators={self.degree: operator})
        lift = FlankLift.of(model, self.degree, self.line, self.nodes, body.taper)
        start = self.line.X + body.predictor.displacement(self.line.X, t)
        moved = np.zeros_like(u)
        for _ in range(FOLLOWED):
            moved[lift.atoms] = lift.at(start + self.line.gather(u - moved))
        return moved

    def specimen(self, y: Array, atoms: Array, t: float, body: Body) -> CrackSpecimen:
        """What a solved crack says.

        Args:
            y: Positions of the atoms, shape ``(n, 3)`` [Å].
            atoms: Their reference positions, among them all sites of the body.
            t: Load.
            body: The body under its load.

        Raises:
            ConvergenceError: The elements are inside out somewhere.
        """
        u, force = self.balance(y, atoms, t, body)
        lift = FlankLift.of(self.blank, self.degree, self.line, self.nodes[self.layers], body.taper)
        assert np.array_equal(lift.atoms, np.arange(len(self.layers)))
        X = self.line.X
        places = X + body.predictor.displacement(X, t) + self.line.gather(u)
        return CrackSpecimen(lift, places, force[self.layers])


def solved_crack(body: Body, K: float, shear: float) -> tuple[Array, Array]:
    """Positions of the atoms of a crack in equilibrium and in the reference crystal, both ``(n, 3)`` [Å].

    Args:
        body: The body; its far field and predictor are replaced.
        K: Mode I intensity [eV/Å^2.5].
        shear: K_II over it.

    Raises:
        ConvergenceError: No equilibrium was found, or the crack has healed or run.
    """
    loaded = under(body, shear)
    full = full_atomistic(MPI.COMM_SELF, loaded)
    z = full.problem.kinematics.unknowns.vector()
    report = minimise(full.problem, z, K, full.preconditioner, Settings(tolerance=TOLERANCE))
    if not report.converged:
        raise ConvergenceError(f"stopped at a residual of {report.residual:.2g} eV/angstrom")
    y = full.problem.gather(z, K)
    moved = tip_moved(full.X, y, body)
    if abs(moved) > 1.5 * body.crystal.nearest_neighbour_distance:
        raise ConvergenceError(
            f"the crack {'ran' if moved > 0 else 'healed'} by {abs(moved):.1f} angstrom"
        )
    return y, full.X


def under(body: Body, shear: float) -> Body:
    """The body under a K-field whose K_II is ``shear`` times K_I."""
    field = KField(body.C)
    field = replace(field, mode=(1.0, shear, 0.0))
    return replace(body, far_field=field, predictor=field, learned=None)


def tip_moved(X: Array, y: Array, body: Body) -> float:
    """How far the last broken bond across the crack plane lies from where the cut ends [Å]; positive ahead."""
    near = body.crystal.nearest_neighbour_distance
    strip = np.flatnonzero((np.abs(X[:, 1]) < 2 * near) & (np.abs(X[:, 0]) < 12 * near))
    tree = spatial.cKDTree(X[strip])
    i, j = strip[tree.query_pairs(1.05 * near, output_type="ndarray")].T
    across = (X[i, 1] > 0) != (X[j, 1] > 0)
    i, j = i[across], j[across]
    if len(i) == 0:
        return 0.0
    stretch = np.linalg.norm(y[i] - y[j], axis=1) / np.linalg.norm(X[i] - X[j], axis=1)
    x = 0.5 * (X[i, 0] + X[j, 0])
    broken = x[stretch > OPENED]
    return float(broken.max(initial=-12 * near)) if (x < 0).any() else 0.0


def strained_slabs(body: Body, largest: float, layers: int) -> tuple[Array, Array]:
    """How the layers of flat flanks relax under strain in their plane, beyond what they do unstrained.

    Args:
        body: A crack, for its slab.
        largest: Largest strain.
        layers: Layers of each flank.

    Returns:
        ``(invariants, displacements)``: shapes ``(n, 5)`` and ``(n, 2, layers, 3)`` [Å], in the axes of the flank.

    Raises:
        ConvergenceError: The crystal has no stress-free thickness there, or the slab finds no rest.
    """
    slab, steps = body.slab, np.linspace(-1, 1, 5) * largest
    assert slab is not None
    rest = layers_below(slab, layers)[1]
    invariants, found = [], []
    for E11, E13 in [*((E, 0.0) for E in steps), *((0.0, E / 2) for E in steps if E != 0)]:
        F = _free_across(body, E11, E13)
        cell = np.diag([slab.period[0], slab.thickness, slab.period[1]]) @ F.T
        relaxed = relax_atoms(
            body.model,
            slab.reference @ F.T,
            np.full(len(slab.reference), body.crystal.crystal.numbers[0]),
            cell,
            np.array([True, False, True]),
            "a strained slab for the handshake",
        )
        u = relaxed.displacement
        middle = np.abs(slab.reference[:, 1] - slab.thickness / 2) < 0.15 * slab.thickness
        strained = replace(slab, relaxation=u - u[middle].mean(axis=0))
        invariants.append([E11, E13, 0, 0, 0])
        found.append(layers_below(strained, layers)[1] - rest)
    return np.array(invariants), np.array(found)


def _free_across(body: Body, E11: float, E13: float) -> Array:
    """Deformation gradient with given strains in the plane of the flank and no stress across it."""
    C = np.diag([1 + 2 * E11, 1.0, 1.0])
    C[0, 2] = C[2, 0] = 2 * E13
    squared, axes = np.linalg.eigh(C)
    F = (axes * np.sqrt(squared)) @ axes.T
    for _ in range(30):
        pull = body.material.energy_density(F[None])[1][0][:, 1]
        if np.abs(pull).max() < 1e-10:
            return F
        A = body.material.tangent(F[None])[0][:, 1, :, 1]
        F[:, 1] -= np.linalg.solve(A, pull)
    raise ConvergenceError(f"the crystal finds no rest under {100 * E11:.3g} % along the flank")


class Loss(torch.nn.Module):
    """Mean over specimens of the squared residual on the layers, relative to that of the slab handshake.

    Args:
        stiffness: Of the layers, shape ``(3 k, 3 k)`` [eV/Å²].
        cracks: Specimens.
        slabs: From :func:`strained_slabs`; they count together as much as one crack.
    """

    def __init__(
        self, stiffness: Array, cracks: list[CrackSpecimen], slabs: tuple[Array, Array] | None
    ) -> None:
        super().__init__()
        self._K = torch.from_numpy(stiffness)
        self._cracks = cracks
        self._forces = [torch.from_numpy(one.force.ravel()) for one in cracks]
        factor = torch.linalg.cholesky(self._K)
        self.before = [
            float(force @ torch.cholesky_solve(force[:, None], factor)[:, 0])
            for force in self._forces
        ]
        self._slabs = None
        if slabs is not None and np.abs(slabs[1]).max() > 0:
            self._slabs = (torch.from_numpy(slabs[0]), torch.from_numpy(slabs[1]))

    def residuals(self, operator: FlankOperator) -> torch.Tensor:
        """Squared residual of each crack over that of the slab handshake, shape ``(n,)``."""
        out = []
        for one, force, before in zip(self._cracks, self._forces, self.before, strict=True):
            lift = replace(one.lift, operator=operator)
            w = lift.moved(lift.slopes(torch.from_numpy(one.line))).ravel()
            out.append(1 + (w @ (self._K @ w) - 2 * force @ w) / before)
        return torch.stack(out)

    def forward(self, operator: FlankOperator) -> torch.Tensor:
        """The loss."""
        total = self.residuals(operator).sum()
        n = len(self._cracks)
        if self._slabs is not None:
            invariants, wanted = self._slabs
            off = ((operator(invariants) - wanted) ** 2).sum() / (wanted**2).sum()
            total, n = total + off, n + 1
        return total / n


def usable(body: Body) -> None:
    """Refuse bodies whose flanks no operator of layers can describe; raises ``CaseError``."""
    problems = []
    if not body.crack or body.slab is None:
        problems.append("deck: has no crack with a slab handshake; defect.kind = crack would do")
    elif body.gdim != 2:
        problems.append("deck: is in space; learned handshakes are for cracks in the plane")
    elif body.crystal.crystal.n_basis > 1:
        problems.append(
            "deck: its crystal has several atoms per cell, whose flanks end in different sublattices on the two "
            "sides; no mesh has its nodes on all of them. Learned handshakes are for crystals of one atom per cell"
        )
    if problems:
        raise CaseError(problems)
