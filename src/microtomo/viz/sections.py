"""Cut faces: what a plane through layers shows, so that a solid that is cut open stays closed to the eye."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microtomo.viz.mesh import Array, Faces, rectangles

X_SHADE, Y_SHADE, Z_SHADE = 172, 160, 200


@dataclass(frozen=True)
class Cut:
    """Shares of the scene that are kept: ``x`` from the left, ``y`` in image rows from the top, ``z`` from below."""

    x: float = 1.0
    y: float = 1.0
    z: float = 1.0


def section_faces(bottom: Array, top: Array, pixel_nm: float, cut: Cut, height_nm: float) -> Faces:
    """Faces (q, 4, 3) [nm] of the three cuts through one layer that fills bottom..top (y, x) [nm].

    ``height_nm`` is the height of the scene, of which ``cut.z`` is a share; a cut of 1 shows nothing.
    """
    rows, columns = bottom.shape
    level = cut.z * height_nm if cut.z < 1 else np.inf
    x_end, y_end = cut.x * columns, cut.y * rows
    top = np.minimum(top, level)
    parts = []
    if 0 < cut.x < 1:
        c = min(int(x_end), columns - 1)
        kept = np.nonzero((top[:, c] > bottom[:, c]) & (np.arange(rows) < y_end))[0]
        near, far = np.minimum(kept + 1.0, y_end), kept.astype(float)
        low, high, x = bottom[kept, c], top[kept, c], np.full(len(kept), x_end)
        parts.append((_quads((x, near, low), (x, far, low), (x, far, high), (x, near, high)), X_SHADE))
    if 0 < cut.y < 1:
        r = min(int(y_end), rows - 1)
        kept = np.nonzero((top[r] > bottom[r]) & (np.arange(columns) < x_end))[0]
        left, right = kept.astype(float), np.minimum(kept + 1.0, x_end)
        low, high, y = bottom[r, kept], top[r, kept], np.full(len(kept), y_end)
        parts.append((_quads((left, y, low), (right, y, low), (right, y, high), (left, y, high)), Y_SHADE))
    if cut.z < 1:
        _, r0, r1, c0, c1 = rectangles(((bottom < level) & (top >= level))[None])
        keep = (r0 < y_end) & (c0 < x_end)
        r0, c0 = r0[keep], c0[keep]
        r1, c1 = np.minimum(r1[keep], y_end), np.minimum(c1[keep], x_end)
        z = np.full(len(r0), level)
        parts.append((_quads((c0, r1, z), (c1, r1, z), (c1, r0, z), (c0, r0, z)), Z_SHADE))
    corners = np.concatenate([np.zeros((0, 4, 3)), *(quads for quads, _ in parts)]).astype(np.float32)
    corners[..., 0] *= pixel_nm
    corners[..., 1] = (rows - corners[..., 1]) * pixel_nm
    shades = np.concatenate([np.zeros(0), *(np.full(len(quads), shade) for quads, shade in parts)])
    return Faces(corners, shades.astype(np.uint8))


def _quads(*corners: tuple[Array, Array, Array]) -> Array:
    return np.stack([np.stack([np.asarray(v, dtype=float) for v in c], -1) for c in corners], 1)
