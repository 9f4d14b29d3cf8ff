# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The loads of an input: fields on the whole outer boundary, or loads on the named parts of a mesh."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from msolve.config.quantities import (
    Coordinate,
    Displacement,
    ForceDensity,
    Fractions,
    Intensities,
    Matrix,
    StrainValue,
    TractionVector,
)
from msolve.config.sections import Flag, Section


class Strain(Section):
    """A symmetric small strain in laboratory axes; in the plane no component with a 3."""

    e11: StrainValue = Field(default=0.0, description="Stretch along x1.")
    e22: StrainValue = Field(default=0.0, description="Stretch along x2.")
    e12: StrainValue = Field(
        default=0.0, description="Shear, tensor component: half the change of angle."
    )
    e33: StrainValue = Field(default=0.0, description="Stretch along x3.")
    e13: StrainValue = Field(default=0.0, description="Shear.")
    e23: StrainValue = Field(default=0.0, description="Shear.")

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The strain tensor, shape ``(3, 3)`` [-]."""
        return np.array(
            [
                [self.e11, self.e12, self.e13],
                [self.e12, self.e22, self.e23],
                [self.e13, self.e23, self.e33],
            ]
        )


class AffineLoad(Section):
    """A homogeneous deformation of the outer boundary."""

    kind: Literal["affine"] = Field(description="Homogeneous deformation.")
    F: Matrix | None = Field(
        default=None,
        description="Deformation gradient at full load; in the plane its third column is 0, 0, 1, because "
        "the period along x3 stays that of the crystal at rest.",
    )
    strain: Strain | None = Field(
        default=None, description="Small strain at full load, F = 1 + strain; instead of `F`."
    )
    steps: Fractions = Field(
        default=(1.0,), description="Load steps, as fractions of the full load."
    )
    predictor: Flag = Field(
        default=True,
        description="Whether the unknowns correct the homogeneous field, or start from zero.",
    )

    @property
    def deformation(self) -> NDArray[np.float64]:
        """Deformation gradient at full load, shape ``(3, 3)`` [-]."""
        if self.F is not None:
            return np.array(self.F)
        return np.eye(3) + (self.strain.matrix if self.strain is not None else 0.0)


class KFieldLoad(Section):
    """The anisotropic near-tip field of a crack at the outer boundary, in any mixture of modes."""

    kind: Literal["k_field"] = Field(description="K-field of a crack.")
    K: Intensities = Field(
        description="Stress intensity of each load step, absolute or in `K_G`, Griffith's value "
        "in mode I for the surface energy of the potential."
    )
    mode: tuple[float, float, float] = Field(
        default=(1.0, 0.0, 0.0),
        description="What `K` multiplies: `[1, 0.2, 0]` loads with K_I = K and K_II = 0.2 K; the "
        "third number is for K_III.",
    )
    tip: Coordinate = Field(
        default=0.0,
        description="x1 of the field's tip; the cut itself always ends at the origin. A tip ahead "
        "of it opens bonds that are not cut.",
    )
    predictor: Flag = Field(
        default=True, description="Whether the unknowns correct the K-field, or start from zero."
    )


class HeldInput(Section):
    """A named part of the mesh whose displacement is prescribed, as a whole or by components."""

    on: str = Field(description="Physical group of points or of the boundary.")
    value: Displacement | None = Field(
        default=None, description="Displacement at full load; null components are free."
    )
    F: Matrix | None = Field(
        default=None,
        description="Instead of `value`: u = (F - 1) X at full load, all components; its third "
        "column is 0, 0, 1 in quasi-two-dimensional problems.",
    )


class TractionInput(Section):
    """A dead load on a named part of the boundary, per area of the undeformed body."""

    on: str = Field(description="Physical group of the boundary.")
    value: TractionVector = Field(description="Traction at full load.")


class BodyForceInput(Section):
    """A dead load inside, per volume of the undeformed body."""

    on: str = Field(default="all", description="Physical group of cells; `all` is the whole body.")
    value: ForceDensity = Field(description="Force per volume at full load.")


class BoundaryLoad(Section):
    """Displacements, tractions and body forces on the named parts of a mesh; the rest is free."""

    kind: Literal["boundary"] = Field(description="Loads on tags of the mesh.")
    steps: Fractions = Field(
        default=(1.0,), description="Load steps, as fractions of the full load."
    )
    displacement: tuple[HeldInput, ...] = Field(
        default=(),
        description="Where two hold the same component of a node, the later counts.",
    )
    traction: tuple[TractionInput, ...] = Field(default=(), description="Dead loads.")
    body_force: tuple[BodyForceInput, ...] = Field(default=(), description="Dead loads inside.")
