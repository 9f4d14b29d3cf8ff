# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The file of a linear potential: JSON that can be read by eye, some kB; nothing in it is run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from msolve.errors import CaseError
from msolve.potentials.linear import LinearModel
from msolve.potentials.linear_basis import DEGREE, Basis

FORMAT, VERSION = "msolve linear potential", 1

_LONGEST = 1000  # entries of a list of sizes, and largest size: beyond, a file is not meant
_MOST_FEATURES = 1_000_000

KEYS = {
    "element": "a chemical symbol",
    "cutoff": "a length > 0 in angstrom",
    "start": "a length in angstrom",
    "pairs": "a whole number > 0",
    "products": "a list of whole numbers >= 0",
    "angular": "a list of whole numbers >= 0",
    "offset": "a finite number in eV",
    "coefficients": "a list of finite numbers in eV",
}


def linear_text(model: LinearModel) -> str:
    """What stands in the file of a model; read again it gives the same model to the last digit."""
    basis = model.basis
    head: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "element": chemical_symbols[min(model.numbers)],
        "cutoff": basis.cutoff,
        "start": basis.start,
        "pairs": basis.pairs,
        "products": list(basis.products),
        "angular": list(basis.angular),
        "offset": model.offset,
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    numbers = ",\n  ".join(repr(float(c)) for c in model.coefficients)
    return "\n".join(["{", *lines, f' "coefficients": [\n  {numbers}\n ]', "}", ""])


def read_linear(path: str | Path, device: str = "cpu") -> LinearModel:
    """Read a model.

    Args:
        path: The file.
        device: ``"cpu"`` or ``"cuda:N"``.

    Raises:
        CaseError: The file cannot be read, or is not such a file in every detail.
    """
    file = Path(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CaseError([f"cannot be read: {error.strerror}"], source=str(file)) from error
    except (ValueError, RecursionError) as error:
        raise CaseError(
            [f"is no whole linear potential: it is not valid JSON ({error})"], source=str(file)
        ) from error
    problems = _problems(content)
    if problems:
        raise CaseError(problems, source=str(file))
    return LinearModel(
        _basis(content),
        atomic_numbers[content["element"]],
        content["offset"],
        np.array(content["coefficients"], dtype=np.float64),
        file.name,
        device,
    )


def _basis(content: dict[str, Any]) -> Basis:
    return Basis(
        float(content["cutoff"]),
        float(content["start"]),
        content["pairs"],
        tuple(content["products"]),
        tuple(content["angular"]),
    )


def _problems(content: Any) -> list[str]:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return [f"is no linear potential: its format is not {FORMAT!r}"]
    if content.get("version") != VERSION:
        return [
            f"has version {content.get('version')!r}; this msolve reads version {VERSION}: train it again"
        ]
    right = {
        "element": content.get("element") in chemical_symbols[1:],
        "cutoff": _number(content.get("cutoff")) and 0 < content["cutoff"],
        "start": _number(content.get("start")),
        "pairs": _sizes([content.get("pairs")]) and content["pairs"] > 0,
        "products": _sizes(content.get("products")),
        "angular": _sizes(content.get("angular")),
        "offset": _number(content.get("offset")),
        "coefficients": isinstance(content.get("coefficients"), list)
        and all(_number(c) for c in content["coefficients"]),
    }
    problems = [f"{key}: should be {KEYS[key]}" for key, good in right.items() if not good]
    if problems:
        return problems
    return _disagreements(_basis(content), content["coefficients"])


def _disagreements(basis: Basis, coefficients: list[Any]) -> list[str]:
    wrong = start_problem(basis)
    if wrong:
        return [f"start: {wrong}"]
    expected = basis.pairs + sum(math.comb(n + p - 1, p) for p, n in enumerate(basis.products, 2))
    expected += sum(n * (n + 1) // 2 for n in basis.angular)
    if expected > _MOST_FEATURES or len(coefficients) != expected:
        return [
            f"coefficients: there are {len(coefficients)}, but pairs, products and angular ask for {expected}"
        ]
    return []


def start_problem(basis: Basis) -> str | None:
    """What is wrong with where the pair splines begin, if anything."""
    if not 0 < basis.start < basis.cutoff:
        return f"{basis.start:g}: must lie between 0 and the cutoff"
    if basis.start <= DEGREE * basis.spacing:
        return (
            f"{basis.start:g}: splines {basis.spacing:g} angstrom apart would begin below distance zero; more "
            "pairs or a longer start would do"
        )
    return None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _sizes(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _LONGEST
        and all(type(n) is int and 0 <= n <= _LONGEST for n in value)
    )
