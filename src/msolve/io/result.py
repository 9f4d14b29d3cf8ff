# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a run found, and ``result.json``, which other programs read.

The keys of that file are the attributes of the classes below; they are documented in
``docs/outputs.md`` and do not change their meaning. Fields and atoms are written elsewhere.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from msolve import __version__
from msolve.io.files import write_whole

RESULT = "result.json"
"""Name of the file in the output folder."""

FORMAT = 1
"""Version of the layout of ``result.json``; grows when a key changes its meaning."""


@dataclass(frozen=True)
class Step:
    """One load step.

    Attributes:
        index: Counts from 0.
        load: Amplitude, in ``load_unit``.
        load_unit: ``"K_G"``, ``"MPa*m^0.5"``, or ``"1"`` for the fraction of a homogeneous
            deformation.
        energy: Energy of the model that was solved, per period along the front and relative to the
            perfect crystal where msolve knows it [eV]; nan if the method has no energy.
        residual_norm: Largest component of the residual at the end [eV/Å].
        iterations: Iterations of all solvers together.
        converged: Whether the residual met its tolerance.
        free_atoms: Atoms that are unknowns.
        evaluated_atoms: Atoms whose site energies are computed.
        mesh_nodes: Nodes of the finite-element mesh; 0 without one.
        unknowns: Displacement components that are solved for.
        lowest_eigenvalue: Lowest eigenvalue of the Hessian relative to linear elasticity [-];
            ``None`` if it was not asked for.
        tip_position: Where the crack tip is, (x1, x2) in the reference crystal [Å]; ``None``
            without a crack.
        largest_force_spread: How far the members of a committee are apart, where they are furthest [eV/Å];
            ``None`` without a committee.
        estimate: Estimated error against the full atomistic model, see ``msolve.estimate.Estimate``; ``None`` where
            it was not asked for or cannot be had.
        certificate: What is certified of the full atomistic model's solution, see
            ``msolve.certificate.numbers.Certificate``; ``None`` where it was not asked for or cannot be had.
        quantities: Numbers that were asked for, by name, see ``msolve.goals.Goal.told``; ``None`` where there are none.
        model_error: The potential's own error, see ``docs/outputs.md``; ``None`` where it was not asked for.
        handshake: What the guard said of the learned handshake, see ``msolve.guarded.Verdict``; ``None`` without one.
        seconds: Wall time by phase.
        potential_seconds: Of these, what the potential took on the first rank: for ``"atoms"`` and for the
            Cauchy-Born law of the ``"continuum"``; the rest is msolve's own.
        histories: Largest residual component [eV/Å] per iteration, by solver, in order.
    """

    index: int
    load: float
    load_unit: str
    energy: float
    residual_norm: float
    iterations: int
    converged: bool
    free_atoms: int
    evaluated_atoms: int
    mesh_nodes: int
    unknowns: int
    lowest_eigenvalue: float | None = None
    tip_position: tuple[float, float] | None = None
    largest_force_spread: float | None = None
    estimate: Mapping[str, Any] | None = None
    certificate: Mapping[str, Any] | None = None
    quantities: Mapping[str, Any] | None = None
    model_error: Mapping[str, Any] | None = None
    handshake: Mapping[str, Any] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    potential_seconds: Mapping[str, float] = field(default_factory=dict)
    histories: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ComparisonResult:
    """The last load step against the full atomistic model on the same domain.

    Attributes:
        total_h1: Error norm inside the rim, see ``docs/conventions.md`` [Å per period].
        tip_h1: The same norm over the bonds near the tip or defect [Å per period].
        relative_h1: ``total_h1`` over the norm of the reference's own corrector [-].
        max_displacement_error: Largest displacement error of an atom inside the rim [Å].
        energy_error: Energy of the full model at the lifted solution minus at its own [eV/period].
        atomistic_atoms: Free atoms of the full model.
        atomistic_iterations: Iterations it took.
        atomistic_seconds: Wall time of its solve.
    """

    total_h1: float
    tip_h1: float
    relative_h1: float
    max_displacement_error: float
    energy_error: float
    atomistic_atoms: int
    atomistic_iterations: int
    atomistic_seconds: float


@dataclass(frozen=True)
class Result:
    """A whole run.

    Attributes:
        status: ``"converged"`` or ``"not converged"``; ``"running"`` until all is done, and for good if the
            run was killed.
        case: The input with all defaults written out; it can be run again.
        versions: Of msolve and of what it stands on.
        ranks: Number of MPI ranks.
        material: What the potential gave, by name: ``lattice_constant`` [Å], ``period`` [Å],
            ``elastic_constants`` (6 x 6 Voigt matrix in laboratory axes [GPa]),
            ``surface_energy`` [J/m²], ``K_G`` [MPa√m]; the last two for cracks.
        steps: Load steps in order.
        comparison: Error against the full atomistic model, if it was asked for.
        adaptivity: Why refinement stopped (``stopped``), and a row a round (``rounds``); ``None`` without it.
        seconds: Wall time of the run, by phase, the phases of the steps left out.
        files: Other files of the run, relative to ``result.json``.
    """

    status: str
    case: Mapping[str, Any]
    versions: Mapping[str, str]
    ranks: int
    material: Mapping[str, Any]
    steps: tuple[Step, ...]
    comparison: ComparisonResult | None = None
    adaptivity: Mapping[str, Any] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    files: tuple[str, ...] = ()


def write_result(path: str | Path, result: Result) -> None:
    """Write ``result.json``; a reader never sees half a file. Call it on one rank.

    Numbers that are not finite become ``null``, because JSON has no word for them.
    """
    content = {"format": FORMAT, **asdict(result)}
    text = json.dumps(plain(content), indent=1, allow_nan=False) + "\n"
    write_whole(Path(path), text.encode())


def model_error_told(found: Mapping[str, Any]) -> str:
    """``Step.model_error`` in one line."""
    what = f"{found['total_h1']:.3g} Å in all, {found['tip_h1']:.2g} Å near the defect (H1 norm)"
    if found["kind"] == "reference":
        return f"the potential's own error, to first order: {what}, by its reference"
    source = f"{found['potentials']} {'draws' if found['kind'] == 'pops' else 'members'}"
    known = found["calibration"]
    if known is None:
        return f"spread of the potential: {what}, by {source}, not calibrated"
    return (
        f"the potential's own error, covered to {100 * known['asked']:.3g} % (measured "
        f"{100 * known['covered_forces']:.3g} % of forces): {what}, by {source}"
    )


def versions() -> dict[str, str]:
    """Versions of msolve, Python and of those packages it uses that are installed."""
    found = {"msolve": __version__, "python": platform.python_version()}
    packages = {
        "dolfinx": "fenics-dolfinx",
        "petsc4py": "petsc4py",
        "slepc4py": "slepc4py",
        "mpi4py": "mpi4py",
        "numpy": "numpy",
        "torch": "torch",
        "mace": "mace-torch",
        "nequip": "nequip",
        "allegro": "nequip-allegro",
        "sevenn": "sevenn",
        "chgnet": "chgnet",
    }
    for name, distribution in packages.items():
        try:
            found[name] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return found


def plain(value: Any) -> Any:
    """``value`` in the types that JSON has."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
