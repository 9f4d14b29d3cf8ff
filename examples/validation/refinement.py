# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Refinement by the estimated error against cores of one radius: true error over atoms, unknowns and seconds.

Two opponents: such a core that grows in rounds until the same estimate meets the same tolerance, and the one core
that would have been right, which is known in hindsight only. Seconds are those of this process on its core, rounds and
estimates added up, the least of several runs; the full model that true errors need is not among them.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mpi4py import MPI

from common import (
    DECKS,
    Coupled,
    Reference,
    Row,
    error_of,
    prepare,
    publish,
    solve_coupled,
    solve_full,
    table,
)
from handshake_cracks import CASES as HANDSHAKES
from handshake_cracks import trained
from refinement_tables import COLUMNS, COMPARED, draw, ratios

from msolve.adapt import Refinement, adapt
from msolve.build import set_up
from msolve.config import load_case
from msolve.io.log import RunLog
from msolve.refinement import fits
from msolve.rounds import Round
from msolve.solvers import Settings

TOLERANCE = 1e-5  # [eV/Å]
THREE = "[[-0.97 angstrom, 0], [0, 0], [0.97 angstrom, 0]]"
REPEATS, SHORT = 2, 8.0
"""Runs of which the quickest counts, where they are shorter than so many seconds."""

GROWTH = 1.5
"""Of the core's radius from round to round, where it grows uniformly."""

LEARNED = "coupling.handshake={kind: learned, lift: quadratic, model: potentials/w_handshake/w_handshake.pt}"
NETWORK = (
    "potential={kind: mace, file: potentials/w_mace/w_mace.model}",
    "continuum.law=potentials/w_mace/w_mace.law",
    "domain.radius=80 angstrom",
    "estimate.kind=elasticity",
)
"""The mesh follows a learned law, and no estimate asks for Hessian products: they are what a network is slow at."""

LARGE = ("domain.radius=200 angstrom",)
SAMPLED = ("domain.radius=700 angstrom",)
"""More atoms than are visited: estimates are from a sample, for the opponents too."""

MICRO = (
    f"defect.positions={THREE}",
    "regions.cores=[]",
    "regions.core_radius=2.5 angstrom",
    "regions.blend=2 angstrom",
    "adaptivity.atom_cost=1",
)


@dataclass(frozen=True)
class Refined:
    """A deck that refines itself from a few atoms, once for each target, the H1 error that is wanted.

    Attributes:
        deck: It.
        changes: To the deck.
        targets: Errors [Å].
        against: Key of ``RADII``: cores of one radius that this is compared with in atoms and seconds, if any.
    """

    deck: str
    changes: tuple[str, ...]
    targets: tuple[str, ...]
    against: str | None = None


CASES = {
    "vacancy, W": Refined("adaptive_vacancy", (), ("0.0001",)),
    "crack, W": Refined("adaptive_crack", (), ("0.009",), "crack, W"),
    "crack, W, learned handshake": Refined(
        "adaptive_crack", (LEARNED,), ("0.012", "0.0065", "0.005"), "crack, W"
    ),
    "the same, atoms ten times as dear": Refined(
        "adaptive_crack", (LEARNED, "adaptivity.atom_cost=100"), ("0.0065",), "crack, W"
    ),
    "crack, W, 200 Å, learned handshake": Refined(
        "adaptive_crack", (*LARGE, LEARNED), ("0.0035",), "crack, W, 200 Å"
    ),
    "crack, W, 700 Å, learned handshake": Refined(
        "adaptive_crack", (*SAMPLED, LEARNED), ("0.0035",), "crack, W, 700 Å"
    ),
    "3 atoms removed, triangular": Refined("micro_crack_triangular", MICRO, ("0.0008",)),
    "the same, quadratic": Refined(
        "micro_crack_triangular", (*MICRO, "mesh.degree=2", "mesh.coarseness=3"), ("0.0008",)
    ),
}


def network_case(folder: Path) -> Refined:
    """The crack with a network, whose handshake is trained first."""
    (held,) = (one for one in HANDSHAKES if one.name == "MACE")
    model = trained(held, folder)
    handshake = f"coupling.handshake={{kind: learned, lift: quadratic, model: {model}}}"
    changes = (*NETWORK, handshake, "adaptivity.atom_cost=50")
    return Refined("adaptive_crack", changes, ("0.017",), MACE)


MACE = "crack, W, MACE"

RADII = {
    "vacancy, W": ("adaptive_vacancy", (), (4, 6, 8, 10, 12, 16, 20)),
    "crack, W": ("crack_eam", (), (9, 13, 18, 24, 30, 40, 50, 62)),
    "crack, W, 200 Å": ("crack_eam", LARGE, (62, 90, 120, 150)),
    "crack, W, 700 Å": ("crack_eam", SAMPLED, (128, 160, 192)),
    MACE: ("crack_eam", NETWORK, (13, 20, 30, 40)),
    "3 atoms removed, triangular": ("micro_crack_triangular", MICRO[:-1], (3, 4, 6, 9, 13)),
}
"""Cores of one radius, the rest as the deck has it: what refinement is compared with."""

HINDSIGHT = [(core, growth) for core in (9, 12, 15, 22) for growth in (1.0, 0.6, 0.3)]
"""Cores [Å] and gradings with the learned handshake among which the best are kept."""


class Watch:
    """Compares each round with the full model, and counts its seconds without that.

    Attributes:
        rows: A row a round.
    """

    def __init__(
        self, name: str, target: str, references: dict[str, Reference], begin: float
    ) -> None:
        self._name, self._target, self._references = name, target, references
        self.rows: list[Row] = []
        self._begin = begin

    def __call__(self, found: Round) -> None:
        """Add a row."""
        seconds = time.process_time() - self._begin
        t = found.setup.loads[-1]
        coupled = Coupled(found.setup, found.assembly, found.z, t, found.solved)
        true = _true(coupled, self._references)
        self.rows.append(
            {
                "case": self._name,
                "target": self._target,
                "atoms": int(found.assembly.evaluated.sum()),
                "unknowns": found.unknowns,
                "handshake": found.setup.case.coupling.handshake.kind,
                "core": found.setup.regions.cores[0].extent(),
                "estimated": found.numbers.total_h1,
                "true": true.total_h1,
                "relative": true.relative_h1,
                "seconds": seconds,
            }
        )
        self._begin = time.process_time() - seconds


def _true(coupled: Coupled, references: dict[str, Reference]):  # type: ignore[no-untyped-def]
    """Its error. The full model is solved once a defect."""
    case = coupled.setup.case
    assert case.defect is not None
    assert case.domain is not None
    key = f"{case.crystal.element} {case.defect} {case.domain.radius} {case.potential}"
    if key not in references:
        references[key] = solve_full(coupled.setup, 1e-6, coupled)
    return error_of(coupled, references[key], case.compare.rim, case.compare.tip_radius)


def study(quick: bool = False) -> tuple[list[Row], list[Row]]:
    """Rows of the rounds, of cores of one radius, and of the best gradings; and the comparison of the cracks."""
    rows: list[Row] = []
    references: dict[str, Reference] = {}
    prepare(DECKS / "adaptive_crack.yaml", [LEARNED])  # what is loaded once is nobody's time
    with tempfile.TemporaryDirectory() as folder:
        cases = CASES if quick else CASES | {MACE: network_case(Path(folder))}
        for name in sorted(cases, key=lambda name: name != MACE):
            one = cases[name]
            for target in ("0.1",) if quick else one.targets:
                rows += _refined(name, one, target, references)
                if one.against is not None and target != "0.005":  # no such core fits
                    rows += _uniform(one, target, references, rows)
    for name, (deck, changes, radii) in RADII.items():
        for radius in radii[: 2 if quick else None]:
            core = f"regions.core_radius={radius} angstrom"
            rows.append(_single(name, f"core {radius} Å", deck, [*changes, core], references))
    for core, growth in HINDSIGHT[: 2 if quick else None]:
        changes = [LEARNED, f"regions.core_radius={core} angstrom", f"mesh.growth={growth}"]
        how = f"core {core} Å, growth {growth}"
        rows.append(_single("crack, W, hindsight", how, "crack_eam", changes, references))
    against = {name: one.against for name, one in cases.items() if one.against is not None}
    return rows, [] if quick else ratios(rows, against)


def _refined(name: str, one: Refined, target: str, references: dict[str, Reference]) -> list[Row]:
    return _rounds(name, one.deck, list(one.changes), target, references, adapt)


def _uniform(
    one: Refined, target: str, references: dict[str, Reference], known: list[Row]
) -> list[Row]:
    """The same tolerance by a core of one radius that grows in rounds, with either handshake; rows not yet known."""
    assert one.against is not None
    deck, changes, _ = RADII[one.against]
    handshake = [change for change in one.changes if change.startswith("coupling")]
    rows = []
    for more in [[], handshake] if handshake else [[]]:
        name = f"{one.against}, uniform rounds" + (", learned" if more else "")
        if any((row["case"], row.get("target")) == (name, target) for row in known):
            continue
        given = [*changes, *more, "regions.core_radius=5 angstrom"]
        rows += _rounds(name, deck, given, target, references, _grow)
    return rows


def _grow(setup, comm, settings, log, watch) -> list[Row]:  # type: ignore[no-untyped-def]
    """As ``adapt``, but all that changes is the radius of the core."""
    work = Refinement(comm, setup.case.adaptivity, settings, log, watch)
    last = work.solve(setup, None, "start")
    while work.enough(last) is None:
        regions = last.setup.case.regions
        radius = round(GROWTH * regions.core_radius, 3)
        regions = regions.model_copy(update={"core_radius": radius})
        larger = replace(setup, case=setup.case.model_copy(update={"regions": regions}))
        if not fits(larger):
            break
        last = work.solve(larger, last, "grown")
    return work.rows


def _rounds(
    name: str,
    deck: str,
    changes: list[str],
    target: str,
    references: dict[str, Reference],
    work: Callable[..., object],
) -> list[Row]:
    """Rows of the rounds to a target; seconds of the quickest of several runs."""
    changes = [*changes, f"adaptivity.total_h1={target} angstrom", "adaptivity.rounds=20"]
    case, found = load_case(DECKS / f"{deck}.yaml", changes), []
    for _ in range(REPEATS):
        begin = time.process_time()
        setup = set_up(case, MPI.COMM_WORLD)
        watch = Watch(name, target, references, begin)
        with tempfile.TemporaryDirectory() as folder, RunLog(0, folder, name) as log:
            done = work(setup, MPI.COMM_WORLD, Settings(tolerance=TOLERANCE), log, watch)
        told = done if isinstance(done, list) else done.history["rounds"]  # type: ignore[attr-defined]
        for number, (row, its) in enumerate(zip(watch.rows, told, strict=True)):
            row |= {"how": f"to {target} Å, round {number}, {its['how']}"}
            row |= {"kept": its.get("kept", True), "coupling": its["coupling_h1"]}
            row |= {"mesh": its["discretisation_h1"]}
        found.append(watch.rows)
        if float(watch.rows[-1]["seconds"]) > SHORT:  # type: ignore[arg-type]
            break
    best_run = min(found, key=lambda rows: float(rows[-1]["seconds"]))  # type: ignore[arg-type]
    print(best_run[-1], flush=True)
    return best_run


def _single(
    name: str, how: str, deck: str, changes: list[str], references: dict[str, Reference]
) -> Row:
    seconds = math.inf
    for _ in range(REPEATS):
        begin = time.process_time()
        setup, assembly = prepare(DECKS / f"{deck}.yaml", [*changes, "adaptivity=null"])
        coupled = solve_coupled(setup, assembly, setup.case.coupling.method, TOLERANCE)
        seconds = min(seconds, time.process_time() - begin)
        if seconds > SHORT:
            break
    true = _true(coupled, references)
    row: Row = {
        "case": name,
        "how": how,
        "atoms": int(assembly.evaluated.sum()),
        "unknowns": coupled.unknowns,
        "true": true.total_h1,
        "relative": true.relative_h1,
        "seconds": seconds,
    }
    print(row, flush=True)
    return row


def main() -> None:
    """Measure and publish."""
    rows, found = study("--quick" in sys.argv)
    tables = [table(found, columns) for columns in COMPARED]
    text = "\n\n".join([*tables, table(rows, COLUMNS)])
    publish("refinement", rows, text, draw(rows), page="howto-refine", ratios=found)


if __name__ == "__main__":
    main()
