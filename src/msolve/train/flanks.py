# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a learned handshake is trained on: cracks solved fully atomistically, slabs under strain, and their loss.

A crack's atoms are put on a mesh (:mod:`msolve.train.bench`). With the right relaxation of the layers, and the right
energy of the surface, the finite elements would be in balance there. The loss is the square of the dual norm of what is
out of balance around the layers: a quadratic function of what the operator says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
import torch
from scipy import spatial

from msolve.assemble import full_atomistic
from msolve.atomistic import relax_atoms
from msolve.body import Body
from msolve.errors import CaseError, ConvergenceError
from msolve.handshake.operator import FlankOperator
from msolve.handshake.slab import layers_below
from msolve.loads import KField
from msolve.solvers import Settings, minimise
from msolve.train.bench import CrackSpecimen

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TOLERANCE = 1e-5
"""Largest force that a specimen's solution leaves [eV/Å]."""

OPENED = 1.5
"""Length of a bond across the crack plane, over its length at rest, from which on it is broken."""


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


@dataclass(frozen=True)
class Slabs:
    """Flat flanks under strain in their plane.

    Attributes:
        invariants: Shape ``(n, 5)``; the first slab is unstrained.
        displacements: Of the layers, beyond what they do unstrained, in the axes of the flank, shape
            ``(n, 2, layers, 3)`` [Å].
        energy: Of one surface, half layer included, beyond that of as much bulk under the same strain and that of the
            unstrained surface, per area at rest, shape ``(n,)`` [eV/Å²].
    """

    invariants: Array
    displacements: Array
    energy: Array

    def tension(self, operator: FlankOperator) -> torch.Tensor:
        """Weights with which an operator's energy of the surface is that of the slabs, shape ``(2, TENSIONS)``."""
        given = operator.of_strains(torch.from_numpy(self.invariants[:, :2])).numpy()
        found = np.linalg.lstsq(given, self.energy, rcond=1e-6)[0]
        return torch.from_numpy(np.stack([found, found]))


def strained_slabs(body: Body, largest: float, layers: int) -> Slabs:
    """Relax slabs under strain in their plane.

    Args:
        body: A crack, for its slab.
        largest: Largest strain.
        layers: Layers of each flank.

    Raises:
        ConvergenceError: The crystal has no stress-free thickness there, or the slab finds no rest.
    """
    slab, steps = body.slab, np.linspace(-1, 1, 5) * largest
    assert slab is not None
    rest = layers_below(slab, layers)[1]
    area = slab.period[0] * slab.period[1]
    strains = [(0.0, 0.0), *((E, 0.0) for E in steps if E != 0)]
    strains += [(0.0, E / 2) for E in steps if E != 0]
    strains += [(a * largest / 2, b * largest / 4) for a in (-1, 1) for b in (-1, 1)]
    invariants, found, energies = [], [], []
    for E11, E13 in strains:
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
        bulk = area * slab.thickness * float(body.material.energy_density(F[None])[0][0])
        energies.append((relaxed.energy - bulk) / (2 * area))
    return Slabs(np.array(invariants), np.array(found), np.array(energies) - energies[0])


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
        cracks: Specimens.
        slabs: Their layers count together as much as one crack.
        surface: An operator with the energy of the surface that counts.

    Attributes:
        before: Residual of each crack with the slab handshake, shape ``(n,)`` [√eV].
    """

    def __init__(
        self, cracks: list[CrackSpecimen], slabs: Slabs | None, surface: FlankOperator
    ) -> None:
        super().__init__()
        self._cracks = cracks
        forms = [one.form(surface) for one in cracks]
        self.before = np.array([form.before for form in forms])
        self._forms = [(torch.from_numpy(f.N), torch.from_numpy(f.g), f.c) for f in forms]
        self._slabs = None
        if slabs is not None and np.abs(slabs.displacements).max() > 0:
            self._slabs = tuple(
                torch.from_numpy(part) for part in (slabs.invariants, slabs.displacements)
            )

    def residuals(self, operator: FlankOperator) -> torch.Tensor:
        """Squared residual of each crack over that of the slab handshake, shape ``(n,)``."""
        out = []
        for one, (N, g, c) in zip(self._cracks, self._forms, strict=True):
            lift = replace(one.lift, operator=operator)
            w = lift.moved(lift.slopes(torch.from_numpy(one.line))).ravel()
            out.append(c + w @ (N @ w) + 2 * g @ w)
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
