# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""From sections of an input to a potential, the crystal that it holds at rest, and a handshake learned from it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers, chemical_symbols, covalent_radii, reference_states
from numpy.typing import NDArray

from msolve.config import (
    AnyPotential,
    CalculatorPotential,
    Case,
    CrystalInput,
    GapPotential,
    KimPotential,
    OwnPotential,
    TorchSimPotential,
)
from msolve.config import Potential as PotentialInput
from msolve.crystal import Crystal, OrientedCrystal
from msolve.errors import UNNAMED, CaseError, ConvergenceError, UnsupportedError
from msolve.handshake.operator import FlankModel, load_flank_model
from msolve.handshake.slab import Slab, layers_below
from msolve.io.files import digest
from msolve.potentials import Potential, load_potential
from msolve.potentials.blackbox import BlackBox, examined, with_noise
from msolve.potentials.loading import pick_device
from msolve.potentials.rest import relaxed_lattice, softest_strain
from msolve.units import GPA

_log = logging.getLogger("msolve")

SOFTEST, HARDEST = 0.01, 1500.0
"""Bulk moduli that a potential may give [GPa]; solid helium has 0.03, diamond 443."""


SLACK = 1e-6
"""A strain counts as resisted where its modulus is above this part of the largest elastic constant."""


def potential_and_crystal(case: Case, local_rank: int | None) -> tuple[Potential, OrientedCrystal]:
    """The potential, and the crystal that it holds at rest; of a black box the ranges are measured in it.

    Raises:
        CaseError: The potential cannot be loaded, or holds no such crystal.
        UnsupportedError: Something it needs is missing.
    """
    try:
        return _potential_and_crystal(case, local_rank)
    except ConvergenceError as error:
        # Nothing has been loaded yet: what fails here is the input.
        told = str(error).removesuffix("; try smaller load steps")
        raise CaseError([f"potential: {told}"]) from error


def _potential_and_crystal(case: Case, local_rank: int | None) -> tuple[Potential, OrientedCrystal]:
    given = case.crystal
    names = given.elements if given.elements else (given.element,)
    declared = given_potential(case.potential, [str(e) for e in names], case.path(""), local_rank)
    if isinstance(declared, BlackBox):
        # The lattice cannot be found better than the forces are known.
        declared = with_noise(declared, _start(given))
    crystal = _crystal(given, declared)
    if not isinstance(declared, BlackBox):
        return declared, crystal
    known = examined(declared, crystal.crystal)
    if "virial" in declared.gives and "virial" not in known.gives:
        # What it calls a virial is none: the lattice has to be found from energies.
        crystal = _crystal(given, known)
    return known, crystal


def check_constants(case: Case, model: Potential, C: NDArray[np.float64]) -> None:
    """Refuse a crystal that the potential does not hold, or whose bulk modulus no solid has.

    The latter is most likely a potential in other units than eV and Å; made-up potentials and flat crystals, which
    have units of their own, are not asked.

    Args:
        case: The case.
        model: The potential, for its name.
        C: Elastic constants, shape ``(3, 3, 3, 3)`` [eV/Å³].

    Raises:
        CaseError: Some strain meets no resistance, or the bulk modulus is far beyond any solid's.
    """
    flat = case.crystal.structure == "triangular"
    modulus = float(np.einsum("iijj", C)) / 9 / GPA
    made_up = case.potential.kind == "toy" or flat
    if not made_up and not SOFTEST < modulus < HARDEST:
        raise CaseError(
            [
                f"potential: with {model.name} the crystal has a bulk modulus of {modulus:.3g} GPa, and no solid's "
                f"lies beyond {SOFTEST:g} to {HARDEST:g} GPa; is it in other units than eV and angstrom?"
            ]
        )
    softest, strain = softest_strain(C, 2 if flat else 3)
    if not softest > SLACK * float(np.abs(C).max()):
        told = ", ".join(
            f"e{i + 1}{j + 1} {strain[i, j]:+.2f}"
            for i in range(len(strain))
            for j in range(i, len(strain))
            if abs(strain[i, j]) > 0.005
        )
        raise CaseError(
            [
                f"crystal.structure = {case.crystal.structure}: {model.name} does not hold this crystal: the strain "
                f"{told} meets a resistance of {softest / GPA:.3g} GPa, which must be above 0; give the structure and "
                "the lattice constant that the potential was made for, or another potential"
            ]
        )


def given_potential(
    given: AnyPotential, elements: Sequence[str], folder: Path, local_rank: int | None = 0
) -> Potential:
    """The potential that a section of an input gives. Rank-local.

    Args:
        given: The section.
        elements: Elements of the crystal, for black boxes that are not told theirs.
        folder: Where relative file names start.
        local_rank: Number of this rank among those of its node that evaluate the potential, which take
            its CUDA devices in turn; ``None`` for a rank that another one works for.

    Returns:
        The potential; of a black box what was declared of it, nothing measured.

    Raises:
        CaseError: It cannot be loaded.
        UnsupportedError: Something it needs is missing.
    """
    if isinstance(given, PotentialInput):
        file = str(folder / given.file) if given.file else "toy"
        # A rank that another works for asks the potential for constants of the crystal only.
        device = "cpu" if local_rank is None else given.device
        try:
            model = load_potential(file, given.kind, device, local_rank or 0, given.precision)
        except CaseError as error:
            named = [f"potential.file = {given.file}: {problem}" for problem in error.problems]
            raise CaseError(named) if given.file and error.source != UNNAMED else error from None
        except UnsupportedError as error:
            if given.file is None or str(error).startswith("potential."):
                raise
            raise UnsupportedError(f"potential.file = {given.file}: {error}") from None
        if not given.committee:
            return model
        from msolve.potentials.committee import Committee

        alone = given.model_copy(update={"committee": ()})
        others = [alone.model_copy(update={"file": other}) for other in given.committee]
        members = (given_potential(other, elements, folder, local_rank) for other in others)
        return Committee([model, *members])  # type: ignore[list-item]
    if isinstance(given, GapPotential):
        from msolve.potentials.gap import load_gap

        return load_gap(folder / given.file)
    if isinstance(given, OwnPotential):
        from msolve.potentials.own import own_model

        return own_model(given.model, given.arguments, folder)
    names = given.elements or elements
    numbers = list(dict.fromkeys(atomic_numbers[name] for name in names))
    if isinstance(given, CalculatorPotential):
        from msolve.potentials.calculator import ase_calculator

        return ase_calculator(given.calculator, given.arguments, numbers, given.cutoff, folder)
    if isinstance(given, TorchSimPotential):
        from msolve.potentials.torchsim import torchsim_model

        where = pick_device("cpu" if local_rank is None else given.device, local_rank or 0)
        return torchsim_model(
            given.model, given.arguments, numbers, given.cutoff, folder, where, given.precision
        )
    from msolve.potentials.lammps import kim_model, lammps_pair_style

    if isinstance(given, KimPotential):
        return kim_model(given.model, numbers)
    return lammps_pair_style(given.pair_style, given.pair_coeff, numbers, folder)


def potential_sha256(case: Case) -> str | None:
    """SHA-256 of the file of a case's potential, in hexadecimal; ``None`` for a potential without one."""
    named = getattr(case.potential, "file", None)
    path = None if named is None else case.path(named)
    return digest(path) if path is not None and path.is_file() else None


def learned_handshake(case: Case, crystal: OrientedCrystal, slab: Slab | None) -> FlankModel | None:
    """The learned handshake that a case asks for, if it does.

    Raises:
        CaseError: It belongs to another crack. Where only the potential's file is another, a warning says so.
    """
    file = case.coupling.handshake.model
    if file is None or slab is None or not case.coupled:
        return None
    model = load_flank_model(case.path(file))
    relaxation = layers_below(slab, model.depths.shape[1])[1]
    wrong = model.fits(crystal.rotation, slab.half_gap, relaxation, case.mesh.degree)
    if wrong is not None:
        raise CaseError(
            [
                f"coupling.handshake.model = {file}: does not belong to this crack: {wrong}; "
                "msolve train handshake makes one, kind: slab needs none"
            ]
        )
    trained, ours = model.card.get("potential_sha256"), potential_sha256(case)
    if trained is not None and ours is not None and trained != ours:
        _log.warning(
            f"coupling.handshake.model = {file}: was trained with another file of a potential, whose surfaces relax as "
            "those of this one do; errors and range told of it are of that file. msolve train handshake makes one"
        )
    return model


def potential_beside(
    given: AnyPotential,
    elements: Sequence[str],
    folder: Path,
    crystal: OrientedCrystal,
    local_rank: int | None,
) -> Potential:
    """Another potential for a crystal that is known, a black box measured in it; arguments as ``given_potential``.

    Raises:
        CaseError: It cannot be loaded, or was not made for the elements.
        UnsupportedError: Something it needs is missing.
    """
    model = given_potential(given, elements, folder, local_rank)
    unknown = sorted({int(n) for n in crystal.crystal.numbers} - model.numbers)
    if unknown:
        strange = ", ".join(chemical_symbols[number] for number in unknown)
        raise CaseError([f"potential: {model.name} was not made for {strange}"])
    if isinstance(model, BlackBox):
        return examined(with_noise(model, crystal.crystal), crystal.crystal)
    return model


def _crystal(given: CrystalInput, model: Potential) -> OrientedCrystal:
    relax = given.lattice_constant == "from_potential"
    crystal = _start(given)
    unknown = sorted({int(n) for n in crystal.numbers} - model.numbers)
    if unknown:
        key = "crystal.elements" if given.structure == "cell" else "crystal.element"
        strange = ", ".join(chemical_symbols[number] for number in unknown)
        known = ", ".join(chemical_symbols[number] for number in sorted(model.numbers))
        raise CaseError([f"{key} = {strange}: the potential {model.name} was made for {known}"])
    if relax:
        crystal = relaxed_lattice(model, crystal)
    turn = given.orientation
    return crystal.oriented(turn.x1, turn.x2, turn.x3)


def _start(given: CrystalInput) -> Crystal:
    """The crystal as the input gives it, before the potential is asked."""
    if given.structure == "cell":
        assert given.cell and given.basis and given.elements
        numbers = [atomic_numbers[e] for e in given.elements]
        return Crystal.from_cell(given.cell, given.basis, numbers)
    assert given.element is not None
    return _named_crystal(given, atomic_numbers[given.element])


def _named_crystal(given: CrystalInput, number: int) -> Crystal:
    a = given.lattice_constant
    if not isinstance(a, float):
        a = _guess(given.structure, number)
    if given.structure in ("hcp", "hexagonal"):
        c = given.c if isinstance(given.c, float) else a * np.sqrt(8 / 3)
        return (Crystal.hcp if given.structure == "hcp" else Crystal.hexagonal)(a, c, number)
    if given.structure == "triangular":
        # Layers so far apart that they do not meet: the crystal is flat.
        return Crystal.triangular(a, 20 * a, number)
    return cubic_crystal(given.structure, number, a)


def cubic_crystal(structure: str, number: int, a: float | None = None) -> Crystal:
    """The crystal ``"bcc"``, ``"fcc"`` or ``"diamond"`` of lattice constant ``a`` [Å], by default a guess."""
    make = {"bcc": Crystal.bcc, "fcc": Crystal.fcc, "diamond": Crystal.diamond}[structure]
    return make(_guess(structure, number) if a is None else a, number)


def _guess(structure: str, number: int) -> float:
    """A lattice constant to start the relaxation from [Å]."""
    if structure == "triangular":
        return 1.0
    known = reference_states[number]
    if known is not None and known.get("symmetry") == structure:
        return float(known["a"])
    neighbours = {"bcc": np.sqrt(3) / 2, "fcc": np.sqrt(0.5), "diamond": np.sqrt(3) / 4}
    return float(2 * covalent_radii[number] / neighbours.get(structure, 1.0))


@contextmanager
def in_section(name: str) -> Iterator[None]:
    """Let messages about a potential name the section that it is given in."""
    try:
        yield
    except CaseError as error:
        told = [
            f"{name}{problem.removeprefix('potential')}"
            if problem.startswith(("potential.", "potential:"))
            else problem
            for problem in error.problems
        ]
        raise CaseError(told, error.source) from error
    except UnsupportedError as error:
        if not str(error).startswith("potential."):
            raise
        raise UnsupportedError(f"{name}.{str(error).removeprefix('potential.')}") from error
