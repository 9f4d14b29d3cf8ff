# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What the validation studies share: solving one case, errors and bounds, and the files they leave.

Each study beside this file has a function ``study`` that returns rows of numbers, and when it is run as a
program prints them, draws a picture and renews its section of docs/validation.md. Meant for one rank.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpi4py import MPI
from petsc4py import PETSc

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from scipy import sparse, spatial
from scipy.sparse.linalg import lsmr, splu

from msolve.assemble import Assembly, full_atomistic
from msolve.build import Setup, build, build_mesh, set_up
from msolve.compare import Comparison, bonds, compare, lift_to, unknowns_of
from msolve.config import load_case
from msolve.kinematics import interpolation_matrix
from msolve.methods import Solved, solve
from msolve.solvers import Apply, Preconditioner, Report, Settings, minimise

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]
Row = dict[str, object]

HERE = Path(__file__).parent
DECKS = HERE.parent.parent / "solver_configs"
DOCS = HERE.parent.parent / "docs"

COLOUR = {
    "bqcf": "#0072b2",
    "bgfc_deferred": "#009e73",
    "bgfc": "#e69f00",
    "bqce": "#d55e00",
    "best": "#333333",
    "atomistic": "#cc79a7",
}
"""One colour per method in every picture; distinct for colour-blind eyes."""

MARKER = {
    "bqcf": "o",
    "bgfc_deferred": "s",
    "bgfc": "^",
    "bqce": "v",
    "best": "*",
    "atomistic": "D",
}


@dataclass(frozen=True)
class Coupled:
    """A solved coupled problem.

    Attributes:
        setup: What the case means.
        assembly: Its problem.
        z: Solution.
        t: Last load of the case.
        solved: What the method's solvers did.
    """

    setup: Setup
    assembly: Assembly
    z: PETSc.Vec
    t: float
    solved: Solved

    @property
    def unknowns(self) -> int:
        """Scalar unknowns."""
        return self.assembly.problem.kinematics.unknowns.n_global


@dataclass(frozen=True)
class Reference:
    """The solved full atomistic model."""

    full: Assembly
    z: PETSc.Vec
    t: float
    report: Report


def prepare(deck: Path, overrides: Iterable[str]) -> tuple[Setup, Assembly]:
    """Read a case and assemble its coupled problem."""
    setup = set_up(load_case(deck, list(overrides)), MPI.COMM_WORLD)
    return setup, build(setup, build_mesh(setup, MPI.COMM_WORLD), MPI.COMM_WORLD)


def solve_coupled(
    setup: Setup, assembly: Assembly, method: str, tolerance: float, start: PETSc.Vec | None = None
) -> Coupled:
    """Solve the last load of a case by any method, from the predictor or from ``start``."""
    coupling = setup.case.coupling.model_copy(
        update={"method": method, "correction_tolerance": 10 * tolerance, "max_corrections": 20}
    )
    case = setup.case.model_copy(update={"coupling": coupling})
    z = assembly.problem.kinematics.unknowns.vector() if start is None else start.copy()
    t = setup.loads[-1]
    solved = solve(assembly, case, z, t, Settings(tolerance=tolerance))
    if not solved.converged:
        raise RuntimeError(f"{method} stopped at a residual of {solved.residual:.2g} eV/angstrom")
    return Coupled(setup, assembly, z, t, solved)


def solve_full(setup: Setup, tolerance: float, start: Coupled | None = None) -> Reference:
    """Solve the full atomistic model of a case, from the predictor or from a lifted coupled solution."""
    full = full_atomistic(MPI.COMM_WORLD, setup.body)
    t = setup.loads[-1]
    z = full.problem.kinematics.unknowns.vector()
    if start is not None:
        z = unknowns_of(full, lift_to(start.assembly, start.z, t, full), t)
    report = minimise(full.problem, z, t, full.preconditioner, Settings(tolerance=tolerance))
    if not report.converged:
        raise RuntimeError(f"atomistic stopped at a residual of {report.residual:.2g} eV/angstrom")
    return Reference(full, z, t, report)


def error_of(coupled: Coupled, reference: Reference, rim: float, tip_radius: float) -> Comparison:
    """Error of a coupled solution over all atoms inside the rim."""
    lifted = lift_to(coupled.assembly, coupled.z, coupled.t, reference.full)
    return compare(reference.full, lifted, reference.z, coupled.t, rim=rim, tip_radius=tip_radius)[
        0
    ]


def best_approximation(setup: Setup, assembly: Assembly, reference: Reference, rim: float) -> float:
    """The smallest error relative to the norm of the corrector; bodies without a crack only."""
    full = reference.full
    i, j = bonds(full)
    inside = setup.body.shape.distance(full.X) < -rim
    kept = inside[i] & inside[j]
    corrector = _corrector(reference)
    size = float(np.linalg.norm(corrector[i[kept]] - corrector[j[kept]]))
    return best_error(setup, assembly, reference, rim) / size


def best_error(setup: Setup, assembly: Assembly, reference: Reference, rim: float) -> float:
    """Smallest H1 error that any state of the trial space has [Å]: a bound for every method on it.

    Least squares over the same bonds that ``compare`` sums over.
    """
    full, t = reference.full, reference.t
    zero = assembly.problem.kinematics.unknowns.vector()
    solution = full.problem.gather(reference.z, t)
    missing = solution - lift_to(assembly, zero, t, full)
    i, j = bonds(full)
    inside = setup.body.shape.distance(full.X) < -rim
    kept = np.flatnonzero(inside[i] & inside[j])
    rows = np.arange(len(kept))
    signs = np.ones(len(kept))
    shape = (len(kept), len(full.X))
    difference = sparse.csr_matrix((signs, (rows, i[kept])), shape) - sparse.csr_matrix(
        (signs, (rows, j[kept])), shape
    )
    A = difference @ scalar_lift(assembly, full)
    right = difference @ missing
    if setup.body.gdim == 3:
        z = _by_iteration(A, right)
    else:
        normal = (A.T @ A).tocsc()
        # Nodes in the rim move no bond that counts; the shift keeps the factorisation from noticing.
        shift = 1e-12 * normal.diagonal().max()
        normal = normal + shift * sparse.identity(normal.shape[0], format="csc")
        z = splu(normal).solve(A.T @ right)
    return float(np.linalg.norm(right - A @ z))


def _by_iteration(A: sparse.csr_matrix, right: Array) -> Array:
    """Least squares without a factorisation, which would fill up in space; one column after another."""
    length = np.sqrt(np.asarray(A.multiply(A).sum(axis=0)).ravel())
    scale = 1 / np.where(length > 0, length, 1.0)
    scaled = (A @ sparse.diags(scale)).tocsr()
    found = [lsmr(scaled, b, atol=1e-6, btol=0.0, conlim=0.0, maxiter=5000) for b in right.T]
    assert all(reason == 2 for _, reason, *_ in found)
    return np.column_stack([scale * x for x, *_ in found])


def _corrector(reference: Reference) -> Array:
    full, t = reference.full, reference.t
    return (
        full.problem.gather(reference.z, t) - full.X - full.body.far_field.displacement(full.X, t)
    )


def scalar_lift(assembly: Assembly, full: Assembly) -> sparse.csr_matrix:
    """Lift of one displacement component from the unknowns to all atoms of the full model."""
    kinematics = assembly.problem.kinematics
    match = spatial.cKDTree(full.X).query(assembly.X[assembly.free])[1]
    follows = full.free.copy()
    follows[match] = False
    everything = np.arange(len(full.X))
    assert kinematics.space is not None
    phi = interpolation_matrix(kinematics.space, full.X, everything, follows, kinematics.recovery)
    step = kinematics.unknowns.components
    T = sparse_of(kinematics.nodes_owned)[::3, ::step]
    unknown = kinematics.unknowns.atom[assembly.free]
    S = sparse.csr_matrix((np.ones(len(match)), (match, unknown)), (len(full.X), T.shape[1]))
    return (sparse_of(phi)[::3, ::3] @ T + S).tocsr()


def sparse_of(matrix: PETSc.Mat) -> sparse.csr_matrix:
    """A matrix of one rank."""
    indptr, indices, data = matrix.getValuesCSR()
    return sparse.csr_matrix((data, indices, indptr), shape=matrix.getSize())


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Exponent of the power law through the points, by least squares in logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def table(rows: Sequence[Row], columns: dict[str, str]) -> str:
    """Markdown table; ``columns`` maps keys of the rows to headings, in order."""
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(key)) for key in columns) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if value == 0 or not 1e-3 <= abs(value) < 1e4 else f"{value:.4g}"
    return str(value)


def over_cores(
    axis: plt.Axes,
    rows: Sequence[Row],
    curves: Iterable[tuple[str, str, str, str]],
    title: str,
) -> None:
    """Errors over the core radius, a curve for each ``(key, colour, marker, label)``."""
    cores = [float(row["core"]) for row in rows]  # type: ignore[arg-type]
    for key, colour, marker, label in curves:
        axis.loglog(cores, [row[key] for row in rows], marker + "-", color=colour, label=label)
    axis.set_xticks(cores, [f"{core:g}" for core in cores])
    axis.minorticks_off()
    axis.set(xlabel="core radius over the cutoff", title=title)


def canvas(
    width: float = 7.2, height: float = 4.4, columns: int = 1
) -> tuple[Figure, list[plt.Axes]]:
    """A figure in the style that all studies share."""
    plt.rcParams.update(
        {
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#e6e6e6",
            "grid.linewidth": 0.7,
            "axes.axisbelow": True,
            "legend.frameon": False,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
        }
    )
    figure, axes = plt.subplots(
        1, columns, figsize=(width, height), layout="constrained", squeeze=False
    )
    return figure, list(axes[0])


def answered(
    product: Callable[[PETSc.Vec, PETSc.Vec], None],
    preconditioner: Preconditioner,
    right: PETSc.Vec,
) -> PETSc.Vec:
    """Solve a linearised problem, by GMRES to a thousandth."""

    class Shell:
        def mult(self, matrix: PETSc.Mat, v: PETSc.Vec, out: PETSc.Vec) -> None:
            product(v, out)

    size = (right.getLocalSize(), None)
    shell = PETSc.Mat().createPython((size, size), Shell(), comm=right.comm)
    shell.setUp()
    ksp = PETSc.KSP().create(right.comm)
    ksp.setOperators(shell)
    ksp.setType("gmres")
    ksp.setTolerances(rtol=1e-3, max_it=200)
    ksp.setGMRESRestart(100)
    ksp.getPC().setType("python")
    ksp.getPC().setPythonContext(Apply(preconditioner))
    out = right.duplicate()
    ksp.solve(right, out)
    return out


def publish(
    name: str,
    rows: Sequence[Row],
    text: str,
    figure: Figure,
    page: str = "validation",
    **facts: object,
) -> None:
    """Print a study, keep its numbers and picture, and renew its section of a page in docs/."""
    print(text, flush=True)
    figures = DOCS / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    figure.savefig(figures / f"{page}_{name}.png", dpi=160)
    plt.close(figure)
    record = {"study": name, "rows": list(rows), **facts}
    (figures / f"{page}_{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    document = DOCS / f"{page}.md"
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    body = f"{begin}\n{text}\n\n![{name}](figures/{page}_{name}.png)\n{end}"
    old = document.read_text()
    new, count = re.subn(f"{begin}.*?{end}", lambda _: body, old, flags=re.DOTALL)
    if count != 1:
        raise RuntimeError(
            f"{document} holds the markers of section {name} {count} times, not once"
        )
    document.write_text(new)


def as_row(comparison: Comparison) -> Row:
    """A comparison as numbers for JSON."""
    return dict(dataclasses.asdict(comparison))
