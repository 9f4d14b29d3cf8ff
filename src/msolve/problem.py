# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A coupled problem: terms seen through the lifts, as one function of the vector of unknowns.

Immutable: another dead load, other terms or another patch make another problem. Holds no solver.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from msolve.atomistic import Patch
from msolve.continuum.energy import StoredEnergy
from msolve.coupling import Contribution, Snapshot, Term
from msolve.errors import ConvergenceError
from msolve.handshake.flanks import FlankLift, FlankState
from msolve.handshake.shifts import CarriedRows, CarriedShifts, ShiftState
from msolve.kinematics import Kinematics
from msolve.lift import Lift
from msolve.placement import Placement, turned

Array = npt.NDArray[np.float64]


def _evaluated(terms: tuple[Term, ...], at: Snapshot) -> tuple[list[Contribution], str | None]:
    """What the terms give, and why one gave nothing, if so; all are entered, because some are collective."""
    parts, failure = [], None
    for term in terms:
        try:
            parts.append(term.evaluate(at))
        except ConvergenceError as error:
            failure = failure or str(error)
    return parts, failure


FURTHEST = 10.0
"""How far an atom may be moved, over the size of the body."""

REMEMBERED = 2
"""Evaluations that a problem and those made from it keep: the energy's and the blended forces' last."""


@dataclass(frozen=True)
class _Sum:
    """What some terms gave in some state on this rank."""

    terms: tuple[Term, ...]
    at: Snapshot
    energy: float
    gradient: Array

    def answers(self, terms: tuple[Term, ...], at: Snapshot) -> bool:
        return (
            self.terms is terms
            and self.at.background is at.background
            and self.at.load == at.load
            and np.array_equal(self.at.positions, at.positions)
            and np.array_equal(self.at.nodes, at.nodes)
        )


@dataclass(frozen=True)
class CoupledProblem:
    """Energy, gradient and Hessian products of a coupled model.

    Attributes:
        kinematics: The lifts.
        patch: Distributed atoms.
        stored: Stored energy of the mesh, or ``None``.
        terms: Summands.
        placement: Where everything stands at zero unknowns.
        dead_load: Constant vector g subtracted from the gradient, -<g, z> in the energy; or ``None``.
    """

    kinematics: Kinematics
    patch: Patch
    stored: StoredEnergy | None
    terms: tuple[Term, ...]
    placement: Placement
    dead_load: PETSc.Vec | None = None
    _cache: dict[str, object] = field(default_factory=dict, repr=False, compare=False)

    @property
    def conservative(self) -> bool:
        """Whether the gradient is that of an energy."""
        return all(term.conservative for term in self.terms)

    def with_terms(
        self, terms: tuple[Term, ...], dead_load: PETSc.Vec | None = None
    ) -> CoupledProblem:
        """The same unknowns and lifts under other terms."""
        return dataclasses.replace(self, terms=terms, dead_load=dead_load)

    def snapshot(self, z: PETSc.Vec, t: float) -> Snapshot:
        """Positions of the local atoms and correctors of the local nodes. Collective.

        Rebuilds the neighbour lists when atoms have moved too far for them.
        """
        if self.patch.version == 0:
            self._renew_lists(z, t)
        lift = self._lift()
        atoms, nodes = lift.forward(z)
        base = self._base(t, lift)
        y = base[0] + atoms
        state = self._shift_state(z, t, lift.carried)
        if state is not None:
            y[state.rows.place] += state.shifts
        flanks = None
        if lift.flanks is not None:
            flanks = self._flank_state(lift.flanks, base[1] + nodes, t)
            y[lift.flanks.atoms] += flanks.displacement
        if self.patch.needs_rebuild(y):
            self._renew_lists(z, t)
            return self.snapshot(z, t)
        return Snapshot(y, base[1] + nodes, base[2], t, state, flanks)

    def _renew_lists(self, z: PETSc.Vec, t: float) -> None:
        everywhere = self.gather(z, t)
        moved = np.abs(everywhere - self.placement.X).max(initial=0.0)
        # Written so that positions that are not numbers fail too; lists of atoms that far apart cannot be made.
        if not moved <= FURTHEST * (1.0 + np.ptp(self.placement.X, axis=0).max(initial=0.0)):
            raise ConvergenceError(
                f"the solver moved an atom by {moved:.3g} angstrom, out of the body; try smaller load steps"
            )
        self.patch.rebuild(everywhere)

    def evaluate(self, z: PETSc.Vec, t: float, gradient: PETSc.Vec) -> float:
        """Energy [eV] and gradient [eV/Å] by the unknowns. Collective.

        Args:
            z: Unknowns.
            t: Load parameter.
            gradient: Overwritten with the gradient, or with the residual where no energy exists.

        Returns:
            The energy on every rank; nan if a term is not conservative.

        Raises:
            ConvergenceError: The state has no energy (an element inside out, atoms on top of each other);
                on every rank.
        """
        at = self.snapshot(z, t)
        share, failure = self._summed(at, gradient)
        idle = self.kinematics.unknowns.idle
        gradient.array[idle] = rest = z.array_r[idle]
        energy = share + 0.5 * float(rest @ rest)
        comm = self.kinematics.unknowns.comm
        sums = comm.allreduce(np.array([energy, failure is not None]))
        if sums[1]:
            # One rank's cells may be inside out while all others are fine: every rank has to know.
            raise ConvergenceError(next(text for text in comm.allgather(failure) if text))
        energy = float(sums[0])
        if self.dead_load is not None:
            gradient.axpy(-1.0, self.dead_load)
            energy -= self.dead_load.dot(z)
        return energy if self.conservative else float("nan")

    def _summed(self, at: Snapshot, gradient: PETSc.Vec) -> tuple[float, str | None]:
        """This rank's energy, the gradient of all, and a failure; remembered, as solvers ask again. Collective.

        The end of a minimisation is the start of the next under another dead load, and its last evaluation.
        """
        memory = self._cache.setdefault("sums", [])
        assert isinstance(memory, list)
        known = [old for old in memory if old.answers(self.terms, at)]
        if self.kinematics.unknowns.comm.allreduce(bool(known), op=MPI.LAND):
            gradient.array[:] = known[0].gradient
            return known[0].energy, None
        parts, failure = _evaluated(self.terms, at)
        self._lift().reverse(parts, gradient, at)
        energy = sum(p.energy for p in parts)
        if failure is None and all(getattr(term, "repeatable", False) for term in self.terms):
            memory.insert(0, _Sum(self.terms, at, energy, gradient.array_r.copy()))
            del memory[REMEMBERED:]
        return energy, failure

    def linearise(self, z: PETSc.Vec, t: float) -> Callable[[PETSc.Vec, PETSc.Vec], None]:
        """The map (v, out): out = derivative of the gradient at z applied to v. Collective."""
        at = self.snapshot(z, t)
        products = [term.linearise(at) for term in self.terms]
        lift, idle = self._lift(), self.kinematics.unknowns.idle
        by_shifts, by_flanks = None, None
        if (at.carried is not None and self.conservative) or at.flanks is not None:
            pulled = [p.on_atoms for p in _evaluated(self.terms, at)[0] if p.on_atoms is not None]
            on_atoms = np.sum(pulled, axis=0)
            if at.carried is not None and self.conservative:
                by_shifts = at.carried.curvature(on_atoms)
            if at.flanks is not None:
                by_flanks = at.flanks.curvature(on_atoms)

        def product(v: PETSc.Vec, out: PETSc.Vec) -> None:
            atoms, nodes, change = lift.along(v, at)
            by_F = None if by_shifts is None or change is None else by_shifts(change)
            bent = None if by_flanks is None else partial(by_flanks, nodes)
            lift.reverse([p(atoms, nodes) for p in products], out, at, by_F, bent)
            out.array[idle] = v.array_r[idle]

        return product

    def forces_along(self, z: PETSc.Vec, t: float) -> Callable[[Array], Array]:
        """The map from a change of all atoms, held ones too, to that of the gradient by all atoms. Collective.

        Both are the same on every rank, shape ``(n, 3)``. Meant for problems without a mesh.
        """
        at = self.snapshot(z, t)
        products = [term.linearise(at) for term in self.terms]
        local, comm = self._lift().local, self.kinematics.unknowns.comm

        def product(change: Array) -> Array:
            out = np.zeros_like(self.placement.X)
            for one in products:
                part = one(change[local], np.zeros_like(at.nodes)).on_atoms
                if part is not None:
                    np.add.at(out, local, part)
            summed: Array = comm.allreduce(out)
            return summed

        return product

    def gather(self, z: PETSc.Vec, t: float) -> Array:
        """Positions of all atoms on every rank, shape ``(n, 3)`` [Å]. Collective."""
        kinematics = self.kinematics
        y = kinematics.atoms.createVecLeft()
        kinematics.atoms.mult(z, y)
        mine = kinematics.owned_atoms
        moved = y.array.reshape(-1, 3).copy()
        carried = self._carried()
        if carried is not None:
            state = self._shift_state(z, t, carried.rows(kinematics.atom_rows(), mine))
            assert state is not None
            moved[state.rows.place] += state.shifts
        if self.placement.flanks is not None:
            own = self.placement.flanks.lift(self.placement.X[mine])
            moved[own.atoms] += own.at(self.flank_line(z, t))
        out = np.empty_like(self.placement.X)
        comm = kinematics.unknowns.comm
        for atoms, places in comm.allgather((mine, moved)):
            out[atoms] = places
        return out + self._of_load("base", t, lambda t: self._atom_base(np.arange(len(out)), t))

    def flank_line(self, z: PETSc.Vec, t: float) -> Array:
        """Deformed places of the mesh nodes on the flanks, the same on every rank, ``(m, 3)`` [Å]. Collective."""
        space, owned = self.kinematics.space, self.kinematics.nodes_owned
        assert space is not None and owned is not None
        v = owned.createVecLeft()
        owned.mult(z, v)
        nodes = self.node_base(t)[: space.n_owned_nodes].copy()
        nodes[:, : space.block] += v.array_r.reshape(-1, space.block)
        return self._line_at(nodes, t)

    def _line_at(self, nodes: Array, t: float) -> Array:
        """The same from the correctors of the local nodes. Collective."""
        place = self.placement
        assert place.flanks is not None
        line = place.flanks.line
        return line.X + place.predictor.displacement(line.X, t) + line.gather(nodes)

    def _flank_state(self, lift: FlankLift, nodes: Array, t: float) -> FlankState:
        assert self.placement.flanks is not None
        return FlankState(lift, self.placement.flanks.line, self._line_at(nodes, t))

    def carried_shifts(self, z: PETSc.Vec, t: float, rows: CarriedRows, X: Array) -> ShiftState:
        """Inner shifts of atoms that the mesh carries, at reference positions ``X (k, 3)`` [Å]. Collective.

        Raises:
            ConvergenceError: Sublattices find no rest somewhere; on every rank.
        """
        space = self.kinematics.space
        assert space is not None
        F = np.eye(3) + self.placement.predictor.gradient(X, t) + rows.gradient(z)
        F += rows.gradient_of(self.node_base(t)[: space.n_owned_nodes, : space.block].ravel())
        state, failure = None, None
        try:
            state = ShiftState.at(rows, F)
        except ConvergenceError as error:
            failure = str(error)
        failures = [text for text in self.kinematics.unknowns.comm.allgather(failure) if text]
        if state is None or failures:
            raise ConvergenceError(failures[0])
        return state

    def _shift_state(self, z: PETSc.Vec, t: float, rows: CarriedRows | None) -> ShiftState | None:
        if rows is None:
            return None
        return self.carried_shifts(z, t, rows, self.placement.X[rows.atoms])

    def _carried(self) -> CarriedShifts | None:
        place = self.placement
        if place.inner is None or place.free is None or self.kinematics.space is None:
            return None
        known = self._cache.get("carried")
        if not isinstance(known, CarriedShifts):
            of_mesh = ~place.free & ~place.loose
            mine = self.kinematics.owned_atoms
            known = CarriedShifts(place.inner, self.kinematics, place.X, of_mesh, mine)
            self._cache["carried"] = known
        return known

    def _lift(self) -> Lift:
        lift = self._cache.get("lift")
        if not isinstance(lift, Lift) or lift.version != self.patch.version:
            lift = Lift(self.kinematics, self.patch, self._carried(), self.placement)
            self._cache["lift"] = lift
        return lift

    def _base(self, t: float, lift: Lift) -> tuple[Array, Array, Array]:
        key = (t, lift.version)
        cached = self._cache.get("base")
        if isinstance(cached, tuple) and cached[0] == key:
            return cached[1]
        base = (self._atom_base(lift.local, t), self.node_base(t), self._background(t))
        self._cache["base"] = (key, base)
        return base

    def _atom_base(self, atoms: npt.NDArray[np.int64], t: float) -> Array:
        place = self.placement
        X = place.X[atoms]
        base = X + place.predictor.displacement(X, t)
        base += turned(place.relaxation[atoms], place.predictor, X, t)
        base += self._resting(t)[atoms]
        if place.far_field is place.predictor and place.boundary is None:
            return base
        loose = place.loose[atoms]
        base[loose] += place.far_field.displacement(X[loose], t) - place.predictor.displacement(
            X[loose], t
        )
        return base + self._interpolated_boundary(t)[atoms]

    def _resting(self, t: float) -> Array:
        return self._of_load("resting", t, self.placement.resting_shifts)

    def _of_load(self, what: str, t: float, made: Callable[[float], Array]) -> Array:
        """What depends on the load alone: made once a load, as many states are asked for at each."""
        known = self._cache.get(f"{what} at load")
        if not isinstance(known, tuple) or known[0] != t:
            known = self._cache[f"{what} at load"] = (t, made(t))
        found: Array = known[1]
        return found

    def node_base(self, t: float) -> Array:
        """Corrector of the local nodes at zero unknowns, that of the boundary, ``(n_local, 3)`` [Å]."""
        space = self.kinematics.space
        if space is None:
            return np.zeros((0, 3))
        place = self.placement
        if place.boundary is not None:
            return place.boundary(t)
        base = np.zeros((space.n_local_nodes, 3))
        if place.far_field is not place.predictor:
            X = space.nodes()[place.prescribed]
            difference = place.far_field.displacement(X, t) - place.predictor.displacement(X, t)
            base[place.prescribed] = difference
        return base

    def _interpolated_boundary(self, t: float) -> Array:
        """What the prescribed nodes add to atoms that interpolate them, all atoms, ``(n, 3)``. Collective."""
        out = np.zeros_like(self.placement.X)
        kinematics = self.kinematics
        if kinematics.interpolation is None:
            return out
        v, y = kinematics.interpolation.createVecRight(), kinematics.interpolation.createVecLeft()
        space = kinematics.space
        assert space is not None
        v.array[:] = self.node_base(t)[: space.n_owned_nodes, : space.block].ravel()
        kinematics.interpolation.mult(v, y)
        comm = kinematics.unknowns.comm
        for atoms, moved in comm.allgather((kinematics.owned_atoms, y.array.reshape(-1, 3).copy())):
            out[atoms] = moved
        return out

    def _background(self, t: float) -> Array:
        if self.stored is None:
            return np.zeros((0, 0, 3, 3))
        return self.stored.sample(lambda X: self.placement.predictor.gradient(X, t))
