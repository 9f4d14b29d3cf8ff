# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Quantities read from text, and constants against values known from elsewhere."""

from __future__ import annotations

import math

import pytest

from msolve import units


def test_constants_agree_with_tabulated_ones():
    assert pytest.approx(160.21766, rel=1e-7) == 1 / units.GPA
    # 1 MPa√m in eV/Å^2.5: 1e6 Pa / (160.21766e9 Pa) x 1e5.
    assert units.MPA_SQRT_M == pytest.approx(0.62415091, rel=1e-7)
    assert units.J_PER_M2 == pytest.approx(1 / 16.021766, rel=1e-7)


@pytest.mark.parametrize(
    ("written", "dimension", "expected"),
    [
        ("8 angstrom", units.LENGTH, 8.0),
        ("8angstrom", units.LENGTH, 8.0),
        ("-1.5 Å", units.LENGTH, -1.5),
        ("2 nm", units.LENGTH, 20.0),
        ("160.2176634 GPa", units.STRESS, 1.0),
        ("1e-4 eV/angstrom", units.GRADIENT, 1e-4),
        ("1.5 MPa*m^0.5", units.STRESS_INTENSITY, 1.5 * units.MPA_SQRT_M),
        ("1.5 MPa * m**0.5", units.STRESS_INTENSITY, 1.5 * units.MPA_SQRT_M),
        ("3 %", units.STRAIN, 0.03),
        ("0.03", units.STRAIN, 0.03),
        (0.03, units.STRAIN, 0.03),
    ],
)
def test_quantities_are_read(written, dimension, expected):
    assert dimension.value(written) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("written", "dimension", "message"),
    [
        (8, units.LENGTH, "needs a length with a unit (angstrom, nm, um), e.g. '8 angstrom'"),
        ("8", units.LENGTH, "needs a length with a unit"),
        (True, units.LENGTH, "needs a length with a unit"),
        ("angstrom", units.LENGTH, "needs a length with a unit"),
        ("8 GPa", units.LENGTH, "'GPa' is no unit of length"),
        (".inf angstrom", units.LENGTH, "must be a finite number"),
        ("nan %", units.STRAIN, "must be a finite number"),
        (math.inf, units.STRAIN, "must be a finite number"),
        (160, units.STRESS, "GPa"),
        (1.5, units.STRESS_INTENSITY, "MPa*m^0.5"),
    ],
)
def test_what_is_no_quantity_is_told_what_would_do(written, dimension, message):
    with pytest.raises(ValueError, match=r"needs|unit|finite") as caught:
        dimension.value(written)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [8.0, 1 / 3, 1e-17, -2.5e5])
def test_what_is_written_reads_as_the_same_number(value):
    for dimension in (units.LENGTH, units.STRESS, units.STRESS_INTENSITY, units.STRAIN):
        assert dimension.value(dimension.text(value)) == value
