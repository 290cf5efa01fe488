"""Closed triangle meshes of layers, for programs that print, mesh or measure them.

A picture may merge rectangles; a mesh that others compute with must not: every edge of a triangle here is an edge of
another triangle too. Coordinates as in :mod:`microtomo.viz.mesh`: nm, y = 0 at the last image row, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microtomo.viz.mesh import Array


@dataclass(frozen=True)
class Solid:
    """Vertices (v, 3) float64 [nm] and triangles (t, 3) int64, anticlockwise seen from outside."""

    name: str
    vertices: npt.NDArray[np.float64]
    triangles: npt.NDArray[np.int64]


def layer_solids(thickness: Array, names: tuple[str, ...], pixel_nm: float, thinnest_nm: float) -> list[Solid]:
    """Solid of each layer of maps (l, y, x) [nm]; pixels thinner than ``thinnest_nm`` or not finite are empty.

    Heights are rounded to a millionth of the tallest column, so that equal ones meet exactly.
    """
    maps = np.where(np.isfinite(thickness).all(0), thickness, 0)
    maps = np.where(maps >= thinnest_nm, maps, 0)
    step = max(float(maps.sum(0).max()) / 2**20, 1e-9)
    tops = np.rint(np.cumsum(maps, axis=0, dtype=np.float64) / step).astype(np.int64)
    bottoms = np.concatenate([np.zeros_like(tops[:1]), tops[:-1]])
    return [_solid(n, b, t, pixel_nm, step) for n, b, t in zip(names, bottoms, tops, strict=True)]


def _solid(name: str, bottom: Array, top: Array, pixel_nm: float, step: float) -> Solid:
    """The solid between heights bottom..top (y, x) in whole ``step``; pixels where they are equal are empty."""
    height, width = bottom.shape
    present = top > bottom
    rows, columns = np.nonzero(present)
    parts = []
    for z, up in ((top, True), (bottom, False)):
        a, b, c, d = ((rows + dr, columns + dc, z[rows, columns]) for dr, dc in ((1, 0), (1, 1), (0, 1), (0, 0)))
        parts += [_triangles(a, b, c), _triangles(a, c, d)] if up else [_triangles(a, c, b), _triangles(a, d, c)]
    stops = _stops(bottom, top, present)
    for dr, dc in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        parts += _walls(bottom, top, present, stops, dr, dc)
    corners = np.concatenate([np.zeros((0, 3, 3), np.int64), *parts])
    levels = int(top.max(initial=0)) + 1
    keys = (corners[..., 0] * (width + 1) + corners[..., 1]) * levels + corners[..., 2]
    kept, triangles = np.unique(keys.ravel(), return_inverse=True)
    place, z = np.divmod(kept, levels)
    row, column = np.divmod(place, width + 1)
    vertices = np.stack([column * pixel_nm, (height - row) * pixel_nm, z * step], -1).astype(np.float64)
    return Solid(name, vertices, triangles.reshape(-1, 3).astype(np.int64))


def _stops(bottom: Array, top: Array, present: Array) -> Array:
    """Heights (8, y + 1, x + 1), ascending, at which walls that meet on the upright edge of a grid corner are split."""
    height, width = bottom.shape
    stops = np.full((8, height + 1, width + 1), -1, dtype=np.int64)
    for i, (dr, dc) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        for j, z in enumerate((bottom, top)):
            stops[2 * i + j, dr : dr + height, dc : dc + width] = np.where(present, z, -1)
    return np.sort(stops, axis=0)


_SIDES = {(0, 1): ((1, 1), (0, 1)), (0, -1): ((0, 0), (1, 0)), (1, 0): ((1, 0), (1, 1)), (-1, 0): ((0, 1), (0, 0))}
"""Corners of the side of a pixel towards a neighbour, (row, column) from its own: left and right seen from there."""


def _walls(bottom: Array, top: Array, present: Array, stops: Array, dr: int, dc: int) -> list[Array]:
    """Triangles of the walls that face the neighbour at (dr, dc), where that one does not cover them."""
    height, width = bottom.shape
    padded = [np.pad(np.where(present, z, 0), 1) for z in (bottom, top)]
    there = (slice(1 + dr, 1 + dr + height), slice(1 + dc, 1 + dc + width))
    next_low, next_high = padded[0][there], padded[1][there]
    low, high = np.where(present, bottom, 0), np.where(present, top, 0)
    beside = next_high > next_low
    parts = []
    # below and above the neighbour; without one, the whole side
    for z0, z1 in (
        (low, np.where(beside, np.minimum(high, next_low), high)),
        (np.where(beside, np.maximum(low, next_high), high), high),
    ):
        rows, columns = np.nonzero(z1 > z0)
        z0, z1 = z0[rows, columns], z1[rows, columns]
        (lr, lc), (rr, rc) = _SIDES[dr, dc]
        left, right = (rows + lr, columns + lc), (rows + rr, columns + rc)
        on_left = np.clip(stops[:, left[0], left[1]], z0, z1)
        on_right = np.clip(stops[:, right[0], right[1]], z0, z1)
        for j in range(7):
            for chain, side in ((on_right, right), (on_left, left)):
                at = np.nonzero(chain[j + 1] > chain[j])[0]
                a = (side[0][at], side[1][at], chain[j][at])
                b = (side[0][at], side[1][at], chain[j + 1][at])
                # fans: from the lower left over the right side, from the upper right over the left side
                fan = (left[0][at], left[1][at], z0[at]) if side is right else (right[0][at], right[1][at], z1[at])
                parts.append(_triangles(fan, a, b) if side is right else _triangles(fan, b, a))
    return parts


def _triangles(*corners: tuple[Array, Array, Array]) -> Array:
    return np.stack([np.stack(c, -1) for c in corners], 1).astype(np.int64)
