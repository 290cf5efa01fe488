"""Uneven illumination of a micrograph: fitted with a Bezier surface and divided out.

Source: Sadre, Ophus, Butko & Weber, Microsc. Microanal. 27 (2021) 804, equations 1 to 3.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb

import numpy as np

from microtomo.errors import MicrotomoError

ORDER = 2
"""Degree along each axis: a 2 x 2 surface has 3 x 3 coefficients."""


def bernstein(pixels: int, order: int = ORDER) -> np.ndarray:
    """Bernstein polynomials C(m, i) u^i (1 - u)^(m - i) at the pixel centres, u in 0..1: (pixels, order + 1)."""
    u = (np.arange(pixels) + 0.5) / pixels
    return np.stack([comb(order, i) * u**i * (1 - u) ** (order - i) for i in range(order + 1)], axis=1)


def illumination(image: np.ndarray) -> np.ndarray:
    """The 2 x 2 Bezier surface I_0 (y, x) closest to an image (y, x) by least squares (eq. 1)."""
    # The basis is a product, so that the fit is one along y and one along x.
    (along_y, fit_y), (along_x, fit_x) = _fit(image.shape[0]), _fit(image.shape[1])
    surface: np.ndarray = along_y @ (fit_y @ image @ fit_x.T) @ along_x.T
    return surface


def normalise(image: np.ndarray) -> np.ndarray:
    """The image (y, x) over its illumination, with mean 0 and standard deviation 1, float32 (eqs 2 and 3).

    Raises MicrotomoError where the illumination is not positive everywhere: values are then no counts.
    """
    image = np.asarray(image, dtype=np.float32)
    surface = illumination(image)
    if surface.min() <= 0:
        raise MicrotomoError(
            "the illumination fitted to the image is not positive everywhere: give the recorded counts, not an image "
            "that is already normalised or has its background subtracted"
        )
    flat = image / surface
    flat -= flat.mean(dtype=np.float32)
    deviation = np.sqrt(np.vdot(flat, flat) / flat.size)
    if deviation < 1e-6:  # what float32 leaves of a perfect fit
        raise MicrotomoError("the image holds nothing but its illumination: there is nothing to segment")
    flat /= deviation
    return np.asarray(flat)


@lru_cache(maxsize=32)
def _fit(pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """The basis (pixels, 3), and the matrix (3, pixels) that fits its coefficients by least squares."""
    basis = bernstein(pixels)
    return basis.astype(np.float32), np.linalg.pinv(basis).astype(np.float32)
