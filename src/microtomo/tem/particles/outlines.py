"""Outlines of particles as radii over the angle: exact area and diameters, and how they are drawn on pixels.

An outline is star-shaped about its centre: ``radii`` (n, ANGLES) [px] at equal steps of the angle from +x towards +y,
linear between them, so that area, coverage and extent follow from the same curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numba
import numpy as np

_F = TypeVar("_F", bound=Callable[..., Any])
_jit: Callable[[_F], _F] = numba.njit(cache=True, nogil=True, error_model="numpy")

ANGLES = 96
"""Radii of an outline."""

_THETA = 2 * np.pi * np.arange(ANGLES) / ANGLES
FINE = 6
"""Subpixels along each axis of a pixel that an outline may cross: coverage to 0.3 % of a pixel's area."""
_NEAR = 1.2  # px along the radius: nearer than this to its outline, a body is drawn by subpixels


@dataclass(frozen=True)
class Bodies:
    """Particles or grains of a support: where they are, their outlines, and how much they scatter.

    ``centres`` (n, 2) [px], y first, pixel centres at whole numbers; ``radii`` (n, ANGLES) [px]; ``heights`` (n,)
    thickness at the centre, in any unit; ``profiles`` (n, 2): a, b of the thickness (1 - rho^a)^b over the relative
    radius rho (2, 0.5 a sphere; 2, 1 a cap; 6, 1 a plateau with bevelled edges; 1, 1 a cone).
    """

    centres: np.ndarray
    radii: np.ndarray
    heights: np.ndarray
    profiles: np.ndarray

    def __len__(self) -> int:
        return len(self.centres)

    def moved(self, dy: float, dx: float) -> Bodies:
        """The same bodies shifted by whole or broken pixels."""
        return Bodies(self.centres + np.array([dy, dx]), self.radii, self.heights, self.profiles)

    def chosen(self, which: np.ndarray) -> Bodies:
        """Those of a mask or of indices."""
        return Bodies(self.centres[which], self.radii[which], self.heights[which], self.profiles[which])

    def areas(self) -> np.ndarray:
        """Areas (n,) [px^2], exact: the integral of half the squared radius, linear between the angles."""
        after = np.roll(self.radii, -1, axis=1)
        return np.asarray((self.radii**2 + self.radii * after + after**2).sum(1) * (np.pi / (3 * ANGLES)))

    def diameters(self) -> np.ndarray:
        """Diameters (n,) [px] of circles of the same area."""
        return np.asarray(2 * np.sqrt(self.areas() / np.pi))

    def feret(self) -> tuple[np.ndarray, np.ndarray]:
        """Largest and smallest caliper diameters (n,) [px] of the outlines' corners."""
        points = self.points() - self.centres[:, None]
        support = np.einsum("nkc,ac->nka", points, _directions()).max(1)
        caliper = support + np.roll(support, ANGLES // 2, axis=1)
        return caliper.max(1), caliper.min(1)

    def points(self) -> np.ndarray:
        """Corners (n, ANGLES, 2) [px] of the outlines, y first."""
        return np.asarray(self.centres[:, None] + self.radii[..., None] * _directions())

    def boxes(self) -> np.ndarray:
        """x0, y0, x1, y1 (n, 4) [px] of the outlines."""
        points = self.points()
        low, high = points.min(1), points.max(1)
        return np.stack([low[:, 1], low[:, 0], high[:, 1], high[:, 0]], axis=1)


@dataclass(frozen=True)
class Drawing:
    """Bodies on pixels (y, x), float32: ``thickness`` summed over bodies and averaged over each pixel; ``coverage``
    share of the pixel's area inside any of them; ``depth`` 1 at a body's centre falling to 0 on its outline, of the
    body the pixel lies deepest in; ``label`` int32, that body's number from 1, 0 outside all.
    """

    thickness: np.ndarray
    coverage: np.ndarray
    depth: np.ndarray
    label: np.ndarray


def draw(bodies: Bodies, shape: tuple[int, int], fine: int = FINE) -> Drawing:
    """Draw bodies on an image of ``shape`` (y, x), by ``fine`` subpixels along each axis where an outline passes; what
    lies beyond the border is cut off."""
    thickness, clear, depth = (np.full(shape, value, dtype=np.float32) for value in (0, 1, 0))
    label = np.zeros(shape, dtype=np.int32)
    centres, radii, heights, profiles = (
        np.ascontiguousarray(a, dtype=np.float64)
        for a in (bodies.centres, bodies.radii, bodies.heights, bodies.profiles)
    )
    _draw(centres, radii, heights, profiles, fine, thickness, clear, depth, label)
    return Drawing(thickness, 1 - clear, depth, label)


def rounded(count: int, elongation: float, roughness: float, rng: np.random.Generator) -> np.ndarray:
    """Outlines (n, ANGLES) of unit area radius: ellipses whose axes differ by about ``elongation``, with waves of
    relative height ``roughness``."""
    ratio = np.exp(np.abs(rng.normal(0, elongation, (count, 1))))
    theta = _THETA - rng.uniform(0, np.pi, (count, 1))
    radii = 1 / np.sqrt(np.cos(theta) ** 2 / ratio + np.sin(theta) ** 2 * ratio)
    for order in range(2, 7):
        size, phase = rng.normal(0, roughness / order, (count, 1)), rng.uniform(0, 2 * np.pi, (count, 1))
        radii = radii * (1 + size * np.cos(order * _THETA - phase))
    return _unit_area(np.maximum(radii, 0.2))


def facetted(count: int, elongation: float, rng: np.random.Generator) -> np.ndarray:
    """Outlines (n, ANGLES) of unit area radius: polygons of four to eight facets with rounded corners."""
    sides = rng.choice((4, 5, 6, 7, 8), (count, 1), p=(0.1, 0.2, 0.35, 0.15, 0.2))
    k = np.arange(8)
    normals = 2 * np.pi * (k + rng.normal(0, 0.12, (count, 8))) / sides + rng.uniform(0, 2 * np.pi, (count, 1))
    distance = np.exp(rng.normal(0, 0.08, (count, 8)))
    sharpness = rng.uniform(8, 30, (count, 1))
    facing = np.cos(_THETA[None, :, None] - normals[:, None]) / distance[:, None]
    facing = np.where((k < sides)[:, None], np.maximum(facing, 0), 0)
    radii = (facing ** sharpness[..., None]).sum(2) ** (-1 / sharpness)
    ratio, axis = np.exp(np.abs(rng.normal(0, elongation, (count, 1)))), rng.uniform(0, np.pi, (count, 1))
    stretch = np.sqrt(np.cos(_THETA - axis) ** 2 * ratio + np.sin(_THETA - axis) ** 2 / ratio)
    return _unit_area(np.minimum(radii, 3) * stretch)


def _unit_area(radii: np.ndarray) -> np.ndarray:
    after = np.roll(radii, -1, axis=1)
    area = (radii**2 + radii * after + after**2).sum(1, keepdims=True) / (3 * ANGLES)
    return np.asarray(radii / np.sqrt(area))


def _directions() -> np.ndarray:
    """Unit vectors (ANGLES, 2), y first."""
    return np.stack([np.sin(_THETA), np.cos(_THETA)], axis=1)


@_jit
def _relative(y: float, x: float, radii: np.ndarray) -> float:
    """Distance from the centre over the outline's radius in that direction."""
    turn = np.arctan2(y, x) / (2 * np.pi)
    place = (turn - np.floor(turn)) * len(radii)
    low = int(place)
    part = place - low
    low %= len(radii)
    edge = radii[low] * (1 - part) + radii[(low + 1) % len(radii)] * part
    return float(np.sqrt(y * y + x * x) / edge)


@_jit
def _draw(
    centres: np.ndarray,
    radii: np.ndarray,
    heights: np.ndarray,
    profiles: np.ndarray,
    fine: int,
    thickness: np.ndarray,
    clear: np.ndarray,
    depth: np.ndarray,
    label: np.ndarray,
) -> None:
    high, wide = thickness.shape
    for n in range(len(centres)):
        cy, cx = centres[n]
        most = radii[n].max()
        a, b = profiles[n]
        for i in range(max(0, int(cy - most)), min(high, int(cy + most) + 2)):
            for j in range(max(0, int(cx - most)), min(wide, int(cx + most) + 2)):
                y, x = i - cy, j - cx
                far = np.sqrt(y * y + x * x)
                if far > most + 0.75:
                    continue
                rho = _relative(y, x, radii[n])
                if (fine > 1 and abs(far - far / max(rho, 1e-6)) < _NEAR) or far < 1:
                    share, mean = _average(y, x, radii[n], a, b, fine)
                elif rho < 1:
                    share, mean = 1.0, _profile(rho, a, b)
                else:
                    continue
                if share == 0:
                    continue
                thickness[i, j] += heights[n] * mean
                clear[i, j] *= 1 - share
                if 1 - rho > depth[i, j]:
                    depth[i, j] = 1 - rho
                    label[i, j] = n + 1
                elif label[i, j] == 0:
                    label[i, j] = n + 1


@_jit
def _profile(rho: float, a: float, b: float) -> float:
    """Relative thickness (1 - rho^a)^b, with the powers that are most frequent as products."""
    inner = 1 - (rho * rho if a == 2.0 else rho**a)
    return float(np.sqrt(inner) if b == 0.5 else inner**b)


@_jit
def _average(y: float, x: float, radii: np.ndarray, a: float, b: float, fine: int) -> tuple[float, float]:
    """Share of a pixel inside the outline, and the mean over the pixel of the relative thickness."""
    inside, total = 0, 0.0
    for k in range(fine):
        for m in range(fine):
            rho = _relative(y + (k + 0.5) / fine - 0.5, x + (m + 0.5) / fine - 0.5, radii)
            if rho < 1:
                inside += 1
                total += _profile(rho, a, b)
    return inside / fine**2, total / fine**2
