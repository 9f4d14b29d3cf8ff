# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What is said of the potential's own error, against that error: a linear potential of tungsten, MACE, their reference.

Cells and split are those of ``solver_configs/potentials/w_linear/train.yaml``. Spreads of a committee (fits to cells
drawn with replacement), of pointwise optimal parameter sets, and of Bayesian regression with the noise fitted are
calibrated on half of the test cells, and their coverage is counted on the other half, and on clusters cut out of
coupled runs that no training saw; so are draws of the last layers of MACE. Then cracks and vacancies: what is said of
their change from one potential to the other, and how much they do change. About ten minutes of one core; ``--quick``
takes one crack and one vacancy of each potential.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase import Atoms
from common import COLOUR, DECKS, Row, canvas, prepare, publish, solve_coupled, table
from matplotlib.figure import Figure

from msolve.against import FullModel
from msolve.compare import Norms, lift_to, unknowns_of
from msolve.config import LinearTraining, Training, load_case, load_training, training_from_dict
from msolve.goals import Goals
from msolve.io.log import RunLog
from msolve.model_error import ModelError
from msolve.potentials import Potential, load_potential
from msolve.potentials.linear import LinearModel
from msolve.potentials.pops import Normal, Parametric, drawn_model, pops, read_draws
from msolve.solvers import Settings, minimise
from msolve.train.clusters import cut_out, flagged, states_of
from msolve.train.draws import of_linear, padded
from msolve.train.labels import ENERGY, FORCES, label
from msolve.train.workshop import Sets, Workshop
from msolve.uncertainty import LabelledCell, Members, calibration
from msolve.uncertainty.calibration import Scores, quantile
from msolve.uncertainty.differences import with_model

Array = npt.NDArray[np.float64]

RECIPE = DECKS / "potentials/w_linear/train.yaml"
DRAWS = 16
MEMBERS = 4
LEVELS = (0.68, 0.95)
TOLERANCE = 1e-5
"""Of the solves [eV/Å]."""

NAMES = {
    "committee": "linear: committee of 5",
    "pops": "linear: POPS, 16 draws",
    "bayes": "linear: Bayesian, 16 draws",
    "mace": "MACE: POPS of its last layers, 16 draws",
}

FOLDER = DECKS / "potentials"
MODELS = {"linear": FOLDER / "w_linear/w_linear.linear", "mace": FOLDER / "w_mace/w_mace.model"}
"""Potentials that are held against their reference; their draws lie beside them."""

RUNS = (
    ("crack_eam", {"domain.radius": "40 angstrom", "load.K": "[0.8 K_G, 1.0 K_G, 1.2 K_G]"}),
    ("vacancy", {"domain.radius": "40 angstrom", "load.steps": "[0.5, 1.0, 2.0]"}),
    ("di_vacancy", {"domain.radius": "40 angstrom", "load.steps": "[0.5, 1.0, 2.0]"}),
)
"""Decks whose cores the clusters are cut from."""


def workshop() -> tuple[Training, Workshop, Sets]:
    """The recipe's cells, labelled and split."""
    given = load_training(RECIPE)
    data = given.to_dict() | {"output": {"directory": "results/model_error"}}
    given = training_from_dict(data, folder=str(RECIPE.parent))
    log = RunLog(0, Path("results/model_error"), "model error", 1)
    log.__enter__()
    shop = Workshop(given, log)
    return given, shop, shop.split(shop.cells())


def bayesian(normal: Normal, count: int, rng: np.random.Generator) -> Array:
    """Draws of Bayesian linear regression, the variance of the noise that of the residuals."""
    n, c = normal.rows.shape
    noise = np.sqrt((normal.residuals**2).sum() / (n - c))
    return normal.parameters(noise * rng.normal(size=(count, c)))


def members_of(model: Parametric, changes: Array) -> Members:
    """The model with other parameters."""
    return Members("pops", tuple(drawn_model(model, row, k) for k, row in enumerate(changes)))


def spreads(shop: Workshop, sets: Sets, model: LinearModel) -> dict[str, Members]:
    """What the model's error is told by."""
    given = shop.given.model
    assert isinstance(given, LinearTraining)
    normal = of_linear(model, given, sets.train)
    rng = np.random.default_rng(shop.given.seed)
    drawn = {"pops": pops(normal, DRAWS, rng), "bayes": bayesian(normal, DRAWS, rng)}
    found = {name: members_of(model, padded(rows, model)) for name, rows in drawn.items()}
    members: list[Potential] = [model, *shop.committee(sets, 0, MEMBERS)]
    return {"committee": Members("committee", tuple(members)), **found}


def clusters(shop: Workshop, model_file: Path, model: Potential) -> list[LabelledCell]:
    """Cores of runs with the model, cut out and labelled by the reference."""
    cells = []
    rng = np.random.default_rng(1)
    for deck, changes in RUNS:
        overrides = [f"{key}={value}" for key, value in changes.items()]
        section = f"potential={{kind: linear, file: {model_file}}}"
        case = load_case(DECKS / f"{deck}.yaml", [*overrides, section, "compare.atomistic=false"])
        for state in states_of(case, case.potential).states:
            # Those whose atoms are moved most, away from each other: the core, not the crystal around it.
            defect = 1 / (1 + np.linalg.norm(state.X[:, :2], axis=1))
            for atom in flagged(state, defect, 8, 2.0):
                found = cut_out(state, int(atom), 8.0, 2.5, 0.05, 12.0, rng)
                cells.append(as_cell(label(shop.reference, found)))
    return cells


def as_cell(atoms: Atoms) -> LabelledCell:
    """What a calibration makes of a labelled cell."""
    inner = atoms.arrays.get("inner", np.ones(len(atoms), dtype=bool))
    return LabelledCell(
        positions=atoms.positions,
        numbers=atoms.numbers.astype(np.int64),
        cell=atoms.cell.array,
        periodic=np.ones(3, dtype=bool),
        forces=atoms.arrays[FORCES],
        energy=float(atoms.info[ENERGY]),
        inside=np.asarray(inner, dtype=bool),
    )


def of_cells(model: Potential, members: Members, cells: Sequence[LabelledCell]) -> list[Scores]:
    """Scores of each cell."""
    return [calibration.scores(model, members, cell) for cell in cells]


def forces_in(found: Sequence[Scores]) -> Array:
    """Scores of the forces of some cells."""
    return np.concatenate([one.forces for one in found])


def energies_in(found: Sequence[Scores]) -> Array:
    """Scores of the energies of some cells."""
    return np.concatenate([one.energy for one in found])


@dataclasses.dataclass
class Coverage:
    """Scores of one kind of spread: of the two halves of the test cells and of the clusters."""

    kind: str
    fit: list[Scores]
    held: list[Scores]
    cluster_fit: list[Scores]
    cluster_held: list[Scores]

    def rows(self) -> list[Row]:
        """A row a level."""
        out: list[Row] = []
        for level, sigmas in zip(LEVELS, (1.0, 1.96), strict=True):
            factor = quantile(forces_in(self.fit), level)
            energy = quantile(energies_in(self.fit), level)
            own = quantile(forces_in(self.cluster_fit), level)
            clusters = [*self.cluster_fit, *self.cluster_held]
            row: Row = {"kind": NAMES[self.kind], "asked": f"{100 * level:.0f} %"}
            row["raw"] = _share(forces_in(self.held), sigmas)
            row["factor"] = f"{factor:.2f}"
            row["forces"] = _share(forces_in(self.held), factor)
            row["energies"] = _share(energies_in(self.held), energy)
            row["clusters"] = _share(forces_in(clusters), factor)
            row["own factor"] = f"{own:.2f}"
            row["own"] = _share(forces_in(self.cluster_held), own)
            out.append(row)
        return out


def _share(scores: Array, factor: float) -> str:
    return f"{100 * np.mean(scores <= factor):.1f} %"


COVERAGE = {
    "kind": "potential and spread",
    "asked": "asked",
    "raw": "uncalibrated, as if normal",
    "factor": "factor",
    "forces": "forces, held-out cells",
    "energies": "energies, held-out cells",
    "clusters": "forces in clusters of runs",
    "own factor": "factor by clusters",
    "own": "forces in held-out clusters",
}


def cases(quick: bool) -> list[tuple[str, str, dict[str, str]]]:
    """Name, deck, what is changed in it."""
    ring = "inner: 15 angstrom, outer: 32 angstrom"
    crack = f"[{{kind: energy}}, {{kind: opening, behind: 8 angstrom}}, {{kind: stress_intensity, {ring}}}]"
    point = "[{kind: energy}, {kind: displacement, at: [3.2 angstrom, 0 angstrom], direction: [1, 0, 0]}]"
    small = {"domain.radius": "40 angstrom", "regions.core_radius": "9 angstrom"}
    out = [
        ("crack", "crack_eam", small | {"quantities": crack, "load.K": f"{K} K_G"})
        for K in ((1.05,) if quick else (0.9, 1.0, 1.05, 1.1))
    ]
    for deck in ("vacancy",) if quick else ("vacancy", "di_vacancy"):
        out.append((deck.replace("_", "-"), deck, small | {"quantities": point}))
    out.append(("vacancy, MACE", "vacancy", small | {"quantities": point}))
    out.append(("crack, MACE", "crack_eam", small | {"quantities": crack, "load.K": "1.05 K_G"}))
    return out


def held_against(kind: str, deck: str, changes: dict[str, str]) -> list[Row]:
    """What is said of the change from the model to its reference in one case, and the change."""
    model = "mace" if kind.endswith("MACE") else "linear"
    overrides = [f"{key}={value}" for key, value in changes.items()]
    overrides.append(f"potential={{kind: {model}, file: {MODELS[model]}}}")
    reference = f"{{kind: reference, potential: {{kind: eam, file: {FOLDER / 'w_eam4.eam.fs'}}}}}"
    setup, assembly = prepare(DECKS / f"{deck}.yaml", [*overrides, f"model_error={reference}"])
    coupled = solve_coupled(setup, assembly, setup.case.coupling.method, TOLERANCE)
    z, t = coupled.z, coupled.t
    full = FullModel(setup, assembly)
    goals = Goals(setup, assembly, full)
    doubts = ModelError(setup, assembly, full, goals)
    told = doubts(z, t)
    assert told is not None
    beside = doubts.beside
    whole, other = beside.whole, beside.members.potentials[0]
    settings = Settings(tolerance=TOLERANCE / 10)
    ours = unknowns_of(whole, lift_to(assembly, z, t, whole), t)
    minimise(whole.problem, ours, t, whole.preconditioner, settings)
    theirs, problem = ours.copy(), with_model(whole, other, whole.evaluated)
    report = minimise(problem, theirs, t, whole.preconditioner, settings)
    if not report.converged:
        raise RuntimeError(f"the reference stopped at {report.residual:.2g} eV/angstrom")
    y, truth = whole.problem.gather(ours, t), whole.problem.gather(theirs, t)
    given = setup.case.compare
    norms = Norms.of(whole, rim=given.rim, tip_radius=given.tip_radius)
    load = changes.get("load.K", "")
    name = f"{kind} {load}".strip()
    rows: list[Row] = [
        _against(name, "H1 norm", "Å", float(told["total_h1"]), norms.total(truth - y)),
        _against(name, "near the defect", "Å", float(told["tip_h1"]), norms.tip(truth - y)),
    ]
    for quantity, (functional, unit, size) in goals.functionals(whole, t).items():
        change = (functional.value(truth) - functional.value(y)) / size
        said = told["quantities"][quantity]["change"]
        rows.append(_against(name, quantity, unit, said, change))
    before = whole.problem.evaluate(ours, t, ours.duplicate()) - beside.perfect[0]
    after = problem.evaluate(theirs, t, ours.duplicate()) - beside.perfect[1]
    rows.append(_against(name, "energy", "eV", told["energy"]["change"], after - before))
    by_spread = _said_by_spreads(MODELS[model], setup, assembly, z, t, full, goals)
    for row in rows:
        row |= {sort: by_spread[sort].get(str(row["quantity"])) for sort in by_spread}
    return rows


def _against(case: str, quantity: str, unit: str, said: float, true: float) -> Row:
    return {"case": case, "quantity": quantity, "unit": unit, "said": said, "true": true}


def _said_by_spreads(file, setup, assembly, z, t, full, goals) -> dict[str, dict[str, float]]:  # type: ignore[no-untyped-def]
    """What the draws, calibrated to 95 %, say of the same numbers."""
    data = setup.case.to_dict()
    data["model_error"] = {
        "kind": "pops",
        "file": str(file.with_suffix(".draws")),
        "calibration": str(FOLDER / "w_linear/w_linear.test.extxyz"),
    }
    case = type(setup.case).model_validate(data, context={"folder": DECKS})
    told = ModelError(dataclasses.replace(setup, case=case), assembly, full, goals)(z, t)
    assert told is not None
    found = {"H1 norm": told["total_h1"], "near the defect": told["tip_h1"]}
    found["energy"] = told["energy"]["size"]
    found |= {name: one["size"] for name, one in told["quantities"].items()}
    return {"pops": found}


CHANGES = {
    "case": "case",
    "quantity": "of",
    "unit": "",
    "said": "said by the reference's forces",
    "true": "true change",
    "pops": "POPS, 95 %",
}


def told_in_words(rows: list[Row]) -> list[Row]:
    """Numbers in three digits."""
    return [{k: f"{v:.3g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]


def draw(found: Sequence[Coverage], changes: list[Row]) -> Figure:
    """Measured over asked coverage; said over true change."""
    figure, (left, right) = canvas(9.6, 4.2, columns=2)
    asked = np.linspace(0.3, 0.99, 40)
    for one, colour in zip(found, COLOUR.values(), strict=False):
        factors = [quantile(forces_in(one.fit), level) for level in asked]
        held, clusters = forces_in(one.held), forces_in([*one.cluster_fit, *one.cluster_held])
        left.plot(
            asked, [np.mean(held <= f) for f in factors], "-", color=colour, label=NAMES[one.kind]
        )
        left.plot(asked, [np.mean(clusters <= f) for f in factors], "--", color=colour)
    left.plot([0.3, 1], [0.3, 1], color="#999999", lw=1, zorder=0)
    left.set_xlabel("coverage asked for")
    left.set_ylabel("share of forces covered")
    left.set_title("held-out cells (lines), clusters of runs (dashed)", fontsize=9)
    left.legend(fontsize=8)
    marks = {"H1 norm": "o", "near the defect": "s", "energy": "^"}
    for name in dict.fromkeys(str(row["quantity"]) for row in changes):
        mine = [row for row in changes if row["quantity"] == name]
        true = np.abs([float(row["true"]) for row in mine])  # type: ignore[arg-type]
        said = np.abs([float(row["said"]) for row in mine])  # type: ignore[arg-type]
        right.loglog(true, said, marks.get(name, "D"), ms=5, label=name, alpha=0.8)
    limits = (*right.get_xlim(), *right.get_ylim())
    ends = (min(limits), max(limits))
    right.plot(ends, ends, color="#999999", lw=1, zorder=0)
    right.set_xlabel("true change from the model to its reference")
    right.set_ylabel("said by the reference's forces")
    right.set_title("each in its unit", fontsize=9)
    right.legend(fontsize=8)
    return figure


def main() -> None:
    """Run all of it and write tables and picture."""
    quick = "--quick" in sys.argv
    _, shop, sets = workshop()
    model, made, _ = shop.train(sets)
    assert isinstance(model, LinearModel)
    file = shop.folder / str(made.potential["file"])
    test = [as_cell(atoms) for atoms in sets.test]
    cut = clusters(shop, file, model)
    print(f"{len(test)} test cells, {len(cut)} clusters", flush=True)
    found = []
    mace = load_potential(MODELS["mace"], "mace")
    assert isinstance(mace, Parametric)
    drawn = Members("pops", read_draws(MODELS["mace"].with_suffix(".draws"), mace))
    for kind, members in {**spreads(shop, sets, model), "mace": drawn}.items():
        one_of: Potential = mace if kind == "mace" else model  # type: ignore[assignment]
        on_test, on_cut = of_cells(one_of, members, test), of_cells(one_of, members, cut)
        one = Coverage(kind, on_test[::2], on_test[1::2], on_cut[::2], on_cut[1::2])
        found.append(one)
        print(*one.rows(), sep="\n", flush=True)
    changes: list[Row] = []
    for case in cases(quick):
        changes += held_against(*case)
        print(*changes[-5:], sep="\n", flush=True)
    rows = [row for one in found for row in one.rows()]
    text = f"{table(rows, COVERAGE)}\n\n{table(told_in_words(changes), CHANGES)}"
    if quick:
        print(text)
    else:
        every = [*rows, *changes]
        publish("model_error", every, text, draw(found, changes), page="guarantees")


if __name__ == "__main__":
    main()
