"""From maps to particles apart: seeds where the depth is greatest, watershed between, weak valleys closed again."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from microtomo.errors import MicrotomoError

VALLEY = 0.8
"""Two seeds are one particle where the depth between them does not fall below this share of the lower of the two."""

LEAST_DEPTH = 0.2
"""Depth that a particle must reach at its centre."""

LEAST_COVER = 0.4
"""Coverage that a particle must reach at its centre (detection F1 of 30 validation images: .529 at .5, .539 here)."""

EDGE = 0.1
"""Coverage down to which pixels count towards the particle that they border on."""


def regions(cover: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Labels (y, x) int32 of particles in maps of coverage and depth (y, x), 0 outside; connected each.

    Raises MicrotomoError where scikit-image (extra ``io``) is not installed.
    """
    watershed = _watershed()
    smooth = ndimage.gaussian_filter(depth, 0.7)
    peaks = (smooth == ndimage.maximum_filter(smooth, 3)) & (smooth > LEAST_DEPTH) & (cover > LEAST_COVER)
    seeds, count = ndimage.label(peaks, np.ones((3, 3)))
    if count == 0:
        return np.zeros(cover.shape, dtype=np.int32)
    labels = np.asarray(watershed(-smooth, seeds, mask=cover > EDGE), dtype=np.int32)
    heights = np.concatenate([[0], ndimage.maximum(smooth, seeds, np.arange(1, count + 1))])
    return _joined(labels, smooth, heights)


def _watershed() -> Any:
    try:
        from skimage.segmentation import watershed
    except ImportError:
        raise MicrotomoError("particles need scikit-image: install it with `pip install microtomo[io]`") from None
    return watershed


def _joined(labels: np.ndarray, depth: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Labels with those neighbours joined that no real valley parts, deepest passes first."""
    first, second, passes = _passes(labels, depth)
    root = np.arange(len(heights))
    heights = heights.copy()
    for k in np.argsort(-passes, kind="stable"):
        a, b = _root(root, int(first[k])), _root(root, int(second[k]))
        if a == b or passes[k] < VALLEY * min(heights[a], heights[b]):
            continue
        low, high = (a, b) if heights[a] < heights[b] else (b, a)
        root[low] = high
    names = np.array([_root(root, n) for n in range(len(root))])
    _, compact = np.unique(names, return_inverse=True)
    return np.asarray(compact[labels], dtype=np.int32)


def _root(root: np.ndarray, n: int) -> int:
    while root[n] != n:
        root[n] = root[root[n]]
        n = int(root[n])
    return n


def _passes(labels: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of labels that share a border, and the greatest depth on it."""
    pairs, lows = [], []
    for one, other in (
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
    ):
        a, b = labels[one], labels[other]
        where = (a != b) & (a > 0) & (b > 0)
        pairs.append(np.sort(np.stack([a[where], b[where]], 1), axis=1))
        lows.append(np.minimum(depth[one][where], depth[other][where]))
    pair, low = np.concatenate(pairs), np.concatenate(lows)
    if len(pair) == 0:
        return np.empty(0, int), np.empty(0, int), np.empty(0)
    unique, inverse = np.unique(pair, axis=0, return_inverse=True)
    greatest = np.zeros(len(unique))
    np.maximum.at(greatest, inverse.reshape(-1), low)
    return unique[:, 0], unique[:, 1], greatest
