# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Refinement by the estimated error: marks, finer zones, grown cores, and a whole run that meets its tolerance."""

import dataclasses
import itertools
from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest
from scipy import spatial

from msolve.balance import Cells, Cores, balanced
from msolve.build import build, build_mesh, set_up
from msolve.compare import carried_over
from msolve.config import BallCore, BoxCore, CapsuleCore, PolygonCore, case_from_dict, load_case
from msolve.config.sections import Mesh
from msolve.errors import CaseError
from msolve.io.meshes import disc_mesh
from msolve.methods import solve
from msolve.refinement import LONGER, OPENS, Error, _larger, fine_zones, refined
from msolve.refinement import marked as fewest
from msolve.regions import Ball
from msolve.run import run_case
from msolve.solvers import Settings
from msolve.stability import acoustic_minimum, doubtful_atoms, unstable_cells

TOLERANCE = 0.001
DECKS = Path(__file__).parents[2] / "solver_configs"
SMALL = {"rim": "2 angstrom", "tip_radius": "4 angstrom"}


def test_marks_are_the_fewest_that_hold_the_share():
    rng = np.random.default_rng(0)
    places, source = rng.normal(size=(50, 2)), rng.random(50) ** 4
    marked = fewest(places, source, 0.6)
    chosen = np.isin(places[:, 0], marked[:, 0])
    assert source[chosen].sum() >= 0.6 * source.sum()
    assert source[chosen].sum() - source[chosen].min() < 0.6 * source.sum()
    assert source[chosen].min() >= source[~chosen].max()


def test_finer_zones_cover_what_is_marked_with_shorter_edges():
    rng = np.random.default_rng(1)
    places = rng.uniform(-60, 60, (40, 2))
    length = rng.uniform(6.0, 25.0, 40)
    zones = fine_zones(places, length, 0.6 * length, near=2.7)
    assert 1 < len(zones) <= 40
    centre = np.array([zone.centre[:2] for zone in zones])
    for place, edge in zip(places, length, strict=True):
        # The corners of a square stick out of its disc by a sixth of the radius.
        inside = np.linalg.norm(centre - place, axis=1) <= [1.2 * zone.radius for zone in zones]
        sizes = [z.size for z, there in zip(zones, inside, strict=True) if there]
        assert min(sizes) < LONGER * 0.6 * edge * 2**0.5
    none = np.zeros(0)
    assert fine_zones(np.zeros((0, 2)), none, none, 2.7) == []


def test_meshes_are_finer_where_they_are_asked_to_be():
    given = {"spacing": 2.7, "zones": [Ball((0.0, 0.0, 0.0), 10.0)], "growth": 1.5}
    finer = np.array([[50.0, 20.0, 10.0, 4.0]])
    longest = []
    for zones in (None, finer):
        mesh = disc_mesh(90.0, finer=zones, **given)
        corners = mesh.points[mesh.cells]
        edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
        away = np.linalg.norm(corners.mean(axis=1) - finer[0, :2], axis=1)
        longest.append(edges[np.argsort(away)[:20]].max())
    assert longest[0] > 12.0 and longest[1] < 7.0


def spent(cores, cells, growth, pieces, atom_cost):
    atoms = cores.atoms * cores.wider(growth) ** 2
    return atom_cost * atoms.sum() + cells.unknowns * pieces.sum()


@pytest.mark.parametrize("atom_cost", [1.0, 50.0])
@pytest.mark.parametrize("rate", [1.0, 2.0])
def test_what_is_spent_reaches_the_error_at_the_least_cost(rate, atom_cost):
    rng = np.random.default_rng(3)
    cores = Cores(
        np.array([3.0, 0.5]), np.array([10.0, 15.0]), np.array([400.0, 700.0]), 12.0, rate
    )
    cells = Cells(rng.random(300) ** 6, np.full(300, 40.0), np.zeros(300, int), 1.5, 1.0, 0.0)
    before = cores.left(np.ones(2)) + cells.left(np.ones(300))
    growth, pieces = balanced(cores, cells, 0.5 * before, atom_cost)
    left = cores.left(growth) + cells.left(pieces)
    assert 0.45 * before < left <= 0.5 * before
    cost = spent(cores, cells, growth, pieces, atom_cost)
    others = 0
    for _ in range(3000):
        g = np.clip(growth * np.exp(0.1 * rng.normal(size=2)), 1, 2)
        y = np.clip(pieces * np.exp(0.1 * rng.normal(size=300)), 1, 16)
        if cores.left(g) + cells.left(y) <= left:
            others += 1
            # Growths of cores are tried one per cent apart.
            assert spent(cores, cells, g, y, atom_cost) > 0.998 * cost
    assert others > 100


def test_dear_atoms_are_spared():
    cores = Cores(np.ones(1), np.array([10.0]), np.array([400.0]), 12.0, 1.0)
    cells = Cells(np.full(100, 0.01), np.full(100, 40.0), np.zeros(100, int), 1.5, 1.0, 0.0)
    cheap, dear = (balanced(cores, cells, 1.0, a) for a in (1.0, 50.0))
    assert dear[0][0] < cheap[0][0] and dear[1].min() > cheap[1].max()


@pytest.mark.parametrize("part", [0, 1], ids=["coupling", "mesh"])
def test_what_dominates_is_refined(part):
    setup = set_up(load_case(DECKS / "adaptive_crack.yaml"), MPI.COMM_SELF)
    mesh = build_mesh(setup, MPI.COMM_SELF)
    rng = np.random.default_rng(4)
    places = rng.uniform(-60, 60, (2000, 2))
    parts = np.zeros((2000, 2))
    # Away from the core, where cells are longer than the lattice's.
    parts[np.linalg.norm(places, axis=1) > 35, part] = 1.0
    error = Error(places, parts, 0.5, rng.uniform(-15, 15, (188, 2)), 10.0, 1.0)
    case = refined(setup, np.zeros((0, 2)), mesh, np.zeros((0, 2)), error)
    if part == 0:
        assert not case.mesh.fine
        assert case.regions.all_cores[0].radius > 1.3 * setup.case.regions.core_radius
    else:
        assert case.regions == setup.case.regions and len(case.mesh.fine) > 5
        finer = build_mesh(set_up(case, MPI.COMM_SELF), MPI.COMM_SELF)
        far = [
            np.sum(np.linalg.norm(one.points[one.cells].mean(axis=1), axis=1) > 35)
            for one in (mesh, finer)
        ]
        assert far[1] > 1.5 * far[0]
    # Last digits, which other ranks have otherwise, decide nothing.
    error = dataclasses.replace(error, parts=parts * (1 + 1e-9 * rng.normal(size=parts.shape)))
    assert refined(setup, np.zeros((0, 2)), mesh, np.zeros((0, 2)), error) == case


@pytest.mark.parametrize(
    "core",
    [
        BallCore(radius="5 angstrom"),
        CapsuleCore(
            shape="capsule", start=["-5 angstrom", 0], end=["5 angstrom", 0], radius="4 angstrom"
        ),
        BoxCore(shape="box", low=["-3 angstrom", "-2 angstrom"], high=["3 angstrom", "2 angstrom"]),
        PolygonCore(
            shape="polygon",
            corners=[
                [0, "4 angstrom"],
                ["-4 angstrom", "-3 angstrom"],
                ["4 angstrom", "-3 angstrom"],
            ],
        ),
    ],
    ids=lambda core: core.shape,
)
def test_every_core_grows(core):
    rng = np.random.default_rng(2)
    X = np.column_stack([rng.uniform(-15, 15, (500, 2)), np.zeros(500)])
    before, after = core.region().distance(X), _larger(core, 1.5).region().distance(X)
    inside = before < 0
    assert (after[inside] < 0).all()
    assert 0.3 < (before - after)[before > 0].min() and (before - after).max() < 1.5 * 2**0.5 + 1e-9


def given(folder, **changes):
    """A micro-crack of three removed atoms in the triangular lattice."""
    where = [["-0.97 angstrom", 0], [0, 0], ["0.97 angstrom", 0]]
    case = {
        "crystal": {
            "structure": "triangular",
            "element": "H",
            "orientation": {"x1": [1, 0, 0], "x3": [0, 0, 1]},
        },
        "potential": {"kind": "toy"},
        "domain": {"radius": "30 angstrom"},
        "regions": {"core_radius": "2.5 angstrom", "blend": "2 angstrom"},
        "mesh": {"growth": 1.5},
        "defect": {"kind": "vacancy", "positions": where},
        "load": {"kind": "affine", "F": [[1, 0.01, 0], [0, 1.02, 0], [0, 0, 1]]},
        "compare": {"atomistic": True, "rim": "2 angstrom", "tip_radius": "4 angstrom"},
        "solver": {"stability": False},
        "output": {
            "directory": str(folder), "pictures": False, "fields": False, "atoms": False
        },
    }  # fmt: skip
    return case_from_dict(case | changes, folder=Path())


def test_a_run_refines_itself_until_it_is_close_enough(tmp_path):
    wanted = {"total_h1": f"{TOLERANCE} angstrom", "quadratic": False}
    result = run_case(given(tmp_path, adaptivity=wanted), MPI.COMM_WORLD)
    rounds = result.adaptivity["rounds"]
    assert result.adaptivity["stopped"] == "the estimated error is small enough"
    errors = [row["total_h1"] for row in rounds]
    assert len(errors) > 1 and errors[0] > 2 * TOLERANCE and errors[-1] <= TOLERANCE
    assert all(a > b for a, b in itertools.pairwise(errors))
    assert rounds[-1]["evaluated_atoms"] > rounds[0]["evaluated_atoms"]
    # The full model agrees, and the input of the last round is what the result holds.
    assert result.comparison.total_h1 == pytest.approx(errors[-1], rel=0.1)
    assert result.case["adaptivity"] is None and result.case["regions"]["cores"]
    again = run_case(case_from_dict(dict(result.case), folder=Path()), MPI.COMM_WORLD)
    assert again.steps[-1].unknowns == rounds[-1]["unknowns"]


def test_a_run_refines_itself_to_an_energy_norm_and_tells_each_round(tmp_path):
    result = run_case(
        given(tmp_path, compare=SMALL, adaptivity={"energy_norm": 0.005, "quadratic": False}),
        MPI.COMM_WORLD,
    )
    rows = result.adaptivity["rounds"]
    assert result.adaptivity["stopped"] == "the estimated error is small enough"
    assert len(rows) > 1 and rows[0]["energy_norm"] > 0.005 >= rows[-1]["energy_norm"]
    for row in rows:
        assert row["energy"] == pytest.approx(row["energy_norm"] ** 2 / 2, rel=1e-6)
        assert row["elasticity_norm"] > 0 and 0 < row["deferred"] < 0.01 * row["energy_norm"]
        assert row["algebraic"] < 0.01 * row["energy_norm"]
    told = (tmp_path / "msolve.log").read_text()
    assert told.count("part of the error") == len(rows) + 1  # a table a round, and of the load step


def test_only_the_last_round_is_solved_and_estimated_to_the_end(tmp_path):
    wanted = {"total_h1": "0.0005 angstrom", "quadratic": False}
    result = run_case(given(tmp_path, adaptivity=wanted), MPI.COMM_WORLD)
    rounds = result.adaptivity["rounds"]
    assert [row["rough"] for row in rounds] == [True] * (len(rounds) - 1) + [False]
    assert all((row["contraction"] is None) == row["rough"] for row in rounds)
    # The run has nothing left to do, and its own estimate is that of the last round.
    step = result.steps[-1]
    assert step.converged and step.iterations == 0
    assert step.estimate["total_h1"] == pytest.approx(rounds[-1]["total_h1"], rel=1e-6)
    assert result.comparison.total_h1 == pytest.approx(rounds[-1]["total_h1"], rel=0.05)


@pytest.mark.parametrize(
    ("limit", "why"), [({"rounds": 2}, "rounds"), ({"atoms": 10}, "adaptivity.atoms")]
)
def test_a_run_stops_refining_where_it_is_told(limit, why, tmp_path):
    wanted = {"total_h1": "1e-6 angstrom", **limit}
    compare = {"rim": "2 angstrom", "tip_radius": "4 angstrom"}
    result = run_case(given(tmp_path, adaptivity=wanted, compare=compare), MPI.COMM_WORLD)
    assert why in result.adaptivity["stopped"]
    assert len(result.adaptivity["rounds"]) == limit.get("rounds", 1)
    assert result.status == "converged"


def test_defects_that_lie_in_no_core_are_found(tmp_path):
    a, row = 0.9659, 0.9659 * 0.75**0.5
    left = np.array([[(k - 9) * a, 0.0] for k in (-1, 0, 1)])
    right = np.array([[(k + 9) * a, 2 * row] for k in (-1, 0, 1)])
    holes = [[f"{x} angstrom", f"{y} angstrom"] for x, y in np.concatenate([left, right])]
    # The only core, of a few atoms, lies on neither crack.
    result = run_case(
        given(
            tmp_path,
            regions={"core_radius": "2 angstrom", "blend": "2 angstrom"},
            defect={"kind": "vacancy", "positions": holes},
            adaptivity={"total_h1": "0.02 angstrom"},
        ),
        MPI.COMM_WORLD,
    )
    errors = [row["total_h1"] for row in result.adaptivity["rounds"]]
    assert result.adaptivity["stopped"] == "the estimated error is small enough"
    assert errors[0] > 5 * errors[-1]
    cores = case_from_dict(dict(result.case), folder=Path()).regions.all_cores
    assert len(cores) > 2
    for crack in (left, right):
        X = np.column_stack([crack, np.zeros(3)])
        assert min(core.region().distance(X).max() for core in cores) < 0
    assert result.comparison.total_h1 == pytest.approx(errors[-1], rel=0.3)


@pytest.mark.parametrize("share", [0.3, 0.05])
def test_cores_open_where_the_finest_mesh_leaves_much_of_the_error(share):
    """With no missing site anywhere near: on the flanks of a crack, one core for marks on both of them."""
    setup = set_up(load_case(DECKS / "adaptive_crack.yaml"), MPI.COMM_SELF)
    near = setup.body.crystal.nearest_neighbour_distance
    at = -16 * near
    marks = np.array([[at, 1.1], [at, -1.1], [at + near, 1.1]])
    spread = np.random.default_rng(5).uniform(-30, 30, (400, 2))
    places = np.concatenate([marks, spread])
    parts = np.zeros((len(places), 2))
    parts[:3, 1], parts[3:, 0] = share / 3, (1 - share) / 400
    error = Error(places, parts, 0.5, np.zeros((188, 2)), 10.0, 1.0)
    none = np.zeros((0, 2))

    def opened(setup):
        case = refined(setup, marks, build_mesh(setup, MPI.COMM_SELF), none, error)
        return case.regions.all_cores[1:], case.mesh.fine

    # Long cells are cut first.
    assert not opened(setup)[0]
    fine = {"centre": [f"{at} angstrom", 0], "radius": "16 angstrom", "size": f"{near} angstrom"}
    case = setup.case.model_copy(update={"mesh": Mesh(growth=1.5, fine=[fine])})
    new, zones = opened(dataclasses.replace(setup, case=case))
    if share < OPENS:
        assert not new
    else:
        (core,) = new
        assert core.region().distance(np.column_stack([marks, np.zeros(3)])).max() < 0
        assert len(zones) == 1


@pytest.mark.slow
def test_two_cracks_of_which_nothing_is_told_are_found(tmp_path):
    """The deck as it is: its only core lies on neither."""
    changes = [f"output.directory={tmp_path}", "output.fields=false"]
    case = load_case(DECKS / "adaptive_two_cracks.yaml", changes)
    holes = np.column_stack([np.array(case.defect.positions)[:, :2], np.zeros(10)])
    assert all((core.region().distance(holes) > 15.0).all() for core in case.regions.all_cores)
    result = run_case(case, MPI.COMM_WORLD)
    assert result.adaptivity["stopped"] == "the estimated error is small enough"
    assert result.comparison.total_h1 < 1.1 * 0.03
    cores = case_from_dict(dict(result.case), folder=DECKS).regions.all_cores
    assert len(cores) == 3
    assert np.any([core.region().distance(holes) < 0 for core in cores], axis=0).all()
    assert {"refinement.png", "budget.png"} <= set(result.files)


def test_a_vacancy_beyond_the_sites_that_are_looked_for_takes_none_of_them(tmp_path):
    holes = [[0, 0], ["0.97 angstrom", 0], ["12 angstrom", "3 angstrom"]]
    positions = {"kind": "vacancy", "positions": holes}
    case = given(tmp_path, defect=positions, adaptivity={"total_h1": "1 angstrom"})
    body = set_up(case, MPI.COMM_WORLD).body
    every = body.sites(0.0).positions
    for reach in (2.0, 5.0, 11.6, 11.9, 12.2, 14.0):
        near = body.sites(0.0, reach).positions
        kept = every[np.abs(every[:, :2]).max(axis=1) <= reach]
        assert np.array_equal(near, kept)


def rounds_of(folder, **changes):
    return run_case(given(folder, compare=SMALL, **changes), MPI.COMM_WORLD)


def test_a_number_is_refined_for(tmp_path):
    goal = {"quantity": {"name": "pull", "tolerance": 1e-5}, "rounds": 6}
    pull = {"kind": "displacement", "name": "pull", "at": ["2 angstrom", "2 angstrom"]}
    result = rounds_of(tmp_path, adaptivity=goal, quantities=[pull | {"direction": [0, 1, 0]}])
    errors = [row["quantity"] for row in result.adaptivity["rounds"]]
    assert result.adaptivity["stopped"] == "the estimated error is small enough"
    assert len(errors) > 1 and errors[0] > 1e-5 >= errors[-1]
    told = result.steps[-1].quantities["pull"]
    assert abs(told["value"] - told["expected"]) <= 1.1e-5


@pytest.mark.parametrize(
    ("limit", "why"),
    [({"unknowns": 100}, "adaptivity.unknowns"), ({"seconds": 0.01}, "adaptivity.seconds")],
)
def test_budgets_end_refinement(limit, why, tmp_path):
    result = rounds_of(tmp_path, adaptivity=limit)
    assert why in result.adaptivity["stopped"] and len(result.adaptivity["rounds"]) == 1


def test_a_core_that_is_too_large_shrinks(tmp_path):
    wanted = {"total_h1": "0.3 angstrom"}
    large = {"core_radius": "12 angstrom", "blend": "2 angstrom"}
    result = rounds_of(tmp_path, adaptivity=wanted, regions=large)
    rows = result.adaptivity["rounds"]
    assert [row["how"] for row in rows[:2]] == ["start", "shrunk"]
    assert result.steps[-1].evaluated_atoms < 0.6 * rows[0]["evaluated_atoms"]
    assert result.steps[-1].estimate["total_h1"] <= 0.3


@pytest.mark.slow
def test_quadratic_elements_are_kept_only_where_they_pay(tmp_path):
    wanted = {"total_h1": "0.0002 angstrom", "atom_cost": 1}
    result = rounds_of(tmp_path, adaptivity=wanted)
    rows = result.adaptivity["rounds"]
    tried = [k for k, row in enumerate(rows) if "quadratic" in row["how"]]
    assert len(tried) == 1
    k = tried[0]
    before, usual, row = rows[k - 2], rows[k - 1], rows[k]
    gains = [
        np.log(before["total_h1"] / one["total_h1"]) / np.log(one["unknowns"] / before["unknowns"])
        for one in (usual, row)
    ]
    assert row["degree"] == 2 and row["kept"] == (gains[1] > gains[0])
    assert (result.case["mesh"]["degree"] == 2) == row["kept"]
    assert (
        not rounds_of(
            tmp_path / "off", adaptivity={"total_h1": "0.005 angstrom", "quadratic": False}
        ).case["mesh"]["degree"]
        == 2
    )


def test_the_body_grows_while_what_lies_beyond_matters(tmp_path):
    wanted = {"total_h1": "0.001 angstrom", "largest_radius": "25 angstrom", "rounds": 3}
    result = rounds_of(tmp_path, adaptivity=wanted, domain={"radius": "18 angstrom"})
    rows = result.adaptivity["rounds"]
    assert [row["radius"] for row in rows[:2]] == [18.0, 25.0]
    assert result.case["domain"]["radius"] == "25.0 angstrom"


def coupled(radius, body="30 angstrom", **mesh):
    case = given(
        "",
        compare=SMALL,
        regions={"core_radius": radius, "blend": "2 angstrom"},
        mesh=mesh,
        domain={"radius": body},
    )
    setup = set_up(case, MPI.COMM_SELF)
    return setup, build(setup, build_mesh(setup, MPI.COMM_SELF), MPI.COMM_SELF)


def test_a_solution_carried_over_to_its_own_problem_is_itself():
    setup, assembly = coupled("4 angstrom", growth=1.5)
    z, t = assembly.problem.kinematics.unknowns.vector(), 1.0
    assert solve(assembly, setup.case, z, t, Settings(tolerance=1e-8)).converged
    again = carried_over(assembly, z, t, assembly)
    assert (again - z).norm() < 1e-10 * z.norm()


def test_a_solution_carried_over_is_a_good_start():
    setup, before = coupled("4 angstrom", growth=1.5)
    z, t = before.problem.kinematics.unknowns.vector(), 1.0
    solve(before, setup.case, z, t, Settings(tolerance=1e-8))
    _, after = coupled("6 angstrom", growth=1.0)
    start = carried_over(before, z, t, after)
    zero, forces = start.duplicate(), start.duplicate()
    zero.set(0.0)
    sizes = []
    for state in (zero, start):
        after.problem.with_terms(after.force_terms).evaluate(state, t, forces)
        step = forces.duplicate()
        after.preconditioner.solve(forces, step)
        sizes.append(float(forces.dot(step)) ** 0.5)
    assert sizes[1] < 0.2 * sizes[0]


def test_a_body_that_was_pushed_out_starts_from_the_solution_of_the_smaller_one():
    setup, small = coupled("4 angstrom", body="18 angstrom", growth=1.5)
    # Whose answer does not depend on how far corrections go.
    forces = setup.case.coupling.model_copy(update={"method": "bqcf"})
    case = setup.case.model_copy(update={"coupling": forces})
    z, t = small.problem.kinematics.unknowns.vector(), 1.0
    solve(small, case, z, t, Settings(tolerance=1e-8))
    _, large = coupled("4 angstrom", body="27 angstrom", growth=1.5)
    zero = large.problem.kinematics.unknowns.vector()
    start = carried_over(small, z, t, large)
    ours, theirs = large.problem.gather(start, t), small.problem.gather(z, t)
    distance, twin = spatial.cKDTree(small.X[small.free]).query(large.X)
    same = distance < 1e-6
    assert same.sum() == small.free.sum()
    assert np.abs(ours[same] - theirs[small.free][twin[same]]).max() < 1e-9
    # Beyond the small body nothing is moved, and the mesh follows it without a jump at its rim.
    nodes = large.problem.snapshot(start, t).nodes
    away = np.linalg.norm(large.problem.kinematics.space.nodes(), axis=1)
    assert np.abs(nodes[away > 18.0]).max() < 1e-12 < np.abs(nodes[away < 15.0]).max()
    assert np.abs(nodes[(away > 15.5) & (away < 18.0)]).max() < 0.1 * np.abs(nodes).max()
    counts, ends = [], []
    for begin in (zero, start):
        x = begin.copy()
        for tolerance in (1e-4, 1e-8):  # as most rounds are solved, and to the end
            solved = solve(large, case, x, t, Settings(tolerance=tolerance))
            assert solved.converged
            counts.append(sum(report.iterations for report in solved.reports))
        ends.append(x)
    assert counts[2] < 0.8 * counts[0] and sum(counts[2:]) < sum(counts[:2])
    assert (ends[1] - ends[0]).norm() < 1e-7 * ends[0].norm()


def test_cells_that_lose_their_stability_are_found():
    _, assembly = coupled("4 angstrom", growth=1.5)
    z = assembly.problem.kinematics.unknowns.vector()
    assert len(unstable_cells(assembly, z, 1.0, 0.3)) == 0
    # Ten times the load pulls the crystal beyond its strength, everywhere.
    assert len(unstable_cells(assembly, z, 10.0, 0.3)) > 20
    assert len(unstable_cells(assembly, z, 10.0, 0.0)) == 0


SILICON = [
    "potential.committee=[potentials/si_sw_brittle.sw]",
    "domain.radius=30 angstrom",
    "regions.core_radius=5 angstrom",
    "regions.blend=6 angstrom",
]


def test_a_core_grows_to_where_a_committee_disagrees():
    setup = set_up(load_case(DECKS / "si_vacancy.yaml", SILICON), MPI.COMM_SELF)
    mesh = build_mesh(setup, MPI.COMM_SELF)
    assembly = build(setup, mesh, MPI.COMM_SELF)
    z, t = assembly.problem.kinematics.unknowns.vector(), setup.loads[-1]
    every = doubtful_atoms(assembly, z, t, -1.0)
    assert len(every) == np.sum(assembly.free & (assembly.beta > 0))
    spread = assembly.problem.patch.force_spread(assembly.problem.snapshot(z, t).positions)
    gate = float(np.median(spread[assembly.free & (assembly.beta > 0)]))
    some = doubtful_atoms(assembly, z, t, gate)
    assert 0 < len(some) < len(every)
    assert len(doubtful_atoms(assembly, z, t, None)) == 0
    cores = setup.regions.cores
    assert min(core.distance(np.column_stack([some, 0 * some[:, 0]])).min() for core in cores) > 0
    case = refined(setup, np.zeros((0, 2)), mesh, some)
    grown = set_up(case, MPI.COMM_SELF).regions.cores
    assert max(core.extent() for core in grown) > max(core.extent() for core in cores)


def test_doubt_needs_a_committee():
    with pytest.raises(CaseError, match=r"adaptivity.doubt: needs potential.committee"):
        load_case(DECKS / "adaptive_vacancy.yaml", ["adaptivity.doubt=0.1 eV/angstrom"])


def test_the_acoustic_tensor_of_an_isotropic_body_has_the_shear_modulus():
    one, lam, mu = np.eye(3), 0.7, 0.3
    C = lam * np.einsum("ij,kl->ijkl", one, one)
    C = C + mu * (np.einsum("ik,jl->ijkl", one, one) + np.einsum("il,jk->ijkl", one, one))
    assert acoustic_minimum(C[None]) == pytest.approx([mu])
