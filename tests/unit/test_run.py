# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Whole runs on small bodies: stability, load steps, methods that must agree."""

from pathlib import Path

from mpi4py import MPI

import pytest

from msolve.config import case_from_dict, load_case
from msolve.run import run_case

POTENTIALS = Path(__file__).parents[2] / "solver_configs" / "potentials"
QUIET = {"pictures": False, "fields": False, "atoms": False}


def small(tmp_path, **changes):
    """A 16 Å disc of tungsten, all atoms, as the input would say it."""
    given = {
        "crystal": {
            "structure": "bcc",
            "element": "W",
            "orientation": {"x1": [1, 0, 0], "x2": [0, 1, 0], "x3": [0, 0, 1]},
        },
        "potential": {"kind": "eam", "file": "w_eam4.eam.fs"},
        "domain": {"radius": "16 angstrom"},
        "load": {"kind": "affine", "strain": {"e22": 0.01}},
        "coupling": {"method": "atomistic"},
        "output": {"directory": str(tmp_path / "out"), **QUIET},
    }
    return case_from_dict(given | changes, folder=POTENTIALS)


def stretched(tmp_path, *, stability):
    load = {"kind": "affine", "strain": {"e22": 0.16}}
    case = small(tmp_path, load=load, solver={"stability": stability})
    return run_case(case, MPI.COMM_WORLD).steps[-1]


def test_a_saddle_is_left_for_a_lower_minimum(tmp_path):
    # 16 % along a cube edge: the homogeneous crystal is in equilibrium by symmetry, and unstable.
    saddle = stretched(tmp_path, stability=False)
    assert saddle.iterations == 0
    assert saddle.residual_norm < 1e-10
    minimum = stretched(tmp_path, stability=True)
    assert minimum.iterations > 0
    assert minimum.lowest_eigenvalue > 0
    assert minimum.energy < saddle.energy - 0.1


def test_a_stable_state_is_left_alone(tmp_path):
    step = run_case(small(tmp_path), MPI.COMM_WORLD).steps[-1]
    assert step.iterations == 0
    assert step.lowest_eigenvalue > 0.1


def test_load_steps_continue_from_each_other_and_end_where_one_step_ends(tmp_path):
    vacancy = {"defect": {"kind": "vacancy"}, "solver": {"gradient_tolerance": "1e-6 eV/angstrom"}}
    strain = {"kind": "affine", "strain": {"e22": 0.02}}
    one = run_case(small(tmp_path, load=strain, **vacancy), MPI.COMM_WORLD).steps
    two = run_case(
        small(tmp_path, load={**strain, "steps": [0.5, 1.0]}, **vacancy), MPI.COMM_WORLD
    ).steps
    assert [s.load for s in two] == [0.5, 1.0]
    assert two[0].energy < two[1].energy
    assert two[1].energy == pytest.approx(one[0].energy, abs=1e-8)
    assert two[1].iterations < one[0].iterations


def test_the_methods_that_solve_the_same_equations_agree(tmp_path):
    coupled = {
        "domain": {"radius": "36 angstrom"},
        "regions": {"core_radius": "8 angstrom", "blend": "8 angstrom"},
        "defect": {"kind": "vacancy"},
        "solver": {"gradient_tolerance": "1e-7 eV/angstrom"},
        "compare": {"atomistic": True},
    }
    errors = {}
    for method in ("bqcf", "bgfc_deferred", "bgfc", "bqce"):
        coupling = {"method": method, "correction_tolerance": "1e-6 eV/angstrom"}
        case = small(tmp_path, coupling=coupling, **coupled)
        errors[method] = run_case(case, MPI.COMM_WORLD).comparison
    total = {method: error.total_h1 for method, error in errors.items()}
    assert total["bgfc_deferred"] == pytest.approx(total["bqcf"], rel=1e-4)
    assert total["bqce"] > 10 * total["bqcf"]
    # One correction, taken at the predictor, leaves a ghost force that the vacancy feels.
    assert errors["bqcf"].tip_h1 < 0.5 * errors["bgfc"].tip_h1


@pytest.mark.parametrize(("method", "passes"), [("bqcf", True), ("bqce", False)])
def test_the_patch_test_deck_tells_methods_apart(tmp_path, method, passes):
    deck = POTENTIALS.parent / "patch_test.yaml"
    changes = [f"coupling.method={method}", f"output.directory={tmp_path}", "output.pictures=false"]
    error = run_case(load_case(deck, changes), MPI.COMM_WORLD).comparison
    assert (error.total_h1 < 1e-9) is passes
    assert (error.max_displacement_error < 1e-9) is passes
