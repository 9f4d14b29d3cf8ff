# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Units: what msolve counts in, and how quantities written as text are read and printed.

Inside msolve lengths are angstrom, energies electronvolt, and everything else follows: stresses and
energy densities eV/Å³, surface energies eV/Å², stress intensities eV/Å^2.5. This module converts
text such as ``"1.5 MPa*m^0.5"`` to those numbers; it knows nothing of input files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

JOULE_PER_EV = 1.602176634e-19
"""By definition (SI, 2019)."""

GPA = 1e9 * 1e-30 / JOULE_PER_EV
"""One gigapascal in eV/Å³; 1 eV/Å³ = 160.2176634 GPa."""

MPA_SQRT_M = 1e-3 * GPA * 1e5
"""One MPa√m in eV/Å^2.5, 0.624151; √m is 1e5 √Å."""

J_PER_M2 = 1e-20 / JOULE_PER_EV
"""One J/m² in eV/Å², 0.0624151."""


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity: its units, and which of them msolve counts in.

    Attributes:
        name: What messages call it.
        base: Unit of the bare numbers inside msolve; printed by ``text``.
        units: Size of each unit in the base unit. The spellings offered in messages come first.
        example: A value as a user would write it.
        bare: Whether a number without unit is accepted.
    """

    name: str
    base: str
    units: Mapping[str, float]
    example: str
    bare: bool = False

    def value(self, written: object) -> float:
        """Read a quantity.

        Args:
            written: Text of a number and a unit, e.g. ``"8 angstrom"``.

        Returns:
            Its value in the base unit.

        Raises:
            ValueError: There is no unit, or not one of this dimension, or the number is not finite.
        """
        if isinstance(written, (int, float)) and not isinstance(written, bool):
            if not self.bare:
                raise ValueError(self._wanted())
            return _finite(float(written))
        if not isinstance(written, str):
            raise ValueError(self._wanted())
        number, unit = split(written)
        if number is None or (not unit and not self.bare):
            raise ValueError(self._wanted())
        if not unit:
            return _finite(number)
        factor = self.units.get(unit.replace(" ", "").replace("**", "^"))
        if factor is None:
            raise ValueError(f"{unit!r} is no unit of {self.name}; {self._wanted()}")
        return _finite(number) * factor

    def text(self, value: float) -> str:
        """Write a value in the base unit so that ``value`` reads the same number again."""
        return f"{value!r} {self.base}".rstrip()

    def _wanted(self) -> str:
        offered = list(dict.fromkeys(unit for unit in self.units if unit.isascii()))
        article = "an" if self.name[0] in "aeiou" else "a"
        return (
            f"needs {article} {self.name} with a unit ({', '.join(offered)}), e.g. {self.example!r}"
        )


LENGTH = Dimension(
    "length", "angstrom", {"angstrom": 1.0, "nm": 10.0, "um": 1e4, "Å": 1.0}, "8 angstrom"
)
STRESS = Dimension(
    "stress",
    "eV/angstrom^3",
    {"GPa": GPA, "MPa": 1e-3 * GPA, "eV/angstrom^3": 1.0, "eV/Å^3": 1.0, "eV/Å³": 1.0},
    "160 GPa",
)
GRADIENT = Dimension(
    "energy gradient",
    "eV/angstrom",
    {"eV/angstrom": 1.0, "meV/angstrom": 1e-3, "eV/Å": 1.0, "meV/Å": 1e-3},
    "1e-4 eV/angstrom",
)
STRESS_INTENSITY = Dimension(
    "stress intensity",
    "eV/angstrom^2.5",
    {
        "MPa*m^0.5": MPA_SQRT_M,
        "MPa*sqrt(m)": MPA_SQRT_M,
        "eV/angstrom^2.5": 1.0,
        "MPa√m": MPA_SQRT_M,
        "eV/Å^2.5": 1.0,
    },
    "1.5 MPa*m^0.5",
)
FORCE_DENSITY = Dimension(
    "force per volume",
    "eV/angstrom^4",
    {
        "eV/angstrom^4": 1.0,
        "N/m^3": 1e-40 / JOULE_PER_EV,
        "eV/Å^4": 1.0,
        "eV/Å⁴": 1.0,
    },
    "1e-6 eV/angstrom^4",
)
STRAIN = Dimension("strain", "", {"%": 0.01}, "3 %", bare=True)

_FLOAT = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?\.?(?:inf|nan)"
_NUMBER = re.compile(rf"\s*({_FLOAT})\s*(.*?)\s*")


def split(written: str) -> tuple[float | None, str]:
    """Take ``"8 angstrom"`` apart into ``(8.0, "angstrom")``; the number is ``None`` if none leads.

    >>> split("1.05 K_G")
    (1.05, 'K_G')
    """
    match = _NUMBER.fullmatch(written)
    if match is None:
        return None, written
    return float(match.group(1).replace(".inf", "inf").replace(".nan", "nan")), match.group(2)


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number
