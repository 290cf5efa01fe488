"""U-Nets for thin layers in cross-section.

Source: Ronneberger, Fischer & Brox, MICCAI 2015.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from microtomo.models.blocks import convolution, pad_to_multiple
from microtomo.models.micrographs.network import SegmenterConfig, SegmenterNetwork, segmenter
from microtomo.registry import Published

RONNEBERGER = "Ronneberger, Fischer & Brox, MICCAI 2015"

Channels = Annotated[int, Field(ge=1, le=2048)]


class LayerConfig(SegmenterConfig):
    """What networks for layers have in common: they are trained alike."""


class LayerUNetConfig(LayerConfig):
    """``sizes``: channels by level, one pooling between two of them."""

    sizes: Annotated[tuple[Channels, ...], Field(min_length=2, max_length=7)] = (8, 24, 48, 96, 128)


@segmenter(
    "layer-unet",
    task="layer",
    config=LayerUNetConfig,
    citation=RONNEBERGER,
    summary="Small U-Net with batch norm, trained on synthetic overcoats alone: the default.",
    symmetries=4,
)
@segmenter(
    "layer-unet-5",
    task="layer",
    config=LayerUNetConfig,
    citation=RONNEBERGER,
    summary="The original U-Net of five levels and 64 to 1024 channels, with batch norm.",
    published=Published("U-Net", {"five folds": 0.85}),
    symmetries=4,
    sizes=(64, 128, 256, 512, 1024),
)
class LayerUNet(SegmenterNetwork):
    """A U-Net padded so that its output has the input's size: image (n, 1, y, x) in, logits (n, c, y, x) out."""

    def __init__(self, config: LayerUNetConfig) -> None:
        super().__init__()
        self.config = config
        sizes = config.sizes
        self.down = nn.ModuleList(
            nn.Sequential(convolution(into, out), convolution(out, out)) for into, out in pairwise((1, *sizes))
        )
        self.rise = nn.ModuleList(nn.ConvTranspose2d(below, size, 2, stride=2) for size, below in pairwise(sizes))
        self.up = nn.ModuleList(
            nn.Sequential(convolution(2 * size, size), convolution(size, size)) for size in sizes[:-1]
        )
        self.last = nn.Conv2d(sizes[0], config.classes, 1)
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
