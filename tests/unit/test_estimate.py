# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Estimated errors: against the true ones, against dense linear algebra, and where there is nothing to estimate."""

import numpy as np
import pytest
from scipy import linalg, sparse

import bodies
from msolve.assemble import full_atomistic
from msolve.certificate.modes import bond_laplacian, loose_bonds, springs_matrix
from msolve.compare import Lifting, compare, lift_to, unknowns_of
from msolve.estimate import Estimator
from msolve.estimate.bounds import least_eigenvalue, two_sided
from msolve.estimate.exhaustive import space_in_full
from msolve.estimate.truncation import truncation
from msolve.output import budget
from msolve.solvers import Settings, correct, minimise

TIGHT = Settings(tolerance=1e-8)
WIDTHS = {"rim": 2.0, "tip_radius": 3.0}


def body(vacancy=True):
    F = [[1.02, 0.01, 0], [0.0, 1.0, 0], [0, 0, 1]]
    return bodies.perfect(bodies.toy(), F, 13.0, predictor=True, vacancy=vacancy)


@pytest.fixture(scope="module")
def case():
    """A coupled solution beside its full model, and the exact solution from there."""
    coupled = bodies.coupled(body(), 2.5, 3.0, mesh="matching")
    z = coupled.problem.kinematics.unknowns.vector()
    M, forces = coupled.preconditioner, coupled.force_terms
    correct(coupled.problem, forces, z, 1.0, M, TIGHT, corrections=20, tolerance=1e-7)
    full = full_atomistic(coupled.problem.kinematics.unknowns.comm, coupled.body)
    lifted = lift_to(coupled, z, 1.0, full)
    start = unknowns_of(full, lifted, 1.0)
    exact = start.copy()
    assert minimise(full.problem, exact, 1.0, full.preconditioner, TIGHT).converged
    return coupled, z, full, lifted, start, exact


def estimate(case, **options):
    coupled, z, full = case[:3]
    solved = coupled.problem.with_terms(coupled.force_terms)
    return Estimator(coupled, full, **WIDTHS)(z, 1.0, solved, **options)


def test_the_estimate_is_the_error(case):
    _, _, full, lifted, _, exact = case
    found, (d, source, parts) = estimate(case)
    # The forces that are left lie around the core and at the edges of elements, not in its middle.
    away = np.linalg.norm(full.X[:, :2], axis=1)
    assert source[away < 1.5].max() < 1e-3 * source.max()
    true, error = compare(full, lifted, exact, 1.0, **WIDTHS)
    assert true.total_h1 > 1e-4
    assert found.kind == "hessian" and 1 < found.products < 10
    assert found.total_h1 == pytest.approx(true.total_h1, rel=0.02)
    assert found.tip_h1 == pytest.approx(true.tip_h1, rel=0.2)
    assert found.energy == pytest.approx(true.energy, rel=0.02)
    assert 1e-4 < found.contraction < 0.05
    assert np.abs(d - error).max() < 0.2 * np.abs(error).max()
    # Its two parts, place by place: what the coupled space holds, and what lies between its nodes.
    assert parts.shape == (len(d), 2) and (parts >= 0).all() and (parts.sum(axis=0) > 0).all()
    coupling, mesh = np.sqrt(parts.sum(axis=0))
    assert abs(coupling - mesh) < found.total_h1 < coupling + mesh
    # They are orthogonal in elasticity, in this norm nearly.
    assert parts.sum() == pytest.approx(found.total_h1**2, rel=0.3)
    near = parts[away < 4.0].sum(axis=0)
    assert near[0] / parts[:, 0].sum() > 2 * near[1] / parts[:, 1].sum()


def matrix(mat):
    indptr, indices, data = mat.getValuesCSR()
    return sparse.csr_matrix((data, indices, indptr), shape=mat.getSize()).toarray()


def dense(apply, n):
    columns = []
    for k in range(n):
        columns.append(apply(np.eye(1, n, k)[0]))
    return np.array(columns).T


def test_norms_are_those_of_dense_matrices(case):
    coupled, _, full, _, start, _ = case
    r = start.duplicate()
    full.problem.evaluate(start, 1.0, r)
    n = start.getSize()
    K = matrix(full.preconditioner.matrix)
    product = full.problem.linearise(start, 1.0)
    v, out = start.duplicate(), start.duplicate()

    def hessian(x):
        v.array[:] = x
        product(v, out)
        return out.array.copy()

    H = dense(hessian, n)
    step = linalg.solve(H, r.array, assume_a="sym")
    found, _ = estimate(case)
    assert found.elasticity_norm == pytest.approx(
        np.sqrt(r.array @ linalg.solve(K, r.array)), rel=1e-8
    )
    exact = np.sqrt(r.array @ step)
    assert exact * 0.999 < found.energy_norm < exact * (1 + 1e-10)
    # The split is the projection on the coupled space, orthogonal in elasticity.
    owned = full.problem.kinematics.owned_atoms
    lifting = Lifting(coupled, full.X, full.free, full.problem.placement.inner, owned)
    P = matrix(space_in_full(coupled, full, lifting))
    inside = P @ linalg.lstsq(P.T @ K @ P, P.T @ K @ step)[0]
    part, rest = np.sqrt(inside @ K @ inside), np.sqrt((step - inside) @ K @ (step - inside))
    assert found.coupling == pytest.approx(part, rel=0.02)
    assert found.discretisation == pytest.approx(rest, rel=0.02)
    whole = found.coupling**2 + found.discretisation**2
    assert whole == pytest.approx(step @ K @ step, rel=0.02)


def test_bounds_from_both_sides_hold_and_close_in(case):
    """Springs of any stiffness between neighbours, against dense linear algebra, around rough solutions."""
    full = case[2]
    components = full.problem.kinematics.unknowns.components
    rng = np.random.default_rng(1)
    i, j = loose_bonds(full)
    half = rng.normal(size=(len(i), 3, 3))
    springs = springs_matrix(full, i, j, half @ np.swapaxes(half, 1, 2) + 0.1 * np.eye(3))
    K, least = matrix(springs), least_eigenvalue(springs, components)
    lowest = linalg.eigvalsh(K)[0]
    assert 0.01 * lowest < least <= lowest
    alike = bond_laplacian(full)
    # Where all springs are alike the bound is as good as its vector.
    assert 0.5 < least_eigenvalue(alike, components) / linalg.eigvalsh(matrix(alike))[0] <= 1
    r, rough = springs.createVecLeft(), springs.createVecLeft()
    r.array[:] = rng.normal(size=len(K))
    phi = linalg.solve(K, r.array)
    exact, widths = np.sqrt(r.array @ phi), []
    for noise in (1.0, 0.1, 0.01, 1e-4, 0.0):
        rough.array[:] = phi * (1 + noise * rng.normal(size=len(phi)))
        low, high = two_sided(springs, r, rough, least)
        assert low <= exact <= high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 0.1 * exact and widths[-1] < 1e-6 * exact
    rough.set(0.0)
    assert two_sided(springs, r, rough, least)[0] == 0.0
    springs.scale(-1.0)
    assert least_eigenvalue(springs, components) is None


def test_a_table_says_what_the_error_consists_of(case):
    coupled, z, _ = case[:3]
    found, _ = estimate(case, minimised=coupled.problem)
    rows = {name.strip(): (value, how) for name, value, how in budget(found)}
    assert rows["all, in elasticity"] == (f"{found.elasticity_norm:.3g}", "computed")
    assert found.elasticity_bounds == (found.elasticity_norm, found.elasticity_norm)
    assert rows["coupling"][0] == f"{found.coupling:.2g}" and rows["mesh"][1].startswith("share")
    assert found.energy_bounds[0] == pytest.approx(found.energy_norm)
    assert found.energy_norm < found.energy_bounds[1] < 1.1 * found.energy_norm
    # Never renewed, the dead load differs from that of this state.
    assert rows["deferred correction"][0] == f"{found.deferred:.2g}" and found.deferred > 0
    beyond, how = truncation(coupled, z, 1.0)
    assert (found.truncation, found.truncation_kind) == (beyond, how) == (beyond, "extrapolated")
    assert beyond > 0 and rows["beyond the outer boundary"][0] == f"{beyond:.2g}"


def test_elasticity_alone_asks_for_no_products(case):
    found, (d, _, _) = estimate(case, hessian=False)
    assert found.kind == "elasticity" and found.products == 0 and found.energy_norm is None
    sharp, _ = estimate(case)
    assert found.elasticity_norm == sharp.elasticity_norm
    assert 0.3 < found.total_h1 / sharp.total_h1 < 3 and np.isfinite(d).all()


def test_a_rough_estimate_is_nearly_the_same_for_fewer_products(case):
    sharp, (_, _, parts) = estimate(case)
    rough, (_, _, roughly) = estimate(case, rough=True)
    assert rough.kind == "hessian" and rough.contraction is None
    assert 0 < rough.products < sharp.products
    assert rough.total_h1 == pytest.approx(sharp.total_h1, rel=0.05)
    assert roughly.sum(axis=0) == pytest.approx(parts.sum(axis=0), rel=0.2)


def test_a_state_with_a_negative_direction_falls_back_to_elasticity(case):
    coupled, _, full, _, _, _ = case
    far = coupled.problem.kinematics.unknowns.vector()
    far.array[:] = np.random.default_rng(0).uniform(-0.12, 0.12, far.getLocalSize())
    solved = coupled.problem.with_terms(coupled.force_terms)
    found, _ = Estimator(coupled, full, **WIDTHS)(far, 1.0, solved)
    assert found.kind == "elasticity" and found.energy_norm is None and found.contraction is None


def test_nothing_is_left_in_a_perfect_crystal():
    coupled = bodies.coupled(body(vacancy=False), 2.5, 3.0, mesh="matching")
    z = coupled.problem.kinematics.unknowns.vector()
    full = full_atomistic(z.comm.tompi4py(), coupled.body)
    solved = coupled.problem.with_terms(coupled.force_terms)
    found, _ = Estimator(coupled, full, **WIDTHS)(z, 1.0, solved)
    assert found.total_h1 < 1e-10 and found.elasticity_norm < 1e-10 and found.algebraic < 1e-10
