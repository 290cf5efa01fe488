"""Bragg filter: what no lattice explains is contaminant.

Source: Sadre, Ophus, Butko & Weber, Microsc. Microanal. 27 (2021) 804, equations 4 to 6, after Hytch, Scanning
Microsc. 11 (1997) 53.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter

from microtomo.errors import MicrotomoError
from microtomo.registry import Published, register
from microtomo.tem.illumination import normalise
from microtomo.tem.segmentation import Segmentation
from microtomo.tem.smoothing import gaussian_mean
from microtomo.tem.thresholds import by_threshold, fitted_by

_BORDER = 32  # pixels mirrored at each side, so that the lattice goes on beyond the border
_PEAK_SMOOTHING = 1.0  # pixels of the transform
_FRAME = 4  # pixels of the transform that the smoothing and the search for maxima look beyond its edge
_LOWEST = 0.03  # 1/px: below it lie the shapes of contaminants, no lattice


@register(
    "bragg",
    task="contaminant",
    citation="Sadre, Ophus, Butko & Weber, Microsc. Microanal. 27 (2021) 804; Hytch, Scanning Microsc. 11 (1997) 53",
    published=Published("Bragg", {"random folds": 0.688}),
)
def bragg(
    image: np.ndarray,
    *,
    aperture: float = 0.002,
    peak_threshold: float = 0.8,
    mask_threshold: float = 0.82,
    peaks: int = 24,
    smoothing_px: float = 6.0,
) -> Segmentation:
    """Contaminant where the image differs from its periodic part (Bragg filter).

    ``aperture`` is the standard deviation of the apertures [1/px], ``peak_threshold`` the least height of a peak of
    |q| |F| [standard deviations of white noise at |q| = 1/px], ``mask_threshold`` the least smoothed residue [standard
    deviations of the image]; all three are fitted with ``microtomo.tem.thresholds.fit``. At most ``peaks`` apertures
    are placed, and the residue is smoothed with a Gaussian of ``smoothing_px``.
    """
    options = {
        "aperture": aperture,
        "peak_threshold": peak_threshold,
        "mask_threshold": mask_threshold,
        "peaks": peaks,
        "smoothing_px": smoothing_px,
    }
    score = residue(image, aperture, peak_threshold, peaks=peaks, smoothing_px=smoothing_px)
    return by_threshold(score, mask_threshold, "bragg", options)


@fitted_by(
    "bragg",
    threshold="mask_threshold",
    grid={"aperture": (0.002, 0.003, 0.004, 0.006, 0.008), "peak_threshold": (0.5, 0.7, 0.8, 0.9)},
)
def residue(
    image: np.ndarray, aperture: float, peak_threshold: float, *, peaks: int = 24, smoothing_px: float = 6.0
) -> np.ndarray:
    """Smoothed absolute difference (y, x) between the normalised image (y, x) and its Bragg-filtered self (eq. 6)."""
    if aperture <= 0 or smoothing_px <= 0 or peaks < 0:
        raise MicrotomoError("aperture and smoothing_px of the Bragg filter must be positive, peaks not negative")
    flat = normalise(image)
    periodic = filtered(flat, find_peaks(flat, peak_threshold, peaks), aperture)
    np.subtract(flat, periodic, out=periodic)
    return gaussian_mean(np.abs(periodic, out=periodic), smoothing_px)


def find_peaks(flat: np.ndarray, threshold: float, most: int = 24) -> np.ndarray:
    """Positions (n, 2) [1/px], y first, of the highest Bragg peaks of a normalised image (y, x); one of each pair.

    Peaks are maxima of the weighted transform |q| |F{I W}| (eq. 4), smoothed, above ``threshold`` in units of what
    white noise of deviation 1 gives at |q| = 1/px; ``most`` counts both of a pair.
    """
    plan = _plan(*flat.shape)
    half = np.abs(fft.rfft2(flat * plan.window, overwrite_x=True))
    half *= plan.weight
    height = gaussian_filter(half[plan.around_y, plan.around_x], _PEAK_SMOOTHING, mode="nearest", truncate=3.0)
    height = height[_FRAME - 1 : 1 - _FRAME, _FRAME - 1 : 1 - _FRAME]
    inner = height[1:-1, 1:-1]
    candidate = (inner > threshold) & plan.allowed
    for dy, dx in ((0, 1), (1, 0), (1, 2), (2, 1), (0, 0), (0, 2), (2, 0), (2, 2)):
        candidate &= inner >= height[dy : dy + inner.shape[0], dx : dx + inner.shape[1]]
    rows, columns = np.nonzero(candidate)
    best = np.argsort(-inner[rows, columns], kind="stable")[: most // 2]
    rows, columns = rows[best], columns[best]
    around = [height[rows + dy, columns + dx] for dy, dx in ((0, 1), (1, 1), (2, 1), (1, 0), (1, 2))]
    size = np.array(flat.shape)
    exact = np.stack([rows + _vertex(*around[:3]), columns + _vertex(around[3], around[1], around[4])], axis=1) / size
    return np.asarray(exact - np.round(exact))


def _vertex(before: np.ndarray, at: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where between -0.5 and 0.5 the parabola through three values, the middle one highest, has its vertex."""
    curvature = before - 2 * at + after
    return np.where(curvature < 0, 0.5 * (before - after) / np.minimum(curvature, -1e-12), 0.0)


def filtered(flat: np.ndarray, peaks: np.ndarray, aperture: float) -> np.ndarray:
    """The part of a normalised image (y, x) inside Gaussian apertures around ``peaks`` (n, 2) and -peaks (eq. 5)."""
    plan = _plan(*flat.shape)
    both = np.concatenate([peaks, -peaks]).astype(np.float32)
    opening = _opening(plan.padded_qy, both[:, 0], aperture) @ _opening(plan.padded_qx, both[:, 1], aperture).T
    np.minimum(opening, 1.0, out=opening)  # apertures that overlap let no more than everything through
    spectrum = fft.rfft2(np.pad(flat, plan.padding, mode="symmetric"), overwrite_x=True)
    spectrum *= opening
    whole = fft.irfft2(spectrum, s=plan.padded, overwrite_x=True)
    return np.ascontiguousarray(whole[_BORDER : _BORDER + flat.shape[0], _BORDER : _BORDER + flat.shape[1]])


def _opening(q: np.ndarray, centres: np.ndarray, sigma: float) -> np.ndarray:
    distance = q[:, None] - centres
    distance -= np.round(distance)  # the transform is periodic
    exponent = np.float32(-0.5 / sigma**2) * distance * distance
    return np.asarray(
        np.exp(np.maximum(exponent, -25.0, out=exponent))
    )  # what underflows float32 slows the product down


@dataclass(frozen=True)
class _Plan:
    """What depends on the size of the image alone. ``around`` indexes a half spectrum with a frame about it."""

    window: np.ndarray
    weight: np.ndarray
    allowed: np.ndarray
    around_y: np.ndarray
    around_x: np.ndarray
    padding: tuple[tuple[int, int], tuple[int, int]]
    padded: tuple[int, int]
    padded_qy: np.ndarray
    padded_qx: np.ndarray


@lru_cache(maxsize=16)
def _plan(high: int, wide: int) -> _Plan:
    # sampled inside the border, so that no pixel has weight 0
    window = np.outer(np.hanning(high + 2)[1:-1], np.hanning(wide + 2)[1:-1])
    qy, qx = fft.fftfreq(high)[:, None], fft.rfftfreq(wide)[None]
    q = np.hypot(qy, qx)
    allowed = q > _LOWEST
    allowed[high // 2 + 1 :, 0] = False  # column 0 holds both of a pair
    padded = (fft.next_fast_len(high + 2 * _BORDER, real=True), fft.next_fast_len(wide + 2 * _BORDER, real=True))
    y, x = np.mgrid[-_FRAME : high + _FRAME, -_FRAME : len(qx[0]) + _FRAME]
    other = (x < 0) | (x >= len(qx[0]))  # the value at (-y, -x) is that at (y, x)
    return _Plan(
        window=window.astype(np.float32),
        weight=(q / np.sqrt((window**2).sum())).astype(np.float32),
        allowed=allowed,
        around_y=np.where(other, -y, y) % high,
        around_x=np.where(x < 0, -x, np.where(x >= len(qx[0]), wide - x, x)),
        padding=((_BORDER, padded[0] - high - _BORDER), (_BORDER, padded[1] - wide - _BORDER)),
        padded=padded,
        padded_qy=fft.fftfreq(padded[0]).astype(np.float32),
        padded_qx=fft.rfftfreq(padded[1]).astype(np.float32),
    )
