# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Coupling methods as lists of terms over the two lifts.

A term sees atom positions and mesh nodes of one rank and returns its energy and gradient there; it knows
neither unknowns nor solvers. A method is nothing but a choice of terms and weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from msolve.atomistic import Patch
from msolve.continuum.energy import StoredEnergy
from msolve.continuum.expanded import ExpandedEnergy
from msolve.continuum.form import WeakForm
from msolve.handshake.closure import ClosureSites
from msolve.handshake.flanks import Flanks, FlankState
from msolve.handshake.shifts import ShiftState
from msolve.handshake.tension import FlankEdges

Array = npt.NDArray[np.float64]

METHODS = ("bqce", "bgfc", "bgfc_deferred", "bqcf", "atomistic")


@dataclass(frozen=True)
class Snapshot:
    """What the lifts give for one state: rank-local, ghosts included.

    Attributes:
        positions: Positions of the patch's local atoms, shape ``(n_atoms, 3)`` [Å].
        nodes: Corrector at the local mesh nodes, shape ``(n_nodes, 3)`` [Å].
        background: Gradient of the predictor at the quadrature points, shape ``(n_rows, n_q, 3, 3)``.
        load: Load parameter.
        carried: Inner shifts of the atoms that the mesh carries, contained in ``positions``; ``None`` in crystals
            of one atom per cell.
        flanks: What a learned handshake adds at crack flanks, contained in ``positions``; ``None`` without.
    """

    positions: Array
    nodes: Array
    background: Array
    load: float = 0.0
    carried: ShiftState | None = None
    flanks: FlankState | None = None


@dataclass(frozen=True)
class Contribution:
    """Energy [eV] and gradient [eV/Å] of a term, this rank's share; ``None`` where a term does not reach."""

    energy: float
    on_atoms: Array | None = None
    on_nodes: Array | None = None


class Term(Protocol):
    """One summand of a coupled model. Calls are collective if the potential exchanges features or a form is assembled.

    A term whose class says ``repeatable = True`` promises to give the same for the same snapshot: it is not
    asked twice in a row.
    """

    @property
    def conservative(self) -> bool:
        """Whether the gradient is that of the energy."""
        ...

    def evaluate(self, at: Snapshot) -> Contribution:
        """Energy and gradient at a state."""
        ...

    def linearise(self, at: Snapshot) -> Callable[[Array, Array], Contribution]:
        """The map (direction of atoms, direction of nodes) -> derivative of the gradient."""
        ...


@dataclass(frozen=True)
class SiteTerm:
    """Σ wᵢ εᵢ(y), its gradient multiplied row by row where ``rows`` is given.

    Attributes:
        patch: Distributed atoms.
        weight: Weight of each site, shape ``(n_atoms_global,)``.
        rows: Factor on the gradient of each atom, same shape; makes the term non-conservative.
    """

    patch: Patch
    weight: Array
    rows: Array | None = None

    repeatable: ClassVar[bool] = True

    @property
    def conservative(self) -> bool:
        """Whether the gradient is that of a known energy."""
        return self.rows is None and self.patch.has_energy

    def evaluate(self, at: Snapshot) -> Contribution:
        """See ``Term``."""
        energy, gradient = self.patch.evaluate(at.positions, self.weight)
        return Contribution(energy, on_atoms=self._scaled(gradient))

    def linearise(self, at: Snapshot) -> Callable[[Array, Array], Contribution]:
        """See ``Term``."""

        def product(atoms: Array, nodes: Array) -> Contribution:
            gradient = self.patch.hessian_product(at.positions, self.weight, atoms)
            return Contribution(0.0, on_atoms=self._scaled(gradient))

        return product

    def _scaled(self, gradient: Array) -> Array:
        # Ghost rows hold shares that the transposed lift adds up, so scaling each share scales the sum.
        return gradient if self.rows is None else self.rows[self.patch.local, None] * gradient


@dataclass(frozen=True)
class DensityTerm:
    """∫ w W(F), its gradient multiplied row by row where ``rows`` is given.

    Attributes:
        stored: Stored energy of the mesh.
        weight: Weight of each quadrature point, shape ``(n_rows, n_q)``.
        rows: Factor on the gradient at each local node, shape ``(n_nodes,)``; makes the term non-conservative.
        straight: Nodes that stay halfway between two others, with these, shape ``(n, 3)``. Their gradient is
            handed to the two before any factor: that of a kink at the edge cancels there, and only there.
    """

    stored: StoredEnergy
    weight: Array
    rows: Array | None = None
    straight: npt.NDArray[np.int64] | None = None

    repeatable: ClassVar[bool] = True

    @property
    def conservative(self) -> bool:
        """Whether the gradient is that of the energy."""
        return self.rows is None

    def evaluate(self, at: Snapshot) -> Contribution:
        """See ``Term``."""
        energy, gradient = self.stored.evaluate(at.nodes, at.background, self.weight)
        return Contribution(energy, on_nodes=self._scaled(gradient))

    def linearise(self, at: Snapshot) -> Callable[[Array, Array], Contribution]:
        """See ``Term``."""
        tangent = self.stored.linearise(at.nodes, at.background, self.weight)

        def product(atoms: Array, nodes: Array) -> Contribution:
            return Contribution(0.0, on_nodes=self._scaled(tangent(nodes)))

        return product

    def _scaled(self, gradient: Array) -> Array:
        if self.rows is None:
            return gradient
        if self.straight is not None and len(self.straight):
            middle, first, second = self.straight.T
            gradient = gradient.copy()
            np.add.at(gradient, first, 0.5 * gradient[middle])
            np.add.at(gradient, second, 0.5 * gradient[middle])
            gradient[middle] = 0.0
        return self.rows[:, None] * gradient


@dataclass(frozen=True)
class ExpandedTerm:
    """∫ w W(F) expanded about a state; see :class:`ExpandedEnergy`."""

    energy: ExpandedEnergy

    repeatable: ClassVar[bool] = True
    conservative: ClassVar[bool] = True

    def evaluate(self, at: Snapshot) -> Contribution:
        """See ``Term``."""
        energy, gradient = self.energy.evaluate(at.nodes)
        return Contribution(energy, on_nodes=gradient)

    def linearise(self, at: Snapshot) -> Callable[[Array, Array], Contribution]:
        """See ``Term``."""
        tangent = self.energy.product()
        return lambda atoms, nodes: Contribution(0.0, on_nodes=tangent(nodes))


def expanded(terms: tuple[Term, ...], at: Snapshot, C: Array) -> tuple[Term, ...]:
    """Terms whose stored energies are expanded about a state, elastic constants ``C`` for their curvature.

    Raises:
        ConvergenceError: The state has no energy.
    """
    return tuple(
        ExpandedTerm(ExpandedEnergy(term.stored, at.nodes, at.background, term.weight, C))
        if isinstance(term, DensityTerm) and term.conservative
        else term
        for term in terms
    )


@dataclass(frozen=True)
class ClosureTerm:
    """Σ wᵢ eᵢ(y), the strain-gradient energy of a learned handshake, its gradient multiplied row by row where asked.

    A rank counts the sites that it owns; it has to hold copies of their neighbours.

    Attributes:
        patch: Distributed atoms.
        sites: Sites among all atoms, each with its weight.
        rows: Factor on the gradient of each atom, shape ``(n_atoms_global,)``; makes the term non-conservative.
    """

    patch: Patch
    sites: ClosureSites
    rows: Array | None = None
    _known: dict[str, tuple[int, ClosureSites]] = field(
        default_factory=dict, repr=False, compare=False
    )

    repeatable: ClassVar[bool] = True

    @property
    def conservative(self) -> bool:
        """Whether the gradient is that of the energy."""
        return self.rows is None

    def evaluate(self, at: Snapshot) -> Contribution:
        """See ``Term``."""
        energy, gradient = self._own().energy(at.positions)
        return Contribution(energy, on_atoms=self._scaled(gradient))

    def linearise(self, at: Snapshot) -> Callable[[Array, Array], Contribution]:
        """See ``Term``."""
        hessian = self._own().hessian(at.positions)

        def product(atoms: Array, nodes: Array) -> Contribution:
            return Contribution(0.0, on_atoms=self._scaled(hessian(atoms)))

        return product

    def _own(self) -> ClosureSites:
        known = self._known.get("own")
        if known is None or known[0] != self.patch.version:
            own = self.sites.among(self.patch.local, self.patch.n_owned)
            known = self._known["own"] = (self.patch.version, own)
        return known[1]

    def _scaled(self, gradient: Array) -> Array:
        return gradient if self.rows is None else self.rows[self.patch.local, None] * gradient


@dataclass(frozen=True)
class TensionTerm:
    """Energy of the flanks' surface in a learned handshake, its gradient multiplied row by row where asked. Collective.

    Every rank knows the whole of both flanks: the first counts the energy, and each takes the rows of its own nodes.

    Attributes:
        flanks: Operator and vertices.
        edges: Edges between these, with their weights.
        rows: Factor on the gradient of each local node, shape ``(n_nodes,)``; makes the term non-conservative.
    """

    flanks: Flanks
    edges: FlankEdges
    rows: Array | None = None

    repeatable: ClassVar[bool] = True

    @property
    def conservative(self) -> bool:
        """Whether the gradient is that of the energy."""
        return self.rows is None

    def evaluate(self, at: Snapshot) -> Contribution:
        """See ``Term``."""
        assert at.flanks is not None
        energy, gradient = self.edges.evaluate(self.flanks.operator, at.flanks.line)
        mine = energy if self.flanks.line.comm.rank == 0 else 0.0
        return Contribution(mine, on_nodes=self._scaled(gradient, at.nodes))

    def linearise(self, at: Snapshot) -> Callable[[Array, Array], Contribution]:
        """See ``Term``."""
        assert at.flanks is not None
        hessian = self.edges.hessian(self.flanks.operator, at.flanks.line)

        def product(atoms: Array, nodes: Array) -> Contribution:
            change = hessian(self.flanks.line.gather(nodes))
            return Contribution(0.0, on_nodes=self._scaled(change, nodes))

        return product

    def _scaled(self, of_line: Array, like: Array) -> Array:
        line, out = self.flanks.line, np.zeros_like(like)
        out[line.owned] = of_line[line.place]
        return out if self.rows is None else self.rows[:, None] * out


@dataclass(frozen=True)
class LoadTerm:
    """Dead loads: -t Σ f · u over nodes and atoms, whose gradient -t f does not depend on the state.

    Attributes:
        patch: Distributed atoms.
        X: Reference positions of all atoms, shape ``(n_atoms, 3)`` [Å].
        on_atoms: Force on each atom at amplitude 1, shape ``(n_atoms, 3)`` [eV/Å].
        on_nodes: This rank's share of the force on each local node, shape ``(n_nodes, 3)`` [eV/Å].
    """

    patch: Patch
    X: Array
    on_atoms: Array
    on_nodes: Array

    repeatable: ClassVar[bool] = True

    @property
    def conservative(self) -> bool:
        """Dead loads have a potential."""
        return True

    def evaluate(self, at: Snapshot) -> Contribution:
        """See ``Term``."""
        local, n_owned = self.patch.local, self.patch.n_owned
        atoms = np.zeros_like(at.positions)
        atoms[:n_owned] = -at.load * self.on_atoms[local[:n_owned]]
        nodes = -at.load * self.on_nodes
        energy = np.sum(atoms * (at.positions - self.X[local])) + np.sum(nodes * at.nodes)
        return Contribution(float(energy), on_atoms=atoms, on_nodes=nodes)

    def linearise(self, at: Snapshot) -> Callable[[Array, Array], Contribution]:
        """See ``Term``."""
        nothing = Contribution(0.0, np.zeros_like(at.positions), np.zeros_like(at.nodes))
        return lambda atoms, nodes: nothing


@dataclass(frozen=True)
class FormTerm:
    """Rows of a caller's weak form, each with its factor. Its calls are collective.

    Attributes:
        form: The form.
        rows: Factor on the row of each local node, shape ``(n_nodes,)``.
    """

    form: WeakForm
    rows: Array

    conservative: ClassVar[bool] = False

    def evaluate(self, at: Snapshot) -> Contribution:
        """See ``Term``."""
        return Contribution(0.0, on_nodes=self._scaled(self.form.residual(at.nodes)))

    def linearise(self, at: Snapshot) -> Callable[[Array, Array], Contribution]:
        """See ``Term``."""
        tangent = self.form.product(self.form.tangent(at.nodes))

        def product(atoms: Array, nodes: Array) -> Contribution:
            return Contribution(0.0, on_nodes=self._scaled(tangent(nodes)))

        return product

    def _scaled(self, rows: Array) -> Array:
        # Inside the core the form may not even be finite: its rows there must not be multiplied by zero.
        return np.where(self.rows[:, None] > 0, self.rows[:, None] * rows, 0.0)


@dataclass(frozen=True)
class Blend:
    """The blending function where the terms need it, and the sites whose energies they ask for.

    Attributes:
        atoms: β at each atom, shape ``(n_atoms,)``.
        nodes: β at each local node, shape ``(n_nodes,)``.
        points: β at each quadrature point, shape ``(n_rows, n_q)``.
        force_sites: Sites whose energies enter the force on an atom with β < 1, shape ``(n_atoms,)``, bool.
        straight: Nodes that stay halfway between two others, with these, shape ``(n, 3)``.
    """

    atoms: Array
    nodes: Array
    points: Array
    force_sites: npt.NDArray[np.bool_]
    straight: npt.NDArray[np.int64] | None = None


def energy_terms(patch: Patch, stored: StoredEnergy, blend: Blend) -> tuple[Term, ...]:
    """Blended energy (BQCE): Σ (1-β) ε + ∫ β W. With a dead load added it is BGFC.

    References:
        Luskin, Ortner, Van Koten, Comput. Methods Appl. Mech. Engrg. 253, 160 (2013).
    """
    return SiteTerm(patch, 1 - blend.atoms), DensityTerm(stored, blend.points)


def force_terms(patch: Patch, stored: StoredEnergy, blend: Blend) -> tuple[Term, ...]:
    """Blended forces (BQCF): (1-β) ∘ ∇E_a + β ∘ ∇E_c, free of ghost forces on every homogeneous state.

    References:
        Li, Luskin, Ortner, Shapeev, "Theory-based benchmarking of the blended force-based
        quasicontinuum method", Comput. Methods Appl. Mech. Engrg. 268, 763 (2014).
    """
    # A row of β ∘ ∇E_c with β > 0 needs every cell around its node, also those where β vanishes inside.
    active = np.asarray((blend.nodes[stored.nodes] > 0).any(axis=1))
    weight = np.broadcast_to(active[:, None].astype(float), blend.points.shape)
    return (
        SiteTerm(patch, blend.force_sites.astype(float), rows=1 - blend.atoms),
        DensityTerm(
            stored, np.ascontiguousarray(weight), rows=blend.nodes, straight=blend.straight
        ),
    )


def atomistic_terms(patch: Patch, force_sites: npt.NDArray[np.bool_]) -> tuple[Term, ...]:
    """The full atomistic model: every site whose energy depends on a free atom."""
    return (SiteTerm(patch, force_sites.astype(float)),)


@dataclass(frozen=True)
class SymmetricPart:
    """A term whose linearisation is the symmetric part of that of row-weighted forces.

    With rows r the linearisation of a force term is r ∘ H; this is (r ∘ H + H ∘ r) / 2. Its sign
    decides on the stability of states that have no energy.

    Attributes:
        term: The term, with rows.
    """

    term: SiteTerm | DensityTerm | ClosureTerm | TensionTerm

    @property
    def conservative(self) -> bool:
        """Never: the symmetric part of a Jacobian need not be a second derivative."""
        return False

    def evaluate(self, at: Snapshot) -> Contribution:
        """See ``Term``: the forces themselves."""
        return self.term.evaluate(at)

    def linearise(self, at: Snapshot) -> Callable[[Array, Array], Contribution]:
        """See ``Term``."""
        term = self.term
        assert term.rows is not None
        hessian = dataclasses.replace(term, rows=None).linearise(at)
        if isinstance(term, SiteTerm | ClosureTerm):
            r = term.rows[term.patch.local, None]

            def on_atoms(atoms: Array, nodes: Array) -> Contribution:
                left = hessian(atoms, nodes).on_atoms
                right = hessian(r * atoms, nodes).on_atoms
                assert left is not None and right is not None
                return Contribution(0.0, on_atoms=0.5 * (r * left + right))

            return on_atoms
        s = term.rows[:, None]

        def on_nodes(atoms: Array, nodes: Array) -> Contribution:
            left = hessian(atoms, nodes).on_nodes
            right = hessian(atoms, s * nodes).on_nodes
            assert left is not None and right is not None
            return Contribution(0.0, on_nodes=0.5 * (s * left + right))

        return on_nodes


def symmetric_parts(terms: Sequence[Term]) -> tuple[Term, ...]:
    """The symmetric part of each term's linearisation; terms without rows have nothing but that."""
    return tuple(
        SymmetricPart(term)
        if isinstance(term, SiteTerm | DensityTerm | ClosureTerm | TensionTerm)
        and term.rows is not None
        else term
        for term in terms
    )
