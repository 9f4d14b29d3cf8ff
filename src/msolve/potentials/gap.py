# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Gaussian approximation potentials (GAP), evaluated by QUIP through its Python module quippy.

QUIP gives each atom's own energy, analytic forces and the virial. Its Fortran ends the process where a
file is not as it should be, so the file is read here first.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from msolve.errors import CaseError, UnsupportedError
from msolve.potentials.blackbox import BlackBox
from msolve.potentials.calculator import CalculatorEngine

_ELEMENTS = re.compile(r"(?:^|\s)(?:Z|Z1|Z2|Z3|Z_center|species_Z)\s*=\s*(\{[^}]*\}|\d+)")


@dataclass(frozen=True)
class GapFile:
    """What a GAP file says of itself.

    Attributes:
        label: Name of the fit inside the file.
        numbers: Atomic numbers in its descriptors.
        parameters: Number of coefficients.
    """

    label: str
    numbers: frozenset[int]
    parameters: int


def read_gap(path: str | Path) -> GapFile:
    """Read a GAP file and see that it is whole.

    Args:
        path: XML file of ``gap_fit``.

    Raises:
        CaseError: It is no such file, is cut off, or names files of sparse points that are missing.
    """
    path = Path(path)
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, UnicodeDecodeError, ValueError, OSError) as error:
        raise CaseError([f"is no GAP file, or is cut off: {error}; {_GIVE}"]) from None
    potential, sparse = root.find("Potential"), root.find(".//gpSparse")
    kind = "" if potential is None else potential.get("init_args", "")
    if sparse is None or not kind.startswith("IP GAP"):
        raise CaseError([f"is no GAP file: holds no fitted GAP; {_GIVE}"])
    numbers, parameters, problems = set[int](), 0, list[str]()
    blocks = sparse.findall("gpCoordinates")
    for k, block in enumerate(blocks):
        text = block.findtext("descriptor", "")
        for found in _ELEMENTS.findall(text):
            numbers |= {int(z) for z in re.findall(r"\d+", found)}
        expected = int(block.get("n_sparseX", "0"))
        alphas = [point.get("alpha", "nan") for point in block.findall("sparseX")]
        if not alphas or len(alphas) != expected or not all(map(_is_number, alphas)):
            problems.append(f"descriptor {k + 1} lacks some of its {expected} coefficients")
        beside = block.get("sparseX_filename")
        if beside and not (path.parent / beside).is_file():
            problems.append(f"needs the file {beside} beside it")
        parameters += expected
    if int(sparse.get("n_coordinate", "0")) != len(blocks) or not blocks:
        problems.append("lacks descriptors")
    # Without elements in its descriptors a file serves any.
    if not numbers - {0}:
        problems.append("names no elements in its descriptors (Z=, Z1=, species_Z=)")
    if problems:
        raise CaseError(
            [f"is a damaged GAP file: {problem}; {_GIVE}" for problem in dict.fromkeys(problems)]
        )
    label = str(sparse.get("label") or path.stem)
    return GapFile(label, frozenset(numbers - {0}), parameters)


def load_gap(path: str | Path) -> BlackBox:
    """A GAP of a file; its elements are those of the file, its cutoff what QUIP says.

    Args:
        path: XML file of ``gap_fit``.

    Raises:
        CaseError: The file is not one that can be used.
        UnsupportedError: quippy is not installed.
    """
    path = Path(path)
    try:
        known = read_gap(path)
    except CaseError as error:
        named = [f"potential.file = {path.name}: {problem}" for problem in error.problems]
        raise CaseError(named) from None
    calculator = _quippy(path)
    return BlackBox(
        name=path.stem,
        engine=CalculatorEngine(calculator, path.stem),
        numbers=known.numbers,
        cutoff=float(calculator._quip_potential.cutoff()),
        reach=2 * float(calculator._quip_potential.cutoff()),
        gives=frozenset({"energy", "gradient", "site_energy", "virial"}),
    )


_GIVE = "give the file that gap_fit wrote"


def _quippy(path: Path) -> Any:
    try:
        from quippy.potential import Potential
    except ImportError as error:
        raise UnsupportedError(
            f"potential.kind = gap: needs the package quippy-ase, which cannot be imported ({error}); "
            "install msolve[gap]"
        ) from error
    # quippy goes to the file's folder, and stays there if it cannot read the file.
    here = Path.cwd()
    try:
        calculator = Potential(param_filename=str(path.resolve()))
    except RuntimeError as error:
        os.chdir(here)
        raise CaseError(
            [f"potential.file = {path.name}: QUIP cannot read it: {_short(error)}; {_GIVE}"]
        ) from error
    # Asked one by one, each would be a call of its own.
    calculator.set_default_properties(["energy", "forces", "energies", "stress"])
    return calculator


def _short(error: RuntimeError) -> str:
    """The last line of what QUIP says, without the padding of Fortran's strings."""
    lines = [line.strip() for line in str(error).split("\n") if line.isprintable() and line.strip()]
    return re.sub(r"\s{2,}", " ", lines[-1])[:200] if lines else "no reason given"


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) < float("inf")
    except ValueError:
        return False
