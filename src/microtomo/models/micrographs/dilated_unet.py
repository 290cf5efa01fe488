"""The original U-Net for particles, as published and with dilated convolutions at its bottom.

Sources: Ronneberger, Fischer & Brox, MICCAI 2015; dilation: Yu & Koltun, ICLR 2016.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from microtomo.models.blocks import convolution
from microtomo.models.micrographs.network import SegmenterConfig, segmenter
from microtomo.models.micrographs.padded_unet import PaddedUNet

RONNEBERGER = "Ronneberger, Fischer & Brox, MICCAI 2015"


class ParticleUNetConfig(SegmenterConfig):
    """``features``: channels of the first level, twice as many after each of ``levels`` poolings; ``dilations``: of the
    convolutions at the bottom, one after the other."""

    features: Annotated[int, Field(ge=2, le=256)] = 64
    levels: Annotated[int, Field(ge=1, le=6)] = 4
    dilations: Annotated[tuple[Annotated[int, Field(ge=1, le=32)], ...], Field(min_length=1, max_length=8)] = (1, 1)


@segmenter(
    "particle-unet-64",
    task="particle",
    config=ParticleUNetConfig,
    citation=RONNEBERGER,
    summary="The original U-Net of 64 features and four poolings, with batch norm: classes alone, no sizes.",
    symmetries=4,
)
@segmenter(
    "particle-unet-64-dilated",
    task="particle",
    config=ParticleUNetConfig,
    citation=f"{RONNEBERGER}; Yu & Koltun, ICLR 2016",
    summary="A U-Net of two poolings whose bottom sees as far by dilated convolutions.",
    symmetries=4,
    levels=2,
    dilations=(1, 2, 4, 8),
)
class DilatedUNet(PaddedUNet):
    """A U-Net of normed double convolutions: normalised image (n, 1, y, x) in, logits (n, c, y, x) out."""

    def __init__(self, config: ParticleUNetConfig) -> None:
        sizes = [config.features * 2**k for k in range(config.levels + 1)]
        super().__init__(sizes, config.classes, _double)
        self.config = config
        layers, into = [], sizes[-2]
        for dilation in config.dilations:
            layers.append(convolution(into, sizes[-1], dilation=dilation))
            into = sizes[-1]
        self.down[-1] = nn.Sequential(*layers)


def _double(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(convolution(into, out), convolution(out, out))
