"""Shifts between pairs of images, and one place for every image out of the shifts of many pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microtomo.errors import MicrotomoError

INSTALL = 'pip install "microtomo[io]"'
STEP = 0.1  # [pixels] of the search
_BLUR = 2.5  # [pixels] against noise
_SMALLEST = 8  # [pixels] of an overlap that is worth a look


def band_passed(image: np.ndarray, blur: float = _BLUR, shading: float | None = None) -> np.ndarray:
    """The relative signal of an image (y, x), whatever its gain, without noise below ``blur`` and without shading
    beyond ``shading`` [pixels] (a twelfth of the image when not given)."""
    from scipy.ndimage import gaussian_filter

    values = image.astype(float)
    values /= abs(float(values.mean())) or 1.0
    wide = max(image.shape) / 12 if shading is None else shading
    filtered: np.ndarray = gaussian_filter(values, blur) - gaussian_filter(values, wide)
    return filtered


def pair_shift(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, float]:
    """(dy, dx) [pixels] by which the content of ``second`` is shifted against ``first``, both (y, x) and band-passed;
    and the correlation at that shift, as Fisher's z over its standard deviation for unrelated images.

    Cross-correlation with an upsampled peak (Guizar-Sicairos, Thurman & Fienup, Opt. Lett. 33 (2008) 156), as
    scikit-image has it. Not normalised to pure phases: that gives noise the weight of the image.
    Raises MicrotomoError where scikit-image is missing.
    """
    try:
        from skimage.registration import phase_cross_correlation
    except ModuleNotFoundError:
        raise MicrotomoError(
            f"to register images scikit-image is needed: {INSTALL}, or take the images as they stand with --no-register"
        ) from None

    # The first look sees each image through a window that does not move with it; the next one only what both show.
    total = np.zeros(2)
    for parts in (1, round(1 / STEP)):
        whole = np.round(total)
        a, b = (_windowed(v) for v in overlap(first, second, whole))
        if min(a.shape) < _SMALLEST:
            return total, 0.0
        total = whole - phase_cross_correlation(a, b, normalization=None, upsample_factor=parts)[0]
    a, b = (_windowed(v) for v in overlap(first, second, np.round(total)))
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    if min(a.shape) < _SMALLEST or size == 0:
        return total, 0.0
    # Of blurred noise 4 pi sigma^2 pixels have one independent value; Fisher's z of a correlation is nearly normal.
    correlation = min(float((a * b).sum()) / size, 1 - 1e-12)
    return total, float(np.arctanh(correlation) * np.sqrt(a.size / (4 * np.pi * _BLUR**2)))


def overlap(first: np.ndarray, second: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The parts of two images (y, x) that show the same where the second is shifted by whole pixels (dy, dx)."""
    one, other = [], []
    for size, d in zip(first.shape, (int(s) for s in shift), strict=True):
        one.append(slice(max(0, -d), max(0, min(size, size - d))))
        other.append(slice(max(0, d), max(0, min(size, size + d))))
    return first[tuple(one)], second[tuple(other)]


def connected(count: int, reference: int, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Which of ``count`` images hang together with the reference by pairs."""
    reached = np.zeros(count, bool)
    reached[reference] = True
    for _ in range(count):
        for i, j in pairs:
            reached[i] = reached[j] = reached[i] | reached[j]
    return reached


def places(
    count: int, reference: int, pairs: Sequence[tuple[int, int]], steps: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Places (count, 2) [pixels] of all images against the reference.

    ``steps`` (p, 2) from the first to the second image of each pair, ``weights`` (p, 2) one over their errors. Weighted
    least squares, as for series of frames (Savitzky et al., Ultramicroscopy 191 (2018) 56); a pair that disagrees with
    the others loses weight (Huber's rule). Images without a path to the reference stay at zero.
    """
    reached = connected(count, reference, pairs)
    result = np.zeros((count, 2))
    free = [i for i in range(count) if reached[i] and i != reference]
    used = [k for k, (i, _) in enumerate(pairs) if reached[i]]
    if not free:
        return result
    matrix = np.zeros((len(used), count))
    for row, k in enumerate(used):
        matrix[row, pairs[k][0]], matrix[row, pairs[k][1]] = -1, 1
    matrix = matrix[:, free]
    for axis in (0, 1):
        values, given = steps[used, axis], weights[used, axis]
        trust = np.ones_like(given)
        for _ in range(20):
            scale = given * np.sqrt(trust)
            solved = np.linalg.lstsq(matrix * scale[:, None], values * scale, rcond=None)[0]
            rest = np.abs(values - matrix @ solved) * given
            trust = np.minimum(1, 2 * max(float(np.median(rest)), 1e-9) / np.maximum(rest, 1e-12))
        result[free, axis] = solved
    return result


def _windowed(image: np.ndarray) -> np.ndarray:
    from scipy.signal.windows import tukey

    windowed: np.ndarray = image * np.outer(tukey(image.shape[0], 0.5), tukey(image.shape[1], 0.5))
    return windowed
