"""Segmentation networks of the head-overcoat paper's table, from their publications: U-Net, SegNet, DeepLabV3+.

All take a normalised image (n, 1, y, x) of any size and give logits (n, classes, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from microtomo.errors import MicrotomoError

SMALL = (8, 24, 48, 96, 128)
"""Channels by level of the small U-Net that ships with weights."""


def padded(image: Tensor, step: int) -> Tensor:
    """(n, c, y, x) with its last rows and columns repeated until both sides are multiples of ``step``."""
    rows, columns = -image.shape[-2] % step, -image.shape[-1] % step
    return functional.pad(image, (0, columns, 0, rows), mode="replicate") if rows or columns else image


def convolution(into: int, out: int, size: int = 3, stride: int = 1, dilation: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution that keeps the image's size (but for ``stride``), batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(into, out, size, stride, dilation * (size // 2), dilation, groups, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """U-Net (Ronneberger, Fischer & Brox, MICCAI 2015), padded so that the output has the input's size.

    ``sizes``: channels by level, one pooling between two of them; the published ones are 64 to 1024.
    """

    def __init__(self, classes: int = 2, sizes: Sequence[int] = (64, 128, 256, 512, 1024)) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise MicrotomoError(f"sizes {tuple(sizes)}: a U-Net needs two levels or more, each with channels")
        self.down = nn.ModuleList(
            nn.Sequential(convolution(into, out), convolution(out, out)) for into, out in pairwise((1, *sizes))
        )
        self.rise = nn.ModuleList(nn.ConvTranspose2d(below, size, 2, stride=2) for size, below in pairwise(sizes))
        self.up = nn.ModuleList(
            nn.Sequential(convolution(2 * size, size), convolution(size, size)) for size in sizes[:-1]
        )
        self.last = nn.Conv2d(sizes[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (n, classes, y, x) of images (n, 1, y, x)."""
        height, width = image.shape[-2:]
        x = padded(image, 2 ** len(self.rise)).contiguous(memory_format=torch.channels_last)
        skips = []
        for k, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if k else x)
            skips.append(x)
        for k in reversed(range(len(self.rise))):
            x = self.up[k](torch.cat([self.rise[k](x), skips[k]], 1))
        logits: Tensor = self.last(x)
        return logits[..., :height, :width]
