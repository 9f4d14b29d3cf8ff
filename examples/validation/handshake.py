# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a learned handshake is worth: cracks in tungsten with none, the slab, the learned one, and the oracle.

Loads, radius, meshes and mixtures of modes are none that it was trained on; two more crack planes have models of their
own, trained here. All but the plain slab lift atoms with quadratic recovery. The oracle is the best state that the
unknowns can take with the slab's relaxation.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import yaml
from common import (
    COLOUR,
    DECKS,
    DOCS,
    Coupled,
    Reference,
    Row,
    as_row,
    best_error,
    canvas,
    error_of,
    prepare,
    publish,
    slope,
    solve_coupled,
    solve_full,
    table,
)
from matplotlib.figure import Figure

from msolve.against import FullModel
from msolve.assemble import Assembly, full_atomistic
from msolve.build import Setup
from msolve.compare import bonds, lift_to
from msolve.config import load_case, load_handshake_training
from msolve.errors import ConvergenceError
from msolve.guarded import judge
from msolve.methods import solve
from msolve.solvers import Settings, minimise
from msolve.train import train_handshake
from msolve.train.flanks import tip_moved

TOLERANCE, RIM, TIP = 1e-6, 8.0, 9.0  # [eV/Å], [Å], [Å]
CUTOFF = 5.5
"""Of the embedded-atom potential [Å]."""

MODEL = DECKS / "potentials/w_handshake/w_handshake.pt"
FACE_100 = "crystal.orientation={x1: [0, 1, 0], x2: [1, 0, 0], x3: [0, 0, -1]}"
FACE_100_011 = "crystal.orientation={x1: [0, -1, 1], x2: [1, 0, 0], x3: [0, 1, 1]}"


KINDS = {"slab": "slab", "recovered": "slab", "learned": "learned", "none": "none"}
"""What is compared, and the ``kind`` of its handshake."""

PARTS = {
    "degree": "degree",
    "core": "core / cutoff",
    "handshake": "handshake",
    "flank9": "flanks, 9 to 20 Å",
    "flank20": "20 to 40 Å",
    "flank40": "beyond",
    "bulk9": "bulk, 9 to 20 Å",
    "bulk20": "20 to 40 Å",
    "bulk40": "beyond",
}


@dataclass(frozen=True)
class Held:
    """A crack that the model has not seen.

    Attributes:
        name: What tables call it.
        changes: To the deck.
        cores: Core radii over the cutoff.
        own: What a model of its own is trained on, if it needs one: keys of the section ``specimens``.
        deck: Deck.
    """

    name: str
    changes: tuple[str, ...]
    cores: tuple[float, ...] = (1.5, 2.0, 3.0, 4.0)
    own: str | None = None
    deck: str = "crack_eam"


CASES = (
    Held("K = 0.95 K_G", ("load.K=0.95 K_G",)),
    Held("K = 1.05 K_G", ("load.K=1.05 K_G",)),
    Held("K = 1.12 K_G", ("load.K=1.12 K_G",)),
    Held("K_II = 0.1 K_I", ("load.K=1.0 K_G", "load.mode=[1, 0.1, 0]"), (1.5, 2.0, 3.0)),
    Held("finer mesh", ("load.K=1.05 K_G", "mesh.growth=0.6"), (1.5, 2.0, 3.0)),
    Held("mesh of its own", ("load.K=1.05 K_G", "mesh.kind=free"), (1.5, 2.0, 3.0)),
    Held("quadratic elements", ("load.K=1.05 K_G", "mesh.degree=2"), (1.5, 2.0, 3.0)),
    Held(
        "(100)[001]", (FACE_100, "load.K=1.03 K_G"), (1.5, 2.0, 3.0), "K: [0.95, 1.1], shear: 0.05"
    ),
    Held(
        "(100)[011]",
        (FACE_100_011, "load.K=1.0 K_G"),
        (1.5, 2.0, 3.0),
        "K: [0.92, 1.06], shear: 0.05",
    ),
    Held(
        "MACE",
        ("load.K=1.03 K_G", "domain.radius=60 angstrom"),
        (1.5, 2.0),
        "count: 8, radius: 54 angstrom, K: [0.98, 1.1], shear: 0.03",
        "crack",
    ),
)


def study(radius: float = 90.0, cases: Sequence[Held] = CASES) -> list[Row]:
    """A row for each case, core and handshake."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for held in cases:
            model = MODEL if held.own is None else trained(held, Path(folder))
            for row in _case(held, model, radius):
                rows.append(row)
                print(row, flush=True)
    return rows


def trained(held: Held, folder: Path) -> Path:
    """A model for a crack plane of its own."""
    turned = [c for c in held.changes if c.startswith("crystal")]
    case = load_case(DECKS / f"{held.deck}.yaml", turned)
    given = case.to_dict()
    given["potential"]["file"] = str(case.path(given["potential"]["file"]).resolve())
    here = folder / held.name.strip("()").replace(")[", "_").rstrip("]")
    here.mkdir()
    (here / "deck.yaml").write_text(yaml.safe_dump(given))
    (here / "own.yaml").write_text(
        f"deck: deck.yaml\nspecimens: {{{held.own}}}\noperator: {{degrees: [1]}}\n"
        f"output: {{directory: {here / 'own'}}}\n"
    )
    return train_handshake(load_handshake_training(here / "own.yaml")) / "own.pt"


def _case(held: Held, model: Path, radius: float) -> Iterator[Row]:
    reference: Reference | None = None
    for times in held.cores:
        core = times * CUTOFF
        found: dict[str, Coupled] = {}
        for kind in KINDS:
            more = f", model: {model}" if kind == "learned" else ""
            more += "" if kind == "slab" else ", lift: quadratic"
            begin = time.perf_counter()
            setup, assembly = prepare(
                DECKS / f"{held.deck}.yaml",
                [
                    f"domain.radius={radius} angstrom",
                    f"regions.core_radius={core} angstrom",
                    *held.changes,
                    f"coupling.handshake={{kind: {KINDS[kind]}{more}}}",
                ],
            )
            found[kind] = coupled = solve_coupled(setup, assembly, "bgfc_deferred", TOLERANCE)
            seconds = time.perf_counter() - begin
            if reference is None:
                reference = solve_full(setup, TOLERANCE, start=coupled)
            error = error_of(coupled, reference, RIM, TIP)
            kept = None
            if kind == "learned":
                beside = FullModel(setup, assembly, reference.full)
                told = beside.estimate(coupled.z, coupled.t, coupled.solved)
                kept = judge(
                    setup,
                    assembly,
                    beside,
                    coupled.z,
                    coupled.t,
                    None if told is None else told[0],
                    Settings(tolerance=TOLERANCE),
                ).kept
            yield {
                "case": held.name,
                "core": times,
                "handshake": kind,
                "atoms": int(assembly.evaluated.sum()),
                "unknowns": coupled.unknowns,
                "kept": kept,
                "iterations": sum(report.iterations for report in coupled.solved.reports),
                "seconds": seconds,
                **as_row(error),
            }
        assert reference is not None
        slab = found["recovered"]
        yield {
            "case": held.name,
            "core": times,
            "handshake": "oracle",
            "total_h1": best_error(slab.setup, slab.assembly, reference, RIM),
        }


def gains(rows: Sequence[Row]) -> list[Row]:
    """One row a case and core: errors side by side, and what the learned handshake gains over the slab."""
    out: list[Row] = []
    for row in rows:
        if row["handshake"] != "slab":
            continue
        own = {
            str(r["handshake"]): r
            for r in rows
            if (r["case"], r["core"]) == (row["case"], row["core"])
        }
        slab, learned = own["recovered"], own["learned"]
        if own["slab"]["total_h1"] < slab["total_h1"]:  # type: ignore[operator]
            slab = own["slab"]
        out.append(
            {
                "case": row["case"],
                "core": row["core"],
                **{kind: own[kind]["total_h1"] for kind in (*KINDS, "oracle")},
                "gain": float(slab["total_h1"]) / float(learned["total_h1"]),  # type: ignore[arg-type]
                "room": float(slab["total_h1"]) / float(own["oracle"]["total_h1"]),  # type: ignore[arg-type]
                "kept": "yes" if learned["kept"] else "no",
                "tip_slab": slab["tip_h1"],
                "tip_learned": learned["tip_h1"],
                "tip_gain": float(slab["tip_h1"]) / float(learned["tip_h1"]),  # type: ignore[arg-type]
                "energy_slab": slab["energy"],
                "energy_learned": learned["energy"],
                "saved": atoms_for(rows, str(row["case"]), float(learned["total_h1"]))  # type: ignore[arg-type]
                / float(learned["atoms"]),  # type: ignore[arg-type]
                "cost": float(learned["iterations"]) / float(slab["iterations"]),  # type: ignore[arg-type]
            }
        )
    return out


def draw(rows: Sequence[Row]) -> Figure:
    """Total and tip error over the core radius, K = 1.05 K_G; and the gain in every case."""
    figure, axes = canvas(11.0, 4.2, columns=3)
    style = {
        "none": ("#999999", "v", "none"),
        "slab": (COLOUR["bqce"], "s", "slab"),
        "recovered": (COLOUR["bgfc"], "^", "slab, recovered lift"),
        "learned": (COLOUR["bqcf"], "o", "learned"),
        "oracle": ("#333333", "*", "oracle (best of the space)"),
    }
    for axis, key, title in zip(
        axes[:2],
        ("total_h1", "tip_h1"),
        ("Whole body", f"Within {TIP:g} Å of the tip"),
        strict=True,
    ):
        for kind, (colour, marker, label) in style.items():
            own = [
                r for r in rows
                if r["case"] == "K = 1.05 K_G" and r["handshake"] == kind and key in r
            ]  # fmt: skip
            axis.loglog(
                [r["core"] for r in own],
                [r[key] for r in own],
                marker + "-",
                color=colour,
                label=label,
            )
        axis.set_xticks([1.5, 2, 3, 4], ["1.5", "2", "3", "4"])
        axis.minorticks_off()
        axis.set(xlabel="core radius over the cutoff", ylabel="H1 error [Å]", title=title)
    axes[0].legend()
    table_of = gains(rows)
    names = list(dict.fromkeys(str(r["case"]) for r in table_of))
    for place, name in enumerate(reversed(names)):
        own = [r for r in table_of if r["case"] == name]
        axes[2].plot([r["gain"] for r in own], [place] * len(own), "o", color=COLOUR["bqcf"])
        axes[2].plot(
            [r["tip_gain"] for r in own],
            [place] * len(own),
            "|",
            color=COLOUR["bgfc_deferred"],
            markersize=11,
        )
    axes[2].plot([], [], "o", color=COLOUR["bqcf"], label="whole body")
    axes[2].plot([], [], "|", color=COLOUR["bgfc_deferred"], markersize=11, label="tip")
    axes[2].axvline(1.0, color="#888888", linewidth=1, linestyle=":")
    axes[2].set_yticks(range(len(names)), list(reversed(names)))
    axes[2].set(xlabel="error, slab over learned", title="Gain, all cores")
    axes[2].legend(loc="lower right")
    return figure


def where(radius: float = 90.0) -> list[Row]:
    """Where the error sits, K = 1.05 K_G: H1 norms over bonds of flanks and bulk, by their distance from the tip."""
    rows: list[Row] = []
    for degree, times in ((1, 1.5), (1, 3.0), (2, 1.5), (2, 3.0)):
        reference: Reference | None = None
        for kind in ("slab", "learned"):
            more = f", model: {MODEL}" if kind == "learned" else ""
            changes = [
                f"domain.radius={radius} angstrom",
                f"regions.core_radius={times * CUTOFF} angstrom",
                f"mesh.degree={degree}",
                f"coupling.handshake={{kind: {kind}, lift: quadratic{more}}}",
            ]
            setup, assembly = prepare(DECKS / "crack_eam.yaml", changes)
            coupled = solve_coupled(setup, assembly, "bgfc_deferred", TOLERANCE)
            reference = reference or solve_full(setup, TOLERANCE, start=coupled)
            full, t = reference.full, coupled.t
            e = lift_to(assembly, coupled.z, t, full) - full.problem.gather(reference.z, t)
            i, j = bonds(full)
            inside = setup.body.shape.distance(full.X) < -RIM
            i, j = i[inside[i] & inside[j]], j[inside[i] & inside[j]]
            square, middle = ((e[i] - e[j]) ** 2).sum(axis=1), 0.5 * (full.X[i] + full.X[j])
            r = np.hypot(middle[:, 0], middle[:, 1])
            deep = np.abs(middle[:, 1]) - setup.body.half_gap
            flank = (middle[:, 0] < 0) & (deep < 7.0)
            row: Row = {"degree": degree, "core": times, "handshake": kind}
            for name, own in (("flank", flank), ("bulk", ~flank)):
                for low, high in ((TIP, 20.0), (20.0, 40.0), (40.0, np.inf)):
                    chosen = own & (r >= low) & (r < high)
                    row[f"{name}{low:g}"] = float(np.sqrt(square[chosen].sum()))
            rows.append(row)
            print(row, flush=True)
    return rows


def trapping(core: float = 1.5 * CUTOFF, radius: float = 60.0) -> list[Row]:
    """Loads between which the lattice holds the crack where it is, for the full model and the coupled ones.

    From 1.05 K_G the load moves in steps of 1 % until the tip does, each step from the state before; the step is halved
    twice.
    """
    rows: list[Row] = []
    for kind in ("atomistic", "slab", "learned"):
        more = f", model: {MODEL}" if kind == "learned" else ""
        changes = [
            f"domain.radius={radius} angstrom",
            f"regions.core_radius={core} angstrom",
            "load.K=1.05 K_G",
            f"coupling.handshake={{kind: {'slab' if kind == 'atomistic' else kind}, lift: quadratic{more}}}",
        ]
        setup, assembly = prepare(DECKS / "crack_eam.yaml", changes)
        full = full_atomistic(MPI.COMM_WORLD, replace(setup.body, learned=None))
        model = full if kind == "atomistic" else assembly
        begun = model.problem.kinematics.unknowns.vector()
        found = [_last(setup, model, full, begun, way) for way in (1.0, -1.0)]
        rows.append({"model": kind, "core": core, "upper": found[0], "lower": found[1]})
        print(rows[-1], flush=True)
    return rows


def _last(setup: Setup, model: Assembly, full: Assembly, z: PETSc.Vec, way: float) -> float:
    """Last load over K_G at which the crack stays, going up or down."""
    assert setup.K_G is not None
    K, step, z = 1.05, 0.01, z.copy()
    begun = _tip(setup, model, full, z, K * setup.K_G)
    while step > 0.002 and 0.6 < K < 1.6:
        tried = z.copy()
        tip = _tip(setup, model, full, tried, (K + way * step) * setup.K_G)
        if abs(tip - begun) < 0.5 * setup.body.crystal.nearest_neighbour_distance:
            K, z = K + way * step, tried
        else:
            step /= 2
    return K


def _tip(setup: Setup, model: Assembly, full: Assembly, z: PETSc.Vec, t: float) -> float:
    """Where the last broken bond is once ``z`` is in equilibrium [Å]; infinite where there is none."""
    try:
        if model is full:
            minimise(full.problem, z, t, full.preconditioner, Settings(tolerance=1e-4))
            y = full.problem.gather(z, t)
        else:
            solve(model, setup.case, z, t, Settings(tolerance=1e-4))
            y = lift_to(model, z, t, full)
    except ConvergenceError:
        return float("inf")
    return tip_moved(full.X, y, setup.body)


def atoms_for(rows: Sequence[Row], held: str, error: float) -> float:
    """Evaluated atoms that the slab handshake needs for an error, between those tried or a little beyond."""
    own = [r for r in rows if r["case"] == held and r["handshake"] == "recovered"]
    errors, atoms = (np.log([float(r[k]) for r in own]) for k in ("total_h1", "atoms"))  # type: ignore[arg-type]
    if error < np.exp(errors.min()):
        power, at_one = np.polyfit(errors[-2:], atoms[-2:], 1)
        return float(np.exp(at_one + power * np.log(error)))
    return float(np.exp(np.interp(np.log(error), errors[::-1], atoms[::-1])))


def _rate(rows: Sequence[Row], kind: str) -> float:
    own = [r for r in rows if (r["case"], r["handshake"]) == ("K = 1.05 K_G", kind)]
    return slope([float(r["core"]) for r in own], [float(r["total_h1"]) for r in own])  # type: ignore[arg-type]


def main() -> None:
    """Run the whole study and publish it."""
    kept = DOCS / "figures" / "handshake_gain.json"
    if "redraw" in sys.argv[1:]:
        known = json.loads(kept.read_text())
        rows, limits, parts = known["rows"], known["limits"], known["parts"]
    else:
        rows, limits, parts = study(), trapping(), where()
    found = gains(rows)
    few = [r for r in found if float(r["core"]) <= 2]  # type: ignore[arg-type]
    small = [float(r["gain"]) if r["kept"] == "yes" else 1.0 for r in few]  # type: ignore[arg-type]
    tips = [float(r["tip_gain"]) if r["kept"] == "yes" else 1.0 for r in few]  # type: ignore[arg-type]
    saved = [float(r["saved"]) if r["kept"] == "yes" else 1.0 for r in few]  # type: ignore[arg-type]
    rejected = sum(r["kept"] == "no" for r in found)
    columns = {
        "case": "case",
        "core": "core / cutoff",
        "none": "none",
        "slab": "slab",
        "recovered": "slab, recovered lift",
        "learned": "learned",
        "oracle": "oracle",
        "gain": "gain",
        "room": "room",
        "kept": "kept by the guard",
        "tip_slab": "tip, slab",
        "tip_learned": "tip, learned",
        "tip_gain": "tip gain",
        "saved": "atoms of the slab for the same error / atoms",
        "cost": "iterations, learned / slab",
    }
    every = [float(r["gain"]) if r["kept"] == "yes" else 1.0 for r in found]  # type: ignore[arg-type]
    text = (
        table(found, columns)
        + (
            f"\n\nH1 errors in Å. {rejected} of {len(found)} rejected by the guard, counted as 1 here. Median gain, "
            f"cores of at most two cutoffs: {np.median(small):.2f} in all, "
            f"{np.median(tips):.2f} at the tip; over all cores {np.median(every):.2f}, least {min(every):.2f}. "
            f"In the median the slab needs {np.median(saved):.2f} times the atoms of such a core for the same error. "
            "Gain: error of the best classical handshake over that of the learned one; room: over that of the "
            "oracle. All but the column *slab* with the recovered lift.\n\n"
            + f"Exponent of the error over the core radius, K = 1.05 K_G: slab {_rate(rows, 'recovered'):.2f}, learned "
            f"{_rate(rows, 'learned'):.2f}.\n\n"
            + table(
                limits,
                {"model": "model", "lower": "heals below [K_G]", "upper": "runs above [K_G]"},
            )
            + f"\n\nLoads between which the lattice holds the crack, body of 60 Å, core {float(limits[1]['core']):g} Å."  # type: ignore[arg-type]
            + "\n\n"
            + table(parts, PARTS)
            + "\n\nWhere the error sits at K = 1.05 K_G [Å]: bonds of the outer 7 Å of the flanks, and all others, "
            "by their distance from the tip."
        )
    )
    publish("gain", rows, text, draw(rows), page="handshake", limits=limits, parts=parts)


if __name__ == "__main__":
    main()
