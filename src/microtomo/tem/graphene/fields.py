"""Smooth random fields and outlines for synthetic micrographs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def smooth_field(shape: tuple[int, int], scale_px: float, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian random field (y, x), float32, of mean 0 and deviation about 1 that varies over ``scale_px`` [px]."""
    along_y, along_x = (_spline(n, float(scale_px)) for n in shape)
    coarse = rng.standard_normal((along_y.shape[1], along_x.shape[1]), dtype=np.float32)
    return np.asarray(along_y @ coarse @ along_x.T)


def blob(shape: tuple[int, int], centre: tuple[float, float], radius_px: float, rng: np.random.Generator) -> np.ndarray:
    """A lumpy island (y, x), float32: 1 at its centre, 0 on its outline, negative outside.

    ``centre`` [px], y first; the outline is a circle of ``radius_px`` with random harmonics, so its distance from the
    centre varies by about a third.
    """
    y = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(centre[0])
    x = np.arange(shape[1], dtype=np.float32) - np.float32(centre[1])
    # complex powers of the direction are its harmonics
    direction = np.asarray(x + 1j * y, dtype=np.complex64)
    distance = np.abs(direction)
    direction /= np.maximum(distance, 1e-3)
    outline = np.ones(shape, dtype=np.float32)
    power = direction
    for order in range(1, 6):
        size = 0.28 / order * rng.standard_normal()
        outline += np.float32(size) * (power * np.exp(2j * np.pi * rng.random()).astype(np.complex64)).real
        power = power * direction
    return np.asarray(1 - distance / (np.float32(radius_px) * np.maximum(outline, 0.25)))


@lru_cache(maxsize=512)
def _spline(pixels: int, scale_px: float) -> np.ndarray:
    """Cubic B-splines at knots ``scale_px`` apart: (pixels, knots), scaled to give deviation 1 from white noise."""
    knots = int(np.ceil(pixels / scale_px)) + 3
    distance = np.abs(np.arange(pixels)[:, None] / scale_px - np.arange(knots) + 1)
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = np.maximum(2 - distance, 0) ** 3 / 6
    weight = np.where(distance < 1, inner, outer)
    return np.asarray(weight / np.sqrt((weight**2).sum(1, keepdims=True)), dtype=np.float32)
