# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Site models of the user's: what is wrong with one is said before it is used."""

from __future__ import annotations

import pytest
import torch

from msolve.errors import CaseError
from msolve.potentials import SiteModel, load_potential
from msolve.potentials.own import own_model, problems_of


class Pairs:
    """A spring that fades at the cutoff; right."""

    name, cutoff, reach, layers, exchange, device = "springs", 4.0, 4.0, 1, False, "cpu"
    numbers, gives = (
        frozenset({74}),
        frozenset({"energy", "gradient", "site_energy", "hessian_product"}),
    )

    def site_energy(self, vec, pair, numbers, n_owned, halo):
        r2 = (vec**2).sum(dim=1) / self.cutoff**2
        return torch.zeros(n_owned, dtype=vec.dtype).index_add(0, pair[0], -((1 - r2) ** 3))


class NoCutoff(Pairs):
    cutoff = None


class Incomplete(Pairs):
    gives = frozenset({"energy"})


class Single(Pairs):
    def site_energy(self, vec, pair, numbers, n_owned, halo):
        return super().site_energy(vec.float(), pair, numbers, n_owned, halo)


class InwardlySingle(Pairs):
    def site_energy(self, vec, pair, numbers, n_owned, halo):
        return super().site_energy(vec.float(), pair, numbers, n_owned, halo).double()


class Detached(Pairs):
    def site_energy(self, vec, pair, numbers, n_owned, halo):
        return super().site_energy(vec.detach(), pair, numbers, n_owned, halo)


class Total(Pairs):
    def site_energy(self, vec, pair, numbers, n_owned, halo):
        return super().site_energy(vec, pair, numbers, n_owned, halo).sum()


class Infinite(Pairs):
    def site_energy(self, vec, pair, numbers, n_owned, halo):
        return super().site_energy(vec, pair, numbers, n_owned, halo) / 0


class Typo(Pairs):
    def site_energy(self, vec, pair, numbers, n_owned, halo):
        return nothing  # noqa: F821


def test_a_right_one_is_let_through():
    assert problems_of(Pairs()) == []
    assert problems_of(load_potential("", "toy")) == []


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (object(), "no method site_energy"),
        (NoCutoff(), "its attribute cutoff must be a number"),
        (Incomplete(), "gives must hold gradient, hessian_product, site_energy too"),
        (Single(), r"\(4,\) of torch.float32 for 4 owned atoms; needs \(4,\) of torch.float64"),
        (InwardlySingle(), "is not what differences say"),
        (Detached(), "site_energy: RuntimeError: .*does not require grad"),
        (Total(), r"returned \(\) of torch.float64"),
        (Infinite(), "is not finite"),
        (Typo(), "NameError: name 'nothing' is not defined"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_wrong_one_is_told(model, words):
    (problem,) = [p for p in problems_of(model) if "attribute" in words or "attribute" not in p]
    with pytest.raises(CaseError, match=words):
        raise CaseError([problem])


def test_from_a_file_of_the_users(tmp_path):
    (tmp_path / "springs.py").write_text(
        "from pathlib import Path\n"
        "import sys\n"
        f"sys.path.insert(0, {str(__file__).rpartition('/')[0]!r})\n"
        "from test_own import Pairs\n"
        "def soft(table, depth):\n"
        "    assert Path(table).is_absolute() and depth == 2\n"
        "    return Pairs()\n"
    )
    (tmp_path / "numbers.txt").write_text("1 2 3\n")
    arguments = {"table": "numbers.txt", "depth": 2}
    assert isinstance(own_model("springs.py:soft", arguments, tmp_path), SiteModel)
    with pytest.raises(CaseError, match=r"potential.model = springs.py:soft: cannot be made"):
        own_model("springs.py:soft", {}, tmp_path)
    (tmp_path / "nothing.py").write_text("def make():\n    return object()\n")
    with pytest.raises(CaseError, match=r"potential.model = nothing.py:make: has no method"):
        own_model("nothing.py:make", {}, tmp_path)
