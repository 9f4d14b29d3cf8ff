# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Which atoms a rank holds, which edges it lists, and what is left of both for one array of weights.

Potentials that exchange features need copies of atoms within one cutoff of the owned ones. Others of
several layers compute the features of copies again, so that they need copies within one cutoff a layer.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpi4py import MPI

import numpy as np
from numpy.typing import NDArray

from msolve.atomistic.neighbours import find_edges, near
from msolve.parallel import Halo
from msolve.potentials.edges import Edges, ShortList
from msolve.potentials.exchange import NoExchange, RankExchange
from msolve.potentials.protocol import FeatureHalo, Potential, SiteModel

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class AtomsOfRank:
    """Who owns which atoms.

    Attributes:
        comm: Ranks that share the atoms.
        owner: Rank that owns each atom, shape ``(n,)``.
        place: Place of each atom among those of its owner, shape ``(n,)``.
        own: Global indices of the atoms owned here, ascending, shape ``(n_owned,)``.
    """

    comm: MPI.Comm
    owner: IntArray
    place: IntArray
    own: IntArray

    @classmethod
    def of(cls, comm: MPI.Comm, owner: IntArray) -> AtomsOfRank:
        """From the owners of all atoms."""
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=comm.size)
        first = np.cumsum(counts) - counts
        place = np.empty_like(owner)
        place[order] = np.arange(len(owner)) - first[owner[order]]
        return cls(comm, owner, place, np.flatnonzero(owner == comm.rank))


@dataclass(frozen=True)
class Lists:
    """Everything that a rebuild replaces.

    Attributes:
        local: Global indices of the local atoms, owned ones first, then copies, shape ``(n_local,)``.
        halo: Exchange between owned atoms and copies.
        n_sites: The first so many local atoms are the sites of edges: the owned ones and, without feature
            exchange, the copies that feed them.
        pair: Local indices (centre, neighbour), ascending by centre, shape ``(2, e)``.
        shift: Lattice vector added to the neighbour, shape ``(e, 3)`` [Å].
        start: Positions of the owned atoms when the lists were made, shape ``(n_owned, 3)`` [Å].
    """

    local: IntArray
    halo: Halo
    n_sites: int
    pair: IntArray
    shift: Array
    start: Array


@dataclass(frozen=True)
class Selection:
    """What is left to compute for one array of weights.

    Attributes:
        weight: The weights of all atoms, shape ``(n,)``.
        rows: Local atoms that take part, those whose features are computed first.
        site_weight: Weights of the sites that are computed; 0 for those that only feed others.
        near: Their edges.
        halo: Feature exchange.
        n_owned: The first so many rows are owned atoms that are computed.
    """

    weight: Array
    rows: IntArray
    site_weight: Array
    near: ShortList
    halo: FeatureHalo
    n_owned: int


def site_costs(
    model: Potential, cell: Array, periodic: BoolArray, x: Array, needed: BoolArray
) -> Array:
    """What each atom costs its owner, to share atoms by: 1 for a site all of whose layers are computed.

    Sites that only feed others compute fewer layers, the fewer the further out they lie.

    Args:
        model: The potential.
        cell: Lattice vectors as rows, shape ``(3, 3)`` [Å].
        periodic: Which axes are periodic, shape ``(3,)``.
        x: Atoms, shape ``(n, 3)`` [Å].
        needed: Sites whose energy may be asked for, shape ``(n,)``.

    Returns:
        Shape ``(n,)``, greater than 0.
    """
    # Atoms of which nothing is computed still cost positions, and must not tie at nothing at all.
    cost = np.full(len(x), 0.02)
    for layer in range(1, model.layers):
        fed = near(x, cell, periodic, needed, (model.layers - layer) * model.cutoff)
        cost[fed] = layer / model.layers
    cost[needed] = 1.0
    return cost


def make_lists(
    atoms: AtomsOfRank,
    model: SiteModel,
    cell: Array,
    periodic: BoolArray,
    needed: BoolArray,
    x: Array,
    skin: float,
) -> Lists:
    """Find this rank's edges and copies.

    Args:
        atoms: Who owns which atoms.
        model: The potential.
        cell: Lattice vectors as rows, shape ``(3, 3)`` [Å].
        periodic: Which axes are periodic, shape ``(3,)``.
        needed: Sites whose energy may be asked for, shape ``(n,)``.
        x: All atoms, the same on every rank, shape ``(n, 3)`` [Å].
        skin: Extra length of the edges [Å].

    Note:
        Collective.
    """
    length = model.cutoff + skin
    mine = atoms.owner == atoms.comm.rank
    centres = needed.copy() if model.exchange else needed & mine
    for _ in range(model.layers - 1):
        pair, _ = find_edges(
            x, cell, periodic, length, centres & mine if model.exchange else centres
        )
        centres[pair[1]] = True
        if model.exchange:
            atoms.comm.Allreduce(MPI.IN_PLACE, centres, op=MPI.LOR)
    if model.exchange:
        centres &= mine
    pair, shift = find_edges(x, cell, periodic, length, centres)
    copied = centres & ~mine
    copied[pair[1][~mine[pair[1]]]] = True
    feeding = np.flatnonzero(copied & centres)
    ghosts = np.concatenate([feeding, np.flatnonzero(copied & ~centres)])
    local = np.concatenate([atoms.own, ghosts])
    position_of = np.full(len(x), -1)
    position_of[local] = np.arange(len(local))
    halo = Halo(atoms.comm, len(atoms.own), atoms.owner[ghosts], atoms.place[ghosts])
    pair = position_of[pair]
    if len(feeding):
        order = np.argsort(pair[0], kind="stable")
        pair, shift = pair[:, order], shift[order]
    n_sites = len(atoms.own) + len(feeding)
    return Lists(local, halo, n_sites, pair, shift, x[atoms.own].copy())


def select(
    atoms: AtomsOfRank, model: SiteModel, lists: Lists, numbers: IntArray, weight: Array
) -> Selection:
    """Keep the edges of the sites that count under these weights, or feed such sites.

    Args:
        atoms: Who owns which atoms.
        model: The potential.
        lists: This rank's atoms and edges.
        numbers: Atomic numbers of all atoms, shape ``(n,)``.
        weight: Weights of all atoms, the same on every rank, shape ``(n,)``.

    Note:
        Collective if the potential exchanges features.
    """
    chosen = _exchanging if model.exchange and model.layers > 1 else _by_itself
    return chosen(atoms, model, lists, numbers, np.array(weight, dtype=np.float64))


def _by_itself(
    atoms: AtomsOfRank, model: SiteModel, lists: Lists, numbers: IntArray, weight: Array
) -> Selection:
    site_weight = np.zeros(lists.n_sites)
    n_owned = len(atoms.own)
    site_weight[:n_owned] = weight[atoms.own]
    active = np.zeros(len(lists.local), dtype=bool)
    active[: lists.n_sites] = site_weight != 0
    for _ in range(model.layers - 1):
        active[lists.pair[1][active[lists.pair[0]]]] = True
    keep = active[lists.pair[0]]
    pair, shift = lists.pair, lists.shift
    if not keep.all():
        pair, shift = pair[:, keep], shift[keep]
    edges = Edges.from_numpy(pair, shift, numbers[lists.local], lists.n_sites, model.device)
    near = ShortList(edges, model.cutoff)
    return Selection(weight, np.arange(len(lists.local)), site_weight, near, NoExchange(), n_owned)


def _exchanging(
    atoms: AtomsOfRank, model: SiteModel, lists: Lists, numbers: IntArray, weight: Array
) -> Selection:
    """Sites with weight and what feeds them: one more shell for each earlier layer, wherever it is owned."""
    halo, n_owned, n_local = lists.halo, len(atoms.own), len(lists.local)
    active = np.zeros(n_local, dtype=bool)
    active[:n_owned] = weight[atoms.own] != 0
    for _ in range(model.layers - 1):
        active[lists.pair[1][active[lists.pair[0]]]] = True
        asked = halo.reverse(active[n_owned:].astype(np.int64)) > 0
        active[:n_owned] |= asked
        active[n_owned:] = False
    computed = np.flatnonzero(active[:n_owned])
    keep = active[lists.pair[0]]
    pair, shift = lists.pair[:, keep], lists.shift[keep]
    place = np.full(n_owned, -1)
    place[computed] = np.arange(len(computed))
    remote = halo.forward(place)
    used = np.zeros(n_local, dtype=bool)
    used[pair[1]] = True
    fetched = np.flatnonzero(used[n_owned:] & (remote >= 0))
    waiting = used & ~active
    waiting[n_owned + fetched] = False
    unused = np.flatnonzero(waiting)
    rows = np.concatenate([computed, n_owned + fetched, unused])
    row_of = np.full(n_local, -1)
    row_of[rows] = np.arange(len(rows))
    owners = atoms.owner[lists.local[n_owned:]]
    feature_halo = Halo(atoms.comm, len(computed), owners[fetched], remote[fetched])
    edges = Edges.from_numpy(
        row_of[pair], shift, numbers[lists.local[rows]], len(computed), model.device
    )
    near = ShortList(edges, model.cutoff)
    exchange = RankExchange(feature_halo, len(unused))
    n_computed = len(computed)
    return Selection(weight, rows, weight[atoms.own][computed], near, exchange, n_computed)
