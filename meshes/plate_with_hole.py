# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Makes plate_with_hole.msh: a square plate with a round hole, its parts and one corner named.

Lengths in nm. The mesh ignores the lattice; it is fine at the hole and finest around the point
beside it where solver_configs/plate_with_hole.yaml has its atoms.

    python meshes/plate_with_hole.py
"""

from __future__ import annotations

from pathlib import Path

import gmsh

SIDE = 40.0
HOLE = 6.0
PLACE = (10.7, 0.0)
"""Middle of the zone that is as fine as the lattice."""

FINEST, AT_HOLE, COARSEST = 0.28, 0.6, 2.5


def main() -> None:
    """Write the mesh beside this file."""
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    gmsh.model.add("plate with a hole")
    occ = gmsh.model.occ
    plate = occ.addRectangle(-SIDE / 2, -SIDE / 2, 0, SIDE, SIDE)
    hole = occ.addDisk(0, 0, 0, HOLE, HOLE)
    occ.cut([(2, plate)], [(2, hole)])
    occ.synchronize()
    sides: dict[str, list[int]] = {}
    for _, curve in gmsh.model.getEntities(1):
        x, y, _ = occ.getCenterOfMass(1, curve)
        if abs(x) < 1e-6 and abs(y) < 1e-6:
            name = "hole"
        elif abs(x) > abs(y):
            name = "left" if x < 0 else "right"
        else:
            name = "bottom" if y < 0 else "top"
        sides.setdefault(name, []).append(curve)
    for name, curves in sides.items():
        gmsh.model.addPhysicalGroup(1, curves, name=name)
    gmsh.model.addPhysicalGroup(
        2, [surface for _, surface in gmsh.model.getEntities(2)], name="plate"
    )
    (corner,) = (
        point
        for _, point in gmsh.model.getEntities(0)
        if max(abs(x + SIDE / 2) for x in gmsh.model.getValue(0, point, [])[:2]) < 1e-6
    )
    gmsh.model.addPhysicalGroup(0, [corner], name="corner")
    gmsh.option.setNumber("Mesh.MeshSizeFromPoints", 0)
    gmsh.option.setNumber("Mesh.MeshSizeExtendFromBoundary", 0)

    def size(dim: int, tag: int, x: float, y: float, z: float, lc: float) -> float:
        place = max(0.0, ((x - PLACE[0]) ** 2 + (y - PLACE[1]) ** 2) ** 0.5 - 3.2)
        rim = max(0.0, (x * x + y * y) ** 0.5 - HOLE)
        return min(FINEST + 0.3 * place, AT_HOLE + 0.25 * rim, COARSEST)

    gmsh.model.mesh.setSizeCallback(size)
    gmsh.model.mesh.generate(2)
    gmsh.write(str(Path(__file__).with_suffix(".msh")))
    gmsh.finalize()


if __name__ == "__main__":
    main()
