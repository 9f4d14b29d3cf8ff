# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What is certified holds: radii bound the true errors, saddles are refused, zones and whole bodies agree."""

import json
from dataclasses import replace
from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest
from scipy import linalg

import bodies
from msolve.against import FullModel
from msolve.assemble import full_atomistic
from msolve.build import build, build_mesh, set_up
from msolve.certificate.algorithm import Effort, certify
from msolve.certificate.factor import dominates
from msolve.certificate.hessian import assembled_hessian
from msolve.certificate.modes import bond_laplacian, loose_bonds, softest_modes
from msolve.certificate.numbers import Certificate, closed
from msolve.certified import Branch, Certifier, around_holes, beside_the_cut, changed_bonds
from msolve.compare import Norms, lift_to, unknowns_of
from msolve.config import load_case
from msolve.methods import solve
from msolve.run import run_case
from msolve.solvers import Settings, follow_boundary, minimise

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


def found_lines(crack):
    return crack[-1].lines()


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
    v = full.problem.gather(start, t) - full.problem.gather(exact, t)
    rms = np.sqrt((v[full.free] ** 2).sum() / full.free.sum())
    assert rms <= told.bound_rms <= 1.1 * rms
    i, j = loose_bonds(full)
    strain = (
        np.linalg.norm(v[i] - v[j], axis=1).max() / full.body.crystal.nearest_neighbour_distance
    )
    assert strain <= told.bound_strain <= 1.1 * strain
    assert 0 < told.least <= np.linalg.eigvalsh(D.convert("dense").getDenseArray())[0]


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
    assert branch.healed == 0 and branch.advanced in (0, 1)
    assert found_lines(crack)[2].startswith("lowest eigenvalues")
    assert f"tip at x1 = {branch.tip_corrected[0]:.3g} Å, open" in found_lines(crack)[2]


def test_what_is_told_is_json(crack):
    told = json.loads(json.dumps(crack[-1].told()))
    assert told["statement"].count("Level") == 1 and told["branch"]["changed_bonds"] == 0
    lines = found_lines(crack)
    assert "certified, level" in lines[0] and lines[1] == told["statement"]
    for what in ("none sampled", "root mean square over atoms", "of its length", "model_error"):
        assert what in told["statement"]
    assert told["products"] > 5 * told["corrections"] and told["columns"] > 100


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
    # By how much, and where: whole numbers of negative eigenvalues, as pivots count them, and the softest atom.
    H, D = (
        np.array(m.convert("dense").getDenseArray())
        for m in (assembled_hessian(full, x, 1.0), bond_laplacian(full))
    )
    values = linalg.eigh(H, D, eigvals_only=True)
    assert found.negative == (values < 0).sum()
    assert found.eigenvalues == pytest.approx(values[: len(found.eigenvalues)], rel=1e-6)
    assert np.linalg.norm(found.softest_at) < 9.0
    assert f"{found.negative} negative by inertia" in found.stands()


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


def test_pairs_across_the_cut_are_counted(crack):
    full = crack[4]
    upper = (np.abs(full.X[:, 1] - full.body.half_gap) < 1e-3) & full.free
    behind = (full.X[:, 0] < 0)[upper].sum()
    # All closed, as in the crystal at rest; and all parted, beyond the end of the cut too.
    assert beside_the_cut(full, full.X) == (behind, 0)
    parted = full.X + np.outer(full.X[:, 1] > 0, [0.0, 2.0, 0.0])
    assert beside_the_cut(full, parted) == (0, upper.sum() - behind)
    warned = Branch(
        (0.0, 0.0), (0.0, 0.0), 3, (), healed=1, advanced=2, lower=-0.1, lower_moved=1.0
    )
    told = " ".join(warned.warnings())
    for what in (
        "3 bonds differ",
        "1 pair of atoms across",
        "2 pairs of atoms beyond",
        "0.1 eV lower",
    ):
        assert what in told
    assert Branch(None, None, None, ()).warnings() == []


@pytest.mark.parametrize(
    ("radius", "loads", "healed", "grown"),
    [(16, (1.0,), 0, False), (16, (0.4, 1.0), 23, True), (20, (2.0, 1.0), 0, True)],
    ids=["open", "healed", "grown"],
)
def test_a_short_crack_that_healed_or_grew_is_told(radius, loads, healed, grown):
    """Eleven missing atoms: open under the load alone, closed after a smaller one, longer after a larger one."""
    changes = [f"domain.radius={radius} angstrom", "coupling.method=atomistic"]
    setup = set_up(load_case(DECKS / "micro_crack_triangular.yaml", changes), MPI.COMM_SELF)
    full = full_atomistic(MPI.COMM_SELF, setup.body)
    x, before = full.problem.kinematics.unknowns.vector(), 0.0
    for t in loads:
        follow_boundary(full.problem, x, before, t, setup.body.C, full.preconditioner)
        assert minimise(full.problem, x, t, full.preconditioner, Settings(tolerance=1e-4)).converged
        before = t
    assert around_holes(full, full.X) == (0, 0)
    closed, parted = around_holes(full, full.problem.gather(x, before))
    assert closed == healed and (parted > 5) == grown
    told = Branch(None, None, None, (), closed, parted).warnings()
    assert len(told) == (closed > 0 or parted > 0)
    assert all("the hole is not the one that was made" in one for one in told)
    assert ("23 pairs of atoms across it closed" in "".join(told)) == (healed > 0)


def test_what_is_not_certified_is_told_with_its_branch(crack):
    """The crack without corrections, whose test does not close."""
    setup, assembly, z, t = crack[:4]
    changes = {"corrections": 0, "fold": False}
    asked = setup.case.certificate.model_copy(update=changes)
    setup = replace(setup, case=setup.case.model_copy(update={"certificate": asked}))
    found = Certifier(setup, assembly, FullModel(setup, assembly))(z, t)
    branch = found.branch
    assert found.certificate.level == "C" and found.ball is None
    assert branch.tip == pytest.approx(crack[-1].branch.tip) and branch.tip_corrected is None
    assert branch.changed_bonds is None and len(branch.opening) > 5
    assert len(found.lines()) == 2 + len(branch.warnings()) and "lowest" in found.lines()[1]


@pytest.mark.slow
def test_the_deck_of_a_certified_crack(tmp_path):
    changes = [f"output.directory={tmp_path}", "output.pictures=false", "output.fields=false"]
    result = run_case(load_case(DECKS / "certified_crack.yaml", changes), MPI.COMM_WORLD)
    log = (tmp_path / "msolve.log").read_text()
    for step in result.steps:
        told = step.certificate
        assert told["level"] == "A" and told["statement"] in log
        assert {one["meant"] for one in step.quantities.values()} >= {"certified, level A"}
    # At the last load the full model was solved as well; its norm leaves out the bonds at the rim.
    assert result.comparison.total_h1 <= result.steps[-1].certificate["bound_h1"]
