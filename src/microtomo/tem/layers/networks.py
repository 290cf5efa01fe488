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


def convolution(
    into: int, out: int, size: int = 3, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
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


class SegNet(nn.Module):
    """SegNet (Badrinarayanan, Kendall & Cipolla, PAMI 39 (2017) 2481): VGG16's convolutions down and mirrored up.

    Each up-sampling puts values where the pooling of the same level took them from. ``sizes``: channels by level;
    ``depths``: convolutions by level.
    """

    def __init__(
        self,
        classes: int = 2,
        sizes: Sequence[int] = (64, 128, 256, 512, 512),
        depths: Sequence[int] = (2, 2, 3, 3, 3),
    ) -> None:
        super().__init__()
        if len(sizes) != len(depths) or min((*sizes, *depths)) < 1:
            raise MicrotomoError(f"sizes {tuple(sizes)} and depths {tuple(depths)}: give one of each for every level")
        levels = list(zip((1, *sizes), sizes, depths, strict=False))
        self.down = nn.ModuleList(_stack([into, *[out] * depth]) for into, out, depth in levels)
        self.up = nn.ModuleList(
            _stack([out] * depth + [sizes[0] if level == 0 else into])
            for level, (into, out, depth) in enumerate(levels)
        )
        self.last = nn.Conv2d(sizes[0], classes, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (n, classes, y, x) of images (n, 1, y, x)."""
        height, width = image.shape[-2:]
        x = padded(image, 2 ** len(self.down))
        taken = []
        for block in self.down:
            x, places = functional.max_pool2d(block(x), 2, return_indices=True)
            taken.append(places)
        for level in reversed(range(len(self.up))):
            x = self.up[level](functional.max_unpool2d(x, taken[level], (2, 2)))
        logits: Tensor = self.last(x)
        return logits[..., :height, :width]


def _stack(sizes: Sequence[int]) -> nn.Sequential:
    """Convolutions from each size to the next."""
    return nn.Sequential(*(convolution(into, out) for into, out in pairwise(sizes)))


class Bottleneck(nn.Module):
    """Residual block of a 1 x 1, a 3 x 3 and a 1 x 1 convolution (He et al., CVPR 2016), four times as wide outside."""

    def __init__(self, into: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        out = 4 * width
        self.body = nn.Sequential(
            convolution(into, width, 1),
            convolution(width, width, 3, stride, dilation),
            nn.Conv2d(width, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or into != out:
            self.skip = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, 4 width, y / stride, x / stride)."""
        return functional.relu(self.body(x) + self.skip(x))


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al., ECCV 2018): one point, atrous separable and one global branch."""

    def __init__(self, into: int, out: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.point = convolution(into, out, 1)
        self.atrous = nn.ModuleList(separable(into, out, rate) for rate in rates)
        # no norm: over one value an image there is none
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(into, out, 1), nn.ReLU(inplace=True))
        self.join = nn.Sequential(convolution(out * (2 + len(rates)), out, 1), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, out, y, x)."""
        whole = self.whole(x).expand(-1, -1, *x.shape[-2:])
        joined: Tensor = self.join(torch.cat([self.point(x), *(branch(x) for branch in self.atrous), whole], 1))
        return joined


def separable(into: int, out: int, dilation: int = 1) -> nn.Sequential:
    """A 3 x 3 convolution of each channel by itself, then a 1 x 1 across channels."""
    return nn.Sequential(convolution(into, into, 3, dilation=dilation, groups=into), convolution(into, out, 1))


class DeepLab(nn.Module):
    """DeepLabV3+ (Chen, Zhu, Papandreou, Schroff & Adam, ECCV 2018) on a residual encoder of output stride 16.

    ``width``: channels of the stem (published: 64); ``blocks`` of each of the four stages (ResNet-50: 3, 4, 6, 3), the
    last atrous instead of strided; ``pyramid``: channels of the pyramid and the decoder; ``low``: those that the
    decoder takes of the first stage.
    """

    def __init__(
        self,
        classes: int = 2,
        width: int = 64,
        blocks: Sequence[int] = (3, 4, 6, 3),
        pyramid: int = 256,
        low: int = 48,
        rates: Sequence[int] = (6, 12, 18),
    ) -> None:
        super().__init__()
        if len(blocks) != 4 or min(blocks) < 1:
            raise MicrotomoError(f"blocks {tuple(blocks)}: the encoder has four stages, each of one block or more")
        self.stem = nn.Sequential(convolution(1, width, 7, 2), nn.MaxPool2d(3, 2, 1))
        stages, into = [], width
        for k, count in enumerate(blocks):
            stride, dilation = (1, 2, 2, 1)[k], 2 if k == 3 else 1
            stage = [
                Bottleneck(into if b == 0 else 4 * width * 2**k, width * 2**k, stride if b == 0 else 1, dilation)
                for b in range(count)
            ]
            stages.append(nn.Sequential(*stage))
            into = 4 * width * 2**k
        self.stages = nn.ModuleList(stages)
        self.pyramid = Pyramid(into, pyramid, rates)
        self.low = convolution(4 * width, low, 1)
        self.decode = nn.Sequential(separable(pyramid + low, pyramid), separable(pyramid, pyramid))
        self.last = nn.Conv2d(pyramid, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (n, classes, y, x) of images (n, 1, y, x)."""
        height, width = image.shape[-2:]
        x = padded(image, 16)
        whole = x.shape[-2:]
        x = self.stages[0](self.stem(x))
        low = self.low(x)
        for stage in list(self.stages)[1:]:
            x = stage(x)
        x = functional.interpolate(self.pyramid(x), size=low.shape[-2:], mode="bilinear", align_corners=False)
        x = self.last(self.decode(torch.cat([x, low], 1)))
        logits = functional.interpolate(x, size=whole, mode="bilinear", align_corners=False)
        return logits[..., :height, :width]
