"""Networks that give a layer's mean thickness and its standard deviation at once, from a mask or from an image.

The head-overcoat paper's RCNN takes the mask; its SegNet and NASNet variants take the image, the softmax replaced by a
regression. That the deviation is predicted beside the mean is the paper's wish for later.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from microtomo.errors import MicrotomoError

SIDE = 64
"""Pixels of the square that a mask is brought to for the regression network."""


class ThicknessRegressor(nn.Module):
    """RCNN of the head-overcoat paper, section 2.3: two blocks of three convolutions and dropout, two dense layers.

    Mask (n, 1, side, side) of shares 0..1 in; (n, 2) out: mean and standard deviation of the orthogonal thickness, as
    shares of the side. The last convolution of each block has stride 2, which the paper leaves open, so that the
    flattened features stay few. ``sizes``: channels of the two blocks; ``dense``: features of the two dense layers.
    """

    def __init__(
        self,
        side: int = SIDE,
        sizes: Sequence[int] = (16, 32),
        dense: Sequence[int] = (128, 32),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if side % 4 or len(sizes) != 2 or len(dense) != 2:
            raise MicrotomoError("the regressor takes a side that is a multiple of 4, two sizes and two dense layers")
        self.side = side
        self.blocks = nn.Sequential(_block(1, sizes[0], dropout), _block(sizes[0], sizes[1], dropout))
        flat = sizes[1] * (side // 4) ** 2
        self.dense = nn.Sequential(
            nn.Linear(flat, dense[0]), nn.ReLU(inplace=True), nn.Linear(dense[0], dense[1]), nn.ReLU(inplace=True),
            nn.Linear(dense[1], 2),
        )  # fmt: skip

    def forward(self, mask: Tensor) -> Tensor:
        """Mean and standard deviation (n, 2), shares of the side."""
        if mask.shape[-3:] != (1, self.side, self.side):
            raise MicrotomoError(f"masks are (n, 1, {self.side}, {self.side}); got {tuple(mask.shape)}: use shrunk")
        out: Tensor = self.dense(self.blocks(mask).flatten(1))
        return out


class ImageRegressor(nn.Module):
    """A segmentation network with its softmax replaced by a regression (the paper's SegNet-RCNN and NASNet-RCNN).

    ``body`` gives maps (n, channels, y, x) of an image (n, 1, y, x); their mean and largest value an image go through
    one dense layer to mean and standard deviation (n, 2).
    """

    def __init__(self, body: nn.Module, channels: int) -> None:
        super().__init__()
        self.body = body
        self.last = nn.Linear(2 * channels, 2)

    def forward(self, image: Tensor) -> Tensor:
        """Mean and standard deviation (n, 2)."""
        maps = self.body(image)
        out: Tensor = self.last(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1))
        return out


def shrunk(mask: np.ndarray, side: int = SIDE) -> Tensor:
    """A mask or coverage (y, x) as the regressor's input (1, 1, side, side): shares of the larger pixels covered.

    The image is cut to its central square. Raises MicrotomoError for one smaller than the side.
    """
    short = min(mask.shape)
    if mask.ndim != 2 or short < side:
        raise MicrotomoError(f"the mask is {mask.shape}: give one of at least {side} x {side} pixels")
    top, left = ((n - short) // 2 for n in mask.shape)
    square = torch.from_numpy(np.ascontiguousarray(mask[top : top + short, left : left + short], dtype=np.float32))
    return functional.interpolate(square[None, None], size=(side, side), mode="area")


def _block(into: int, out: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels, stride in ((into, 1), (out, 1), (out, 2)):
        layers += [nn.Conv2d(channels, out, 3, stride, 1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Dropout(dropout))
