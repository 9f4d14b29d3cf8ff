# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""A small network in the place of the Cauchy-Born law of a cubic crystal, and the file it is kept in.

W(E) = W(0) + ½ E:C:E + |E|² (N(I) - N(0)), where I are the nine polynomials that the cubic group leaves as they are
and C the constants of the law itself. So the symmetry of the crystal is exact, and so are energy, stress and stiffness
at rest, whatever the weights.

References:
    G. F. Smith and R. S. Rivlin, Trans. Am. Math. Soc. 88, 175 (1958): the integrity basis of the cubic group.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from msolve.errors import CaseError
from msolve.potentials.bulk import BulkCell
from msolve.potentials.bulk_forces import ForceBulkCell
from msolve.potentials.rest import elastic_constants
from msolve.potentials.stand_in import COLUMN, PAIR, ROW, TWICE, StandIn
from msolve.potentials.tabulated import asked

Array = NDArray[np.float64]

FORMAT, VERSION = "msolve learned Cauchy-Born law", 1

BELONGS = 1e-3
"""How far the stress of the law may be from that it was trained on, over the largest, to be the same law [-]."""

_CHUNK = 16384
_MOST_WEIGHTS = 1_000_000


def invariants(e: torch.Tensor) -> torch.Tensor:
    """What the cubic group leaves as it is of strains ``(q, 6)`` in the axes of the cube: ``(q, 9)``."""
    a, b, c, f, g, h = e.unbind(1)  # 11, 22, 33, 23, 13, 12
    ff, gg, hh = f * f, g * g, h * h
    return torch.stack(
        [
            a + b + c,
            a * b + b * c + c * a,
            a * b * c,
            ff + gg + hh,
            ff * gg + gg * hh + hh * ff,
            f * g * h,
            ff * a + gg * b + hh * c,
            ff * gg * c + gg * hh * a + hh * ff * b,
            ff * b * c + gg * c * a + hh * a * b,
        ],
        dim=1,
    )


@dataclass(frozen=True)
class Weights:
    """A trained network.

    Attributes:
        strain: Frobenius norm of the strains it was trained on, the largest [-].
        scale: Unit of its output [eV/Å³].
        widths: Typical sizes of the nine invariants of E / ``strain``, ``(9,)``.
        layers: Matrices and shifts, tanh between them.
    """

    strain: float
    scale: float
    widths: torch.Tensor
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    def beyond_linear(self, E: torch.Tensor) -> torch.Tensor:
        """|E|² (N(I) - N(0)) [eV/Å³] at strains ``(q, 6)`` in the axes of the cube."""
        e = E / self.strain
        weight = torch.as_tensor(TWICE, dtype=E.dtype, device=E.device)
        size = (weight * e * e).sum(1)
        x = invariants(e) / self.widths
        return self.scale * size * (self._network(x) - self._network(torch.zeros_like(x[:1])))

    def _network(self, x: torch.Tensor) -> torch.Tensor:
        for matrix, shift in self.layers[:-1]:
            x = torch.tanh(torch.addmm(shift, x, matrix.T))
        matrix, shift = self.layers[-1]
        return torch.addmm(shift, x, matrix.T)[:, 0]


class NetworkFunction:
    """The learned energy density, in the axes of the law it stands for.

    Args:
        weights: The network.
        law: That law; its energy and its constants at rest are taken.
    """

    def __init__(self, weights: Weights, law: BulkCell | ForceBulkCell) -> None:
        self._weights = weights
        self._W0 = float(law.energy_density(np.eye(3)[None])[0][0])
        C = elastic_constants(law)[ROW, COLUMN][:, ROW, COLUMN]
        self._C = torch.as_tensor(C * TWICE[:, None] * TWICE)
        # Strains turned from the laboratory into the axes of the cube.
        turn = law.oriented.rotation
        unit = np.eye(6)[:, PAIR]
        self._turn = torch.as_tensor(
            np.einsum("ai,nab,bj->nij", turn, unit, turn, optimize=True)[:, ROW, COLUMN].T.copy()
        )

    def energy(self, E: Array) -> tuple[Array, Array]:
        """See ``StrainFunction``."""
        W, S = np.empty(len(E)), np.empty((len(E), 6))
        for part in _parts(len(E)):
            e = torch.as_tensor(E[part]).requires_grad_(True)
            w = self._energy(e)
            (slopes,) = torch.autograd.grad(w.sum(), e)
            W[part], S[part] = w.detach().numpy() + self._W0, slopes.numpy() / TWICE
        return W, S

    def stiffness(self, E: Array) -> Array:
        """See ``StrainFunction``."""
        H = np.empty((len(E), 6, 6))
        for part in _parts(len(E)):
            e = torch.as_tensor(E[part]).requires_grad_(True)
            (slopes,) = torch.autograd.grad(self._energy(e).sum(), e, create_graph=True)
            for a in range(6):
                (row,) = torch.autograd.grad(slopes[:, a].sum(), e, retain_graph=True)
                H[part, a] = row.numpy()
        return H / (TWICE[:, None] * TWICE)

    def linear(self, E: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Energy density ``(q,)`` and stress ``(q, 6)`` of linear elasticity alone [eV/Å³]."""
        slopes = E @ self._C
        return 0.5 * (slopes * E).sum(1), slopes / torch.as_tensor(TWICE)

    def _energy(self, E: torch.Tensor) -> torch.Tensor:
        return self.linear(E)[0] + self._weights.beyond_linear(E @ self._turn.T)


def law_text(weights: Weights, card: dict[str, Any], probes: tuple[Array, Array]) -> str:
    """What stands in the file of a learned law: JSON, some kB, nothing in it is run.

    Args:
        weights: The network.
        card: What is known of it: crystal, potential, errors; must hold ``structure``, ``element`` and ``error``.
        probes: Strains in the axes of the cube ``(k, 6)`` and stresses there ``(k, 6)`` [eV/Å³], by which the solver
            recognises the law.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        **card,
        "strain": weights.strain,
        "scale": weights.scale,
        "widths": weights.widths.tolist(),
        "layers": [[matrix.tolist(), shift.tolist()] for matrix, shift in weights.layers],
        "probes": [probes[0].tolist(), probes[1].tolist()],
    }
    lines = (
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in content.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_law(path: str | Path, law: BulkCell | ForceBulkCell) -> StandIn:
    """A learned law in the place of a law. Rank-local; asks the law for a few states.

    Args:
        path: Its file.
        law: The law that it was trained on.

    Raises:
        CaseError: The file cannot be read, is no such file, or was trained on another law.
    """
    content = _content(Path(path))
    weights = Weights(
        strain=float(content["strain"]),
        scale=float(content["scale"]),
        widths=torch.tensor(content["widths"], dtype=torch.float64),
        layers=tuple(
            (torch.tensor(m, dtype=torch.float64), torch.tensor(b, dtype=torch.float64))
            for m, b in content["layers"]
        ),
    )
    E, S = (np.array(one, dtype=np.float64) for one in content["probes"])
    turn = law.oriented.rotation
    here = (turn @ E[:, PAIR] @ turn.T)[:, ROW, COLUMN]
    found = (turn.T @ asked(law, here)[1][:, PAIR] @ turn)[:, ROW, COLUMN]
    apart = float(np.abs(found - S).max() / np.abs(S).max())
    if not apart < BELONGS:
        raise CaseError(
            [
                f"was trained on another law, {content.get('potential', 'whose name is lost')}: the stress of "
                f"{law.model.name} differs from it by {100 * apart:.2g} %; train it again"
            ],
            source=str(path),
        )
    return StandIn(law, NetworkFunction(weights, law), weights.strain, float(content["error"]))


def _content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CaseError([f"cannot be read: {error.strerror}"], source=str(file)) from error
    except (ValueError, RecursionError) as error:
        raise CaseError(
            [f"is no whole learned law: it is not valid JSON ({error})"], source=str(file)
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CaseError([f"is no learned law: its format is not {FORMAT!r}"], source=str(file))
    if content.get("version") != VERSION:
        raise CaseError(
            [
                f"has version {content.get('version')!r}; this msolve reads version {VERSION}: train it again"
            ],
            source=str(file),
        )
    problems = [
        f"{key}: should be {what}" for key, (what, good) in _RULES.items() if not good(content)
    ]
    if problems:
        raise CaseError(problems, source=str(file))
    return content


def _positive(key: str) -> Callable[[dict[str, Any]], bool]:
    def good(content: dict[str, Any]) -> bool:
        value = content.get(key)
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and value > 0
        )

    return good


def _shaped(value: Any, *shape: int | None) -> bool:
    """Whether a list of lists holds finite numbers in that shape; ``None`` is any length."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    right = array.ndim == len(shape) and array.size <= _MOST_WEIGHTS
    fits = right and all(n is None or n == m for n, m in zip(shape, array.shape, strict=True))
    return bool(fits and np.isfinite(array).all())


def _layers(content: dict[str, Any]) -> bool:
    layers, before = content.get("layers"), 9
    if not isinstance(layers, list) or not layers:
        return False
    for layer in layers:
        if not (isinstance(layer, list) and len(layer) == 2 and _shaped(layer[0], None, before)):
            return False
        after = len(layer[0])
        if after == 0 or not _shaped(layer[1], after):
            return False
        before = after
    return before == 1


def _probes(content: dict[str, Any]) -> bool:
    probes = content.get("probes")
    if not (isinstance(probes, list) and len(probes) == 2 and _shaped(probes[0], None, 6)):
        return False
    return bool(probes[0]) and _shaped(probes[1], len(probes[0]), 6)


_RULES: dict[str, tuple[str, Callable[[dict[str, Any]], bool]]] = {
    "strain": ("a number > 0", _positive("strain")),
    "scale": ("a number > 0", _positive("scale")),
    "error": ("a number > 0", _positive("error")),
    "structure": ("bcc, fcc or diamond", lambda c: c.get("structure") in ("bcc", "fcc", "diamond")),
    "element": ("a chemical symbol", lambda c: isinstance(c.get("element"), str)),
    "widths": (
        "nine numbers > 0",
        lambda c: _shaped(c.get("widths"), 9) and min(c["widths"]) > 0,
    ),
    "layers": ("pairs of a matrix and a shift, from nine inputs to one output", _layers),
    "probes": ("strains and stresses, six numbers each", _probes),
}


def _parts(n: int) -> list[slice]:
    return [slice(a, min(a + _CHUNK, n)) for a in range(0, n, _CHUNK)]
