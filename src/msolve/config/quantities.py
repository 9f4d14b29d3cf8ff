# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Types of input values: what each accepts, what it becomes, how it is written out again.

Quantities arrive as text with a unit and become plain floats in msolve's units. Written to JSON
they are text with a unit again, so that a result holds an input that can be run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import PlainSerializer, PlainValidator

from msolve.units import (
    FORCE_DENSITY,
    GRADIENT,
    LENGTH,
    STRAIN,
    STRESS,
    STRESS_INTENSITY,
    Dimension,
    split,
)

RELATIVE_UNIT = "K_G"


@dataclass(frozen=True)
class Accepts:
    """What a type takes, in words for the input reference."""

    words: str


@dataclass(frozen=True)
class StressIntensity:
    """A mode-I stress intensity, absolute or as a multiple of Griffith's.

    Attributes:
        value: [eV/Å^2.5], or [-] if relative.
        relative: Whether it counts in K_G, at which the energy release rate is twice the surface
            energy of the potential in use.
    """

    value: float
    relative: bool

    def absolute(self, K_G: float) -> float:
        """Its value [eV/Å^2.5], given Griffith's ``K_G`` [eV/Å^2.5]."""
        return self.value * K_G if self.relative else self.value

    def __str__(self) -> str:
        """As it would stand in an input file."""
        if self.relative:
            return f"{self.value!r} {RELATIVE_UNIT}"
        return STRESS_INTENSITY.text(self.value)

    @classmethod
    def read(cls, written: object) -> StressIntensity:
        """Read ``"1.05 K_G"`` or ``"1.5 MPa*m^0.5"``.

        Raises:
            ValueError: It is neither.
        """
        if isinstance(written, cls):
            return written
        if isinstance(written, str):
            number, unit = split(written)
            if unit == RELATIVE_UNIT and number is not None and np.isfinite(number):
                return cls(number, relative=True)
        try:
            return cls(STRESS_INTENSITY.value(written), relative=False)
        except ValueError as error:
            raise ValueError(f"{error}, or '1.05 {RELATIVE_UNIT}'") from None


def _positive(written: object) -> float:
    value = LENGTH.value(written)
    if value <= 0:
        raise ValueError("must be greater than 0")
    return value


def _not_negative(written: object) -> float:
    value = LENGTH.value(written)
    if value < 0:
        raise ValueError("must not be negative")
    return value


def _gradient(written: object) -> float:
    value = GRADIENT.value(written)
    if value <= 0:
        raise ValueError("must be greater than 0")
    return value


def _or_word(word: str, read: Callable[[object], float]) -> Callable[[object], float | str]:
    def either(written: object) -> float | str:
        if written == word:
            return word
        try:
            return read(written)
        except ValueError as error:
            raise ValueError(f"{error}, or {word!r}") from None

    return either


def _length_text(value: float | str | None) -> str | None:
    return LENGTH.text(value) if isinstance(value, float) else value


def _intensities(written: object) -> tuple[StressIntensity, ...]:
    if isinstance(written, Mapping):
        return _ramp(written)
    if isinstance(written, (list, tuple)):
        if not written:
            raise ValueError("needs at least one load step")
        return tuple(StressIntensity.read(one) for one in written)
    return (StressIntensity.read(written),)


def _ramp(written: Mapping[str, Any]) -> tuple[StressIntensity, ...]:
    if set(written) != {"from", "to", "steps"}:
        raise ValueError("a ramp needs exactly the keys from, to, steps")
    first, last = StressIntensity.read(written["from"]), StressIntensity.read(written["to"])
    count = written["steps"]
    if first.relative != last.relative:
        raise ValueError("from and to need the same unit")
    if not isinstance(count, int) or isinstance(count, bool) or count < 2:
        raise ValueError("steps of a ramp must be an integer of at least 2; it counts both ends")
    values = np.linspace(first.value, last.value, count)
    return tuple(StressIntensity(float(value), first.relative) for value in values)


def _fractions(written: object) -> tuple[float, ...]:
    wanted = "needs a number of equal load steps, or a list of fractions such as [0.5, 1.0]"
    if isinstance(written, int) and not isinstance(written, bool):
        if written < 1:
            raise ValueError(wanted)
        return tuple((k + 1) / written for k in range(written))
    if not isinstance(written, (list, tuple)) or not written:
        raise ValueError(wanted)
    numbers = tuple(one for one in written if isinstance(one, (int, float)) and np.isfinite(one))
    if len(numbers) != len(written) or any(isinstance(one, bool) for one in written):
        raise ValueError(wanted)
    return tuple(float(one) for one in numbers)


def _miller(written: object) -> tuple[int, int, int]:
    if (
        not isinstance(written, (list, tuple))
        or len(written) != 3
        or any(not isinstance(one, int) or isinstance(one, bool) for one in written)
        or not any(written)
    ):
        raise ValueError("needs a lattice direction of three integers, e.g. [1, -1, 0]")
    return (written[0], written[1], written[2])


def _coordinate(written: object) -> float:
    # A zero is the same in every unit.
    return 0.0 if written == 0 and not isinstance(written, bool) else LENGTH.value(written)


def _point(written: object) -> tuple[float, float, float]:
    if not isinstance(written, (list, tuple)) or len(written) not in (2, 3):
        raise ValueError("needs two or three lengths, e.g. ['0 angstrom', '10 angstrom']")
    read = [_coordinate(one) for one in written]
    return (read[0], read[1], read[2] if len(read) == 3 else 0.0)


def _direction(written: object) -> tuple[float, float, float]:
    if (
        not isinstance(written, (list, tuple))
        or len(written) != 3
        or any(not isinstance(one, (int, float)) or isinstance(one, bool) for one in written)
        or not all(math.isfinite(one) for one in written)
        or not any(written)
    ):
        raise ValueError("needs a direction of three numbers that are not all zero, e.g. [0, 1, 0]")
    return (float(written[0]), float(written[1]), float(written[2]))


def _components(
    dimension: Dimension, free: bool = False
) -> Callable[[object], tuple[float | None, ...]]:
    """Reads a vector of three quantities; with ``free``, null components are left free."""

    def read(written: object) -> tuple[float | None, ...]:
        if not isinstance(written, (list, tuple)) or len(written) != 3:
            also = " or null" if free else ""
            raise ValueError(f"needs three values, each a {dimension.name}{also}")
        found: list[float | None] = []
        for one in written:
            if one is None and free:
                found.append(None)
            else:
                zero = one == 0 and not isinstance(one, (bool, str))
                found.append(0.0 if zero else dimension.value(one))
        return tuple(found)

    return read


def _components_text(dimension: Dimension) -> Callable[[Any], list[str | None]]:
    return lambda values: [None if x is None else dimension.text(x) for x in values]


def _vectors(written: object) -> tuple[tuple[float, float, float], ...]:
    if not isinstance(written, (list, tuple)) or len(written) != 3:
        raise ValueError("needs three lattice vectors, each of three lengths")
    if any(not isinstance(row, (list, tuple)) or len(row) != 3 for row in written):
        raise ValueError("needs three lattice vectors, each of three lengths")
    return tuple(_point(row) for row in written)


def _matrix(written: object) -> tuple[tuple[float, ...], ...]:
    try:
        matrix = np.array(written, dtype=float)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise ValueError("needs a 3 x 3 matrix of numbers")
    if np.linalg.det(matrix) <= 0:
        raise ValueError("needs a positive determinant")
    return tuple(tuple(float(x) for x in row) for row in matrix)


def _symbol(written: object) -> str:
    # Imported here: a list of a hundred names that only inputs need.
    from ase.data import atomic_numbers

    if not isinstance(written, str) or atomic_numbers.get(written, 0) < 1:
        raise ValueError("needs the symbol of a chemical element, e.g. W")
    return written


def _options(written: object) -> dict[str, str]:
    if not isinstance(written, Mapping):
        raise ValueError("needs a mapping of option names to values")
    options = {}
    for name, value in written.items():
        if not isinstance(name, str) or name.startswith("-"):
            raise ValueError(f"option {name!r}: names stand without a leading dash")
        if isinstance(value, bool):
            options[name] = "true" if value else "false"
        elif value is None or isinstance(value, (str, int, float)):
            options[name] = "" if value is None else str(value)
        else:
            raise ValueError(f"option {name!r} needs a word or a number")
    return options


def _keywords(written: object) -> dict[str, Any]:
    if not isinstance(written, Mapping):
        raise ValueError("needs a mapping of names to values")
    for name, value in written.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"{name!r} is no name of an argument")
        _check_plain(name, value)
    return dict(written)


def _check_plain(name: str, value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"argument {name!r}: must be a finite number")
    if isinstance(value, (list, tuple)):
        for one in value:
            _check_plain(name, one)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            _check_plain(f"{name}.{key}", one)
    elif value is not None and not isinstance(value, (bool, int, float, str)):
        raise ValueError(f"argument {name!r}: needs numbers, words, lists or mappings of them")


def _typed(
    read: Callable[[Any], Any], words: str, write: Callable[[Any], Any] = lambda value: value
) -> tuple[Any, ...]:
    """Metadata of a type: how it is read, described and written."""
    return PlainValidator(read), Accepts(words), PlainSerializer(write, when_used="json")


def _point_text(point: tuple[float, ...]) -> list[str]:
    return [LENGTH.text(x) for x in point]


PositiveLength = Annotated[float, *_typed(_positive, "length > 0", _length_text)]
Width = Annotated[float, *_typed(_not_negative, "length >= 0", _length_text)]
Coordinate = Annotated[float, *_typed(_coordinate, "length", LENGTH.text)]
Gradient = Annotated[float, *_typed(_gradient, "energy gradient > 0", GRADIENT.text)]
StrainValue = Annotated[float, *_typed(STRAIN.value, "number or %", float)]
FromPotential = Literal["from_potential"]
LatticeLength = Annotated[
    float | FromPotential,
    *_typed(_or_word("from_potential", _positive), "length > 0, or `from_potential`", _length_text),
]
Spacing = Annotated[
    float | Literal["lattice"],
    *_typed(_or_word("lattice", _positive), "length > 0, or `lattice`", _length_text),
]
LargestSize = Annotated[
    float | Literal["unbounded"],
    *_typed(_or_word("unbounded", _positive), "length > 0, or `unbounded`", _length_text),
]
Point = Annotated[tuple[float, float, float], *_typed(_point, "two or three lengths", _point_text)]
Displacement = Annotated[
    tuple[float | None, float | None, float | None],
    *_typed(
        _components(LENGTH, free=True), "three lengths, null where free", _components_text(LENGTH)
    ),
]
TractionVector = Annotated[
    tuple[float, float, float],
    *_typed(_components(STRESS), "three stresses", _components_text(STRESS)),
]
ForceDensity = Annotated[
    tuple[float, float, float],
    *_typed(_components(FORCE_DENSITY), "three forces per volume", _components_text(FORCE_DENSITY)),
]
Vectors = Annotated[
    tuple[tuple[float, float, float], ...],
    *_typed(_vectors, "three vectors of lengths", lambda rows: [_point_text(row) for row in rows]),
]
Matrix = Annotated[tuple[tuple[float, ...], ...], *_typed(_matrix, "3 x 3 numbers")]
Miller = Annotated[tuple[int, int, int], *_typed(_miller, "three integers")]
Direction = Annotated[tuple[float, float, float], *_typed(_direction, "three numbers")]
Symbol = Annotated[str, *_typed(_symbol, "element symbol")]
Intensities = Annotated[
    tuple[StressIntensity, ...],
    *_typed(
        _intensities,
        "stress intensity, list of them, or `{from, to, steps}`",
        lambda steps: [str(step) for step in steps],
    ),
]
Fractions = Annotated[
    tuple[float, ...], *_typed(_fractions, "number of steps, or list of fractions")
]
PetscOptions = Annotated[dict[str, str], *_typed(_options, "mapping of names to values")]
Keywords = Annotated[dict[str, Any], *_typed(_keywords, "mapping of names to values")]
