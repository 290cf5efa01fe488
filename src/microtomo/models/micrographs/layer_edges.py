"""Where the two edges of a layer lie, and how well that is known, from the image's mean profiles across them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from microtomo.models.architectures import Network, Shape, add_architecture
from microtomo.models.weights import load_network, shipped_weights
from microtomo.tem.layers.edge_profiles import EDGE_FEATURES, FEATURES, EdgeErrors, moved, profile_features
from microtomo.tem.layers.orthogonal import Lines
from microtomo.tem.layers.thickness import measure_layers
from microtomo.tem.segmentation import Segmentation

NAME = "layer-edges"

_CALIBRATION = 1.75
"""Standard error of a thickness over that of its edges as the members say it: with it the 95 % intervals of 178 images
of seed 900, for validation, (``benchmarks/layers.py``) hold 96 % of the layers, with 1.5 94 % and with 2 97 %."""
_ROUNDS = 2  # of profile and shift, of the whole edges and then of pieces of them
_PIECE, _STEP = 40, 20  # lines of a piece of an edge, and from one piece to the next
_LEAST_LOG_VARIANCE, _MOST_LOG_VARIANCE = -6.0, 6.0  # of an edge's place: deviations from 0.05 to 20 px can be said


class EdgesConfig(Shape):
    """``members`` small networks of ``width`` features, whose disagreement is part of the error."""

    members: Annotated[int, Field(ge=1, le=32)] = 4
    width: Annotated[int, Field(ge=4, le=1024)] = 96


class LayerEdges(Network):
    """Features of layers (n, FEATURES) in; (n, members, 2, 2) out: for the low and the high edge its shift outwards
    [px] and the logarithm of that shift's variance. Both are seen by the same weights, each beside the other."""

    config: EdgesConfig

    def __init__(self, config: EdgesConfig) -> None:
        super().__init__()
        self.config = config
        n = config.width
        self.members = nn.ModuleList(
            nn.Sequential(nn.Linear(FEATURES, n), nn.ReLU(), nn.Linear(n, n), nn.ReLU(), nn.Linear(n, 2))
            for _ in range(config.members)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Shifts and logarithms of their variances."""
        low, high, rest = torch.split(features, [EDGE_FEATURES, EDGE_FEATURES, FEATURES - 2 * EDGE_FEATURES], 1)
        both = torch.stack([features, torch.cat([high, low, rest], 1)], 1)
        out = torch.stack([member(both) for member in self.members], 1)
        # smooth bounds: a hard one would keep what has gone beyond it from coming back
        least = _LEAST_LOG_VARIANCE + functional.softplus(out[..., 1] - _LEAST_LOG_VARIANCE)
        bounded = _MOST_LOG_VARIANCE - functional.softplus(_MOST_LOG_VARIANCE - least)
        return torch.stack([out[..., 0], bounded], -1)

    def shifts(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shift outwards (2,) [px] of the low and the high edge, and its standard error (2,), of features (FEATURES,):
        mean of the members, and the deviation of their mixture."""
        with torch.inference_mode():
            out = self(torch.from_numpy(features)[None])[0].double().numpy()
        shift, variance = out[..., 0], np.exp(out[..., 1])
        return shift.mean(0), np.sqrt(variance.mean(0) + shift.var(0))


add_architecture(NAME, "layer", EdgesConfig, LayerEdges)


def refined(image: np.ndarray, segmentation: Segmentation) -> Segmentation:
    """A segmentation (y, x) whose layers have their edges where the profiles of the image (y, x) say, with the errors
    of their thicknesses as details; as it was where no layer can be measured."""
    network = load_network(shipped_weights(NAME), LayerEdges, NAME)
    levels, errors = segmentation.probability, []
    for answer in measure_layers(levels):
        if answer.lines is None or answer.used is None:
            return segmentation
        lines, used = answer.lines, answer.used
        for _ in range(_ROUNDS):
            shift, _ = network.shifts(profile_features(image, lines, used))
            lines = _widened(lines, shift[0], shift[1])
        for _ in range(_ROUNDS):
            lines = _widened(lines, *_local(network, image, lines, used))
        shift, error = network.shifts(profile_features(image, lines, used))
        lines = _widened(lines, shift[0], shift[1])
        levels = moved(levels, answer.lines, used, answer.lines.low - lines.low, lines.high - answer.lines.high)
        errors.append(_CALIBRATION * float(np.hypot(*error)))
    probabilities = np.stack([1 - levels, levels])
    labels = (levels > 0.5).astype(np.uint8)
    return replace(segmentation, labels=labels, probabilities=probabilities, details=EdgeErrors(tuple(errors)))


def _widened(lines: Lines, low: np.ndarray, high: np.ndarray) -> Lines:
    """Lines whose ends lie that much farther outside."""
    return replace(lines, low=lines.low - low, high=lines.high + high)


def _local(network: LayerEdges, image: np.ndarray, lines: Lines, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shifts outwards (k,), (k,) [px] of both ends of each line, from pieces of the edges: what a piece says counts by
    how well it is known beside how much the pieces differ."""
    order = np.flatnonzero(used)
    starts = range(0, max(len(order) - _PIECE, 0) + 1, _STEP)
    shifts, variances, places = [], [], []
    for start in starts:
        piece = np.zeros(len(used), dtype=bool)
        piece[order[start : start + _PIECE]] = True
        shift, error = network.shifts(profile_features(image, lines, piece))
        shifts.append(shift)
        variances.append(error**2)
        places.append(float(order[start : start + _PIECE].mean()))
    found, variance = np.array(shifts), np.array(variances)
    differ = np.maximum((found**2).mean(0) - variance.mean(0), 0)
    found = found * differ / (differ + variance)
    index = np.arange(len(used))
    return np.interp(index, places, found[:, 0]), np.interp(index, places, found[:, 1])
