# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The potential's own error, as a case asks for it: told beside the numerical error, never added to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeAlias

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols
from scipy import spatial

from msolve.against import FullModel
from msolve.assemble import Assembly, within
from msolve.build import Setup, local_rank_of
from msolve.compare import SAME, lift_to, unknowns_of
from msolve.config import CommitteeBeside, PopsBeside, ReferenceBeside
from msolve.config import Potential as PotentialInput
from msolve.errors import CaseError
from msolve.given import in_section, potential_beside
from msolve.goals import Goals
from msolve.parallel import all_or_none
from msolve.potentials import Potential
from msolve.potentials.committee import Committee
from msolve.potentials.pops import Parametric, read_draws
from msolve.uncertainty import Apart, Beside, Calibration, Change, Members, calibrate, read_cells

Array = npt.NDArray[np.float64]

Spread: TypeAlias = CommitteeBeside | PopsBeside


class ModelError:
    """The potential's own error in the states of one problem.

    Args:
        setup: What the case means.
        assembly: Its problem.
        full: The full atomistic model of the same body.
        goals: The numbers that it asks for.

    Raises:
        CaseError: Another potential cannot be loaded or does not fit, or labelled cells do not.

    Note:
        Everything is collective. The other potentials are loaded, and calibrated, at once.
    """

    def __init__(self, setup: Setup, assembly: Assembly, full: FullModel, goals: Goals) -> None:
        self._setup, self._assembly, self._full, self._goals = setup, assembly, full, goals
        self._given = given = setup.case.model_error
        self._members: Members | None = None
        self.calibration: Calibration | None = None
        if given is None:
            return
        comm = assembly.problem.kinematics.unknowns.comm
        rank = local_rank_of(comm, setup.body.pools)
        with all_or_none(comm, "loading the potentials beside the one in use"):
            self._members = _members(setup, rank)
        if isinstance(given, Spread) and given.calibration is not None:
            self.calibration = self._calibrated(given, given.calibration, self._members)

    def _calibrated(self, given: Spread, file: str, members: Members) -> Calibration:
        comm, own = self._assembly.problem.kinematics.unknowns.comm, self._setup.body.model
        with in_key(f"model_error.calibration = {file}"):
            with all_or_none(comm, "reading labelled cells"):
                cells = read_cells(self._setup.case.path(file), own.numbers)
            return calibrate(comm, own, members, cells, given.coverage)

    @property
    def why_not(self) -> str | None:
        """Why nothing is told though it was asked for, or ``None``."""
        if self._given is None or not self._setup.case.coupled:
            return None
        return self._full.why_not

    @cached_property
    def beside(self) -> Beside:
        """The potentials on the atoms of the full atomistic model, made when first asked for. Collective."""
        case, members = self._setup.case, self._members
        assert self._given is not None and members is not None
        radius = self._given.within
        full = self._full.assembly if case.coupled else self._assembly
        body = full.body

        def near(X: Array) -> npt.NDArray[np.bool_]:
            return within(X, body.defects, radius or 0.0, body.gdim)

        return Beside(
            full,
            members,
            None if radius is None else near,
            rim=case.compare.rim,
            tip_radius=case.compare.tip_radius,
        )

    def __call__(self, z: PETSc.Vec, t: float) -> dict[str, Any] | None:
        """What the other potentials say of a solution, for ``result.json``; ``None`` where nothing is told."""
        if self._given is None or self.why_not is not None:
            return None
        whole = self.beside.whole
        y = _positions(self._assembly, z, t, whole, self._setup.case.coupled)
        asked = self._goals.functionals(whole, t)
        functionals = {name: one for name, (one, _, _) in asked.items()}
        found = self.beside(unknowns_of(whole, y, t), t, functionals)
        return self._told(found, {name: (unit, size) for name, (_, unit, size) in asked.items()})

    def _told(self, found: Apart, units: Mapping[str, tuple[str, float]]) -> dict[str, Any]:
        assert self._members is not None
        known = self.calibration
        factor = known.forces if known is not None else 1.0
        of_energy = known.energy if known is not None and known.energy is not None else factor
        quantities = {
            name: _change(one, factor, *units[name]) for name, one in found.quantities.items()
        }
        energy = None if found.energy is None else _change(found.energy, of_energy, "eV", 1.0)
        norm = found.energy_norm
        return {
            "kind": self._members.sort,
            "norm": found.kind,
            "potentials": len(self._members.potentials),
            "atoms": found.atoms,
            "rms_force": factor * found.rms_force,
            "largest_force": factor * found.largest_force,
            "elasticity_norm": factor * found.elasticity_norm,
            "energy_norm": None if norm is None else factor * norm,
            "total_h1": factor * found.total_h1,
            "tip_h1": factor * found.tip_h1,
            "energy": energy,
            "quantities": quantities,
            "calibration": None if known is None else dataclasses.asdict(known),
            "products": found.products,
        }


def _change(one: Change, factor: float, unit: str, size: float) -> dict[str, Any]:
    change = None if one.change is None else one.change / size
    return {"unit": unit, "change": change, "size": factor * one.size / size}


def _positions(run: Assembly, z: PETSc.Vec, t: float, whole: Assembly, coupled: bool) -> Array:
    """Positions of the free atoms of ``whole`` in a state of the run, in its order, ``(n, 3)`` [Å]. Collective."""
    if coupled:
        return lift_to(run, z, t, whole)
    y, known = whole.X.copy(), run.problem.gather(z, t)
    distance, match = spatial.cKDTree(run.X).query(whole.X)
    same = distance < SAME
    y[same] = known[match[same]]
    return y


def _members(setup: Setup, rank: int | None) -> Members:
    """The other potentials of a case. Rank-local."""
    case, own, crystal = setup.case, setup.body.model, setup.body.crystal
    given = case.model_error
    elements = [chemical_symbols[int(z)] for z in crystal.crystal.numbers]
    if isinstance(given, ReferenceBeside):
        with in_section("model_error.potential"):
            other = potential_beside(given.potential, elements, case.path(""), crystal, rank)
        return Members("reference", (other,))
    if isinstance(given, PopsBeside):
        assert isinstance(own, Parametric)
        with in_key(f"model_error.file = {given.file}"):
            return Members("pops", read_draws(case.path(given.file), own))
    assert isinstance(given, CommitteeBeside) and isinstance(case.potential, PotentialInput)
    if isinstance(own, Committee):
        return Members("committee", own.members)
    others: list[Potential] = []
    for file in given.files:
        with in_key(f"model_error.files = {file}"):
            section = case.potential.model_copy(update={"file": file})
            others.append(potential_beside(section, elements, case.path(""), crystal, rank))
    return Members("committee", (own, *others))


@contextmanager
def in_key(key: str) -> Iterator[None]:
    """Let messages about a file begin with the key that names it."""
    try:
        yield
    except CaseError as error:
        raise CaseError([f"{key}: {problem}" for problem in error.problems]) from error
