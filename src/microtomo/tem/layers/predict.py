"""From an image of any size to the probability that a pixel lies in the layer."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from microtomo.errors import MicrotomoError
from microtomo.tem.layers.training_images import normalised

WORKING_SIDE = 512
"""Pixels along the longer side that an image is binned down to; the networks learned from 256."""

_SMALLEST = 32


def layer_probability(
    network: nn.Module, image: np.ndarray, *, working_side: int = WORKING_SIDE, views: int = 1
) -> np.ndarray:
    """Probability (y, x), float32, of an image (y, x) of grey levels, in the image's own size.

    A larger image is binned by a whole number, and the logits are brought back between pixels. ``views``: 1, 2 or 4
    mirror images over which the logits are averaged.
    Raises MicrotomoError for an image that is too small, empty of contrast or not finite.
    """
    pixels = np.asarray(image)
    if pixels.ndim != 2 or min(pixels.shape) < _SMALLEST:
        raise MicrotomoError(f"the image is {pixels.shape}: give grey levels (y, x), {_SMALLEST} pixels or more a side")
    if views not in (1, 2, 4):
        raise MicrotomoError(f"views {views}: choose 1, 2 or 4")
    n = int(np.ceil(max(pixels.shape) / working_side))
    seen = torch.from_numpy(normalised(_binned(pixels, n)))[None, None]
    with torch.inference_mode():
        logits = torch.stack([_view(network, seen, k) for k in range(views)]).mean(0)
        if n > 1:
            logits = _enlarged(logits, n, pixels.shape)
        return np.asarray(logits[0, 0].sigmoid().numpy())


def _view(network: nn.Module, image: torch.Tensor, number: int) -> torch.Tensor:
    """Logit (1, 1, y, x) of the layer, from the image mirrored along the axes that the bits of ``number`` name."""
    axes = [2 + axis for axis in (0, 1) if number >> axis & 1]
    logits: torch.Tensor = network(image.flip(axes)).float().flip(axes)
    return logits[:, 1:2] - logits[:, :1]


def _binned(pixels: np.ndarray, n: int) -> np.ndarray:
    """Means of n x n pixels; the last rows and columns are repeated where they fill no bin."""
    padded = np.pad(pixels.astype(np.float32), [(0, -size % n) for size in pixels.shape], mode="edge")
    high, wide = (size // n for size in padded.shape)
    return np.asarray(padded.reshape(high, n, wide, n).mean((1, 3), dtype=np.float32))


def _enlarged(logits: torch.Tensor, n: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Logits between the bins' centres, in the image's own pixels."""
    large = functional.interpolate(logits, scale_factor=n, mode="bilinear", align_corners=False)
    return large[..., : shape[0], : shape[1]]
