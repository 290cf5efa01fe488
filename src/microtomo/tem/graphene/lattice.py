"""Positions of the atoms of graphene: one sheet, or two that meet at a boundary of rings of five and seven."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LATTICE_NM = 0.246
"""Lattice constant; neighbours are 0.142 nm apart, the {10-10} planes 0.213 nm."""

BOND_NM = LATTICE_NM / float(np.sqrt(3))

Distance = Callable[[np.ndarray], np.ndarray]
"""Signed distance [nm] of points (n, 2) from a line: negative on the side of the first sheet."""

_BAND, _SEAM, _SOFT = 1.6, 0.9, 0.5  # nm from the boundary: triangulated, taken from it, relaxed


def sheet(size_nm: tuple[float, float], angle: float, shift_nm: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Atoms (n, 2) [nm], y first, of a sheet turned by ``angle`` [rad] in a box [0, size) on both axes."""
    centres = _centres(size_nm, angle, shift_nm, margin=LATTICE_NM)
    arm = BOND_NM * np.array([np.cos(angle), np.sin(angle)])  # perpendicular to a lattice vector
    atoms = np.concatenate([centres + arm, centres - arm])
    return np.asarray(atoms[_inside(atoms, size_nm)])


def bicrystal(
    size_nm: tuple[float, float],
    angles: tuple[float, float],
    shifts_nm: tuple[tuple[float, float], tuple[float, float]],
    distance: Distance,
) -> tuple[np.ndarray, tuple[int, int]]:
    """Atoms (n, 2) [nm] of two sheets that meet where ``distance`` is 0, and how many rings of 5 and 7 join them.

    The centres of the hexagons of both sheets are triangulated: each triangle is an atom with three neighbours, each
    centre with five or seven neighbours a ring of as many (Ophus et al., Phys. Rev. B 92 (2015) 205402, grow
    boundaries in this way). Farther than 0.9 nm from the boundary both sheets are perfect.
    """
    from scipy.spatial import Delaunay, cKDTree

    near = []
    for side, angle, shift in zip((-1, 1), angles, shifts_nm, strict=True):
        centres = _centres(size_nm, angle, shift, margin=_BAND)
        d = distance(centres) * side
        near.append(centres[(d >= 0) & (d < _BAND)])
    # Centres of the two sheets closer than two thirds of a lattice constant become one.
    gap, partner = cKDTree(near[1]).query(near[0])
    merge = gap < 0.66 * LATTICE_NM
    merged = 0.5 * (near[0][merge] + near[1][partner[merge]])
    centres = np.concatenate([near[0][~merge], np.delete(near[1], partner[merge], axis=0), merged])
    soft = np.abs(distance(centres)) < _SOFT
    first, neighbours = Delaunay(centres).vertex_neighbor_vertices
    for _ in range(3):
        mean = np.add.reduceat(centres[neighbours], first[:-1]) / np.diff(first)[:, None]
        centres = np.where(soft[:, None], 0.4 * centres + 0.6 * mean, centres)
    mesh = Delaunay(centres)
    atoms = centres[mesh.simplices].mean(1)
    atoms = atoms[np.abs(distance(atoms)) < _SEAM]
    degree = np.diff(mesh.vertex_neighbor_vertices[0])
    counted = _inside(centres, size_nm) & (np.abs(distance(centres)) < _SEAM)
    rings = int((degree[counted] == 5).sum()), int((degree[counted] == 7).sum())
    sheets = [
        s[distance(s) * side >= _SEAM]
        for s, side in ((sheet(size_nm, a, f), k) for a, f, k in zip(angles, shifts_nm, (-1, 1), strict=True))
    ]
    return np.concatenate([atoms[_inside(atoms, size_nm)], *sheets]), rings


def _centres(size_nm: tuple[float, float], angle: float, shift_nm: tuple[float, float], margin: float) -> np.ndarray:
    """Centres (n, 2) [nm] of the hexagons of a sheet, in a box with a margin around it."""
    a = LATTICE_NM * np.array([-np.sin(angle), np.cos(angle)])
    b = LATTICE_NM * np.array([-np.sin(angle + np.pi / 3), np.cos(angle + np.pi / 3)])
    # around the middle of the box, so that a turned sheet covers it
    reach = int(np.ceil((np.hypot(*size_nm) / 2 + margin) / (LATTICE_NM * np.sqrt(0.75)))) + 1
    i, j = (index.ravel() for index in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    points = i[:, None] * a + j[:, None] * b + np.asarray(shift_nm) + 0.5 * np.asarray(size_nm)
    return np.asarray(points[_inside(points, size_nm, margin)])


def _inside(points: np.ndarray, size_nm: tuple[float, float], margin: float = 0.0) -> np.ndarray:
    return np.asarray(((points >= -margin) & (points < np.asarray(size_nm) + margin)).all(1))
