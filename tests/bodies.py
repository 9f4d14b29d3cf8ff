# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Small bodies that several tests share: a triangular toy crystal, tungsten by EAM or MACE, a crack.

What a potential gives is computed once per test session.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace
from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest
import torch

from msolve.assemble import Assembly, couple
from msolve.body import Body
from msolve.crystal import Crystal
from msolve.handshake.closure import BENDS, ClosureModel, columns_lattice
from msolve.handshake.operator import FlankModel, FlankOperator
from msolve.handshake.slab import layers_below, relax_slab
from msolve.io.meshes import MeshData, Slit, disc_mesh
from msolve.io.meshes.data import boundary_facets, positively_oriented
from msolve.loads import Affine, KField, Zero
from msolve.potentials import load_potential
from msolve.potentials.bulk import BulkCell
from msolve.potentials.rest import elastic_constants, relaxed_lattice
from msolve.regions import Ball, Regions

EAM4 = Path(__file__).parents[1] / "solver_configs/potentials/w_eam4.eam.fs"
MAGNESIUM = Path("/usr/share/lammps/potentials/Mg_mm.eam.fs")
J_PER_M2 = 1 / 16.021766208  # [eV/Å²]
CUBE = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
CLEAVED_110 = ((1, -1, 0), (1, 1, 0), (0, 0, 1))
FLANK_LIMIT = np.array([0.02, 0.02, 0.005, 0.005, 0.005])
CLOSURE_LIMIT = np.array([0.03, 0.06, 0.03, *np.full(BENDS, 0.1)])


@functools.cache
def toy():
    return load_potential("toy", "toy")


@functools.cache
def eam4():
    return load_potential(EAM4, "eam")


@functools.cache
def smooth():
    """Tungsten by polynomials: where the knots of a table would show in differences."""
    return load_potential(EAM4.parent / "w_linear/w_linear.linear", "linear")


@functools.cache
def silicon():
    return load_potential(EAM4.parent / "si_sw.sw", "sw")


@functools.cache
def magnesium():
    if not MAGNESIUM.is_file():
        pytest.skip("Debian's LAMMPS potentials are not installed")
    return load_potential(MAGNESIUM, "eam")


@functools.cache
def bulk(model, axes=CUBE):
    """Stress-free crystal, its law and its elastic constants."""
    if 14 in model.numbers:
        crystal = relaxed_lattice(model, Crystal.diamond(5.43, 14))
    elif 12 in model.numbers:
        crystal = relaxed_lattice(model, Crystal.hcp(3.2, 5.2, 12))
        axes = ((1, 0, 0), (1, 2, 0), (0, 0, 1)) if axes == CUBE else axes
    elif model is toy():
        crystal = relaxed_lattice(model, Crystal.triangular(1.0, 20.0, 1))
        axes = ((1, 0, 0), (1, 2, 0), (0, 0, 1))
    else:
        crystal = relaxed_lattice(model, Crystal.bcc(3.165, 74))
    oriented = crystal.oriented(*(list(axis) for axis in axes))
    law = BulkCell(model, oriented)
    return oriented, law, elastic_constants(law)


@functools.cache
def slab(model, axes=CLEAVED_110):
    crystal = bulk(model, axes)[0]
    return relax_slab(model, crystal, crystal.cleavage().origin, 4 * model.cutoff)


def perfect(model, F, radius, *, predictor=False, vacancy=False, axes=CUBE) -> Body:
    """A disc under a homogeneous far field that the unknowns have to find, or correct."""
    crystal, law, C = bulk(model, axes)
    far = Affine(np.asarray(F, dtype=float))
    return Body(
        crystal=crystal,
        origin=np.zeros(3),
        model=model,
        material=law,
        C=C,
        far_field=far,
        predictor=far if predictor else Zero(),
        shape=Ball((0.0, 0.0, 0.0), radius),
        vacancies=np.zeros((int(vacancy), 3)),
        components=2 if model is toy() else 3,
    )


def cracked(model, radius, *, handshake=True) -> Body:
    """A disc with a (110)[001] crack in its K-field, the predictor."""
    crystal, _, C = bulk(model, CLEAVED_110)
    cleavage, field = crystal.cleavage(), KField(C)
    body = perfect(model, np.eye(3), radius, axes=CLEAVED_110)
    return replace(
        body,
        origin=cleavage.origin,
        far_field=field,
        predictor=field,
        crack=True,
        half_gap=cleavage.half_gap,
        slab=slab(model) if handshake else None,
    )


def random_flanks(body, size, seed=0, degrees=(1, 2)) -> FlankModel:
    """A learned handshake of a crack's flanks with random weights of a size: of layers [Å], of surfaces [eV/Å²]."""
    rng = np.random.default_rng(seed)
    depths, relaxation = layers_below(body.slab, 4)
    operators = {}
    for degree in degrees:
        one = FlankOperator(4, 6, FLANK_LIMIT)
        for weight in one.parameters():
            weight.data = size * torch.from_numpy(rng.normal(size=tuple(weight.shape)))
        one.tension = size * torch.from_numpy(rng.normal(size=tuple(one.tension.shape)))
        operators[degree] = one.requires_grad_(False)
    card = {"made": "at random"}
    return FlankModel(operators, body.crystal.rotation, body.half_gap, depths, relaxation, card)


def random_closure(basis, size, seed=0, n_terms=10) -> ClosureModel:
    """A strain-gradient energy with random weights of a size [eV] at the largest second differences."""
    weights = size * np.random.default_rng(seed).normal(size=(2, n_terms, BENDS, BENDS))
    return ClosureModel(basis, weights + np.swapaxes(weights, 2, 3), CLOSURE_LIMIT)


def columns_basis(body):
    """Basis of the lattice that the body's columns of atoms form."""
    X = body.crystal.sites(None, [(-20.0, 20.0)] * 2, body.origin).positions[:, :2]
    return columns_lattice(np.unique(X.round(6), axis=0))


def with_random_handshake(body, size, seed=0, degrees=(1, 2)) -> Body:
    """The crack with both learned channels at random: flanks of a size [Å], a closure of the same [eV]."""
    closure = random_closure(columns_basis(body), size, seed)
    flanks = random_flanks(body, size, seed, degrees)
    return replace(body, learned=replace(flanks, closures={1: closure}))


def block_places(assembly):
    """Reference positions of the blocks of unknowns that this rank owns, ``(n, 3)``, and which are atoms."""
    kinematics = assembly.problem.kinematics
    unknowns = kinematics.unknowns
    begin = unknowns.comm.exscan(unknowns.n_owned) or 0
    X, atoms = np.zeros((unknowns.n_owned, 3)), np.zeros(unknowns.n_owned, dtype=bool)
    of_nodes = (unknowns.node, np.zeros((0, 3)))
    if kinematics.space is not None:
        of_nodes = (unknowns.node, kinematics.space.nodes())
    for blocks, places in ((unknowns.atom, assembly.X), of_nodes):
        mine = np.flatnonzero((blocks >= begin) & (blocks < begin + unknowns.n_owned))
        X[blocks[mine] - begin] = places[mine]
        atoms[blocks[mine] - begin] = blocks is unknowns.atom
    return X, atoms


def coupled(
    body, core, blend, *, mesh="free", degree=1, recovery=False, comm=MPI.COMM_SELF
) -> Assembly:
    """The body with a core of atoms at its middle, on a mesh that matches the lattice or ignores it."""
    near = body.crystal.nearest_neighbour_distance
    reach = core + blend + 2 * near
    points = None
    if mesh == "matching":
        box = [(-reach - 6 * near, reach + 6 * near)] * 2
        every = body.crystal.sites(None, box, body.origin)
        points = every.positions[every.basis_index == 0, :2]
        near = body.crystal.sublattice_spacing
    made = disc_mesh(
        body.radius,
        spacing=near,
        zones=(Ball((0.0, 0.0, 0.0), reach),),
        matching_points=points,
        slit=Slit(0.0, body.half_gap) if body.crack else None,
    )
    regions = Regions((Ball((0.0, 0.0, 0.0), core),), blend)
    return couple(comm, body, regions, made, degree=degree, recovery=recovery)


def deformation(rng, size=0.03):
    """A random deformation gradient; its third column is that of no deformation."""
    F = np.eye(3)
    F[:, :2] += rng.uniform(-size, size, size=(3, 2))
    return F


def solution_in_closed_form(assembly, t=1.0):
    """Unknowns that put every free atom and node where a homogeneous far field has them."""
    kinematics, place = assembly.problem.kinematics, assembly.problem.placement
    unknowns = kinematics.unknowns
    z = unknowns.vector()
    X = np.zeros((unknowns.n_blocks, 3))
    atoms = unknowns.atom >= 0
    X[unknowns.atom[atoms]] = place.X[atoms]
    if kinematics.space is not None:
        nodes = unknowns.node >= 0
        X[unknowns.node[nodes]] = kinematics.space.nodes()[nodes]
    corrector = place.far_field.displacement(X, t) - place.predictor.displacement(X, t)
    if place.inner is not None:
        every = np.arange(len(place.X))
        shifts = place.inner.at(place.far_field.gradient(place.X, t), every)
        shifts -= place.resting_shifts(t)
        corrector[unknowns.atom[atoms]] += shifts[atoms]
    z.array[:] = corrector[:, : unknowns.components].ravel()
    return z


def plate(width, height, n, m, tags=True) -> MeshData:
    """A rectangle around the origin in n x m cells of two triangles, its sides and a corner named."""
    x, y = np.linspace(-width / 2, width / 2, n + 1), np.linspace(-height / 2, height / 2, m + 1)
    points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    number = np.arange((n + 1) * (m + 1)).reshape(n + 1, m + 1)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    halves = [np.stack(corners, axis=-1).reshape(-1, 3) for corners in ((a, b, c), (a, c, d))]
    lines = {"left": number[0], "right": number[-1], "bottom": number[:, 0], "top": number[:, -1]}
    facets = {name: np.column_stack([line[:-1], line[1:]]) for name, line in lines.items()}
    nodes = {name: np.sort(line) for name, line in lines.items()} | {"corner": number[:1, 0]}
    cells = np.concatenate(halves)
    upper = np.flatnonzero(points[cells].mean(axis=1)[:, 1] > 0)
    return MeshData(points, cells, nodes, facets, {"upper half": upper})


def block(side, n) -> MeshData:
    """A cube around the origin in n³ cells of six tetrahedra, four of its faces named."""
    line = np.linspace(-side / 2, side / 2, n + 1)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    number = np.arange((n + 1) ** 3).reshape((n + 1,) * 3)
    cells = []
    for order in itertools.permutations(np.eye(3, dtype=int)):
        steps = np.cumsum([np.zeros(3, dtype=int), *order], axis=0)
        corners = [number[x : x + n, y : y + n, z : z + n].ravel() for x, y, z in steps]
        cells.append(np.stack(corners, axis=1))
    every = positively_oriented(points, np.concatenate(cells))
    facets = boundary_facets(every)
    middle = points[facets].mean(axis=1)
    sides = {"left": (0, -1), "bottom": (1, -1), "top": (1, 1), "back": (2, -1)}
    named = {
        name: facets[np.abs(middle[:, axis] - sign * side / 2) < 1e-9]
        for name, (axis, sign) in sides.items()
    }
    return MeshData(points, every, {k: np.unique(v) for k, v in named.items()}, named)


def loaded_plate(model, mesh, loads, *, core, blend, degree=1, comm=MPI.COMM_SELF) -> Assembly:
    """A plate or block of a perfect crystal with a core of atoms at its middle, under loads on its tags."""
    perfect_body = perfect(model, np.eye(3), 1.0)
    body = replace(perfect_body, shape=mesh.outline(), loads=loads, gdim=mesh.gdim)
    regions = Regions((Ball((0.0, 0.0, 0.0), core, mesh.gdim),), blend)
    return couple(comm, body, regions, mesh, degree=degree)


def griffith_load(body: Body) -> float:
    """Griffith's load of a crack [eV/Å^2.5]."""
    return float(body.far_field.griffith_K(body.slab.surface_energy))


def random_state(assembly: Assembly, seed: int = 1, size: float = 0.02):
    """Unknowns drawn from a normal distribution [Å]."""
    z = assembly.problem.kinematics.unknowns.vector()
    z.array = size * np.random.default_rng(seed).normal(size=z.getLocalSize())
    return z


def slope(problem, z, t: float, way, h: float = 2e-5) -> float:
    """Derivative of the energy along a direction, by differences of fourth order."""

    def energy(s):
        return problem.evaluate(z + s * way, t, z.duplicate())

    return (8 * (energy(h) - energy(-h)) - (energy(2 * h) - energy(-2 * h))) / (12 * h)
