# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What is certified holds: radii bound the true errors, saddles are refused, zones and whole bodies agree."""

import json
from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest

import bodies
from msolve.against import FullModel
from msolve.assemble import full_atomistic
from msolve.build import build, build_mesh, set_up
from msolve.certificate.algorithm import Effort, certify
from msolve.certificate.factor import dominates
from msolve.certificate.hessian import assembled_hessian
from msolve.certificate.modes import bond_laplacian, loose_bonds, softest_modes
from msolve.certificate.numbers import Certificate, closed
from msolve.certified import Certifier, changed_bonds
from msolve.compare import Norms, lift_to, unknowns_of
from msolve.config import load_case
from msolve.methods import solve
from msolve.solvers import Settings, minimise

DECKS = Path(__file__).parents[2] / "solver_configs"

TIGHT = Settings(tolerance=1e-9)
CRACK = (
    "domain.radius=34 angstrom",
    "regions.core_radius=6 angstrom",
    "regions.blend=6 angstrom",
    "load.K=1.1 K_G",
    "certificate.corrections=3",
)


def solved(deck, *changes):
    """A coupled solution, its problem, and its load."""
    setup = set_up(load_case(DECKS / f"{deck}.yaml", changes), MPI.COMM_SELF)
    assembly = build(setup, build_mesh(setup, MPI.COMM_SELF), MPI.COMM_SELF)
    z, t = assembly.problem.kinematics.unknowns.vector(), setup.loads[-1]
    solve(assembly, setup.case, z, t, TIGHT)
    return setup, assembly, z, t


@pytest.fixture(scope="module")
def crack():
    """The crack, its certificate, and the solution of the full model."""
    setup, assembly, z, t = solved("crack_eam", *CRACK)
    model = FullModel(setup, assembly)
    found = Certifier(setup, assembly, model)(z, t)
    full = model.assembly
    start = unknowns_of(full, lift_to(assembly, z, t, full), t)
    exact = start.copy()
    assert minimise(full.problem, exact, t, full.preconditioner, TIGHT).converged
    return setup, assembly, z, t, full, start, exact, found


def norm(matrix, v):
    product = v.duplicate()
    matrix.mult(v, product)
    return float(v.dot(product)) ** 0.5


def test_the_radius_bounds_the_error(crack):
    _, _, _, t, full, start, exact, found = crack
    told, ball = found.certificate, found.ball
    assert told.level == "A" and 0 < told.number <= 1
    H, D = assembled_hessian(full, ball.x, t), bond_laplacian(full)
    assert norm(H, ball.x - exact) <= told.radius <= 1.5 * norm(H, ball.x - exact)
    assert norm(H, start - exact) <= told.bound <= 1.1 * norm(H, start - exact)
    assert norm(D, ball.x - exact) <= told.radius_h1
    assert norm(D, start - exact) <= told.bound_h1 <= 1.5 * norm(D, start - exact)


def test_corrections_converge_quadratically_and_are_needed(crack):
    told = crack[-1].certificate
    assert told.corrections >= 1 and told.residuals[1] < 0.2 * told.residuals[0]
    first = closed(told.__class__("C", None, 0, 0, told.residuals[0]), told.lipschitz, "", "B", 2.7)
    assert first is None


def test_the_branch_is_told(crack):
    branch = crack[-1].branch
    assert branch.tip == pytest.approx(branch.tip_corrected, abs=0.2) and branch.changed_bonds == 0
    x1, opening = np.array(branch.opening).T
    assert (np.diff(x1) > 0).all() and opening[0] > opening[-1]
    # At 1.1 K_G the crack is trapped: one atom further on its energy is lower.
    assert branch.lower < 0 and branch.lower_tip[0] > branch.tip[0] + 1.5


def test_what_is_told_is_json(crack):
    told = json.loads(json.dumps(crack[-1].told()))
    assert told["statement"].count("Level") == 1 and told["branch"]["changed_bonds"] == 0
    assert "certified, level" in crack[-1].lines()[0]


def test_a_zone_as_large_as_the_body_is_the_body(crack):
    _, assembly, z, t, *_, found = crack
    again = set_up(
        load_case(DECKS / "crack_eam.yaml", (*CRACK, "certificate.zone_radius=34 angstrom")),
        MPI.COMM_SELF,
    )
    zone = Certifier(again, assembly, FullModel(again, assembly))(z, t)
    ours, theirs = zone.certificate, found.certificate
    assert zone.ball is None and "nothing is certified" in ours.statement()
    assert ours.atoms == theirs.atoms and ours.residuals == pytest.approx(
        theirs.residuals, rel=1e-3
    )
    assert ours.bound == pytest.approx(theirs.bound, rel=1e-6)


def test_a_saddle_is_refused():
    # A crystal pulled far beyond its strength: homogeneous by symmetry, and unstable.
    F = np.diag([1.0, 1.25, 1.0])
    body = bodies.perfect(bodies.toy(), F, 8.0, predictor=True)
    full = full_atomistic(MPI.COMM_SELF, body)
    x = full.problem.kinematics.unknowns.vector()
    x.set(0.0)
    found, centre = certify(full, x, 1.0, Effort())
    assert found.level == "C" and found.negative > 0 and centre is None
    assert "saddle" in found.obstacle and "Nothing is certified" in found.statement()


def test_without_corrections_the_crack_is_not_certified(crack):
    _, _, _, t, full, start, *_ = crack
    found, centre = certify(full, start, t, Effort(corrections=0))
    assert found.level == "C" and centre is None and found.number > 1
    assert "h = 2 L η" in found.obstacle


def test_bonds_and_modes(crack):
    _, _, _, t, full, start, exact, found = crack
    D, H = bond_laplacian(full), assembled_hessian(full, found.ball.x, t)
    e = full.problem.gather(start, t) - full.problem.gather(exact, t)
    i, j = loose_bonds(full)
    assert norm(D, start - exact) == pytest.approx(np.linalg.norm(e[i] - e[j]), rel=1e-9)
    assert norm(D, start - exact) >= Norms.of(full, rim=0.0, tip_radius=1.0).total(e)
    values = [mode.value for mode in softest_modes(H, D, 3)]
    assert values == sorted(values) and values[0] == pytest.approx(found.certificate.eigenvalues[0])
    assert dominates(H, D, 0.99 * values[0]) and not dominates(H, D, 1.01 * values[0])
    moved = full.problem.gather(start, t)
    assert changed_bonds(full, moved, moved) == 0
    moved[np.linalg.norm(full.X[:, :2], axis=1).argmin(), 1] += 1.0
    assert changed_bonds(full, full.problem.gather(start, t), moved) > 2


def test_closing():
    at = Certificate("C", None, 1, 0, 0.1, moved=0.5, moved_h1=0.2, stability=4.0)
    assert closed(at, 5.1, "", "B", 2.0) is None
    found = closed(at, 3.0, "", "B", 2.0)
    # The smaller root of ½ L ρ² - ρ + η = 0.
    assert 1.5 * found.radius**2 - found.radius + 0.1 == pytest.approx(0, abs=1e-15)
    assert found.bound == 0.5 + found.radius and found.bound_h1 == 0.2 + found.radius / 2
