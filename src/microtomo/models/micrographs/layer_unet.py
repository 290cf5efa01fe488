"""U-Nets for thin layers in cross-section.

Source: Ronneberger, Fischer & Brox, MICCAI 2015.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from microtomo.models.blocks import convolution
from microtomo.models.micrographs.layer_edges import refined
from microtomo.models.micrographs.network import SegmenterConfig, segmenter
from microtomo.models.micrographs.padded_unet import PaddedUNet
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
    summary="Small U-Net with batch norm, its edges refined by their mean profiles; trained on synthetic overcoats.",
    symmetries=4,
    refine=refined,
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
class LayerUNet(PaddedUNet):
    """A U-Net with batch norm: image (n, 1, y, x) in, logits (n, c, y, x) out."""

    def __init__(self, config: LayerUNetConfig) -> None:
        super().__init__(config.sizes, config.classes, _block)
        self.config = config


def _block(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(convolution(into, out), convolution(out, out))
