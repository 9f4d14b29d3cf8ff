# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The cracks on which the learned handshake is compared, and what each handshake makes of them.

Loads, radius, meshes and mixtures of modes are none that the shipped model was trained on; two more crack planes and
another potential have models of their own, trained here on that plane or potential at other loads.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from common import (
    DECKS,
    Coupled,
    Reference,
    Row,
    as_row,
    best_error,
    error_of,
    prepare,
    solve_coupled,
    solve_full,
)

from msolve.against import FullModel
from msolve.config import load_case, load_handshake_training
from msolve.guarded import judge
from msolve.solvers import Settings
from msolve.train import train_handshake

TOLERANCE, RIM, TIP = 1e-6, 8.0, 9.0  # [eV/Å], [Å], [Å]
EXACT = 5e-6
"""Largest force in the full model [eV/Å]: its energy has not the digits for a line search much below."""

MODEL = DECKS / "potentials/w_handshake/w_handshake.pt"
FACE_100 = "crystal.orientation={x1: [0, 1, 0], x2: [1, 0, 0], x3: [0, 0, -1]}"
FACE_100_011 = "crystal.orientation={x1: [0, -1, 1], x2: [1, 0, 0], x3: [0, 1, 1]}"
CORES = (1.5, 2.0, 3.0, 4.0)

KINDS = {"slab": "slab", "recovered": "slab", "learned": "learned", "none": "none"}
"""What is compared, and the ``kind`` of its handshake."""


@dataclass(frozen=True)
class Held:
    """A crack that the model has not seen.

    Attributes:
        name: What tables call it.
        changes: To the deck.
        plane: Crack plane, front and potential: what a model belongs to.
        cores: Core radii over the cutoff.
        own: What a model of its own is trained on, if it needs one: keys of the section ``specimens``.
        deck: Deck.
        cutoff: Of the potential [Å].
    """

    name: str
    changes: tuple[str, ...]
    plane: str = "(110)[001]"
    cores: tuple[float, ...] = CORES
    own: str | None = None
    deck: str = "crack_eam"
    cutoff: float = 5.5


CASES = (
    Held("K = 0.90 K_G", ("load.K=0.90 K_G",)),
    Held("K = 0.95 K_G", ("load.K=0.95 K_G",)),
    Held("K = 1.05 K_G", ("load.K=1.05 K_G",)),
    Held("K = 1.12 K_G", ("load.K=1.12 K_G",)),
    Held("K = 1.15 K_G", ("load.K=1.15 K_G",)),
    Held("K_II = 0.1 K_I", ("load.K=1.0 K_G", "load.mode=[1, 0.1, 0]")),
    Held("K_II = -0.1 K_I", ("load.K=1.0 K_G", "load.mode=[1, -0.1, 0]")),
    Held("finer mesh", ("load.K=1.05 K_G", "mesh.growth=0.6")),
    Held("mesh of its own", ("load.K=1.05 K_G", "mesh.kind=free")),
    Held("quadratic elements", ("load.K=1.05 K_G", "mesh.degree=2")),
    Held(
        "(100)[001]",
        (FACE_100, "load.K=1.03 K_G"),
        "(100)[001]",
        own="K: [0.95, 1.1], shear: 0.05",
    ),
    Held(
        "(100)[011]",
        (FACE_100_011, "load.K=1.0 K_G"),
        "(100)[011]",
        own="K: [0.92, 1.06], shear: 0.05",
    ),
    Held(
        "MACE",
        ("load.K=1.03 K_G", "domain.radius=60 angstrom"),
        "(110)[001], MACE",
        (1.5, 2.0, 3.0),
        "count: 8, radius: 54 angstrom, K: [0.98, 1.1], shear: 0.03",
        "crack",
        5.0,
    ),
)


def models(folder: Path, cases: Sequence[Held] = CASES) -> dict[str, Path]:
    """The model of each case, trained in ``folder`` where it is not the shipped one."""
    return {held.name: MODEL if held.own is None else trained(held, folder) for held in cases}


def study(
    models: dict[str, Path], radius: float = 90.0, cases: Sequence[Held] = CASES
) -> list[Row]:
    """A row for each case, core and handshake."""
    rows: list[Row] = []
    for held in cases:
        for row in _case(held, models[held.name], radius):
            rows.append(row)
            print(row, flush=True)
    return rows


def guarded(coupled: Coupled, reference: Reference) -> bool:
    """Whether a run would keep its learned handshake."""
    setup, assembly = coupled.setup, coupled.assembly
    beside = FullModel(setup, assembly, reference.full)
    settings = Settings(tolerance=TOLERANCE)
    z, t, solved = coupled.z, coupled.t, coupled.solved
    found = beside.estimate(z, t, solved)
    return judge(setup, assembly, beside, z, t, None if found is None else found[0], settings).kept


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
        core = times * held.cutoff
        found: dict[str, Coupled] = {}
        for kind in KINDS:
            more = f", model: {model}" if kind == "learned" else ""
            more += "" if kind == "slab" else ", lift: quadratic"
            begin = time.process_time()
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
            seconds = time.process_time() - begin
            if reference is None:
                reference = solve_full(setup, EXACT, start=coupled)
            error = error_of(coupled, reference, RIM, TIP)
            kept = guarded(coupled, reference) if kind == "learned" else None
            yield {
                "case": held.name,
                "plane": held.plane,
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
