"""A layer as a curve with two edges: positions, signed distances to the edges, exact orthogonal thickness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_NEWTON_STEPS = 4  # for curves whose radius is several times the distance, 1e-6 px are reached in 3
_GRID_PX = 0.25  # spacing of the grid that arc length and edges are tabulated on


@dataclass(frozen=True)
class Layer:
    """Centre line and edges of one layer, all in pixels.

    The centre line passes through ``centre`` (y, x) at ``tilt`` [rad] from the vertical (positive: leans right going
    down) and departs from its tangent by ``bend[0] v^2 + bend[1] v^3``, v along the tangent. ``arc`` (k,) is the arc
    length of a grid along it, ``along`` (k,) the same points' v, and ``low``, ``high`` (k,) the offsets of the two
    edges along the local normal: ``high - low`` is the orthogonal thickness, exactly.
    """

    centre: tuple[float, float]
    tilt: float
    bend: tuple[float, float]
    along: np.ndarray
    arc: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def offset(self, v: np.ndarray) -> np.ndarray:
        """Departure of the centre line from its tangent at ``v``."""
        return np.asarray((self.bend[1] * v + self.bend[0]) * v * v)

    def slope(self, v: np.ndarray) -> np.ndarray:
        """Derivative of :meth:`offset`."""
        return np.asarray((3 * self.bend[1] * v + 2 * self.bend[0]) * v)

    def points(self, v: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image positions y, x of the points at ``t`` along the normal from the centre line at ``v``."""
        f, s = self.offset(v), self.slope(v)
        stretch = np.sqrt(1 + s * s)
        u, w = f + t / stretch, v - t * s / stretch
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        return self.centre[0] + w * cos - u * sin, self.centre[1] + w * sin + u * cos

    def coordinates(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """v of the foot point on the centre line, and signed distance from it, by Newton's method."""
        cos, sin = np.float32(np.cos(self.tilt)), np.float32(np.sin(self.tilt))
        dy, dx = y - np.float32(self.centre[0]), x - np.float32(self.centre[1])
        u, w = dx * cos - dy * sin, dy * cos + dx * sin
        a, b = np.float32(self.bend[0]), np.float32(self.bend[1])
        v = w
        for _ in range(_NEWTON_STEPS if a or b else 0):
            f, s, c = (b * v + a) * v * v, (3 * b * v + 2 * a) * v, 6 * b * v + 2 * a
            # far from the layer the second derivative may vanish: a step is never longer than Gauss and Newton's
            v = v - ((v - w) + (f - u) * s) / np.maximum(1 + s * s + (f - u) * c, 0.5 * (1 + s * s))
        f, s = (b * v + a) * v * v, (3 * b * v + 2 * a) * v
        return v, ((u - f) - s * (w - v)) / np.sqrt(1 + s * s)

    def distances(self, shape: tuple[int, int], margin: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Distances (y, x) [px] of the pixel centres from the low and the high edge, positive inside the layer.

        ``margin`` pixels are added on each side of the image.
        """
        y, x = (np.arange(-margin, n + margin, dtype=np.float32) for n in shape)
        v, t = self.coordinates(y[:, None], x[None])
        low = np.interp(v, self.along, self.low).astype(np.float32)
        high = np.interp(v, self.along, self.high).astype(np.float32)
        return t - low, high - t

    def inside(self, shape: tuple[int, int]) -> np.ndarray:
        """Which grid points (k,) have both ends of their perpendicular within the image."""
        within = np.ones(len(self.along), dtype=bool)
        for t in (self.low, self.high):
            y, x = self.points(self.along, t)
            within &= (y >= 0) & (y <= shape[0] - 1) & (x >= 0) & (x <= shape[1] - 1)
        return within

    def thickness(self, shape: tuple[int, int]) -> tuple[float, float]:
        """Mean and standard deviation [px] of the orthogonal thickness over the lines wholly within the image; NaN
        where there is none."""
        within = self.inside(shape)
        if not within.any():
            return float("nan"), float("nan")
        steps = np.gradient(self.arc)[within]
        lines = (self.high - self.low)[within]
        mean = float(np.average(lines, weights=steps))
        return mean, float(np.sqrt(np.average((lines - mean) ** 2, weights=steps)))


def grid(length_px: float, bend: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Values v along the tangent from -length/2 to length/2, and the arc length of the centre line at them."""
    v = np.arange(-length_px / 2, length_px / 2 + _GRID_PX, _GRID_PX)
    stretch = np.sqrt(1 + ((3 * bend[1] * v + 2 * bend[0]) * v) ** 2)
    arc = np.concatenate([[0.0], np.cumsum(0.5 * (stretch[1:] + stretch[:-1]) * np.diff(v))])
    return v, arc


def coverage(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Share (y, x) of each pixel inside the layer, from its distances to the two edges; exact for upright edges."""
    return np.clip(np.clip(low + 0.5, 0, 1) + np.clip(high + 0.5, 0, 1) - 1, 0, 1)


def three_line(cover: np.ndarray) -> float:
    """Mean length [px] of three lines along the rows, at a quarter, half and three quarters of the image's height.

    The paper's manual method; over-reads by 1 / cos(tilt). Rows where the layer meets the image's side do not count;
    NaN where none is left.
    """
    rows = cover[[len(cover) // 4, len(cover) // 2, 3 * len(cover) // 4]]
    whole = (rows[:, 0] == 0) & (rows[:, -1] == 0) & rows.any(1)
    return float(rows[whole].sum(1).mean()) if whole.any() else float("nan")
