# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The Cauchy-Born law of a potential: energy density, stress and tangent of a deformed crystal.

Edge vectors are F R over a fixed shell of lattice vectors R; each point is one primitive cell whose
atoms see each other through all images, so message-passing models are exact too. In crystals of
several atoms per cell the sublattices shift against each other until no atom feels a force.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from msolve.crystal import OrientedCrystal
from msolve.errors import ConvergenceError, UnsupportedError
from msolve.potentials.bulk_forces import ForceBulkCell
from msolve.potentials.cells import Cells, Response, SecondOrder, Shell, downhill
from msolve.potentials.clock import Clock
from msolve.potentials.edges import CHUNK
from msolve.potentials.engine import edge_slopes
from msolve.potentials.protocol import ForceModel, Potential, RadialForm, SiteModel
from msolve.potentials.shortage import enough_memory

Array = NDArray[np.float64]

SHELL_FACTORS = (1.15, 1.4, 2.0)
"""Radii of the reference shell over the cutoff; the smallest that the compression allows."""

LONGEST_SHIFT = 0.8
"""How far sublattices may shift against each other before edges could be missed [Å]."""

AT_REST = 1e-11
"""Force on a sublattice that counts as none [eV/Å]."""

_CHORD_STEPS, _MOST_STEPS = 8, 60
_LONGEST_STEP = 0.2  # [Å]
_NEAR = (
    0.02  # change of F over which shifts beyond the linear ones are a better start than none [-]
)


class BulkCell:
    """Cauchy-Born energy density of a potential in an oriented crystal.

    Args:
        model: The potential.
        oriented: The crystal at rest, in the axes that F refers to.
        relaxed: Whether sublattices shift; else F moves every atom of the cell alike.

    Attributes:
        clock: Time that the potential took.

    Raises:
        UnsupportedError: The crystal holds an element that the potential does not know.

    Note:
        Rank-local: makes no MPI call, also for potentials with feature exchange.
    """

    def __init__(
        self, model: SiteModel, oriented: OrientedCrystal, *, relaxed: bool = True
    ) -> None:
        crystal = oriented.crystal
        strange = {int(z) for z in crystal.numbers} - model.numbers
        if strange:
            raise UnsupportedError(
                f"the potential {model.name} knows the atomic numbers {sorted(model.numbers)}, "
                f"but the crystal holds {sorted(strange)}"
            )
        self.model = model
        self.clock = Clock()
        self.oriented = oriented
        self.n_basis = crystal.n_basis
        self.volume = crystal.atomic_volume
        self._shifting = relaxed and crystal.n_basis > 1
        self._whole = crystal.n_basis * crystal.atomic_volume
        self._numbers = torch.as_tensor(crystal.numbers, device=model.device)
        self._shell = lru_cache(maxsize=None)(self._build_shell)
        self._soft: tuple[Array, Array] | None = None
        self._known: dict[tuple[int, int], tuple[Array, Array]] = {}

    def energy_density(self, F: ArrayLike) -> tuple[Array, Array]:
        """Energy per reference volume and first Piola-Kirchhoff stress.

        Args:
            F: Deformation gradients, shape ``(q, 3, 3)`` [-].

        Returns:
            ``(W, P)``: W, shape ``(q,)`` [eV/Å³], and P = ∂W/∂F, shape ``(q, 3, 3)`` [eV/Å³].

        Raises:
            ConvergenceError: A point is inverted or compressed to less than half its length, or
                sublattices find no rest.
            MemoryError: The device's memory is too small.
        """
        points = np.asarray(F, dtype=np.float64)
        W, P = np.empty(len(points)), np.empty((len(points), 3, 3))
        with self._room(points):
            for part, shell in self._chunks(points):
                _, W[part], P[part] = self._relax(points[part], shell, part)
        return W, P

    def tangent(self, F: ArrayLike) -> Array:
        """Second derivative of W, the sublattices following.

        Args:
            F: Deformation gradients, shape ``(q, 3, 3)`` [-].

        Returns:
            A = ∂P/∂F with ``A[q, i, j, k, l] = ∂P[q, i, j] / ∂F[q, k, l]``, shape
            ``(q, 3, 3, 3, 3)`` [eV/Å³].

        Raises:
            ConvergenceError, MemoryError: As for :meth:`energy_density`.
        """
        points = np.asarray(F, dtype=np.float64)
        A = np.empty((len(points), 3, 3, 3, 3))
        with self._room(points):
            for part, shell in self._chunks(points):
                at = self._second_order(points[part], shell)
                A[part], mixed = at.by_gradient()
                if self._shifting:
                    follow = np.linalg.solve(at.stiffness(), mixed.reshape(*mixed.shape[:2], 9))
                    relief = np.swapaxes(mixed.reshape(*mixed.shape[:2], 9), 1, 2) @ follow
                    A[part] -= relief.reshape(-1, 3, 3, 3, 3) / self._whole
        return A

    def response(self, F: ArrayLike) -> Response:
        """Inner shifts of the sublattices at ``F`` ``(q, 3, 3)``, and how they follow a change of F.

        Raises:
            ConvergenceError, MemoryError: As for :meth:`energy_density`.
        """
        points = np.asarray(F, dtype=np.float64)
        shifts = np.zeros((len(points), self.n_basis, 3))
        parts = []
        with self._room(points):
            for part, shell in self._chunks(points):
                at = self._second_order(points[part], shell)
                shifts[part] = at.shifts
                parts.append((part, at))
        return Response(shifts, parts)

    def shifts(self, F: ArrayLike) -> Array:
        """Inner shifts alone, shape ``(q, n_basis, 3)`` [Å]; see :class:`Response`."""
        points = np.asarray(F, dtype=np.float64)
        shifts = np.zeros((len(points), self.n_basis, 3))
        with self._room(points):
            for part, shell in self._chunks(points):
                shifts[part] = self._relax(points[part], shell)[0]
        return shifts

    def linear_shifts(self, F: ArrayLike) -> Array:
        """Inner shifts as the crystal at rest begins to follow the stretch of F; finite for any F.

        Returns:
            Shape ``(q, n_basis, 3)`` [Å].
        """
        points = np.asarray(F, dtype=np.float64)
        out = np.zeros((len(points), self.n_basis, 3))
        if self._shifting:
            left, stretch, right = np.linalg.svd(points)
            turn = left @ right
            U = np.swapaxes(right, 1, 2) @ (stretch[:, :, None] * right)
            response = self._softness()[1]
            first = (U - np.eye(3)).reshape(-1, 9) @ response.T
            out[:, 1:] = first.reshape(len(points), -1, 3) @ np.swapaxes(turn, 1, 2)
        return out

    def _relax(
        self, F: Array, shell: Shell, part: slice | None = None
    ) -> tuple[Array, Array, Array]:
        """Shifts at rest, energy density and stress there; Newton with the stiffness at rest, then its own.

        ``part`` names the points where the same ones are asked for again at other F: it starts from there.
        """
        n = len(F)
        first = self.linear_shifts(F)
        key = (part.start, n) if part is not None and self._shifting else None
        known = self._known.get(key) if key is not None else None
        shifts = first.copy()
        if known is not None and np.abs(F - known[0]).max(initial=0.0) < _NEAR:
            shifts += known[1]
        W, P = np.empty(n), np.empty((n, 3, 3))
        moving = np.arange(n)
        for k in range(_MOST_STEPS):
            at = self._edges(F[moving], shell, shifts[moving])
            with self.clock:
                energy, slopes = edge_slopes(self.model, *at.sites())
            W[moving] = energy.reshape(len(moving), -1).sum(1).cpu().numpy() / self._whole
            P[moving] = at.by_F(slopes) / self._whole
            if not self._shifting:
                return shifts, W, P
            pull = at.by_shift(slopes)
            still = np.abs(pull).max(axis=1, initial=0.0) > AT_REST
            if not still.any():
                if key is not None:
                    self._known[key] = (F.copy(), shifts - first)
                return shifts, W, P
            moving, pull = moving[still], pull[still]
            if k < _CHORD_STEPS:
                step = self._chord(F[moving], pull)
            else:
                here = self._edges(F[moving], shell, shifts[moving])
                step = downhill(
                    self._derivatives(here, shifts[moving]).stiffness(),
                    pull,
                )
            step *= np.minimum(1.0, _LONGEST_STEP / np.abs(step).max(axis=1))[:, None]
            shifts[moving, 1:] += step.reshape(len(moving), -1, 3)
            if not np.abs(shifts).max() < LONGEST_SHIFT:
                break
        raise ConvergenceError(
            "the sublattices of the crystal find no rest somewhere in the continuum; try smaller "
            "load steps or a larger core"
        )

    def _chord(self, F: Array, pull: Array) -> Array:
        """Newton step with the stiffness of the crystal at rest, turned with the crystal."""
        left, _, right = np.linalg.svd(F)
        turn = left @ right
        back = pull.reshape(len(F), -1, 3) @ turn
        step = -(back.reshape(len(F), -1) @ self._softness()[0].T)
        return (step.reshape(back.shape) @ np.swapaxes(turn, 1, 2)).reshape(len(F), -1)

    def _softness(self) -> tuple[Array, Array]:
        """Inverse stiffness of the shifts at rest [Å²/eV], and how they follow F there [Å]; computed once."""
        if self._soft is None:
            one = np.eye(3)[None]
            shell = self._shell(SHELL_FACTORS[0])
            at = self._derivatives(self._edges(one, shell, None), np.zeros((1, self.n_basis, 3)))
            inverse = np.linalg.inv(at.stiffness()[0])
            mixed = at.by_gradient()[1][0].reshape(len(inverse), 9)
            self._soft = inverse, -inverse @ mixed
        return self._soft

    def _second_order(self, F: Array, shell: Shell) -> SecondOrder:
        shifts = self._relax(F, shell)[0] if self._shifting else None
        rest = np.zeros((len(F), self.n_basis, 3)) if shifts is None else shifts
        return self._derivatives(self._edges(F, shell, shifts), rest)

    def _derivatives(self, at: Cells, shifts: Array) -> SecondOrder:
        return SecondOrder(self.model, self.clock, self._shifting, self._whole, at, shifts)

    def _edges(self, F: Array, shell: Shell, shifts: Array | None) -> Cells:
        n, k = len(F), len(shell.vectors)
        device = self.model.device
        # Axis first, so that what a model does to all edges at once runs over contiguous memory.
        stretched = torch.as_tensor(F, device=device).reshape(-1, 3) @ shell.vectors.T
        vec = stretched.reshape(n, 3, k).transpose(0, 1).reshape(3, n * k)
        if shifts is not None and self.n_basis > 1:
            s = torch.as_tensor(shifts, device=device).permute(2, 0, 1)
            vec = vec + (s[:, :, shell.neighbour] - s[:, :, shell.centre]).reshape(3, n * k)
        kept = (vec.square().sum(0) < self.model.cutoff**2).nonzero()[:, 0]
        return Cells(
            torch.gather(vec, 1, kept.expand(3, -1)).T, kept, shell, self._numbers.repeat(n), n
        )

    def _room(self, points: Array) -> AbstractContextManager[None]:
        what = f"{len(points)} points of the continuum with {self.model.name}"
        return enough_memory(self.model.device, what)

    def _chunks(self, F: Array) -> Iterator[tuple[slice, Shell]]:
        if len(F):
            shell = self._shell(_shell_factor(F))
            step = max(1, CHUNK[torch.device(self.model.device).type] // max(1, len(shell.vectors)))
            for a in range(0, len(F), step):
                yield slice(a, min(a + step, len(F))), shell

    def _build_shell(self, factor: float) -> Shell:
        radius = factor * self.model.cutoff + (LONGEST_SHIFT if self._shifting else 0.0)
        found = self.oriented.shell(radius)
        device = self.model.device
        one: NDArray[np.bool_] = np.ones(len(found.vectors), dtype=bool)
        copies = 1
        if self.n_basis == 1 and isinstance(self.model, RadialForm):
            # Opposite edges are equally long under any F: one of the two is enough.
            one, copies = _ahead(found.vectors), 2
        centre, neighbour = found.centre[one], found.neighbour[one]
        turns = np.zeros((len(centre), self.n_basis))
        np.add.at(turns, (np.arange(len(turns)), neighbour), 1.0)
        np.add.at(turns, (np.arange(len(turns)), centre), -1.0)
        return Shell(
            torch.as_tensor(np.ascontiguousarray(found.vectors[one]), device=device),
            torch.as_tensor(centre, device=device),
            torch.as_tensor(neighbour, device=device),
            torch.as_tensor(turns, device=device),
            copies,
        )


def _ahead(vectors: Array) -> NDArray[np.bool_]:
    """One of each pair of opposite vectors: the first component that is not 0 is positive."""
    sign = np.sign(np.where(np.abs(vectors) < 1e-6, 0.0, vectors))
    return np.asarray(sign @ (4.0, 2.0, 1.0) > 0)


def _shell_factor(F: Array) -> float:
    if not np.isfinite(F).all():
        raise ConvergenceError("a deformation gradient is not finite; try smaller load steps")
    upright = bool((np.linalg.det(F) > 0).all())
    stretch = np.swapaxes(F, 1, 2) @ F - np.eye(3)
    largest = float(np.einsum("nij,nij->n", stretch, stretch).max()) ** 0.5
    # No eigenvalue of FᵀF is below 1 - |FᵀF - I|: mostly that will do, at a tenth of the cost.
    if upright and (1 - largest) * SHELL_FACTORS[0] ** 2 >= 1.0:
        return SHELL_FACTORS[0]
    shortest = float(np.linalg.svd(F, compute_uv=False)[:, -1].min())
    for factor in SHELL_FACTORS:
        if upright and shortest * factor >= 1.0:
            return factor
    raise ConvergenceError(
        "the crystal is turned inside out or compressed to less than half its length somewhere in "
        "the continuum; try smaller load steps or a larger core"
    )


def cauchy_born(model: Potential, oriented: OrientedCrystal) -> BulkCell | ForceBulkCell:
    """The Cauchy-Born law of a potential of either sort in an oriented crystal."""
    if isinstance(model, ForceModel):
        return ForceBulkCell(model, oriented)
    return BulkCell(model, oriented)
