# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Load fields: mechanics that every K-field obeys, known solutions, affine fields."""

from dataclasses import replace

import numpy as np
import pytest

from msolve.crystal import Crystal
from msolve.errors import UnsupportedError
from msolve.loads import Affine, KField, Zero, cubic_stiffness, stiffness_from_voigt, stroh

GPA = 1 / 160.21766208
J_PER_M2 = 1 / 16.021766208
MPA_SQRT_M = GPA * 1e-3 * 1e5

C11, C12, C44 = 523.0 * GPA, 202.2 * GPA, 160.9 * GPA
W_110 = Crystal.bcc(3.14339, 74).oriented([1, -1, 0], [1, 1, 0], [0, 0, 1])
SI_111 = Crystal.diamond(5.43, 14).oriented([1, 1, -2], [1, 1, 1], [1, -1, 0])
MU, NU = 0.8, 0.3
LAMBDA = 2 * MU * NU / (1 - 2 * NU)


def triclinic():
    half = np.random.default_rng(5).normal(size=(6, 6))
    return stiffness_from_voigt(0.1 * half @ half.T + np.eye(6))


def planar():
    """A triangular lattice of layers that do not know of each other."""
    voigt = np.zeros((6, 6))
    voigt[:2, :2] = [[3.0, 1.0], [1.0, 3.0]]
    voigt[5, 5] = 1.0
    return stiffness_from_voigt(voigt)


FIELDS = {
    "tungsten": KField(cubic_stiffness(C11, C12, C44, W_110.rotation)),
    "silicon, mirror-free": KField(
        cubic_stiffness(166 * GPA, 64 * GPA, 80 * GPA, SI_111.rotation), tip=(1.5, -0.7)
    ),
    "isotropic": KField(cubic_stiffness(LAMBDA + 2 * MU, LAMBDA, MU)),
    "triclinic": KField(triclinic()),
}
EVERY = pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())
# A degenerate stiffness is split by 1e-8 of itself, which costs as much accuracy.
ROUND_OFF = 1e-7


@pytest.fixture
def X():
    rng = np.random.default_rng(7)
    r, theta = rng.uniform(3, 60, 300), rng.uniform(-3.1, 3.1, 300)
    return np.column_stack([r * np.cos(theta), r * np.sin(theta), rng.uniform(-5, 5, 300)])


def polar(X):
    return np.hypot(X[:, 0], X[:, 1]), np.arctan2(X[:, 1], X[:, 0])


def stress(field, X, K):
    return np.einsum("ijkl,nkl->nij", field.C, field.gradient(X, K))


def at_tip(field, X):
    return X + np.array([*field.tip, 0.0])


@EVERY
@pytest.mark.parametrize("K", [1.3, (0.4, 1.0, -0.6)])
def test_gradient_is_the_derivative_of_the_displacement(field, K, X):
    X, step = at_tip(field, X), 1e-4
    numerical = np.stack(
        [
            (field.displacement(X + step * e, K) - field.displacement(X - step * e, K)) / (2 * step)
            for e in np.eye(3)
        ],
        axis=2,
    )
    gradient = field.gradient(X, K)
    assert np.abs(gradient).max() > 1e-2
    assert gradient == pytest.approx(numerical, abs=1e-7)
    assert np.all(gradient[:, :, 2] == 0)


@EVERY
def test_stress_is_in_equilibrium(field, X):
    X, step = at_tip(field, X), 1e-4
    divergence = sum(
        (stress(field, X + step * e, (1, 1, 1)) - stress(field, X - step * e, (1, 1, 1)))[:, :, j]
        for j, e in enumerate(np.eye(3))
    )
    scale = np.abs(stress(field, X, (1, 1, 1))).max()
    assert np.abs(divergence / (2 * step)).max() < 1e-6 * scale


@EVERY
def test_flanks_are_free_of_traction_and_the_plane_ahead_defines_K(field):
    r = np.array([1.0, 5.0, 40.0])
    behind = at_tip(field, np.column_stack([-r, 0 * r, 0 * r]))
    for below in (0.0, -1e-13):
        traction = stress(field, np.add(behind, [0, below, 0]), (1.0, 2.0, 3.0))[:, :, 1]
        assert np.abs(traction).max() < ROUND_OFF
    ahead = at_tip(field, np.column_stack([r, 0 * r, 0 * r]))
    traction = stress(field, ahead, (1.0, 2.0, 3.0))[:, :, 1] * np.sqrt(2 * np.pi * r)[:, None]
    assert traction == pytest.approx(np.tile([2.0, 1.0, 3.0], (3, 1)), abs=3 * ROUND_OFF)


@EVERY
def test_energy_release_rate_is_the_work_of_closing_the_crack(field):
    """Irwin: G = lim 1/(2d) integral of traction ahead times opening behind, over a length d."""
    K, d = (1.0, 0.3, -0.5), 2.0
    # r = d sin(s)^2 takes the singularity of both factors out of the integral.
    s = (np.arange(200) + 0.5) / 200 * np.pi / 2
    r, weight = d * np.sin(s) ** 2, d * np.sin(2 * s) * np.pi / 400
    ahead = at_tip(field, np.column_stack([r, 0 * r, 0 * r]))
    behind = at_tip(field, np.column_stack([r - d, 0 * r, 0 * r]))
    opening = field.displacement(behind, K) - field.displacement(behind - [0, 1e-12, 0], K)
    work = np.sum(stress(field, ahead, K)[:, :, 1] * opening, axis=1)
    assert field.energy_release_rate(K) == pytest.approx(work @ weight / (2 * d), rel=1e-6)
    # It is also the J integral over a circle.
    theta = (np.arange(400) + 0.5) / 400 * 2 * np.pi - np.pi
    normal = np.column_stack([np.cos(theta), np.sin(theta), 0 * theta])
    circle = at_tip(field, 10 * normal)
    grad, sigma = field.gradient(circle, K), stress(field, circle, K)
    energy = 0.5 * np.einsum("nij,nij->n", sigma, grad)
    flux = energy * normal[:, 0] - np.einsum("nij,nj,ni->n", sigma, normal, grad[:, :, 0])
    assert flux.mean() * 2 * np.pi * 10 == pytest.approx(field.energy_release_rate(K), rel=1e-4)


@EVERY
def test_opening_is_positive_and_upper_flank_is_the_plane_itself(field):
    behind = at_tip(field, np.array([[-9.0, 0, 0], [-9.0, -0.0, 0], [-9.0, -1e-12, 0]]))
    u = field.displacement(behind, 1.0)
    assert u[0] == pytest.approx(u[1], abs=1e-9)
    assert u[0, 1] > u[2, 1] + 0.1


def test_isotropic_field_is_that_of_williams(X):
    r, theta = polar(X)
    kappa = 3 - 4 * NU
    c, s = np.cos(theta / 2), np.sin(theta / 2)
    size = np.sqrt(r / (2 * np.pi)) / (2 * MU)
    field = FIELDS["isotropic"]
    assert field.displacement(X, 1.0)[:, :2] == pytest.approx(
        (size * (kappa - np.cos(theta)))[:, None] * np.column_stack([c, s]), abs=ROUND_OFF
    )
    assert field.displacement(X, (0, 1.0, 0))[:, :2] == pytest.approx(
        size[:, None]
        * np.column_stack([s * (kappa + 2 + np.cos(theta)), -c * (kappa - 2 + np.cos(theta))]),
        abs=ROUND_OFF,
    )
    assert field.displacement(X, (0, 0, 1.0))[:, 2] == pytest.approx(4 * size * s, abs=ROUND_OFF)
    K = np.array([0.7, 0.5, 0.2])
    expected = (K[0] ** 2 + K[1] ** 2) * (1 - NU) / (2 * MU) + K[2] ** 2 / (2 * MU)
    assert field.energy_release_rate(K) == pytest.approx(expected, rel=ROUND_OFF)


def test_a_nearly_isotropic_field_is_nearly_the_isotropic_one(X):
    """The split for degenerate constants must join on to constants that need none."""
    exact = FIELDS["isotropic"].displacement(X, 1.0)
    for anisotropy in (1e-4, 1e-7, 1e-9, 1e-11, 1e-13):
        near = KField(cubic_stiffness(LAMBDA + 2 * MU, LAMBDA, MU * (1 + anisotropy)))
        error = np.abs(near.displacement(X, 1.0) - exact).max()
        assert error < 20 * anisotropy + ROUND_OFF


def test_tungsten_has_the_field_and_the_griffith_load_of_matscipy(X):
    crack = pytest.importorskip("matscipy.fracture_mechanics.crack")
    gamma = 2.509 * J_PER_M2
    field = FIELDS["tungsten"]
    theirs = crack.CubicCrystalCrack([1, 1, 0], [0, 0, 1], C11, C12, C44)
    K = field.griffith_K(gamma)
    assert pytest.approx(1.495, abs=5e-4) == K / MPA_SQRT_M
    # matscipy's K-field is in eV/Å^2.5 when the constants are in eV/Å³, as here.
    assert theirs.k1g(gamma) == pytest.approx(K, rel=1e-9)
    assert field.energy_release_rate(K) == pytest.approx(2 * gamma, rel=1e-12)
    u = np.column_stack(theirs.displacements(X[:, 0], X[:, 1], np.zeros(300), np.zeros(300), K))
    assert field.displacement(X, K)[:, : u.shape[1]] == pytest.approx(u, abs=1e-9)
    # matscipy returns the transpose: the derivative is the first of its two matrix axes.
    F = theirs.crack.deformation_gradient(*polar(X), K).transpose(0, 2, 1)
    assert field.gradient(X, K)[:, :2, :2] + np.eye(2) == pytest.approx(F, abs=1e-9)


def test_field_does_not_depend_on_the_axes_the_constants_are_given_in(X):
    """Mode I of a solid turned about the front by 180 degrees is the same field."""
    turn = np.diag([-1.0, -1.0, 1.0])
    C = triclinic()
    turned = np.einsum("ia,jb,kc,ld,abcd->ijkl", turn, turn, turn, turn, C)
    K = (1.0, 0.3, -0.4)
    assert KField(turned).displacement(X, K)[:, :2] == pytest.approx(
        KField(C).displacement(X, (1.0, 0.3, 0.4))[:, :2], abs=1e-10
    )


def test_a_planar_model_has_its_in_plane_field(X):
    """A triangular lattice is isotropic in the plane, with the plane's own Poisson number."""
    field = KField(planar())
    r, theta = polar(X)
    size = np.sqrt(r / (2 * np.pi)) / 2.0
    kappa = 3 - 4 * 0.25
    u = field.displacement(X, 1.0)
    assert u[:, 0] == pytest.approx(size * (kappa - np.cos(theta)) * np.cos(theta / 2), abs=1e-8)
    assert np.abs(u[:, 2]).max() < 1e-12


@pytest.mark.parametrize("C44_of", [-0.1, 0.0])
def test_unstable_crystals_have_no_K_field(C44_of):
    with pytest.raises(UnsupportedError, match="a K-field needs a stable crystal"):
        stroh(cubic_stiffness(1.0, 0.5, C44_of))


def test_a_wave_that_is_unstable_inside_the_plane_is_found():
    with pytest.raises(UnsupportedError, match="not elliptic"):
        stroh(cubic_stiffness(1.0, 1.5, 0.4, SI_111.rotation @ SI_111.rotation.T))


def test_the_gradient_at_the_tip_itself_is_refused():
    with pytest.raises(ValueError, match="infinite at the crack tip"):
        FIELDS["tungsten"].gradient(np.zeros((1, 3)), 1.0)
    assert np.all(FIELDS["tungsten"].displacement(np.zeros((1, 3)), 1.0) == 0)


def test_K_has_one_or_three_components(X):
    with pytest.raises(ValueError, match="one number or"):
        FIELDS["tungsten"].displacement(X, (1.0, 2.0))


def test_one_number_multiplies_the_mode_and_the_tip_moves_the_field(X):
    field = FIELDS["triclinic"]
    mixed = replace(field, mode=(0.9, -0.4, 0.2), tip=(1.5, 0.0))
    K = np.array([1.8, -0.8, 0.4])
    moved = X + np.array([1.5, 0, 0])
    assert mixed.displacement(moved, 2.0) == pytest.approx(field.displacement(X, K), abs=1e-12)
    assert mixed.gradient(moved, 2.0) == pytest.approx(field.gradient(X, K), abs=1e-9)
    assert mixed.energy_release_rate(2.0) == pytest.approx(field.energy_release_rate(K))
    # Griffith's load is that of mode I, whatever the mixture.
    assert mixed.griffith_K(0.1) == field.griffith_K(0.1)


def test_affine_and_zero_fields(X):
    F = np.array([[1.02, 0.01, 0.0], [0.0, 0.99, 0.02], [0.005, 0.0, 1.01]])
    load = Affine(F)
    assert X + load.displacement(X, 1.0) == pytest.approx(X @ F.T)
    assert load.displacement(X, 0.5) == pytest.approx(0.5 * load.displacement(X, 1.0))
    assert load.gradient(X, 0.5) == pytest.approx(np.tile(0.5 * (F - np.eye(3)), (len(X), 1, 1)))
    assert not Zero().displacement(X, 1.0).any()
    assert not Zero().gradient(X, 1.0).any()
    assert Zero().gradient(X, 1.0).shape == (len(X), 3, 3)
