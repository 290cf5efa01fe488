"""Local standard deviation: the baseline that every segmenter of contaminants must beat."""

from __future__ import annotations

import numpy as np

from microtomo.registry import register
from microtomo.tem.illumination import normalise
from microtomo.tem.segmentation import Segmentation
from microtomo.tem.smoothing import gaussian_mean
from microtomo.tem.thresholds import by_threshold, fitted_by


@register("local-std", task="contaminant", citation="none: a baseline; smoothing and threshold are all there is to it")
def local_std(image: np.ndarray, *, window_px: float = 8.0, mask_threshold: float = 1.11) -> Segmentation:
    """Contaminant where the local standard deviation of the normalised image is high.

    ``window_px`` [px] is the standard deviation of the Gaussian window, ``mask_threshold`` the least local deviation
    in units of the image's own.
    """
    options = {"window_px": window_px, "mask_threshold": mask_threshold}
    return by_threshold(deviation(image, window_px), mask_threshold, "local-std", options)


@fitted_by("local-std", threshold="mask_threshold", grid={"window_px": (4.0, 6.0, 8.0, 10.0)})
def deviation(image: np.ndarray, window_px: float) -> np.ndarray:
    """Standard deviation (y, x) of the normalised image (y, x) under a Gaussian window of ``window_px`` [px]."""
    flat = normalise(image)
    mean = gaussian_mean(flat, window_px)
    variance = gaussian_mean(flat * flat, window_px) - mean * mean
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))
