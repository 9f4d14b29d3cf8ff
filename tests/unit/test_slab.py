# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The slab that tells what finite elements do not know of crack flanks."""

import numpy as np
import pytest

import bodies
from msolve.errors import CaseError
from msolve.handshake.slab import half_layers

CUBE_FACE = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


@pytest.mark.parametrize(
    ("axes", "energy"), [(bodies.CLEAVED_110, 2.509), (CUBE_FACE, 2.930)], ids=["110", "100"]
)
def test_surface_energies_of_eam4(axes, energy):
    slab = bodies.slab(bodies.eam4(), axes)
    assert slab.surface_energy / bodies.J_PER_M2 == pytest.approx(energy, abs=0.002)


def test_surface_layers_move_inward_and_the_middle_stays():
    slab = bodies.slab(bodies.eam4())
    height, moved = slab.reference[:, 1], slab.relaxation
    lowest = np.isclose(height, height.min())
    highest = np.isclose(height, height.max())
    assert (moved[lowest, 1] > 0.02).all()
    assert (moved[highest, 1] < -0.02).all()
    middle = np.abs(height - slab.thickness / 2) < 0.15 * slab.thickness
    assert np.abs(moved[middle]).max() < 1e-4
    assert slab.half_gap == pytest.approx(height.min(), abs=1e-9)


def test_the_profile_moves_both_flanks_inward_and_fades_in_behind_the_tip():
    slab = bodies.slab(bodies.eam4())
    crystal = bodies.bulk(bodies.eam4(), bodies.CLEAVED_110)[0]
    sites = crystal.sites(None, [(-30.0, 10.0), (-6.0, 6.0)], crystal.cleavage().origin)
    X = sites.positions
    u = slab.profile(X, tip=0.0, taper=8.0)
    assert np.abs(u[X[:, 0] >= 0]).max() == 0
    far = X[:, 0] < -8.0
    upper = far & np.isclose(X[:, 1], slab.half_gap)
    lower = far & np.isclose(X[:, 1], -slab.half_gap)
    assert np.count_nonzero(upper) > 3 and np.count_nonzero(lower) > 3
    outermost = slab.relaxation[np.argmin(slab.reference[:, 1]), 1]
    assert np.abs(u[upper, 1] - outermost).max() < 1e-6
    assert np.abs(u[lower, 1] + outermost).max() < 1e-6
    half = np.isclose(X[:, 1], slab.half_gap) & (X[:, 0] < -2.0) & (X[:, 0] > -6.0)
    assert ((u[half, 1] > 0) & (u[half, 1] < outermost)).all() and half.any()


def test_sites_of_another_lattice_are_refused():
    slab = bodies.slab(bodies.eam4())
    with pytest.raises(CaseError, match="not sites of the cleaved crystal"):
        slab.profile(np.array([[-10.0, slab.half_gap + 0.3, 0.4]]), tip=0.0, taper=8.0)


def test_half_layers_fill_the_gap_between_flank_and_crack_plane():
    gap = 1.1
    vertices = np.array(
        [
            [[-4, gap], [-2, gap], [-3, 3]],  # an edge on the upper flank
            [[-4, -gap], [-3, -3], [-2, -gap]],  # on the lower one
            [[-4, gap], [-3, 3], [-5, 3]],  # touches with a vertex
            [[2, gap], [4, gap], [3, 3]],  # ahead of the tip
            [[0, gap], [0, -gap], [2, 0]],  # the blunt end of the slit
        ],
        dtype=float,
    )
    found = half_layers(vertices, gap, 0.0)
    assert sorted(found.cells) == [0, 1]
    assert found.volume == pytest.approx([gap * 2, gap * 2])
    for n in (1, 3):
        X = found.points(n)[np.argsort(found.cells)]
        assert np.allclose(X[0, :, 1], gap / 2) and np.allclose(X[1, :, 1], -gap / 2)
        assert X[..., 0].mean(axis=1) == pytest.approx(-3.0)
    # Three points integrate cubic functions along the edge: the mean of x³ from -4 to -2 is -30.
    assert np.mean(X[0, :, 0] ** 3) == pytest.approx(-30.0)


def test_half_layers_of_tetrahedra():
    gap = 1.0
    vertices = np.array([[[-4, gap, 0], [-2, gap, 0], [-4, gap, 2], [-3, 4, 0]]], dtype=float)
    found = half_layers(vertices, gap, 0.0)
    assert found.volume == pytest.approx([gap * 2.0])  # the facet's area is 2
    for n in (1, 4):
        X = found.points(n)[0]
        assert X.mean(axis=0) == pytest.approx([-10 / 3, gap / 2, 2 / 3])


def test_relaxation_turns_with_the_opened_flanks():
    body = bodies.cracked(bodies.eam4(), 30.0)
    assembly = bodies.coupled(body, 4.0, 6.0)
    problem = assembly.problem
    K = body.far_field.griffith_K(body.slab.surface_energy)
    z = problem.kinematics.unknowns.vector()
    X, relaxation = assembly.X, problem.placement.relaxation
    added = problem.gather(z, K) - X - body.predictor.displacement(X, K)
    size = np.linalg.norm(relaxation, axis=1)
    assert np.linalg.norm(added, axis=1) == pytest.approx(size, abs=1e-10)
    # The upper flank of an opened crack turns clockwise seen from behind the tip, the lower one the other way.
    chosen = (size > 0.5 * size.max()) & (X[:, 0] < -6.0)
    before, after = (u[chosen, 0] + 1j * u[chosen, 1] for u in (relaxation, added))
    angle = np.angle(after / before)
    upper = X[chosen, 1] > 0
    assert (angle[upper] < -0.005).all() and upper.any()
    assert (angle[~upper] > 0.005).all() and (~upper).any()
