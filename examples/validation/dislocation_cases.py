# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Screw dislocations among the cases of ``effectivity.py``, ``certificates.py`` and ``quantities.py``."""

from __future__ import annotations

from collections.abc import Iterator

AT = "[1.283 angstrom, 0.741 angstrom]"
"""Where the deck puts the line."""

MACE = {"potential": "{kind: mace, file: potentials/w_mace/w_mace.model}"}


def cases(body: float = 60) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Name of the kind, deck, and what is changed in it.

    Args:
        body: Radius of the bodies [Å].
    """
    small = {"domain.radius": f"{body:g} angstrom"}
    for radius in (5, 8, 12, 18):
        core = {"regions.core_radius": f"{radius} angstrom", "regions.blend": "8 angstrom"}
        yield "screw dislocation, W", "screw_dislocation", small | core
    core = {"regions.core_radius": "8 angstrom", "regions.blend": "8 angstrom"}
    shear = {"load.F": "[[1, 0, 0], [0, 1, 0], [0, 0.004, 1]]", "load.strain": "null"}
    yield "screw dislocation, W, sheared", "screw_dislocation", small | core | shear
    quadratic = {"mesh.degree": "2"}
    yield "screw dislocation, W, P2", "screw_dislocation", small | core | quadratic
    yield "screw dislocation, W, MACE", "screw_dislocation", small | core | MACE
