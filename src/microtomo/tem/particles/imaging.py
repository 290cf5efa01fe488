"""How a supported particle sample becomes an image: annular dark field in STEM, bright field in TEM and STEM.

Sources: HAADF intensity grows with mass thickness and Z to the power 1.6 to 1.9 (Pennycook & Jesson, Ultramicroscopy 37
(1991) 14); bright field falls off exponentially with mass thickness, and out of focus gains a fringe in proportion to
the Laplacian of the projected potential (Cowley, Diffraction Physics, 3rd ed., ch. 13).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_laplace

from microtomo.tem.illumination import bernstein


def dark_field(
    scattering: np.ndarray,
    probe_px: float,
    electrons: float,
    background: float,
    jitter_px: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Counts (y, x), float32, of an annular detector that scans row by row.

    ``scattering`` (y, x): share of the beam that reaches the detector; ``probe_px``: deviation of the Gaussian probe;
    ``electrons``: in the beam, for each pixel; ``background``: share counted in vacuum; ``jitter_px``: deviation of
    the rows' displacement along x.
    """
    seen = gaussian_filter(scattering, probe_px, mode="reflect") if probe_px > 0.05 else scattering
    if jitter_px > 0.01:
        seen = _displaced_rows(seen, rng.normal(0, jitter_px, len(seen)))
    return rng.poisson(np.maximum(seen + background, 0) * electrons).astype(np.float32)


def bright_field(
    attenuation: np.ndarray,
    speckle: np.ndarray,
    fringe: float,
    fringe_px: float,
    electrons: np.ndarray,
    blur_px: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Counts (y, x), float32, of a camera.

    ``attenuation`` (y, x): mass thickness over the mean free path, exp(-attenuation) of the beam is left;
    ``speckle`` (y, x): relative phase contrast of the amorphous support; ``fringe``: height of the Fresnel fringe at a
    step of attenuation 1, positive at underfocus, which spreads over ``fringe_px``; ``electrons`` (y, x): in the
    beam, for each pixel; ``blur_px``: deviation of the camera's point spread, which smears the noise too.
    """
    left = np.exp(-attenuation) * (1 + speckle)
    if fringe:
        left = left + np.float32(fringe * fringe_px**2) * gaussian_laplace(attenuation, fringe_px, mode="reflect")
    counts = rng.poisson(np.maximum(left, 0) * electrons).astype(np.float32)
    return np.asarray(gaussian_filter(counts, blur_px, mode="reflect")) if blur_px > 0.05 else counts


def speckle(shape: tuple[int, int], grain_px: float, rng: np.random.Generator) -> np.ndarray:
    """Phase contrast (y, x) of amorphous matter, float32, mean 0, deviation 1: what a lens passes of white noise is a
    band, here between ``grain_px`` and twice that."""
    white = rng.standard_normal(shape, dtype=np.float32)
    band = gaussian_filter(white, 0.4 * grain_px, mode="wrap") - gaussian_filter(white, 0.8 * grain_px, mode="wrap")
    return np.asarray(band / band.std())


def beam(shape: tuple[int, int], amount: float, rng: np.random.Generator) -> np.ndarray:
    """Uneven illumination (y, x) relative to its mean: a Bezier surface whose coefficients vary by ``amount``."""
    surface = bernstein(shape[0]) @ (1 + amount * rng.uniform(-1, 1, (3, 3))) @ bernstein(shape[1]).T
    return np.asarray(surface / surface.mean(), dtype=np.float32)


def lattice(label: np.ndarray, period_px: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Lattice fringes (y, x) in -1..1 inside the bodies of ``label`` (numbers to ``count``), each with its direction;
    half of the bodies, being off axis, show none."""
    angle, phase = rng.uniform(0, np.pi, count + 1), rng.uniform(0, 2 * np.pi, count + 1)
    shown = (rng.random(count + 1) < 0.5).astype(np.float32)
    shown[0] = 0
    y, x = np.indices(label.shape, dtype=np.float32)
    along = y * np.sin(angle).astype(np.float32)[label] + x * np.cos(angle).astype(np.float32)[label]
    return np.asarray(shown[label] * np.cos(2 * np.pi / period_px * along + phase[label]), dtype=np.float32)


def _displaced_rows(image: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    wide = image.shape[1]
    place = np.clip(np.arange(wide) + offsets[:, None], 0, wide - 1)
    low = np.minimum(place.astype(int), wide - 2)
    part = (place - low).astype(np.float32)
    left, right = np.take_along_axis(image, low, 1), np.take_along_axis(image, low + 1, 1)
    return np.asarray(left * (1 - part) + right * part)
