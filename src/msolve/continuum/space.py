# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""The finite element space of the displacement, on a distributed DOLFINx mesh.

The one module that touches what differs between DOLFINx 0.9, 0.10 and 0.11. It knows nothing of
materials, loads or atoms. The mesh may be 2-D (quasi-2-D problems: one crystal period along the
front) or 3-D; the displacement always has three components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mpi4py import MPI

import basix
import basix.ufl
import numpy as np
import numpy.typing as npt
from dolfinx import fem, geometry, mesh

from msolve.errors import CaseError, UnsupportedError

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

SIMPLEX = {2: "triangle", 3: "tetrahedron"}


@dataclass(frozen=True)
class DisplacementSpace:
    """Lagrange space of a displacement.

    Attributes:
        comm: Communicator of the mesh.
        mesh: DOLFINx mesh.
        V: DOLFINx function space, blocked; three components, or two in a caller's plane problem.
        thickness: Length along the front that the mesh stands for [Å]; 1 in 3-D.
        quadrature_degree: Degree that every integral of the problem uses.
        node_tags: Name -> indices of *local* nodes (owned and ghost) that carry the tag.
        cell_index: Position of each owned cell in the mesh as it was handed in, shape ``(n_cells,)``.
    """

    comm: MPI.Comm
    mesh: Any
    V: Any
    thickness: float
    quadrature_degree: int
    node_tags: dict[str, IntArray]
    cell_index: IntArray

    @property
    def gdim(self) -> int:
        """Dimension of the mesh."""
        return int(self.mesh.geometry.dim)

    @property
    def degree(self) -> int:
        """Polynomial degree."""
        return int(self.V.ufl_element().degree)

    @property
    def block(self) -> int:
        """Displacement components at each node of the space: 3, or 2 in a caller's plane problem."""
        return int(self.V.dofmap.index_map_bs)

    @property
    def n_cells(self) -> int:
        """Cells owned by this rank."""
        return int(self.mesh.topology.index_map(self.mesh.topology.dim).size_local)

    @property
    def n_owned_nodes(self) -> int:
        """Nodes owned by this rank."""
        return int(self.V.dofmap.index_map.size_local)

    @property
    def n_local_nodes(self) -> int:
        """Owned nodes and ghosts of this rank; owned ones come first."""
        index_map = self.V.dofmap.index_map
        return int(index_map.size_local + index_map.num_ghosts)

    @property
    def n_global_nodes(self) -> int:
        """Nodes of the whole mesh."""
        return int(self.V.dofmap.index_map.size_global)

    def nodes(self) -> Array:
        """Reference positions of the local nodes, shape ``(n_local_nodes, 3)`` [Å]."""
        return np.asarray(self.V.tabulate_dof_coordinates(), dtype=np.float64)

    def global_nodes(self) -> IntArray:
        """Global index of each local node, shape ``(n_local_nodes,)``."""
        local = np.arange(self.n_local_nodes, dtype=np.int32)
        return np.asarray(self.V.dofmap.index_map.local_to_global(local), dtype=np.int64)

    def cell_nodes(self) -> IntArray:
        """Local nodes of each owned cell, shape ``(n_cells, nodes_per_cell)``."""
        return np.asarray(self.V.dofmap.list[: self.n_cells], dtype=np.int64)

    def edge_nodes(self) -> IntArray:
        """Local nodes inside edges and at the two ends of theirs, ``(n, 3)``; none for linear elements."""
        between = _between(scalar_element(self.gdim, self.degree).points)
        at_corner = between.sum(axis=1) == 1
        cells, found = self.cell_nodes(), []
        for k in np.flatnonzero(between.sum(axis=1) == 2):
            ends = [
                np.flatnonzero(at_corner & between[:, v])[0] for v in np.flatnonzero(between[k])
            ]
            found.append(cells[:, [k, *ends]])
        if not found:
            return np.zeros((0, 3), dtype=np.int64)
        every = np.concatenate(found)
        return every[np.unique(every[:, 0], return_index=True)[1]]

    def cell_corners(self) -> IntArray:
        """Vertices of each owned cell in the numbers of the mesh as it was handed in, ``(n_cells, gdim + 1)``."""
        original = np.asarray(self.mesh.geometry.input_global_indices, dtype=np.int64)
        return original[self.cell_points()]

    def cell_vertices(self) -> Array:
        """Vertex positions of each owned cell, shape ``(n_cells, gdim + 1, gdim)`` [Å]."""
        x = self.mesh.geometry.x[:, : self.gdim]
        return np.asarray(x[self.cell_points()], dtype=np.float64)

    def cell_points(self) -> IntArray:
        """Rows of the mesh's geometry that are the vertices of each owned cell, ``(n_cells, gdim + 1)``."""
        return np.asarray(
            _of_one_cell_type(self.mesh.geometry, "dofmap")[: self.n_cells], dtype=np.int64
        )

    def quadrature(self, degree: int | None = None) -> tuple[Array, Array, Array]:
        """Quadrature of every owned cell, of the space's degree or another.

        Returns:
            ``(X, weight, gradients)``: points ``(n_cells, n_q, 3)`` [Å]; weights with the cell's volume and
            the thickness ``(n_cells, n_q)`` [Å³]; gradients of the basis functions
            ``(n_cells, n_q, nodes_per_cell, gdim)`` [1/Å].
        """
        points, weights = self._rule(degree)
        table = scalar_element(self.gdim, self.degree).tabulate(1, points)
        vertices = self.cell_vertices()
        edges = np.swapaxes(vertices[:, 1:] - vertices[:, :1], 1, 2)  # (c, physical, reference)
        volume = np.abs(np.linalg.det(edges)) * self.thickness
        inverse = np.linalg.inv(edges)  # (c, reference, physical)
        gradients = np.einsum("rqn,crx->cqnx", table[1:, :, :, 0], inverse)
        return self.quadrature_points(degree), volume[:, None] * weights[None, :], gradients

    def quadrature_points(self, degree: int | None = None) -> Array:
        """The points of :meth:`quadrature` alone, shape ``(n_cells, n_q, 3)`` [Å]."""
        points, _ = self._rule(degree)
        vertices = self.cell_vertices()
        X = np.zeros((self.n_cells, len(points), 3))
        corner = np.column_stack([1 - points.sum(axis=1), points])
        X[:, :, : self.gdim] = np.matmul(corner, vertices)
        return X

    def _rule(self, degree: int | None) -> tuple[Array, Array]:
        cell = getattr(basix.CellType, SIMPLEX[self.gdim])
        points, weights = basix.make_quadrature(cell, degree or self.quadrature_degree)
        return points, weights

    def locate(self, X: Array) -> tuple[IntArray, IntArray, Array, Array]:
        """Find points in the owned cells of this rank. Rank-local.

        Args:
            X: Points, shape ``(n, 3)`` [Å].

        Returns:
            ``(point, nodes, weights, inside)``: index of each point that was found; *global* nodes and basis
            weights of the cell that holds it, ``(m, nodes_per_cell)``; smallest barycentric
            coordinate, ``(m,)``, to let the caller choose between ranks.
        """
        point, cell, local, inside = self.find_cells(X)
        weights = scalar_element(self.gdim, self.degree).tabulate(0, np.clip(local, 0, 1))[
            0, :, :, 0
        ]
        # Round-off must not tie an atom to a node of another cell, least of all across a crack.
        weights[np.abs(weights) < 1e-9] = 0.0
        weights /= weights.sum(axis=1, keepdims=True)
        return point, self.global_nodes()[self.cell_nodes()[cell]], weights, inside

    def locate_gradients(self, X: Array) -> tuple[IntArray, IntArray, Array, Array]:
        """As :meth:`locate`, with gradients of the basis ``(m, nodes_per_cell, gdim)`` [1/Å] for weights."""
        point, cell, local, inside = self.find_cells(X)
        gradients = self._gradients(cell, np.asarray(np.clip(local, 0, 1)))
        return point, self.global_nodes()[self.cell_nodes()[cell]], gradients, inside

    def gradients_at(self, cell: IntArray, X: Array) -> Array:
        """Gradients of the basis of owned cells ``(m,)`` at ``X (m, 3)``, which may lie outside them.

        Returns:
            Shape ``(m, nodes_per_cell, gdim)`` [1/Å].
        """
        vertices = self.cell_vertices()[cell]
        edges = np.swapaxes(vertices[:, 1:] - vertices[:, :1], 1, 2)
        offset = X[:, : self.gdim] - vertices[:, 0]
        local = np.linalg.solve(edges, offset[..., None])[..., 0] if len(cell) else offset
        return self._gradients(cell, np.asarray(local))

    def _gradients(self, cell: IntArray, local: Array) -> Array:
        table = scalar_element(self.gdim, self.degree).tabulate(1, local)
        vertices = self.cell_vertices()[cell]
        inverse = np.linalg.inv(np.swapaxes(vertices[:, 1:] - vertices[:, :1], 1, 2))
        return np.einsum("rmn,mrx->mnx", table[1:, :, :, 0], inverse)

    def find_cells(self, X: Array) -> tuple[IntArray, IntArray, Array, Array]:
        """Which owned cell of this rank holds each point. Rank-local.

        Args:
            X: Points, shape ``(n, 3)`` [Å].

        Returns:
            ``(point, cell, local, inside)``: index of each point that was found, owned cell, reference
            coordinates in it ``(m, gdim)``, smallest barycentric coordinate ``(m,)``.
        """
        tree = geometry.bb_tree(self.mesh, self.mesh.topology.dim, padding=1e-6)
        flat = np.zeros((len(X), 3))
        flat[:, : self.gdim] = X[:, : self.gdim]  # a 2-D mesh lies at x3 = 0, atoms do not
        pairs = geometry.compute_collisions_points(tree, flat)
        point = np.repeat(np.arange(len(X)), np.diff(pairs.offsets))
        cell = np.asarray(pairs.array, dtype=np.int64)
        owned = cell < self.n_cells
        point, cell = point[owned], cell[owned]
        vertices = self.cell_vertices()[cell]
        edges = np.swapaxes(vertices[:, 1:] - vertices[:, :1], 1, 2)
        offset = X[point, : self.gdim] - vertices[:, 0]
        local = np.linalg.solve(edges, offset[..., None])[..., 0] if len(point) else offset
        inside = np.minimum(local.min(axis=1, initial=1.0), 1 - local.sum(axis=1))
        order = np.lexsort((self.cell_index[cell], -np.round(inside, 9), point))
        point, cell, local, inside = point[order], cell[order], local[order], inside[order]
        first = np.unique(point, return_index=True)[1]
        keep = first[inside[first] > -1e-7]
        return point[keep].astype(np.int64), cell[keep], local[keep], inside[keep]


def scalar_element(gdim: int, degree: int) -> Any:
    """The scalar Lagrange element behind the space, as a Basix element."""
    cell = getattr(basix.CellType, SIMPLEX[gdim])
    return basix.create_element(
        basix.ElementFamily.P, cell, degree, basix.LagrangeVariant.gll_warped
    )


def build_space(
    comm: MPI.Comm,
    points: Array,
    cells: IntArray,
    node_tags: dict[str, IntArray],
    facet_tags: dict[str, IntArray] | None = None,
    *,
    thickness: float,
    degree: int = 1,
) -> DisplacementSpace:
    """Distribute a mesh and build the displacement space on it. Collective.

    Args:
        comm: Communicator that shares the mesh.
        points: Vertices, shape ``(n, gdim)`` [Å]; read on rank 0 only.
        cells: Simplices, shape ``(m, gdim + 1)``; read on rank 0 only.
        node_tags: Name -> vertices; read on rank 0 only.
        facet_tags: Name -> boundary facets by their vertices, shape ``(k, gdim)``; read on rank 0 only. They pass
            the tag of their vertices on to the nodes inside their edges.
        thickness: Length along the front [Å]; 1 in 3-D.
        degree: Polynomial degree, 1 or 2. Integrals use one point for linear elements, whose gradient is
            constant, and the rule of degree 2 for quadratic ones.

    Raises:
        CaseError: There are more ranks than cells.
    """
    told = (points.shape[1], len(cells), node_tags, facet_tags or {}) if comm.rank == 0 else None
    gdim, n_cells, tags, facets = comm.bcast(told, root=0)
    if n_cells < comm.size:
        raise CaseError(
            [f"mesh: has {n_cells} cells for {comm.size} ranks; use fewer ranks or a finer mesh"]
        )
    if comm.rank != 0:
        points, cells = np.zeros((0, gdim)), np.zeros((0, gdim + 1), dtype=np.int64)
    coordinate = basix.ufl.element("Lagrange", SIMPLEX[gdim], 1, shape=(gdim,))
    domain = _create_mesh(comm, np.ascontiguousarray(cells, dtype=np.int64), points, coordinate)
    V = fem.functionspace(domain, ("Lagrange", degree, (3,)))
    original = np.asarray(domain.topology.original_cell_index, dtype=np.int64)
    return DisplacementSpace(
        comm=comm,
        mesh=domain,
        V=V,
        thickness=thickness,
        quadrature_degree=degree,
        node_tags=_local_tags(domain, V, tags, facets),
        cell_index=original,
    )


def space_from(V: Any, thickness: float = 1.0) -> DisplacementSpace:
    """The displacement space on a function space that a caller made. Collective.

    Args:
        V: Blocked Lagrange space of degree 1 or 2 on straight-sided triangles or tetrahedra: two or three
            components in the plane, three in space.
        thickness: Length along the front that the mesh stands for [Å]; 1 in 3-D.

    Raises:
        UnsupportedError: The space is of another kind.
    """
    domain, element = V.mesh, V.ufl_element()
    gdim = int(domain.geometry.dim)
    wrong = [
        (
            domain.topology.cell_name() != SIMPLEX.get(gdim),
            "its cells are no simplices that fill it",
        ),
        (_of_one_cell_type(domain.geometry, "cmap").degree != 1, "its cells are curved"),
        (element.family_name != "P" or element.discontinuous, "its elements are not Lagrange"),
        (element.degree not in (1, 2), "its degree is not 1 or 2"),
        (V.dofmap.index_map_bs not in range(gdim, 4), f"it has {V.dofmap.index_map_bs} components"),
    ]
    for holds, reason in wrong:
        if holds:
            raise UnsupportedError(
                f"the function space cannot carry atoms: {reason}; use functionspace(mesh, "
                f'("Lagrange", 1 or 2, ({gdim},))) on {SIMPLEX.get(gdim, "simplex")}s'
            )
    return DisplacementSpace(
        comm=domain.comm,
        mesh=domain,
        V=V,
        thickness=thickness,
        quadrature_degree=int(element.degree),
        node_tags={},
        cell_index=np.asarray(domain.topology.original_cell_index, dtype=np.int64),
    )


def _create_mesh(comm: MPI.Comm, cells: IntArray, x: Array, element: Any) -> Any:
    # By name, because the order differs: (cells, x, e) in 0.9, (cells, e, x) from 0.10 on. The partitioner is
    # left out, because what makes one differs too (0.11 asks for the cells at a facet); it adds no ghost cells.
    return mesh.create_mesh(comm, cells=cells, x=x, e=element)


def _of_one_cell_type(geometry: Any, name: str) -> Any:
    """``dofmap`` or ``cmap`` of a mesh's geometry, which 0.11 keeps in lists by cell type: ``dofmaps``, ``cmaps``."""
    by_cell_type = getattr(geometry, name + "s", None)
    return by_cell_type[0] if isinstance(by_cell_type, list) else getattr(geometry, name)


def _local_tags(
    domain: Any, V: Any, tags: dict[str, IntArray], facets: dict[str, IntArray]
) -> dict[str, IntArray]:
    """Tags of the input, carried over to the nodes of the space. Every node lies in an owned cell."""
    original = np.asarray(domain.geometry.input_global_indices)
    n_cells = domain.topology.index_map(domain.topology.dim).size_local
    vertices = original[_of_one_cell_type(domain.geometry, "dofmap")[:n_cells]]
    nodes = np.asarray(V.dofmap.list[:n_cells], dtype=np.int64)
    reference = scalar_element(domain.geometry.dim, V.ufl_element().degree).points
    corner = [int(np.argmax(np.abs(reference - x).sum(axis=1) < 1e-9)) for x in _corners(reference)]
    # An inner edge may join two vertices of the boundary: only edges of tagged facets pass a tag on.
    ends = [np.flatnonzero(row) for row in _between(reference)]
    middle = [k for k in range(len(reference)) if len(ends[k]) == 2]
    out = {}
    for name, tagged in tags.items():
        found = [nodes[:, corner][np.isin(vertices, tagged)]]
        edges = edge_keys(facets[name]) if name in facets else np.zeros(0)
        for k in middle:
            found.append(nodes[np.isin(pair_keys(vertices[:, ends[k]]), edges), k])
        out[name] = np.unique(np.concatenate(found))
    return out


def edge_keys(facets: IntArray) -> IntArray:
    """One number for each edge of some facets ``(k, gdim)``."""
    n = facets.shape[1]
    pairs = [facets[:, [i, j]] for i in range(n) for j in range(i)]
    return pair_keys(np.concatenate(pairs).reshape(-1, 2))


def pair_keys(pairs: IntArray) -> IntArray:
    """One number for each pair of vertices ``(k, 2)``, whatever their order; vertices are below 2³¹."""
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    return np.asarray(high * 2**31 + low, dtype=np.int64)


def _corners(reference: Array) -> Array:
    return np.vstack([np.zeros(reference.shape[1]), np.eye(reference.shape[1])])


def _between(reference: Array) -> BoolArray:
    """Which vertices each reference point lies between: those with a barycentric coordinate that is not zero."""
    return np.abs(np.column_stack([1 - reference.sum(axis=1), reference])) > 1e-9
