# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""``msolve train law``: a network that stands for the Cauchy-Born law of a potential, and what it is worth.

Fitted to energies and stresses of strained crystals at once (Sobolev training), the stress of each state counted
relative to its own size, and more the less it is strained: most of a body is strained little.

References:
    W. M. Czarnecki et al., NeurIPS 30 (2017): training on derivatives.
"""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import NDArray

from msolve.config.laws import LawTraining
from msolve.errors import CaseError, ConvergenceError
from msolve.given import cubic_crystal, given_potential
from msolve.io.files import output_error, write_whole
from msolve.io.log import RunLog
from msolve.potentials.blackbox import BlackBox, examined
from msolve.potentials.bulk import BulkCell, cauchy_born
from msolve.potentials.bulk_forces import ForceBulkCell
from msolve.potentials.network_law import NetworkFunction, Weights, invariants, law_text
from msolve.potentials.rest import relaxed_lattice
from msolve.potentials.stand_in import TWICE
from msolve.potentials.tabulated import asked, ball
from msolve.train.pictures import draw_law

Array = NDArray[np.float64]

BEYOND = 1.1
"""Largest strain that is trained over the largest that the law is used at."""

BINS = 5
"""Shells of strain that the report tells errors for."""

PROBES = 6
"""Test states kept in the file, by which the solver recognises the law."""

_RELATIVE, _ABSOLUTE = 0.3, 1e-3
"""Weights of a state's own stress and of the mean one in what its error is counted by."""

_SMALLEST = 0.03
"""Strain, over the largest, below which a state counts no more for being less strained."""


def train_law(given: LawTraining) -> Path:
    """Learn the law of a potential and report on it. Rank-local.

    Args:
        given: The input.

    Returns:
        Folder with ``NAME.law``, ``report.json`` and a picture of the errors.

    Raises:
        CaseError: The input does not fit the potential.
        UnsupportedError: A package is missing.
        ConvergenceError: The potential holds no such crystal, or cannot be asked at such strains.
        OutputError: Something cannot be written.
    """
    folder = given.output_directory
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    title = f"msolve: training of the law {given.name}, output in {folder}"
    with RunLog(0, folder, title) as log:
        with log.phase("crystal and potential"):
            law = _law(given)
        with log.phase("strained crystals"):
            E, W, S = _states(given, law, log)
        rest = float(law.energy_density(np.eye(3)[None])[0][0])
        kept = int((1 - given.law.test) * len(E))
        with log.phase("training"):
            begin = time.perf_counter()
            weights = fit(given, law, (E[:kept], W[:kept] - rest, S[:kept]), log)
            seconds = time.perf_counter() - begin
        with log.phase("report"):
            test = (E[kept:], W[kept:], S[kept:])
            report = _report(given, law, weights, test, seconds)
            probes = (E[kept : kept + PROBES], S[kept : kept + PROBES])
            card = {key: report[key] for key in ("structure", "element", "potential", "error")}
            text = law_text(weights, card, probes)
            write_whole(folder / f"{given.name}.law", text.encode())
            whole = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
            write_whole(folder / "report.json", whole.encode())
            draw_law(folder / "errors.png", report)
        log.say(
            f"stress within {100 * report['rms']:.2g} % (root mean square), {100 * report['error']:.2g} % of the "
            f"largest at worst; {report['law_microseconds']:.2g} microseconds a state where the potential takes "
            f"{report['potential_microseconds']:.3g}"
        )
        log.check()
    return folder


def _law(given: LawTraining) -> BulkCell | ForceBulkCell:
    element, a = given.crystal.element, given.crystal.lattice_constant
    model = given_potential(given.potential, [element], given.folder)
    number = atomic_numbers[element]
    if number not in model.numbers:
        raise CaseError([f"crystal.element = {element}: {model.name} was not made for it"])
    start = cubic_crystal(given.crystal.structure, number, a if isinstance(a, float) else None)
    if isinstance(model, BlackBox):
        model = examined(model, start)
    crystal = relaxed_lattice(model, start)
    return cauchy_born(model, crystal.oriented([1, 0, 0], [0, 1, 0], [0, 0, 1]))


def _states(
    given: LawTraining, law: BulkCell | ForceBulkCell, log: RunLog
) -> tuple[Array, Array, Array]:
    """Strains of all sizes alike in random directions, and what the potential says there."""
    rng = np.random.default_rng(given.seed)
    n = given.law.states
    E = ball(rng.uniform(size=n) * BEYOND * given.law.strain, rng)
    W, S = np.empty(n), np.empty((n, 6))
    step = 256
    for a in range(0, n, step):
        part = slice(a, min(a + step, n))
        try:
            W[part], S[part] = asked(law, E[part])
        except ConvergenceError as error:
            raise ConvergenceError(f"law.strain = {given.law.strain:g}: {error}") from error
        log.counted("strained crystals", part.stop, n)
    return E, W, S


def fit(
    given: LawTraining,
    law: BulkCell | ForceBulkCell,
    data: tuple[Array, Array, Array],
    log: RunLog | None = None,
) -> Weights:
    """Train a network. Rank-local.

    Args:
        given: Strain, width, iterations, seed.
        law: The law, whose constants it keeps, in the axes of the cube.
        data: Strains ``(n, 6)``, energy densities above that at rest ``(n,)`` and stresses ``(n, 6)`` [eV/Å³].
        log: Where progress is told.
    """
    E, W, S = (torch.as_tensor(np.ascontiguousarray(one)) for one in data)
    e = E / given.law.strain
    torch.manual_seed(given.seed)
    sizes = [9, given.law.width, given.law.width, 1]
    parameters: list[torch.Tensor] = []
    for m, n in pairwise(sizes):
        limit = 1 / np.sqrt(m)
        parameters.append(torch.empty(n, m, dtype=torch.float64).uniform_(-limit, limit))
        parameters.append(torch.empty(n, dtype=torch.float64).uniform_(-limit, limit))
    for parameter in parameters:
        parameter.requires_grad_(True)
    blank = _weights(given, 1.0, torch.ones(9), parameters)
    linear = NetworkFunction(blank, law).linear(E)
    weights = _weights(given, float((W - linear[0]).std()), invariants(e).std(0), parameters)
    twice = torch.as_tensor(TWICE)
    size = (twice * S * S).sum(1)
    small = _SMALLEST + (twice * e * e).sum(1).sqrt()
    per_state = 1 / (small * (_RELATIVE * size + _ABSOLUTE * size.mean()))
    per_energy = 1 / W.square().mean()
    strains = E.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        parameters,
        max_iter=given.law.iterations,
        max_eval=2 * given.law.iterations,
        history_size=50,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-12,
        tolerance_change=1e-14,
    )
    count = 0

    def loss() -> torch.Tensor:
        nonlocal count
        optimiser.zero_grad()
        w = weights.beyond_linear(strains)
        (slopes,) = torch.autograd.grad(w.sum(), strains, create_graph=True)
        wrong = slopes / twice + linear[1] - S
        out = (per_state * (twice * wrong * wrong).sum(1)).mean()
        out = out + per_energy * (w + linear[0] - W).square().mean()
        out.backward()
        count += 1
        if log is not None:
            log.counted("evaluations", min(count, given.law.iterations), given.law.iterations)
        return out

    optimiser.step(loss)
    done = [parameter.detach() for parameter in parameters]
    return _weights(given, weights.scale, weights.widths, done)


def _weights(
    given: LawTraining, scale: float, widths: torch.Tensor, parameters: list[torch.Tensor]
) -> Weights:
    layers = tuple(zip(parameters[::2], parameters[1::2], strict=True))
    return Weights(given.law.strain, scale, widths, layers)


def _report(
    given: LawTraining,
    law: BulkCell | ForceBulkCell,
    weights: Weights,
    test: tuple[Array, Array, Array],
    seconds: float,
) -> dict[str, Any]:
    """Errors at states that were not fitted, shell by shell, and what a state costs."""
    used = (TWICE * test[0] ** 2).sum(axis=1) <= given.law.strain**2
    E, W, S = (one[used] for one in test)
    function = NetworkFunction(weights, law)
    n = min(len(E), 500)
    begin = time.perf_counter()
    asked(law, E[:n])
    dear = (time.perf_counter() - begin) / n
    function.energy(E)
    begin = time.perf_counter()
    found_W, found = function.energy(E)
    cheap = (time.perf_counter() - begin) / len(E)
    rest = float(law.energy_density(np.eye(3)[None])[0][0])
    stress = np.sqrt((TWICE * S**2).sum(axis=1))
    wrong = np.sqrt((TWICE * (found - S) ** 2).sum(axis=1))
    straight = function.linear(torch.as_tensor(E))[1].numpy()
    linear = np.sqrt((TWICE * (straight - S) ** 2).sum(axis=1))
    size = np.sqrt((TWICE * E**2).sum(axis=1)) / given.law.strain
    shells = []
    for k in range(BINS):
        here = (size >= k / BINS) & (size < (k + 1) / BINS)
        if here.any():
            shells.append(
                {
                    "strain": [given.law.strain * k / BINS, given.law.strain * (k + 1) / BINS],
                    "states": int(here.sum()),
                    "rms": float(np.sqrt(np.mean(wrong[here] ** 2) / np.mean(stress[here] ** 2))),
                    "largest": float((wrong[here] / stress[here]).max()),
                    "linear": float(
                        np.sqrt(np.mean(linear[here] ** 2) / np.mean(stress[here] ** 2))
                    ),
                }
            )
    return {
        "structure": given.crystal.structure,
        "element": given.crystal.element,
        "potential": law.model.name,
        "lattice_constant": float(np.linalg.norm(law.oriented.crystal.axes[0])),
        "input": given.model_dump(mode="json"),
        "error": float(wrong.max() / stress.max()),
        "rms": float(np.sqrt(np.mean(wrong**2) / np.mean(stress**2))),
        "energy_rms": float(np.sqrt(np.mean((found_W - W) ** 2) / np.mean((W - rest) ** 2))),
        "shells": shells,
        "training_seconds": seconds,
        "law_microseconds": 1e6 * cheap,
        "potential_microseconds": 1e6 * dear,
    }
