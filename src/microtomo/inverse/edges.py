"""What is left at the edges of a solution: images that moved against each other, and images that are blurred."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_TINY = 1e-9  # added to squares that may vanish


@dataclass(frozen=True)
class Edges:
    """``drift_px`` (2,): rows and columns by which the images move steadily from the first energy to the last, as the
    edges show it, and ``drift_deviations``, that in standard deviations. ``blur``: share of the difference to its four
    neighbours that a pixel at an edge has taken on, and ``blur_deviations``.
    """

    drift_px: np.ndarray
    drift_deviations: float
    blur: float
    blur_deviations: float


def measure_edges(residual: np.ndarray, signal: np.ndarray, near: np.ndarray, noise: float) -> Edges:
    """Regress the relative residual (e, y, x) on what a shift and a blur of the re-simulated ``signal`` would leave, at
    the pixels ``near`` (y, x) to edges.

    To first order a shift leaves its product with the slope of the logarithm, and a blur of variance v [pixels^2] 2 v
    times the mean of the four neighbours less the pixel. What all images have in common of the shift is the
    solution's own, so that only its course over the energies counts.
    """
    near = near.copy()
    near[[0, -1]] = near[:, [0, -1]] = False
    y, x = np.nonzero(near)
    if not len(y):
        return Edges(np.zeros(2), 0.0, 0.0, 0.0)
    left = residual[:, y, x]
    here, up, down, before, after = (signal[:, y + dy, x + dx] for dy, dx in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)))
    shift, precision = np.empty((len(here), 2)), np.empty((len(here), 2))
    for axis, slope in enumerate(((down - up) / (2 * here), (after - before) / (2 * here))):
        square = (slope**2).sum(1) + _TINY
        shift[:, axis], precision[:, axis] = -(slope * left).sum(1) / square, square / noise**2
    course = np.linspace(-0.5, 0.5, len(here))[:, None]
    course = course - (precision * course).sum(0) / precision.sum(0)
    information = (precision * course**2).sum(0) + _TINY
    drift = (precision * course * shift).sum(0) / information
    neighbours = (up + down + before + after) / (4 * here) - 1
    square = float((neighbours**2).sum()) + _TINY
    blur = float((neighbours * left).sum()) / square
    far = float(np.sqrt((drift**2 * information).max()))
    return Edges(drift, far, blur, blur * square**0.5 / noise)
