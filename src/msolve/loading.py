# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Loads on a mesh, ready for the lifts and the terms: what is held, and the dead loads.

Without loads on tags the whole tag ``outer`` is held at the far field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from msolve.atomistic import Patch
from msolve.continuum.boundary import (
    body_forces,
    boundary_values,
    held_components,
    points_in,
    tagged_cells,
    traction_forces,
    unheld_motions,
)
from msolve.continuum.space import DisplacementSpace
from msolve.coupling import Blend, LoadTerm, Term
from msolve.errors import CaseError
from msolve.loads import BoundaryLoads
from msolve.regions import Regions

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """What loads act on.

    Attributes:
        space: Displacement space.
        patch: Distributed atoms.
        X: Reference positions of all atoms, shape ``(n, 3)`` [Å].
        regions: Where the atoms are.
        blend: The blending function where it is needed.
        atomic_volume: Volume per atom of the crystal [Å³].
    """

    space: DisplacementSpace
    patch: Patch
    X: Array
    regions: Regions
    blend: Blend
    atomic_volume: float


@dataclass(frozen=True)
class Acting:
    """Loads ready for use.

    Attributes:
        prescribed: Local nodes that are held as a whole.
        held: Held components of other local nodes, shape ``(n_local, 3)``; ``None`` if there are none.
        boundary: Corrector of the local nodes at zero unknowns by load; ``None`` takes the far field's.
        energy_loads: Dead loads as a term of the blended energy.
        force_loads: Dead loads as a term of the blended forces.
    """

    prescribed: IntArray
    held: BoolArray | None = None
    boundary: Callable[[float], Array] | None = None
    energy_loads: tuple[Term, ...] = ()
    force_loads: tuple[Term, ...] = ()


def loads_on(
    loads: BoundaryLoads | None,
    scene: Scene,
    predictor: Callable[[Array, float], Array],
    components: int,
    facet_tags: Mapping[str, IntArray],
    cell_tags: Mapping[str, IntArray],
) -> Acting:
    """Make loads ready. Collective.

    Args:
        loads: Loads on tags, or ``None``.
        scene: What they act on.
        predictor: Displacement that the unknowns correct, by position and load.
        components: Displacement components that are unknowns.
        facet_tags: Facets by tag, in the numbers of the mesh as it was handed in; read on rank 0 only.
        cell_tags: Cells by tag; read on rank 0 only.

    Raises:
        CaseError: Nothing holds the body against some rigid motion.
    """
    space = scene.space
    if loads is None:
        return Acting(space.node_tags["outer"])
    held = held_components(space, loads.held)
    loose = unheld_motions(space, held, components)
    if loose:
        raise CaseError(
            [
                f"load.displacement: nothing holds the body against {' and '.join(loose)}; hold a "
                "component of some part that resists it"
            ]
        )
    whole = np.asarray(held[:, :components].all(axis=1))
    energy, forces = _load_terms(loads, scene, facet_tags, cell_tags)
    return Acting(
        np.flatnonzero(whole),
        held & ~whole[:, None],
        boundary_values(space, loads.held, predictor),
        energy,
        forces,
    )


def _load_terms(
    loads: BoundaryLoads,
    scene: Scene,
    facet_tags: Mapping[str, IntArray],
    cell_tags: Mapping[str, IntArray],
) -> tuple[tuple[Term, ...], tuple[Term, ...]]:
    """Dead loads in the blended energy, weighted inside integrals, and in the blended forces, by rows. Collective."""
    if not loads.traction and not loads.body_force:
        return (), ()
    space, blend, X = scene.space, scene.blend, scene.X
    facets, cells = space.comm.bcast((dict(facet_tags), dict(cell_tags)), root=0)
    traction = np.zeros((space.n_local_nodes, 3))
    for one in loads.traction:
        traction += traction_forces(space, facets[one.on], np.array(one.value))
    energy, forces, atoms = traction.copy(), traction.copy(), np.zeros_like(X)
    for load in loads.body_force:
        where, value = tagged_cells(space, cells, load.on), np.array(load.value)
        energy += body_forces(space, where, scene.regions.beta, value)
        unweighted = body_forces(space, where, lambda x: np.ones(len(x)), value)
        forces += blend.nodes[:, None] * unweighted
        volume = (1 - blend.atoms) * scene.atomic_volume * points_in(space, where, X)
        atoms += volume[:, None] * value
    return (LoadTerm(scene.patch, X, atoms, energy),), (LoadTerm(scene.patch, X, atoms, forces),)
