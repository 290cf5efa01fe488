"""Closed surfaces of layers as axis-aligned rectangles: true to thickness from maps, or from a labelled volume.

Coordinates are in nm, right-handed, seen as the image is seen from above: x along the columns, y = 0 at the last row
and rising towards row 0, z up from the substrate. Rectangles are (q, 4, 3) float32, anticlockwise seen from outside,
each with a shade (q,) in 0..255: brightness of the face under a fixed light, 200 for a flat top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Array: TypeAlias = npt.NDArray[Any]

FLAT_SHADE = 200
"""Shade of a flat top: its material's own colour. Brighter faces tend to white, darker ones to black."""

_LIGHT = np.array([-0.36, -0.48, 0.80])
_AMBIENT = 0.52  # light on faces turned away, of that on flat tops: walls keep a colour that can be named


@dataclass(frozen=True)
class Faces:
    """Rectangles (q, 4, 3) [nm] and their shades (q,) uint8."""

    corners: Floats
    shades: npt.NDArray[np.uint8]


def rectangles(valid: Array, *keys: Array) -> tuple[Array, ...]:
    """Cover the true cells of (plane, u, v) by rectangles of equal ``keys``, merged along v and then along u.

    Returns plane, u0, u1, v0, v1 (half-open) and the keys of each rectangle.
    """
    planes, rows, columns = valid.shape
    edge = np.zeros((planes, rows, columns + 1), dtype=bool)
    edge[..., 0], edge[..., -1] = valid[..., 0], valid[..., -1]
    edge[..., 1:-1] = valid[..., 1:] != valid[..., :-1]
    for key in keys:
        edge[..., 1:-1] |= (key[..., 1:] != key[..., :-1]) & (valid[..., 1:] | valid[..., :-1])
    plane, u, v0 = np.nonzero(edge[..., :-1] & valid)
    v1 = np.nonzero(edge[..., 1:] & valid)[2] + 1
    values = [np.broadcast_to(key, valid.shape)[plane, u, v0] for key in keys]
    order = np.lexsort((u, *values, v1, v0, plane))
    plane, u, v0, v1, *values = (a[order] for a in (plane, u, v0, v1, *values))
    same = u[1:] == u[:-1] + 1
    for a in (plane, v0, v1, *values):
        same &= a[1:] == a[:-1]
    first = np.concatenate(([True], ~same))[: len(u)]
    last = np.concatenate((~same, [True]))[: len(u)]
    return (plane[first], u[first], u[last] + 1, v0[first], v1[first], *(a[first] for a in values))


def shade(slope_x: Any, slope_y: Any) -> Array:
    """Shade (uint8, steps of 4 so that neighbours merge) of a surface of slopes dz/dx, dz/dy under the fixed light."""
    lit = (_LIGHT[2] - _LIGHT[0] * slope_x - _LIGHT[1] * slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)
    brightness = _AMBIENT + (1 - _AMBIENT) * np.clip(lit, 0, None) / _LIGHT[2]
    return np.asarray(np.clip(np.rint(brightness * FLAT_SHADE / 4) * 4, 0, 236)).astype(np.uint8)


def hillshade(surface: Array, pixel_nm: float, z_scale: float) -> Array:
    """Shades (y, x) of a height map [nm]: what tells terraces of one colour apart."""
    steep = z_scale / pixel_nm
    padded = np.pad(surface, 1, mode="edge")
    slope_x = (padded[1:-1, 2:] - padded[1:-1, :-2]) * (steep / 2)
    slope_y = (padded[:-2, 1:-1] - padded[2:, 1:-1]) * (steep / 2)
    return shade(np.clip(slope_x, -1.5, 1.5), np.clip(slope_y, -1.5, 1.5))


def column_faces(bottom: Array, top: Array, present: Array, pixel_nm: float, z_scale: float) -> Faces:
    """Surface of one layer that fills bottom..top (y, x) [nm] where ``present``; side walls are closed."""
    height = bottom.shape[0]
    surface = np.where(present, top, bottom).astype(np.float64)
    out = []
    for flat, up in ((top, True), (bottom, False)):
        shades = hillshade(surface, pixel_nm, z_scale) if up else np.full(flat.shape, 90, dtype=np.uint8)
        _, r0, r1, c0, c1, z, s = rectangles(present[None], flat[None], shades[None])
        out.append(_horizontal(r0, r1, c0, c1, z, s, up))
    for sign in (1, -1):
        out += _walls_x(bottom, top, present, sign, pixel_nm, z_scale)
        out += [
            _swap(part, sign) for part in _walls_x(bottom.T, top.T, present.T, sign, pixel_nm, z_scale, along_y=True)
        ]
    return _place(out, height, pixel_nm)


def _walls_x(
    bottom: Array, top: Array, present: Array, sign: int, pixel_nm: float, z_scale: float, along_y: bool = False
) -> list[Faces]:
    """Walls that face +column (sign 1) or -column, in pixel units; the part that the neighbour covers is left out."""
    far = np.float32(np.inf)
    low, high = np.where(present, bottom, far), np.where(present, top, far)
    pad = ((0, 0), (0, 1)) if sign > 0 else ((0, 0), (1, 0))
    there = slice(1, None) if sign > 0 else slice(None, -1)
    next_low = np.pad(low, pad, constant_values=far)[:, there]
    next_high = np.pad(high, pad, constant_values=far)[:, there]
    parts = []
    for z0, z1 in ((bottom, np.minimum(top, next_low)), (np.maximum(bottom, next_high), top)):
        valid = present & (z1 > z0)
        steep = np.where(valid, (z1 - z0) * (z_scale / pixel_nm), 0.0)
        # rows run against y, so a wall that faces a higher row number falls towards -y
        shades = shade(np.zeros_like(steep), sign * steep) if along_y else shade(-sign * steep, np.zeros_like(steep))
        # merged along the rows of the wall: transpose so that v runs along it
        columns, _, _, r0, r1, a, b, s = rectangles(valid.T[:, None], z0.T[:, None], z1.T[:, None], shades.T[:, None])
        x = (columns + (sign > 0)).astype(np.float32)
        near, away = (r1, r0) if sign > 0 else (r0, r1)
        corners = np.stack(
            [np.stack([x, y.astype(np.float32), z], -1) for y, z in ((near, a), (away, a), (away, b), (near, b))], 1
        )
        parts.append(Faces(corners, s))
    return parts


def _horizontal(r0: Array, r1: Array, c0: Array, c1: Array, z: Array, s: Array, up: bool) -> Faces:
    order = ((c0, r1), (c1, r1), (c1, r0), (c0, r0)) if up else ((c0, r0), (c1, r0), (c1, r1), (c0, r1))
    corners = np.stack([np.stack([x, y, z], -1) for x, y in order], 1)
    return Faces(corners.astype(np.float32), s)


def _swap(faces: Faces, sign: int) -> Faces:
    """Walls of the transposed map turned back: x and y change places, which turns the winding round."""
    return Faces(np.ascontiguousarray(faces.corners[:, ::-1, [1, 0, 2]]), faces.shades)


def _place(parts: list[Faces], height: int, pixel_nm: float) -> Faces:
    corners = np.concatenate([p.corners for p in parts]).astype(np.float32)
    corners[..., 0] *= pixel_nm
    corners[..., 1] = (height - corners[..., 1]) * pixel_nm
    return Faces(corners, np.concatenate([p.shades for p in parts]))


def voxel_faces(mask: Array, shades: Array, voxel_nm: float, pixel_nm: float) -> Faces:
    """Surface of the true voxels of (z, y, x); ``shades`` (y, x) are those of its upward faces."""
    height = mask.shape[1]
    out = []
    padded = np.pad(mask, 1)
    inner = (slice(1, -1),) * 3
    for up in (True, False):
        neighbour = padded[2:, 1:-1, 1:-1] if up else padded[:-2, 1:-1, 1:-1]
        valid = padded[inner] & ~neighbour
        key = np.broadcast_to(shades, mask.shape) if up else np.full((1, 1, 1), 90, dtype=np.uint8)
        z, r0, r1, c0, c1, s = rectangles(valid, np.broadcast_to(key, mask.shape))
        out.append(_horizontal(r0, r1, c0, c1, (z + up) * np.float32(voxel_nm), s, up))
    for axis in (2, 1):
        for sign in (1, -1):
            moved = np.moveaxis(padded[1:-1, 1:-1, :] if axis == 2 else padded[1:-1, :, 1:-1], axis, 0)
            valid = moved[1:-1] & ~(moved[2:] if sign > 0 else moved[:-2])
            plane, z0, z1, a0, a1 = rectangles(valid)
            at = (plane + (sign > 0)).astype(np.float32)
            near, away = (a1, a0) if sign > 0 else (a0, a1)
            low, high = z0 * np.float32(voxel_nm), z1 * np.float32(voxel_nm)
            corners = np.stack(
                [
                    np.stack([at, y.astype(np.float32), z], -1)
                    for y, z in ((near, low), (away, low), (away, high), (near, high))
                ],
                1,
            )
            steep = 20.0
            level = (
                shade(np.float64(-sign * steep), np.float64(0))
                if axis == 2
                else shade(np.float64(0), np.float64(sign * steep))
            )
            faces = Faces(corners, np.full(len(at), level, dtype=np.uint8))
            out.append(faces if axis == 2 else _swap(faces, sign))
    return _place(out, height, pixel_nm)


def box_faces(width_nm: float, height_nm: float, bottom_nm: float, top_nm: float) -> Faces:
    """A box: the substrate slab."""
    one = np.ones((1, 1), dtype=np.float32)
    faces = column_faces(one * bottom_nm, one * top_nm, one > 0, 1.0, 1e3)
    corners = faces.corners * np.array([width_nm, height_nm, 1], dtype=np.float32)
    shades = faces.shades
    flat_top = (corners[..., 2] == top_nm).all(1)
    return Faces(corners, np.where(flat_top, FLAT_SHADE, shades).astype(np.uint8))
