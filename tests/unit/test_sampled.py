# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Estimates from a sample of the atoms: against those from all atoms, and the laws of sampling."""

import json
from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest

import bodies
from msolve.assemble import full_atomistic
from msolve.build import build, build_mesh, set_up
from msolve.cli import main
from msolve.compare import lift_to, on_atoms, unknowns_of
from msolve.config import load_case
from msolve.estimate import Estimator, Sampled, no_sample, tiles
from msolve.estimate.clusters import Clusters
from msolve.estimate.enriched import Enriched
from msolve.methods import solve
from msolve.regions import Ball, Regions
from msolve.solvers import Settings, find_root, minimise

DECKS = Path(__file__).parents[2] / "solver_configs"
TIGHT = Settings(tolerance=1e-8)
WIDTHS = {"rim": 6.0, "tip_radius": 6.0}


@pytest.fixture(scope="module", params=["vacancy", "crack"])
def case(request):
    """A solution of the blended forces, its load, and the full model beside it."""
    model, comm = bodies.eam4(), MPI.COMM_SELF
    if request.param == "crack":
        body = bodies.cracked(model, 90.0)
        t = body.far_field.griffith_K(body.slab.surface_energy)
    else:
        F = [[1.01, 0.01, 0], [0.0, 1.0, 0], [0, 0, 1]]
        body, t = bodies.perfect(model, F, 90.0, predictor=True, vacancy=True), 1.0
    coupled = bodies.coupled(body, 9.0, 6.0)
    z = coupled.problem.kinematics.unknowns.vector()
    forces = coupled.problem.with_terms(coupled.force_terms)
    minimise(coupled.problem, z, t, coupled.preconditioner, Settings(tolerance=1e-4))
    assert find_root(forces, z, t, coupled.preconditioner, TIGHT).converged
    return coupled, z, t, forces, full_atomistic(comm, body)


def test_all_tiles_say_what_all_atoms_say(case):
    coupled, z, t, forces, full = case
    whole, _ = Estimator(coupled, full, **WIDTHS)(z, t, forces)
    every, _ = Sampled(coupled, **WIDTHS, tiles=10**6)(z, t, forces)
    assert every.kind == whole.kind == "hessian"
    assert every.standard_error == 0 and every.sampling["total_h1_error"] == 0
    assert every.total_h1 == pytest.approx(whole.total_h1, rel=0.1)
    assert every.energy_norm == pytest.approx(whole.energy_norm, rel=0.1)
    assert every.elasticity_norm == pytest.approx(whole.elasticity_norm, rel=0.2)
    assert every.tip_h1 == pytest.approx(whole.tip_h1, rel=0.25)
    assert every.coupling == pytest.approx(whole.coupling, rel=0.15)


def test_a_sample_says_what_all_tiles_say(case):
    coupled, z, t, forces, _ = case
    every, _ = Sampled(coupled, **WIDTHS, tiles=10**6)(z, t, forces)
    sample = Sampled(coupled, **WIDTHS, tiles=60)
    few, places = sample(z, t, forces)
    assert sample(z, t, forces)[0].total_h1 == pytest.approx(few.total_h1, rel=1e-12)
    assert few.sampling["tiles"] < 0.5 * every.sampling["tiles"] and few.atoms < 0.7 * every.atoms
    off = abs(few.elasticity_norm - every.elasticity_norm)
    assert off < 4 * few.standard_error and few.standard_error < 0.1 * few.elasticity_norm
    assert abs(few.total_h1 - every.total_h1) < 4 * few.sampling["total_h1_error"] + 1e-12
    assert len(places.error) == len(places.source) and np.isfinite(places.error).all()


def test_the_next_load_starts_from_the_last(case):
    coupled, z, t, forces, _ = case
    sample = Sampled(coupled, **WIDTHS, tiles=10**6)
    before, _ = sample(z, t, forces)
    z, t = z.copy(), 1.02 * t
    assert find_root(forces, z, t, coupled.preconditioner, TIGHT).converged
    after, _ = sample(z, t, forces)
    anew, _ = Sampled(coupled, **WIDTHS, tiles=10**6)(z, t, forces)
    assert 1 <= after.products < anew.products
    assert abs(after.total_h1 / before.total_h1 - 1) > 2e-3
    assert after.energy_norm == pytest.approx(anew.energy_norm, rel=2e-3)
    assert after.total_h1 == pytest.approx(anew.total_h1, rel=0.01)


def test_forces_of_tiles_are_those_of_the_full_model(case):
    coupled, z, t, _, full = case
    side = 4 * coupled.body.crystal.nearest_neighbour_distance
    # At the outer boundary, at a flank, beside the core, at the defect itself.
    centres = side * np.array([[6.5, 3.5], [-4.5, 0.5], [1.5, -0.5], [0.5, -0.5]])
    found = Clusters(coupled, Regions((Ball((0, 0, 0), 0.1),), 0.0), centres, side, 2.0)
    y = lift_to(coupled, z, t, full)
    w = unknowns_of(full, y, t)
    r = w.duplicate()
    full.problem.evaluate(w, t, r)
    all_forces, forces = on_atoms(full, r), found.forces(z, t)
    tile = np.flatnonzero(found.tile)
    distance = np.linalg.norm(full.X[None] - found.X[tile][:, None], axis=2)
    match = distance.argmin(axis=1)
    assert distance.min(axis=1).max() < 1e-6 and len(tile) > 80
    assert np.abs(forces[tile] - all_forces[match]).max() < 1e-9
    assert np.abs(all_forces[match]).max() > 1e-5


def test_the_richer_space_holds_the_coupled_one(case):
    coupled, z, t, _, _ = case
    rich = Enriched(coupled)
    w, step = rich.inject(z, t), z.duplicate()
    step.array[:] = 1e-3 * np.random.default_rng(0).normal(size=z.getLocalSize())
    moved = rich.space.createVecLeft()
    rich.space.mult(step, moved)
    change = rich.inject(z + step, t) - w
    assert np.abs((change - moved).array).max() < 1e-12


def squares(radius, side):
    line = (np.arange(-int(radius / side) - 2, int(radius / side) + 2) + 0.5) * side
    x, y = np.meshgrid(line, line)
    return np.hypot(x, y).ravel()


def test_strata_hold_each_tile_once(case, monkeypatch):
    body = case[0].body
    zone, side = Regions((Ball((0, 0, 0), 12.0),), 4.0), 11.0
    found = tiles.strata(body, zone, side, np.random.default_rng(0))
    centres = np.concatenate([one.centres for one in found])
    assert len(np.unique(np.round(centres, 6), axis=0)) == len(centres)
    diagonal, away = side / np.sqrt(2), squares(body.radius, side)
    expected = (away - body.radius < diagonal) & (away - 12.0 > -diagonal)
    assert len(centres) == expected.sum() == sum(one.count for one in found)
    assert {one.name for one in found} == {"ring", "rim"} | ({"flank"} if body.crack else set())
    # Strata that are too large to be listed know how large they are.
    monkeypatch.setattr(tiles, "LISTED", 40)
    thinned = tiles.strata(body, zone, side, np.random.default_rng(0))
    assert any(one.count > 1.2 * len(one.centres) for one in thinned)
    assert sum(one.count for one in thinned) == pytest.approx(len(centres), rel=0.15)


@pytest.mark.parametrize("listed", [400, 100], ids=["listed", "thinned"])
def test_sums_over_a_sample_are_right_on_average_and_know_their_error(listed):
    rng = np.random.default_rng(1)
    centres = rng.uniform(size=(400, 2))
    values = rng.uniform(0.1, 1.0, 400) ** 3 * (1 + 10 * (centres[:, 0] > 0.9))
    guess = values * rng.uniform(0.3, 3.0, 400)
    sums, errors = [], []
    for _ in range(600):
        some = rng.choice(400, listed, replace=False)
        stratum = tiles.Stratum("ring", 1.0, 2.0, 400.0, centres[some])
        one = tiles.draw(stratum, guess[some], 40, rng)
        total, variance = one.total(values[some][one.chosen])
        sums.append(total)
        errors.append(variance)
    spread = np.std(sums)
    assert abs(np.mean(sums) - values.sum()) < 4 * spread / np.sqrt(600)
    assert 0.8 < np.sqrt(np.mean(errors)) / spread < 1.4
    every = tiles.draw(stratum, guess[some], listed, rng)
    assert every.total(values[some])[0] == pytest.approx(400 / listed * values[some].sum())


@pytest.mark.slow
def test_a_learned_handshake_can_be_sampled():
    """Tiles are in the state that it makes; the richer problem, whose elements are others, does without."""
    case = load_case(DECKS / "crack_handshake.yaml", ["domain.radius=120 angstrom"])
    setup = set_up(case, MPI.COMM_SELF)
    assembly = build(setup, build_mesh(setup, MPI.COMM_SELF), MPI.COMM_SELF)
    z, t = assembly.problem.kinematics.unknowns.vector(), setup.loads[0]
    solved = solve(assembly, case, z, t, Settings(tolerance=1e-5))
    given = (z, t, solved.residual_problem)
    whole, _ = Estimator(assembly, full_atomistic(MPI.COMM_SELF, setup.body), **WIDTHS)(*given)
    sample, _ = Sampled(assembly, **WIDTHS, tiles=32)(*given)
    assert sample.total_h1 == pytest.approx(whole.total_h1, rel=0.1)
    assert sample.energy_norm == pytest.approx(whole.energy_norm, rel=0.3)


def test_what_cannot_be_sampled_is_told():
    body = bodies.perfect(bodies.eam4(), np.eye(3), 60.0, vacancy=True)
    assert no_sample(bodies.coupled(body, 6.0, 6.0)) is None
    assert "linear elements" in no_sample(bodies.coupled(body, 6.0, 6.0, degree=2))
    assert "room" in no_sample(bodies.coupled(body, 32.0, 12.0))


def test_a_run_samples_a_large_body(tmp_path, capsys):
    changes = {
        "domain.radius": "2 um",
        "estimate.tiles": "40",
        "compare.atomistic": "false",
        "solver.stability": "false",
        "output.fields": "false",
        "output.directory": tmp_path,
    }
    command = [str(DECKS / "vacancy.yaml"), *(f"--set={k}={v}" for k, v in changes.items())]
    assert main(command) == 0
    step = json.loads((tmp_path / "result.json").read_text())["steps"][0]
    found = step["estimate"]
    assert found["sampling"]["represented"] > 1e8 and found["atoms"] < 20_000
    assert 0 < found["sampling"]["total_h1_error"] < 0.2 * found["total_h1"]
    assert (tmp_path / "estimate.png").stat().st_size > 10_000
    assert "from a sample of its atoms" in capsys.readouterr().out


@pytest.mark.slow
def test_a_large_body_is_refined(tmp_path):
    changes = {
        "domain.radius": "2000 angstrom",
        "regions.core_radius": "3 angstrom",
        "adaptivity": "{total_h1: 4e-4 angstrom, rounds: 4, shrink: false}",
        "compare.atomistic": "false",
        "solver.stability": "false",
        "output.fields": "false",
        "output.pictures": "false",
        "output.directory": tmp_path,
    }
    command = [str(DECKS / "vacancy.yaml"), *(f"--set={k}={v}" for k, v in changes.items())]
    assert main(command) == 0
    rounds = json.loads((tmp_path / "result.json").read_text())["adaptivity"]["rounds"]
    assert len(rounds) > 1
    assert rounds[-1]["total_h1"] < 0.8 * rounds[0]["total_h1"]
