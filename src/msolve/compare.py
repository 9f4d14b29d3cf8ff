# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Comparison of a coupled solution with the full atomistic one on the same domain.

Lifts the coupled solution to every atom of the full model and measures the difference in the discrete H1
norm over nearest-neighbour bonds. It solves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import spatial

from msolve.assemble import Assembly, within
from msolve.crystal import nearest_neighbour_bonds
from msolve.handshake.shifts import CarriedRows, CarriedShifts, InnerShifts
from msolve.kinematics import interpolation_matrix
from msolve.loads import OnOutline
from msolve.placement import turned

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

SAME = 1e-6
"""Distance below which two reference positions are those of one atom [Å]."""

SETTLED = 4
"""Times that atoms are put back where a solution has them, as what they stand on moves with them."""


@dataclass(frozen=True)
class Comparison:
    """Error of a coupled solution against the full atomistic one.

    Attributes:
        total_h1: sqrt(Σ |e_i - e_j|²) over the bonds inside the rim, per period [Å].
        tip_h1: The same over the bonds near the defect [Å].
        relative_h1: ``total_h1`` over the same norm of the reference's corrector (its displacement minus
            predictor and surface relaxation) [-].
        largest: Largest displacement error of an atom inside the rim [Å].
        energy: Energy of the full model at the lifted state minus that of its solution [eV per period].
    """

    total_h1: float
    tip_h1: float
    relative_h1: float
    largest: float
    energy: float


@dataclass(frozen=True)
class Norms:
    """The discrete H1 norm over nearest-neighbour bonds, inside the rim and near the defect.

    Attributes:
        inside: Bonds inside the rim, ``(2, n)``.
        near: Bonds near the defect, ``(2, n)``.
    """

    inside: npt.NDArray[np.int64]
    near: npt.NDArray[np.int64]

    @classmethod
    def of(cls, full: Assembly, *, rim: float, tip_radius: float) -> Norms:
        """Those of a full atomistic model; widths as in :func:`compare`."""
        body, X = full.body, full.X
        pair = np.stack(bonds(full))
        inside = body.shape.distance(X) < -rim
        near = within(X, body.defects, tip_radius, body.gdim)
        return cls(pair[:, inside[pair].all(axis=0)], pair[:, near[pair].all(axis=0)])

    def total(self, e: Array) -> float:
        """sqrt(Σ |e_i - e_j|²) inside the rim, of a field ``(n, 3)`` [Å]."""
        return float(np.linalg.norm(e[self.inside[0]] - e[self.inside[1]]))

    def each(self, e: Array) -> Array:
        """Its square atom by atom, half of each bond at either end, shape ``(n,)`` [Å²]."""
        i, j = self.inside
        half = 0.5 * ((e[i] - e[j]) ** 2).sum(axis=1)
        return summed(i, half, len(e)) + summed(j, half, len(e))

    def tip(self, e: Array) -> float:
        """The same near the defect."""
        return float(np.linalg.norm(e[self.near[0]] - e[self.near[1]]))


def summed(of: npt.NDArray[np.int64], values: Array, n: int) -> Array:
    """Sums of the values that belong to each of 0 to n - 1."""
    return np.bincount(of, values, n).astype(np.float64)


class Lifting:
    """Positions of some atoms of the body in the states of a coupled problem.

    Free atoms of the coupled model keep their positions; all others follow the mesh field, and those outside the mesh
    the far field. What does not depend on the state is found once.

    Args:
        coupled: The problem.
        X: Reference positions of the atoms, the same on every rank, shape ``(n, 3)`` [Å].
        body: Those inside the body; the others never follow the mesh. Shape ``(n,)``, bool.
        inner: Their inner shifts, where the coupled model has some.
        owned: Those that this rank interpolates, ascending; by default equal shares.

    Attributes:
        interpolation: From the mesh field to the atoms of this rank; empty rows for those that do not follow it.

    Note:
        Construction and calls are collective.
    """

    def __init__(
        self,
        coupled: Assembly,
        X: Array,
        body: BoolArray,
        inner: InnerShifts | None,
        owned: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self._coupled, self._X, self._inner = coupled, X, inner
        self._rest: tuple[float, Array] | None = None  # of the last load, many states are asked for
        flanks = coupled.problem.placement.flanks
        self._flanks = None if flanks is None else flanks.lift(X)
        kinematics = coupled.problem.kinematics
        comm, space = kinematics.unknowns.comm, kinematics.space
        assert space is not None
        free = np.flatnonzero(coupled.free)
        distance, nearest = spatial.cKDTree(coupled.X[free]).query(X)
        self.same = np.flatnonzero(distance < SAME)
        self.twin = free[nearest[self.same]]
        follows = body.copy()
        follows[self.same] = False
        if owned is None:
            owned = np.array_split(np.arange(len(X)), comm.size)[comm.rank]
        self._owned = owned
        self.interpolation = interpolation_matrix(space, X, owned, follows, kinematics.recovery)
        rows = np.diff(self.interpolation.getValuesCSR()[0])[::3] > 0
        # Atoms between the mesh's outer polygon and the circle, and the rim: nothing but the load moves them.
        self.held = np.zeros(len(X), dtype=bool)
        for atoms in comm.allgather(owned[rows]):
            self.held[atoms] = True
        self.beyond = ~self.held
        self.beyond[self.same] = False

    def __call__(self, z: PETSc.Vec, t: float) -> Array:
        """Positions in one state, the same on every rank, shape ``(n, 3)`` [Å]."""
        problem = self._coupled.problem
        comm, space = problem.kinematics.unknowns.comm, problem.kinematics.space
        assert space is not None
        if self._rest is None or self._rest[0] != t:
            self._rest = t, self._at_rest(t)
        y = self._rest[1].copy()
        v, moved = self.interpolation.createVecRight(), self.interpolation.createVecLeft()
        v.array[:] = problem.snapshot(z, t).nodes[: space.n_owned_nodes, : space.block].ravel()
        self.interpolation.mult(v, moved)
        for atoms, change in comm.allgather((self._owned, moved.array.reshape(-1, 3).copy())):
            y[atoms] += change
        y += self._shifts(z, t)
        if self._flanks is not None:
            y[self._flanks.atoms] += self._flanks.at(problem.flank_line(z, t))
        y[self.same] = problem.gather(z, t)[self.twin]
        return y

    def _at_rest(self, t: float) -> Array:
        """Where the mesh's corrector moves the atoms from, and those beyond it stand, ``(n, 3)`` [Å]."""
        body, X, beyond = self._coupled.body, self._X, self.beyond
        relaxation = turned(body.relaxation(X), body.predictor, X, t)
        y = X + relaxation + body.predictor.displacement(X, t)
        if body.far_field is not body.predictor:
            y[beyond] = X[beyond] + relaxation[beyond] + body.far_field.displacement(X[beyond], t)
        return y

    def _shifts(self, z: PETSc.Vec, t: float) -> Array:
        """Inner shifts of the atoms that follow the mesh or the load, ``(n, 3)`` [Å]. Collective."""
        out = np.zeros_like(self._X)
        problem = self._coupled.problem
        if problem.placement.inner is None:
            return out
        assert self._inner is not None
        beyond = np.flatnonzero(self.beyond)
        gradient = self._coupled.body.far_field.gradient(self._X[beyond], t)
        out[beyond] = self._inner.at(gradient, beyond)
        rows = self._carried
        state = problem.carried_shifts(z, t, rows, self._X[rows.atoms])
        for atoms, shifts in problem.kinematics.unknowns.comm.allgather((rows.atoms, state.shifts)):
            out[atoms] = shifts
        return out

    @cached_property
    def _carried(self) -> CarriedRows:
        assert self._inner is not None
        kinematics = self._coupled.problem.kinematics
        carried = CarriedShifts(self._inner, kinematics, self._X, self.held, self._owned)
        return carried.rows(np.arange(len(self._X)), self._owned)


def lift_to(coupled: Assembly, z: PETSc.Vec, t: float, full: Assembly) -> Array:
    """Positions of all atoms of the full model in the coupled state, the same on every rank. Collective.

    Returns:
        Shape ``(n, 3)`` [Å], in the order of ``full.X``.
    """
    return Lifting(coupled, full.X, full.free, full.problem.placement.inner)(z, t)


def unknowns_of(full: Assembly, y: Array, t: float) -> PETSc.Vec:
    """Unknowns of the full model that place its atoms at ``y``. Collective."""
    base = full.problem.gather(full.problem.kinematics.unknowns.vector(), t)
    return from_atoms(full, y - base)


def from_atoms(full: Assembly, field: Array) -> PETSc.Vec:
    """A field on all atoms, shape ``(n, 3)``, as a vector of the full model's unknowns."""
    problem = full.problem
    z = problem.kinematics.unknowns.vector()
    begin = z.getOwnershipRange()[0]
    atoms = problem.kinematics.owned_atoms[full.free[problem.kinematics.owned_atoms]]
    blocks = problem.kinematics.unknowns.atom[atoms]
    components = problem.kinematics.unknowns.components
    values = z.array.reshape(-1, components)
    values[blocks - begin // components] = field[atoms, :components]
    z.array = values.ravel()
    return z


def on_atoms(full: Assembly, v: PETSc.Vec) -> Array:
    """A vector of the full model's unknowns, atom by atom, shape ``(n, 3)``, the same on every rank. Collective."""
    kinematics = full.problem.kinematics
    rows = kinematics.atoms.createVecLeft()
    kinematics.atoms.mult(v, rows)
    out = np.zeros_like(full.X)
    mine = rows.array_r.reshape(-1, 3).copy()
    for atoms, values in kinematics.unknowns.comm.allgather((kinematics.owned_atoms, mine)):
        out[atoms] = values
    return out


def over_stiffness(full: Assembly, forces: PETSc.Vec) -> Array:
    """Square of the force on each atom over the stiffness that holds it, shape ``(n,)`` [eV]. Collective."""
    scaled = full.preconditioner.matrix.getDiagonal()
    scaled.sqrtabs()
    scaled.pointwiseDivide(forces, scaled)
    return np.asarray((on_atoms(full, scaled) ** 2).sum(axis=1))


def carried_over(before: Assembly, z: PETSc.Vec, t: float, after: Assembly) -> PETSc.Vec:
    """Unknowns of another coupled problem that place atoms and nodes where a solution has them.

    The other body may be larger: there it starts from the far field, which the solution continues without a jump.
    Collective.
    """
    places = lift_to(before, z, t, after)
    out = unknowns_of(after, places, t)
    problem, kinematics = after.problem, after.problem.kinematics
    space, comm = kinematics.space, kinematics.unknowns.comm
    assert space is not None
    mine = space.nodes()[: space.n_owned_nodes]
    counts = np.cumsum([0, *comm.allgather(len(mine))])
    nodes = np.concatenate(comm.allgather(mine))
    # Nodes see no relaxed surface: those on atoms move as these do, less where they rest.
    resting = replace(before.problem.placement, flanks=None)
    bare = replace(
        before,
        body=replace(before.body, slab=None),
        problem=replace(before.problem, placement=resting, _cache={}),
    )
    lifting = Lifting(bare, nodes, np.ones(len(nodes), dtype=bool), None)
    whole = lifting(z, t) - nodes - before.body.predictor.displacement(nodes, t)
    moved = bare.problem.gather(z, t) - bare.problem.gather(0.0 * z, t)
    whole[lifting.same] = moved[lifting.twin]
    corrector = whole[counts[comm.rank] : counts[comm.rank + 1]]
    corrector -= problem.node_base(t)[: space.n_owned_nodes]
    blocks = kinematics.unknowns.node[: space.n_owned_nodes]
    chosen = np.flatnonzero(blocks >= 0)
    c = kinematics.unknowns.components
    values = out.array.reshape(-1, c)
    values[blocks[chosen] - out.getOwnershipRange()[0] // c] = corrector[chosen, :c]
    out.array = values.ravel()
    return out if problem.placement.flanks is None else _settled(after, out, places, t)


def _settled(after: Assembly, z: PETSc.Vec, places: Array, t: float) -> PETSc.Vec:
    """Unknowns whose free atoms stand at ``places (n, 3)`` [Å], from such that forget what a learned handshake adds.

    That follows the nodes on the flanks, and these the atoms beside them: where rounds of it draw near. Collective.
    """
    kept, least = z, float("inf")
    for _ in range(SETTLED):
        off = from_atoms(after, places - after.problem.gather(z, t))
        if not off.norm() < least:
            return kept
        kept, least = z, off.norm()
        z = z + off
    return z


def compare(
    full: Assembly,
    lifted: Array,
    solution: PETSc.Vec,
    t: float,
    *,
    rim: float,
    tip_radius: float,
) -> tuple[Comparison, Array]:
    """Measure a lifted state against the solution of the full model. Collective.

    Args:
        full: Full atomistic model.
        lifted: Positions from ``lift_to``.
        solution: Its solution.
        t: Load parameter.
        rim: Width of the ring at the outer boundary that is left out [Å].
        tip_radius: Radius of the zone around each vacancy, or around the origin, that counts as the
            defect's own [Å].

    Returns:
        ``(comparison, error)``: numbers, and the error of each atom, shape ``(n, 3)`` [Å].
    """
    body, X = full.body, full.X
    reference = full.problem.gather(solution, t)
    error = lifted - reference
    relaxation = turned(body.relaxation(X), body.predictor, X, t)
    # The field of an outline's parts says nothing inside: what counts is then the displacement itself.
    base = body.predictor if isinstance(body.far_field, OnOutline) else body.far_field
    corrector = reference - X - relaxation - base.displacement(X, t)
    inside = body.shape.distance(X) < -rim
    norms = Norms.of(full, rim=rim, tip_radius=tip_radius)
    total, size = norms.total(error), norms.total(corrector)
    gradient = solution.duplicate()
    energy = full.problem.evaluate(unknowns_of(full, lifted, t), t, gradient)
    energy -= full.problem.evaluate(solution, t, gradient)
    return (
        Comparison(
            total_h1=total,
            tip_h1=norms.tip(error),
            relative_h1=total / size if size > 0 else float("nan"),
            largest=float(np.linalg.norm(error[inside], axis=1).max()),
            energy=energy,
        ),
        error,
    )


def bonds(full: Assembly) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Nearest-neighbour bonds of the reference crystal, those across a crack left out."""
    crystal = full.body.crystal
    i, j, _ = nearest_neighbour_bonds(
        full.X, full.body.period, 1.05 * crystal.nearest_neighbour_distance
    )
    cut = np.zeros(len(i), dtype=bool)
    for x_tip, x_plane in full.body.slits:
        sides = (full.X[i, 1] > x_plane) != (full.X[j, 1] > x_plane)
        cut |= sides & (np.minimum(full.X[i, 0], full.X[j, 0]) < x_tip)
    return i[~cut], j[~cut]
