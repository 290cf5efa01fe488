"""U-Nets for micrographs.

Source: Ronneberger, Fischer & Brox, MICCAI 2015; Sadre, Ophus, Butko & Weber, Microsc. Microanal. 27 (2021) 804.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import nn

from microtomo.models.micrographs.network import SegmenterConfig, segmenter
from microtomo.models.micrographs.padded_unet import PaddedUNet
from microtomo.registry import Published

SADRE = "Sadre, Ophus, Butko & Weber, Microsc. Microanal. 27 (2021) 804"
RONNEBERGER = "Ronneberger, Fischer & Brox, MICCAI 2015"


class UNetConfig(SegmenterConfig):
    """Everything that decides a U-Net's shape; what is not given is the architecture's own.

    ``blocks``: double convolutions, of which all but one lie pairwise on the way down and up; ``features``: channels
    of the first, twice as many after each pooling; ``norm``: what follows a convolution.
    """

    blocks: Annotated[int, Field(ge=3, le=13)] = 7
    features: Annotated[int, Field(ge=2, le=256)] = 32
    norm: Literal["none", "batch"] = "none"

    @model_validator(mode="after")
    def _odd(self) -> UNetConfig:
        if self.blocks % 2 == 0:
            raise ValueError(f"{self.blocks} blocks: give an odd number, one at the bottom and as many down as up")
        return self


@segmenter(
    "graphene-unet",
    task="contaminant",
    config=UNetConfig,
    citation=SADRE,
    summary="U-Net of half the published features with batch norm: the best here, and quick.",
    features=16,
    norm="batch",
)
@segmenter(
    "graphene-unet-7",
    task="contaminant",
    config=UNetConfig,
    citation=SADRE,
    summary="The published U-Net of 7 blocks and 32 features.",
    published=Published("U-Net", {"random folds": 0.812}),
)
@segmenter(
    "graphene-unet-9",
    task="contaminant",
    config=UNetConfig,
    citation=f"{RONNEBERGER}; {SADRE}",
    summary="The original U-Net of 9 blocks and 64 features.",
    blocks=9,
    features=64,
)
class MicrographUNet(PaddedUNet):
    """A U-Net: normalised image (n, 1, y, x) in, a logit for each class (n, c, y, x) out."""

    def __init__(self, config: UNetConfig) -> None:
        sizes = [config.features * 2**k for k in range(config.blocks // 2 + 1)]
        super().__init__(sizes, config.classes, partial(_block, norm=config.norm == "batch"))
        self.config = config


def _block(into: int, out: int, norm: bool) -> nn.Sequential:
    """Twice a 3 x 3 convolution and ReLU, zeros beyond the border, batch norm between them where asked for."""
    layers: list[nn.Module] = []
    for channels in (into, out):
        layers.append(nn.Conv2d(channels, out, 3, padding=1, bias=not norm))
        layers += [nn.BatchNorm2d(out)] if norm else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
