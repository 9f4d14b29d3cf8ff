# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Meshes: on the atoms or free of them, cracks, grading, files; gmsh is used without a trace."""

import signal

import numpy as np
import pytest
from scipy.spatial import cKDTree

from msolve.crystal import Crystal
from msolve.errors import CaseError
from msolve.io.meshes import Slit, disc_mesh, mesh_quality, read_mesh
from msolve.io.meshes.data import boundary_facets, positively_oriented, signed_volumes
from msolve.regions import Ball, Box, Capsule, Polygon

gmsh = pytest.importorskip("gmsh")

RADIUS = 30.0  # in nearest-neighbour distances
ZONE = 8.0
CRYSTALS = {
    "bcc (110)[001]": Crystal.bcc(3.14339, 74).oriented([1, -1, 0], [1, 1, 0], [0, 0, 1]),
    "bcc (100)[001]": Crystal.bcc(3.14339, 74).oriented([1, 0, 0], [0, 1, 0], [0, 0, 1]),
    "bcc (112)[1-10]": Crystal.bcc(3.14339, 74).oriented([1, 1, -1], [1, 1, 2], [1, -1, 0]),
    "fcc (111)[1-10]": Crystal.fcc(4.03, 13).oriented([1, 1, -2], [1, 1, 1], [1, -1, 0]),
    "diamond (111)[1-10]": Crystal.diamond(5.43, 14).oriented([1, 1, -2], [1, 1, 1], [1, -1, 0]),
    "hcp prismatic": Crystal.hcp(3.2, 5.2, 12).oriented([1, 0, 0], [1, 2, 0], [0, 0, 1]),
    "triangular": Crystal.triangular(1.0, 10.0).oriented([1, 0, 0], [1, 2, 0], [0, 0, 1]),
    "puckered surface": Crystal.from_cell(
        np.diag([3.0, 4.0, 5.0]), [[0, 0, 0], [0.1, 0.2, 0.4]], [8, 9]
    ).oriented([0, 0, 1], [1, 0, 0], [0, 1, 0]),
}


def disc(radius, x1=0.0, x2=0.0):
    return Ball((x1, x2, 0.0), radius)


class Example:
    """A disc of a crystal and its mesh."""

    def __init__(self, crystal, cracked, matching=True, **changes):
        cleavage = crystal.cleavage()
        self.puckered = np.diff(crystal.layers_along_x2()[0], prepend=-9).min() < 0.5
        self.unit = crystal.nearest_neighbour_distance
        self.radius, self.zone = RADIUS * self.unit, ZONE * self.unit
        self.slit = Slit(0.0, cleavage.half_gap) if cracked else None
        self.atoms = crystal.sites(
            lambda X: np.hypot(X[:, 0], X[:, 1]) < self.radius,
            [(-self.radius, self.radius)] * 2,
            cleavage.origin,
        ).positions[:, :2]
        options = {
            "spacing": self.unit,
            "zones": (disc(self.zone),),
            "matching_points": self.atoms if matching else None,
            "h_max": 6 * self.unit,
            "slit": self.slit,
        }
        self.mesh = disc_mesh(self.radius, **{**options, **changes})


@pytest.fixture(scope="module", params=["whole", "cracked"])
def cracked(request):
    return request.param == "cracked"


@pytest.fixture(scope="module", params=CRYSTALS.values(), ids=CRYSTALS.keys())
def matched(request, cracked):
    return Example(request.param, cracked)


@pytest.fixture(scope="module")
def free(cracked):
    return Example(CRYSTALS["bcc (110)[001]"], cracked, matching=False)


def check_is_the_disc_less_the_strip(example):
    """Positive triangles whose areas add up to the polygon of the outer nodes less the strip."""
    mesh, slit = example.mesh, example.slit
    volumes = signed_volumes(mesh.points, mesh.cells)
    assert volumes.min() > 0
    outline = mesh.points[boundary_facets(mesh.cells)]
    shoelace = np.sum(outline[:, 0, 0] * outline[:, 1, 1] - outline[:, 1, 0] * outline[:, 0, 1]) / 2
    assert volumes.sum() == pytest.approx(shoelace, rel=1e-12)
    outer = mesh.points[mesh.node_tags["outer"]]
    assert np.linalg.norm(outer, axis=1) == pytest.approx(example.radius)
    angle = np.sort(np.arctan2(outer[:, 1], outer[:, 0]))
    sector = np.diff(angle) if slit else np.diff([*angle, angle[0] + 2 * np.pi])
    polygon = np.sum(np.sin(sector)) * example.radius**2 / 2
    if slit is None:
        assert volumes.sum() == pytest.approx(polygon, rel=1e-12)
        return
    end = mesh.points[mesh.node_tags["crack_end"]]
    mouth = np.sqrt(example.radius**2 - slit.half_gap**2)
    strip = 2 * slit.half_gap * (mouth + end[:, 0].mean())
    opening = mouth * slit.half_gap  # triangle from the centre to the two ends of the flanks
    assert volumes.sum() == pytest.approx(polygon + opening - strip, rel=1e-9)


def check_flanks(example):
    mesh, slit = example.mesh, example.slit
    if slit is None:
        assert set(mesh.node_tags) == {"outer"}
        return
    for name, sign in (("upper_flank", 1), ("lower_flank", -1)):
        flank = mesh.points[mesh.node_tags[name]]
        assert np.all(flank[:, 1] == sign * slit.half_gap)
        steps = mesh.points[mesh.facet_tags[name]]
        total = np.abs(np.diff(steps[:, :, 0], axis=1)).sum()
        assert total == pytest.approx(np.ptp(flank[:, 0]))
        assert len(steps) == len(flank) - 1
        # The upper flank's edges have the solid above them on their left, and run towards the tip.
        assert np.all(sign * (steps[:, 1, 0] - steps[:, 0, 0]) > 0)
    middle = mesh.points[mesh.cells].mean(axis=1)
    end = mesh.points[mesh.node_tags["crack_end"], 0].min()
    assert not np.any((np.abs(middle[:, 1]) < slit.half_gap) & (middle[:, 0] < end))


def test_a_matching_mesh_fills_the_disc_and_leaves_the_strip_empty(matched):
    check_is_the_disc_less_the_strip(matched)
    check_flanks(matched)


def test_a_free_mesh_fills_the_disc_and_leaves_the_strip_empty(free):
    check_is_the_disc_less_the_strip(free)
    check_flanks(free)
    assert mesh_quality(free.mesh).smallest_angle > 25


def test_in_the_zone_atoms_are_nodes_and_nodes_are_atoms(matched):
    zone = np.linalg.norm(matched.atoms, axis=1) <= matched.zone
    assert cKDTree(matched.mesh.points).query(matched.atoms[zone])[0].max() < 1e-9
    inside = matched.mesh.points[np.linalg.norm(matched.mesh.points, axis=1) <= matched.zone]
    assert cKDTree(matched.atoms).query(inside)[0].max() < 1e-9
    if matched.slit is not None:
        for name in ("upper_flank", "lower_flank"):
            flank = matched.mesh.points[matched.mesh.node_tags[name]]
            near = flank[np.abs(flank[:, 0]) <= matched.zone]
            assert cKDTree(matched.atoms).query(near)[0].max() < 1e-9


def test_edges_grow_from_the_zone_outwards(matched):
    points, cells = matched.mesh.points, matched.mesh.cells
    edges = points[np.concatenate([cells[:, [0, 1]], cells[:, [1, 2]], cells[:, [2, 0]]])]
    r = np.linalg.norm(edges.mean(axis=1), axis=1) / matched.zone
    length = np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1) / matched.unit
    for low, high in ((1.5, 2.0), (2.0, 2.5), (2.5, 3.0)):
        wanted = min(((low + high) / 2) ** 1.5, 6.0)
        assert np.median(length[(r > low) & (r < high)]) == pytest.approx(wanted, rel=0.25)


def test_angles_are_no_worse_than_those_of_the_lattice(matched):
    # The puckered crystal has its next layer 0.3 Å below the surface, and flat triangles between.
    floor = 5.0 if matched.puckered else 19.0
    assert mesh_quality(matched.mesh).smallest_angle > floor


def test_the_same_input_makes_the_same_mesh(cracked):
    one, other = (Example(CRYSTALS["bcc (110)[001]"], cracked).mesh for _ in range(2))
    assert np.array_equal(one.points, other.points)
    assert np.array_equal(one.cells, other.cells)


def test_a_seed_turns_a_free_mesh():
    crystal = CRYSTALS["triangular"]
    one, other, again = (
        Example(crystal, False, matching=False, seed=seed).mesh for seed in (1, 2, 1)
    )
    assert np.array_equal(one.points, again.points)
    assert one.points.shape != other.points.shape or not np.allclose(one.points, other.points)


def test_the_triangulation_at_the_tip_is_symmetric_about_the_crack_plane():
    example = Example(CRYSTALS["bcc (110)[001]"], True)
    zone = (
        np.linalg.norm(example.mesh.points[example.mesh.cells], axis=2).max(axis=1)
        < 7 * example.unit
    )
    middle = example.mesh.points[example.mesh.cells[zone]].mean(axis=1)
    off_plane = middle[np.abs(middle[:, 1]) > example.slit.half_gap]
    assert cKDTree(off_plane).query(off_plane * [1, -1])[0].max() < 1e-9


@pytest.mark.parametrize(
    "zone",
    [
        Capsule((-20.0, 5.0, 0.0), (25.0, 8.0, 0.0), 15.0),
        Box((-30.0, -12.0, -np.inf), (20.0, 15.0, np.inf)),
        Polygon(((-25.0, -20.0), (35.0, -10.0), (5.0, 0.0), (0.0, 30.0))),
    ],
    ids=["capsule", "box", "polygon"],
)
@pytest.mark.parametrize("cracked", [False, True], ids=["whole", "cracked"])
def test_zones_have_any_shape(zone, cracked):
    example = Example(CRYSTALS["bcc (110)[001]"], cracked, zones=(zone,))
    check_is_the_disc_less_the_strip(example)
    check_flanks(example)
    mesh = example.mesh
    flat = [np.column_stack([x, 0 * x[:, 0]]) for x in (mesh.points, example.atoms)]
    nodes, atoms = (x[zone.distance(x) < 0] for x in flat)
    assert len(atoms) > 100
    assert len(nodes) == len(np.unique(atoms.round(6), axis=0))
    assert cKDTree(nodes).query(atoms)[0].max() < 1e-9
    assert mesh_quality(mesh).smallest_angle > 12
    # Edges grow with the distance from the zone, whatever its shape.
    far = mesh.points[np.linalg.norm(mesh.points, axis=1) > 0.9 * example.radius]
    assert cKDTree(far).query(far, k=2)[0][:, 1].mean() > 1.8 * example.unit


def test_zones_of_their_own_radius_lie_anywhere_also_on_a_flank():
    crystal = CRYSTALS["bcc (110)[001]"]
    centres = np.array([[0.0, 0.0], [-15.0, 2.0], [6.0, 15.0]]) * crystal.nearest_neighbour_distance
    radii = np.array([5.0, 4.0, 3.0]) * crystal.nearest_neighbour_distance
    zones = [disc(radius, *centre) for centre, radius in zip(centres, radii, strict=True)]
    example = Example(crystal, True, zones=zones)
    check_is_the_disc_less_the_strip(example)
    check_flanks(example)
    for centre, radius in zip(centres, radii, strict=True):
        inside = example.mesh.points[np.linalg.norm(example.mesh.points - centre, axis=1) < radius]
        atoms = example.atoms[np.linalg.norm(example.atoms - centre, axis=1) < radius]
        assert len(inside) == len(atoms)
        assert cKDTree(atoms).query(inside)[0].max() < 1e-9


def test_pockets_between_zones_are_filled_and_zones_in_them_too():
    crystal = CRYSTALS["bcc (100)[001]"]
    near = crystal.nearest_neighbour_distance
    angles = np.arange(0.0, 360.0, 30.0)
    ring = [
        disc(5 * near, 14 * near * np.cos(a), 14 * near * np.sin(a)) for a in np.deg2rad(angles)
    ]
    example = Example(crystal, False, zones=[*ring, disc(3 * near)])
    check_is_the_disc_less_the_strip(example)
    # All of the pocket is mesh: the area is that of the polygon around the disc.
    corners = example.mesh.points[example.mesh.cells]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = 0.5 * np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
    assert area.sum() == pytest.approx(np.pi * example.radius**2, rel=0.01)
    away = np.linalg.norm(corners.mean(axis=1), axis=1)
    assert area[away < 14 * near].sum() == pytest.approx(np.pi * (14 * near) ** 2, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "wording"),
    [
        ({"zones": (disc(78.0),)}, "reach the boundary of the disc"),
        ({"zones": (disc(81.0),)}, "must reach at least .* beyond it"),
        ({"slit": Slit(40.0, 3.14339 / 8**0.5)}, "tip of the crack must lie in a zone"),
        ({"slit": Slit(0.0, 3 * 3.14339 / 8**0.5)}, "atoms lie in the strip"),
        ({"slit": Slit(0.0, 1.0)}, "half_gap is not that of the atoms"),
        ({"zones": (disc(0.1),), "slit": None}, "holds no triangle"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, wording):
    with pytest.raises(ValueError, match=wording):
        Example(CRYSTALS["bcc (110)[001]"], True, **changes)


def test_gmsh_is_left_as_it_was_found():
    handler = signal.getsignal(signal.SIGINT)
    assert not gmsh.isInitialized()
    Example(CRYSTALS["triangular"], False)
    assert not gmsh.isInitialized()
    assert signal.getsignal(signal.SIGINT) is handler
    gmsh.initialize(readConfigFiles=False, interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.option.setNumber("Mesh.Algorithm", 5)
        gmsh.model.add("mine")
        Example(CRYSTALS["triangular"], False)
        assert gmsh.isInitialized()
        assert gmsh.model.getCurrent() == "mine"
        assert gmsh.model.list() == ["", "mine"]
        assert gmsh.option.getNumber("Mesh.Algorithm") == 5
    finally:
        gmsh.finalize()


def write_square(path, *, order=1, name="outer", quadrangles=False, lift=0.0):
    gmsh.initialize(readConfigFiles=False, interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.model.add("square")
        gmsh.model.occ.addRectangle(-1, -1, 0, 2, 2)
        gmsh.model.occ.synchronize()
        gmsh.model.addPhysicalGroup(2, [1], name="body")
        gmsh.model.addPhysicalGroup(1, [1, 2, 3], name=name)
        gmsh.model.addPhysicalGroup(1, [4], name="left")
        if quadrangles:
            gmsh.model.mesh.setRecombine(2, 1)
        gmsh.model.mesh.generate(2)
        gmsh.model.mesh.setOrder(order)
        if lift:
            gmsh.model.mesh.affineTransform([1, 0, 0, 0, 0, 1, 0, 0, lift, 0, 1, 0])
        gmsh.write(str(path))
    finally:
        gmsh.finalize()


def test_a_mesh_file_is_read_with_its_names(tmp_path):
    write_square(tmp_path / "square.msh")
    mesh = read_mesh(tmp_path / "square.msh")
    assert mesh.gdim == 2
    assert signed_volumes(mesh.points, mesh.cells).sum() == pytest.approx(4)
    assert np.all(mesh.points[mesh.node_tags["left"], 0] == -1)
    assert len(mesh.facet_tags["left"]) == len(mesh.node_tags["left"]) - 1
    assert np.abs(mesh.points[mesh.node_tags["outer"]]).max(axis=1) == pytest.approx(1)
    assert len(np.unique(mesh.cells)) == len(mesh.points)


def test_a_mesh_in_space_is_read_too(tmp_path):
    gmsh.initialize(readConfigFiles=False, interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.model.add("box")
        gmsh.model.occ.addBox(0, 0, 0, 1, 2, 3)
        gmsh.model.occ.synchronize()
        gmsh.model.addPhysicalGroup(3, [1])
        gmsh.model.addPhysicalGroup(2, [1, 2, 3, 4, 5, 6], name="outer")
        gmsh.model.mesh.generate(3)
        gmsh.write(str(tmp_path / "box.msh"))
    finally:
        gmsh.finalize()
    mesh = read_mesh(tmp_path / "box.msh")
    assert (mesh.gdim, mesh.cells.shape[1], mesh.facet_tags["outer"].shape[1]) == (3, 4, 3)
    assert signed_volumes(mesh.points, mesh.cells).sum() == pytest.approx(6)
    X = np.random.default_rng(2).uniform(-1, 4, (500, 3))
    box = Box((0.0, 0.0, 0.0), (1.0, 2.0, 3.0))
    assert mesh.outline().distance(X) == pytest.approx(box.distance(X), abs=1e-12)
    assert mesh_quality(mesh).smallest_angle > 5


@pytest.mark.parametrize(
    ("options", "wording"),
    [
        ({"order": 2}, "straight-sided simplices: Triangle 6"),
        ({"quadrangles": True}, "straight-sided"),
        ({"lift": 0.5}, "surface in space"),
    ],
)
def test_unusable_mesh_files_are_explained(tmp_path, options, wording):
    write_square(tmp_path / "square.msh", **options)
    with pytest.raises(CaseError, match=wording):
        read_mesh(tmp_path / "square.msh")


def write_raw(path, points, triangles, lines=()):
    """A file in version 2.2 as other programs write it, without any geometry."""
    nodes = [f"{k + 1} {x} {y} 0" for k, (x, y) in enumerate(points)]
    elements = [(1, "7 1", line) for line in lines] + [(2, "9 2", cell) for cell in triangles]
    told = [
        f"{k + 1} {kind} 2 {group} {' '.join(str(i + 1) for i in corners)}"
        for k, (kind, group, corners) in enumerate(elements)
    ]
    parts = [
        ["$MeshFormat", "2.2 0 8", "$EndMeshFormat"],
        ["$PhysicalNames", "2", '1 7 "edge"', '2 9 "grain"', "$EndPhysicalNames"],
        ["$Nodes", str(len(nodes)), *nodes, "$EndNodes"],
        ["$Elements", str(len(told)), *told, "$EndElements"],
    ]
    path.write_text("\n".join(line for part in parts for line in part) + "\n")
    return path


SQUARE = [(0, 0), (1, 0), (1, 1), (0, 1)]
HALVES = [(0, 1, 2), (0, 2, 3)]


def test_a_file_of_the_old_version_gives_all_its_tags(tmp_path):
    points = [*SQUARE, (5, 5)]  # the last belongs to no cell
    path = write_raw(tmp_path / "raw.msh", points, [(0, 2, 1), (0, 2, 3)], [(0, 1), (1, 2)])
    mesh = read_mesh(path, unit=10.0)
    assert len(mesh.points) == 4
    assert signed_volumes(mesh.points, mesh.cells) == pytest.approx([50, 50])
    assert mesh.node_tags["edge"].tolist() == [0, 1, 2]
    assert mesh.facet_tags["edge"].tolist() == [[0, 1], [1, 2]]
    assert mesh.cell_tags["grain"].tolist() == [0, 1]
    assert mesh.outline().distance(np.array([[5.0, 4.0, 0.0]])) == pytest.approx([-4])


@pytest.mark.parametrize(
    ("points", "triangles", "lines", "wording"),
    [
        ([*SQUARE, (0.5, 0)], [*HALVES, (0, 4, 1)], [], r"1 cells are flat, first at \(0.5, 0\)"),
        (
            [*SQUARE, (1, 0), (2, 0)],
            [*HALVES, (4, 5, 2)],
            [],
            r"2 nodes lie on another node, first at \(1, 0\) angstrom: the parts of the mesh are",
        ),
        ([*SQUARE, (0.9, 0.2)], [*HALVES, (0, 4, 2)], [], "cells overlap or are turned inside out"),
        ([*SQUARE, (3, 0), (4, 0), (3, 1)], [*HALVES, (4, 5, 6)], [], "falls into 2 parts"),
        (SQUARE, HALVES, [(0, 2)], "physical group 'edge' lies inside the body"),
        (SQUARE, HALVES, [(0, 2), (0, 1)], "'edge' has 1 facets inside the body, all others on"),
    ],
    ids=["flat", "not joined", "folded", "in parts", "inside", "partly inside"],
)
def test_meshes_that_cannot_be_used_say_where(tmp_path, points, triangles, lines, wording):
    path = write_raw(tmp_path / "raw.msh", points, triangles, lines)
    with pytest.raises(CaseError, match=wording):
        read_mesh(path)


def test_files_that_are_no_meshes_are_explained(tmp_path):
    with pytest.raises(CaseError, match="no such file"):
        read_mesh(tmp_path / "nothing.msh")
    (tmp_path / "text.msh").write_text("this is no mesh\n")
    with pytest.raises(CaseError, match=r"text\.msh"):
        read_mesh(tmp_path / "text.msh")
    assert not gmsh.isInitialized()


def test_inverted_triangles_are_turned_and_overlaps_found():
    points = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    cells = positively_oriented(points, np.array([[0, 2, 1], [1, 3, 2]]))
    assert np.all(signed_volumes(points, cells) > 0)
    assert len(boundary_facets(cells)) == 4
    with pytest.raises(ValueError, match="overlap"):
        boundary_facets(np.array([[0, 1, 2], [0, 1, 3]]))


def test_a_mesh_may_be_finer_than_the_slit_is_wide():
    slit = Slit(0.0, 1.2)
    mesh = disc_mesh(12.0, spacing=0.7, zones=(Ball((0.0, 0.0, 0.0), 4.0),), slit=slit)
    end = mesh.points[mesh.node_tags["crack_end"]]
    assert len(end) > 2
    assert end[:, 1].min() == -slit.half_gap and end[:, 1].max() == slit.half_gap
    named = np.concatenate(list(mesh.facet_tags.values()))
    assert len(named) == len(boundary_facets(mesh.cells))
    assert len(np.unique(np.sort(named, axis=1), axis=0)) == len(named)
