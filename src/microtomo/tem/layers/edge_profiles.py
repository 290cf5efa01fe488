"""What an image says of where a layer's edges lie: its mean profile across each edge, along all orthogonal lines.

A segmenter finds an edge pixel by pixel; the mean over hundreds of lines shows it with a fraction of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from microtomo.tem.layers.orthogonal import Lines, sampled

FINE_PX = np.arange(-14, 15, dtype=np.float32)
"""Places [px] of the fine part of a profile, from the edge, positive outside of the layer."""
COARSE = np.linspace(-1.0, 0.75, 22, dtype=np.float32)
"""Places of the coarse part, in thicknesses of the layer: it shows what a layer consists of."""
EDGE_FEATURES = len(FINE_PX) + 2 * len(COARSE)
"""Numbers that describe one edge: fine mean, coarse mean, coarse deviation over the lines."""
FEATURES = 2 * EDGE_FEATURES + 2
"""Numbers that describe a layer: its low edge, its high edge, how thick it is, and over how many lines that is known.
"""

_THINNEST_PX = 1.0  # layer whose profiles are taken
_LEAST_SPREAD = 1e-6  # of a profile: an image without any contrast has none
_MOST = 10.0  # deviations that a feature may be: a few in a thousand are more, where an image has hardly any contrast
_USUAL_LOG_PX = 2.5  # logarithm of a usual thickness: 12 px
_USUAL_LOG_LINES = 4.5  # and of a usual number of lines: 90


@dataclass(frozen=True)
class EdgeErrors:
    """Standard error [px] of the thickness of each layer, in their order, because of where its two edges are."""

    errors: tuple[float, ...]

    def enlarged(self, n: int, shape: tuple[int, ...]) -> EdgeErrors:
        """The same for an image of ``shape`` that was binned by ``n`` before."""
        return EdgeErrors(tuple(n * error for error in self.errors))


def profile_features(image: np.ndarray, lines: Lines, used: np.ndarray) -> np.ndarray:
    """Features (:data:`FEATURES`,), float32, of the edges of the lines ``used`` (k,) on an image (y, x).

    Grey levels are taken from the mean and in deviations of all that the coarse profiles show. What lies outside of
    the image does not count.
    """
    pixels = np.ascontiguousarray(image, dtype=np.float32)
    thickness = max(float((lines.high - lines.low)[used].mean()), _THINNEST_PX)
    parts = []
    for edge, side in ((lines.low[used], -1), (lines.high[used], 1)):
        places = edge[:, None] + side * np.concatenate([FINE_PX, thickness * COARSE])
        y, x = ((lines.foot[used, None, k] + places * lines.normal[used, None, k]).astype(np.float32) for k in (0, 1))
        outside = (y < 0) | (x < 0) | (y > pixels.shape[0] - 1) | (x > pixels.shape[1] - 1)
        parts.append(_moments(sampled(pixels, y, x), ~outside))
    shown = np.concatenate([mean[len(FINE_PX) :] for mean, _ in parts])
    middle, spread = float(shown.mean()), max(float(shown.std()), _LEAST_SPREAD)
    columns = [column for mean, rms in parts for column in ((mean - middle) / spread, rms[len(FINE_PX) :] / spread)]
    size = [np.log(thickness) - _USUAL_LOG_PX, np.log(np.count_nonzero(used)) - _USUAL_LOG_LINES]
    return np.asarray(np.clip(np.concatenate([*columns, size]), -_MOST, _MOST), dtype=np.float32)


def moved(levels: np.ndarray, lines: Lines, used: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Levels (y, x) whose layer has its edges ``low`` and ``high`` (k,) pixels farther outside along the lines.

    Between the edges the levels are stretched evenly, beyond them they move with the nearer one; what lies farther from
    the layer than half its thickness, and more than 8 pixels, stays.
    """
    foot, normal = lines.foot[used], lines.normal[used]
    first, last = lines.low[used], lines.high[used]
    thickness = float((last - first).mean())
    low, high = low[used], high[used]
    reach = max(0.5 * thickness, 8.0) + float(np.abs(low).max() + np.abs(high).max())
    y, x = np.mgrid[: levels.shape[0], : levels.shape[1]]
    points = np.stack([y.ravel(), x.ravel()], 1).astype(np.float64)
    distance, nearest = cKDTree(foot).query(points, distance_upper_bound=float(np.abs([first, last]).max()) + reach)
    near = np.flatnonzero(np.isfinite(distance))
    line = nearest[near]
    place = ((points[near] - foot[line]) * normal[line]).sum(1)
    begin, end = (first - low)[line], (last + high)[line]
    share = np.clip((place - begin) / np.maximum(end - begin, 1.0), 0, 1)
    fade = np.clip((reach - np.maximum(begin - place, place - end)) / (0.5 * reach), 0, 1)
    shift = fade * (share * high[line] - (1 - share) * low[line])
    source = points[near] - shift[:, None] * normal[line]
    out = levels.astype(np.float32).ravel().copy()
    at = source.astype(np.float32)
    out[near] = sampled(np.ascontiguousarray(levels, dtype=np.float32), at[None, :, 0], at[None, :, 1])[0]
    return np.clip(out.reshape(levels.shape), 0, 1)  # interpolation rounds


def _moments(values: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation over lines (k, places) of the places that are there; of one that is nowhere, the nearest's."""
    count = there.sum(0)
    most = np.maximum(count, 1)
    mean = np.where(there, values, 0).sum(0) / most
    rms = np.sqrt(np.where(there, (values - mean) ** 2, 0).sum(0) / most)
    known = np.flatnonzero(count)
    if 0 < len(known) < len(count):
        nearest = known[np.abs(np.arange(len(count))[:, None] - known).argmin(1)]
        mean, rms = mean[nearest], rms[nearest]
    return mean, rms
