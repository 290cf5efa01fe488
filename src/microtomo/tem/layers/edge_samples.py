"""What the network for edges learns from: synthetic overcoats with their edges in a wrong place, and how far off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from microtomo.tem.layers.edge_profiles import profile_features
from microtomo.tem.layers.geometry import Layer
from microtomo.tem.layers.orthogonal import Lines
from microtomo.tem.layers.random_fields import generator
from microtomo.tem.layers.synthetic import Conditions, overcoat
from microtomo.tem.layers.training_images import OVERCOATS

COPIES = 4
"""Wrong places of the edges of one image."""

_STREAM = 2**41  # the numbers of the wrong places start here, beyond every sample's
_LEAST_LINES = 60
_ERRORS_PX = (0.5, 1.5, 3.0)  # deviations of an edge's place, each as often: what segmenters leave, and more
_MISSED = 0.25  # share of the copies in which one edge is an inner one, as where a layer has a darker part
_WAVY_PX, _WAVY_SHARE = 2.0, 0.15  # the most that an edge's line departs from its place, rms, of the thickness too
_SHORTEST = 24  # lines that a profile is the mean of, at least; as often each length up to all


def edge_samples(seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (k, FEATURES) of the layer of image ``index`` with its edges in ``COPIES`` wrong places, and how far
    outside of them (k, 2) [px] the low and the high edge lie; k = 0 where too little of the layer is in view.

    Every other image is as hard as those that segmenters learn from, the rest are usual ones.
    """
    sample = overcoat(seed, index, replace(OVERCOATS, bare=0.0) if index % 2 else Conditions())
    layer, features, truth = sample.layer, [], []
    chosen = np.flatnonzero(layer.inside(sample.image.shape))
    spacing = max(1, round(1 / float(np.diff(layer.along[:2])[0])))  # one line a pixel
    chosen = chosen[::spacing]
    rng = generator(seed, _STREAM + index)
    for _ in range(COPIES if len(chosen) >= _LEAST_LINES else 0):
        lines, shifts = _wrong_lines(layer, chosen, rng)
        features.append(profile_features(sample.image, lines, lines.whole))
        truth.append(shifts)
    return np.array(features, dtype=np.float32), np.array(truth, dtype=np.float32)


def _wrong_lines(layer: Layer, chosen: np.ndarray, rng: np.random.Generator) -> tuple[Lines, np.ndarray]:
    """Lines across a layer whose ends are off its edges, and how far outside of them the edges are on average."""
    count = int(_SHORTEST * (len(chosen) / _SHORTEST) ** min(1.0, 1.3 * rng.random()))
    start = int(rng.integers(len(chosen) - count + 1))
    chosen = chosen[start : start + count]
    v, low, high = layer.along[chosen], layer.low[chosen], layer.high[chosen]
    thickness = float((high - low).mean())
    off = rng.normal(0, min(rng.choice(_ERRORS_PX), 0.3 * thickness), 2)
    off = np.clip(off, -0.35 * thickness, 0.5 * thickness)
    if rng.random() < _MISSED:
        off[rng.integers(2)] = -rng.uniform(0.05, 0.4) * thickness
    waves = []
    for _ in range(2):
        wave = gaussian_filter1d(rng.standard_normal(len(v)), rng.uniform(3, 30))
        wave -= wave.mean()
        waves.append(wave / wave.std() * rng.uniform(0, min(_WAVY_PX, _WAVY_SHARE * thickness)))
    first, last = low - off[0] + waves[0], high + off[1] + waves[1]
    last = np.maximum(last, first + 1)
    foot, beside = (np.stack(layer.points(v, np.full(len(v), t)), 1) for t in (0.0, 1.0))
    whole, none = np.ones(len(v), dtype=bool), np.zeros(len(v))
    lines = Lines(foot, beside - foot, first, last, last - first, whole, none, layer.arc[chosen])
    return lines, np.array([(first - low).mean(), (high - last).mean()])
