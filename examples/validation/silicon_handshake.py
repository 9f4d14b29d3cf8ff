# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a handshake could gain at a crack in silicon: the room up to the oracle, and where the error comes from.

The oracle is the best state of the unknowns, inner shifts included. For the parts of the error nodes are put where the
exact atoms say, as the mean of what each sublattice interpolates there. Lifted, that is not quite the exact state; and
the blended forces do not vanish at it: what is left on the atoms and the blend, on the flanks and in the bulk beyond,
each moves the solution away, by what the linearised problem answers.
"""

from __future__ import annotations

from collections.abc import Sequence

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from common import (
    COLOUR,
    DECKS,
    Coupled,
    Reference,
    Row,
    canvas,
    error_of,
    prepare,
    publish,
    scalar_lift,
    solve_coupled,
    solve_full,
    sparse_of,
    table,
)
from handshake_limits import rings, split_by_rings
from matplotlib.figure import Figure
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from msolve.compare import Lifting, Norms, bonds, lift_to
from msolve.handshake.shifts import CarriedShifts
from msolve.placement import turned
from msolve.solvers import Preconditioner
from msolve.solvers.context import Apply
from msolve.train.bench import Between

Array = npt.NDArray[np.float64]

TOLERANCE, RIM, TIP = 1e-5, 8.0, 9.0  # [eV/Å], [Å], [Å]
CUTOFF = 3.771
"""Of the Stillinger-Weber potential [Å]."""

KINDS = {
    "none": "{kind: none, lift: quadratic}",
    "slab": "{kind: slab}",
    "recovered": "{kind: slab, lift: quadratic}",
}
DEPTH = 7.0
"""Depth of what counts as flank [Å]."""


def study(
    cores: Sequence[float] = (1.5, 2.0, 3.0, 4.0),
    growths: Sequence[float] = (0.5,),
    fine: Sequence[float] = (2.0, 3.0),
    radius: float = 40.0,
) -> tuple[list[Row], list[Row]]:
    """Rows of handshakes for each core, and of the parts of the error for some cores and meshes."""
    rows: list[Row] = []
    parts: list[Row] = []
    reference: Reference | None = None
    for times in cores:
        row: Row = {"core": times}
        for kind in KINDS:
            coupled = _solved(times, kind, radius)
            reference = reference or solve_full(coupled.setup, TOLERANCE, start=coupled)
            error = error_of(coupled, reference, RIM, TIP)
            row |= {kind: error.total_h1, f"tip_{kind}": error.tip_h1}
        row["atoms"] = int(coupled.assembly.evaluated.sum())
        best = oracle(coupled, reference)
        row["oracle"] = _total(coupled, reference, best)
        row["room"] = min(float(row["slab"]), float(row["recovered"])) / float(row["oracle"])  # type: ignore[arg-type]
        rows.append(row)
        print(row, flush=True)
        if times in fine:
            parts.append(_parts(times, 1.0, coupled, reference))
            for growth in growths:
                finer = _solved(times, "recovered", radius, f"mesh.growth={growth}")
                parts.append(_parts(times, growth, finer, reference))
    return rows, parts


def _solved(times: float, kind: str, radius: float, *changes: str) -> Coupled:
    given = [
        f"domain.radius={radius} angstrom",
        f"regions.core_radius={times * CUTOFF} angstrom",
        f"coupling.handshake={KINDS[kind]}",
        *changes,
    ]
    return solve_coupled(*prepare(DECKS / "si_crack.yaml", given), "bgfc_deferred", TOLERANCE)


def _total(coupled: Coupled, reference: Reference, z: PETSc.Vec) -> float:
    full = reference.full
    e = lift_to(coupled.assembly, z, coupled.t, full) - full.problem.gather(
        reference.z, reference.t
    )
    return Norms.of(full, rim=RIM, tip_radius=TIP).total(e)


def oracle(coupled: Coupled, reference: Reference, steps: int = 3) -> PETSc.Vec:
    """Unknowns of the lift nearest to the solution in the H1 norm, by Gauss-Newton from the coupled one."""
    full, t, assembly = reference.full, reference.t, coupled.assembly
    solution = full.problem.gather(reference.z, t)
    i, j = bonds(full)
    inside = coupled.setup.body.shape.distance(full.X) < -RIM
    kept = np.flatnonzero(inside[i] & inside[j])
    rows, ones = np.arange(len(kept)), np.ones(len(kept))
    shape = (len(kept), len(full.X))
    D = sparse.csr_matrix((ones, (rows, i[kept])), shape) - sparse.csr_matrix(
        (ones, (rows, j[kept])), shape
    )
    D = sparse.kron(D, sparse.identity(3)).tocsr()
    z = coupled.z.copy()
    for _ in range(steps):
        A = D @ derivative(coupled, reference, z)
        right = D @ (solution - lift_to(assembly, z, t, full)).ravel()
        normal = (A.T @ A).tocsc()
        # Nodes in the rim move no bond that counts, and where nodes are as many as atoms some motions hardly move one:
        # the shift keeps each step from running along them, and several steps make up for it.
        normal = normal + 1e-3 * normal.diagonal().max() * sparse.identity(normal.shape[0])
        z.array = z.array_r + splu(normal.tocsc()).solve(A.T @ right)
    return z


def derivative(coupled: Coupled, reference: Reference, z: PETSc.Vec) -> sparse.csr_matrix:
    """Of the places of all atoms by the unknowns, inner shifts included."""
    assembly, full = coupled.assembly, reference.full
    inner = full.problem.placement.inner
    assert inner is not None
    kinematics, everything = assembly.problem.kinematics, np.arange(len(full.X))
    lifting = Lifting(assembly, full.X, full.free, inner)
    carried = CarriedShifts(inner, kinematics, full.X, lifting.held, everything)
    rows = carried.rows(everything, everything)
    state = assembly.problem.carried_shifts(z, coupled.t, rows, full.X[rows.atoms])
    k = len(rows.atoms)
    columns = []
    for d in range(rows.gdim):
        for c in range(3):
            change = np.zeros((k, 3, 3))
            change[:, c, d] = 1.0
            columns.append(state.along(change))
    blocks = np.stack(columns, axis=2)
    size = blocks.shape[2]
    where = 3 * rows.atoms[:, None, None] + np.arange(3)[:, None] + np.zeros((1, 1, size), int)
    of = size * np.arange(k)[:, None, None] + np.arange(size) + np.zeros((1, 3, 1), int)
    B = sparse.csr_matrix(
        (blocks.ravel(), (where.ravel(), of.ravel())), (3 * len(full.X), size * k)
    )
    lift = sparse.kron(scalar_lift(assembly, full), sparse.identity(3))
    return (lift + B @ sparse_of(rows.of_unknowns)).tocsr()


def interpolant(coupled: Coupled, reference: Reference) -> PETSc.Vec:
    """Unknowns that follow the exact atoms: atoms where they are, nodes as the sublattices interpolate, their mean."""
    assembly, full, t = coupled.assembly, reference.full, reference.t
    inner = full.problem.placement.inner
    assert inner is not None
    problem, body = assembly.problem, assembly.body
    y = full.problem.gather(reference.z, t)
    relaxed = turned(body.relaxation(full.X), body.predictor, full.X, t)
    moved = y - full.X - relaxed - body.predictor.displacement(full.X, t)
    kinematics = problem.kinematics
    unknowns, space = kinematics.unknowns, kinematics.space
    assert space is not None
    nodes = space.nodes()
    field, known = np.zeros((len(nodes), 3)), np.full((len(nodes), 1), 1e-9)
    for b in np.unique(inner.basis):
        own = np.flatnonzero(inner.basis == b)
        between = Between(full.X[own], nodes)
        which = cKDTree(full.X[own]).query(between.atoms)[1]
        field += between(moved[own[which]])
        known += between(np.ones((len(which), 1)))  # a flank ends in one sublattice
    of_nodes = field / known - problem.node_base(t)
    base = problem.gather(unknowns.vector(), t)
    match = cKDTree(full.X).query(assembly.X)[1]
    z = unknowns.vector()
    values = z.array.reshape(-1, unknowns.components).copy()
    chosen = np.flatnonzero(unknowns.node >= 0)
    values[unknowns.node[chosen]] = of_nodes[chosen]
    atoms = np.flatnonzero(unknowns.atom >= 0)
    values[unknowns.atom[atoms]] = (y[match] - base)[atoms]
    z.array = values.ravel()
    return z


def _parts(times: float, growth: float, coupled: Coupled, reference: Reference) -> Row:
    """Error ring by ring, and what the forces left at the interpolant make of it, region by region."""
    assembly, t, setup = coupled.assembly, coupled.t, coupled.setup
    best = interpolant(coupled, reference)
    problem = assembly.problem.with_terms(assembly.force_terms)
    force = best.duplicate()
    problem.evaluate(best, t, force)
    X = _places(coupled)
    regions = setup.case.regions
    assert regions is not None
    beyond = np.hypot(X[:, 0], X[:, 1]) > times * CUTOFF + regions.blend
    flank = beyond & (X[:, 0] < 0) & (np.abs(X[:, 1]) < setup.body.half_gap + DEPTH)
    named = {"core": ~beyond, "flanks": flank, "bulk": beyond & ~flank, "all": beyond | ~beyond}
    product = problem.linearise(best, t)
    full = reference.full
    norms = Norms.of(full, rim=RIM, tip_radius=TIP)
    J = derivative(coupled, reference, best)
    row: Row = {
        "core": times,
        "growth": growth,
        "nodes": int(assembly.problem.kinematics.space.n_owned_nodes),  # type: ignore[union-attr]
        "total": _total(coupled, reference, coupled.z),
        "interpolant": _total(coupled, reference, best),
    }
    for name, own in named.items():
        right = force.duplicate()
        right.array = -(force.array_r.reshape(len(X), -1) * own[:, None]).ravel()
        moved = (J @ _answer(product, assembly.preconditioner, right).array_r).reshape(-1, 3)
        row[f"by_{name}"] = norms.total(moved)
    e = lift_to(assembly, best, t, full) - full.problem.gather(reference.z, t)
    row |= {f"interpolant_{k}": v for k, v in split_by_rings(setup, full, e, DEPTH).items()}
    row |= rings(coupled, reference, DEPTH)
    print(row, flush=True)
    return row


def _places(coupled: Coupled) -> Array:
    """Where the unknowns rest, shape ``(n, 3)`` [Å]."""
    kinematics = coupled.assembly.problem.kinematics
    unknowns, space = kinematics.unknowns, kinematics.space
    assert space is not None
    X = np.zeros((unknowns.n_global // unknowns.components, 3))
    nodes = np.flatnonzero(unknowns.node >= 0)
    X[unknowns.node[nodes]] = space.nodes()[nodes]
    atoms = np.flatnonzero(unknowns.atom >= 0)
    X[unknowns.atom[atoms]] = coupled.assembly.X[atoms]
    return X


def _answer(product: object, preconditioner: Preconditioner, right: PETSc.Vec) -> PETSc.Vec:
    """Solve the linearised problem."""

    class Shell:
        def mult(self, matrix: PETSc.Mat, v: PETSc.Vec, out: PETSc.Vec) -> None:
            product(v, out)  # type: ignore[operator]

    size = (right.getLocalSize(), None)
    shell = PETSc.Mat().createPython((size, size), Shell(), comm=MPI.COMM_WORLD)
    shell.setUp()
    ksp = PETSc.KSP().create(MPI.COMM_WORLD)
    ksp.setOperators(shell)
    ksp.setType("gmres")
    ksp.setTolerances(rtol=1e-3, max_it=200)
    ksp.setGMRESRestart(100)
    ksp.getPC().setType("python")
    ksp.getPC().setPythonContext(Apply(preconditioner))
    out = right.duplicate()
    ksp.solve(right, out)
    return out


def draw(rows: Sequence[Row], parts: Sequence[Row]) -> Figure:
    """Error over the core; and over the mesh, with what makes it."""
    figure, axes = canvas(8.6, 3.6, columns=2)
    for kind, colour, marker, label in (
        ("none", "#999999", "v", "none"),
        ("slab", COLOUR["bqce"], "s", "slab"),
        ("recovered", COLOUR["bgfc"], "^", "slab, recovered lift"),
        ("oracle", "#333333", "*", "oracle"),
    ):
        cores = [r["core"] for r in rows]
        axes[0].loglog(cores, [r[kind] for r in rows], marker + "-", color=colour, label=label)
    axes[0].set_xticks(cores, [f"{core:g}" for core in cores])
    axes[0].minorticks_off()
    axes[0].set(xlabel="core radius over the cutoff", ylabel="H1 error [Å]", title="Si (111)[1-10]")
    axes[0].legend()
    at = np.arange(len(parts))
    for place, (key, colour, label) in enumerate(
        (
            ("total", COLOUR["bgfc"], "slab, recovered lift"),
            ("interpolant", "#333333", "of the interpolant"),
            ("by_core", COLOUR["bqcf"], "by forces of core and blend"),
            ("by_flanks", COLOUR["bqce"], "of the flanks beyond"),
            ("by_bulk", COLOUR["atomistic"], "of the bulk beyond"),
        )
    ):
        heights = [r[key] for r in parts]
        axes[1].bar(at + 0.16 * place - 0.32, heights, 0.16, color=colour, label=label)
    axes[1].set_xticks(at, [f"{r['core']:g}\n{r['growth']:g}" for r in parts])
    axes[1].set(xlabel="core / cutoff, growth of the mesh", title="What makes it")
    axes[1].legend(fontsize=8)
    return figure


def main() -> None:
    """Run the study and publish it."""
    rows, parts = study()
    text = (
        table(
            rows,
            {
                "core": "core / cutoff",
                "atoms": "evaluated atoms",
                "none": "none",
                "slab": "slab",
                "recovered": "slab, recovered lift",
                "oracle": "oracle",
                "room": "room",
                "tip_recovered": "tip, slab, recovered lift",
            },
        )
        + "\n\nH1 errors in Å, R = 40 Å, K_G.\n\n"
        + table(
            parts,
            {
                "core": "core / cutoff",
                "growth": "growth of the mesh",
                "nodes": "nodes",
                "total": "slab, recovered lift",
                "interpolant": "interpolant",
                "by_core": "by forces of core and blend",
                "by_flanks": "of the flanks beyond",
                "by_bulk": "of the bulk beyond",
                "by_all": "of all",
                "flank9": "error on flanks, 9 to 20 Å",
                "flank20": "further out",
                "bulk9": "in bulk, 9 to 20 Å",
                "bulk20": "further out",
            },
        )
        + "\n\nWhat forces left at the interpolant do to the solution, region by region [Å], and where the error sits."
    )
    publish("silicon", rows, text, draw(rows, parts), page="handshake", parts=parts)


if __name__ == "__main__":
    main()
