"""The U-Net that the tasks share (Ronneberger, Fischer & Brox, MICCAI 2015): what differs is a block, and the sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from microtomo.models.blocks import pad_to_multiple
from microtomo.models.micrographs.network import SegmenterNetwork


class PaddedUNet(SegmenterNetwork):
    """A U-Net padded so that its output has the input's size: image (n, 1, y, x) in, logits (n, c, y, x) out.

    ``sizes``: channels by level, one pooling between two of them; ``block(into, out)``: the convolutions of a level.
    """

    def __init__(self, sizes: Sequence[int], classes: int, block: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.down = nn.ModuleList(block(into, out) for into, out in pairwise((1, *sizes)))
        self.rise = nn.ModuleList(nn.ConvTranspose2d(below, size, 2, stride=2) for size, below in pairwise(sizes))
        self.up = nn.ModuleList(block(2 * size, size) for size in sizes[:-1])
        self.last = nn.Conv2d(sizes[0], classes, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU

    def forward(self, image: Tensor) -> Tensor:
        """Logits of images of any size, padded by their border pixels where pooling needs it."""
        height, width = image.shape[-2:]
        x = pad_to_multiple(image, 2 ** len(self.rise)).contiguous(memory_format=torch.channels_last)
        skips = []
        for k, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if k else x)
            skips.append(x)
        for k in reversed(range(len(self.rise))):
            x = self.up[k](torch.cat([self.rise[k](x), skips[k]], 1))
        logits: Tensor = self.last(x)
        return logits[..., :height, :width]
