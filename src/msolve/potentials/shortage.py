# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What happens where a device has too little memory: smaller batches, and then one error, whatever torch raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, ParamSpec, TypeVar

import torch

from msolve.potentials.exchange import RankExchange
from msolve.potentials.protocol import FeatureHalo, Potential

P = ParamSpec("P")
T = TypeVar("T")


def lacks_memory(error: BaseException) -> bool:
    """Whether an error of torch says that memory ran out: a device's has a class of its own, the CPU's has not."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


@contextmanager
def enough_memory(device: str, what: str) -> Iterator[None]:
    """Let a lack of memory in torch be a ``MemoryError`` that says where and for what.

    Args:
        device: Device of torch.
        what: What the memory was too small for, e.g. ``"12 atoms of w.model"``.

    Raises:
        MemoryError: Memory ran out.
    """
    try:
        yield
    except RuntimeError as error:
        if not lacks_memory(error):
            raise
        raise MemoryError(f"the memory of {device} is too small for {what}") from error


def in_memory(model: Potential, n_sites: int, halo: FeatureHalo, call: Callable[[], T]) -> T:
    """Do something with a model; where the device's memory is too small, in smaller batches.

    Args:
        model: The potential; batches are those of its attribute ``batch``, if it has one.
        n_sites: Sites that are computed.
        halo: Feature exchange: in the middle of one between ranks there is no second try, because the others
            have gone on.
        call: What to do.

    Raises:
        MemoryError: There are no smaller batches.
    """
    while True:
        with enough_memory(model.device, f"{n_sites} atoms of {model.name}"):
            try:
                return call()
            except RuntimeError as error:
                smaller = min(getattr(model, "batch", 0), n_sites) // 2
                between = isinstance(halo, RankExchange) and halo.halo.comm.size > 1
                if not lacks_memory(error) or smaller < 1 or between:
                    raise
        model.batch = smaller  # type: ignore[union-attr]
        if model.device != "cpu":
            torch.cuda.empty_cache()


class InMemory(Generic[P, T]):
    """A function that keeps the graph it works on, which is made again in smaller batches where memory runs out.

    Args:
        model: The potential.
        n_sites: Sites that are computed.
        halo: Feature exchange.
        make: Makes the function; the graph remembers the batches of the time.

    Raises:
        MemoryError: There are no smaller batches; here or when it is called.

    Note:
        Construction and calls are collective if ``make`` and what it makes are.
    """

    def __init__(
        self,
        model: Potential,
        n_sites: int,
        halo: FeatureHalo,
        make: Callable[[], Callable[P, T]],
    ) -> None:
        self._model, self._n_sites, self._halo, self._make = model, n_sites, halo, make
        self._made: Callable[P, T] | None = in_memory(model, n_sites, halo, make)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function."""

        def called() -> T:
            if self._made is None:
                self._made = self._make()
            try:
                return self._made(*args, **kwargs)
            except RuntimeError:
                self._made = None  # the graph goes first
                raise

        return in_memory(self._model, self._n_sites, self._halo, called)
